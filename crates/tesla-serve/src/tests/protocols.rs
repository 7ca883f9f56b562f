//! What clients of gRPC and of MLflow get.

use super::*;

#[test]
fn grpc_answers_as_the_other_doors_do() {
    let routes = routes(Config::default());
    runtime().block_on(async {
        let (code, body) = ask_grpc(&routes, grpc_request(3)).await;
        assert_eq!(code, tonic::Code::Ok);
        let answer = ModelInferResponse::decode(body.slice(5..)).unwrap();
        assert_eq!((answer.model_name.as_str(), answer.model_version.as_str()), ("iris", "1"));
        assert_eq!(answer.id, "42");
        let described: Vec<_> = answer
            .outputs
            .iter()
            .map(|o| (o.name.as_str(), &o.shape[..]))
            .collect();
        assert_eq!(described, [("prediction", &[3][..]), ("probability", &[3, 3])]);
        assert_eq!(&answer.raw_output_contents[0][..], b"\x06\0\0\0setosa".repeat(3));
        let found: Vec<f64> = answer.raw_output_contents[1]
            .chunks_exact(8)
            .map(|raw| f64::from_le_bytes(raw.try_into().unwrap()))
            .collect();

        let rows = json!(vec![row([5.1, 3.5, 1.4, 0.2]); 3]);
        let rows: Vec<_> = rows
            .as_array()
            .unwrap()
            .iter()
            .map(|r| r.as_object().unwrap().clone())
            .collect();
        let expected = predictor();
        let rows = expected.bundle().contract.from_json(&rows).unwrap();
        assert_eq!(found, numbers(expected.predict(&rows).unwrap()));

        // The same as bytes, and one output only.
        let mut raw = grpc_message(3);
        raw.inputs.iter_mut().for_each(|input| input.contents = None);
        raw.raw_input_contents = [5.1, 3.5, 1.4, 0.2]
            .map(|value: f64| value.to_le_bytes().repeat(3).into())
            .to_vec();
        raw.outputs = vec![crate::proto::model_infer_request::InferRequestedOutputTensor {
            name: "probability".into(),
            ..Default::default()
        }];
        let (code, body) = ask_grpc(&routes, framed(&raw)).await;
        assert_eq!(code, tonic::Code::Ok);
        let one = ModelInferResponse::decode(body.slice(5..)).unwrap();
        assert_eq!(one.raw_output_contents, answer.raw_output_contents[1..]);
    });
}

#[test]
fn grpc_asks_for_a_key_too() {
    let routes = routes(Config {
        keys: Keys::parse("secret"),
        ..Default::default()
    });
    let ask = |key: Option<&str>| {
        let mut request = post(MODEL_INFER, "application/grpc", grpc_request(1));
        if let Some(key) = key {
            request.headers_mut().insert("authorization", key.parse().unwrap());
        }
        let answer = runtime().block_on(routes.clone().oneshot(request)).unwrap();
        assert_eq!(answer.status(), 200);
        tonic::Status::from_header_map(answer.headers()).map(|status| status.code())
    };
    assert_eq!(ask(None), Some(tonic::Code::Unauthenticated));
    assert_eq!(ask(Some("Bearer secre")), Some(tonic::Code::Unauthenticated));
    assert_eq!(ask(Some("Bearer secret")), None);
}

#[test]
fn mlflow_s_formats_are_read_and_others_are_not() {
    let routes = routes(Config::default());
    let ask = |kind: &str, body: String| {
        let (status, body) = runtime().block_on(send(&routes, post("/invocations", kind, body)));
        (status.as_u16(), serde_json::from_slice::<Value>(&body).unwrap())
    };
    let (one, two) = ([5.1, 3.5, 1.4, 0.2], [6.9, 3.1, 5.4, 2.3]);
    let columns: Value = COLUMNS
        .iter()
        .enumerate()
        .map(|(i, name)| (name.to_string(), json!([one[i], two[i]])))
        .collect();
    for body in [
        json!({ "dataframe_split": { "columns": COLUMNS, "data": [one, two] } }),
        json!({ "dataframe_split": { "index": [0, 1], "columns": COLUMNS, "data": [one, two] } }),
        json!({ "dataframe_records": [row(one), row(two)], "params": null }),
        json!({ "instances": [row(one), row(two)] }),
        json!({ "instances": [one, two] }),
        json!({ "inputs": [one, two] }),
        json!({ "inputs": columns }),
    ] {
        let (status, answer) = ask("application/json; charset=utf-8", body.to_string());
        assert_eq!(status, 200, "{body}: {answer}");
        assert_eq!(answer, json!({ "predictions": ["setosa", "virginica"] }));
    }
    let table = format!("{}\n5.1,3.5,1.4,0.2\n", COLUMNS.join(","));
    assert_eq!(ask("text/csv", table), (200, json!({ "predictions": ["setosa"] })));
    for (kind, body, status, part) in [
        ("application/json", json!([1]), 400, "is not a JSON object"),
        ("application/json", json!({}), 400, "expected exactly one of"),
        ("application/json", json!({ "inputs": [one], "instances": [one] }), 400, "exactly one"),
        ("application/json", json!({ "inputs": [[1, 2]] }), 400, "a value per column"),
        ("application/json", json!({ "inputs": { "a": [1], "b": [1, 2] } }), 400, "of one length"),
        ("application/x-yaml", json!({ "inputs": [one] }), 415, "`application/json` or `text/csv`"),
    ] {
        let (found, answer) = ask(kind, body.to_string());
        let said = answer["error"].as_str().unwrap();
        assert!(found == status && said.contains(part), "{body}: {found} {said}");
    }
}
