//! What an operator has written down for an org.

use crate::fields::{Fields, FromFields};
use crate::policy::Policy;
use serde::Serialize;
use utoipa::ToSchema;

#[derive(Debug, ToSchema)]
pub(crate) struct PolicyRequest {
    #[schema(min_length = 1, max_length = 200)]
    pub(crate) name: String,
    #[schema(max_length = 20_000)]
    pub(crate) description: String,
    #[schema(nullable = false, max_length = 2_000)]
    pub(crate) source: Option<String>,
}

/// What is absent stays as it is.
#[derive(Debug, ToSchema)]
pub(crate) struct PolicyChange {
    #[schema(nullable = false, min_length = 1, max_length = 200)]
    pub(crate) name: Option<String>,
    #[schema(nullable = false, max_length = 20_000)]
    pub(crate) description: Option<String>,
    #[schema(nullable = false, max_length = 2_000)]
    pub(crate) source: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PolicyBody {
    id: String,
    org_id: String,
    name: String,
    description: String,
    #[schema(required)]
    source: Option<String>,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PolicyReply {
    pub(crate) success: bool,
}

impl FromFields for PolicyRequest {
    fn from_fields(fields: &mut Fields) -> Option<PolicyRequest> {
        let name = fields.required("name", |fields, name| fields.text(name, 1..=NAME_CHARS_MAX));
        let description =
            fields.required("description", |fields, name| fields.text(name, 0..=TEXT_CHARS_MAX));
        let source = fields.text("source", 0..=SOURCE_CHARS_MAX);
        Some(PolicyRequest { name: name?, description: description?, source })
    }
}

impl FromFields for PolicyChange {
    fn from_fields(fields: &mut Fields) -> Option<PolicyChange> {
        Some(PolicyChange {
            name: fields.text("name", 1..=NAME_CHARS_MAX),
            description: fields.text("description", 0..=TEXT_CHARS_MAX),
            source: fields.text("source", 0..=SOURCE_CHARS_MAX),
        })
    }
}

impl PolicyBody {
    pub(crate) fn of(id: &str, policy: &Policy) -> PolicyBody {
        PolicyBody {
            id: id.to_owned(),
            org_id: policy.org.to_string(),
            name: policy.name.to_string(),
            description: policy.description.to_string(),
            source: policy.source.as_deref().map(str::to_owned),
            created_at: policy.created_at.to_string(),
            updated_at: policy.updated_at.to_string(),
        }
    }
}

const NAME_CHARS_MAX: usize = 200;
const TEXT_CHARS_MAX: usize = 20_000;
const SOURCE_CHARS_MAX: usize = 2_000;
