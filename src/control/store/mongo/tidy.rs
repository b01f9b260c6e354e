//! Drops from MongoDB what is older than it has to be kept: a little at a time, each instance as it gets there.
//!
//! An index with a time to live would need dates where all our times are integers, and FerretDB has none.

use super::document::int;
use super::server::{IdTaken, Server};
use super::{Config, StoreError};
use mongodb::bson::{Bson, doc};
use tokenist_core::time::{DAY_MS, Timestamp};

/// Documents that one look deletes of each collection.
const STEP: usize = 10_000;

pub(super) fn tidy(server: &Server, config: &Config, now: Timestamp) -> Result<(), StoreError> {
    let batch = server.batch()?;
    let old = [
        ("events", "at", config.details_days),
        ("sessions", "closed_at", config.details_days),
        ("logs", "at", config.details_days),
        ("marks", "at", config.details_days),
        ("audits", "at", config.rollups_days),
        ("refusals", "minute", config.refusals_days),
        ("rollups", "start", config.rollups_days),
    ];
    for (collection, at, days) in old.into_iter().filter(|(_, _, days)| *days > 0) {
        let until = now.minus_ms(days.saturating_mul(DAY_MS));
        for _ in 0..STEP.div_ceil(batch) {
            let found = server.find(collection, doc! {at: {"$lt": int(until.0)}}, doc! {}, 0, batch)?;
            let ids: Vec<Bson> = found.iter().filter_map(|document| document.get("_id").cloned()).collect();
            let is_last = ids.len() < batch;
            if !ids.is_empty() {
                let statement = doc! {"q": {"_id": {"$in": ids}}, "limit": 0};
                server.write(doc! {"delete": collection, "deletes": [statement]}, IdTaken::Fails)?;
            }
            if is_last {
                break;
            }
        }
    }
    Ok(())
}
