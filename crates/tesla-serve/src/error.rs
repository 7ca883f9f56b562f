use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// An answer that is not a prediction: a status and one sentence.
#[derive(Debug)]
pub(crate) struct Failure {
    status: StatusCode,
    message: String,
}

impl Failure {
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            message: message.into(),
        }
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            message: message.into(),
        }
    }

    pub(crate) fn method_not_allowed(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::METHOD_NOT_ALLOWED,
            message: message.into(),
        }
    }

    /// Not the client's doing; what happened is for the log, not for the client.
    pub(crate) fn internal(what: impl std::fmt::Display) -> Self {
        eprintln!("error: a prediction failed: {what}");
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            message: "the prediction failed; the server's log says why".into(),
        }
    }
}

impl From<tesla_core::Error> for Failure {
    fn from(error: tesla_core::Error) -> Self {
        match error {
            tesla_core::Error::Data(e) => Self::bad_request(e.to_string()),
            e => Self::internal(e),
        }
    }
}

impl From<tesla_data::Error> for Failure {
    fn from(error: tesla_data::Error) -> Self {
        Self::bad_request(error.to_string())
    }
}

impl IntoResponse for Failure {
    /// `error` is always a string: clients of the protocol break on anything else.
    fn into_response(self) -> Response {
        (self.status, Json(json!({ "error": self.message }))).into_response()
    }
}
