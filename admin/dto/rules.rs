//! Rules: how much which users may use in which span, and what happens to those that reach it.

use super::{AuditEntry, page};
use crate::fields::{Fields, FromFields, nearest};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::Arc;
use tokenist_core::audit::Audit;
use tokenist_core::id::{self, OrgId};
use tokenist_core::money::NanoUsd;
use tokenist_core::rule::{
    Firing, Firings, Lookback, Restriction, Rule, Subject, SubjectKind, Trigger, Unit,
};
use tokenist_core::time::Timestamp;
use utoipa::{IntoParams, ToSchema};

/// A rule as operators know it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct RuleFields {
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    /// True if absent.
    #[serde(default = "enabled")]
    #[schema(required = false)]
    enabled: bool,
    subject: RuleSubject,
    trigger: RuleTrigger,
    restriction: RuleRestriction,
    /// Kept as it comes; nothing is sent.
    #[serde(default)]
    #[schema(required = false)]
    notifications: Value,
}

/// What an operator says of a new rule.
#[derive(Debug, ToSchema)]
#[allow(dead_code, reason = "read by the description alone")]
pub(crate) struct RuleRequest {
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    /// True if absent.
    #[schema(required = false)]
    enabled: bool,
    subject: RuleSubject,
    trigger: RuleTrigger,
    restriction: RuleRestriction,
    /// Kept as it comes; nothing is sent.
    #[schema(required = false)]
    notifications: Value,
}

/// What is absent stays as it is.
#[derive(Debug, ToSchema)]
#[allow(dead_code, reason = "read by the description alone")]
pub(crate) struct RuleChange {
    #[schema(nullable = false, min_length = 1, max_length = 200)]
    name: Option<String>,
    #[schema(nullable = false)]
    enabled: Option<bool>,
    #[schema(nullable = false)]
    subject: Option<RuleSubject>,
    #[schema(nullable = false)]
    trigger: Option<RuleTrigger>,
    #[schema(nullable = false)]
    restriction: Option<RuleRestriction>,
    #[schema(required = false)]
    notifications: Value,
}

/// Whose usage is looked at, each by itself: a user's within the org, or all users' of a feature. Nobody is in a group.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct RuleSubject {
    #[serde(rename = "type")]
    kind: RuleSubjectType,
    /// Empty or absent: all of the type in the org. At most 1,000.
    #[serde(default)]
    #[schema(required = false)]
    ids: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RuleSubjectType {
    User,
    Group,
    Feature,
}

/// Those about tokens and cost are enforced, the others are kept.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum RuleTrigger {
    TokenLimit {
        #[schema(minimum = 1)]
        tokens: u64,
        window: RuleWindow,
    },
    CostLimit {
        /// More than 0.
        #[serde(rename = "costUsd")]
        cost_usd: f64,
        window: RuleWindow,
    },
    PolicyViolation {
        #[serde(rename = "policyId")]
        policy_id: String,
    },
    Inactivity {
        duration: Value,
    },
}

/// A warning is a line in the log and a trigger that is kept. A block ends live sessions with 4003, and itself when the
/// usage in the trigger's window is below it again; a rate limit is a block while so many requests were made in its own
/// window; a throttle delays new sessions.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum RuleRestriction {
    Warning,
    RateLimit {
        #[serde(rename = "maxRequests")]
        #[schema(minimum = 1)]
        max_requests: u64,
        window: RuleWindow,
    },
    Throttle {
        #[serde(rename = "delayMs")]
        #[schema(maximum = 60_000)]
        delay_ms: u64,
    },
    Block,
}

/// The time up to now; its oldest hour counts whole. A month is 30 days.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct RuleWindow {
    #[schema(minimum = 1, maximum = 1_000)]
    count: u32,
    unit: RuleUnit,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RuleUnit {
    Minute,
    Hour,
    Day,
    Week,
    Month,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RuleBody {
    id: String,
    org_id: String,
    #[serde(flatten)]
    fields: RuleFields,
    /// Whether tokenist acts on it while it is enabled: false for groups, `policy_violation` and `inactivity`.
    enforced: bool,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
    #[schema(required, format = DateTime)]
    last_triggered_at: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RuleList {
    /// The oldest first.
    pub(crate) rules: Vec<RuleBody>,
    /// How many there are without `limit` and `offset`.
    pub(crate) total: usize,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RuleReply {
    pub(crate) success: bool,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RuleHistory {
    /// The newest 1,000, the newest first.
    history: Vec<AuditEntry>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RuleTriggers {
    /// The newest 200, the newest first.
    triggers: Vec<RuleTriggered>,
    /// How many these are.
    total: usize,
}

/// That a subject has reached a rule.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct RuleTriggered {
    id: String,
    #[schema(format = DateTime)]
    triggered_at: String,
    subject_id: String,
    /// How many users the restriction acts on: those who used the feature, or the user.
    affected_users: u64,
    /// What the subject had used in the window then.
    total_tokens: u64,
    cost_usd: f64,
    requests: u64,
}

/// A rule's fields, or some of them. Whether they make a rule is found out together with those that are known.
#[derive(Debug)]
pub(crate) struct RulePayload(Map<String, Value>);

#[derive(Debug, ToSchema)]
pub(crate) struct RuleToggle {
    pub(crate) enabled: bool,
}

#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(crate) struct RulesQuery {
    #[param(nullable = false)]
    subject_type: Option<RuleSubjectType>,
    #[param(value_type = Option<String>, nullable = false)]
    restriction_type: Option<&'static str>,
    #[param(nullable = false)]
    enabled: Option<bool>,
    /// At most this many.
    #[param(value_type = Option<usize>, nullable = false, minimum = 1, maximum = 500, default = 100)]
    pub(crate) limit: usize,
    /// Leaves out so many of the first.
    #[param(value_type = Option<usize>, nullable = false, default = 0)]
    pub(crate) offset: usize,
}

impl FromFields for RulePayload {
    fn from_fields(fields: &mut Fields) -> Option<RulePayload> {
        Some(RulePayload(fields.rest()))
    }
}

impl FromFields for RuleToggle {
    fn from_fields(fields: &mut Fields) -> Option<RuleToggle> {
        Some(RuleToggle { enabled: fields.required("enabled", Fields::flag)? })
    }
}

impl FromFields for RulesQuery {
    fn from_fields(fields: &mut Fields) -> Option<RulesQuery> {
        let subject_type = fields.word("subjectType", &SUBJECT_TYPES);
        let restriction_type = fields.word("restrictionType", &RESTRICTION_TYPES);
        let enabled = fields.flag("enabled");
        let (limit, offset) = page(fields, 100, 500);
        Some(RulesQuery { subject_type, restriction_type, enabled, limit, offset })
    }
}

impl RulesQuery {
    pub(crate) fn admits(&self, rule: &Rule) -> bool {
        self.subject_type.is_none_or(|kind| SubjectKind::from(kind) == rule.subject.kind)
            && self.restriction_type.is_none_or(|kind| kind == restriction_type(&rule.restriction))
            && self.enabled.is_none_or(|enabled| enabled == rule.enabled)
    }
}

impl RulePayload {
    /// A rule of these fields, and of `before` where they say nothing; or what is wrong with it.
    pub(crate) fn rule(self, org: &OrgId, before: Option<&Rule>, now: Timestamp) -> Result<Rule, String> {
        refuse_unknown(&self.0)?;
        let mut fields = match before.map(RuleFields::of).map(serde_json::to_value) {
            Some(Ok(Value::Object(fields))) => fields,
            Some(_) | None => Map::new(),
        };
        fields.extend(self.0);
        let fields: RuleFields =
            serde_json::from_value(Value::Object(fields)).map_err(|error| error.to_string())?;
        fields.check()?;
        let RuleFields { name, enabled, subject, trigger, restriction, notifications } = fields;
        let ids = subject.ids.iter().map(|sent| id::read(sent.as_bytes()).map(Arc::from));
        let ids: Result<_, id::IdError> = ids.collect();
        Ok(Rule {
            org: org.clone(),
            name: name.into(),
            enabled,
            subject: Subject {
                kind: subject.kind.into(),
                ids: ids.map_err(|error| format!("an id in subject.ids {error}"))?,
            },
            trigger: trigger.read()?,
            restriction: restriction.into(),
            notifications,
            created_at: before.map_or(now, |rule| rule.created_at),
            updated_at: now,
        })
    }
}

/// A slip must not leave out what was meant, at any depth. That a type is none is for the reader to say.
fn refuse_unknown(rule: &Map<String, Value>) -> Result<(), String> {
    let within = |name: &str| rule.get(name).and_then(Value::as_object);
    known_alone("", rule, &["name", "enabled", "subject", "trigger", "restriction", "notifications"])?;
    if let Some(subject) = within("subject") {
        known_alone("subject.", subject, &["type", "ids"])?;
    }
    for part in ["trigger", "restriction"] {
        let Some(fields) = within(part) else { continue };
        let known: &[&str] = match fields.get("type").and_then(Value::as_str) {
            Some("token_limit") => &["type", "tokens", "window"],
            Some("cost_limit") => &["type", "costUsd", "window"],
            Some("policy_violation") => &["type", "policyId"],
            Some("inactivity") => &["type", "duration"],
            Some("rate_limit") => &["type", "maxRequests", "window"],
            Some("throttle") => &["type", "delayMs"],
            Some("warning" | "block") => &["type"],
            Some(_) | None => continue,
        };
        known_alone(&format!("{part}."), fields, known)?;
        if let Some(window) = fields.get("window").and_then(Value::as_object) {
            known_alone(&format!("{part}.window."), window, &["count", "unit"])?;
        }
    }
    Ok(())
}

fn known_alone(place: &str, fields: &Map<String, Value>, known: &[&str]) -> Result<(), String> {
    match fields.keys().find(|name| !known.contains(&name.as_str())) {
        None => Ok(()),
        Some(name) => {
            let nearest = nearest(name, known).expect("something is known everywhere");
            Err(format!("unknown field {place}{name}; did you mean {place}{nearest}?"))
        }
    }
}

impl RuleFields {
    fn of(rule: &Rule) -> RuleFields {
        RuleFields {
            name: rule.name.to_string(),
            enabled: rule.enabled,
            subject: RuleSubject {
                kind: rule.subject.kind.into(),
                ids: rule.subject.ids.iter().map(|id| id.to_string()).collect(),
            },
            trigger: RuleTrigger::of(&rule.trigger),
            restriction: RuleRestriction::of(rule.restriction),
            notifications: rule.notifications.clone(),
        }
    }

    fn check(&self) -> Result<(), String> {
        let windows = [self.trigger.window(), self.restriction.window()];
        let is_odd = |window: &RuleWindow| !(1..=WINDOW_COUNT_MAX).contains(&window.count);
        match (&self.trigger, &self.restriction) {
            _ if !(1..=NAME_CHARS_MAX).contains(&self.name.chars().count()) => {
                Err(format!("name must have 1 to {NAME_CHARS_MAX} characters"))
            }
            _ if self.subject.ids.len() > IDS_MAX => Err(format!("subject.ids must be at most {IDS_MAX}")),
            _ if windows.iter().flatten().any(is_odd) => {
                Err(format!("window.count must be 1 to {WINDOW_COUNT_MAX}"))
            }
            (RuleTrigger::TokenLimit { tokens: 0, .. }, _) => Err("trigger.tokens must be at least 1".into()),
            (RuleTrigger::CostLimit { cost_usd, .. }, _) if *cost_usd <= 0.0 => {
                Err("trigger.costUsd must be more than 0".into())
            }
            (_, RuleRestriction::RateLimit { max_requests: 0, .. }) => {
                Err("restriction.maxRequests must be at least 1".into())
            }
            (_, RuleRestriction::Throttle { delay_ms }) if *delay_ms > DELAY_MS_MAX => {
                Err(format!("restriction.delayMs must be at most {DELAY_MS_MAX}"))
            }
            _ => Ok(()),
        }
    }
}

impl RuleTrigger {
    fn read(self) -> Result<Trigger, String> {
        Ok(match self {
            RuleTrigger::TokenLimit { tokens, window } => {
                Trigger::TokenLimit { tokens, lookback: window.into() }
            }
            RuleTrigger::CostLimit { cost_usd, window } => {
                let cost =
                    NanoUsd::from_usd(cost_usd).ok_or("trigger.costUsd must be less than 9 billion")?;
                Trigger::CostLimit { cost, lookback: window.into() }
            }
            RuleTrigger::PolicyViolation { policy_id } => {
                Trigger::PolicyViolation { policy: policy_id.into() }
            }
            RuleTrigger::Inactivity { duration } => Trigger::Inactivity { duration },
        })
    }

    fn of(trigger: &Trigger) -> RuleTrigger {
        match trigger {
            &Trigger::TokenLimit { tokens, lookback } => {
                RuleTrigger::TokenLimit { tokens, window: lookback.into() }
            }
            &Trigger::CostLimit { cost, lookback } => {
                RuleTrigger::CostLimit { cost_usd: cost.usd(), window: lookback.into() }
            }
            Trigger::PolicyViolation { policy } => {
                RuleTrigger::PolicyViolation { policy_id: policy.to_string() }
            }
            Trigger::Inactivity { duration } => RuleTrigger::Inactivity { duration: duration.clone() },
        }
    }

    fn window(&self) -> Option<RuleWindow> {
        match self {
            RuleTrigger::TokenLimit { window, .. } | RuleTrigger::CostLimit { window, .. } => Some(*window),
            RuleTrigger::PolicyViolation { .. } | RuleTrigger::Inactivity { .. } => None,
        }
    }
}

impl RuleRestriction {
    fn of(restriction: Restriction) -> RuleRestriction {
        match restriction {
            Restriction::Warning => RuleRestriction::Warning,
            Restriction::RateLimit { requests_max, lookback } => {
                RuleRestriction::RateLimit { max_requests: requests_max, window: lookback.into() }
            }
            Restriction::Throttle { delay_ms } => RuleRestriction::Throttle { delay_ms },
            Restriction::Block => RuleRestriction::Block,
        }
    }

    fn window(&self) -> Option<RuleWindow> {
        match self {
            RuleRestriction::RateLimit { window, .. } => Some(*window),
            RuleRestriction::Warning | RuleRestriction::Throttle { .. } | RuleRestriction::Block => None,
        }
    }
}

impl From<RuleRestriction> for Restriction {
    fn from(restriction: RuleRestriction) -> Restriction {
        match restriction {
            RuleRestriction::Warning => Restriction::Warning,
            RuleRestriction::RateLimit { max_requests, window } => {
                Restriction::RateLimit { requests_max: max_requests, lookback: window.into() }
            }
            RuleRestriction::Throttle { delay_ms } => Restriction::Throttle { delay_ms },
            RuleRestriction::Block => Restriction::Block,
        }
    }
}

impl From<RuleSubjectType> for SubjectKind {
    fn from(kind: RuleSubjectType) -> SubjectKind {
        match kind {
            RuleSubjectType::User => SubjectKind::User,
            RuleSubjectType::Group => SubjectKind::Group,
            RuleSubjectType::Feature => SubjectKind::Feature,
        }
    }
}

impl From<SubjectKind> for RuleSubjectType {
    fn from(kind: SubjectKind) -> RuleSubjectType {
        match kind {
            SubjectKind::User => RuleSubjectType::User,
            SubjectKind::Group => RuleSubjectType::Group,
            SubjectKind::Feature => RuleSubjectType::Feature,
        }
    }
}

impl From<RuleWindow> for Lookback {
    fn from(RuleWindow { count, unit }: RuleWindow) -> Lookback {
        let unit = match unit {
            RuleUnit::Minute => Unit::Minute,
            RuleUnit::Hour => Unit::Hour,
            RuleUnit::Day => Unit::Day,
            RuleUnit::Week => Unit::Week,
            RuleUnit::Month => Unit::Month,
        };
        Lookback { count, unit }
    }
}

impl From<Lookback> for RuleWindow {
    fn from(Lookback { count, unit }: Lookback) -> RuleWindow {
        let unit = match unit {
            Unit::Minute => RuleUnit::Minute,
            Unit::Hour => RuleUnit::Hour,
            Unit::Day => RuleUnit::Day,
            Unit::Week => RuleUnit::Week,
            Unit::Month => RuleUnit::Month,
        };
        RuleWindow { count, unit }
    }
}

impl RuleBody {
    pub(crate) fn of(id: &str, rule: &Rule, last_triggered_at: Option<Timestamp>) -> RuleBody {
        RuleBody {
            id: id.to_owned(),
            org_id: rule.org.to_string(),
            fields: RuleFields::of(rule),
            enforced: rule.is_enforced(),
            created_at: rule.created_at.to_string(),
            updated_at: rule.updated_at.to_string(),
            last_triggered_at: last_triggered_at.map(|at| at.to_string()),
        }
    }
}

impl RuleHistory {
    pub(crate) fn of(audits: Vec<Audit>) -> RuleHistory {
        RuleHistory { history: audits.into_iter().map(AuditEntry::from).collect() }
    }
}

impl RuleTriggers {
    pub(crate) fn of(firings: &Firings) -> RuleTriggers {
        let triggered = |firing: &Firing| RuleTriggered {
            id: firing.id.to_string(),
            triggered_at: firing.at.to_string(),
            subject_id: firing.subject.to_string(),
            affected_users: firing.user_count,
            total_tokens: firing.tokens,
            cost_usd: firing.cost.usd(),
            requests: firing.requests,
        };
        let triggers: Vec<_> = firings.recent.iter().rev().map(triggered).collect();
        RuleTriggers { total: triggers.len(), triggers }
    }
}

fn enabled() -> bool {
    true
}

fn restriction_type(restriction: &Restriction) -> &'static str {
    match restriction {
        Restriction::Warning => "warning",
        Restriction::RateLimit { .. } => "rate_limit",
        Restriction::Throttle { .. } => "throttle",
        Restriction::Block => "block",
    }
}

const SUBJECT_TYPES: [(&str, RuleSubjectType); 3] = [
    ("user", RuleSubjectType::User),
    ("group", RuleSubjectType::Group),
    ("feature", RuleSubjectType::Feature),
];
const RESTRICTION_TYPES: [(&str, &str); 4] =
    [("warning", "warning"), ("rate_limit", "rate_limit"), ("throttle", "throttle"), ("block", "block")];
const NAME_CHARS_MAX: usize = 200;
const IDS_MAX: usize = 1_000;
const WINDOW_COUNT_MAX: u32 = 1_000;
/// Longer, and clients give up before their session begins.
const DELAY_MS_MAX: u64 = 60_000;
