//! The Open Inference Protocol over HTTP: JSON, with tensors behind it as bytes where a client
//! wants that.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use axum::body::Bytes;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tesla_core::{Bundle, Predictions};

use super::infer::{self, Output, Values};
use super::tensor::{Data, Tensor};
use crate::error::Failure;
use crate::metrics::Tally;
use crate::model::Loaded;

/// The header that says where JSON ends and bytes begin.
pub(crate) const JSON_LENGTH: &str = "inference-header-content-length";

/// What a client wants back.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    id: Option<String>,
    /// The outputs and whether they come as bytes; all when empty.
    outputs: Vec<(String, Option<bool>)>,
    /// Whether outputs come as bytes when nothing else is said.
    binary: bool,
    /// Microseconds the request may take.
    pub(crate) timeout: Option<u64>,
}

/// Parameters as they are written: most say nothing to this server, and are not read.
type Parameters<'a> = BTreeMap<String, &'a RawValue>;

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(default)]
    id: Option<String>,
    #[serde(default, borrow)]
    parameters: Option<Parameters<'a>>,
    #[serde(borrow)]
    inputs: Vec<Input<'a>>,
    #[serde(default, borrow)]
    outputs: Option<Vec<Asked<'a>>>,
}

#[derive(Deserialize)]
struct Input<'a> {
    name: String,
    shape: Vec<u64>,
    datatype: String,
    #[serde(default, borrow)]
    parameters: Option<Parameters<'a>>,
    #[serde(default, borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Asked<'a> {
    name: String,
    #[serde(default, borrow)]
    parameters: Option<Parameters<'a>>,
}

/// A request's tensors, and what is wanted back. The body is read as JSON whatever its content type
/// says: some clients send none.
///
/// # Errors
/// When the body is not what its header and its JSON say.
pub(crate) fn parse<'a>(
    body: &'a Bytes,
    json_length: Option<&HeaderValue>,
    bundle: &Bundle,
) -> Result<(Wanted, Vec<Tensor<'a>>), Failure> {
    let length = match json_length {
        None => body.len(),
        Some(value) => value
            .to_str()
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .ok_or_else(|| {
                Failure::bad_request(format!("the header `{JSON_LENGTH}` is not a number of bytes"))
            })?,
    };
    if length > body.len() {
        return Err(Failure::bad_request(format!(
            "the header `{JSON_LENGTH}` says {length} bytes, but the body has {}",
            body.len()
        )));
    }
    if length == 0 && json_length.is_some() {
        return raw_only(body, bundle);
    }
    let request: Request<'_> = serde_json::from_slice(&body[..length])
        .map_err(|e| Failure::bad_request(format!("the body is not an inference request: {e}")))?;
    let parameters = request.parameters.unwrap_or_default();
    let flag = |parameters: &Parameters<'_>, key: &str| match parameters.get(key).map(|v| v.get()) {
        None | Some("null") => Ok(None),
        Some("true") => Ok(Some(true)),
        Some("false") => Ok(Some(false)),
        Some(_) => Err(Failure::bad_request(format!("the parameter `{key}` is not true or false"))),
    };
    let outputs = request.outputs.unwrap_or_default().into_iter().map(|asked| {
        let parameters = asked.parameters.unwrap_or_default();
        no_shared_memory(&parameters)?;
        Ok((asked.name, flag(&parameters, "binary_data")?))
    });
    let wanted = Wanted {
        id: request.id,
        outputs: outputs.collect::<Result<_, Failure>>()?,
        binary: flag(&parameters, "binary_data_output")?.unwrap_or(false),
        timeout: parameters.get("timeout").and_then(|value| value.get().parse().ok()),
    };
    infer::check_wanted(wanted.outputs.iter().map(|(name, _)| name.as_str()), bundle)?;

    let mut at = length;
    let mut tensors = Vec::with_capacity(request.inputs.len());
    for input in request.inputs {
        let parameters = input.parameters.unwrap_or_default();
        no_shared_memory(&parameters)?;
        let size = match parameters.get("binary_data_size").map(|size| size.get()) {
            None | Some("null") => None,
            Some(size) => Some(size.parse::<u64>().map_err(|_| {
                Failure::bad_request("the parameter `binary_data_size` is not a number of bytes")
            })?),
        };
        let data = match (size, input.data) {
            (None, data) => Data::Json(data),
            (Some(_), Some(_)) => {
                return Err(Failure::bad_request(format!(
                    "input `{}` has both `data` and `binary_data_size`: expected one",
                    input.name
                )));
            }
            (Some(size), None) => {
                let left = body.len() - at;
                if size > left as u64 {
                    return Err(Failure::bad_request(format!(
                        "input `{}` should have {size} bytes, but {left} are left of the body",
                        input.name
                    )));
                }
                let own = body.slice(at..at + size as usize);
                at += size as usize;
                Data::Raw(own)
            }
        };
        tensors.push(Tensor {
            name: input.name,
            shape: input.shape,
            datatype: input.datatype,
            data,
        });
    }
    match body.len() - at {
        0 => Ok((wanted, tensors)),
        left => Err(Failure::bad_request(format!(
            "{left} bytes of the body belong to no input: say each input's `binary_data_size`"
        ))),
    }
}

fn no_shared_memory(parameters: &Parameters<'_>) -> Result<(), Failure> {
    match parameters.contains_key("shared_memory_region") {
        true => Err(Failure::bad_request("this server reads no shared memory: send the data")),
        false => Ok(()),
    }
}

/// A body of nothing but bytes: the one input of a model that has one only.
fn raw_only(body: &Bytes, bundle: &Bundle) -> Result<(Wanted, Vec<Tensor<'static>>), Failure> {
    let inputs = infer::inputs(bundle);
    let [input] = inputs.as_slice() else {
        return Err(Failure::bad_request(format!(
            "the model has {} inputs, and only one could be sent as bytes alone",
            inputs.len()
        )));
    };
    let (shape, data) = match input.datatype {
        // One text, without its length.
        "BYTES" => {
            let text = std::str::from_utf8(body);
            let text = text.map_err(|_| Failure::bad_request("the body is not UTF-8"))?;
            (vec![1], super::tensor::raw_texts([text].into_iter()).into())
        }
        datatype => {
            let width = if datatype == "UINT8" { 1 } else { 8 };
            let row: Vec<u64> = input.shape[1..].iter().map(|size| *size as u64).collect();
            let size = width * row.iter().product::<u64>();
            let rows = body.len() as u64 / size.max(1);
            ([vec![rows], row].concat(), body.clone())
        }
    };
    let tensor = Tensor {
        name: input.name.clone(),
        shape,
        datatype: input.datatype.into(),
        data: Data::Raw(data),
    };
    let wanted = Wanted {
        binary: true,
        ..Default::default()
    };
    Ok((wanted, vec![tensor]))
}

#[derive(Serialize)]
struct Answer<'a> {
    model_name: &'a str,
    model_version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    outputs: Vec<Answered<'a>>,
}

#[derive(Serialize)]
struct Answered<'a> {
    name: &'a str,
    shape: &'a [usize],
    datatype: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a Values>,
}

impl Serialize for Values {
    /// A number that is not finite is `null`: clients break on a bare `NaN`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Values::Numbers(numbers) => numbers.serialize(serializer),
            Values::Texts(texts) => texts.serialize(serializer),
        }
    }
}

/// The answer; only the outputs that were asked for, in that order.
///
/// # Errors
/// When it cannot be written, which memory alone decides.
pub(crate) fn respond(
    model: &Loaded,
    wanted: &Wanted,
    predictions: Predictions,
) -> Result<Response, Failure> {
    let outputs = infer::tensors(predictions);
    let chosen: Vec<(&Output, bool)> = match wanted.outputs.as_slice() {
        [] => outputs.iter().map(|output| (output, wanted.binary)).collect(),
        named => named
            .iter()
            .filter_map(|(name, binary)| {
                let output = outputs.iter().find(|output| output.name == name)?;
                Some((output, binary.unwrap_or(wanted.binary)))
            })
            .collect(),
    };
    let mut bytes = Vec::new();
    let outputs = chosen.iter().map(|(output, binary)| {
        let before = bytes.len();
        if *binary {
            bytes.extend(output.raw());
        }
        Answered {
            name: output.name,
            shape: &output.shape,
            datatype: output.datatype(),
            parameters: binary.then(|| json!({ "binary_data_size": bytes.len() - before })),
            data: (!binary).then_some(&output.values),
        }
    });
    let answer = Answer {
        model_name: &model.name,
        model_version: model.version.to_string(),
        id: wanted.id.as_deref(),
        outputs: outputs.collect(),
    };
    let mut body = serde_json::to_vec(&answer).map_err(Failure::internal)?;
    if bytes.is_empty() {
        return Ok(json_response(body));
    }
    let length = HeaderValue::from(body.len());
    body.extend(bytes);
    let kind = HeaderValue::from_static("application/octet-stream");
    let mut response = ([(header::CONTENT_TYPE, kind)], body).into_response();
    response.headers_mut().insert(JSON_LENGTH, length);
    Ok(response)
}

/// A body that is JSON.
pub(crate) fn json_response(body: Vec<u8>) -> Response {
    let kind = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, kind)], body).into_response()
}

/// The model's metadata, made from its contract.
pub(crate) fn metadata(model: &Loaded, versions: &[String]) -> Value {
    let bundle = model.bundle();
    let to_json = |tensors: Vec<infer::Described>| -> Vec<Value> {
        tensors.iter().map(infer::Described::to_json).collect()
    };
    json!({
        "name": model.name,
        "versions": versions,
        "platform": infer::platform(bundle),
        "inputs": to_json(infer::inputs(bundle)),
        "outputs": to_json(infer::outputs(bundle)),
    })
}

/// What one version did, as Triton says it. A request is prepared before it waits, so what its input
/// and its output take is not told apart.
pub(crate) fn statistics(model: &Loaded) -> Value {
    let done = &model.metrics.tallies;
    let tally = |tally: &Tally| {
        let [count, nanoseconds] = tally.get();
        json!({ "count": count, "ns": nanoseconds })
    };
    let [passes, _] = done.passes.get();
    json!({
        "name": model.name,
        "version": model.version.to_string(),
        "last_inference": done.last.load(Ordering::Relaxed),
        "inference_count": done.rows.load(Ordering::Relaxed),
        "execution_count": passes,
        "inference_stats": {
            "success": tally(&done.success),
            "fail": tally(&done.fail),
            "queue": tally(&done.queue),
            "compute_input": tally(&Tally::default()),
            "compute_infer": tally(&done.passes),
            "compute_output": tally(&Tally::default()),
        },
        "batch_stats": [],
    })
}
