//! Who is known, blocked or bound, and what is live, in order: lists that are kept, so that nobody looks among all.

use super::{Ledger, LiveSession, Slot};
use crate::id::{Holder, SessionId, UserId};
use std::ops::Bound::{Excluded, Unbounded};

impl Ledger {
    /// Users in order of id, from the first that comes after `after`. Strangers are not among them.
    pub fn users_after(&self, after: Option<&UserId>) -> impl Iterator<Item = (&UserId, Slot)> {
        self.holders.users_after(after)
    }

    /// Holders that have a limit of their own, in order, from the first that comes after `after`.
    pub fn bound_after(&self, after: Option<&Holder>) -> impl Iterator<Item = (&Holder, Slot)> {
        let from = after.map_or(Unbounded, Excluded);
        self.bound.range::<Holder, _>((from, Unbounded)).map(|(holder, &slot)| (holder, slot))
    }

    /// Users that are blocked, by an operator or a rule, in order of id, from the first that comes after `after`. Whose
    /// block ends now is among them until the next tick.
    pub fn blocked_after(&self, after: Option<&UserId>) -> impl Iterator<Item = (&UserId, Slot)> {
        let from = after.map_or(Unbounded, Excluded);
        self.blocked.range::<UserId, _>((from, Unbounded)).map(|(user, &slot)| (user, slot))
    }

    pub fn blocked_count(&self) -> usize {
        self.blocked.len()
    }

    /// Live sessions in order of id, from the first that comes after `after`.
    pub fn sessions_after(&self, after: Option<SessionId>) -> impl Iterator<Item = &LiveSession> {
        let from = after.map_or(Unbounded, Excluded);
        self.sessions.range((from, Unbounded)).map(|(_, session)| &**session)
    }

    pub fn session(&self, session: SessionId) -> Option<&LiveSession> {
        self.sessions.get(&session).map(Box::as_ref)
    }

    pub fn session_count(&self) -> usize {
        self.sessions.len()
    }

    pub fn user_count(&self) -> usize {
        self.holders.user_count()
    }

    /// Users, orgs, features and keys, but for strangers.
    pub fn known_count(&self) -> usize {
        self.holders.established_count()
    }

    /// Brings the lists of blocked users and bound holders up to date.
    pub(super) fn list(&mut self, slot: Slot) {
        let entry = self.holders.entry_mut(slot);
        let (is_blocked, is_bound) =
            (entry.record.account_state().block.is_some(), entry.record.own_limit().is_some());
        if (entry.is_blocked, entry.is_bound) == (is_blocked, is_bound) {
            return;
        }
        (entry.is_blocked, entry.is_bound) = (is_blocked, is_bound);
        let holder = entry.record.holder();
        match entry.is_bound {
            true => drop(self.bound.insert(holder.clone(), slot)),
            false => drop(self.bound.remove(holder)),
        }
        let Holder::User(user) = holder else { return };
        match entry.is_blocked {
            true => drop(self.blocked.insert(user.clone(), slot)),
            false => drop(self.blocked.remove(user)),
        }
    }

    /// A holder that is forgotten is listed no more.
    pub(super) fn strike_off(&mut self, slot: Slot) {
        let entry = self.holders.entry(slot);
        let holder = entry.record.holder();
        if entry.is_bound {
            self.bound.remove(holder);
        }
        if let Holder::User(user) = holder
            && entry.is_blocked
        {
            self.blocked.remove(user);
        }
    }
}
