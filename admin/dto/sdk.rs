//! Calls that do not pass through the proxy, as applications tell of them.

use crate::fields::{Fields, FromFields};
use serde::Serialize;
use serde_json::{Map, Value};
use std::sync::Arc;
use tokenist_control::view::Judged;
use tokenist_core::close_reason::{CloseReason, Measure};
use tokenist_core::dialect;
use tokenist_core::id::{self, Feature, Model, OrgId, UserId};
use tokenist_core::json::COUNT_MAX;
use tokenist_core::money::NanoUsd;
use tokenist_core::time::Timestamp;
use tokenist_core::usage::Usage;
use tokenist_core::verdict::Verdict;
use utoipa::ToSchema;

#[derive(Clone, Copy, Debug, ToSchema)]
#[schema(rename_all = "lowercase")]
pub(crate) enum RequestType {
    Realtime,
    Chat,
    Embeddings,
}

#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct CheckRequest {
    #[schema(value_type = String)]
    pub(crate) user_id: UserId,
    #[schema(value_type = String)]
    pub(crate) model: Model,
    #[expect(dead_code, reason = "asked of every caller; no verdict depends on it")]
    pub(crate) request_type: RequestType,
    /// Checked, but not counted: a call is judged by what was used before it, as a session is.
    #[schema(nullable = false, minimum = 0)]
    #[expect(dead_code, reason = "likewise")]
    pub(crate) estimated_tokens: Option<u64>,
    #[schema(value_type = String, nullable = false, required = false)]
    pub(crate) feature: Option<Feature>,
    /// The key's own org if absent.
    #[schema(value_type = String, nullable = false, required = false)]
    pub(crate) org_id: Option<OrgId>,
}

#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct RecordRequest {
    #[schema(value_type = String)]
    pub(crate) user_id: UserId,
    #[schema(value_type = String)]
    pub(crate) model: Model,
    #[expect(dead_code, reason = "asked of every caller; prices go by the model")]
    pub(crate) request_type: RequestType,
    #[schema(minimum = 0)]
    pub(crate) input_tokens: u64,
    #[schema(minimum = 0)]
    pub(crate) output_tokens: u64,
    #[schema(value_type = f64, minimum = 0)]
    pub(crate) latency_ms: u64,
    /// What was used counts either way.
    #[expect(dead_code, reason = "asked of every caller")]
    pub(crate) success: bool,
    /// When it was used; now if absent or yet to come.
    #[schema(value_type = String, nullable = false, required = false, format = DateTime)]
    pub(crate) timestamp: Option<Timestamp>,
    /// The provider's id of the response: told twice, it is counted once.
    #[schema(value_type = String, nullable = false, required = false, max_length = 256)]
    pub(crate) response_id: Option<Arc<str>>,
    #[schema(value_type = String, nullable = false, required = false)]
    pub(crate) feature: Option<Feature>,
    /// The key's own org if absent.
    #[schema(value_type = String, nullable = false, required = false)]
    pub(crate) org_id: Option<OrgId>,
}

/// What the response states in `usage`, or in `response.usage`, is counted: a call that is logged need not be
/// recorded too.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct LogRequest {
    #[schema(value_type = String)]
    pub(crate) model: Model,
    #[schema(value_type = Object)]
    pub(crate) request: Map<String, Value>,
    #[schema(value_type = Object, nullable = false, required = false)]
    pub(crate) response: Option<Map<String, Value>>,
    #[schema(nullable = false, default = "success", max_length = 256)]
    pub(crate) status: Option<String>,
    #[schema(value_type = f64, nullable = false, required = false, minimum = 0)]
    pub(crate) latency_ms: Option<u64>,
    /// One is made if absent.
    #[schema(value_type = String, nullable = false, required = false)]
    pub(crate) conversation_id: Option<Arc<str>>,
    /// If absent, the key's user; if it has none, the key itself.
    #[schema(value_type = String, nullable = false, required = false)]
    pub(crate) user_id: Option<UserId>,
    #[schema(value_type = String, nullable = false, required = false)]
    pub(crate) user_email: Option<Arc<str>>,
    #[schema(value_type = String, nullable = false, required = false)]
    pub(crate) user_name: Option<Arc<str>>,
    #[schema(value_type = String, nullable = false, required = false)]
    pub(crate) feature: Option<Feature>,
    /// The key's own org if absent.
    #[schema(value_type = String, nullable = false, required = false)]
    pub(crate) org_id: Option<OrgId>,
}

/// Over the window of the user's limit.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SdkUsage {
    tokens: u64,
    cost_usd: f64,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CheckReply {
    allowed: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reason: Option<String>,
    usage: SdkUsage,
    /// Where the call is allowed. 0 where there is no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    remaining: Option<SdkUsage>,
    /// A rule asks that the call is made so much later. The proxy sees to it by itself.
    #[serde(rename = "delayMs", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    delay_ms: Option<u64>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RecordReply {
    recorded: bool,
    usage: SdkUsage,
    /// The next call would not be allowed.
    blocked: bool,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LogReply {
    id: String,
    conversation_id: String,
    recorded: bool,
    /// What it cost; null if the response states no tokens.
    #[schema(required)]
    cost_usd: Option<f64>,
}

impl FromFields for CheckRequest {
    fn from_fields(fields: &mut Fields) -> Option<CheckRequest> {
        let (user_id, model, request_type) = read_call(fields);
        let estimated_tokens = fields.count("estimatedTokens", 0, COUNT_MAX);
        let (feature, org_id) = read_purpose(fields);
        Some(CheckRequest {
            user_id: user_id?,
            model: model?,
            request_type: request_type?,
            estimated_tokens,
            feature,
            org_id,
        })
    }
}

impl FromFields for RecordRequest {
    fn from_fields(fields: &mut Fields) -> Option<RecordRequest> {
        let (user_id, model, request_type) = read_call(fields);
        let count = |fields: &mut Fields, name: &'static str| fields.count(name, 0, COUNT_MAX);
        let input_tokens = fields.required("inputTokens", count);
        let output_tokens = fields.required("outputTokens", count);
        let latency_ms = fields.required("latencyMs", Fields::milliseconds);
        let success = fields.required("success", Fields::flag);
        let timestamp = fields.time("timestamp");
        let response_id = fields.parsed("responseId", |bytes| id::read(bytes).map(Arc::from));
        let (feature, org_id) = read_purpose(fields);
        Some(RecordRequest {
            user_id: user_id?,
            model: model?,
            request_type: request_type?,
            input_tokens: input_tokens?,
            output_tokens: output_tokens?,
            latency_ms: latency_ms?,
            success: success?,
            timestamp,
            response_id,
            feature,
            org_id,
        })
    }
}

impl FromFields for LogRequest {
    fn from_fields(fields: &mut Fields) -> Option<LogRequest> {
        let model = fields.required("model", |fields, name| fields.parsed(name, Model::parse));
        let request = fields.required("request", Fields::object);
        let response = fields.object("response");
        let status = fields.text("status", 1..=STATUS_CHARS_MAX);
        let latency_ms = fields.milliseconds("latencyMs");
        let conversation_id = fields.parsed("conversationId", |bytes| id::read(bytes).map(Arc::from));
        let user_id = fields.parsed("userId", UserId::parse);
        let user_email = fields.parsed("userEmail", |bytes| id::read_email(bytes).map(Arc::from));
        let user_name = fields.parsed("userName", |bytes| id::read_name(bytes).map(Arc::from));
        let (feature, org_id) = read_purpose(fields);
        Some(LogRequest {
            model: model?,
            request: request?,
            response,
            status,
            latency_ms,
            conversation_id,
            user_id,
            user_email,
            user_name,
            feature,
            org_id,
        })
    }
}

fn read_call(fields: &mut Fields) -> (Option<UserId>, Option<Model>, Option<RequestType>) {
    (
        fields.required("userId", |fields, name| fields.parsed(name, UserId::parse)),
        fields.required("model", |fields, name| fields.parsed(name, Model::parse)),
        fields.required("requestType", |fields, name| fields.word(name, &REQUEST_TYPES)),
    )
}

fn read_purpose(fields: &mut Fields) -> (Option<Feature>, Option<OrgId>) {
    (fields.parsed("feature", Feature::parse), fields.parsed("orgId", OrgId::parse))
}

impl RecordRequest {
    pub(crate) fn usage(&self) -> Usage {
        Usage { text_in: self.input_tokens, text_out: self.output_tokens, requests: 1, ..Usage::default() }
    }
}

impl LogRequest {
    /// The provider's id of the response, if it has one.
    pub(crate) fn response_id(&self) -> Option<String> {
        let response = self.response.as_ref()?;
        let inner = || response.get("response")?.get("id");
        [response.get("id"), inner()].into_iter().flatten().find_map(Value::as_str).map(str::to_owned)
    }

    /// What the response says was used; `None` if that is nothing.
    pub(crate) fn usage(&self) -> Option<Usage> {
        let response = self.response.as_ref()?;
        let inner = || response.get("response")?.get("usage");
        let stated = [response.get("usage"), inner()].into_iter().flatten();
        stated
            .filter_map(|usage| dialect::read_usage(usage.to_string().as_bytes()))
            .find(|usage| usage.total_tokens() > 0 || usage.duration_ms > 0)
    }
}

impl CheckReply {
    pub(crate) fn of(judged: &Judged) -> CheckReply {
        let usage = SdkUsage::of(judged);
        match &judged.verdict {
            Verdict::Allow | Verdict::Warn { .. } => CheckReply {
                allowed: true,
                reason: None,
                usage,
                remaining: Some(SdkUsage {
                    tokens: judged.remaining.tokens.unwrap_or(0),
                    cost_usd: judged.remaining.cost.unwrap_or(NanoUsd::ZERO).usd(),
                }),
                delay_ms: (judged.delay_ms > 0).then_some(judged.delay_ms),
            },
            Verdict::Block(ending) => CheckReply::refused(reason(ending), usage),
        }
    }
}

impl CheckReply {
    /// The org's tier has no more requests this month.
    pub(crate) fn over_quota(judged: &Judged) -> CheckReply {
        CheckReply::refused("tier_quota_exceeded".to_owned(), SdkUsage::of(judged))
    }

    fn refused(reason: String, usage: SdkUsage) -> CheckReply {
        CheckReply { allowed: false, reason: Some(reason), usage, remaining: None, delay_ms: None }
    }
}

impl RecordReply {
    pub(crate) fn of(judged: &Judged) -> RecordReply {
        let blocked = matches!(judged.verdict, Verdict::Block(_));
        RecordReply { recorded: true, usage: SdkUsage::of(judged), blocked }
    }
}

impl LogReply {
    pub(crate) fn of(id: String, conversation: &str, cost: Option<NanoUsd>) -> LogReply {
        LogReply {
            id,
            conversation_id: conversation.to_owned(),
            recorded: true,
            cost_usd: cost.map(NanoUsd::usd),
        }
    }
}

impl SdkUsage {
    fn of(judged: &Judged) -> SdkUsage {
        let totals = &judged.user.totals;
        SdkUsage { tokens: totals.usage.total_tokens(), cost_usd: totals.cost.usd() }
    }
}

/// As existing clients know it.
fn reason(ending: &CloseReason) -> String {
    match ending {
        CloseReason::Blocked { reason, .. } => {
            format!("User is blocked: {}", reason.as_deref().unwrap_or("No reason provided"))
        }
        CloseReason::LimitReached { measure: Measure::Cost { used, limit }, .. } => {
            format!("Cost limit exceeded: ${:.4} >= ${:.2}", used.usd(), limit.usd())
        }
        CloseReason::LimitReached { measure: Measure::Tokens { used, limit }, .. } => {
            format!("Token limit exceeded: {used} >= {limit}")
        }
        other => other.message(),
    }
}

const REQUEST_TYPES: [(&str, RequestType); 3] = [
    ("realtime", RequestType::Realtime),
    ("chat", RequestType::Chat),
    ("embeddings", RequestType::Embeddings),
];
const STATUS_CHARS_MAX: usize = 256;
