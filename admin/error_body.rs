//! What every refusal looks like.

use serde::Serialize;
use std::borrow::Cow;
use utoipa::ToSchema;

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErrorBody {
    pub(crate) error: ErrorText,
    /// What exactly is wrong, where the sentence is one that existing clients compare.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) details: Option<String>,
}

/// One sentence for people, or everything that is wrong with a request's fields.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum ErrorText {
    Sentence(Cow<'static, str>),
    Issues(Vec<Issue>),
}

/// What is wrong with one field.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Issue {
    /// The field's name; empty where the whole body is meant.
    pub(crate) path: Vec<String>,
    pub(crate) message: String,
    pub(crate) code: &'static str,
}
