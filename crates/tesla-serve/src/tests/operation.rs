//! A server at work: what it counts, how it ends, and what it does with connections.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;

struct Running {
    address: SocketAddr,
    end: oneshot::Sender<()>,
    server: JoinHandle<crate::Result<()>>,
}

async fn start(store: Arc<Store>) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (end, ended) = oneshot::channel::<()>();
    let shutdown = async { ended.await.unwrap_or(()) };
    let server = tokio::spawn(crate::listen(store, listener, shutdown));
    Running {
        address,
        end,
        server,
    }
}

/// Waits until something is so; a test that waits for ever has failed.
async fn until(is_so: impl Fn() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.unwrap();
}

async fn read_all(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    let _ = tokio::time::timeout(Duration::from_secs(60), read).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn what_happens_is_counted_under_the_model_and_what_drifts_by_column() {
    let store = Arc::new(Store::without_files(Config {
        limits: Limits {
            body: 2000,
            ..Default::default()
        },
        ..Default::default()
    }));
    store.insert("iris", predictor()).unwrap();
    let routes = router_of(store.clone());
    let ask = |kind: &str, body: String| {
        let request = post("/v1/models/iris/predict", kind, body);
        runtime().block_on(send(&routes, request)).0.as_u16()
    };
    assert_eq!(ask("", row([5.0, 3.0, 1.0, 0.2]).to_string()), 200);
    let mut odd = row([500.0, 3.0, 1.0, 0.2]);
    odd["petal_width"] = Value::Null;
    assert_eq!(ask("", json!([odd, odd]).to_string()), 200);
    assert_eq!(ask("a/b", "{}".into()), 415);
    assert_eq!(ask("", "x".repeat(2001)), 413);
    assert_eq!(ask("", "{}".into()), 400);
    let mut wrong = grpc_message(1);
    wrong.inputs[0].name = "nothing".into();
    let (code, _) = runtime().block_on(ask_grpc(&routes, framed(&wrong)));
    assert_eq!(code, tonic::Code::InvalidArgument);

    let (status, text) = runtime().block_on(send(&routes, get("/metrics")));
    assert_eq!(status, 200);
    let text = String::from_utf8(text.to_vec()).unwrap();
    for line in [
        "tesla_requests_total{model=\"iris\",outcome=\"ok\"} 2",
        "tesla_requests_total{model=\"iris\",outcome=\"bad_request\"} 4",
        "tesla_rows_total{model=\"iris\"} 3",
        "tesla_request_seconds_count{model=\"iris\"} 2",
        "tesla_queue_seconds_count{model=\"iris\"} 2",
        "tesla_pass_seconds_count{model=\"iris\"} 2",
        "tesla_pass_rows_sum{model=\"iris\"} 3.0",
        "tesla_model_version{model=\"iris\"} 1",
        "tesla_http_responses_total{status=\"200\"} 2",
        "tesla_http_responses_total{status=\"400\"} 2",
        "tesla_http_responses_total{status=\"413\"} 1",
        "tesla_http_responses_total{status=\"415\"} 1",
        "tesla_input_drift_total{model=\"iris\",column=\"sepal_length\",kind=\"out_of_range\"} 2",
        "tesla_input_drift_total{model=\"iris\",column=\"petal_width\",kind=\"missing\"} 2",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in {text}");
    }
    assert!(
        text.contains("tesla_request_seconds_bucket{le=\"0.000015\",model=\"iris\"}"),
        "{text}"
    );
    assert!(text.ends_with("# EOF\n"));

    let stats = runtime().block_on(send(&routes, get("/v2/models/iris/stats"))).1;
    let stats: Value = serde_json::from_slice(&stats).unwrap();
    let [stats] = stats["model_stats"].as_array().unwrap().as_slice() else {
        panic!("{stats}");
    };
    assert_eq!((&stats["name"], &stats["version"]), (&json!("iris"), &json!("1")));
    assert_eq!((&stats["inference_count"], &stats["execution_count"]), (&json!(3), &json!(2)));
    for (what, count) in [("success", 2), ("fail", 4), ("queue", 2), ("compute_infer", 2)] {
        assert_eq!(stats["inference_stats"][what]["count"], count, "{what}");
    }
    assert!(stats["inference_stats"]["success"]["ns"].as_u64() > Some(0));
    let one = runtime().block_on(send(&routes, get("/v2/models/iris/versions/1/stats")));
    assert_eq!(one.0, 200);
    let none = runtime().block_on(send(&routes, get("/v2/models/iris/versions/2/stats")));
    assert_eq!(none.0, 404);
}

#[test]
fn every_answer_has_an_id_of_its_own_or_that_of_its_client() {
    let routes = routes(Config::default());
    let id = |given: Option<&str>| {
        let mut request = get("/v2/health/live");
        if let Some(given) = given {
            request.headers_mut().insert("x-request-id", given.parse().unwrap());
        }
        let answer = runtime().block_on(routes.clone().oneshot(request)).unwrap();
        answer.headers()["x-request-id"].to_str().unwrap().to_string()
    };
    assert_eq!(id(Some("a-1.b:2_c")), "a-1.b:2_c");
    let long = "x".repeat(65);
    let own = [id(None), id(None), id(Some("no spaces")), id(Some(&long))];
    for (at, one) in own.iter().enumerate() {
        assert!(own[..at].iter().all(|other| other != one), "{own:?}");
        assert!(one.len() < 64 && !one.contains(' '));
    }
}

#[test]
fn a_request_under_way_is_finished_when_the_server_ends() {
    let store = Arc::new(Store::without_files(Config::default()));
    store.insert("iris", predictor()).unwrap();
    let body = row([5.0, 3.0, 1.0, 0.2]).to_string();
    runtime().block_on(async {
        let running = start(store.clone()).await;
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        let head = format!(
            "POST /v1/models/iris/predict HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let (first, rest) = body.split_at(10);
        stream.write_all(format!("{head}{first}").as_bytes()).await.unwrap();
        until(|| store.metrics.in_flight.get() == 1).await;
        // An idle connection does not keep the server from ending.
        let mut idle = TcpStream::connect(running.address).await.unwrap();
        let ready = b"GET /v2/health/ready HTTP/1.1\r\nHost: x\r\n\r\n";
        idle.write_all(ready).await.unwrap();
        let mut some = [0; 12];
        idle.read_exact(&mut some).await.unwrap();
        assert_eq!(&some, b"HTTP/1.1 200");

        running.end.send(()).unwrap();
        read_all(&mut idle).await;
        stream.write_all(rest.as_bytes()).await.unwrap();
        let answer = read_all(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        running.server.await.unwrap().unwrap();
        assert!(TcpStream::connect(running.address).await.is_err());
    });
}

#[test]
fn a_running_server_finds_what_is_new() {
    let folder = tempfile::tempdir().unwrap();
    let good = golden().to_bytes().unwrap();
    let write = |version: u64| {
        let path = folder.path().join(format!("iris/{version}"));
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("part"), &good).unwrap();
        std::fs::rename(path.join("part"), path.join("model.tesla")).unwrap();
    };
    write(1);
    let config = Config {
        watch: Some(Duration::from_millis(5)),
        ..Default::default()
    };
    let store = Arc::new(Store::new(Device::open(DeviceChoice::Flex).unwrap(), config));
    store.add(folder.path(), None).unwrap();
    runtime().block_on(async {
        let running = start(store.clone()).await;
        write(2);
        until(|| store.versions("iris") == ["1", "2"]).await;
        std::fs::remove_dir_all(folder.path().join("iris")).unwrap();
        until(|| store.versions("iris").is_empty()).await;
        running.end.send(()).unwrap();
        running.server.await.unwrap().unwrap();
    });
}

#[test]
fn connections_that_are_idle_are_closed() {
    let store = Arc::new(Store::without_files(Config {
        limits: Limits {
            header_time: Duration::from_millis(200),
            ..Default::default()
        },
        ..Default::default()
    }));
    runtime().block_on(async {
        let running = start(store.clone()).await;
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        let live = b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n";
        stream.write_all(live).await.unwrap();
        let answer = read_all(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

        // HTTP/2 by hand: who answers every ping, and has nothing to ask any more, is told to go.
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        let frame = |kind: u8, flags: u8, number: u8, body: &[u8]| {
            [&[0, 0, body.len() as u8, kind, flags, 0, 0, 0, number], body].concat()
        };
        // GET of `/` at `x`, which is all of a request.
        let asks = frame(1, 5, 1, &[0x82, 0x86, 0x84, 0x41, 1, b'x']);
        let start = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &frame(4, 0, 0, &[])[..], &asks].concat();
        stream.write_all(&start).await.unwrap();
        let (mut answered, mut told) = (false, false);
        let talk = async {
            let mut head = [0; 9];
            while stream.read_exact(&mut head).await.is_ok() {
                let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
                let mut body = vec![0; length as usize];
                stream.read_exact(&mut body).await.unwrap();
                match (head[3], head[4] & 1) {
                    (6, 0) => {
                        let _ = stream.write_all(&frame(6, 1, 0, &body)).await;
                    }
                    (7, _) => told = true,
                    (1, _) => answered = true,
                    _ => {}
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(60), talk).await.unwrap();
        assert!(answered && told);
        running.end.send(()).unwrap();
        running.server.await.unwrap().unwrap();
    });
}

#[test]
fn the_document_says_what_there_is_and_who_may_ask() {
    let routes = routes(Config {
        keys: Keys::parse("secret"),
        ..Default::default()
    });
    let ask = |method: &str, path: &str| {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .body(Body::empty())
            .unwrap();
        request.headers_mut().insert("x-api-key", "secret".parse().unwrap());
        let (status, body) = runtime().block_on(send(&routes, request));
        (status.as_u16(), serde_json::from_slice::<Value>(&body).unwrap_or_default())
    };
    let document = ask("GET", "/openapi.json").1;
    let paths = document["paths"].as_object().unwrap();
    for path in [
        "/metrics",
        "/invocations",
        "/v1/models/{model}",
        "/v1/models/{model}/invocations",
        "/v1/models/iris/predict",
        "/v1/models/iris/explain",
        "/v2/models/iris",
        "/v2/models/iris/infer",
        "/v2/models/{model}/stats",
        "/v2/models/{model}/config",
        "/v2/models/{model}/versions/{version}",
        "/v2/models/{model}/versions/{version}/infer",
        "/v2/repository/models/{model}/load",
        "/v2/repository/models/{model}/unload",
        "/v2/repository/models/{model}/rollback",
    ] {
        assert!(paths.contains_key(path), "{path}");
    }
    for (path, methods) in paths {
        for (method, operation) in methods.as_object().unwrap() {
            let asked = path.replace("{model}", "iris").replace("{version}", "1");
            // What is answered is among what the document says, and has the shape of it.
            let (status, body) = ask(&method.to_uppercase(), &asked);
            let said = &operation["responses"][status.to_string()];
            assert!(said.is_object(), "{method} {path}: {status} {body}");
            assert_ne!(status, 405, "{method} {path}");
            let other = if method == "get" { "PUT" } else { "DELETE" };
            assert_eq!(ask(other, &asked).0, 405);
            let schema = &said["content"]["application/json"]["schema"];
            let name = schema["$ref"].as_str().and_then(|name| name.rsplit('/').next());
            let schema = name.map_or(schema, |name| &document["components"]["schemas"][name]);
            for key in schema["required"].as_array().into_iter().flatten() {
                assert!(!body[key.as_str().unwrap()].is_null(), "{method} {path}: no {key}");
            }
            let is_open = operation["security"].is_array();
            let bare = Request::builder().method(method.to_uppercase().as_str()).uri(&asked);
            let bare = runtime().block_on(send(&routes, bare.body(Body::empty()).unwrap())).0;
            assert_eq!(bare == 401, !is_open, "{method} {path}");
        }
    }
    let known = document["components"]["responses"].as_object().unwrap();
    for status in [400, 401, 403, 404, 405, 408, 413, 415, 503] {
        assert!(known.contains_key(&status.to_string()));
    }
    assert!(document["security"][0]["bearer"].is_array());
    assert!(document["components"]["securitySchemes"]["header"].is_object());
}
