//! A file from an HTTP address to the disk: resumed where it broke off, checked, and put in place whole.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use sha2::{Digest, Sha256};
use ureq::Agent;
use ureq::http::StatusCode;

use super::url::resolve;
use crate::fingerprint::hex;
use crate::source::{Expected, part_of, public_name};
use crate::{Error, Result};

/// The largest file of unknown size, in bytes.
const LARGEST: u64 = 16 << 30;
/// Breaks after which a download is given up.
const TRIES: usize = 5;
const FIRST_WAIT: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(30);
const MAX_REDIRECTS: usize = 10;

/// Fetches `url` into the file `path`, which appears whole and checked, or not at all. What was fetched
/// before a break waits beside it as `path` with `.part` behind, and a later call goes on from there.
/// `progress` is told the bytes that are there and, where it is known, how many there will be. Returns the
/// SHA-256 in hexadecimal.
///
/// # Errors
/// When the server refuses or keeps failing, the file is larger than it should be, or its SHA-256 is not
/// the one expected: nothing is then left behind but, after a break, the part to go on from.
pub fn fetch(
    url: &str,
    path: &Path,
    expected: &Expected<'_>,
    progress: &mut dyn FnMut(u64, Option<u64>),
) -> Result<String> {
    fetch_with(url, path, expected, progress, &std::thread::sleep)
}

pub(super) fn fetch_with(
    url: &str,
    path: &Path,
    expected: &Expected<'_>,
    progress: &mut dyn FnMut(u64, Option<u64>),
    wait: &dyn Fn(Duration),
) -> Result<String> {
    let name = public_name(url);
    let part = part_of(path);
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(&part)
        .map_err(|e| Error::io(&part, e))?;
    let mut download = Download {
        name: &name,
        url,
        part: &part,
        limit: expected.bytes.unwrap_or(LARGEST),
        total: expected.bytes,
        progress,
    };
    let done = download
        .run(&mut file, wait)
        .and_then(|()| check(&name, &part, &mut file, expected));
    match done {
        Ok(sha256) => {
            file.sync_all().map_err(|e| Error::io(&part, e))?;
            std::fs::rename(&part, path).map_err(|e| Error::io(path, e))?;
            Ok(sha256)
        }
        Err(Failed::Broken(error)) => {
            if file.metadata().is_ok_and(|metadata| metadata.len() == 0) {
                let _ = std::fs::remove_file(&part);
            }
            Err(error)
        }
        Err(Failed::Wrong(error)) => {
            // What is wrong would be wrong the next time, too.
            let _ = std::fs::remove_file(&part);
            Err(error)
        }
    }
}

/// Why a download ended without a file.
enum Failed {
    /// What is there may be gone on from.
    Broken(Error),
    /// What is there is of no use.
    Wrong(Error),
}

struct Download<'a> {
    name: &'a str,
    url: &'a str,
    part: &'a Path,
    limit: u64,
    total: Option<u64>,
    progress: &'a mut dyn FnMut(u64, Option<u64>),
}

impl Download<'_> {
    /// Asks until all bytes are in the file; tries that bring nothing new are counted.
    fn run(&mut self, file: &mut File, wait: &dyn Fn(Duration)) -> Result<(), Failed> {
        let agent = agent();
        let (mut tries, mut pause) = (0, FIRST_WAIT);
        loop {
            let before = self.here(file)?;
            let reason = match self.once(&agent, file, before) {
                Ok(()) => return Ok(()),
                Err(Stop::Failed(failed)) => return Err(failed),
                Err(Stop::Again(reason)) => reason,
            };
            if self.here(file)? > before {
                (tries, pause) = (0, FIRST_WAIT);
            }
            tries += 1;
            if tries == TRIES {
                let reason = format!("{reason} ({TRIES} times in a row): ask again to go on");
                return Err(Failed::Broken(Error::source(self.name, reason)));
            }
            wait(pause);
            pause *= 2;
        }
    }

    fn here(&self, file: &File) -> Result<u64, Failed> {
        let metadata = file.metadata();
        Ok(metadata.map_err(|e| Failed::Broken(Error::io(self.part, e)))?.len())
    }

    /// One request, from byte `start` on.
    fn once(&mut self, agent: &Agent, file: &mut File, start: u64) -> Result<(), Stop> {
        if self.total == Some(start) {
            return Ok(());
        }
        let mut url = self.url.to_string();
        for _ in 0..=MAX_REDIRECTS {
            let mut request = agent.get(&url);
            if start > 0 {
                request = request.header("Range", format!("bytes={start}-"));
            }
            let response = request.call().map_err(|e| match e {
                ureq::Error::Http(_) | ureq::Error::BadUri(_) => {
                    self.broken("cannot be asked: the address is malformed")
                }
                e => Stop::Again(format!("cannot be reached: {e}")),
            })?;
            let header = |name| response.headers().get(name).and_then(|v| v.to_str().ok());
            let status = response.status();
            if let (true, Some(target)) = (status.is_redirection(), header("location")) {
                let target = resolve(&url, target);
                if url.starts_with("https://") && !target.starts_with("https://") {
                    let reason = "redirects from `https` to an address that is not encrypted";
                    return Err(self.broken(reason));
                }
                url = target;
                continue;
            }
            let from = match status {
                StatusCode::PARTIAL_CONTENT => match header("content-range").and_then(range) {
                    Some((from, total)) if from == start => {
                        self.total = self.total.or(total);
                        from
                    }
                    _ => return Err(self.broken("answers with another part than was asked for")),
                },
                // A server that knows no ranges starts over.
                StatusCode::OK => {
                    let length = header("content-length").and_then(|l| l.parse::<u64>().ok());
                    if let (Some(length), Some(total)) = (length, self.total)
                        && length != total
                    {
                        let reason = format!("has {length} bytes instead of {total}");
                        return Err(Stop::Failed(Failed::Wrong(Error::source(self.name, reason))));
                    }
                    self.total = length.or(self.total);
                    0
                }
                // What is there is all there is, or more.
                StatusCode::RANGE_NOT_SATISFIABLE if start > 0 => {
                    return self.all(file, start, &response);
                }
                status if matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504) => {
                    return Err(Stop::Again(format!("answers {status}")));
                }
                status => return Err(self.broken(&format!("answers {status}"))),
            };
            return self.body(response.into_body().into_reader(), file, from);
        }
        Err(self.broken(&format!("redirects more than {MAX_REDIRECTS} times")))
    }

    /// A server that has nothing after what is there, says how much there is in all.
    fn all(
        &mut self,
        file: &mut File,
        start: u64,
        response: &ureq::http::Response<ureq::Body>,
    ) -> Result<(), Stop> {
        let header = response.headers().get("content-range").and_then(|v| v.to_str().ok());
        let total = header.and_then(|h| h.strip_prefix("bytes */")?.parse::<u64>().ok());
        if total == Some(start) {
            return Ok(());
        }
        // The file on the server is another one now.
        self.cut(file, 0)?;
        Err(Stop::Again("no longer has what was fetched before".into()))
    }

    fn cut(&self, file: &mut File, at: u64) -> Result<(), Stop> {
        let cut = file.set_len(at).and_then(|()| file.seek(SeekFrom::Start(at)));
        cut.map(drop)
            .map_err(|e| Stop::Failed(Failed::Broken(Error::io(self.part, e))))
    }

    fn body(&mut self, mut body: impl Read, file: &mut File, from: u64) -> Result<(), Stop> {
        self.cut(file, from)?;
        let mut bytes = from;
        let mut buffer = vec![0; 1 << 16];
        loop {
            let read = body
                .read(&mut buffer)
                .map_err(|e| Stop::Again(format!("breaks off in the middle of its answer: {e}")))?;
            bytes += read as u64;
            if bytes > self.limit {
                let reason = format!("sends more than the {} bytes that are expected", self.limit);
                return Err(Stop::Failed(Failed::Wrong(Error::source(self.name, reason))));
            }
            file.write_all(&buffer[..read])
                .map_err(|e| Stop::Failed(Failed::Broken(Error::io(self.part, e))))?;
            (self.progress)(bytes, self.total);
            if read == 0 {
                break;
            }
        }
        match self.total {
            Some(total) if bytes < total => {
                Err(Stop::Again(format!("breaks off after {bytes} of {total} bytes")))
            }
            _ => Ok(()),
        }
    }

    fn broken(&self, reason: &str) -> Stop {
        Stop::Failed(Failed::Broken(Error::source(self.name, reason)))
    }
}

/// Why one request did not bring all that is left.
enum Stop {
    Failed(Failed),
    /// It may go better the next time; why it did not.
    Again(String),
}

/// The first byte and the size of `Content-Range: bytes 5-9/10`.
fn range(header: &str) -> Option<(u64, Option<u64>)> {
    let (bytes, total) = header.strip_prefix("bytes ")?.split_once('/')?;
    let (from, _) = bytes.split_once('-')?;
    Some((from.parse().ok()?, total.parse().ok()))
}

fn agent() -> Agent {
    Agent::config_builder()
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .timeout_resolve(Some(PATIENCE))
        .timeout_connect(Some(PATIENCE))
        .timeout_recv_response(Some(PATIENCE))
        .timeout_per_read(Some(PATIENCE))
        .user_agent(concat!("tesla/", env!("CARGO_PKG_VERSION")))
        .build()
        .new_agent()
}

/// The SHA-256 of what was fetched, if it is what was expected.
fn check(
    name: &str,
    part: &Path,
    file: &mut File,
    expected: &Expected<'_>,
) -> Result<String, Failed> {
    let io = |e| Failed::Broken(Error::io(part, e));
    file.rewind().map_err(io)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = file.read(&mut buffer).map_err(io)?;
        if read == 0 {
            break;
        }
        hash.update(&buffer[..read]);
    }
    let found = hex(&hash.finalize());
    match expected.sha256 {
        Some(sha256) if sha256 != found => {
            let reason = format!(
                "is not the file that is expected: its SHA-256 is {found} instead of {sha256}; it was removed"
            );
            Err(Failed::Wrong(Error::source(name, reason)))
        }
        _ => Ok(found),
    }
}
