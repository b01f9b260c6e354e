//! Every JSON shape of the API, and how values of ours become one: one question a file. No other file knows the
//! field names.
//!
//! Existing clients know these names. On the wire a `threshold` is a user's whole limit and a `period` a window.
//! Costs are dollars as the shortest decimal that is the nano-dollar exactly; times are ISO 8601 with milliseconds.

mod accounts;
mod audit;
mod blocks;
mod browser_tokens;
mod explorer;
mod history;
mod keys;
mod limits;
mod logins;
mod logs;
mod orgs;
mod overview;
mod policies;
mod prices;
mod process;
mod refusals;
mod rules;
mod sdk;
mod series;
mod sessions;
mod span;
mod stream;
mod table;
mod users;

pub(crate) use accounts::*;
pub(crate) use audit::*;
pub(crate) use blocks::*;
pub(crate) use browser_tokens::*;
pub(crate) use explorer::*;
pub(crate) use history::*;
pub(crate) use keys::*;
pub(crate) use limits::*;
pub(crate) use logins::*;
pub(crate) use logs::*;
pub(crate) use orgs::*;
pub(crate) use overview::*;
pub(crate) use policies::*;
pub(crate) use prices::*;
pub(crate) use process::*;
pub(crate) use refusals::*;
pub(crate) use rules::*;
pub(crate) use sdk::*;
pub(crate) use series::*;
pub(crate) use sessions::*;
pub(crate) use span::TimeRange;
pub(crate) use stream::domain_event;
pub(crate) use table::*;
pub(crate) use users::*;

pub(crate) use crate::error_body::*;

use crate::fields::Fields;
use serde::Serialize;
use tokenist_control::view::Totals;
use tokenist_core::limit::WindowKind;
use utoipa::ToSchema;

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
    /// Responses, transcriptions and recorded calls.
    requests: u64,
    #[schema(required, format = DateTime)]
    last_updated: Option<String>,
}

/// At most so many, out of so many that the first are left out.
fn page(fields: &mut Fields, default: usize, max: usize) -> (usize, usize) {
    let limit = fields.count("limit", 1, max as u64).map_or(default, |limit| limit as usize);
    let offset = fields.count("offset", 0, OFFSET_MAX).map_or(0, |offset| offset as usize);
    (limit, offset)
}

fn list_limit(fields: &mut Fields) -> Option<usize> {
    fields.count("limit", 1, LIST_MAX as u64).map(|limit| limit as usize)
}

impl From<&Totals> for Usage {
    fn from(totals: &Totals) -> Usage {
        Usage {
            input_tokens: totals.usage.input_tokens(),
            output_tokens: totals.usage.output_tokens(),
            total_tokens: totals.usage.total_tokens(),
            cost_usd: totals.cost.usd(),
            estimated_cost_usd: totals.estimated_cost.usd(),
            requests: totals.usage.requests,
            last_updated: totals.updated_at.map(|at| at.to_string()),
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

/// For more a shorter range is asked for.
const OFFSET_MAX: u64 = 1_000_000;

const WINDOWS: [(&str, WindowKind); 4] = [
    ("daily", WindowKind::Daily),
    ("monthly", WindowKind::Monthly),
    ("rolling_24h", WindowKind::Rolling24h),
    ("total", WindowKind::Total),
];
/// The largest integer that every JSON reader keeps exact.
const INTEGER_MAX: u64 = (1 << 53) - 1;

#[cfg(test)]
mod tests {
    use tokenist_core::money::NanoUsd;

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
}
