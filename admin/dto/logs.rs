//! Calls that applications described.

use super::page;
use crate::fields::{Fields, FromFields};
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;
use tokenist_control::store::Filter;
use tokenist_core::batch;
use tokenist_core::id::{OrgId, UserId};
use tokenist_core::usage::Usage;
use utoipa::{IntoParams, ToSchema};

#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct LogsQuery {
    /// At most this many logs.
    #[param(value_type = Option<usize>, nullable = false, minimum = 1, maximum = 100, default = 25)]
    limit: usize,
    /// Leaves out so many of the newest.
    #[param(value_type = Option<usize>, nullable = false, maximum = 1_000_000, default = 0)]
    offset: usize,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Logs {
    /// The newest first.
    pub(crate) logs: Vec<Log>,
    /// How many there are.
    pub(crate) total: usize,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Log {
    id: String,
    user_id: String,
    #[schema(required)]
    org_id: Option<String>,
    #[schema(required)]
    user_email: Option<String>,
    #[schema(required)]
    user_name: Option<String>,
    /// The log's own id where the application named none.
    conversation_id: String,
    model: String,
    #[schema(required)]
    feature: Option<String>,
    /// As it was sent.
    #[schema(required, value_type = Option<Object>)]
    request_body: Option<Value>,
    #[schema(required, value_type = Option<Object>)]
    response_body: Option<Value>,
    /// The application's word, `success` if it said none.
    status: String,
    /// Null, as the next two and the cost, where the response says nothing of its usage.
    #[schema(required)]
    prompt_tokens: Option<u64>,
    #[schema(required)]
    completion_tokens: Option<u64>,
    #[schema(required)]
    total_tokens: Option<u64>,
    token_details: LogTokens,
    #[schema(required)]
    cost_usd: Option<f64>,
    #[schema(required)]
    latency_ms: Option<u64>,
    /// Nothing analyses logs: always null.
    #[schema(required, value_type = Option<Vec<String>>)]
    analysis_labels: Option<Vec<String>>,
    #[schema(format = DateTime)]
    created_at: String,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct LogTokens {
    cached_input_tokens: u64,
    text_input_tokens: u64,
    audio_input_tokens: u64,
    image_input_tokens: u64,
    text_output_tokens: u64,
    audio_output_tokens: u64,
    reasoning_tokens: u64,
}

impl FromFields for LogsQuery {
    fn from_fields(fields: &mut Fields) -> Option<LogsQuery> {
        let (limit, offset) = page(fields, 25, LOGS_MAX);
        Some(LogsQuery { limit, offset })
    }
}

impl LogsQuery {
    pub(crate) fn filter(&self, org: OrgId, user: Option<UserId>) -> Filter {
        Filter { org: Some(org), user, offset: self.offset, limit: self.limit, ..Filter::default() }
    }
}

impl From<batch::Log> for Log {
    fn from(log: batch::Log) -> Log {
        let text = |text: &Option<Arc<str>>| text.as_ref().map(|text| text.to_string());
        // It was JSON when it was taken in.
        let body = |text: Option<Arc<str>>| text.and_then(|text| serde_json::from_str(&text).ok());
        let usage: Option<Usage> = log.usage.map(|(usage, _)| usage);
        let details = usage.unwrap_or_default();
        Log {
            user_id: log.identity.user.to_string(),
            org_id: log.identity.org.as_ref().map(|org| org.to_string()),
            user_email: text(&log.identity.email),
            user_name: text(&log.identity.name),
            conversation_id: text(&log.identity.conversation).unwrap_or_else(|| log.id.to_string()),
            id: log.id.to_string(),
            model: log.model.to_string(),
            feature: log.identity.feature.as_ref().map(|feature| feature.to_string()),
            request_body: body(log.request),
            response_body: body(log.response),
            status: log.status.to_string(),
            prompt_tokens: usage.map(|usage| usage.input_tokens()),
            completion_tokens: usage.map(|usage| usage.output_tokens()),
            total_tokens: usage.map(|usage| usage.total_tokens()),
            token_details: LogTokens {
                cached_input_tokens: details.cached_tokens(),
                text_input_tokens: details.text_in,
                audio_input_tokens: details.audio_in,
                image_input_tokens: details.image_in,
                text_output_tokens: details.text_out,
                audio_output_tokens: details.audio_out,
                reasoning_tokens: details.reasoning_out,
            },
            cost_usd: log.usage.map(|(_, cost)| cost.usd()),
            latency_ms: log.latency_ms,
            analysis_labels: None,
            created_at: log.at.to_string(),
        }
    }
}

/// A log holds two bodies of up to some megabytes.
const LOGS_MAX: usize = 100;
