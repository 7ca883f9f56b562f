use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tonic::Status;
use tonic::metadata::MetadataValue;

/// What can go wrong when a server starts.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A model could not be loaded.
    #[error(transparent)]
    Core(#[from] tesla_core::Error),
    /// A file or an address could not be used.
    #[error("cannot {action} `{what}`: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or address.
        what: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// What the server was asked to be cannot be.
    #[error("{0}")]
    Config(String),
}

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a client is told of what is not its doing.
pub(crate) const INTERNAL: &str = "the prediction failed; the server's log says why";

/// An answer that is not a prediction: a status and one sentence.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) status: StatusCode,
    pub(crate) message: String,
    /// Seconds after which it is worth another try.
    pub(crate) retry_after: Option<u64>,
}

impl Failure {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            retry_after: None,
        }
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    pub(crate) fn too_large(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    }

    pub(crate) fn unsupported(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message)
    }

    /// The server has more to do than it can; `seconds` from now it should have less.
    pub(crate) fn busy(message: impl Into<String>, seconds: f64) -> Self {
        Self {
            retry_after: Some((seconds.ceil() as u64).clamp(1, 60)),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, message)
        }
    }

    /// Not the client's doing; what happened is for the log, not for the client.
    pub(crate) fn internal(what: impl std::fmt::Display) -> Self {
        tracing::error!(error = %what, "a prediction failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, INTERNAL)
    }
}

impl From<tesla_core::Error> for Failure {
    fn from(error: tesla_core::Error) -> Self {
        match error {
            tesla_core::Error::Data(e) => e.into(),
            e => Self::internal(e),
        }
    }
}

impl From<tesla_data::Error> for Failure {
    fn from(error: tesla_data::Error) -> Self {
        match error {
            e @ tesla_data::Error::Spill { .. } => Self::internal(e),
            e => Self::bad_request(e.to_string()),
        }
    }
}

impl IntoResponse for Failure {
    /// `error` is always a string: clients of the protocol break on anything else.
    fn into_response(self) -> Response {
        let mut response =
            (self.status, axum::Json(json!({ "error": self.message }))).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        let message = failure.message;
        let mut status = match failure.status {
            StatusCode::NOT_FOUND => Status::not_found(message),
            StatusCode::UNAUTHORIZED => Status::unauthenticated(message),
            StatusCode::REQUEST_TIMEOUT => Status::deadline_exceeded(message),
            // Not `UNAVAILABLE`: clients repeat that at once, several times, which a server that has
            // too much to do needs least.
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::PAYLOAD_TOO_LARGE => {
                Status::resource_exhausted(message)
            }
            StatusCode::INTERNAL_SERVER_ERROR => Status::internal(message),
            _ => Status::invalid_argument(message),
        };
        if let Some(seconds) = failure.retry_after {
            let name = header::RETRY_AFTER.as_str();
            status.metadata_mut().insert(name, MetadataValue::from(seconds));
        }
        status
    }
}
