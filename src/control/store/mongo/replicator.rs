//! Copies what changed in the ledger file to MongoDB, on a thread of its own.
//!
//! Invariant: a change is behind us only when the server has answered for it and was there for a while since. Whatever
//! fails is sent again; and since a server that dies may have answered for what it had not made sure of, so is all
//! that it answered for shortly before its connections broke. Each write may come twice without harm.

use super::StoreError;
use super::claim::Claim;
use super::document::{SETTINGS, Write, Writer, int};
use super::server::Server;
use crate::progress::Replication;
use crate::store::row::Change;
use crate::store::sqlite::outbox::{Class, Outbox};
use crate::supervise::Supervisor;
use crossbeam::channel::{self, Receiver, RecvTimeoutError, Sender};
use mongodb::bson::{Document, doc};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tracing::{error, info, warn};

/// Between two looks at the outbox while nothing waits in it.
const PAUSE: Duration = Duration::from_millis(50);
/// The pause after the first failure; it doubles up to the greatest.
const BACKOFF: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// Commands' worth of counts between two looks for settings, which go first.
const COMMANDS: usize = 4;
/// Documents that one command inserts; of logs, which may be large, so many that they stay below the server's bound
/// for a message.
const INSERTS: usize = 1_000;
const INSERTS_LOGS: usize = 16;

/// How long what was answered for is kept, to be sent again. A server's death is noticed within ten seconds, by its
/// monitor if by no other; the rest is for what it may have lost.
const KEPT: Duration = Duration::from_secs(30);
/// What was answered for within so long is kept and forgotten together.
const KEPT_GRAIN: Duration = Duration::from_secs(1);

pub(super) struct Replicator {
    pub(super) server: Arc<Server>,
    pub(super) outbox: Outbox,
    pub(super) writer: Writer,
    claim: Claim,
    pub(super) status: Arc<Replication>,
    /// What one command may hold, once the server has been asked.
    batch: Option<usize>,
    after_settings: u64,
    after_counts: u64,
    /// What was answered for and is kept, the oldest first, of settings and of counts.
    kept: [VecDeque<Kept>; 2],
    /// Breaks of connections that are mended: what was kept then has been taken up again.
    breaks: u64,
}

/// Changes up to a number that the server has answered for, from when to when.
#[derive(Clone, Copy, Debug)]
struct Kept {
    from: Instant,
    to: Instant,
    upto: u64,
}

/// The thread, and the way to tell it until when it may finish.
#[derive(Debug)]
pub(super) struct Running {
    last_call: Sender<Instant>,
    thread: JoinHandle<()>,
}

impl Running {
    /// Waits until all is copied, or the deadline is past.
    pub(super) fn finish(self, deadline: Instant) {
        // It has room for the one call that is ever made, and a receiver that is gone needs none.
        self.last_call.try_send(deadline).ok();
        while !self.thread.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Replicator {
    pub(super) fn new(
        server: Arc<Server>,
        outbox: Outbox,
        writer: Writer,
        claim: Claim,
        status: Arc<Replication>,
    ) -> Replicator {
        Replicator {
            server,
            outbox,
            writer,
            claim,
            status,
            batch: None,
            after_settings: 0,
            after_counts: 0,
            kept: Default::default(),
            breaks: 0,
        }
    }

    pub(super) fn start(mut self, supervisor: &Supervisor) -> std::io::Result<Running> {
        let (last_call, called) = channel::bounded(1);
        let mut deadline = None;
        let thread = supervisor.spawn("mirror", move || self.run(&called, &mut deadline))?;
        Ok(Running { last_call, thread })
    }

    fn run(&mut self, called: &Receiver<Instant>, deadline: &mut Option<Instant>) {
        let mut backoff = BACKOFF;
        loop {
            let pause = match self.copy_some(Instant::now()) {
                Ok(copied) => {
                    if self.status.writing.succeed() {
                        info!("MongoDB takes what was counted again");
                    }
                    backoff = BACKOFF;
                    match copied {
                        0 if deadline.is_some() => return,
                        0 => PAUSE,
                        _ => Duration::ZERO,
                    }
                }
                Err(cause) => {
                    if self.status.writing.fail(&cause) {
                        error!(%cause, "MongoDB fails: what is counted waits in the ledger file until it works again");
                    }
                    let pause = backoff;
                    backoff = (backoff * 2).min(BACKOFF_MAX);
                    pause
                }
            };
            if pause != PAUSE {
                // Else nothing has changed since it was counted last.
                self.status.set_waiting(self.waiting().unwrap_or(0));
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                let rows = self.status.waiting();
                warn!(rows, "not everything is in MongoDB; the ledger file keeps it for the next start");
                return;
            }
            match called.recv_timeout(pause) {
                Ok(at) => *deadline = Some(at),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Changes that the server has not answered for.
    pub(super) fn waiting(&self) -> Result<u64, StoreError> {
        self.outbox.waiting(self.after_settings, self.after_counts)
    }

    /// Copies all settings that wait, and some of the counts. How many changes that were.
    pub(super) fn copy_some(&mut self, now: Instant) -> Result<usize, StoreError> {
        let breaks = self.server.breaks();
        if std::mem::replace(&mut self.breaks, breaks) != breaks {
            self.send_again();
        }
        let copied = self.copy(now);
        match copied {
            Ok(_) => self.forget_old(now),
            Err(_) => self.send_again(),
        }
        copied
    }

    /// Takes up again what was answered for a short while ago, and asks anew what the server is: it may be another.
    fn send_again(&mut self) {
        self.after_settings = self.outbox.copied(Class::Settings);
        self.after_counts = self.outbox.copied(Class::Counts);
        self.batch = None;
    }

    fn keep(&mut self, class: Class, upto: u64, now: Instant) {
        let kept = &mut self.kept[class as usize];
        // What comes again is kept no longer for it: else breaks that come often would hold all of it up for ever.
        match kept.back_mut() {
            Some(last) if upto <= last.upto => {}
            Some(last) if now.duration_since(last.from) < KEPT_GRAIN => (last.to, last.upto) = (now, upto),
            _ => kept.push_back(Kept { from: now, to: now, upto }),
        }
    }

    fn forget_old(&mut self, now: Instant) {
        for (class, after) in [(Class::Settings, self.after_settings), (Class::Counts, self.after_counts)] {
            let is_old = |kept: &&Kept| now.duration_since(kept.to) >= KEPT && kept.upto <= after;
            let kept = &mut self.kept[class as usize];
            while let Some(oldest) = kept.front().filter(is_old) {
                self.outbox.set_copied(class, oldest.upto);
                kept.pop_front();
            }
        }
    }

    fn copy(&mut self, now: Instant) -> Result<usize, StoreError> {
        // Under a name that another counts under, nothing is copied.
        self.claim.hold(&self.server, now)?;
        let batch = match self.batch {
            Some(batch) => batch,
            None => *self.batch.insert(self.server.batch()?),
        };
        let settings = self.outbox.changes(Class::Settings, self.after_settings, batch)?;
        if let Some(last) = settings.last() {
            self.write(&settings, batch)?;
            self.announce(last.number)?;
            self.after_settings = last.number;
            self.keep(Class::Settings, last.number, now);
        }
        let counts = self.outbox.changes(Class::Counts, self.after_counts, batch * COMMANDS)?;
        if let Some(last) = counts.last() {
            self.write(&counts, batch)?;
            self.after_counts = last.number;
            self.keep(Class::Counts, last.number, now);
        }
        Ok(settings.len() + counts.len())
    }

    fn write(&self, changes: &[Change], batch: usize) -> Result<(), StoreError> {
        let mut updates: BTreeMap<&str, Vec<Document>> = BTreeMap::new();
        let mut inserts: BTreeMap<&str, Vec<Document>> = BTreeMap::new();
        for Change { number, row } in changes {
            for write in row.iter().flat_map(|row| self.writer.writes(*number, row)) {
                match write {
                    Write::Update { collection, statement } => {
                        updates.entry(collection).or_default().push(statement)
                    }
                    Write::Insert { collection, document } => {
                        inserts.entry(collection).or_default().push(document)
                    }
                }
            }
        }
        for (collection, statements) in updates {
            for statements in statements.chunks(batch) {
                match SETTINGS.contains(&collection) || collection == "sessions" {
                    true => self.set(collection, statements)?,
                    false => {
                        let command = doc! {"update": collection, "updates": statements.to_vec()};
                        self.server.write(command)?;
                    }
                }
            }
        }
        for (collection, documents) in inserts {
            let count = if collection == "logs" { INSERTS_LOGS } else { INSERTS };
            for documents in documents.chunks(count) {
                self.write_all("insert", collection, "documents", documents)?;
            }
        }
        Ok(())
    }

    /// An id that is taken has a greater revision, or another instance has inserted a lesser one at the same moment: then
    /// the statement finds that the second time.
    fn set(&self, collection: &str, statements: &[Document]) -> Result<(), StoreError> {
        let taken = self.write_all("update", collection, "updates", statements)?;
        self.write_all("update", collection, "updates", &taken).map(drop)
    }

    /// Tries all of them, and gives those that found their id taken. FerretDB tries none after the first that fails.
    fn write_all(
        &self,
        verb: &str,
        collection: &str,
        name: &str,
        statements: &[Document],
    ) -> Result<Vec<Document>, StoreError> {
        let (mut rest, mut taken) = (statements, Vec::new());
        while !rest.is_empty() {
            let mut command = doc! {verb: collection};
            command.insert(name, rest.to_vec());
            let written = self.server.write_each(command)?;
            let found = written.taken.iter().filter_map(|&index| rest.get(index)).cloned();
            taken.extend(found);
            let tried = match written.taken.iter().max() {
                Some(last) if written.done + written.taken.len() < rest.len() => last + 1,
                Some(_) | None => rest.len(),
            };
            rest = rest.get(tried..).unwrap_or_default();
        }
        Ok(taken)
    }

    /// Tells the others that all settings up to this number are there to be read.
    fn announce(&self, upto: u64) -> Result<(), StoreError> {
        let statement = doc! {
            "q": {"_id": self.writer.incarnation()}, "u": {"$max": {"upto": int(upto)}}, "upsert": true,
        };
        self.server.write(doc! {"update": "writers", "updates": [statement]})
    }
}
