//! What may be spent over which window, and by which holder. What follows from it is decided in [`crate::verdict`].

use crate::models::Models;
use crate::money::NanoUsd;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The span that a limit sums over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WindowKind {
    /// From midnight to midnight UTC.
    Daily,
    /// From the first of the month, midnight UTC.
    #[default]
    Monthly,
    /// The last 24 hours in 5-minute buckets, of which the oldest counts whole.
    #[serde(rename = "rolling_24h")]
    Rolling24h,
    /// Everything ever counted.
    Total,
}

impl WindowKind {
    pub const ALL: [WindowKind; 4] =
        [WindowKind::Daily, WindowKind::Monthly, WindowKind::Rolling24h, WindowKind::Total];
}

/// What happens when a limit is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    #[default]
    Enforce,
    /// Only tell the operator.
    Warn,
}

/// What a limit that several instances hold together allows while they cannot tell each other what was used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnRedisDown {
    /// Each instance its part of what was left.
    #[default]
    LocalShare,
    /// What is left as far as this instance knows: at worst, the cluster uses what was left once for each instance.
    Allow,
    /// No new session; live ones go on with their instance's part of what was left.
    Refuse,
}

/// A holder's limit. Reached means used ≥ limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Limit {
    /// `None` is unlimited; zero denies all.
    pub max_cost: Option<NanoUsd>,
    /// `None` is unlimited.
    pub max_tokens: Option<u64>,
    pub window: WindowKind,
    pub mode: Mode,
    /// Sessions that a user may hold open at once; `None` is unlimited.
    pub max_sessions: Option<u32>,
    #[serde(default)]
    pub on_redis_down: OnRedisDown,
    /// What sessions of the holder may use, whatever the mode: besides what bounds it elsewhere.
    #[serde(default, skip_serializing_if = "Models::is_any")]
    pub models: Models,
}

/// An operator's block of a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    pub reason: Option<Arc<str>>,
    pub blocked_at: Timestamp,
    /// `None` lasts until it is lifted.
    pub expires_at: Option<Timestamp>,
}

impl Block {
    /// An expired block counts as none.
    pub fn holds_at(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }
}

/// What rules do to a user. It is not kept: the rule engine renews it for as long as its rules say so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleAction {
    /// Why the user is blocked; `None`: it is not.
    pub reason: Option<Arc<str>>,
    pub since: Timestamp,
    /// New sessions begin so much later.
    pub delay_ms: u64,
    pub expires_at: Timestamp,
}

impl RuleAction {
    /// As operators and users are told of it.
    pub fn block(&self) -> Option<Block> {
        let reason = self.reason.clone()?;
        Some(Block { reason: Some(reason), blocked_at: self.since, expires_at: Some(self.expires_at) })
    }
}

/// Everything about a holder that a verdict needs besides what was used. Published on the holder's account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountState {
    /// An operator's; without one, that of a rule.
    pub block: Option<Block>,
    pub limit: Limit,
    /// Until when what was used counts: the end of the limit's window. Of a rolling one, when what leaves it next
    /// does; where the limit is reached, when so much has left that it no longer is. From then on no session is judged by
    /// what was used before. `None` for `total`.
    pub resets_at: Option<Timestamp>,
    /// The holder is a key that was withdrawn.
    pub revoked: bool,
    /// What is left cannot be known, and the limit wants no new session before it can.
    pub refuses_new: bool,
    /// New sessions begin so much later.
    pub delay_ms: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_written_with_its_models_where_it_has_any_and_one_of_before_allows_all() {
        let before =
            r#"{"max_cost":null,"max_tokens":5,"window":"daily","mode":"enforce","max_sessions":null}"#;
        let any: Limit = serde_json::from_str(before).unwrap();
        assert_eq!(any, Limit { max_tokens: Some(5), window: WindowKind::Daily, ..Limit::default() });
        let listed = Limit { models: Models::parse("exact, gpt-*").unwrap(), ..any.clone() };
        for (limit, models) in [(any, None), (listed, Some(r#""models":["exact","gpt-*"]"#))] {
            let written = serde_json::to_string(&limit).unwrap();
            assert_eq!(written.contains("models"), models.is_some(), "{written}");
            assert!(models.is_none_or(|models| written.contains(models)), "{written}");
            assert_eq!(serde_json::from_str::<Limit>(&written).unwrap(), limit);
        }
    }
}
