//! A served model, asked over a real connection.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tesla::{Bundle, Config, Dataset, Device, DeviceChoice, Seen};

use crate::support::{folder, iris, repo, succeeds};

struct Server {
    child: Child,
    addr: String,
}

impl Server {
    /// Starts a server on a free port; it prints its address once it listens.
    fn start(model: &Path, name: &str) -> Self {
        Self::start_with(model, &["--name", name])
    }

    fn start_with(model: &Path, args: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tesla"))
            .args(["serve", model.to_str().unwrap(), "--addr", "127.0.0.1:0"])
            .args(["--device", "flex"])
            .args(args)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        let addr = line.trim().rsplit("http://").next().unwrap().to_string();
        Self { child, addr }
    }

    /// Sends a request without a content type, as some clients do.
    fn ask(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let mut stream = TcpStream::connect(&self.addr).unwrap();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or(Value::Null))
    }

    fn get(&self, path: &str) -> (u16, Value) {
        self.ask("GET", path, "")
    }

    fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.ask("POST", path, &body.to_string())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn column(name: &str, data: Value) -> Value {
    json!({ "name": name, "shape": [2], "datatype": "FP64", "data": data })
}

#[test]
fn a_table_model_speaks_both_protocols() {
    let folder = folder();
    let server = Server::start(&iris(folder.path()), "iris");

    assert_eq!(server.get("/v2/health/live"), (200, json!({ "live": true })));
    assert_eq!(server.get("/v2/health/ready"), (200, json!({ "ready": true })));
    assert_eq!(server.get("/v2").1["name"], "tesla");
    assert_eq!(server.get("/v2/models/iris/ready").0, 200);
    let (status, metadata) = server.get("/v2/models/iris/versions/1");
    assert_eq!(status, 200);
    assert_eq!(
        metadata["inputs"][0],
        json!({ "name": "sepal_length", "datatype": "FP64", "shape": [-1] })
    );

    let request = json!({ "id": "42", "inputs": [
        column("sepal_length", json!([5.1, 6.9])), column("sepal_width", json!([3.5, 3.1])),
        column("petal_length", json!([[1.4], [5.4]])), column("petal_width", json!([0.2, 2.3])),
    ] });
    let (status, tensors) = server.post("/v2/models/iris/infer", &request);
    assert_eq!(status, 200, "{tensors}");
    assert_eq!(tensors["id"], "42");
    assert_eq!(tensors["outputs"][0]["data"], json!(["setosa", "virginica"]));
    assert_eq!(tensors["outputs"][1]["shape"], json!([2, 3]));

    let row =
        json!({ "sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2 });
    let (status, rows) = server.post("/v1/models/iris/predict", &json!({ "rows": [row, row] }));
    assert_eq!(status, 200, "{rows}");
    let first = &rows["predictions"][0];
    assert_eq!(first["prediction"], "setosa");
    assert_eq!(first, &rows["predictions"][1]);
    assert_eq!(first["probabilities"]["setosa"], tensors["outputs"][1]["data"][0]);

    // Why: what each column added makes up the difference to a row of which nothing is known.
    let (status, answer) = server.post("/v1/models/iris/explain", &json!([row, row]));
    assert_eq!(status, 200, "{answer}");
    let why = &answer["explanations"][1];
    assert_eq!(why["of"], "setosa");
    let number = |value: &Value| value.as_f64().unwrap();
    let amounts = why["contributions"].as_array().unwrap().iter();
    let sum: f64 = amounts.map(|c| number(&c["amount"])).sum::<f64>() + number(&why["rest"]);
    assert!((number(&why["output"]) - number(&why["baseline"]) - sum).abs() < 1e-6, "{why}");
    let (status, answer) = server.post("/v1/models/iris/explain", &json!(vec![row; 21]));
    assert_eq!(status, 400);
    let said = "the request has 21 rows: this server takes up to 20 at a time here";
    assert_eq!(answer["error"], said);
}

#[test]
fn what_a_client_does_wrong_is_a_4xx_with_one_sentence() {
    let folder = folder();
    let server = Server::start(&iris(folder.path()), "iris");
    let full =
        json!({ "sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2 });
    let with = |key: &str, value: Value| {
        let mut row = full.clone();
        row[key] = value;
        row
    };
    let without = {
        let mut row = full.clone();
        row.as_object_mut().unwrap().remove("petal_width");
        row["petal_wdth"] = json!(1);
        row
    };
    let infer = |inputs: Value| json!({ "inputs": inputs });
    let huge =
        json!({ "name": "sepal_length", "shape": [u64::MAX], "datatype": "FP64", "data": [1] });
    let cases = [
        ("/v1/models/iris/predict", json!([]), 400, "holds no rows"),
        ("/v1/models/iris/predict", json!("x"), 400, "holds no rows"),
        ("/v1/models/iris/predict", without, 400, "is `petal_wdth` it?"),
        (
            "/v1/models/iris/predict",
            with("petal_width", json!("wide")),
            400,
            "`wide` is not a number",
        ),
        ("/v1/models/iris/predict", with("petal_width", json!([1])), 400, "nested value"),
        ("/v1/models/rose/predict", full.clone(), 404, "no model `rose`"),
        ("/v2/models/iris/versions/9/infer", infer(json!([])), 404, "no version `9`"),
        ("/v2/models/iris/infer", infer(json!([])), 400, "`inputs` is empty"),
        (
            "/v2/models/iris/infer",
            infer(json!([column("sepal_lenght", json!([1, 2]))])),
            400,
            "did you mean `sepal_length`?",
        ),
        (
            "/v2/models/iris/infer",
            infer(json!([column("sepal_length", json!([1]))])),
            400,
            "asks for 2",
        ),
        (
            "/v2/models/iris/infer",
            infer(json!([column("sepal_length", json!([1, "x"]))])),
            400,
            "which is no `FP64`",
        ),
        ("/v2/models/iris/infer", infer(json!([huge])), 400, "this server takes up to 100000"),
        ("/v2/models/iris/infer", json!({}), 400, "not an inference request"),
        ("/nowhere", json!({}), 404, "no such address"),
    ];
    for (path, body, status, part) in cases {
        let (found, answer) = server.post(path, &body);
        let error = answer["error"].as_str().unwrap_or_default();
        assert!(found == status && error.contains(part), "{path} {body}: {found} {answer}");
    }
    let (status, answer) = server.ask("POST", "/v1/models/iris/predict", "{oops");
    assert_eq!((status, answer["error"].is_string()), (400, true), "{answer}");
    assert_eq!(server.get("/v2/models/iris/infer").0, 405);
    // It still works.
    assert_eq!(server.post("/v1/models/iris/predict", &full).0, 200);
}

#[test]
fn keys_that_were_not_found_do_not_open_the_server() {
    let folder = folder();
    let model = iris(folder.path());
    for keys in ["", " , "] {
        let done = Command::new(env!("CARGO_BIN_EXE_tesla"))
            .args(["serve", model.to_str().unwrap(), "--addr", "127.0.0.1:0", "--device", "flex"])
            .env("TESLA_API_KEYS", keys)
            .output()
            .unwrap();
        assert!(!done.status.success());
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(said.contains("`TESLA_API_KEYS` is set and holds no key"), "{said}");
    }
}

#[test]
fn an_image_model_takes_pixels() {
    let folder = folder();
    let config = repo("datasets/digits/tesla.toml");
    let args = [
        "train",
        config.to_str().unwrap(),
        "--device",
        "flex",
        "--epochs",
        "1",
        "--out",
        "run",
        "-q",
    ];
    succeeds(folder.path(), &args);
    let server = Server::start(&folder.path().join("run/model.tesla"), "digits");
    let metadata = server.get("/v2/models/digits").1;
    assert_eq!(metadata["inputs"][0]["shape"], json!([-1, 1, 8, 8]));
    let pixels: Vec<u8> = (0..64).collect();
    let request = json!({ "inputs": [
        { "name": "image", "shape": [1, 1, 8, 8], "datatype": "UINT8", "data": pixels },
    ], "outputs": [{ "name": "probability" }] });
    let (status, answer) = server.post("/v2/models/digits/infer", &request);
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["outputs"][0]["shape"], json!([1, 10]));
    assert_eq!(answer["outputs"].as_array().unwrap().len(), 1);
}

#[test]
fn a_recommender_gives_lists() {
    let folder = folder();
    let toml = repo("datasets/ratings/tesla.toml");
    let args = ["train", toml.to_str().unwrap(), "--device", "flex", "--epochs", "1"];
    succeeds(folder.path(), &[&args[..], &["--out", "ratings", "-q"]].concat());
    let model = folder.path().join("ratings/model.tesla");
    let device = Device::open(DeviceChoice::Flex).unwrap();
    let expected = Bundle::load(&model).unwrap().predictor(&device).unwrap();
    let wanted = &expected.recommend(&["u007".into()], 3, &Seen::default()).unwrap()[0];
    let server = Server::start_with(&model, &["--max-rows", "100"]);
    let ask = |body: Value| server.post("/v1/models/ratings/predict", &body);
    let items = |list: &Value| -> Vec<(String, f64)> {
        let item = |i: &Value| (i["item"].as_str().unwrap().into(), i["score"].as_f64().unwrap());
        list["items"].as_array().unwrap().iter().map(item).collect()
    };

    let (status, answer) = ask(json!({ "user": "u007", "top": 3 }));
    assert_eq!(status, 200, "{answer}");
    assert_eq!(items(&answer["lists"][0]), wanted.items);
    assert_eq!(answer["lists"][0]["by"], "model");
    let described = server.get("/v1/models/ratings").1;
    assert_eq!(described["lists"], json!({ "user": "user", "item": "film" }));

    // What a client says the user has is left out; somebody unknown gets what is popular.
    let first = &wanted.items[0].0;
    let (_, answer) = ask(json!({
        "rows": [{ "user": "u007" }, { "user": "nobody" }], "top": 2,
        "seen": [{ "user": "u007", "film": first }],
    }));
    assert_eq!(items(&answer["lists"][0]), wanted.items[1..]);
    assert_eq!(answer["lists"][1]["by"], "popularity");
    let (_, one) = ask(json!({ "user": "u007", "film": first }));
    assert!(one["predictions"][0]["prediction"].is_number(), "{one}");

    for (body, said) in [
        (json!({ "user": "u007", "top": 0 }), "`top` is no number of items: expected 1 to 1000"),
        (json!({ "user": "u007", "top": "5" }), "`top` is no number"),
        (
            json!({ "user": null, "top": 5 }),
            "row 1 of `rows` lacks a name: expected one for `user`",
        ),
        (json!({ "rows": [], "top": 5 }), "`rows` is empty"),
        (json!({ "rows": 3, "top": 5 }), "`rows` holds no rows: expected objects with `user`"),
        (json!({ "user": "u007", "top": 5, "seen": [{ "user": "u007" }] }), "row 1 of `seen`"),
        (json!({ "rows": [{ "user": 1 }, { "user": 2 }], "top": 60 }), "2 lists of 60 items"),
    ] {
        let (status, answer) = ask(body);
        assert_eq!(status, 400, "{answer}");
        assert!(answer["error"].as_str().unwrap().starts_with(said), "{answer}");
    }
}

#[test]
fn a_request_that_is_refused_before_its_body_is_answered_and_the_connection_goes_on() {
    let folder = folder();
    let server = Server::start(&iris(folder.path()), "iris");
    let mut stream = TcpStream::connect(&server.addr).unwrap();
    let mut answers = BufReader::new(stream.try_clone().unwrap());
    let mut answer = || {
        let (mut status, mut line, mut length) = (String::new(), String::new(), 0);
        answers.read_line(&mut status).unwrap();
        while line != "\r\n" {
            line.clear();
            answers.read_line(&mut line).unwrap();
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        answers.read_exact(&mut vec![0; length]).unwrap();
        status
    };
    let head = "POST /v2/models/nothing/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 50000\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    assert!(answer().starts_with("HTTP/1.1 404"));
    stream.write_all(&[b' '; 50_000]).unwrap();
    stream
        .write_all(b"GET /v2/health/ready HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    assert!(answer().starts_with("HTTP/1.1 200"));
}

#[test]
fn a_client_that_dawdles_is_cut_off_and_others_are_answered() {
    let folder = folder();
    let server = Server::start_with(
        &iris(folder.path()),
        &["--name", "iris", "--header-timeout", "0.2", "--timeout", "0.2"],
    );
    // Nothing at all, half a header, the start of HTTP/2, and half a body.
    let parts = [
        "",
        "POST /v2 HTTP/1.1\r\nHost",
        "PRI * HT",
        "POST /v1/models/iris/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{",
    ];
    let streams: Vec<TcpStream> = parts
        .iter()
        .map(|part| {
            let mut stream = TcpStream::connect(&server.addr).unwrap();
            stream.write_all(part.as_bytes()).unwrap();
            stream
        })
        .collect();
    assert_eq!(server.get("/v2/health/ready").0, 200);
    for (part, mut stream) in parts.iter().zip(streams) {
        let mut answer = String::new();
        // Ends when the server closes the connection.
        let _ = stream.read_to_string(&mut answer);
        let is_late = answer.is_empty() || answer.starts_with("HTTP/1.1 408");
        assert!(is_late, "{part}: {answer}");
    }
}

#[cfg(unix)]
#[test]
fn a_server_that_is_told_to_end_says_so_and_ends_well() {
    let folder = folder();
    let models = folder.path().join("models");
    std::fs::create_dir_all(models.join("flower/3")).unwrap();
    std::fs::copy(iris(folder.path()), models.join("flower/3/model.tesla")).unwrap();
    let mut server = Server::start_with(&models, &["--log", "json"]);
    let (status, index) = server.get("/v2/repository/index");
    assert_eq!(status, 200);
    assert_eq!(index[0]["name"], "flower");
    assert_eq!((&index[0]["version"], &index[0]["state"]), (&json!("3"), &json!("READY")));
    let document = server.get("/openapi.json").1;
    assert!(document["paths"]["/v1/models/flower/predict"]["post"].is_object());
    assert_eq!(server.get("/metrics").0, 200);
    let pid = server.child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
}

/// A pass of many rows and one of a single row go through kernels that may sum in different orders.
#[test]
fn rows_together_get_the_bits_of_each_alone() {
    let programs = [
        (
            "digits",
            "source = 'digits-images-idx3-ubyte'",
            "kind = 'cnn'\nblocks = [{ filters = 8, pool = 1 }, { filters = 8 }]",
        ),
        // A sum over more than 512, which is cut differently for products of few and of many rows.
        (
            "diabetes",
            "source = 'diabetes.csv'\ntarget = 'progression'",
            "kind = 'mlp'\nhidden = [700, 24, 600]",
        ),
        ("diabetes", "source = 'diabetes.csv'\ntarget = 'progression'", "kind = 'linear'"),
        (
            "breast-cancer",
            "source = 'breast-cancer.csv'\ntarget = 'diagnosis'",
            "kind = 'mlp'\nhidden = [600, 65]\nbatch_norm = true",
        ),
        ("wine", "source = 'wine.csv'\ntarget = 'cultivar'", "kind = 'mlp'\nhidden = [3, 2]"),
        ("intents", "source = 'intents.csv'\ntarget = 'intent'", "kind = 'bag'"),
        ("intents", "source = 'intents.csv'\ntarget = 'intent'", "kind = 'textcnn'"),
        ("engines", "", "kind = 'conv1d'"),
        ("engines", "", "kind = 'lstm'"),
    ];
    let device = Device::open(DeviceChoice::Flex).unwrap();
    for (name, data, model) in programs {
        let folder = repo("datasets").join(name);
        let mut program: toml::Table = match data {
            "" => toml::from_str(&std::fs::read_to_string(folder.join("tesla.toml")).unwrap())
                .unwrap(),
            data => toml::from_str(&format!("[data]\n{data}")).unwrap(),
        };
        program.insert("model".into(), toml::Value::Table(toml::from_str(model).unwrap()));
        program.insert("train".into(), toml::Value::Table(toml::from_str("epochs = 1").unwrap()));
        let config: Config = program.try_into().unwrap();
        let data = Dataset::load(&config.data, &folder).unwrap();
        let trained = tesla::train::train(&config, &data, &device, &mut tesla::train::Silent);
        let predictor = trained.unwrap().bundle.predictor(&device).unwrap();
        let rows = data.frame.batches().unwrap().next().unwrap().unwrap();
        let prepared = predictor.prepare(&rows).unwrap();
        let bits = |scores: Vec<f64>| scores.into_iter().map(f64::to_bits).collect::<Vec<_>>();
        // Full passes, and one that is not full.
        let count = prepared.len().min(40);
        let together = bits(predictor.scores(&[(&prepared, 0..count)]).unwrap());
        for some in [1, 3, 7] {
            let parts = (0..count).step_by(some).map(|i| i..count.min(i + some));
            let apart = parts.flat_map(|rows| predictor.scores(&[(&prepared, rows)]).unwrap());
            assert!(together == bits(apart.collect()), "{name}, {model}, {some} at a time");
        }
    }
}
