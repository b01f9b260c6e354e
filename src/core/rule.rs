//! Rules that an org is given: how much which users may use in which span, and what happens to those that reach it.
//!
//! Rows of usage come in, [`Hit`]s go out. How often is looked, and what is done about it, is the rule engine's.

use crate::batch::Grain;
use crate::catalog::Kept;
use crate::id::{self, Feature, OrgId, UserId};
use crate::money::NanoUsd;
use crate::time::{DAY_MS, HOUR_MS, MINUTE_MS, Timestamp};
use crate::totals::Totals;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    pub org: OrgId,
    pub name: Arc<str>,
    pub enabled: bool,
    pub subject: Subject,
    pub trigger: Trigger,
    pub restriction: Restriction,
    /// Whatever an application keeps here. Nothing is sent.
    pub notifications: Value,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// Whose usage is looked at, each by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    pub kind: SubjectKind,
    /// Empty: all of the kind in the org.
    #[serde(deserialize_with = "as_read")]
    pub ids: Vec<Arc<str>>,
}

/// Ids as they are read now, also where an earlier version kept them as they were sent. One that no client can send
/// any more matches no user.
fn as_read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Arc<str>>, D::Error> {
    let ids = Vec::<Arc<str>>::deserialize(deserializer)?;
    Ok(ids.into_iter().map(|kept| id::read(kept.as_bytes()).map_or(Arc::clone(&kept), Arc::from)).collect())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubjectKind {
    User,
    /// No user is in a group as yet, so a rule about one is kept and matches none.
    Group,
    /// What all users of the org used of it together. Users that used it within the span are acted on.
    Feature,
}

/// What a subject reaches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    TokenLimit {
        tokens: u64,
        lookback: Lookback,
    },
    CostLimit {
        cost: NanoUsd,
        lookback: Lookback,
    },
    /// Kept and not enforced, like the next.
    PolicyViolation {
        policy: Arc<str>,
    },
    Inactivity {
        duration: Value,
    },
}

/// What is done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Restriction {
    Warning,
    /// As [`Restriction::Block`], while the subject has made so many requests in the span.
    RateLimit {
        requests_max: u64,
        lookback: Lookback,
    },
    Throttle {
        delay_ms: u64,
    },
    Block,
}

/// The span up to now. A month is 30 days.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Lookback {
    pub count: u32,
    pub unit: Unit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    Minute,
    Hour,
    Day,
    Week,
    Month,
}

/// What one user used of one feature, or in all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Used {
    pub user: UserId,
    /// `None` where features are not told apart.
    pub feature: Option<Feature>,
    pub totals: Totals,
}

/// A subject that has reached its rule's trigger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// The users that the restriction acts on.
    pub users: BTreeSet<UserId>,
    /// What the subject used in the trigger's span.
    pub totals: Totals,
}

/// When a rule has fired. Kept under the rule's id, beside it: operators change the one, the watch the other.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Firings {
    pub last_at: Option<Timestamp>,
    /// The newest, oldest first.
    pub recent: VecDeque<Firing>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Firing {
    pub id: Arc<str>,
    pub at: Timestamp,
    pub subject: Arc<str>,
    /// How many users the restriction acted on.
    pub user_count: u64,
    pub tokens: u64,
    pub cost: NanoUsd,
    pub requests: u64,
}

/// A rule's firings that are kept.
pub const FIRINGS_MAX: usize = 200;

impl Kept for Rule {
    const KIND: &'static str = "rule";

    fn org<'a>(&'a self, _: &'a str) -> Option<&'a str> {
        Some(self.org.as_str())
    }
}

impl Kept for Firings {
    const KIND: &'static str = "rule_firings";

    /// They are a rule's, which is kept beside them.
    fn org<'a>(&'a self, _: &'a str) -> Option<&'a str> {
        None
    }
}

impl Rule {
    /// Whether anything is done about it while it is enabled.
    pub fn is_enforced(&self) -> bool {
        self.lookback().is_some() && self.subject.kind != SubjectKind::Group
    }

    /// The trigger's span, where usage is what triggers.
    pub fn lookback(&self) -> Option<Lookback> {
        match self.trigger {
            Trigger::TokenLimit { lookback, .. } | Trigger::CostLimit { lookback, .. } => Some(lookback),
            Trigger::PolicyViolation { .. } | Trigger::Inactivity { .. } => None,
        }
    }

    /// Every span that it looks at.
    pub fn lookbacks(&self) -> impl Iterator<Item = Lookback> {
        let second = match self.restriction {
            Restriction::RateLimit { lookback, .. } => Some(lookback),
            Restriction::Warning | Restriction::Throttle { .. } | Restriction::Block => None,
        };
        self.lookback().into_iter().chain(second)
    }

    /// The subjects that have reached the trigger by what was used in its span, by the subject's id. Of a feature,
    /// `used` tells features apart.
    pub fn hits(&self, used: &[Used]) -> BTreeMap<Arc<str>, Hit> {
        let mut hits = self.sums(used);
        hits.retain(|_, hit| self.trigger.is_reached(&hit.totals));
        hits
    }

    /// Leaves those subjects that the restriction acts on, by what was used in the span of a rate limit.
    pub fn restrict(&self, hits: &BTreeMap<Arc<str>, Hit>, used: &[Used]) -> BTreeMap<Arc<str>, Hit> {
        let Restriction::RateLimit { requests_max, .. } = self.restriction else { return hits.clone() };
        let sums = self.sums(used);
        let requests = |subject: &Arc<str>| sums.get(subject).map_or(0, |sum| sum.totals.usage.requests);
        let over = hits.iter().filter(|(subject, _)| requests(subject) >= requests_max);
        over.map(|(subject, hit)| (Arc::clone(subject), hit.clone())).collect()
    }

    /// Why a user is blocked by it; `None`: it blocks no user.
    pub fn reason(&self) -> Option<Arc<str>> {
        let what = match (&self.restriction, &self.trigger) {
            (Restriction::Warning | Restriction::Throttle { .. }, _) => return None,
            (Restriction::RateLimit { requests_max, lookback }, _) => {
                format!("{requests_max} requests in {lookback}")
            }
            (Restriction::Block, Trigger::TokenLimit { tokens, lookback }) => {
                format!("{tokens} tokens in {lookback}")
            }
            (Restriction::Block, Trigger::CostLimit { cost, lookback }) => {
                format!("${} in {lookback}", cost.usd())
            }
            (Restriction::Block, Trigger::PolicyViolation { .. } | Trigger::Inactivity { .. }) => {
                return None;
            }
        };
        Some(format!("Rule \"{}\": {what} are used up", self.name).into())
    }

    /// By subject, whether or not it has reached anything.
    fn sums(&self, used: &[Used]) -> BTreeMap<Arc<str>, Hit> {
        let mut sums: BTreeMap<Arc<str>, Hit> = BTreeMap::new();
        for Used { user, feature, totals } in used {
            let id = match self.subject.kind {
                SubjectKind::User => user.as_str(),
                SubjectKind::Feature => match feature {
                    Some(feature) => feature.as_str(),
                    None => continue,
                },
                SubjectKind::Group => continue,
            };
            if !self.subject.ids.is_empty() && !self.subject.ids.iter().any(|wanted| **wanted == *id) {
                continue;
            }
            let sum = sums
                .entry(id.into())
                .or_insert_with(|| Hit { users: BTreeSet::new(), totals: Totals::default() });
            sum.totals += *totals;
            sum.users.insert(user.clone());
        }
        sums
    }
}

impl Trigger {
    fn is_reached(&self, totals: &Totals) -> bool {
        match self {
            Trigger::TokenLimit { tokens, .. } => totals.usage.total_tokens() >= *tokens,
            Trigger::CostLimit { cost, .. } => totals.cost >= *cost,
            Trigger::PolicyViolation { .. } | Trigger::Inactivity { .. } => false,
        }
    }
}

impl Lookback {
    pub fn ms(self) -> u64 {
        let unit = match self.unit {
            Unit::Minute => MINUTE_MS,
            Unit::Hour => HOUR_MS,
            Unit::Day => DAY_MS,
            Unit::Week => 7 * DAY_MS,
            Unit::Month => 30 * DAY_MS,
        };
        unit.saturating_mul(self.count.into())
    }

    /// From when on rows of usage are in it. They are of an hour, so the oldest counts whole: never less than was used.
    pub fn start(self, now: Timestamp) -> Timestamp {
        Grain::Hour.start(now.minus_ms(self.ms()))
    }
}

impl fmt::Display for Lookback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.unit {
            Unit::Minute => "minute",
            Unit::Hour => "hour",
            Unit::Day => "day",
            Unit::Week => "week",
            Unit::Month => "month",
        };
        write!(f, "{} {unit}{}", self.count, if self.count == 1 { "" } else { "s" })
    }
}

impl Firings {
    /// Whether it fired for this subject after `after`.
    pub fn fired(&self, subject: &str, after: Timestamp) -> bool {
        self.recent.iter().any(|firing| *firing.subject == *subject && firing.at > after)
    }

    pub fn add(&mut self, firing: Firing) {
        self.last_at = self.last_at.max(Some(firing.at));
        self.recent.push_back(firing);
        while self.recent.len() > FIRINGS_MAX {
            self.recent.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usage::Usage;

    const HOUR: Lookback = Lookback { count: 1, unit: Unit::Hour };

    #[test]
    fn a_rule_that_was_kept_with_ids_as_they_were_sent_is_about_those_that_they_are_read_as() {
        let kept = r#"{"kind":"user","ids":["Zoe\u0301","Alice ","a\u200bb"]}"#;
        let subject: Subject = serde_json::from_str(kept).unwrap();
        assert_eq!(subject.ids, ["Zo\u{e9}", "Alice", "a\u{200b}b"].map(Arc::from));
    }

    fn rule(kind: SubjectKind, ids: &[&str], trigger: Trigger, restriction: Restriction) -> Rule {
        Rule {
            org: "acme".into(),
            name: "r".into(),
            enabled: true,
            subject: Subject { kind, ids: ids.iter().map(|id| (*id).into()).collect() },
            trigger,
            restriction,
            notifications: Value::Null,
            created_at: Timestamp(0),
            updated_at: Timestamp(0),
        }
    }

    fn used(user: &str, feature: Option<&str>, tokens: u64, nano: i64, requests: u64) -> Used {
        let usage = Usage { text_in: tokens, requests, ..Usage::default() };
        let totals = Totals { usage, cost: NanoUsd(nano), ..Totals::default() };
        Used { user: user.into(), feature: feature.map(Feature::from), totals }
    }

    /// `subject: users`, of those that the rule acts on.
    fn acts(rule: &Rule, rows: &[Used]) -> String {
        let hits = rule.restrict(&rule.hits(rows), rows);
        let line = |(subject, hit): (&Arc<str>, &Hit)| {
            let users: Vec<&str> = hit.users.iter().map(UserId::as_str).collect();
            format!("{subject}: {}", users.join(" "))
        };
        hits.iter().map(line).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn a_rule_acts_on_whoever_reaches_its_trigger() {
        let rows = [
            used("ann", Some("chat"), 60, 6, 1),
            used("bob", Some("chat"), 100, 10, 2),
            used("bob", Some("voice"), 10, 1, 1),
            used("eve", None, 500, 50, 9),
        ];
        let (user, feature, group) = (SubjectKind::User, SubjectKind::Feature, SubjectKind::Group);
        let tokens = |tokens| Trigger::TokenLimit { tokens, lookback: HOUR };
        let cost = |nano| Trigger::CostLimit { cost: NanoUsd(nano), lookback: HOUR };
        let block = Restriction::Block;
        let rate = |requests_max| Restriction::RateLimit { requests_max, lookback: HOUR };
        for (kind, ids, trigger, restriction, expected) in [
            (user, &[][..], tokens(100), block, "bob: bob, eve: eve"),
            (user, &[], tokens(111), block, "eve: eve"),
            (user, &["ann", "bob"], tokens(60), block, "ann: ann, bob: bob"),
            (user, &["nobody"], tokens(1), block, ""),
            (user, &[], cost(11), block, "bob: bob, eve: eve"),
            (user, &[], cost(12), block, "eve: eve"),
            (feature, &[], tokens(160), block, "chat: ann bob"),
            (feature, &[], tokens(161), block, ""),
            (feature, &["voice"], tokens(1), block, "voice: bob"),
            (group, &[], tokens(1), block, ""),
            (user, &[], tokens(60), rate(3), "bob: bob, eve: eve"),
            (user, &[], tokens(60), rate(4), "eve: eve"),
            (user, &[], tokens(501), rate(1), ""),
            (feature, &[], tokens(60), rate(3), "chat: ann bob"),
            (user, &[], Trigger::PolicyViolation { policy: "p".into() }, block, ""),
        ] {
            let rule = rule(kind, ids, trigger, restriction);
            assert_eq!(acts(&rule, &rows), expected, "{rule:?}");
        }
    }

    #[test]
    fn a_span_counts_its_oldest_hour_whole() {
        let now = Timestamp(10 * DAY_MS + 90 * MINUTE_MS);
        for (count, unit, start) in [
            (1, Unit::Minute, 10 * DAY_MS + HOUR_MS),
            (31, Unit::Minute, 10 * DAY_MS),
            (1, Unit::Hour, 10 * DAY_MS),
            (1, Unit::Day, 9 * DAY_MS + HOUR_MS),
            (1, Unit::Week, 3 * DAY_MS + HOUR_MS),
            (1, Unit::Month, 0),
            (u32::MAX, Unit::Month, 0),
        ] {
            assert_eq!(Lookback { count, unit }.start(now), Timestamp(start), "{count} {unit:?}");
        }
    }

    #[test]
    fn whoever_is_blocked_is_told_by_what() {
        let tokens = Trigger::TokenLimit { tokens: 10, lookback: HOUR };
        let cost = Trigger::CostLimit {
            cost: NanoUsd(2_500_000_000),
            lookback: Lookback { count: 2, unit: Unit::Day },
        };
        for (trigger, restriction, reason) in [
            (&tokens, Restriction::Block, Some("Rule \"r\": 10 tokens in 1 hour are used up")),
            (&cost, Restriction::Block, Some("Rule \"r\": $2.5 in 2 days are used up")),
            (
                &cost,
                Restriction::RateLimit { requests_max: 5, lookback: HOUR },
                Some("Rule \"r\": 5 requests in 1 hour are used up"),
            ),
            (&cost, Restriction::Warning, None),
            (&cost, Restriction::Throttle { delay_ms: 5 }, None),
        ] {
            let rule = rule(SubjectKind::User, &[], trigger.clone(), restriction);
            assert_eq!(rule.reason().as_deref(), reason);
        }
    }

    #[test]
    fn as_many_firings_are_kept_as_may_be() {
        let mut firings = Firings::default();
        for n in 0..FIRINGS_MAX as u64 + 5 {
            firings.add(Firing {
                id: "f".into(),
                at: Timestamp(n),
                subject: format!("u{n}").into(),
                user_count: 1,
                tokens: 0,
                cost: NanoUsd(0),
                requests: 0,
            });
        }
        assert_eq!((firings.recent.len(), firings.last_at), (FIRINGS_MAX, Some(Timestamp(204))));
        assert!(firings.fired("u204", Timestamp(203)) && !firings.fired("u204", Timestamp(204)));
        assert!(!firings.fired("u4", Timestamp(0)));
    }
}
