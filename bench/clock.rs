//! What time it is on the wall: the only place here that asks. What is measured is measured with instants.

use std::time::{SystemTime, UNIX_EPOCH};
use tokenist_core::time::Timestamp;

#[expect(clippy::disallowed_methods, reason = "this is the one place that asks")]
pub(crate) fn now() -> Timestamp {
    Timestamp(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64)
}
