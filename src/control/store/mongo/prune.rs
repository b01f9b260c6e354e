//! Drops from MongoDB what is older than it has to be kept: a little at a time, each instance as it gets there.
//!
//! Age is counted from the newest document, as in the ledger file. An index with a time to live would need dates where
//! all our times are integers, it would go by the server's clock, and FerretDB has none.

use super::document::{int, integer};
use super::server::Server;
use super::{Config, StoreError};
use mongodb::bson::{Bson, doc};
use std::time::{Duration, Instant};
use tokenist_core::time::{DAY_MS, Timestamp};

/// What other instances set is looked at after so much pruning.
const SLICE: Duration = Duration::from_millis(200);

/// Whether there is more to do. Nothing is done before it is known what the present is.
pub(super) fn prune(server: &Server, config: &Config, present: Timestamp) -> Result<bool, StoreError> {
    let (began, batch) = (Instant::now(), server.batch()?);
    let collections = [
        ("events", "at", config.details_days),
        ("sessions", "closed_at", config.details_days),
        ("logs", "at", config.details_days),
        ("marks", "at", config.details_days),
        ("audits", "at", config.rollups_days),
        ("refusals", "minute", config.refusals_days),
        ("rollups", "start", config.rollups_days),
    ];
    let Some(newest) = newest(server, &collections.map(|(collection, at, _)| (collection, at)), present)?
    else {
        return Ok(false);
    };
    let mut left: Vec<_> = collections.into_iter().filter(|(_, _, days)| *days > 0).collect();
    while !left.is_empty() && began.elapsed() < SLICE {
        let mut more = Vec::new();
        for (collection, at, days) in left {
            let until = newest.minus_ms(days.saturating_mul(DAY_MS));
            let found = server.find(collection, doc! {at: {"$lt": int(until.0)}}, doc! {}, 0, batch)?;
            let ids: Vec<Bson> = found.iter().filter_map(|document| document.get("_id").cloned()).collect();
            if ids.len() == batch {
                more.push((collection, at, days));
            }
            if !ids.is_empty() {
                let statement = doc! {"q": {"_id": {"$in": ids}}, "limit": 0};
                server.write(doc! {"delete": collection, "deletes": [statement]})?;
            }
        }
        left = more;
    }
    Ok(!left.is_empty())
}

/// When the newest document up to `present` was written.
fn newest(
    server: &Server,
    collections: &[(&str, &str)],
    present: Timestamp,
) -> Result<Option<Timestamp>, StoreError> {
    let mut newest = None;
    for &(collection, at) in collections {
        let found = server.find(collection, doc! {at: {"$lte": int(present.0)}}, doc! {at: -1}, 0, 1)?;
        let at = found.first().and_then(|document| integer(document, at));
        newest = newest.max(at.map(|ms| Timestamp(ms.max(0) as u64)));
    }
    Ok(newest)
}
