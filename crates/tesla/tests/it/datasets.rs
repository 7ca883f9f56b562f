//! Public data sets come whole and checked, or not at all.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;

use crate::support::{fails, files, folder, succeeds};

const ROWS: &str = "UDI,Type,Machine failure\n1,M,0\n2,L,1\n";

#[test]
fn the_list_names_every_set_with_its_licence() {
    let folder = folder();
    let text = succeeds(folder.path(), &["datasets", "list"]);
    let line = text.lines().find(|line| line.starts_with("fashion-mnist ")).unwrap();
    assert!(line.contains("60,000 + 10,000") && line.contains("MIT"), "{line}");
}

#[test]
fn a_folder_stands_for_the_public_addresses() {
    let folder = folder();
    let mirror = folder.path().join("mirror/ai4i2020");
    std::fs::create_dir_all(&mirror).unwrap();
    std::fs::write(mirror.join("ai4i2020.csv"), ROWS).unwrap();
    let args = ["datasets", "get", "ai4i2020", "--mirror", "mirror"];
    let text = succeeds(folder.path(), &args);
    assert!(
        text.contains("not verified") && text.contains("tesla train ./ai4i2020.tesla.toml"),
        "{text}"
    );
    assert_eq!(files(folder.path()), ["ai4i2020", "ai4i2020.tesla.toml", "mirror"]);
    let fetched = std::fs::read_to_string(folder.path().join("ai4i2020/ai4i2020.csv")).unwrap();
    assert_eq!(fetched, ROWS);
    assert!(succeeds(folder.path(), &args).contains("is there already"));
}

#[test]
fn a_file_with_another_sum_is_refused() {
    let folder = folder();
    let mirror = folder.path().join("mirror/sms-spam");
    std::fs::create_dir_all(&mirror).unwrap();
    std::fs::write(mirror.join("sms-spam-collection.zip"), "no archive").unwrap();
    let error = fails(folder.path(), &["datasets", "get", "sms-spam", "--mirror", "mirror"]);
    assert!(error.contains("instead of 1587ea43"), "{error}");
    assert!(files(&folder.path().join("sms-spam")).is_empty());
    let error = fails(folder.path(), &["datasets", "get", "sms_spam"]);
    assert!(error.contains("did you mean `sms-spam`"), "{error}");
}

#[test]
fn a_server_that_breaks_off_is_asked_for_the_rest() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let lines = BufReader::new(&stream).lines().map_while(Result::ok);
            let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            assert!(head[0].starts_with("GET /ai4i2020/ai4i2020.csv "), "{head:?}");
            let all = ROWS.len();
            let answer = match head.iter().any(|line| line.to_lowercase() == "range: bytes=10-") {
                false => format!("200 OK\r\nContent-Length: {all}\r\n\r\n{}", &ROWS[..10]),
                true => format!(
                    "206 Partial Content\r\nContent-Range: bytes 10-{}/{all}\r\nContent-Length: {}\r\n\r\n{}",
                    all - 1,
                    all - 10,
                    &ROWS[10..]
                ),
            };
            let _ = write!(stream, "HTTP/1.1 {answer}");
        }
    });
    let folder = folder();
    succeeds(folder.path(), &["datasets", "get", "ai4i2020", "--mirror", &address]);
    assert_eq!(files(&folder.path().join("ai4i2020")), ["ai4i2020.csv"]);
    let fetched = std::fs::read_to_string(folder.path().join("ai4i2020/ai4i2020.csv")).unwrap();
    assert_eq!(fetched, ROWS);
}
