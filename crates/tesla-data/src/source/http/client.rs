use std::fs::File;
use std::io::{Read, Seek, copy};
use std::time::{Duration, SystemTime};

use ureq::http::{Response, StatusCode};
use ureq::{Agent, Body};

use super::url::{origin, resolve};
use crate::config::HttpConfig;
use crate::source::secret::{Env, expand, is_literal, scrub};
use crate::{Error, Result};

/// Asks a server, with patience: what may go better the next time is tried again.
pub(super) struct Client<'a> {
    agent: Agent,
    name: String,
    /// The origin that headers and token are meant for.
    origin: String,
    headers: Vec<(String, String)>,
    retries: u32,
    /// Values that may stand in no message.
    secrets: Vec<String>,
    wait: &'a dyn Fn(Duration),
}

/// An answer, with its body in the file that was given.
pub(super) struct Answer {
    /// The address that answered, after redirections.
    pub(super) url: String,
    pub(super) content_type: String,
    pub(super) link: Option<String>,
    pub(super) bytes: u64,
}

/// Why a request failed, and whether it may go better the next time.
enum Failure {
    Final(String),
    Passing {
        reason: String,
        /// How long the server asks to wait.
        wait: Option<Duration>,
    },
}

const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// A server that asks for more patience than this gets none.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(600);
const LONGEST_BODY: Duration = Duration::from_secs(3600);
const MAX_REDIRECTS: usize = 10;

impl<'a> Client<'a> {
    /// A client for `url`; `name` stands for it in messages.
    pub(super) fn new(
        name: &str,
        url: &str,
        config: &HttpConfig,
        mut secrets: Vec<String>,
        env: Env<'_>,
        wait: &'a dyn Fn(Duration),
    ) -> Result<Self> {
        let mut headers = Vec::new();
        for (header, value) in &config.headers {
            if is_secret(header) && is_literal(value) {
                return Err(Error::Config(format!(
                    "the header `{header}` in `[data.http]` spells out a secret, which would be stored with the model: write `${{NAME}}` there and set that environment variable"
                )));
            }
            let value = expand(value, env, &|value| value.trim().to_string())?;
            if is_secret(header) {
                secrets.push(value.clone());
            }
            headers.push((header.clone(), value));
        }
        if let Some(variable) = &config.bearer_env {
            let token = expand(&format!("${{{variable}}}"), env, &|v| v.trim().to_string())?;
            headers.push(("Authorization".into(), format!("Bearer {token}")));
            secrets.push(token);
        }
        let seconds = Some(Duration::from_secs(config.timeout_s.max(1)));
        let agent = Agent::config_builder()
            // Redirections are followed here, where it is known what may go with them.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .timeout_resolve(seconds)
            .timeout_connect(seconds)
            .timeout_recv_response(seconds)
            .timeout_per_read(seconds)
            .timeout_recv_body(Some(LONGEST_BODY))
            .user_agent(concat!("tesla/", env!("CARGO_PKG_VERSION")))
            .accept("application/json, text/csv;q=0.9, */*;q=0.5")
            .build()
            .new_agent();
        Ok(Self {
            agent,
            name: name.into(),
            origin: origin(url).into(),
            headers,
            retries: config.retries,
            secrets,
            wait,
        })
    }

    /// Gets `url` into `file`, which is overwritten, with at most `limit` bytes.
    ///
    /// # Errors
    /// When the server refuses, or still fails after the last retry.
    pub(super) fn get(&self, url: &str, limit: u64, file: &mut File) -> Result<Answer> {
        let mut pause = FIRST_WAIT;
        let mut tries = 0;
        loop {
            match self.try_get(url, limit, file) {
                Ok(answer) => return Ok(answer),
                Err(Failure::Final(reason)) => return Err(self.error(&reason)),
                Err(Failure::Passing { reason, .. }) if tries == self.retries => {
                    let times = match tries {
                        0 => "once".to_string(),
                        tries => format!("{} times", tries + 1),
                    };
                    return Err(self.error(&format!("{reason} (tried {times})")));
                }
                Err(Failure::Passing { reason, wait }) => {
                    if let Some(wait) = wait.filter(|wait| *wait > LONGEST_RETRY_AFTER) {
                        let reason = format!("{reason} and asks to wait {} s", wait.as_secs());
                        return Err(self.error(&reason));
                    }
                    (self.wait)(wait.unwrap_or(pause));
                }
            }
            pause = (2 * pause).min(LONGEST_WAIT);
            tries += 1;
        }
    }

    pub(super) fn error(&self, reason: &str) -> Error {
        Error::source(&self.name, scrub(reason, &self.secrets))
    }

    fn try_get(&self, url: &str, limit: u64, file: &mut File) -> Result<Answer, Failure> {
        let mut url = url.to_string();
        for _ in 0..=MAX_REDIRECTS {
            let response = self.ask(&url)?;
            let header = |name| response.headers().get(name).and_then(|v| v.to_str().ok());
            let status = response.status();
            if let (true, Some(target)) = (status.is_redirection(), header("location")) {
                let target = resolve(&url, target);
                if url.starts_with("https://") && !target.starts_with("https://") {
                    let reason = "redirects from `https` to an address that is not encrypted";
                    return Err(Failure::Final(reason.into()));
                }
                url = target;
                continue;
            }
            if !status.is_success() {
                return Err(refusal(status, header("retry-after")));
            }
            let (content_type, link) = (header("content-type"), header("link"));
            let (content_type, link) =
                (content_type.unwrap_or_default().to_lowercase(), link.map(String::from));
            return Ok(Answer {
                url,
                content_type,
                link,
                bytes: body(response, limit, file)?,
            });
        }
        let reason = format!("redirects more than {MAX_REDIRECTS} times");
        Err(Failure::Final(reason))
    }

    fn ask(&self, url: &str) -> Result<Response<Body>, Failure> {
        let mut request = self.agent.get(url);
        if origin(url) == self.origin {
            for (name, value) in &self.headers {
                request = request.header(name, value);
            }
        }
        request.call().map_err(|error| match error {
            ureq::Error::Http(_) | ureq::Error::BadUri(_) => {
                Failure::Final("cannot be asked: the address or a header is malformed".into())
            }
            ureq::Error::LargeResponseHeader(..) => {
                Failure::Final("answers with headers that are too large".into())
            }
            error => passing(format!("cannot be reached: {error}")),
        })
    }
}

/// Writes the body into `file`.
fn body(response: Response<Body>, limit: u64, file: &mut File) -> Result<u64, Failure> {
    let failed = |e: std::io::Error| Failure::Final(format!("cannot be kept on disk: {e}"));
    file.set_len(0).and_then(|()| file.rewind()).map_err(failed)?;
    let mut reader = response.into_body().into_reader().take(limit + 1);
    // Reading and writing fail for different reasons, and only one is worth another try.
    let mut part = Vec::new();
    let mut bytes = 0;
    loop {
        part.clear();
        let read = reader.by_ref().take(1 << 16).read_to_end(&mut part);
        bytes += read
            .map_err(|e| passing(format!("breaks off in the middle of its answer: {e}")))?
            as u64;
        copy(&mut part.as_slice(), file).map_err(failed)?;
        if bytes > limit {
            let reason = "answers with more than `max_mib` in `[data.http]` allows";
            return Err(Failure::Final(reason.into()));
        }
        if part.is_empty() {
            file.rewind().map_err(failed)?;
            return Ok(bytes);
        }
    }
}

fn passing(reason: String) -> Failure {
    Failure::Passing { reason, wait: None }
}

/// What a status that is no success means.
fn refusal(status: StatusCode, retry_after: Option<&str>) -> Failure {
    let reason = format!("answers {status}");
    match status.as_u16() {
        401 | 403 => Failure::Final(format!(
            "{reason}: say `bearer_env` or `headers` in `[data.http]`, or check that the token is valid"
        )),
        408 | 429 | 500 | 502 | 503 | 504 => Failure::Passing {
            reason,
            wait: retry_after.and_then(delay),
        },
        _ => Failure::Final(reason),
    }
}

/// `Retry-After`: seconds, or a date.
fn delay(retry_after: &str) -> Option<Duration> {
    if let Ok(seconds) = retry_after.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = httpdate::parse_http_date(retry_after.trim()).ok()?;
    Some(until.duration_since(SystemTime::now()).unwrap_or_default())
}

/// Whether a header's name says that its value must not be written down.
fn is_secret(header: &str) -> bool {
    let header = header.to_lowercase();
    ["auth", "cookie", "key", "password", "secret", "token"]
        .iter()
        .any(|word| header.contains(word))
}
