//! Limits, which the API calls thresholds.

use super::{INTEGER_MAX, LIST_MAX, WINDOWS, Window, list_limit};
use crate::fields::{Fields, FromFields};
use serde::Serialize;
use tokenist_control::view::{
    HolderKind, LimitPage, LimitQuery, LimitSort, LimitState, LimitView, SessionView, UserView,
};
use tokenist_core::id::{self, Holder, Model};
use tokenist_core::limit::{Limit, Mode, OnRedisDown, WindowKind};
use tokenist_core::models::{Models, Pattern};
use tokenist_core::money::NanoUsd;
use utoipa::{IntoParams, ToSchema};

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
pub(crate) struct ThresholdReply {
    success: bool,
    user_id: String,
    threshold: Threshold,
}

/// Replaces the user's whole threshold: a measure that is absent becomes unlimited. Which models the user may use stays.
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

impl FromFields for ThresholdRequest {
    fn from_fields(fields: &mut Fields) -> Option<ThresholdRequest> {
        fields.need_one(WHOLE_THRESHOLD);
        Some(ThresholdRequest {
            max_cost_usd: fields.dollars("maxCostUsd"),
            max_total_tokens: fields.count("maxTotalTokens", 0, INTEGER_MAX),
            window: fields.word("window", &WINDOWS),
        })
    }
}

impl ThresholdRequest {
    /// The limit that this asks for; `default` gives what it cannot say, but for the models, which stay.
    pub(crate) fn limit(&self, default: &Limit, models: Models) -> Limit {
        Limit {
            max_cost: self.max_cost_usd,
            max_tokens: self.max_total_tokens.filter(|&tokens| tokens > 0),
            window: self.window.unwrap_or(default.window),
            models,
            ..default.clone()
        }
    }
}

impl ThresholdReply {
    pub(crate) fn of(view: &UserView) -> ThresholdReply {
        ThresholdReply { success: true, user_id: view.user.to_string(), threshold: (&view.limit).into() }
    }
}

/// A limit in full. What is null is unlimited.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LimitBody {
    /// 0 denies everything.
    #[schema(required)]
    max_cost_usd: Option<f64>,
    #[schema(required)]
    max_total_tokens: Option<u64>,
    window: Window,
    mode: ModeName,
    /// Sessions open at once, of a user.
    #[schema(required)]
    max_sessions: Option<u32>,
    on_redis_down: OnRedisDownName,
    /// The models that its sessions may use, by name, or with a last `*` by how they begin; in either mode.
    #[schema(required)]
    models: Option<Vec<String>>,
}

/// `enforce` ends sessions at the limit, `warn` only tells operators.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum ModeName {
    Enforce,
    Warn,
}

/// What holds while instances cannot tell each other what was used.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum OnRedisDownName {
    /// Each instance its part of what was left.
    LocalShare,
    /// What is left as far as each knows.
    Allow,
    /// No new session.
    Refuse,
}

/// Who holds a limit.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum HolderKindName {
    User,
    Org,
    Feature,
    Key,
}

/// A limit with its holder and what was used of it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HolderLimit {
    kind: HolderKindName,
    id: String,
    /// What the user or key is called.
    #[schema(required)]
    name: Option<String>,
    limit: LimitBody,
    /// The holder has no limit of its own.
    is_default: bool,
    /// In the limit's window.
    used: LimitUsed,
    /// The greater share of what is limited, in whole percent; it may pass 100. Null where nothing is limited.
    #[schema(required)]
    percent: Option<u64>,
    state: LimitStateName,
    #[schema(required, format = DateTime)]
    resets_at: Option<String>,
}

/// What would come of a limit.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LimitTrial {
    /// As it would hold, with what is used of it.
    with_it: HolderLimit,
    /// Sessions that the holder has open now.
    live_sessions: usize,
    /// Of these, as many as would end at once: all of them, with 4004, if it is used up; else, with 4003, those whose model
    /// is not among its models, as it was counted last.
    sessions_ended: usize,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum LimitAnswer {
    Limit(HolderLimit),
    Trial(LimitTrial),
}

#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(crate) struct LimitChange {
    /// Changes nothing, and says what would come of it.
    #[param(required = false, default = false)]
    pub(crate) dry_run: bool,
}

impl FromFields for LimitChange {
    fn from_fields(fields: &mut Fields) -> Option<LimitChange> {
        Some(LimitChange { dry_run: fields.flag("dryRun").unwrap_or(false) })
    }
}

impl LimitTrial {
    pub(crate) fn of(view: &LimitView, live: &[SessionView]) -> LimitTrial {
        let ends_all = view.state == LimitState::Reached && view.limit.mode == Mode::Enforce;
        let is_barred = |model: &Model| view.limit.models.fit(model.as_str()).is_none();
        let ends = |session: &&SessionView| ends_all || session.model.as_ref().is_some_and(is_barred);
        LimitTrial {
            with_it: view.into(),
            live_sessions: live.len(),
            sessions_ended: live.iter().filter(ends).count(),
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct LimitUsed {
    cost_usd: f64,
    tokens: u64,
}

/// How near the limit is: `warned` from 80 percent on.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum LimitStateName {
    Ok,
    Warned,
    Reached,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LimitList {
    /// What binds a user without a limit of its own.
    default: LimitBody,
    limits: Vec<HolderLimit>,
    /// How many there are without offset and limit; with `defaults` as far as was looked: it is greater than the page's
    /// end where there are more.
    total: usize,
}

#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "describes a parameter")]
enum LimitsSort {
    Holder,
    Used,
}

#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct LimitsQuery {
    #[param(value_type = Option<HolderKindName>, nullable = false)]
    kind: Option<HolderKind>,
    /// Only holders whose id or name contains this.
    #[param(nullable = false)]
    search: Option<String>,
    /// By kind and id if it is not said; `used` begins with whoever is nearest to its limit.
    #[param(value_type = Option<LimitsSort>, inline, nullable = false)]
    sort: LimitSort,
    /// Lists users whom the default binds, too.
    #[param(required = false, default = false)]
    pub(crate) defaults: bool,
    #[param(nullable = false, minimum = 1, maximum = 10_000, default = 10_000)]
    limit: Option<usize>,
    #[param(nullable = false, value_type = Option<u64>, minimum = 0, default = 0)]
    offset: usize,
}

/// Replaces the whole limit: a measure that is absent becomes unlimited, and so do models and sessions; all else takes its
/// default.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct LimitRequest {
    /// 0 denies everything.
    #[schema(value_type = f64, nullable = false, required = false, minimum = 0)]
    max_cost_usd: Option<NanoUsd>,
    /// 0 is unlimited.
    #[schema(nullable = false, minimum = 0)]
    max_total_tokens: Option<u64>,
    #[schema(value_type = Window, nullable = false, required = false)]
    window: Option<WindowKind>,
    #[schema(value_type = ModeName, nullable = false, required = false)]
    mode: Option<Mode>,
    /// Sessions open at once; only of a user.
    #[schema(nullable = false, minimum = 1)]
    max_sessions: Option<u32>,
    #[schema(value_type = OnRedisDownName, nullable = false, required = false)]
    on_redis_down: Option<OnRedisDown>,
    /// The models that its sessions may use, by name, or with a last `*` by how they begin; a session's model has to be on
    /// every list of its user, org, feature and key.
    #[schema(value_type = Vec<String>, nullable = false, required = false, min_items = 1, max_items = 100)]
    models: Option<Models>,
}

impl FromFields for LimitsQuery {
    fn from_fields(fields: &mut Fields) -> Option<LimitsQuery> {
        Some(LimitsQuery {
            kind: fields.word("kind", &HOLDER_KINDS),
            search: fields.text("search", 1..=256).map(id::compose),
            sort: fields.word("sort", &SORTS).unwrap_or_default(),
            defaults: fields.flag("defaults").unwrap_or(false),
            limit: list_limit(fields),
            offset: fields.count("offset", 0, u32::MAX.into()).unwrap_or(0) as usize,
        })
    }
}

impl From<LimitsQuery> for LimitQuery {
    fn from(query: LimitsQuery) -> LimitQuery {
        let LimitsQuery { kind, search, sort, defaults: _, limit, offset } = query;
        LimitQuery { kind, search, sort, offset, limit: limit.unwrap_or(LIST_MAX) }
    }
}

impl FromFields for LimitRequest {
    fn from_fields(fields: &mut Fields) -> Option<LimitRequest> {
        fields.need_one(WHOLE_LIMIT);
        Some(LimitRequest {
            max_cost_usd: fields.dollars("maxCostUsd"),
            max_total_tokens: fields.count("maxTotalTokens", 0, INTEGER_MAX),
            window: fields.word("window", &WINDOWS),
            mode: fields.word("mode", &MODES),
            max_sessions: fields.count("maxSessions", 1, u32::MAX.into()).map(|count| count as u32),
            on_redis_down: fields.word("onRedisDown", &ON_REDIS_DOWN),
            models: read_models(fields),
        })
    }
}

fn read_models(fields: &mut Fields) -> Option<Models> {
    let patterns = fields.texts("models", MODELS_MAX, read_pattern)?;
    match patterns.is_empty() {
        true => fields.issue("models", "too_small", NO_MODELS),
        false => Some(patterns.into_iter().collect()),
    }
}

fn read_pattern(bytes: &[u8]) -> Result<Pattern, String> {
    let model = Model::parse(bytes).map_err(|error| error.to_string())?;
    Pattern::parse(model.as_str()).map_err(|why| format!("is wrong: {why}"))
}

impl LimitRequest {
    pub(crate) fn limit(&self, default: &Limit) -> Limit {
        Limit {
            max_cost: self.max_cost_usd,
            max_tokens: self.max_total_tokens.filter(|&tokens| tokens > 0),
            window: self.window.unwrap_or(default.window),
            mode: self.mode.unwrap_or_default(),
            max_sessions: self.max_sessions,
            on_redis_down: self.on_redis_down.unwrap_or(default.on_redis_down),
            models: self.models.clone().unwrap_or_default(),
        }
    }
}

impl LimitList {
    pub(crate) fn of(default: &Limit, page: LimitPage) -> LimitList {
        let limits = page.limits.iter().map(HolderLimit::from).collect();
        LimitList { default: default.into(), limits, total: page.total }
    }
}

impl HolderKindName {
    pub(crate) fn parse(text: &str) -> Option<HolderKindName> {
        match text {
            "user" => Some(HolderKindName::User),
            "org" => Some(HolderKindName::Org),
            "feature" => Some(HolderKindName::Feature),
            "key" => Some(HolderKindName::Key),
            _ => None,
        }
    }
}

impl HolderLimit {
    pub(crate) fn limit(&self) -> &LimitBody {
        &self.limit
    }
}

impl From<&LimitView> for HolderLimit {
    fn from(view: &LimitView) -> HolderLimit {
        let (kind, id) = match &view.holder {
            Holder::User(user) => (HolderKindName::User, user.to_string()),
            Holder::Org(org) => (HolderKindName::Org, org.to_string()),
            Holder::Feature(feature) => (HolderKindName::Feature, feature.to_string()),
            // A key's hash is not shown.
            Holder::Key(_) => {
                (HolderKindName::Key, view.key.as_ref().map(ToString::to_string).unwrap_or_default())
            }
        };
        HolderLimit {
            kind,
            id,
            name: view.name.as_deref().map(str::to_owned),
            limit: (&view.limit).into(),
            is_default: view.limit_is_default,
            used: LimitUsed { cost_usd: view.used.cost.usd(), tokens: view.used.tokens },
            percent: view.percent,
            state: match view.state {
                LimitState::Ok => LimitStateName::Ok,
                LimitState::Warned => LimitStateName::Warned,
                LimitState::Reached => LimitStateName::Reached,
            },
            resets_at: view.resets_at.map(|at| at.to_string()),
        }
    }
}

impl From<&Limit> for LimitBody {
    fn from(limit: &Limit) -> LimitBody {
        LimitBody {
            max_cost_usd: limit.max_cost.map(NanoUsd::usd),
            max_total_tokens: limit.max_tokens,
            window: limit.window.into(),
            mode: match limit.mode {
                Mode::Enforce => ModeName::Enforce,
                Mode::Warn => ModeName::Warn,
            },
            max_sessions: limit.max_sessions,
            on_redis_down: match limit.on_redis_down {
                OnRedisDown::LocalShare => OnRedisDownName::LocalShare,
                OnRedisDown::Allow => OnRedisDownName::Allow,
                OnRedisDown::Refuse => OnRedisDownName::Refuse,
            },
            models: (!limit.models.is_any()).then(|| limit.models.words().collect()),
        }
    }
}

pub(crate) const WHOLE_THRESHOLD: &str = "This replaces the whole threshold, so say at least one field of it; \
    {\"maxTotalTokens\":0} lifts it";
const WHOLE_LIMIT: &str = "This replaces the whole limit, so say at least one field of it; DELETE lifts it";
/// As many words as a list of models may have.
const MODELS_MAX: usize = 100;
const NO_MODELS: &str =
    "An empty list would allow no model at all: name one, or leave models out to allow any";
const HOLDER_KINDS: [(&str, HolderKind); 4] = [
    ("user", HolderKind::User),
    ("org", HolderKind::Org),
    ("feature", HolderKind::Feature),
    ("key", HolderKind::Key),
];
const SORTS: [(&str, LimitSort); 2] = [("holder", LimitSort::Holder), ("used", LimitSort::Used)];
const MODES: [(&str, Mode); 2] = [("enforce", Mode::Enforce), ("warn", Mode::Warn)];
const ON_REDIS_DOWN: [(&str, OnRedisDown); 3] = [
    ("local_share", OnRedisDown::LocalShare),
    ("allow", OnRedisDown::Allow),
    ("refuse", OnRedisDown::Refuse),
];

impl From<&Limit> for Threshold {
    fn from(limit: &Limit) -> Threshold {
        Threshold {
            max_cost_usd: limit.max_cost.map(NanoUsd::usd),
            max_total_tokens: limit.max_tokens,
            window: limit.window.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let models = Models::parse("gpt-realtime*").unwrap();
        let limit = request.limit(&default, models.clone());
        assert_eq!(limit, Limit { max_cost: Some(NanoUsd(5)), max_tokens: None, models, ..default });
    }
}
