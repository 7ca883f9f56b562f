//! Against a server on this machine that pages, throttles, breaks off and lies.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::*;
use crate::Frame;
use crate::arrow::array::AsArray;
use crate::arrow::datatypes::Float64Type;
use crate::source::Expected;

/// A request as the server saw it: the target, then the headers in lower case.
type Request = Vec<String>;

enum Reply {
    Bytes(String),
    /// A start, then bytes for as long as somebody listens.
    Endless(String),
}

struct Server {
    address: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// Answers each request with what `reply` says for its target and its number.
    fn start(reply: impl Fn(&str, usize) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = requests.clone();
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().flatten().enumerate() {
                let request = read(&stream);
                let target = request[0].clone();
                seen.lock().unwrap().push(request);
                write(stream, reply(&target, number));
            }
        });
        Self { address, requests }
    }

    fn targets(&self) -> Vec<String> {
        let requests = self.requests.lock().unwrap();
        requests.iter().map(|request| request[0].clone()).collect()
    }

    fn sent(&self, request: usize, header: &str) -> bool {
        self.requests.lock().unwrap()[request]
            .iter()
            .any(|line| line == header)
    }
}

fn read(stream: &TcpStream) -> Request {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let first = lines.next().unwrap_or_default();
    let target = first.split(' ').nth(1).unwrap_or_default().to_string();
    let headers = lines
        .take_while(|line| !line.is_empty())
        .map(|line| line.to_lowercase());
    std::iter::once(target).chain(headers).collect()
}

/// The other side may hang up at any time, which is part of the tests.
fn write(mut stream: TcpStream, reply: Reply) {
    match reply {
        Reply::Bytes(bytes) => drop(stream.write_all(bytes.as_bytes())),
        Reply::Endless(start) => {
            let _ = stream.write_all(start.as_bytes());
            while stream.write_all(&[b'1'; 4096]).is_ok() {}
        }
    }
}

fn answer(status: &str, headers: &str, body: &str) -> Reply {
    let length = body.len();
    Reply::Bytes(format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    ))
}

fn json(body: &str) -> Reply {
    answer("200 OK", "Content-Type: application/json\r\n", body)
}

fn env(name: &str) -> Option<String> {
    (name == "API_TOKEN").then(|| "hunter2".to_string())
}

fn open(url: &str, http: HttpConfig) -> Result<HttpSource> {
    let data = DataConfig {
        http,
        ..DataConfig::default()
    };
    HttpSource::open_with(url, &data, &env, &|_| {})
}

#[track_caller]
fn check(source: Result<HttpSource>, expected: &[f64]) {
    let frame = Frame::read_all(Box::new(source.unwrap())).unwrap();
    let rows = frame.to_batch().unwrap();
    let column = rows.column_by_name("x").unwrap();
    assert_eq!(column.as_primitive::<Float64Type>().values(), expected);
}

#[track_caller]
fn refused(source: Result<HttpSource>, part: &str) {
    let error = source.err().unwrap();
    assert!(error.to_string().contains(part), "{error}");
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
}

#[test]
fn one_answer_in_json_or_csv() {
    for body in [
        r#"[{"x": 1}, {"x": 2.5}]"#,
        "{\"x\": 1}\n{\"x\": 2.5}\n",
        r#"{"count": 2, "rows": [{"x": 1}, {"x": 2.5}]}"#,
    ] {
        let server = Server::start(move |_, _| json(body));
        check(open(&server.address, HttpConfig::default()), &[1.0, 2.5]);
        assert_eq!(server.targets(), ["/"]);
    }
    let server =
        Server::start(|_, _| answer("200 OK", "Content-Type: text/csv\r\n", "x,y\n1,a\n2.5,b"));
    let source = open(
        &format!("{}/data/rows.csv?key=${{API_TOKEN}}", server.address),
        HttpConfig::default(),
    );
    let source = source.unwrap();
    assert!(source.name().ends_with("/data/rows.csv"), "{}", source.name());
    assert!(source.name().starts_with("127.0.0.1:"), "{}", source.name());
    check(Ok(source), &[1.0, 2.5]);
    assert_eq!(server.targets(), ["/data/rows.csv?key=hunter2"]);
}

#[test]
fn pages_by_link_number_and_cursor() {
    let config = |pages| HttpConfig {
        pages: Some(pages),
        ..HttpConfig::default()
    };
    let server = Server::start(|target, _| match target {
        "/" => answer("200 OK", "Link: </?p=2>; rel=\"next\"\r\n", r#"[{"x": 1}]"#),
        _ => json(r#"[{"x": 2}]"#),
    });
    check(open(&server.address, config(Pages::Link {})), &[1.0, 2.0]);

    let server = Server::start(|target, _| match target {
        "/?q=a&page=1" => json(r#"{"data": {"items": [{"x": 1}, {"x": 2}]}}"#),
        "/?q=a&page=2" => json(r#"{"data": {"items": [{"x": 3}]}}"#),
        _ => json(r#"{"data": {"items": []}}"#),
    });
    let mut pages = config(Pages::Page {
        parameter: "page".into(),
    });
    pages.path = Some("data.items".into());
    check(open(&format!("{}/?q=a", server.address), pages), &[1.0, 2.0, 3.0]);
    assert_eq!(server.targets().len(), 3);

    let server = Server::start(|target, _| match target {
        "/" => json(r#"{"rows": [{"x": 1}], "meta": {"next": "a/b"}}"#),
        "/?after=a%2Fb" => json(r#"{"rows": [{"x": 2}], "meta": {"next": 7}}"#),
        _ => json(r#"{"rows": [{"x": 3}], "meta": {"next": null}}"#),
    });
    let cursor = Pages::Cursor {
        field: "meta.next".into(),
        parameter: "after".into(),
    };
    check(open(&server.address, config(cursor)), &[1.0, 2.0, 3.0]);

    let server = Server::start(|target, _| match target {
        "/?page=1" => answer("200 OK", "", "x,y\n1,a\n"),
        "/?page=2" => answer("200 OK", "", "x,y\n2,b"),
        _ => answer("200 OK", "", "x,y\n"),
    });
    let page = || {
        config(Pages::Page {
            parameter: "page".into(),
        })
    };
    check(open(&server.address, page()), &[1.0, 2.0]);
}

#[test]
fn pages_that_never_end_are_refused() {
    let server = Server::start(|_, _| answer("200 OK", "Link: </>; rel=next\r\n", r#"[{"x": 1}]"#));
    let mut config = HttpConfig {
        pages: Some(Pages::Link {}),
        ..HttpConfig::default()
    };
    refused(open(&server.address, config.clone()), "in a circle");
    let server = Server::start(|_, _| json(r#"[{"x": 1}]"#));
    config.pages = Some(Pages::Page {
        parameter: "page".into(),
    });
    config.max_pages = 3;
    refused(open(&server.address, config), "has more than 3 pages");
}

#[test]
fn throttling_and_broken_connections_are_tried_again() {
    let server = Server::start(|_, number| match number {
        0 => answer("429 Too Many Requests", "Retry-After: 7\r\n", ""),
        1 => answer("503 Service Unavailable", "", ""),
        2 => Reply::Bytes(String::new()),
        // Promises more than it sends.
        3 => Reply::Bytes("HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n[{\"x\": 1}, ".into()),
        _ => json(r#"[{"x": 1}]"#),
    });
    let waits = RefCell::new(Vec::new());
    let wait = |time: Duration| waits.borrow_mut().push(time.as_millis());
    let source = HttpSource::open_with(&server.address, &DataConfig::default(), &env, &wait);
    check(source, &[1.0]);
    assert_eq!(*waits.borrow(), [7000, 1000, 2000, 4000]);

    let server = Server::start(|_, _| answer("500 Internal Server Error", "", "hunter2"));
    let config = HttpConfig {
        retries: 2,
        ..HttpConfig::default()
    };
    refused(open(&server.address, config), "answers 500 Internal Server Error (tried 3 times)");
    assert_eq!(server.targets().len(), 3);
    let server =
        Server::start(|_, _| answer("429 Too Many Requests", "Retry-After: 86400\r\n", ""));
    refused(open(&server.address, HttpConfig::default()), "asks to wait 86400 s");
}

#[test]
fn an_endless_answer_stops_at_the_limit() {
    let config = HttpConfig {
        max_mib: 1,
        ..HttpConfig::default()
    };
    let start = "HTTP/1.1 200 OK\r\nContent-Type: text/csv\r\n\r\nx\n";
    let server = Server::start(move |_, _| Reply::Endless(start.into()));
    refused(open(&server.address, config), "more than `max_mib`");
    let server = Server::start(|_, _| Reply::Endless("HTTP/1.1 200 OK\r\nX: ".into()));
    let config = HttpConfig {
        retries: 0,
        ..HttpConfig::default()
    };
    assert!(open(&server.address, config).is_err());
}

#[test]
fn the_token_goes_to_its_own_host_only() {
    let config = HttpConfig {
        bearer_env: Some("API_TOKEN".into()),
        headers: [("X-Api-Key".to_string(), "${API_TOKEN}".to_string())].into(),
        ..HttpConfig::default()
    };
    let other = Server::start(|_, _| json(r#"[{"x": 1}]"#));
    let target = format!("Location: {}/moved\r\n", other.address);
    let server = Server::start(move |path, _| match path {
        "/" => answer("302 Found", "Location: /here\r\n", ""),
        _ => answer("307 Temporary Redirect", &target, ""),
    });
    check(open(&server.address, config.clone()), &[1.0]);
    for request in [0, 1] {
        assert!(server.sent(request, "authorization: bearer hunter2"));
        assert!(server.sent(request, "x-api-key: hunter2"));
    }
    assert_eq!(other.targets(), ["/moved"]);
    assert!(!other.sent(0, "authorization: bearer hunter2"));
    assert!(!other.sent(0, "x-api-key: hunter2"));

    let server = Server::start(|_, _| answer("401 Unauthorized", "", "bad token hunter2"));
    refused(open(&server.address, config), "answers 401 Unauthorized: say `bearer_env`");
    let server = Server::start(|_, _| answer("302 Found", "Location: /\r\n", ""));
    refused(open(&server.address, HttpConfig::default()), "redirects more than 10 times");
}

#[test]
fn secrets_are_not_written_into_the_configuration() {
    let config = HttpConfig {
        headers: [("Authorization".to_string(), "Bearer hunter2".to_string())].into(),
        ..HttpConfig::default()
    };
    refused(open("http://127.0.0.1:1", config), "the header `Authorization`");
    refused(open("http://me:hunter2@127.0.0.1:1", HttpConfig::default()), "spells out a password");
    let config = HttpConfig {
        bearer_env: Some("NO_SUCH".into()),
        ..HttpConfig::default()
    };
    refused(open("http://127.0.0.1:1", config), "`NO_SUCH` is not set");
}

#[test]
fn what_is_no_list_of_rows_is_refused() {
    for (body, part) in [
        (r#"{"a": [], "b": []}"#, "it has `a`, `b`"),
        ("[1, 2", "line 1"),
        (r#"{"rows": [1, 2]}"#, "something else than objects"),
    ] {
        let server = Server::start(move |_, _| json(body));
        let read = open(&server.address, HttpConfig::default())
            .and_then(|source| Frame::read_all(Box::new(source)));
        let error = read.err().unwrap().to_string();
        assert!(error.contains(part), "{error}");
    }
    let server = Server::start(|_, _| answer("200 OK", "Content-Type: text/html\r\n", "<p>"));
    refused(open(&server.address, HttpConfig::default()), "a web page");
    let server = Server::start(|_, _| json(r#"{"rows": []}"#));
    let config = HttpConfig {
        path: Some("data".into()),
        ..HttpConfig::default()
    };
    refused(open(&server.address, config), "no list at `data`");
}

/// Fetches `/set.csv` of a server into an empty folder; the result and what lies in the folder.
fn fetched(server: &Server, expected: &Expected<'_>) -> (Result<String>, Vec<(String, String)>) {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("{}/set.csv", server.address);
    let path = folder.path().join("set.csv");
    let done = fetch::fetch_with(&url, &path, expected, &mut |_, _| {}, &|_| {});
    let files = std::fs::read_dir(folder.path()).unwrap().map(|entry| {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        (name, std::fs::read_to_string(path).unwrap())
    });
    (done, files.collect())
}

#[test]
fn a_download_goes_on_where_it_broke_off() {
    let body = "0123456789".repeat(10_000);
    let sha256 = crate::hex_sha256(body.as_bytes());
    let sent = body.clone();
    let server = Server::start(move |_, number| {
        Reply::Bytes(match number {
            0 => format!("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{}", &sent[..60_000]),
            1 => "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".into(),
            _ => format!(
                "HTTP/1.1 206 Partial\r\nContent-Range: bytes 60000-99999/100000\r\nContent-Length: 40000\r\nConnection: close\r\n\r\n{}",
                &sent[60_000..]
            ),
        })
    });
    let expected = Expected {
        sha256: Some(&sha256),
        bytes: Some(100_000),
    };
    let (done, files) = fetched(&server, &expected);
    assert_eq!(done.unwrap(), sha256);
    assert_eq!(files, [("set.csv".to_string(), body)]);
    assert!(server.sent(1, "range: bytes=60000-") && server.sent(2, "range: bytes=60000-"));
}

#[test]
fn a_server_without_ranges_starts_over() {
    let server = Server::start(|_, number| match number {
        0 => Reply::Bytes("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc".into()),
        _ => answer("200 OK", "", "abcdef"),
    });
    let (done, files) = fetched(&server, &Expected::default());
    assert_eq!(done.unwrap(), crate::hex_sha256(b"abcdef"));
    assert_eq!(files[0].1, "abcdef");
}

#[test]
fn what_is_not_the_file_is_refused_and_leaves_nothing() {
    let sha256 = crate::hex_sha256(b"another");
    let wrong = Expected {
        sha256: Some(&sha256),
        bytes: Some(6),
    };
    let server = Server::start(|_, _| answer("200 OK", "", "abcdef"));
    let (done, files) = fetched(&server, &wrong);
    let error = done.unwrap_err().to_string();
    assert!(error.contains("its SHA-256 is bef57e") && files.is_empty(), "{error} {files:?}");

    let endless = Server::start(|_, _| Reply::Endless("HTTP/1.1 200 OK\r\n\r\n".into()));
    let (done, files) = fetched(&endless, &wrong);
    let error = done.unwrap_err().to_string();
    assert!(error.contains("more than the 6 bytes") && files.is_empty(), "{error} {files:?}");

    let absent = Server::start(|_, _| answer("404 Not Found", "", ""));
    let (done, files) = fetched(&absent, &wrong);
    let error = done.unwrap_err().to_string();
    assert!(error.contains("answers 404") && files.is_empty(), "{error} {files:?}");
}
