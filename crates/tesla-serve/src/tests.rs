//! The promises of the server, asked of its routes without a network.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{Request, StatusCode};
use proptest::prelude::*;
use prost::Message;
use serde_json::{Value, json};
use tesla_core::{Bundle, Device, DeviceChoice, Predictions, Predictor};
use tower::ServiceExt;

use crate::proto::infer_parameter::ParameterChoice;
use crate::proto::model_infer_request::InferInputTensor;
use crate::proto::{InferParameter, InferTensorContents, ModelInferRequest, ModelInferResponse};
use crate::{Batching, Config, Keys, Limits, Store, router_of};

mod limits;
mod operation;
mod protocols;
mod versions;

const COLUMNS: [&str; 4] = ["sepal_length", "sepal_width", "petal_length", "petal_width"];

fn golden() -> Bundle {
    let bytes = include_bytes!("../../tesla/tests/golden/format-1.tesla");
    Bundle::from_bytes("golden", bytes).unwrap()
}

pub(crate) fn predictor() -> Predictor {
    golden()
        .predictor(&Device::open(DeviceChoice::Flex).unwrap())
        .unwrap()
}

fn routes(config: Config) -> Router {
    let store = Store::without_files(config);
    store.insert("iris", predictor()).unwrap();
    router_of(Arc::new(store))
}

fn get(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).unwrap()
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

async fn send(routes: &Router, request: Request<Body>) -> (StatusCode, Bytes) {
    let answer = routes.clone().oneshot(request).await.unwrap();
    let status = answer.status();
    (status, axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap())
}

fn post(path: &str, kind: &str, body: impl Into<Body>) -> Request<Body> {
    let request = Request::post(path).header("content-type", kind);
    request.body(body.into()).unwrap()
}

pub(crate) fn row(values: [f64; 4]) -> Value {
    json!({ COLUMNS[0]: values[0], COLUMNS[1]: values[1], COLUMNS[2]: values[2], COLUMNS[3]: values[3] })
}

/// Where gRPC asks for predictions.
const MODEL_INFER: &str = "/inference.GRPCInferenceService/ModelInfer";

/// Rows of the iris model as gRPC sends them.
fn grpc_message(rows: usize) -> ModelInferRequest {
    let values = [5.1, 3.5, 1.4, 0.2];
    let inputs = std::iter::zip(COLUMNS, values).map(|(name, value)| InferInputTensor {
        name: name.into(),
        datatype: "FP64".into(),
        shape: vec![rows as i64],
        contents: Some(InferTensorContents {
            fp64_contents: vec![value; rows],
            ..Default::default()
        }),
        ..Default::default()
    });
    ModelInferRequest {
        model_name: "iris".into(),
        id: "42".into(),
        inputs: inputs.collect(),
        ..Default::default()
    }
}

/// A message as it stands in a body: not packed, its length, itself.
fn framed(message: &impl Message) -> Vec<u8> {
    let mut body = vec![0];
    body.extend((message.encoded_len() as u32).to_be_bytes());
    message.encode(&mut body).unwrap();
    body
}

fn grpc_request(rows: usize) -> Vec<u8> {
    framed(&grpc_message(rows))
}

/// What gRPC answers; the bytes of the message are behind five others.
async fn ask_grpc(routes: &Router, body: Vec<u8>) -> (tonic::Code, Bytes) {
    let request = post(MODEL_INFER, "application/grpc", body);
    let answer = routes.clone().oneshot(request).await.unwrap();
    let status = tonic::Status::from_header_map(answer.headers());
    let code = status.map_or(tonic::Code::Ok, |status| status.code());
    (code, axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap())
}

fn numbers(predictions: Predictions) -> Vec<f64> {
    match predictions {
        Predictions::Classes { probabilities, .. } => probabilities,
        Predictions::Values(values) => values,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_row_is_predicted_to_the_bit_as_if_it_were_alone(
        sizes in prop::collection::vec(1usize..40, 1..6),
        seed in 0.0f64..1.0,
    ) {
        let predictor = predictor();
        let mut next = seed;
        let mut draw = || { next = (next * 997.0 + 0.37).fract(); next * 8.0 };
        let requests: Vec<Vec<Value>> = sizes
            .iter()
            .map(|size| (0..*size).map(|_| row([draw(), draw(), draw(), draw()])).collect())
            .collect();
        let prepare = |rows: &[Value]| {
            let rows: Vec<_> = rows.iter().map(|r| r.as_object().unwrap().clone()).collect();
            predictor.prepare(&predictor.bundle().contract.from_json(&rows).unwrap()).unwrap()
        };
        let prepared: Vec<_> = requests.iter().map(|rows| prepare(rows)).collect();
        let parts: Vec<_> = prepared.iter().map(|p| (p, 0..p.len())).collect();
        let together = predictor.scores(&parts).unwrap();
        let alone: Vec<f64> = requests
            .iter()
            .flatten()
            .flat_map(|row| {
                let one = prepare(std::slice::from_ref(row));
                predictor.scores(&[(&one, 0..1)]).unwrap()
            })
            .collect();
        prop_assert!(together.iter().map(|x| x.to_bits()).eq(alone.iter().map(|x| x.to_bits())));
    }
}

#[test]
fn rows_of_many_clients_never_cross() {
    for delay in [Duration::ZERO, Duration::from_millis(2)] {
        let config = Config {
            batching: Batching {
                rows: 16,
                delay,
                queue: 1000,
            },
            ..Default::default()
        };
        let routes = routes(config);
        let expected = predictor();
        runtime().block_on(async {
            let ask = |client: usize| {
                let routes = routes.clone();
                // One client sends many rows, which take several passes.
                let count = if client == 7 { 50 } else { 1 + client % 3 };
                let rows: Vec<Value> = (0..count)
                    .map(|i| row([4.0 + client as f64 * 0.03, 3.0, 1.0 + i as f64 * 0.1, 0.2]))
                    .collect();
                tokio::spawn(async move {
                    let request = post(
                        "/v1/models/iris/predict",
                        "application/json",
                        json!({ "rows": rows }).to_string(),
                    );
                    (rows, send(&routes, request).await)
                })
            };
            for asked in (0..64).map(ask).collect::<Vec<_>>() {
                let (rows, (status, body)) = asked.await.unwrap();
                assert_eq!(status, 200);
                let answer: Value = serde_json::from_slice(&body).unwrap();
                let rows: Vec<_> = rows.iter().map(|r| r.as_object().unwrap().clone()).collect();
                let rows = expected.bundle().contract.from_json(&rows).unwrap();
                let wanted = numbers(expected.predict(&rows).unwrap());
                let found: Vec<f64> = answer["predictions"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .flat_map(|p| p["probabilities"].as_object().unwrap().values())
                    .map(|p| p.as_f64().unwrap())
                    .collect();
                assert_eq!(found, wanted);
            }
        });
    }
}

/// Anything that is JSON.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|f| json!(f)),
        ".{0,8}".prop_map(Value::from),
        prop::sample::select(&COLUMNS[..]).prop_map(Value::from),
        Just(json!("FP64")),
        Just(json!("BYTES")),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        let keys = [
            "inputs",
            "name",
            "shape",
            "datatype",
            "data",
            "parameters",
            "outputs",
            "rows",
            "binary_data_size",
            "instances",
            "dataframe_split",
            "columns",
            "sepal_length",
            "id",
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((prop::sample::select(keys.to_vec()), inner), 0..5)
                .prop_map(|pairs| pairs.into_iter().map(|(k, v)| (k.to_string(), v)).collect()),
        ]
    })
}

/// A request that is nearly right.
fn nearly_right() -> impl Strategy<Value = Value> {
    let tensor = (
        prop::sample::select(&COLUMNS[..]),
        prop::collection::vec(prop_oneof![0u64..4, any::<u64>()], 0..4),
        prop::sample::select(vec!["FP64", "FP32", "INT8", "BYTES", "BOOL", "FP16", "X"]),
        prop::option::of(any_json()),
        prop::option::of(any::<u32>()),
    )
        .prop_map(|(name, shape, datatype, data, size)| {
            let mut tensor = json!({ "name": name, "shape": shape, "datatype": datatype });
            if let Some(data) = data {
                tensor["data"] = data;
            }
            if let Some(size) = size {
                tensor["parameters"] = json!({ "binary_data_size": size % 64 });
            }
            tensor
        });
    prop::collection::vec(tensor, 0..6).prop_map(|inputs| json!({ "inputs": inputs }))
}

/// Tensors as bytes, some of which are a few too many or too few.
fn nearly_binary() -> impl Strategy<Value = (Value, Vec<u8>)> {
    let kinds = [("FP64", 8), ("FP32", 4), ("INT8", 1), ("BOOL", 1), ("BF16", 2), ("BYTES", 5)];
    let tensor =
        (prop::sample::select(kinds.to_vec()), prop_oneof![4 => Just(0i64), 1 => -1i64..=1]);
    let parts = (0u64..3, prop::collection::vec(tensor, 4), prop::collection::vec(any::<u8>(), 96));
    parts.prop_map(|(rows, tensors, mut raw)| {
        let mut total = 0;
        let inputs = std::iter::zip(COLUMNS, tensors).map(|(name, ((datatype, width), beside))| {
            let size = (rows * width).saturating_add_signed(beside);
            total += size as usize;
            json!({ "name": name, "shape": [rows], "datatype": datatype,
                "parameters": { "binary_data_size": size } })
        });
        let inputs: Vec<Value> = inputs.collect();
        raw.truncate(total);
        (json!({ "inputs": inputs }), raw)
    })
}

#[test]
fn no_body_is_answered_with_a_5xx() {
    let routes = routes(Config::default());
    let runtime = runtime();
    let paths = [
        "/v2/models/iris/infer",
        "/v1/models/iris/predict",
        "/invocations",
        "/v2/models/%ff/infer",
        "/v2/models/..%2f..%2fetc/versions/1/infer",
    ];
    let kinds =
        ["application/json", "text/csv", "image/png", "multipart/form-data; boundary=x", "a/b", ""];
    // A body, and how many bytes of it are JSON.
    let known = |json: Value| {
        let json = json.to_string().into_bytes();
        let length = json.len();
        (json, length)
    };
    let both = move |(json, raw): (Value, Vec<u8>)| {
        let (json, length) = known(json);
        ([json, raw].concat(), length)
    };
    let unknown = |body: Vec<u8>| {
        let length = body.len();
        (body, length)
    };
    let body = prop_oneof![
        any_json().prop_map(known),
        nearly_right().prop_map(known),
        (nearly_right(), prop::collection::vec(any::<u8>(), 0..64)).prop_map(both),
        nearly_binary().prop_map(both),
        prop::collection::vec(any::<u8>(), 0..200).prop_map(unknown),
        "[a-z,\"\n;0-9]{0,60}".prop_map(move |text: String| unknown(text.into_bytes())),
    ];
    // What the header says of that: often the truth, or one byte beside it.
    #[derive(Clone, Debug)]
    enum Said {
        Nothing,
        Text(String),
        Beside(isize),
    }
    let header = prop_oneof![
        Just(Said::Nothing),
        (0usize..200).prop_map(|n| Said::Text(n.to_string())),
        "[ -~]{0,8}".prop_map(Said::Text),
        (-1isize..=1).prop_map(Said::Beside),
        Just(Said::Beside(0)),
    ];
    let strategy = (
        prop::sample::select(paths.to_vec()),
        prop::sample::select(kinds.to_vec()),
        prop::option::weighted(0.1, prop::sample::select(vec!["gzip", "deflate", "br"])),
        header,
        body,
    );
    let config = ProptestConfig::with_cases(1500);
    proptest!(config, |((path, kind, packing, header, body) in strategy)| {
        let (body, json) = body;
        let mut request = post(path, kind, body);
        if let Some(packing) = packing {
            request.headers_mut().insert("content-encoding", packing.parse().unwrap());
        }
        let said = match header {
            Said::Nothing => None,
            Said::Text(text) => Some(text),
            Said::Beside(bytes) => Some(json.saturating_add_signed(bytes).to_string()),
        };
        if let Some(said) = said {
            let name = crate::protocol::rest::JSON_LENGTH;
            request.headers_mut().insert(name, said.parse().unwrap());
        }
        let (status, answer) = runtime.block_on(send(&routes, request));
        prop_assert!(!status.is_server_error(), "{status}: {answer:?}");
        if status != 200 {
            let answer: Value = serde_json::from_slice(&answer).unwrap();
            prop_assert!(answer["error"].is_string());
        }
    });
}

#[test]
fn binary_tensors_go_both_ways() {
    let routes = routes(Config::default());
    let mut raw = Vec::new();
    let inputs: Vec<Value> = COLUMNS
        .iter()
        .zip([5.1f32, 3.5, 1.4, 0.2])
        .map(|(name, value)| {
            raw.extend(value.to_le_bytes());
            json!({ "name": name, "shape": [1], "datatype": "FP32",
                "parameters": { "binary_data_size": 4 } })
        })
        .collect();
    let head = json!({ "id": "a", "parameters": { "binary_data_output": true }, "inputs": inputs })
        .to_string();
    let length = head.len();
    let mut request = post("/v2/models/iris/infer", "", [head.into_bytes(), raw].concat());
    request
        .headers_mut()
        .insert(crate::protocol::rest::JSON_LENGTH, length.into());
    runtime().block_on(async {
        let answer = routes.oneshot(request).await.unwrap();
        assert_eq!(answer.status(), 200);
        let length: usize = answer.headers()[crate::protocol::rest::JSON_LENGTH]
            .to_str()
            .unwrap()
            .parse()
            .unwrap();
        let body = axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        let head: Value = serde_json::from_slice(&body[..length]).unwrap();
        assert_eq!(head["outputs"][1]["parameters"]["binary_data_size"], 24);
        assert_eq!(&body[length..length + 10], b"\x06\0\0\0setosa");
        assert_eq!(body.len(), length + 10 + 24);
    });
}

#[test]
fn who_may_not_ask_and_what_is_too_much_is_refused() {
    let config = Config {
        keys: Keys::parse("secret"),
        limits: Limits {
            rows: 2,
            body: 1000,
            ..Default::default()
        },
        ..Default::default()
    };
    let routes = routes(config);
    let rows = |count: usize| json!(vec![row([5.0, 3.0, 1.0, 0.2]); count]).to_string();
    let keyed = |body: String| {
        let mut request = post("/v1/models/iris/predict", "application/json", body);
        request
            .headers_mut()
            .insert("authorization", "Bearer secret".parse().unwrap());
        request
    };
    runtime().block_on(async {
        let bare = post("/v1/models/iris/predict", "application/json", rows(1));
        assert_eq!(send(&routes, bare).await.0, 401);
        assert_eq!(send(&routes, keyed(rows(1))).await.0, 200);
        assert_eq!(send(&routes, keyed(rows(3))).await.0, 400);
        assert_eq!(send(&routes, keyed(rows(100))).await.0, 413);
        let ready = Request::get("/v2/health/ready").body(Body::empty()).unwrap();
        assert_eq!(send(&routes, ready).await.0, 200);
        let metrics = Request::get("/metrics").body(Body::empty()).unwrap();
        assert_eq!(send(&routes, metrics).await.0, 401);
        let mut load = Request::post("/v2/repository/models/iris/unload")
            .body(Body::empty())
            .unwrap();
        load.headers_mut().insert("x-api-key", "secret".parse().unwrap());
        assert_eq!(send(&routes, load).await.0, 403);
    });
}

#[test]
fn a_full_queue_and_a_late_request_are_told_when_to_come_back() {
    let config = Config {
        batching: Batching {
            queue: 0,
            ..Default::default()
        },
        ..Default::default()
    };
    let full = routes(config);
    let late = routes(Config {
        limits: Limits {
            time: Duration::ZERO,
            ..Default::default()
        },
        ..Default::default()
    });
    let body = row([5.0, 3.0, 1.0, 0.2]).to_string();
    runtime().block_on(async {
        let request = post("/v1/models/iris/predict", "", body.clone());
        let answer = full.oneshot(request).await.unwrap();
        assert_eq!(answer.status(), 503);
        assert_eq!(answer.headers()["retry-after"], "1");
        let (status, _) = send(&late, post("/v1/models/iris/predict", "", body)).await;
        assert!(status == 503 || status == 408, "{status}");
    });
}

#[test]
fn a_new_version_answers_once_it_is_checked_and_can_be_rolled_back() {
    let folder = tempfile::tempdir().unwrap();
    let write = |path: &str, bytes: &[u8]| {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    };
    let good = golden().to_bytes().unwrap();
    let mut broken = good.clone();
    broken[1000] ^= 1;
    let store = Store::new(Device::open(DeviceChoice::Flex).unwrap(), Config::default());
    let current = || store.find("iris", None).map(|model| model.version).ok();
    write("iris/1/model.tesla", &good);
    store.add(folder.path(), None).unwrap();
    assert_eq!(current(), Some(1));
    write("iris/2/model.tesla", &good);
    // A file counts once it looked the same twice.
    store.refresh();
    assert_eq!(current(), Some(1));
    store.refresh();
    assert_eq!(current(), Some(2));
    assert_eq!(store.versions("iris"), ["1", "2"]);
    write("iris/3/model.tesla", &broken);
    assert!(store.load("iris").unwrap_err().message.contains("altered"));
    assert_eq!(current(), Some(2));
    assert!(store.list()[0].reason.contains("altered"));
    store.load("iris").unwrap_err();
    std::fs::remove_dir_all(folder.path().join("iris/3")).unwrap();
    store.refresh();
    store.refresh();
    assert_eq!(store.roll_back("iris").unwrap(), 1);
    assert_eq!(current(), Some(1));
    assert!(store.roll_back("iris").is_err());
    store.unload("iris").unwrap();
    store.refresh();
    store.refresh();
    assert_eq!(current(), None);
    store.load("iris").unwrap();
    assert_eq!(current(), Some(2));
    for name in ["../iris", "iris/2", "", "iris\0"] {
        assert_eq!(store.load(name).unwrap_err().status, 404, "{name}");
    }
}

#[test]
fn a_grpc_message_that_cannot_be_read_is_the_fault_of_its_client() {
    let routes = routes(Config::default());
    for body in
        [&[0, 0, 0, 0, 3, 255, 255, 255][..], &[9, 0, 0, 0, 1, 0], &[1, 0, 0, 0, 1, 0], &[0, 0, 0]]
    {
        let request =
            post("/inference.GRPCInferenceService/ModelInfer", "application/grpc", body.to_vec());
        let answer = runtime().block_on(routes.clone().oneshot(request)).unwrap();
        let status = tonic::Status::from_header_map(answer.headers()).unwrap();
        assert_eq!(status.code(), tonic::Code::InvalidArgument, "{status}");
    }
}

#[test]
fn what_is_not_there_is_named_and_a_first_load_has_nothing_to_keep() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(Device::open(DeviceChoice::Flex).unwrap(), Config::default());
    let absent = folder.path().join("nothing.tesla");
    let error = store.add(&absent, None).unwrap_err().to_string();
    assert!(error.starts_with(&format!("cannot read `{}`: ", absent.display())), "{error}");

    let path = folder.path().join("iris.tesla");
    let good = golden().to_bytes().unwrap();
    std::fs::write(&path, &good[..100]).unwrap();
    store.add(folder.path(), None).unwrap_err();
    let failure = store.load("iris").unwrap_err().message;
    assert!(failure.ends_with("; there is no earlier version that could answer"), "{failure}");
    std::fs::write(&path, &good).unwrap();
    store.load("iris").unwrap();
    std::fs::write(&path, &good[..100]).unwrap();
    let failure = store.load("iris").unwrap_err().message;
    assert!(failure.ends_with("; what was served before still is"), "{failure}");
}

#[test]
fn models_are_listed_with_what_their_rows_look_like() {
    let routes = routes(Config::default());
    let ask = |path: &str| {
        let (status, body) = runtime().block_on(send(&routes, get(path)));
        (status, serde_json::from_slice::<Value>(&body).unwrap())
    };
    let (status, list) = ask("/v1/models");
    assert_eq!(status, 200);
    let [iris] = list["models"].as_array().unwrap().as_slice() else {
        panic!("{list}");
    };
    assert_eq!(
        [&iris["name"], &iris["version"], &iris["target"], &iris["lists"]],
        [&json!("iris"), &json!("1"), &json!("species"), &Value::Null]
    );
    assert_eq!(iris["row"]["required"], json!(COLUMNS));
    assert_eq!(ask("/v1/models/iris"), (StatusCode::OK, iris.clone()));
    assert_eq!(ask("/v1/models/adult").0, 404);
}

#[test]
fn what_is_no_number_in_the_end_is_refused_and_a_header_is_known_by_its_names() {
    let mut bundle = golden();
    let names = ["sepal_length", "sepal_width", "petal_length", "petal_width", "species"];
    bundle.provenance.config["data"]["csv"] = json!({ "header": false, "names": names });
    let store = Store::without_files(Config::default());
    let device = Device::open(DeviceChoice::Flex).unwrap();
    store.insert("iris", bundle.predictor(&device).unwrap()).unwrap();
    let routes = router_of(Arc::new(store));
    let ask = |kind: &str, body: String| {
        runtime().block_on(send(&routes, post("/v1/models/iris/predict", kind, body)))
    };
    let (status, body) = ask("", row([1e39, 3.0, 1.0, 0.2]).to_string());
    assert_eq!(status, 400);
    assert!(String::from_utf8_lossy(&body).contains("row 1: a value is so large"), "{body:?}");
    let plain = ask("text/csv", "5.1,3.5,1.4,0.2,setosa\n".into());
    assert_eq!(plain.0, 200, "{plain:?}");
    assert_eq!(ask("text/csv", "5.1,3.5,1.4,0.2\n".into()), plain);
    let header = "petal_width,petal_length,\"sepal_width\",sepal_length\r\n0.2,1.4,3.5,5.1\r\n";
    assert_eq!(ask("text/csv", header.into()), plain);
}

#[test]
fn models_are_replaced_while_requests_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("iris.tesla");
    let good = golden().to_bytes().unwrap();
    std::fs::write(&path, &good).unwrap();
    let store = Store::new(Device::open(DeviceChoice::Flex).unwrap(), Config::default());
    store.add(folder.path(), None).unwrap();
    let store = Arc::new(store);
    let routes = router_of(store.clone());
    runtime().block_on(async {
        let ended = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let client = || {
            let (routes, ended) = (routes.clone(), ended.clone());
            tokio::spawn(async move {
                let mut answers = 0;
                while !ended.load(std::sync::atomic::Ordering::Relaxed) || answers == 0 {
                    let body = row([5.0, 3.0, 1.0, 0.2]).to_string();
                    let (status, body) =
                        send(&routes, post("/v1/models/iris/predict", "", body)).await;
                    assert_eq!(status, 200, "{body:?}");
                    answers += 1;
                }
            })
        };
        let clients: Vec<_> = (0..4).map(|_| client()).collect();
        let loading = store.clone();
        let reload = move || {
            for i in 0..20u64 {
                // The time of a file is its version here.
                let time = std::time::UNIX_EPOCH + Duration::from_secs(i);
                let file = std::fs::File::options().write(true).open(&path).unwrap();
                file.set_modified(time).unwrap();
                loading.load("iris").unwrap();
            }
        };
        tokio::task::spawn_blocking(reload).await.unwrap();
        ended.store(true, std::sync::atomic::Ordering::Relaxed);
        for client in clients {
            client.await.unwrap();
        }
    });
    assert_eq!(store.versions("iris"), ["20", "21"]);
}

#[test]
fn a_server_with_a_certificate_speaks_tls_only() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio_rustls::rustls::pki_types::ServerName;
    use tokio_rustls::rustls::{ClientConfig, RootCertStore};

    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let tls = crate::Tls {
        certificate: folder.path().join("cert.pem"),
        key: folder.path().join("key.pem"),
    };
    std::fs::write(&tls.certificate, made.cert.pem()).unwrap();
    std::fs::write(&tls.key, made.signing_key.serialize_pem()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let store = Store::without_files(Config {
        tls: Some(tls),
        ..Default::default()
    });
    store.insert("iris", predictor()).unwrap();
    let request = b"GET /v2/health/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    runtime().block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let shutdown = async { ended.await.unwrap_or(()) };
        let server = tokio::spawn(crate::listen(Arc::new(store), listener, shutdown));

        let config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let stream = tokio::net::TcpStream::connect(addr).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = connector.connect(name, stream).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

        let mut plain = tokio::net::TcpStream::connect(addr).await.unwrap();
        plain.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        let _ = plain.read_to_end(&mut answer).await;
        assert!(!answer.starts_with(b"HTTP"), "{answer:?}");

        end.send(()).unwrap();
        server.await.unwrap().unwrap();
    });
}
