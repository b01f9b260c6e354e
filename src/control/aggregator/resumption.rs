//! Which session a handle resumes. The aggregator knows it, because it knows all sessions and all shards ask it anyway, and
//! keeps it for as long as providers take handles at most. A restart forgets all of it: what is resumed then is a session of
//! its own.
//!
//! Invariant: a session that is over and of which a handle is kept is kept in the ledger, and no other is.

use super::Aggregator;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokenist_core::id::SessionId;
use tokenist_handoff::{Answer, HandleHash, Order, Resumable};

/// How long a provider takes a handle.
const VALID: Duration = Duration::from_secs(2 * 60 * 60);
/// Between an answer and its connection there is a dial, over which what was answered is kept.
const KEPT: Duration = Duration::from_secs(2 * 60 * 60 + 120);
/// Of one session. Past it the oldest goes: an application resumes by the last one that it was given.
const OF_SESSION_MAX: usize = 8;
/// Of all sessions. Past it the oldest goes.
const HANDLES_MAX: usize = 100_000;

#[derive(Debug, Default)]
pub(super) struct Resumptions {
    handles: HashMap<HandleHash, Given>,
    /// The oldest first.
    order: BTreeMap<u64, HandleHash>,
    /// The handles of each session, the oldest first.
    sessions: HashMap<SessionId, VecDeque<HandleHash>>,
    /// The last place in the order that was given.
    place: u64,
    /// Sessions that have lost their last handle; some have been given one since.
    forgotten: Vec<SessionId>,
}

/// A handle that was given to an application.
#[derive(Debug)]
struct Given {
    session: Arc<Resumable>,
    at: Duration,
    place: u64,
}

impl Resumptions {
    pub(super) fn give(&mut self, handle: HandleHash, session: Arc<Resumable>, now: Duration) {
        self.forget(&handle);
        let id = session.session;
        self.place += 1;
        self.order.insert(self.place, handle);
        self.handles.insert(handle, Given { session, at: now, place: self.place });
        let of_session = self.sessions.entry(id).or_default();
        of_session.push_back(handle);
        let one_too_many = (of_session.len() > OF_SESSION_MAX).then(|| of_session[0]);
        let oldest =
            (self.handles.len() > HANDLES_MAX).then(|| self.order.values().next().copied()).flatten();
        one_too_many.or(oldest).iter().for_each(|handle| self.forget(handle));
    }

    /// The session that a handle resumes. It is kept for a while from now on, however many others come.
    pub(super) fn find(&mut self, handle: &HandleHash, now: Duration) -> Option<Arc<Resumable>> {
        let given = self.handles.get_mut(handle).filter(|given| now - given.at < VALID)?;
        self.order.remove(&given.place);
        self.place += 1;
        given.place = self.place;
        self.order.insert(self.place, *handle);
        Some(Arc::clone(&given.session))
    }

    pub(super) fn holds(&self, session: SessionId) -> bool {
        self.sessions.contains_key(&session)
    }

    /// Lets go of handles that no provider takes any more.
    fn expire(&mut self, now: Duration) {
        while let Some(handle) = self.order.values().next().copied()
            && self.handles.get(&handle).is_none_or(|given| now - given.at >= KEPT)
        {
            self.forget(&handle);
        }
    }

    /// Sessions that have lost their last handle since this was last asked.
    fn take_forgotten(&mut self) -> Vec<SessionId> {
        let mut forgotten = std::mem::take(&mut self.forgotten);
        forgotten.retain(|session| !self.holds(*session));
        forgotten
    }

    fn forget(&mut self, handle: &HandleHash) {
        let Some(given) = self.handles.remove(handle) else { return };
        self.order.remove(&given.place);
        let id = given.session.session;
        let Some(of_session) = self.sessions.get_mut(&id) else { return };
        of_session.retain(|other| other != handle);
        if of_session.is_empty() {
            self.sessions.remove(&id);
            self.forgotten.push(id);
        }
    }
}

impl Aggregator {
    /// An application was given a handle.
    pub(super) fn note_handle(&mut self, handle: HandleHash, session: Arc<Resumable>) {
        self.resumptions.give(handle, session, self.slots.elapsed);
        self.forget_sessions();
    }

    pub(super) fn answer_resumption(&mut self, shard: usize, ticket: u64, handle: HandleHash) {
        let answer = Answer::Resumed(self.resumptions.find(&handle, self.slots.elapsed));
        self.send(shard, Order::Admission { ticket, answer });
    }

    /// Lets time pass.
    pub(super) fn expire_handles(&mut self) {
        self.resumptions.expire(self.slots.elapsed);
        self.forget_sessions();
    }

    fn forget_sessions(&mut self) {
        for session in self.resumptions.take_forgotten() {
            self.ledger.forget_session(session);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokenist_core::meter::Carried;
    use tokenist_core::time::Instant;

    fn handle(number: u64) -> HandleHash {
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&number.to_le_bytes());
        HandleHash(hash)
    }

    fn session(number: u64) -> Arc<Resumable> {
        Arc::new(Resumable::new(SessionId(number), Instant(0), Carried::default(), true))
    }

    /// The number of the session that is resumed.
    fn found(resumptions: &mut Resumptions, number: u64, now: Duration) -> Option<u64> {
        resumptions.find(&handle(number), now).map(|session| session.session.0)
    }

    #[test]
    fn a_handle_resumes_its_session_for_as_long_as_its_provider_takes_it() {
        let mut resumptions = Resumptions::default();
        let (start, hour) = (Duration::from_secs(7), Duration::from_secs(3_600));
        resumptions.give(handle(1), session(1), start);
        resumptions.give(handle(2), session(2), start + hour);
        let last = start + 2 * hour - Duration::from_millis(1);
        assert_eq!([1, 2, 3].map(|number| found(&mut resumptions, number, last)), [Some(1), Some(2), None]);
        assert_eq!(found(&mut resumptions, 1, start + 2 * hour), None);
        // What was answered in the last moment is there until the connection is.
        resumptions.expire(start + 2 * hour);
        assert!(resumptions.holds(SessionId(1)));
        resumptions.expire(start + 3 * hour + Duration::from_secs(120));
        assert!(!resumptions.holds(SessionId(1)) && !resumptions.holds(SessionId(2)));
        assert!(resumptions.handles.is_empty() && resumptions.order.is_empty());
        assert_eq!(resumptions.take_forgotten().len(), 2);
    }

    #[test]
    fn of_each_session_the_last_handles_are_kept_and_of_all_so_many() {
        let mut resumptions = Resumptions::default();
        let now = Duration::ZERO;
        for number in 0..OF_SESSION_MAX as u64 + 2 {
            resumptions.give(handle(number), session(1), now);
            resumptions.give(handle(number), session(1), now);
        }
        assert_eq!([0, 1, 2].map(|number| found(&mut resumptions, number, now)), [None, None, Some(1)]);
        assert_eq!((resumptions.sessions[&SessionId(1)].len(), resumptions.order.len()), (8, 8));
        for number in 100..100 + HANDLES_MAX as u64 {
            resumptions.give(handle(number), session(number), now);
            // It is asked for again and again.
            assert_eq!(found(&mut resumptions, 2, now), Some(1));
        }
        assert_eq!((resumptions.handles.len(), resumptions.order.len()), (HANDLES_MAX, HANDLES_MAX));
        assert_eq!([3, 100, 101].map(|number| found(&mut resumptions, number, now)), [None, None, Some(101)]);
        assert_eq!(resumptions.take_forgotten(), [SessionId(100)]);
    }
}
