//! Which holders have slots, get one, and are forgotten for it.
//!
//! Start at [`Ledger::admit`]. A stranger is [received](Ledger::receive) and is kept apart: it takes no other
//! holder's slot, is not saved, and is gone with its session if that never begins. A holder that the store may know
//! is [absent](Ledger::is_absent) and has to be read back first: [`Ledger::welcome`].
//!
//! What an operator has set stays here for all: that of holders without a slot is on the shelf.
//!
//! Invariant: a holder that is forgotten is whole in the store, or has used nothing, so no budget is given twice.

use super::{Full, Ledger, Slot, Tenure};
use crate::authority::Membership;
use crate::batch::{HolderState, Recalled, Revision};
use crate::holder_index::HolderEntry;
use crate::id::{Holder, Identity, UserId};
use crate::limit::{Limit, RuleAction};
use crate::profile::Said;
use crate::record::{Applied, Consequence, Record};
use crate::time::Timestamp;
use std::ops::Bound::{Excluded, Unbounded};

/// How many over the bound are forgotten at once, so that an admission stays short.
const CATCH_UP_COUNT: usize = 4;
/// How many rule actions of absent holders are kept. Past it one holds from the next time that its rule renews it.
const RULE_ACTION_COUNT_MAX: usize = 1_000_000;

impl Ledger {
    /// Whether the store may know of the holder what is not known here.
    pub fn is_absent(&self, holder: &Holder) -> bool {
        self.config.reads_back && !self.is_whole && self.find(holder).is_none()
    }

    /// Finds a holder that is not absent, or gives it a slot, and lets its time pass. `is_free` tells of an
    /// idle holder whether no session holds its account and every charge of it has been applied.
    pub fn admit(
        &mut self,
        holder: &Holder,
        now: Timestamp,
        is_free: impl FnMut(Slot, Applied) -> bool,
    ) -> Result<Slot, Full> {
        let slot = match self.find(holder) {
            Some(slot) if !self.holders.entry(slot).is_tentative() => slot,
            found => {
                self.make_room(now, is_free)?;
                found.unwrap_or_else(|| self.assign_slot(holder, now))
            }
        };
        self.holders.establish(slot);
        self.use_slot(slot, now);
        Ok(slot)
    }

    /// As [`Ledger::admit`], but a holder without a slot is a stranger until it has used something, or its session
    /// has begun.
    pub fn receive(
        &mut self,
        holder: &Holder,
        now: Timestamp,
        mut is_free: impl FnMut(Slot, Applied) -> bool,
    ) -> Result<Slot, Full> {
        let slot = match self.find(holder) {
            Some(slot) => slot,
            None => {
                let is_gone =
                    |slot, entry: &HolderEntry| !entry.is_unsaved && is_free(slot, entry.record.applied());
                match self.holders.idle_stranger(is_gone) {
                    Some(slot) => self.vacate(slot, now),
                    None if self.holders.stranger_count() >= self.config.strangers_max => return Err(Full),
                    None => {}
                }
                self.assign_slot_as(holder, Tenure::Tentative, now)
            }
        };
        self.use_slot(slot, now);
        Ok(slot)
    }

    /// Gives a slot to a holder with what the store has of it.
    pub fn welcome(
        &mut self,
        recalled: &Recalled,
        now: Timestamp,
        is_free: impl FnMut(Slot, Applied) -> bool,
    ) -> Result<Slot, Full> {
        let holder = &recalled.state.holder;
        if let Some(slot) = self.find(holder) {
            return Ok(slot);
        }
        self.make_room(now, is_free)?;
        let slot = self.assign_slot(holder, now);
        self.take_over(recalled.state.clone(), now);
        for piece in &recalled.usage {
            self.put_back(slot, piece, now);
        }
        self.use_slot(slot, now);
        Ok(slot)
    }

    /// Whether nothing is known of the holder in that slot, but that a session of his may begin.
    pub fn is_stranger(&self, slot: Slot) -> bool {
        self.holders.entry(slot).is_tentative()
    }

    /// Something of a key's is about to begin for a user that is new: until it has, or has come to nothing, no other
    /// key speaks for him.
    pub fn expect(&mut self, user: Slot, identity: &Identity) {
        let said = self.said_of(identity);
        let entry = self.holders.entry_mut(user);
        entry.expected_in = identity.org.clone().filter(|_| said == Said::ByKeyOfOrg);
    }

    /// Where the user in that slot belongs.
    pub fn membership(&self, user: Slot) -> Membership<'_> {
        let entry = self.holders.entry(user);
        match entry.record.profile.member_of().or(entry.expected_in.as_ref()) {
            Some(org) => Membership::Of(org),
            None if entry.is_tentative() => Membership::New,
            None => Membership::Nowhere,
        }
    }

    /// By which right something is said in a session or a call of this identity.
    pub fn said_of(&self, identity: &Identity) -> Said {
        let Some(hash) = &identity.key else { return Said::Claimed };
        match self.key(hash).and_then(|key| key.org.as_ref()) {
            Some(own) if identity.org.as_ref() == Some(own) => Said::ByKeyOfOrg,
            Some(_) | None => Said::ByKey,
        }
    }

    /// Adds what others have set for the holder and the store may not have yet.
    pub fn complete(&self, recalled: &mut Recalled) {
        if let Some(state) = self.shelf.get(&recalled.state.holder) {
            recalled.state.join(state.clone());
        }
    }

    /// The record that a holder would have with what the store has of it. It is not given a slot.
    pub fn visitor(&self, recalled: &Recalled, now: Timestamp) -> Record {
        // What is on the shelf was joined before.
        let HolderState { holder, profile, limit, block } = recalled.state.clone();
        let mut record = self.stranger(holder.clone(), now);
        record.profile = profile.value;
        record.set_limit(limit.value, now);
        record.set_block(block.value, now);
        record.set_rule_action(self.rule_actions.get(&holder).cloned(), now);
        recalled.usage.iter().for_each(|piece| record.restore(piece.at, &piece.totals));
        record.advance(now);
        record
    }

    /// Whether one more can be given a slot, if need be in the place of another. Strangers that became known beyond
    /// the bound are made up for first.
    pub fn has_room(&mut self, now: Timestamp, mut is_free: impl FnMut(Slot, Applied) -> bool) -> bool {
        let max = self.config.holders_max;
        self.catch_up(max + 1, now, &mut is_free);
        let count = self.holders.established_count();
        count < max || count == max && self.somebody_idle(is_free).is_some()
    }

    /// Whether there are more than the bound allows.
    pub fn is_over_full(&self) -> bool {
        self.holders.established_count() > self.config.holders_max
    }

    /// Slots whose holders were forgotten since this was last asked. Ask before such a slot is used again.
    pub fn take_vacated(&mut self) -> Vec<Slot> {
        std::mem::take(&mut self.vacated)
    }

    /// So many batches are in the store. `is_awaited`: the store is being asked for what it has of this holder.
    pub fn committed(&mut self, batches: u64, is_awaited: impl Fn(&Holder) -> bool) {
        self.committed = batches;
        let shelf = &mut self.shelf;
        self.shelved.retain(|holder, batch| {
            if *batch > batches || is_awaited(holder) {
                return true;
            }
            if shelf.get(holder).is_some_and(|state| !state.binds()) {
                shelf.remove(holder);
            }
            false
        });
    }

    /// What is set for users without a slot that have a limit or a block, in order of id, from the first that comes
    /// after `after`.
    pub fn shelved_after(&self, after: Option<&UserId>) -> impl Iterator<Item = (&UserId, &HolderState)> {
        let after = after.map(|user| Holder::User(user.clone()));
        let later = self.shelf.range((after.map_or(Unbounded, Excluded), Unbounded));
        later.map_while(|(holder, state)| match holder {
            Holder::User(user) => Some((user, state)),
            Holder::Org(_) | Holder::Feature(_) | Holder::Key(_) => None,
        })
    }

    /// What rules say of a holder that may have no slot: of now, and neither saved nor shared.
    pub fn apply_rule_action(&mut self, holder: &Holder, rule_action: Option<RuleAction>, now: Timestamp) {
        match (self.find(holder), rule_action) {
            (Some(slot), rule_action) => self.set_rule_action(slot, rule_action, now),
            (None, Some(rule_action)) if self.rule_actions.len() < RULE_ACTION_COUNT_MAX => {
                self.rule_actions.insert(holder.clone(), rule_action);
            }
            (None, _) => drop(self.rule_actions.remove(holder)),
        }
    }

    /// Notes what is said of a user, and that there is such a user.
    pub fn introduce(&mut self, user: Slot, identity: &Identity, said: Said, now: Timestamp) {
        self.holders.establish(user);
        let entry = self.holders.entry_mut(user);
        entry.expected_in = None;
        let known = entry.revisions.profile;
        let is_news = entry.record.profile.learn(identity, said);
        if is_news || known == Revision::default() {
            entry.profile_unsaved = true;
            let next = Revision::after(self.revision, now, self.config.tag);
            let revision = said.revision(known, next, identity.org.as_ref(), now);
            entry.revisions.profile = revision;
            self.revision = self.revision.max(revision);
            self.save_later(user);
        }
    }

    /// Keeps for the store what others have set for a holder that gets no slot here for it.
    pub(super) fn leave_without_slot(&mut self, state: HolderState) {
        self.is_whole = false;
        self.revision = self.revision.max(state.revision());
        self.pending.holders.push(state.clone());
        self.shelved.insert(state.holder.clone(), self.batch);
        self.shelve(state);
    }

    pub(super) fn shelve(&mut self, state: HolderState) {
        let holder = state.holder.clone();
        let known = self.shelf.entry(holder.clone()).or_insert_with(|| HolderState::of(holder));
        known.join(state);
    }

    /// As [`Ledger::assign_slot`], but of an absent holder nothing is known that it could be given a slot with.
    pub(super) fn assign_slot_unless_absent(&mut self, holder: &Holder, now: Timestamp) -> Option<Slot> {
        (!self.is_absent(holder)).then(|| self.assign_slot(holder, now))
    }

    /// Gives a slot to a holder that has none, beyond the bound if need be.
    pub(super) fn assign_slot(&mut self, holder: &Holder, now: Timestamp) -> Slot {
        match self.find(holder) {
            Some(slot) => slot,
            None => self.assign_slot_as(holder, Tenure::Established, now),
        }
    }

    fn assign_slot_as(&mut self, holder: &Holder, tenure: Tenure, now: Timestamp) -> Slot {
        let slot = self.holders.insert(holder, tenure, self.default_limit(holder), now);
        if let Some(state) = self.shelf.remove(holder) {
            self.take_over(state, now);
            self.holders.entry_mut(slot).saved_by = self.shelved.get(holder).copied().unwrap_or(0);
        }
        if let Some(rule_action) = self.rule_actions.remove(holder) {
            self.set_rule_action(slot, Some(rule_action), now);
        }
        self.bound_key(slot, now);
        self.align(slot, now);
        self.touch(slot);
        self.conclude(slot, Consequence { publish: true, ..Consequence::default() });
        slot
    }

    fn use_slot(&mut self, slot: Slot, now: Timestamp) {
        self.holders.use_entry(slot);
        self.advance(slot, now);
        self.touch(slot);
    }

    /// Room for one more.
    fn make_room(&mut self, now: Timestamp, is_free: impl FnMut(Slot, Applied) -> bool) -> Result<(), Full> {
        self.catch_up(self.config.holders_max, now, is_free);
        if self.holders.established_count() < self.config.holders_max { Ok(()) } else { Err(Full) }
    }

    /// Forgets some until there are fewer than `count`, as far as they may be.
    fn catch_up(&mut self, count: usize, now: Timestamp, mut is_free: impl FnMut(Slot, Applied) -> bool) {
        for _ in 0..CATCH_UP_COUNT {
            if self.holders.established_count() < count {
                return;
            }
            let Some(slot) = self.somebody_idle(&mut is_free) else { return };
            self.vacate(slot, now);
        }
    }

    /// A holder that may be forgotten.
    fn somebody_idle(&mut self, mut is_free: impl FnMut(Slot, Applied) -> bool) -> Option<Slot> {
        let (reads_back, committed) = (self.config.reads_back, self.committed);
        self.holders.most_idle(|slot, entry| {
            let is_saved = !entry.is_unsaved && entry.saved_by <= committed;
            is_saved && (reads_back || !entry.record.must_stay()) && is_free(slot, entry.record.applied())
        })
    }

    fn vacate(&mut self, slot: Slot, now: Timestamp) {
        let entry = self.holders.entry(slot);
        let holder = entry.record.holder().clone();
        if let Some(rule_action) = entry.record.rule_action().cloned() {
            self.rule_actions.insert(holder, rule_action);
        }
        self.is_whole &= entry.is_tentative();
        let state = entry.state();
        if state.binds() {
            self.shelve(state);
        }
        self.strike_off(slot);
        self.holders.vacate(slot, now);
        self.vacated.push(slot);
    }

    pub(super) fn default_limit(&self, holder: &Holder) -> Limit {
        match holder {
            Holder::User(_) => self.config.default_limit.clone(),
            Holder::Org(_) | Holder::Feature(_) | Holder::Key(_) => Limit::default(),
        }
    }
}
