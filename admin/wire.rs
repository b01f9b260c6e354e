//! Every JSON shape of the API, and how values of ours become one. No other file knows the field names.
//!
//! Existing clients know these names. On the wire a `threshold` is a user's whole limit and a `period` a window.
//! Costs are dollars as the shortest decimal that is the nano-dollar exactly; times are ISO 8601 with milliseconds.

use crate::fields::{Fields, FromFields};
use serde::Serialize;
use std::borrow::Cow;
use tokenist_control::handle::{ModelTotals, SessionView, Totals, UserView};
use tokenist_core::id::{OrgId, UserId};
use tokenist_core::limit::{Block, Limit, WindowKind};
use tokenist_core::money::NanoUsd;
use tokenist_core::time::Timestamp;
use utoipa::{IntoParams, ToSchema};

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErrorBody {
    pub(crate) error: ErrorText,
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

/// The span that usage is summed over, in UTC.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(crate) enum Window {
    #[serde(rename = "daily")]
    Daily,
    #[serde(rename = "monthly")]
    Monthly,
    #[serde(rename = "rolling_24h")]
    Rolling24h,
    #[serde(rename = "total")]
    Total,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Usage {
    input_tokens: u64,
    output_tokens: u64,
    total_tokens: u64,
    cost_usd: f64,
    /// The part of `costUsd` that is our estimate, for responses that ended without the provider's figure.
    estimated_cost_usd: f64,
    #[schema(required, format = DateTime)]
    last_updated: Option<String>,
}

/// What a user may spend. A measure that is absent is unlimited.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Threshold {
    /// 0 denies everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 0)]
    max_cost_usd: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 0)]
    max_total_tokens: Option<u64>,
    window: Window,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct User {
    user_id: String,
    #[schema(required)]
    org_id: Option<String>,
    #[schema(required)]
    email: Option<String>,
    #[schema(required)]
    name: Option<String>,
    /// Over `period`.
    usage: Usage,
    period: Window,
    threshold: Threshold,
    /// The user has no threshold of its own.
    threshold_is_default: bool,
    /// When the threshold's window rolls over; null if it never does or the user has not been seen.
    #[schema(required, format = DateTime)]
    resets_at: Option<String>,
    blocked: bool,
    #[schema(required)]
    block_entry: Option<BlockEntry>,
    /// Live sessions.
    sessions: u32,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BlockEntry {
    end_user_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reason: Option<String>,
    #[schema(format = DateTime)]
    blocked_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = DateTime)]
    expires_at: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Users {
    /// In order of id.
    pub(crate) users: Vec<User>,
    /// Give it as `cursor` to read on; null after the last page.
    #[schema(required)]
    pub(crate) next_cursor: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BlockList {
    /// In order of id.
    pub(crate) blocked: Vec<BlockedUser>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BlockedUser {
    user_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reason: Option<String>,
    #[schema(format = DateTime)]
    blocked_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = DateTime)]
    expires_at: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BlockReply {
    success: bool,
    user_id: String,
    blocked: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = DateTime)]
    expires_at: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UnblockReply {
    success: bool,
    user_id: String,
    was_blocked: bool,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ThresholdReply {
    success: bool,
    user_id: String,
    threshold: Threshold,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Models {
    #[serde(rename = "userId")]
    user_id: String,
    models: Vec<ModelUsage>,
}

/// What one user used of one model for one feature, all time.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ModelUsage {
    #[schema(required)]
    feature: Option<String>,
    model: String,
    usage: Usage,
    /// Responses and transcriptions.
    requests: u64,
    /// Billed time, for models that cost by the minute.
    duration_ms: u64,
    token_details: TokenDetails,
}

/// Tokens by kind. Cached counts are parts of the input count of their kind, reasoning of text output.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TokenDetails {
    cached_input_tokens: u64,
    cached_text_input_tokens: u64,
    cached_audio_input_tokens: u64,
    cached_image_input_tokens: u64,
    text_input_tokens: u64,
    audio_input_tokens: u64,
    image_input_tokens: u64,
    text_output_tokens: u64,
    audio_output_tokens: u64,
    image_output_tokens: u64,
    reasoning_tokens: u64,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Sessions {
    /// Oldest first.
    pub(crate) sessions: Vec<Session>,
    /// How many are live, also where `limit` cut the list.
    pub(crate) total: usize,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Session {
    session_id: String,
    user_id: String,
    #[schema(required)]
    org_id: Option<String>,
    #[schema(required)]
    feature: Option<String>,
    provider: String,
    #[schema(required)]
    model: Option<String>,
    #[schema(format = DateTime)]
    opened_at: String,
    age_seconds: u64,
    /// Of responses that are over.
    usage: Usage,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SessionReply {
    success: bool,
    session_id: String,
}

/// How the process does. Counts are null while the ledger does not answer.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Health {
    pub(crate) status: HealthStatus,
    pub(crate) version: &'static str,
    /// What moves the bytes: `io_uring` or `epoll`.
    pub(crate) driver: &'static str,
    pub(crate) draining: bool,
    #[schema(format = DateTime)]
    pub(crate) started_at: String,
    pub(crate) uptime_seconds: u64,
    /// Live sessions.
    #[schema(required)]
    pub(crate) sessions: Option<usize>,
    #[schema(required)]
    pub(crate) users: Option<usize>,
    /// The store's kind.
    pub(crate) store: &'static str,
    /// The last commit to the store failed.
    #[schema(required)]
    pub(crate) store_failing: Option<bool>,
    /// Why it failed, in a sentence.
    #[schema(required)]
    pub(crate) store_failure: Option<String>,
    /// Why MongoDB cannot be written or read, if so: what is counted waits in the ledger file meanwhile.
    #[schema(required)]
    pub(crate) mirror_failure: Option<String>,
    /// Rows that are not copied to MongoDB yet; null without one.
    #[schema(required)]
    pub(crate) mirror_waiting: Option<u64>,
}

#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum HealthStatus {
    Ok,
    /// No new session is accepted.
    Draining,
    /// The ledger has stopped; the process is about to end.
    Failing,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Ready {
    pub(crate) status: HealthStatus,
}

#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct BlockRequest {
    #[schema(nullable = false, max_length = 1000)]
    pub(crate) reason: Option<String>,
    /// ISO 8601 with an offset, or a date. Without it the block lasts until it is lifted.
    #[schema(value_type = String, nullable = false, required = false, format = DateTime)]
    pub(crate) expires_at: Option<Timestamp>,
}

/// Replaces the user's whole threshold: a measure that is absent becomes unlimited.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct ThresholdRequest {
    /// 0 denies everything.
    #[schema(value_type = f64, nullable = false, required = false, minimum = 0)]
    pub(crate) max_cost_usd: Option<NanoUsd>,
    /// 0 is unlimited.
    #[schema(nullable = false, minimum = 0)]
    pub(crate) max_total_tokens: Option<u64>,
    /// The default threshold's if absent.
    #[schema(value_type = Window, nullable = false, required = false)]
    pub(crate) window: Option<WindowKind>,
}

#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(crate) struct UsersQuery {
    /// At most this many users.
    #[param(nullable = false, minimum = 1, maximum = 10_000, default = 10_000)]
    pub(crate) limit: Option<usize>,
    /// `nextCursor` of the page before.
    #[param(value_type = Option<String>, nullable = false)]
    pub(crate) cursor: Option<UserId>,
    /// Only users whose id, email or name contains this, ignoring ASCII case.
    #[param(nullable = false, max_length = 256)]
    pub(crate) search: Option<String>,
    /// Only users of this org.
    #[param(value_type = Option<String>, nullable = false)]
    pub(crate) org: Option<OrgId>,
    /// What usage is summed over; by default each threshold's own window.
    #[param(value_type = Option<Window>, nullable = false)]
    pub(crate) period: Option<WindowKind>,
}

#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct PeriodQuery {
    /// What usage is summed over; by default the threshold's own window.
    #[param(value_type = Option<Window>, nullable = false)]
    pub(crate) period: Option<WindowKind>,
}

#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct SessionsQuery {
    /// At most this many sessions, the oldest.
    #[param(nullable = false, minimum = 1, maximum = 10_000, default = 10_000)]
    pub(crate) limit: Option<usize>,
}

impl FromFields for BlockRequest {
    fn from_fields(fields: &mut Fields) -> BlockRequest {
        BlockRequest { reason: fields.text("reason", REASON_CHARS_MAX), expires_at: fields.time("expiresAt") }
    }
}

impl FromFields for ThresholdRequest {
    fn from_fields(fields: &mut Fields) -> ThresholdRequest {
        ThresholdRequest {
            max_cost_usd: fields.dollars("maxCostUsd"),
            max_total_tokens: fields.count("maxTotalTokens", 0, INTEGER_MAX),
            window: fields.word("window", &WINDOWS),
        }
    }
}

impl FromFields for UsersQuery {
    fn from_fields(fields: &mut Fields) -> UsersQuery {
        UsersQuery {
            limit: list_limit(fields),
            cursor: fields.parsed("cursor", UserId::parse),
            search: fields.text("search", SEARCH_CHARS_MAX),
            org: fields.parsed("org", OrgId::parse),
            period: fields.word("period", &WINDOWS),
        }
    }
}

impl FromFields for PeriodQuery {
    fn from_fields(fields: &mut Fields) -> PeriodQuery {
        PeriodQuery { period: fields.word("period", &WINDOWS) }
    }
}

impl FromFields for SessionsQuery {
    fn from_fields(fields: &mut Fields) -> SessionsQuery {
        SessionsQuery { limit: list_limit(fields) }
    }
}

fn list_limit(fields: &mut Fields) -> Option<usize> {
    fields.count("limit", 1, LIST_MAX as u64).map(|limit| limit as usize)
}

impl ThresholdRequest {
    /// The limit that this asks for; `default` gives what it cannot say.
    pub(crate) fn limit(&self, default: Limit) -> Limit {
        Limit {
            max_cost: self.max_cost_usd,
            max_tokens: self.max_total_tokens.filter(|&tokens| tokens > 0),
            window: self.window.unwrap_or(default.window),
            ..default
        }
    }
}

impl User {
    pub(crate) fn of(view: UserView, period: Option<WindowKind>) -> User {
        User {
            period: period.unwrap_or(view.limit.window).into(),
            usage: (&view.totals).into(),
            threshold: (&view.limit).into(),
            threshold_is_default: view.limit_is_default,
            resets_at: view.resets_at.map(|at| at.to_string()),
            blocked: view.block.is_some(),
            block_entry: view.block.map(|block| BlockEntry {
                end_user_id: view.user.to_string(),
                reason: block.reason.map(|reason| reason.to_string()),
                blocked_at: block.blocked_at.to_string(),
                expires_at: block.expires_at.map(|at| at.to_string()),
            }),
            sessions: view.sessions,
            user_id: view.user.to_string(),
            org_id: view.org.map(|org| org.to_string()),
            email: view.email.map(|email| email.to_string()),
            name: view.name.map(|name| name.to_string()),
        }
    }

    /// A user that the ledger has never heard of.
    pub(crate) fn unknown(user: UserId, default: Limit, period: Option<WindowKind>) -> User {
        let view = UserView {
            user,
            org: None,
            email: None,
            name: None,
            totals: Totals::default(),
            limit: default,
            limit_is_default: true,
            resets_at: None,
            block: None,
            sessions: 0,
        };
        User::of(view, period)
    }
}

impl BlockedUser {
    pub(crate) fn of(user: &UserId, block: Block) -> BlockedUser {
        BlockedUser {
            user_id: user.to_string(),
            reason: block.reason.map(|reason| reason.to_string()),
            blocked_at: block.blocked_at.to_string(),
            expires_at: block.expires_at.map(|at| at.to_string()),
        }
    }
}

impl BlockReply {
    pub(crate) fn of(user: &UserId, request: BlockRequest) -> BlockReply {
        BlockReply {
            success: true,
            user_id: user.to_string(),
            blocked: true,
            reason: request.reason,
            expires_at: request.expires_at.map(|at| at.to_string()),
        }
    }
}

impl UnblockReply {
    pub(crate) fn of(user: &UserId, was_blocked: bool) -> UnblockReply {
        UnblockReply { success: true, user_id: user.to_string(), was_blocked }
    }
}

impl ThresholdReply {
    pub(crate) fn of(view: &UserView) -> ThresholdReply {
        ThresholdReply { success: true, user_id: view.user.to_string(), threshold: (&view.limit).into() }
    }
}

impl Models {
    pub(crate) fn of(user: &UserId, models: &[ModelTotals]) -> Models {
        Models { user_id: user.to_string(), models: models.iter().map(ModelUsage::from).collect() }
    }
}

impl Session {
    pub(crate) fn of(view: &SessionView, now: Timestamp) -> Session {
        Session {
            session_id: view.session.to_string(),
            user_id: view.identity.user.to_string(),
            org_id: view.identity.org.as_ref().map(|org| org.to_string()),
            feature: view.identity.feature.as_ref().map(|feature| feature.to_string()),
            provider: view.provider.to_string(),
            model: view.model.as_ref().map(|model| model.to_string()),
            opened_at: view.opened_at.to_string(),
            age_seconds: now.since(view.opened_at) / 1000,
            usage: (&view.totals).into(),
        }
    }
}

impl SessionReply {
    pub(crate) fn of(session: tokenist_core::id::SessionId) -> SessionReply {
        SessionReply { success: true, session_id: session.to_string() }
    }
}

impl From<&ModelTotals> for ModelUsage {
    fn from(model: &ModelTotals) -> ModelUsage {
        let usage = &model.totals.usage;
        ModelUsage {
            feature: model.feature.as_ref().map(|feature| feature.to_string()),
            model: model.model.to_string(),
            usage: (&model.totals).into(),
            requests: usage.requests,
            duration_ms: usage.duration_ms,
            token_details: TokenDetails {
                cached_input_tokens: usage.cached_tokens(),
                cached_text_input_tokens: usage.cached_text_in,
                cached_audio_input_tokens: usage.cached_audio_in,
                cached_image_input_tokens: usage.cached_image_in,
                text_input_tokens: usage.text_in,
                audio_input_tokens: usage.audio_in,
                image_input_tokens: usage.image_in,
                text_output_tokens: usage.text_out,
                audio_output_tokens: usage.audio_out,
                image_output_tokens: usage.image_out,
                reasoning_tokens: usage.reasoning_out,
            },
        }
    }
}

impl From<&Totals> for Usage {
    fn from(totals: &Totals) -> Usage {
        Usage {
            input_tokens: totals.usage.input_tokens(),
            output_tokens: totals.usage.output_tokens(),
            total_tokens: totals.usage.total_tokens(),
            cost_usd: totals.cost.usd(),
            estimated_cost_usd: totals.estimated_cost.usd(),
            last_updated: totals.updated_at.map(|at| at.to_string()),
        }
    }
}

impl From<&Limit> for Threshold {
    fn from(limit: &Limit) -> Threshold {
        Threshold {
            max_cost_usd: limit.max_cost.map(NanoUsd::usd),
            max_total_tokens: limit.max_tokens,
            window: limit.window.into(),
        }
    }
}

impl From<WindowKind> for Window {
    fn from(window: WindowKind) -> Window {
        match window {
            WindowKind::Daily => Window::Daily,
            WindowKind::Monthly => Window::Monthly,
            WindowKind::Rolling24h => Window::Rolling24h,
            WindowKind::Total => Window::Total,
        }
    }
}

/// As many as one list answers, and what it answers if not told.
pub(crate) const LIST_MAX: usize = 10_000;

const WINDOWS: [(&str, WindowKind); 4] = [
    ("daily", WindowKind::Daily),
    ("monthly", WindowKind::Monthly),
    ("rolling_24h", WindowKind::Rolling24h),
    ("total", WindowKind::Total),
];
/// The largest integer that every JSON reader keeps exact.
const INTEGER_MAX: u64 = (1 << 53) - 1;
const REASON_CHARS_MAX: usize = 1000;
const SEARCH_CHARS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tokenist_core::usage::Usage as Counts;

    #[test]
    fn a_cost_is_written_without_noise() {
        for (nano, text) in [
            (0, "0.0"),
            (1, "1e-9"),
            (900_000, "0.0009"),
            (300_000_000, "0.3"),
            (10_000_000_000, "10.0"),
            (123_456_789_012_345, "123456.789012345"),
        ] {
            assert_eq!(serde_json::to_string(&NanoUsd(nano).usd()).unwrap(), text);
        }
    }

    #[test]
    fn a_user_is_shaped_as_existing_clients_read_it() {
        let block = Block { reason: None, blocked_at: Timestamp(1), expires_at: Some(Timestamp(2000)) };
        let view = UserView {
            user: "alice".into(),
            org: Some("acme".into()),
            email: None,
            name: None,
            totals: Totals {
                usage: Counts { text_in: 2000, audio_out: 1000, ..Counts::default() },
                cost: NanoUsd(900_000),
                estimated_cost: NanoUsd(0),
                updated_at: Some(Timestamp(1_795_478_399_999)),
            },
            limit: Limit { max_cost: Some(NanoUsd(10_000_000_000)), ..Limit::default() },
            limit_is_default: true,
            resets_at: Some(Timestamp(86_400_000)),
            block: Some(block),
            sessions: 1,
        };
        assert_eq!(
            serde_json::to_value(User::of(view, Some(WindowKind::Rolling24h))).unwrap(),
            json!({
                "userId": "alice", "orgId": "acme", "email": null, "name": null,
                "usage": {"inputTokens": 2000, "outputTokens": 1000, "totalTokens": 3000, "costUsd": 0.0009,
                    "estimatedCostUsd": 0.0, "lastUpdated": "2026-11-23T23:59:59.999Z"},
                "period": "rolling_24h",
                "threshold": {"maxCostUsd": 10.0, "window": "monthly"},
                "thresholdIsDefault": true,
                "resetsAt": "1970-01-02T00:00:00.000Z",
                "blocked": true,
                "blockEntry": {"endUserId": "alice", "blockedAt": "1970-01-01T00:00:00.001Z",
                    "expiresAt": "1970-01-01T00:00:02.000Z"},
                "sessions": 1,
            })
        );
    }

    #[test]
    fn a_threshold_replaces_both_measures() {
        let default = Limit {
            max_cost: Some(NanoUsd(1)),
            max_tokens: Some(1),
            window: WindowKind::Daily,
            max_sessions: Some(3),
            ..Limit::default()
        };
        let request =
            ThresholdRequest { max_cost_usd: Some(NanoUsd(5)), max_total_tokens: Some(0), window: None };
        let limit = request.limit(default);
        assert_eq!(limit, Limit { max_cost: Some(NanoUsd(5)), max_tokens: None, ..default });
    }
}
