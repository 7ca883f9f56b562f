//! The Open Inference Protocol over gRPC.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::http::HeaderMap;
use prost::Message;
use prost::encoding::decode_varint;
use tonic::{Request, Response, Status};

use super::infer::{self, Described};
use super::tensor::{Data, Tensor};
use crate::aside::{LONG, elsewhere};
use crate::body::{Bounds, Held, QUICK, unpack_gzip};
use crate::error::Failure;
use crate::model::{Asked, Loaded, values};
use crate::proto::grpc_inference_service_server::GrpcInferenceService;
use crate::proto::infer_parameter::ParameterChoice;
use crate::proto::model_infer_request::InferInputTensor;
use crate::proto::model_infer_response::InferOutputTensor;
use crate::proto::model_metadata_response::TensorMetadata;
use crate::proto::*;
use crate::server::{Server, Turn};

/// Entries of a message, at most: inputs, outputs and raw contents together.
const ENTRIES: usize = 1 << 16;

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl GrpcInferenceService for Arc<Server> {
    async fn server_live(&self, _: Request<ServerLiveRequest>) -> Answer<ServerLiveResponse> {
        Ok(Response::new(ServerLiveResponse { live: true }))
    }

    async fn server_ready(&self, _: Request<ServerReadyRequest>) -> Answer<ServerReadyResponse> {
        Ok(Response::new(ServerReadyResponse {
            ready: self.is_ready(),
        }))
    }

    async fn model_ready(&self, request: Request<ModelReadyRequest>) -> Answer<ModelReadyResponse> {
        let asked = request.into_inner();
        let ready = find(self, &asked.name, &asked.version).is_ok();
        Ok(Response::new(ModelReadyResponse { ready }))
    }

    async fn server_metadata(
        &self,
        _: Request<ServerMetadataRequest>,
    ) -> Answer<ServerMetadataResponse> {
        Ok(Response::new(ServerMetadataResponse {
            name: crate::server::NAME.into(),
            version: env!("CARGO_PKG_VERSION").into(),
            extensions: crate::server::EXTENSIONS.map(String::from).to_vec(),
        }))
    }

    async fn model_metadata(
        &self,
        request: Request<ModelMetadataRequest>,
    ) -> Answer<ModelMetadataResponse> {
        let asked = request.into_inner();
        let model = find(self, &asked.name, &asked.version)?;
        let tensor = |described: Described| TensorMetadata {
            name: described.name,
            datatype: described.datatype.into(),
            shape: described.shape,
        };
        let bundle = model.bundle();
        Ok(Response::new(ModelMetadataResponse {
            name: model.name.clone(),
            versions: self.store.versions(&model.name),
            platform: infer::platform(bundle),
            inputs: infer::inputs(bundle).into_iter().map(tensor).collect(),
            outputs: infer::outputs(bundle).into_iter().map(tensor).collect(),
        }))
    }

    async fn model_infer(&self, request: Request<ModelInferRequest>) -> Answer<ModelInferResponse> {
        let gone = || Failure::internal("a request without its turn");
        let mut turn = request.extensions().get::<Turn>().cloned().ok_or_else(gone)?;
        if let Some(asked) = request.metadata().get("grpc-timeout")
            && let Some(time) = asked.to_str().ok().and_then(timeout)
        {
            turn.deadline = turn.deadline.min(Instant::now() + time);
        }
        let asked = request.into_inner();
        let model = find(self, &asked.model_name, &asked.model_version)?;
        let answer = infer(&model, self.store.config().limits.rows, turn, asked);
        Ok(Response::new(model.counted(answer).await?))
    }
}

async fn infer(
    model: &Arc<Loaded>,
    most: usize,
    turn: Turn,
    asked: ModelInferRequest,
) -> Result<ModelInferResponse, Failure> {
    let size = asked.encoded_len() / 8;
    let wanted: Vec<String> = asked.outputs.into_iter().map(|output| output.name).collect();
    infer::check_wanted(wanted.iter().map(String::as_str), model.bundle())?;
    let time = asked.parameters.get("timeout").and_then(microseconds);
    let (inputs, raw) = (asked.inputs, asked.raw_input_contents);
    let read = move |bundle: &_| {
        let rows = infer::rows(tensors(inputs, raw)?, bundle, most)?;
        Ok(Asked {
            rows,
            wanted: (),
            time,
        })
    };
    let (predictions, ()) = model.predict(most, &turn, size, read).await?;
    let is_long = values(&predictions) > LONG;
    let respond = {
        let model = model.clone();
        move || {
            let mut outputs = infer::tensors(predictions);
            if !wanted.is_empty() {
                outputs.retain(|output| wanted.iter().any(|name| name == output.name));
            }
            let described = outputs.iter().map(|output| InferOutputTensor {
                name: output.name.into(),
                datatype: output.datatype().into(),
                shape: output.shape.iter().map(|size| *size as i64).collect(),
                parameters: HashMap::new(),
                contents: None,
            });
            ModelInferResponse {
                model_name: model.name.clone(),
                model_version: model.version.to_string(),
                id: asked.id,
                parameters: HashMap::new(),
                outputs: described.collect(),
                // Always as bytes: some clients cannot read anything else.
                raw_output_contents: outputs.iter().map(|output| output.raw().into()).collect(),
            }
        }
    };
    elsewhere(is_long, respond).await
}

fn find(server: &Server, name: &str, version: &str) -> Result<Arc<Loaded>, Failure> {
    server
        .store
        .find(name, Some(version).filter(|version| !version.is_empty()))
}

/// A body with its message unpacked, and the room it takes, when that may be decoded: an entry of two
/// bytes becomes a hundred times as many, so they are counted before. There is one message, as the
/// layer below would read, unpack and decode any that follow.
///
/// # Errors
/// When it is not one message, or has more bytes than it may, or too many entries.
pub(crate) async fn open(
    body: Bytes,
    held: Held,
    headers: &HeaderMap,
    bounds: impl FnOnce() -> Bounds,
) -> Result<(Bytes, Held), Failure> {
    let is_one = |length: [u8; 4]| u32::from_be_bytes(length) as usize == body.len() - 5;
    let is_packed = match body.first_chunk::<5>() {
        Some([packed, length @ ..]) if is_one(*length) => *packed == 1,
        _ => {
            let message =
                "the body is not one message: expected its length and as many bytes as that says";
            return Err(Failure::bad_request(message));
        }
    };
    if !is_packed {
        let is_long = body.len() > LONG;
        return elsewhere(is_long, move || Ok((counted(body)?, held))).await?;
    }
    if headers.get("grpc-encoding").is_none_or(|packing| packing != "gzip") {
        // The layer below does not read it, and says so.
        return Ok((body, held));
    }
    let bounds = bounds();
    let is_long = body.len() > QUICK;
    let open = move || {
        let (mut message, held) = unpack_gzip(&body[5..], &bounds)?;
        let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
        message.splice(..0, [0].into_iter().chain(length.to_be_bytes()));
        Ok((counted(message.into())?, held))
    };
    elsewhere(is_long, open).await?
}

/// A body of one message that is not packed.
///
/// # Errors
/// When the message has too many entries.
fn counted(body: Bytes) -> Result<Bytes, Failure> {
    match entries(body.get(5..).unwrap_or_default()) > ENTRIES {
        true => Err(Failure::bad_request(format!(
            "the message has more than {ENTRIES} entries: send one tensor per feature column"
        ))),
        false => Ok(body),
    }
}

/// How many entries stand in a message, up to where it cannot be read.
fn entries(mut message: &[u8]) -> usize {
    let mut count = 0;
    let skip = |mut rest: &[u8]| -> Option<usize> {
        let before = rest.len();
        let key = decode_varint(&mut rest).ok()?;
        let size = match key & 7 {
            0 => decode_varint(&mut rest).map(|_| 0).ok()?,
            1 => 8,
            2 => usize::try_from(decode_varint(&mut rest).ok()?).ok()?,
            5 => 4,
            _ => return None,
        };
        (size <= rest.len()).then(|| before - rest.len() + size)
    };
    while let Some(size) = skip(message) {
        message = &message[size..];
        count += 1;
    }
    count
}

/// What the parameter `timeout` asks for; 0 is how clients say that they do not mind.
fn microseconds(parameter: &InferParameter) -> Option<Duration> {
    let number = match parameter.parameter_choice {
        Some(ParameterChoice::Int64Param(number)) => u64::try_from(number).ok(),
        Some(ParameterChoice::Uint64Param(number)) => Some(number),
        _ => None,
    };
    number.filter(|number| *number > 0).map(Duration::from_micros)
}

/// A time such as `100m`: a number of at most eight digits and a unit.
fn timeout(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u64 = number.parse().ok().filter(|n| *n <= 99_999_999)?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

/// The inputs, with the contents that are theirs.
fn tensors(
    inputs: Vec<InferInputTensor>,
    raw: Vec<Bytes>,
) -> Result<Vec<Tensor<'static>>, Failure> {
    if !raw.is_empty() && raw.len() != inputs.len() {
        return Err(Failure::bad_request(format!(
            "`raw_input_contents` has {} entries for {} inputs: expected one each",
            raw.len(),
            inputs.len()
        )));
    }
    let mut raw = raw.into_iter();
    let tensor = |input: InferInputTensor| {
        let wrong = |what: &str| Failure::bad_request(format!("input `{}` {what}", input.name));
        if let Some(parameter) = input.parameters.get("shared_memory_region")
            && matches!(parameter.parameter_choice, Some(ParameterChoice::StringParam(_)))
        {
            return Err(wrong("is in shared memory, which this server does not read"));
        }
        let shape = input.shape.iter().map(|size| u64::try_from(*size));
        let shape = shape
            .collect::<Result<_, _>>()
            .map_err(|_| wrong("has a negative size"))?;
        let data = match (raw.next(), input.contents) {
            (Some(_), Some(_)) => {
                return Err(Failure::bad_request(format!(
                    "input `{}` has both `contents` and raw contents: expected one",
                    input.name
                )));
            }
            (Some(raw), None) => Data::Raw(raw),
            (None, contents) => Data::Typed(contents.unwrap_or_default()),
        };
        Ok(Tensor {
            name: input.name,
            shape,
            datatype: input.datatype,
            data,
        })
    };
    inputs.into_iter().map(tensor).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_a_number_and_a_unit() {
        assert_eq!(timeout("100m"), Some(Duration::from_millis(100)));
        assert_eq!(timeout("2S"), Some(Duration::from_secs(2)));
        for text in ["", "m", "-1S", "1x", "123456789S", "1é"] {
            assert_eq!(timeout(text), None, "{text}");
        }
    }
}
