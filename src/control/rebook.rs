//! The first thing that a process does with its ledger: what the one before had counted and not saved is booked.
//!
//! It is committed before the first session, a portion at a time, each together with how far its lane is booked. So a
//! kill in the middle repeats nothing: the next process goes on behind the last portion that was committed.

use crate::aggregator::Aggregator;
use crate::store::{Store, StoreError};
use tokenist_core::time::Timestamp;
use tracing::info;

/// So much is committed at once: what the busiest batch holds.
const PORTION: usize = 10_000;

/// Books what earlier processes have left, and saves it.
///
/// # Errors
/// A journal cannot be read, or the store takes nothing. Nothing is lost by that: what was not saved is still there.
pub fn rebook(store: &mut dyn Store, aggregator: &mut Aggregator, now: Timestamp) -> Result<(), StoreError> {
    let mut count = 0;
    while let Some(items) = store.left_over()? {
        let mut items = items.into_iter().peekable();
        while items.peek().is_some() {
            for (item, upto) in items.by_ref().take(PORTION) {
                count += 1;
                aggregator.rebook(item, upto, now);
            }
            if let Some(batch) = aggregator.take_batch() {
                store.commit(&batch)?;
                aggregator.rebooking_saved();
            }
        }
    }
    if count > 0 {
        info!(
            count,
            "the process before did not end in peace: what it had counted and not saved is booked now"
        );
    }
    Ok(())
}
