//! Sessions as they come and go: those that are live, and those that are over and may be resumed.

use super::Ledger;
use crate::batch::SessionRecord;
use crate::id::{Holder, SessionId};
use crate::last_minute::LastMinute;
use crate::message::{Closed, Opened};
use crate::time::Timestamp;
use crate::totals::Totals;

/// A session between its first Opened and its last Closed.
#[derive(Clone, Debug)]
pub struct LiveSession {
    /// Its first, with the model that was metered last.
    pub opened: Opened,
    pub totals: Totals,
    /// Of what `totals` hold.
    pub last_minute: LastMinute,
    /// Opened and not closed.
    pub connections: u32,
    /// It was to end, and the provider has not ended it yet.
    pub hangup_fails: bool,
    /// It was over then, before it was resumed.
    ended_at: Option<Timestamp>,
}

impl LiveSession {
    fn new(opened: Opened) -> LiveSession {
        let (totals, last_minute) = (Totals::default(), LastMinute::default());
        LiveSession { opened, totals, last_minute, connections: 0, hangup_fails: false, ended_at: None }
    }

    /// What is kept of it. No session ends before it began, and each end of it is later than the one before, whatever has been
    /// done to the wall clock meanwhile.
    pub fn end(self, closed: Closed) -> SessionRecord {
        let LiveSession { opened, totals, ended_at, .. } = self;
        let earliest = ended_at.map_or(opened.at, |ended_at| ended_at.plus_ms(1));
        let closed = Closed { at: closed.at.max(earliest), ..closed };
        SessionRecord { opened, closed, totals }
    }
}

impl Ledger {
    /// A session has begun, or one that is open or over goes on, on one connection more: the provider has let it in, so its
    /// holders are no strangers any more.
    pub fn open_session(&mut self, opened: Opened, now: Timestamp) {
        let holders: Vec<Holder> = opened.identity.holders().collect();
        for holder in &holders {
            if let Some(slot) = self.assign_slot_unless_absent(holder, now) {
                self.holders.establish(slot);
                self.touch(slot);
            }
        }
        if let Some(user) = self.find(&holders[0]) {
            let said = self.said_of(&opened.identity);
            self.introduce(user, &opened.identity, said, now);
        }
        let id = opened.session;
        if self.sessions.len() < self.config.sessions_max || self.sessions.contains_key(&id) {
            let ended = &mut self.ended_sessions;
            let begun = || ended.remove(&id).unwrap_or_else(|| Box::new(LiveSession::new(opened)));
            self.sessions.entry(id).or_insert_with(begun).connections += 1;
        }
    }

    /// Whether a live session goes on although it was to end.
    pub fn note_hangup(&mut self, session: SessionId, fails: bool) {
        if let Some(session) = self.sessions.get_mut(&session) {
            session.hangup_fails = fails;
        }
    }

    /// A connection has ended. With its last one a session is over, and its record is written. Where it `may_resume`, it is
    /// kept until [`Ledger::forget_session`], and its record is written anew each time that it is over.
    pub fn close_session(&mut self, closed: Closed, may_resume: bool) {
        let Some(session) = self.sessions.get_mut(&closed.session) else { return };
        session.connections -= 1;
        if session.connections > 0 {
            return;
        }
        let Some(mut session) = self.sessions.remove(&closed.session) else { return };
        let record = LiveSession::clone(&session).end(closed);
        if may_resume {
            session.ended_at = Some(record.closed.at);
            self.ended_sessions.insert(record.closed.session, session);
        }
        if self.pending.sessions.len() < self.config.details_max {
            self.pending.sessions.push(record);
        } else {
            self.details_lost += 1;
        }
    }

    /// A session will not be resumed any more.
    pub fn forget_session(&mut self, session: SessionId) {
        self.ended_sessions.remove(&session);
    }
}
