//! Limits, which the API calls thresholds.

use super::{INTEGER_MAX, WINDOWS, Window};
use crate::fields::{Fields, FromFields};
use serde::Serialize;
use tokenist_control::handle::UserView;
use tokenist_core::limit::{Limit, WindowKind};
use tokenist_core::money::NanoUsd;
use utoipa::ToSchema;

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

impl FromFields for ThresholdRequest {
    fn from_fields(fields: &mut Fields) -> Option<ThresholdRequest> {
        Some(ThresholdRequest {
            max_cost_usd: fields.dollars("maxCostUsd"),
            max_total_tokens: fields.count("maxTotalTokens", 0, INTEGER_MAX),
            window: fields.word("window", &WINDOWS),
        })
    }
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

impl ThresholdReply {
    pub(crate) fn of(view: &UserView) -> ThresholdReply {
        ThresholdReply { success: true, user_id: view.user.to_string(), threshold: (&view.limit).into() }
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
        let limit = request.limit(default);
        assert_eq!(limit, Limit { max_cost: Some(NanoUsd(5)), max_tokens: None, ..default });
    }
}
