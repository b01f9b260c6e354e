//! Follows what other instances set: asks MongoDB again and again, and hands what is new to the aggregator.
//!
//! Every incarnation of a ledger numbers its settings and announces, in `writers`, up to which number all of them are
//! there. So a look that finds nothing new is one small question, and nothing is missed for a clock that is off.

use super::document::{SETTINGS, Writer, int, integer, text, update_of};
use super::server::Server;
use super::{Config, prune};
use super::{SettingSink, StoreError};
use crate::clock::system_time;
use crate::progress::Replication;
use crate::setting::SettingUpdate;
use crate::store::SinkError;
use crate::supervise::Supervisor;
use mongodb::bson::{Document, doc};
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tokenist_core::time::{DAY_MS, Timestamp};
use tracing::{error, info, warn};

/// Between two looks: what is set elsewhere holds here within two seconds, the copying included.
const PAUSE: Duration = Duration::from_millis(500);
/// How often this incarnation says that it is there.
const SIGN_PAUSE: Duration = Duration::from_secs(60);
/// An incarnation of which nothing was heard for so long is struck off.
const SIGN_MAX_MS: u64 = 7 * DAY_MS;
/// A name that no run has counted under for so long is not looked after any more.
const RUN_MAX_MS: u64 = 400 * DAY_MS;
/// Between two times that old documents are looked for where none are left; else it is gone on with after each look.
const PRUNE_PAUSE: Duration = Duration::from_secs(60);

/// By incarnation, the number up to which its settings are known here.
pub(super) type Cursors = HashMap<String, i64>;

pub(super) struct ChangeReader {
    pub(super) server: Arc<Server>,
    pub(super) writer: Writer,
    pub(super) status: Arc<Replication>,
    pub(super) config: Config,
    /// What retention takes for the present, in ms since 1970; 0: nothing yet.
    pub(super) present: Arc<AtomicU64>,
    /// `None` until everything has been read once.
    pub(super) cursors: Option<Cursors>,
}

/// Everything that is set, and how far that is.
pub(super) fn read_all(server: &Server) -> Result<(Cursors, Vec<SettingUpdate>), StoreError> {
    // What is written between the two reads is read twice.
    let cursors = announced(server)?;
    let mut updates = Vec::new();
    for collection in SETTINGS {
        let documents = server.find(collection, doc! {}, doc! {}, 0, 0)?;
        updates.extend(updates_of(collection, &documents));
    }
    Ok((cursors, updates))
}

fn announced(server: &Server) -> Result<Cursors, StoreError> {
    let writers = server.find("writers", doc! {}, doc! {}, 0, 0)?;
    let cursor =
        |writer: &Document| Some((text(writer, "_id")?.to_owned(), integer(writer, "upto").unwrap_or(0)));
    Ok(writers.iter().filter_map(cursor).collect())
}

fn updates_of<'a>(
    collection: &'a str,
    documents: &'a [Document],
) -> impl Iterator<Item = SettingUpdate> + 'a {
    documents.iter().filter_map(move |document| {
        let update = update_of(collection, document);
        if update.is_none() {
            warn!(collection, id = ?document.get("_id"), "a setting in MongoDB is not understood and left out");
        }
        update
    })
}

/// When the next of what is done now and then is due.
struct Due {
    sign_at: Instant,
    prune_at: Instant,
    /// How often the connection had broken when the indexes were made sure of.
    indexed_at_breaks: Option<u64>,
}

impl ChangeReader {
    pub(super) fn start(mut self, supervisor: &Supervisor, updates: Box<dyn SettingSink>) -> io::Result<()> {
        supervisor.spawn("follower", move || self.run(&*updates)).map(drop)
    }

    /// Until the aggregator is gone.
    fn run(&mut self, sink: &dyn SettingSink) {
        let now = Instant::now();
        let mut due = Due { sign_at: now, prune_at: now + PRUNE_PAUSE, indexed_at_breaks: None };
        loop {
            match self.look(&mut due) {
                Ok((cursors, updates)) => {
                    if self.hand_over(sink, cursors, updates) == Err(SinkError::Gone) {
                        return;
                    }
                }
                Err(cause) => {
                    if self.status.reading.fail(&cause) {
                        error!(%cause, "MongoDB fails: what other instances set is not known here until it works again");
                    }
                }
            }
            if Instant::now() >= due.prune_at {
                due.prune_at = if self.prune() { Instant::now() } else { Instant::now() + PRUNE_PAUSE };
            }
            sleep(PAUSE);
        }
    }

    fn look(&self, due: &mut Due) -> Result<(Cursors, Vec<SettingUpdate>), StoreError> {
        let changes = self.changes()?;
        // A server that comes back may have lost its indexes, too.
        let breaks = self.server.breaks();
        if due.indexed_at_breaks != Some(breaks) {
            super::index(&self.server)?;
            due.indexed_at_breaks = Some(breaks);
        }
        if Instant::now() >= due.sign_at {
            self.sign(system_time())?;
            due.sign_at = Instant::now() + SIGN_PAUSE;
        }
        Ok(changes)
    }

    fn hand_over(
        &mut self,
        sink: &dyn SettingSink,
        cursors: Cursors,
        updates: Vec<SettingUpdate>,
    ) -> Result<(), SinkError> {
        if self.status.reading.succeed() {
            info!("MongoDB tells what other instances set again");
        }
        let taken = if updates.is_empty() { Ok(()) } else { sink.adopt(updates) };
        match &taken {
            Ok(()) => self.cursors = Some(cursors),
            // It is asked again with the next look.
            Err(SinkError::NotNow(cause)) => warn!(%cause, "what other instances set was not taken"),
            Err(SinkError::Gone) => {}
        }
        taken
    }

    /// Whether there is more that is old.
    fn prune(&self) -> bool {
        let present = Timestamp(self.present.load(Ordering::Acquire));
        prune::prune(&self.server, &self.config, present).unwrap_or_else(|cause| {
            warn!(%cause, "MongoDB could not be tidied");
            false
        })
    }

    /// What other incarnations have set since the last look.
    pub(super) fn changes(&self) -> Result<(Cursors, Vec<SettingUpdate>), StoreError> {
        let Some(known) = &self.cursors else { return read_all(&self.server) };
        let cursors = announced(&self.server)?;
        let own = self.writer.incarnation();
        let mut updates = Vec::new();
        for (incarnation, &upto) in cursors.iter().filter(|(incarnation, _)| **incarnation != own) {
            let after = known.get(incarnation).copied().unwrap_or(0);
            if upto <= after {
                continue;
            }
            let filter = doc! {"writer": incarnation, "number": {"$gt": after, "$lte": upto}};
            for collection in SETTINGS {
                let documents = self.server.find(collection, filter.clone(), doc! {}, 0, 0)?;
                updates.extend(updates_of(collection, &documents));
            }
        }
        Ok((cursors, updates))
    }

    /// Says that this incarnation is there, and strikes off those that are not any more.
    fn sign(&self, now: Timestamp) -> Result<(), StoreError> {
        let seen = doc! {"$max": {"seen_at": int(now.0)}};
        let statement = doc! {"q": {"_id": self.writer.incarnation()}, "u": seen, "upsert": true};
        self.server.write(doc! {"update": "writers", "updates": [statement]})?;
        for (collection, ms_max) in [("writers", SIGN_MAX_MS), ("runs", RUN_MAX_MS)] {
            let old = doc! {"seen_at": {"$lt": int(now.minus_ms(ms_max).0)}};
            self.server.write(doc! {"delete": collection, "deletes": [{"q": old, "limit": 0}]})?;
        }
        Ok(())
    }
}
