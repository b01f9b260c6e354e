//! What a limit measures, as drivers keep it.

use tokenist_core::close_reason::Measure;
use tokenist_core::money::NanoUsd;

/// What a reached limit measures, how much was used and how much may be, as drivers keep it.
pub(crate) fn measure_parts(measure: Option<Measure>) -> (&'static str, Option<i64>, Option<i64>) {
    let signed = |count: u64| Some(i64::try_from(count).unwrap_or(i64::MAX));
    match measure {
        None => ("", None, None),
        Some(Measure::Cost { used, limit }) => (COST, Some(used.0), Some(limit.0)),
        Some(Measure::Tokens { used, limit }) => (TOKENS, signed(used), signed(limit)),
    }
}

/// What [`measure_parts`] came from.
pub(crate) fn measure_of(name: &str, used: Option<i64>, limit: Option<i64>) -> Option<Measure> {
    let (used, limit) = (used?, limit?);
    let unsigned = |count: i64| count.max(0) as u64;
    match name {
        COST => Some(Measure::Cost { used: NanoUsd(used), limit: NanoUsd(limit) }),
        TOKENS => Some(Measure::Tokens { used: unsigned(used), limit: unsigned(limit) }),
        _ => None,
    }
}

const COST: &str = "cost";
const TOKENS: &str = "tokens";
