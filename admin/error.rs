//! An answer that is not the one hoped for: a public half for the caller, a private one for the log.

use crate::error_body::{ErrorBody, ErrorText, Issue};
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::borrow::Cow;
use tokenist_control::error::CommandError;
use tokenist_core::authority::Mute;

#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    public: ErrorText,
    details: Option<String>,
    /// What only the log may know.
    private: Option<String>,
    hint: Option<Hint>,
}

/// What a header tells the caller to do.
#[derive(Clone, Copy, Debug)]
enum Hint {
    ShowBearer,
    RetryAfter { seconds: u64 },
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, sentence: impl Into<Cow<'static, str>>) -> ApiError {
        let public = ErrorText::Sentence(sentence.into());
        ApiError { status, public, details: None, private: None, hint: None }
    }

    pub(crate) fn invalid(issues: Vec<Issue>) -> ApiError {
        let public = ErrorText::Issues(issues);
        ApiError { status: StatusCode::BAD_REQUEST, public, details: None, private: None, hint: None }
    }

    pub(crate) fn not_found() -> ApiError {
        ApiError::new(StatusCode::NOT_FOUND, "Not found")
    }

    pub(crate) fn unauthorized(sentence: &'static str) -> ApiError {
        ApiError::new(StatusCode::UNAUTHORIZED, sentence).with(Hint::ShowBearer)
    }

    pub(crate) fn throttled(sentence: &'static str, retry_after_seconds: u64) -> ApiError {
        ApiError::new(StatusCode::TOO_MANY_REQUESTS, sentence)
            .with(Hint::RetryAfter { seconds: retry_after_seconds })
    }

    pub(crate) fn foreign_origin() -> ApiError {
        ApiError::new(
            StatusCode::FORBIDDEN,
            "A session of a browser changes nothing for pages of another origin",
        )
    }

    pub(crate) fn too_slow() -> ApiError {
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "The request took too long")
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    pub(crate) fn with_details(self, details: String) -> ApiError {
        ApiError { details: Some(details), ..self }
    }

    fn with(self, hint: Hint) -> ApiError {
        ApiError { hint: Some(hint), ..self }
    }

    fn because(self, private: impl ToString) -> ApiError {
        ApiError { private: Some(private.to_string()), ..self }
    }
}

impl From<CommandError> for ApiError {
    fn from(error: CommandError) -> ApiError {
        let unavailable = |sentence| ApiError::new(StatusCode::SERVICE_UNAVAILABLE, sentence);
        match &error {
            CommandError::Busy => {
                unavailable("The ledger is busy, try again").with(Hint::RetryAfter { seconds: 1 })
            }
            CommandError::Gone => unavailable("The ledger has stopped"),
            CommandError::Full => unavailable("The ledger holds as many users as it may"),
            CommandError::Unread => unavailable("What is known of it could not be read in time, try again"),
            CommandError::KeysFull => unavailable("The ledger holds as many keys as it may"),
            CommandError::CatalogFull => {
                unavailable("The ledger holds as many logins and the like as it may")
            }
            CommandError::Mute(mute) => return mute.into(),
            CommandError::Store(_) => unavailable("The store cannot be read; /health says why"),
            CommandError::Unanswered => unavailable("The store did not answer in time, try again")
                .with(Hint::RetryAfter { seconds: 1 }),
        }
        .because(error)
    }
}

impl From<&Mute> for ApiError {
    fn from(mute: &Mute) -> ApiError {
        let mut sentence = mute.to_string();
        sentence[..1].make_ascii_uppercase();
        ApiError::new(StatusCode::FORBIDDEN, sentence)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        if let Some(cause) = &self.private {
            tracing::warn!(status = self.status.as_u16(), %cause, "admin request failed");
        }
        let mut response =
            (self.status, Json(ErrorBody { error: self.public, details: self.details })).into_response();
        let header = match self.hint {
            Some(Hint::ShowBearer) => Some((header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
            Some(Hint::RetryAfter { seconds }) => Some((header::RETRY_AFTER, seconds.into())),
            None => None,
        };
        response.headers_mut().extend(header);
        response
    }
}
