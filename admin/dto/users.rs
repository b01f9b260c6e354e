//! Users, with what they used, whole and by model.

use super::keys::read_scopes;
use super::span::{Period, Span, read_ends};
use super::{
    ApiKey, BlockEntry, CreatedKey, MeasureUsed, Scope, Threshold, Usage, WINDOWS, Window, list_limit,
};
use crate::fields::{Fields, FromFields};
use serde::Serialize;
use std::sync::Arc;
use tokenist_control::ranking::{Rank, RankQuery, UserSort};
use tokenist_control::store::UsageRow;
use tokenist_control::view::{ModelTotals, Totals, UserFilter, UserView};
use tokenist_core::id::{self, OrgId, UserId};
use tokenist_core::key::Scopes;
use tokenist_core::limit::{Limit, WindowKind};
use tokenist_core::time::Timestamp;
use tokenist_core::verdict::Used;
use utoipa::{IntoParams, ToSchema};

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
    /// What responses under way are charged so far, by estimate. It is in `usage` once they are over.
    under_way: UnderWay,
    period: Period,
    /// Where a range was asked for: its first hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = DateTime)]
    from: Option<String>,
    /// Where a range was asked for: its end, exclusive.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = DateTime)]
    to: Option<String>,
    threshold: Threshold,
    /// The user has no threshold of its own.
    threshold_is_default: bool,
    /// When the threshold's window rolls over; null if it never does or the user has not been seen.
    #[schema(required, format = DateTime)]
    resets_at: Option<String>,
    /// Of an enforced limit what is used up: new sessions are refused with 4004 until it resets. Null otherwise.
    #[schema(required)]
    limit_reached: Option<MeasureUsed>,
    blocked: bool,
    #[schema(required)]
    block_entry: Option<BlockEntry>,
    /// Live sessions.
    sessions: u32,
}

/// Of this instance, by the limit's measures.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UnderWay {
    cost_usd: f64,
    total_tokens: u64,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Users {
    /// In the order asked for.
    pub(crate) users: Vec<User>,
    /// Give it as `cursor` to read on; null after the last page.
    #[schema(required)]
    pub(crate) next_cursor: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Models {
    #[serde(rename = "userId")]
    user_id: String,
    models: Vec<ModelUsage>,
}

/// What one user used of one model for one feature.
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
    /// Characters of text, for models that cost by them.
    characters: u64,
    /// Items of conversations that are billed each.
    items: u64,
    /// Of the web.
    searches: u64,
    file_searches: u64,
    token_details: TokenDetails,
}

/// Tokens by kind. Cached counts are parts of the input count of their kind, what is written to a cache of text input,
/// reasoning of text output.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TokenDetails {
    cached_input_tokens: u64,
    cached_text_input_tokens: u64,
    cached_audio_input_tokens: u64,
    cached_image_input_tokens: u64,
    /// Kept for minutes; the next for hours.
    cache_write_input_tokens: u64,
    cache_write_long_input_tokens: u64,
    text_input_tokens: u64,
    audio_input_tokens: u64,
    image_input_tokens: u64,
    video_input_tokens: u64,
    text_output_tokens: u64,
    audio_output_tokens: u64,
    image_output_tokens: u64,
    video_output_tokens: u64,
    reasoning_tokens: u64,
}

#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(crate) struct UsersQuery {
    /// At most this many users.
    #[param(nullable = false, minimum = 1, maximum = 10_000, default = 10_000)]
    pub(crate) limit: Option<usize>,
    /// `nextCursor` of the page before, in the same order.
    #[param(value_type = Option<String>, nullable = false)]
    pub(crate) cursor: Option<Rank>,
    #[param(ignore)]
    pub(crate) filter: UserFilter,
    /// What usage is summed over; by default each threshold's own window, or where users are sorted by usage the
    /// default threshold's.
    #[param(value_type = Option<Window>, nullable = false)]
    pub(crate) period: Option<WindowKind>,
    /// By id if it is not said.
    #[param(value_type = Option<UsersSort>, inline, nullable = false)]
    sort: UserSort,
    /// By default ids ascend and all else descends. Users of the same figure are in order of id.
    #[param(value_type = Option<Direction>, inline, nullable = false)]
    order: Option<bool>,
}

#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes parameters")]
pub(crate) struct UsersFilter {
    /// Only users whose id, email or name contains this, ignoring ASCII case.
    #[param(nullable = false, max_length = 256)]
    search: Option<String>,
    /// Only users of this org: its members, and whoever has used something under it.
    #[param(nullable = false)]
    org: Option<String>,
    /// Only users whose block holds now.
    #[param(nullable = false, default = false)]
    blocked: Option<bool>,
}

#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes a parameter")]
enum UsersSort {
    Id,
    Cost,
    Tokens,
    LastUpdated,
}

#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "describes a parameter")]
enum Direction {
    Asc,
    Desc,
}

#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct PeriodQuery {
    /// A window of now, exact to the last response; by default the threshold's own.
    #[param(value_type = Option<Window>, nullable = false)]
    pub(crate) period: Option<WindowKind>,
    /// Goes before `period`. ISO 8601 with an offset, or a date; its hour counts whole. What was used in the last
    /// second may be missing.
    #[param(value_type = Option<String>, nullable = false, format = DateTime)]
    from: Option<Timestamp>,
    /// Likewise. Exclusive, or a date, of which all is meant. By default the end of today.
    #[param(value_type = Option<String>, nullable = false, format = DateTime)]
    to: Option<Timestamp>,
}

#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ModelsQuery {
    /// `start`: only what this process has counted since it started. By default all time.
    #[param(inline, nullable = false)]
    pub(crate) since: Option<Since>,
}

#[derive(Clone, Copy, Debug, ToSchema)]
#[schema(rename_all = "lowercase")]
pub(crate) enum Since {
    Start,
}

#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct UserRequest {
    /// One is made if absent.
    #[schema(value_type = String, nullable = false, required = false)]
    pub(crate) user_id: Option<UserId>,
    #[schema(value_type = String, nullable = false, required = false)]
    pub(crate) org_id: Option<OrgId>,
    #[schema(value_type = String, nullable = false, required = false)]
    pub(crate) email: Option<Arc<str>>,
    #[schema(value_type = String, nullable = false, required = false)]
    pub(crate) name: Option<Arc<str>>,
    /// What the user's key opens: `proxy`, `sdk`, or both, as it is if absent.
    #[schema(value_type = Vec<Scope>, nullable = false, required = false)]
    pub(crate) scopes: Scopes,
    /// When the key ends; never if absent.
    #[schema(value_type = String, nullable = false, required = false, format = DateTime)]
    pub(crate) expires_at: Option<Timestamp>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreatedUser {
    user_id: String,
    #[schema(required)]
    org_id: Option<String>,
    #[schema(required)]
    email: Option<String>,
    #[schema(required)]
    name: Option<String>,
    /// The user's key. Only its hash is kept: it cannot be shown again.
    api_key: String,
    /// Its first 12 characters.
    key_hint: String,
    key: ApiKey,
}

impl FromFields for UsersQuery {
    fn from_fields(fields: &mut Fields) -> Option<UsersQuery> {
        let limit = list_limit(fields);
        let sort = fields.word("sort", &SORTS).unwrap_or(UserSort::Id);
        let order = fields.word("order", &[("asc", false), ("desc", true)]);
        let cursor = match sort {
            UserSort::Id => fields
                .text("cursor", 1..=CURSOR_CHARS_MAX)
                .map(|user| Rank { figure: 0, user: UserId::from(&*user) }),
            UserSort::Cost | UserSort::Tokens | UserSort::Updated | UserSort::Share(_) => {
                fields.parsed("cursor", parse_rank)
            }
        };
        let filter = UserFilter {
            search: fields.text("search", 0..=SEARCH_CHARS_MAX).map(id::compose),
            org: fields.parsed("org", OrgId::parse),
            blocked: fields.flag("blocked").unwrap_or(false),
            ..UserFilter::default()
        };
        Some(UsersQuery { limit, cursor, filter, period: fields.word("period", &WINDOWS), sort, order })
    }
}

impl UsersQuery {
    /// `None` for the order that the ledger has anyway. `default` is the window that usage is compared over if none is
    /// asked for: a day's usage of one user says nothing beside another's month.
    pub(crate) fn ranking(&self, limit: usize, default: WindowKind) -> Option<RankQuery> {
        let by_usage = self.sort != UserSort::Id;
        let descending = self.order.unwrap_or(by_usage);
        (by_usage || descending).then(|| RankQuery {
            filter: self.filter.clone(),
            sort: self.sort.clone(),
            descending,
            window: self.period.or(by_usage.then_some(default)),
            after: self.cursor.clone(),
            limit,
        })
    }

    /// Where the next page begins.
    pub(crate) fn cursor_of(ranking: &RankQuery, last: &Rank) -> String {
        match ranking.sort {
            UserSort::Id => last.user.to_string(),
            UserSort::Cost | UserSort::Tokens | UserSort::Updated | UserSort::Share(_) => {
                format!("{}:{}", last.figure, last.user)
            }
        }
    }
}

/// The user is where a list went on, not one that is named: as an earlier version kept it, if it did.
fn parse_rank(bytes: &[u8]) -> Result<Rank, &'static str> {
    let parts = || {
        let (figure, user) = std::str::from_utf8(bytes).ok()?.split_once(':')?;
        Some(Rank { figure: figure.parse().ok()?, user: user.into() })
    };
    parts().ok_or("is no nextCursor of this order")
}

impl FromFields for PeriodQuery {
    fn from_fields(fields: &mut Fields) -> Option<PeriodQuery> {
        let period = fields.word("period", &WINDOWS);
        let (from, to) = read_ends(fields);
        Some(PeriodQuery { period, from, to })
    }
}

impl PeriodQuery {
    /// `None` if a window of now is asked for.
    pub(crate) fn range(&self, now: Timestamp) -> Option<Span> {
        Span::between(self.from, self.to, now)
    }
}

impl FromFields for ModelsQuery {
    fn from_fields(fields: &mut Fields) -> Option<ModelsQuery> {
        Some(ModelsQuery { since: fields.word("since", &[("start", Since::Start)]) })
    }
}

impl FromFields for UserRequest {
    fn from_fields(fields: &mut Fields) -> Option<UserRequest> {
        let user_id = fields.parsed("userId", UserId::parse);
        let org_id = fields.parsed("orgId", OrgId::parse);
        let email = fields.parsed("email", |bytes| id::read_email(bytes).map(Arc::from));
        let name = fields.parsed("name", |bytes| id::read_name(bytes).map(Arc::from));
        let scopes = read_scopes(fields, true);
        let expires_at = fields.time_to_come("expiresAt");
        Some(UserRequest { user_id, org_id, email, name, scopes: scopes?, expires_at })
    }
}

impl User {
    pub(crate) fn of(view: UserView, period: Option<WindowKind>) -> User {
        User {
            period: period.unwrap_or(view.limit.window).into(),
            from: None,
            to: None,
            usage: (&view.totals).into(),
            under_way: UnderWay { cost_usd: view.under_way.cost.usd(), total_tokens: view.under_way.tokens },
            threshold: (&view.limit).into(),
            threshold_is_default: view.limit_is_default,
            resets_at: view.resets_at.map(|at| at.to_string()),
            limit_reached: view.reached.map(MeasureUsed::from),
            blocked: view.block.is_some(),
            block_entry: view.block.map(|block| BlockEntry::of(&view.user, block)),
            sessions: view.sessions,
            user_id: view.user.to_string(),
            org_id: view.org.map(|org| org.to_string()),
            email: view.email.map(|email| email.to_string()),
            name: view.name.map(|name| name.to_string()),
        }
    }

    /// The same user with what it used in `span`.
    pub(crate) fn over(self, span: Span, totals: &Totals) -> User {
        User {
            usage: totals.into(),
            period: Period::Range,
            from: Some(span.from.to_string()),
            to: Some(span.to.to_string()),
            ..self
        }
    }

    /// A user that the ledger has never heard of.
    pub(crate) fn unknown(user: UserId, default: &Limit, period: Option<WindowKind>) -> User {
        let view = UserView {
            user,
            org: None,
            member_of: None,
            email: None,
            name: None,
            totals: Totals::default(),
            under_way: Used::default(),
            limit: default.clone(),
            limit_is_default: true,
            resets_at: None,
            reached: None,
            block: None,
            sessions: 0,
        };
        User::of(view, period)
    }
}

impl CreatedUser {
    pub(crate) fn of(user: UserView, created: CreatedKey) -> CreatedUser {
        CreatedUser {
            user_id: user.user.to_string(),
            org_id: user.org.map(|org| org.to_string()),
            email: user.email.map(|email| email.to_string()),
            name: user.name.map(|name| name.to_string()),
            key_hint: created.key.hint().to_owned(),
            api_key: created.api_key,
            key: created.key,
        }
    }
}

impl Models {
    /// From what the store knows.
    pub(crate) fn stored(user: &UserId, rows: Vec<UsageRow>) -> Models {
        let model = |row: UsageRow| ModelTotals {
            user: user.clone(),
            feature: row.key.feature,
            model: row.key.model.unwrap_or_else(|| "".into()),
            totals: row.totals,
        };
        let mut models: Vec<ModelTotals> = rows.into_iter().map(model).collect();
        models.sort_by(|a, b| (&a.model, &a.feature).cmp(&(&b.model, &b.feature)));
        Models::of(user, &models)
    }

    pub(crate) fn of(user: &UserId, models: &[ModelTotals]) -> Models {
        Models { user_id: user.to_string(), models: models.iter().map(ModelUsage::from).collect() }
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
            characters: usage.characters_in,
            items: usage.items_in,
            searches: usage.searches,
            file_searches: usage.file_searches,
            token_details: TokenDetails {
                cached_input_tokens: usage.cached_tokens(),
                cached_text_input_tokens: usage.cached_text_in,
                cached_audio_input_tokens: usage.cached_audio_in,
                cached_image_input_tokens: usage.cached_image_in,
                cache_write_input_tokens: usage.cache_write_in,
                cache_write_long_input_tokens: usage.cache_write_long_in,
                text_input_tokens: usage.text_in,
                audio_input_tokens: usage.audio_in,
                image_input_tokens: usage.image_in,
                video_input_tokens: usage.video_in,
                text_output_tokens: usage.text_out,
                audio_output_tokens: usage.audio_out,
                image_output_tokens: usage.image_out,
                video_output_tokens: usage.video_out,
                reasoning_tokens: usage.reasoning_out,
            },
        }
    }
}

const SEARCH_CHARS_MAX: usize = 256;
/// A figure and an id.
const CURSOR_CHARS_MAX: usize = 300;
const SORTS: [(&str, UserSort); 4] = [
    ("id", UserSort::Id),
    ("cost", UserSort::Cost),
    ("tokens", UserSort::Tokens),
    ("lastUpdated", UserSort::Updated),
];

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tokenist_core::limit::Block;
    use tokenist_core::money::NanoUsd;
    use tokenist_core::usage::Usage as Counts;

    #[test]
    fn a_user_is_shaped_as_existing_clients_read_it() {
        let block = Block { reason: None, blocked_at: Timestamp(1), expires_at: Some(Timestamp(2000)) };
        let view = UserView {
            user: "alice".into(),
            org: Some("acme".into()),
            member_of: None,
            email: None,
            name: None,
            totals: Totals {
                usage: Counts { text_in: 2000, audio_out: 1000, ..Counts::default() },
                cost: NanoUsd(900_000),
                estimated_cost: NanoUsd(0),
                updated_at: Some(Timestamp(1_795_478_399_999)),
            },
            under_way: Used { cost: NanoUsd(1_000_000), tokens: 7 },
            limit: Limit { max_cost: Some(NanoUsd(10_000_000_000)), ..Limit::default() },
            limit_is_default: true,
            resets_at: Some(Timestamp(86_400_000)),
            reached: None,
            block: Some(block),
            sessions: 1,
        };
        assert_eq!(
            serde_json::to_value(User::of(view, Some(WindowKind::Rolling24h))).unwrap(),
            json!({
                "userId": "alice", "orgId": "acme", "email": null, "name": null,
                "usage": {"inputTokens": 2000, "outputTokens": 1000, "totalTokens": 3000, "costUsd": 0.0009,
                    "estimatedCostUsd": 0.0, "requests": 0, "lastUpdated": "2026-11-23T23:59:59.999Z"},
                "underWay": {"costUsd": 0.001, "totalTokens": 7},
                "period": "rolling_24h",
                "threshold": {"maxCostUsd": 10.0, "window": "monthly"},
                "thresholdIsDefault": true,
                "resetsAt": "1970-01-02T00:00:00.000Z",
                "limitReached": null,
                "blocked": true,
                "blockEntry": {"endUserId": "alice", "blockedAt": "1970-01-01T00:00:00.001Z",
                    "expiresAt": "1970-01-01T00:00:02.000Z"},
                "sessions": 1,
            })
        );
    }
}
