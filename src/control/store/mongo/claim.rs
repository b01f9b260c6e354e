//! Says in MongoDB which run counts under a ledger's name, and finds out when another does.
//!
//! The collection `runs` has a document for each name: the run, its place, and a heartbeat that grows with each second. One
//! whose heartbeat does not grow has ended.

use super::StoreError;
use super::document::{int, integer, text};
use super::server::Server;
use crate::clock::system_time;
use crate::run::Run;
use crate::twin::Twin;
use mongodb::bson::{Document, doc};
use std::time::{Duration, Instant};

/// Between two beats.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);
/// A heartbeat that has not grown for so long will not.
const ENDED: Duration = Duration::from_secs(3);

/// What another run under the same name means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kinship {
    /// It was this folder's, and has ended.
    Ended,
    /// It was this folder's before that was copied or taken elsewhere: it may still be alive, if it is heard of again.
    MayLive,
    /// It was never this folder's: the name was used elsewhere since the folder was copied.
    Foreign,
}

#[derive(Clone, Debug)]
pub(super) struct Claim {
    run: Run,
    heartbeat: i64,
    /// When this run last said that it is there.
    held_at: Option<Instant>,
    /// Another run and its heartbeat, and since when that has not grown.
    watched: Option<(String, i64, Instant)>,
    /// The run that was in the way last.
    twin: Option<Twin>,
}

impl Claim {
    pub(super) fn new(run: Run) -> Claim {
        Claim { run, heartbeat: 0, held_at: None, watched: None, twin: None }
    }

    /// The run that was in the way when it was last asked.
    pub(super) fn twin(&self) -> Option<&Twin> {
        self.twin.as_ref()
    }

    /// Makes sure that no other run counts under this name. Cheap within a heartbeat.
    pub(super) fn hold(&mut self, server: &Server, now: Instant) -> Result<(), StoreError> {
        if self.held_at.is_some_and(|at| now.duration_since(at) < HEARTBEAT_INTERVAL) {
            return Ok(());
        }
        self.held_at = None;
        self.twin = None;
        let known = self.look(server)?;
        let before = match &known {
            None => None,
            Some(known) => Some(self.judge(known, now)?.to_owned()),
        };
        self.heartbeat =
            self.heartbeat.max(known.as_ref().and_then(|known| integer(known, "beat")).unwrap_or(0)) + 1;
        let mut filter = doc! {"_id": &self.run.writer};
        if let Some(before) = &before {
            filter.insert("run", before);
        }
        let said = doc! {"run": &self.run.id, "place": &self.run.place, "beat": self.heartbeat, "seen_at": int(system_time().0)};
        let statement = doc! {"q": filter, "u": {"$set": said}, "upsert": before.is_none()};
        server.write(doc! {"update": "runs", "updates": [statement]})?;
        // Two may have taken over from the same one: the first has it.
        match self.look(server)? {
            Some(held) if text(&held, "run") == Some(&self.run.id) => {
                self.held_at = Some(now);
                Ok(())
            }
            _ => Err(self.refuse("unknown", true)),
        }
    }

    fn look(&self, server: &Server) -> Result<Option<Document>, StoreError> {
        Ok(server.find("runs", doc! {"_id": &self.run.writer}, doc! {}, 0, 1)?.pop())
    }

    /// The run that this one follows, if it may.
    fn judge<'a>(&mut self, known: &'a Document, now: Instant) -> Result<&'a str, StoreError> {
        let (id, place) = (text(known, "run").unwrap_or_default(), text(known, "place").unwrap_or_default());
        if id == self.run.id {
            return Ok(id);
        }
        match kinship(&self.run, id, place) {
            Kinship::Ended => Ok(id),
            Kinship::Foreign => Err(self.refuse(id, false)),
            Kinship::MayLive => {
                let heartbeat = integer(known, "beat").unwrap_or(0);
                let watched = self.watched.take().filter(|(run, at, _)| run == id && *at == heartbeat);
                let (_, _, since) = self.watched.insert(watched.unwrap_or((id.to_owned(), heartbeat, now)));
                if now.duration_since(*since) >= ENDED { Ok(id) } else { Err(self.refuse(id, true)) }
            }
        }
    }

    fn refuse(&mut self, id: &str, may_have_ended: bool) -> StoreError {
        let twin = self.twin.insert(Twin::of(&self.run, id, may_have_ended));
        StoreError(format!("MongoDB (collection runs): {twin}"))
    }
}

fn kinship(run: &Run, id: &str, place: &str) -> Kinship {
    match run.earlier.iter().any(|earlier| earlier == id) {
        true if place == run.place => Kinship::Ended,
        true => Kinship::MayLive,
        false => Kinship::Foreign,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_ended_here_is_told_from_one_that_may_live_and_from_a_stranger() {
        let earlier = vec!["a".to_owned(), "b".to_owned()];
        let run = Run { writer: "w".into(), id: "c".into(), place: "here".into(), earlier, lasts: true };
        for (id, place, expected) in [
            ("b", "here", Kinship::Ended),
            ("a", "elsewhere", Kinship::MayLive),
            ("d", "here", Kinship::Foreign),
            ("d", "elsewhere", Kinship::Foreign),
        ] {
            assert_eq!(kinship(&run, id, place), expected, "{id} {place}");
        }
    }
}
