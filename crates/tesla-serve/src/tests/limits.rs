//! What is refused, when, and what the others notice of it.

use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::Frame;

use super::*;

/// A body of one byte and no end, which says that it has so many bytes at least.
struct Dawdling(bool, u64);

impl hyper::body::Body for Dawdling {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match std::mem::replace(&mut self.0, true) {
            false => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"{"))))),
            true => Poll::Pending,
        }
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        let mut hint = hyper::body::SizeHint::new();
        hint.set_lower(self.1);
        hint
    }
}

fn limited(limits: Limits) -> (Arc<Store>, Router) {
    let store = Arc::new(Store::without_files(Config {
        limits,
        ..Default::default()
    }));
    store.insert("iris", predictor()).unwrap();
    (store.clone(), router_of(store))
}

#[test]
fn who_is_slow_to_send_keeps_nobody_else_from_asking() {
    let (store, routes) = limited(Limits {
        requests: 1,
        time: Duration::from_millis(500),
        ..Default::default()
    });
    runtime().block_on(async {
        let kinds = ["application/grpc", "application/json", "application/grpc"];
        let slow: Vec<_> = kinds
            .into_iter()
            .map(|kind| {
                let path = match kind {
                    "application/grpc" => MODEL_INFER,
                    _ => "/v1/models/iris/predict",
                };
                let request = post(path, kind, Body::new(Dawdling(false, 0)));
                tokio::spawn(routes.clone().oneshot(request))
            })
            .collect();
        while store.metrics.in_flight.get() < 3 {
            tokio::task::yield_now().await;
        }
        for _ in 0..3 {
            let good = row([5.0, 3.0, 1.0, 0.2]).to_string();
            let (status, body) = send(&routes, post("/v1/models/iris/predict", "", good)).await;
            assert_eq!(status, 200, "{body:?}");
            let (code, _) = ask_grpc(&routes, grpc_request(1)).await;
            assert_eq!(code, tonic::Code::Ok);
        }
        for (kind, slow) in kinds.iter().zip(slow) {
            let answer = slow.await.unwrap().unwrap();
            match *kind {
                "application/grpc" => {
                    let status = tonic::Status::from_header_map(answer.headers()).unwrap();
                    assert_eq!(status.code(), tonic::Code::DeadlineExceeded);
                }
                _ => assert_eq!(answer.status(), 408),
            }
        }
    });
    assert!(
        store
            .metrics
            .text()
            .contains("http_responses_total{status=\"408\"} 3")
    );
}

#[test]
fn who_comes_when_there_is_no_place_is_told_when_to_come_back() {
    let (store, routes) = limited(Limits {
        requests: 0,
        ..Default::default()
    });
    runtime().block_on(async {
        let good = row([5.0, 3.0, 1.0, 0.2]).to_string();
        let request = post("/v1/models/iris/predict", "", good);
        let answer = routes.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), 503);
        assert_eq!(answer.headers()["retry-after"], "1");
        let request = post(MODEL_INFER, "application/grpc", grpc_request(1));
        let answer = routes.clone().oneshot(request).await.unwrap();
        let status = tonic::Status::from_header_map(answer.headers()).unwrap();
        assert_eq!(status.code(), tonic::Code::ResourceExhausted);
        assert_eq!(status.metadata().get("retry-after").unwrap(), "1");
        // What is only looked up needs no place.
        assert_eq!(send(&routes, get("/v2/models/iris")).await.0, 200);
    });
    let text = store.metrics.text();
    assert!(text.contains("http_responses_total{status=\"503\"} 2"), "{text}");
    assert!(text.contains("requests_total{model=\"iris\",outcome=\"overloaded\"} 1"), "{text}");
}

#[test]
fn more_rows_than_may_be_are_refused_before_they_are_read() {
    let (_, routes) = limited(Limits {
        rows: 100,
        ..Default::default()
    });
    let ask = |path: &str, kind: &str, body: Vec<u8>| {
        let (status, answer) = runtime().block_on(send(&routes, post(path, kind, body)));
        assert_eq!(status, 400);
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        answer["error"].as_str().unwrap().to_string()
    };
    // What follows is no JSON, which nobody notices.
    let many = |start: &str, each: &[u8], count: usize| {
        [start.as_bytes(), &each.repeat(count), b" and no end"].concat()
    };
    let said = "the request has more than 100 rows: this server takes up to 100 at a time here";
    for body in [
        many("[0", b",0", 1_000_000),
        many("[{}", b",{}", 1_000_000),
        many("{\"rows\": [0", b",0", 1_000_000),
        many("{\"a\": [[0]", b",[0]", 1_000_000),
    ] {
        assert_eq!(ask("/v1/models/iris/predict", "", body), said);
    }
    let body = many("{\"instances\": [[0", b",0", 1_000_000);
    let said = ask("/invocations", "application/json", body);
    assert!(said.starts_with("the request has more than 66536 values: this server"), "{said}");
    // A shape is looked at before its values are.
    let tensor = |shape: Value, data: Value| {
        let tensor =
            json!({ "name": COLUMNS[0], "shape": shape, "datatype": "FP64", "data": data });
        json!({ "inputs": [tensor] }).to_string().into_bytes()
    };
    for shape in [json!([101]), json!([u64::MAX, 1])] {
        let said = ask("/v2/models/iris/infer", "", tensor(shape.clone(), json!(["no number"])));
        assert!(said.ends_with("rows: this server takes up to 100 at a time here"), "{said}");
    }
    let said = ask("/v2/models/iris/infer", "", tensor(json!([2]), json!(vec![0; 1_000_000])));
    assert!(said.contains("has more than 2 values, but its shape [2] asks for 2"), "{said}");
}

#[test]
fn a_form_may_be_as_large_as_any_body() {
    let (_, routes) = limited(Limits::default());
    let note = "x".repeat(700);
    let line = format!("5.1,3.5,1.4,0.2,{note}\n");
    let table = format!("{},note\n{}", COLUMNS.join(","), line.repeat(5000));
    assert!(table.len() > 3 << 20);
    let form = format!(
        "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"t.csv\"\r\n\r\n{table}\r\n--b--\r\n"
    );
    let request = post("/v1/models/iris/predict", "multipart/form-data; boundary=b", form);
    let (status, answer) = runtime().block_on(send(&routes, request));
    assert_eq!(status, 200, "{answer:?}");
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!(answer["predictions"].as_array().unwrap().len(), 5000);
}

#[test]
fn a_model_that_is_flooded_leaves_the_others_alone() {
    // Whoever has fewer rows than a pass may have waits, for as long as this takes.
    let store = Arc::new(Store::without_files(Config {
        batching: Batching {
            rows: 64,
            delay: Duration::from_secs(3600),
            queue: 3,
        },
        ..Default::default()
    }));
    store.insert("flooded", predictor()).unwrap();
    store.insert("quiet", predictor()).unwrap();
    let routes = router_of(store.clone());
    runtime().block_on(async {
        let ask = |model: &str, rows: usize| {
            let rows = json!(vec![row([5.0, 3.0, 1.0, 0.2]); rows]).to_string();
            post(&format!("/v1/models/{model}/predict"), "", rows)
        };
        let waiting: Vec<_> = (0..3)
            .map(|_| tokio::spawn(routes.clone().oneshot(ask("flooded", 1))))
            .collect();
        while store.metrics.model("flooded").queued.get() < 3 {
            tokio::task::yield_now().await;
        }
        for _ in 0..3 {
            assert_eq!(send(&routes, ask("flooded", 1)).await.0, 503);
            assert_eq!(send(&routes, ask("quiet", 64)).await.0, 200);
        }
        waiting.iter().for_each(|waiting| waiting.abort());
    });
}

#[test]
fn how_long_a_request_may_take_is_said_in_several_ways() {
    let store = Arc::new(Store::without_files(Config {
        batching: Batching {
            delay: Duration::from_secs(3600),
            ..Default::default()
        },
        ..Default::default()
    }));
    store.insert("iris", predictor()).unwrap();
    let routes = router_of(store.clone());
    let message = |timeout: Option<i64>| {
        let mut asked = grpc_message(1);
        if let Some(microseconds) = timeout {
            let parameter_choice = Some(ParameterChoice::Int64Param(microseconds));
            asked
                .parameters
                .insert("timeout".into(), InferParameter { parameter_choice });
        }
        framed(&asked)
    };
    runtime().block_on(async {
        let inputs: Vec<Value> = COLUMNS
            .iter()
            .map(|name| json!({ "name": name, "shape": [1], "datatype": "FP64", "data": [1] }))
            .collect();
        let body = json!({ "inputs": inputs, "parameters": { "timeout": 1000 } }).to_string();
        let (status, _) = send(&routes, post("/v2/models/iris/infer", "", body)).await;
        assert_eq!(status, 503);
        assert_eq!(ask_grpc(&routes, message(Some(1000))).await.0, tonic::Code::ResourceExhausted);
        let mut request = post(MODEL_INFER, "application/grpc", message(None));
        request.headers_mut().insert("grpc-timeout", "1m".parse().unwrap());
        let answer = routes.clone().oneshot(request).await.unwrap();
        let status = tonic::Status::from_header_map(answer.headers()).unwrap();
        assert_eq!(status.code(), tonic::Code::ResourceExhausted);
        // They are late, and have not left.
        assert_eq!(store.metrics.model("iris").cancelled.get(), 0);
    });
}

#[test]
fn who_has_left_is_not_predicted() {
    let store = Arc::new(Store::without_files(Config {
        batching: Batching {
            rows: 2,
            delay: Duration::from_secs(3600),
            ..Default::default()
        },
        ..Default::default()
    }));
    store.insert("iris", predictor()).unwrap();
    let routes = router_of(store.clone());
    runtime().block_on(async {
        let ask = |rows: usize| {
            let rows = json!(vec![row([5.0, 3.0, 1.0, 0.2]); rows]).to_string();
            post("/v1/models/iris/predict", "", rows)
        };
        let metrics = store.metrics.model("iris");
        let leaves = tokio::spawn(routes.clone().oneshot(ask(1)));
        while metrics.queued.get() < 1 {
            tokio::task::yield_now().await;
        }
        leaves.abort();
        assert!(leaves.await.is_err());
        assert_eq!(send(&routes, ask(2)).await.0, 200);
        assert_eq!(metrics.cancelled.get(), 1);
    });
    assert!(store.metrics.text().contains("tesla_rows_total{model=\"iris\"} 2"));
}

#[test]
fn a_message_of_very_many_entries_is_refused_before_it_is_decoded() {
    use std::io::Write;
    let (_, routes) = limited(Limits {
        body: 1 << 20,
        ..Default::default()
    });
    let frame = |packed: u8, message: &[u8]| {
        [&[packed][..], &(message.len() as u32).to_be_bytes(), message].concat()
    };
    let gzip = |bytes: &[u8]| {
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    };
    let ask = |body: Vec<u8>| {
        let mut request = post(MODEL_INFER, "application/grpc", body);
        request.headers_mut().insert("grpc-encoding", "gzip".parse().unwrap());
        let answer = runtime().block_on(routes.clone().oneshot(request)).unwrap();
        tonic::Status::from_header_map(answer.headers())
            .map(|status| (status.code(), status.message().to_string()))
    };
    // Inputs that say nothing, two bytes each.
    let many = [0x2a, 0].repeat(100_000);
    for body in [frame(0, &many), frame(1, &gzip(&many))] {
        let (code, message) = ask(body).unwrap();
        assert_eq!(code, tonic::Code::InvalidArgument);
        assert!(message.starts_with("the message has more than 65536 entries"), "{message}");
    }
    let bomb = gzip(&vec![0; 2 << 20]);
    assert_eq!(ask(frame(1, &bomb)).unwrap().0, tonic::Code::ResourceExhausted);
    assert_eq!(ask(frame(1, b"no gzip")).unwrap().0, tonic::Code::InvalidArgument);
    let large = vec![0; (1 << 20) + 6];
    assert_eq!(ask(large).unwrap().0, tonic::Code::ResourceExhausted);
    assert_eq!(ask(frame(1, &gzip(&grpc_message(1).encode_to_vec()))), None);
}

#[test]
fn a_body_of_two_messages_is_refused_before_it_is_decoded() {
    let (_, routes) = limited(Limits::default());
    let ask = |packing: Option<&'static str>, body: Vec<u8>| {
        let mut request = post(MODEL_INFER, "application/grpc", body);
        if let Some(packing) = packing {
            let packing = axum::http::HeaderValue::from_static(packing);
            request.headers_mut().insert("grpc-encoding", packing);
        }
        let answer = runtime().block_on(routes.clone().oneshot(request)).unwrap();
        tonic::Status::from_header_map(answer.headers())
            .map_or((tonic::Code::Ok, String::new()), |s| (s.code(), s.message().to_string()))
    };
    let good = grpc_request(1);
    // Inputs that say nothing, two bytes each.
    let many = [&[0][..], &200_000_u32.to_be_bytes(), &[0x2a, 0].repeat(100_000)].concat();
    let empty = [0; 5];
    let cut = good[..good.len() - 1].to_vec();
    for body in [
        [&empty[..], &many].concat(),
        [&good[..], &good].concat(),
        [&good[..], &[0]].concat(),
        cut,
        vec![0; 4],
        Vec::new(),
    ] {
        let (code, message) = ask(Some("gzip"), body);
        assert_eq!(code, tonic::Code::InvalidArgument);
        assert!(message.starts_with("the body is not one message"), "{message}");
    }
    assert_eq!(ask(None, good.clone()).0, tonic::Code::Ok);
    // What is packed in another way is the layer's below to refuse, and what is packed in no way.
    let packed = [&[1][..], &good[1..]].concat();
    for packing in ["deflate", "zstd"] {
        let (code, message) = ask(Some(packing), packed.clone());
        assert_eq!(code, tonic::Code::Unimplemented, "{message}");
    }
    assert_eq!(ask(None, packed).0, tonic::Code::InvalidArgument);
}

#[test]
fn who_waits_for_the_network_has_a_place_until_the_answer() {
    for first_is_grpc in [false, true] {
        let store = Arc::new(Store::without_files(Config {
            batching: Batching {
                delay: Duration::from_secs(3600),
                ..Default::default()
            },
            limits: Limits {
                requests: 1,
                ..Default::default()
            },
            ..Default::default()
        }));
        store.insert("iris", predictor()).unwrap();
        let routes = router_of(store.clone());
        let good = row([5.0, 3.0, 1.0, 0.2]).to_string();
        let plain = |rows: usize| {
            let rows = vec![good.as_str(); rows].join(",");
            post("/v1/models/iris/predict", "", format!("[{rows}]"))
        };
        runtime().block_on(async {
            let first = match first_is_grpc {
                false => plain(1),
                true => post(MODEL_INFER, "application/grpc", grpc_request(1)),
            };
            let waiting = tokio::spawn(routes.clone().oneshot(first));
            while store.metrics.model("iris").queued.get() < 1 {
                tokio::task::yield_now().await;
            }
            for path in ["/v1/models/iris/predict", "/v1/models/iris/explain", "/invocations"] {
                let (status, body) = send(&routes, post(path, "", good.clone())).await;
                assert_eq!(status, 503, "{body:?}");
                assert!(body.starts_with(b"{\"error\":\"as many requests are at work"), "{body:?}");
            }
            let (code, _) = ask_grpc(&routes, grpc_request(1)).await;
            assert_eq!(code, tonic::Code::ResourceExhausted);
            // A large body is refused before it has come.
            let large = Body::new(Dawdling(false, 100_000));
            let (status, _) = send(&routes, post("/invocations", "application/json", large)).await;
            assert_eq!(status, 503);
            // Who leaves gives the place back.
            waiting.abort();
            assert!(waiting.await.is_err());
            assert_eq!(send(&routes, plain(64)).await.0, 200);
        });
    }
}

#[test]
fn tables_and_forms_of_more_rows_than_may_be_are_not_read_to_their_end() {
    let (_, routes) = limited(Limits {
        rows: 100,
        ..Default::default()
    });
    let ask = |path: &str, kind: &str, body: String| {
        let (status, answer) = runtime().block_on(send(&routes, post(path, kind, body)));
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        (status.as_u16(), answer["error"].as_str().unwrap_or_default().to_string())
    };
    let table = |rows: usize| format!("{}\n{}", COLUMNS.join(","), "5,3,1,0.2\n".repeat(rows));
    let said = "the request has more than 100 rows: this server takes up to 100 at a time here";
    for path in ["/v1/models/iris/predict", "/invocations"] {
        assert_eq!(ask(path, "text/csv", table(100)).0, 200);
        // What follows the rows that are one too many is no row, which nobody notices.
        let broken = format!("{}and no row", table(200_000));
        for table in [table(101), broken] {
            assert_eq!(ask(path, "text/csv", table), (400, said.to_string()));
        }
    }
    let file =
        "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"t.png\"\r\n\r\nx\r\n";
    let form = |files: usize, end: &str| {
        let kind = "multipart/form-data; boundary=b";
        ask("/v1/models/iris/predict", kind, file.repeat(files) + end)
    };
    assert_eq!(form(102, "and no end"), (400, said.to_string()));
    assert!(form(100, "--b--\r\n").1.contains("reads tables, no images"));
}

#[test]
fn tables_of_mlflow_may_have_an_index_and_a_target() {
    const ROWS: usize = 40_000;
    let (_, routes) = limited(Limits {
        rows: ROWS,
        ..Default::default()
    });
    let columns = [&COLUMNS[..], &["species"]].concat();
    let split = json!({
        "index": (0..ROWS).collect::<Vec<_>>(),
        "columns": columns,
        "data": vec![json!([5.1, 3.5, 1.4, 0.2, "setosa"]); ROWS],
    });
    let body = json!({ "dataframe_split": split }).to_string();
    let (status, answer) =
        runtime().block_on(send(&routes, post("/invocations", "application/json", body)));
    assert_eq!(status, 200, "{answer:?}");
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!(answer["predictions"].as_array().unwrap().len(), ROWS);
}
