//! Limits as operators see and set them, of every kind of holder.

use super::Aggregator;
use super::turn::Turn;
use super::views::contains;
use crate::command::{PORTION_MAX, Portion};
use crate::error::CommandError;
use crate::view::{HolderKind, LimitQuery, LimitSort, LimitState, LimitView};
use std::sync::Arc;
use tokenist_core::id::Holder;
use tokenist_core::ledger::Slot;
use tokenist_core::limit::Limit;
use tokenist_core::record::Record;
use tokenist_core::time::Timestamp;
use tokenist_core::verdict::{Used, share_used};

impl Aggregator {
    /// Replaces a holder's limit, or with `None` returns it to the default.
    pub fn bind(
        &mut self,
        holder: &Holder,
        limit: Option<Limit>,
        now: Timestamp,
    ) -> Result<LimitView, CommandError> {
        let (slot, _) = self.assign_slot(holder, now)?;
        self.ledger.set_limit(slot, limit, now);
        self.announce(slot);
        self.publish();
        Ok(self.limit_view(self.ledger.record(slot)))
    }

    pub(super) fn limit(&mut self, holder: Holder, now: Timestamp) -> LimitView {
        if let Some(slot) = self.ledger.find(&holder) {
            self.ledger.advance(slot, now);
        }
        let record = self.known_or_stranger(holder, now);
        self.limit_view(&record)
    }

    /// How a holder would stand under another limit.
    pub(super) fn try_limit(&mut self, holder: Holder, limit: Limit, now: Timestamp) -> LimitView {
        let view = self.limit(holder.clone(), now);
        let record = self.known_or_stranger(holder, now);
        let is_same_window = limit.window == view.limit.window;
        // The others' sums are known for the window that is limited now.
        let used = if is_same_window { view.used } else { Used::of(record.totals(limit.window)) };
        let percent = share_used(&limit, used);
        let resets_at = if is_same_window { view.resets_at } else { record.window_end(limit.window) };
        LimitView {
            limit,
            limit_is_default: false,
            used,
            percent,
            state: LimitState::of(percent),
            resets_at,
            ..view
        }
    }

    pub(super) fn limits(
        &mut self,
        query: &LimitQuery,
        after: Option<&Holder>,
        turn: &Turn<'_>,
        now: Timestamp,
    ) -> Portion<(Option<u64>, Holder), Holder> {
        let bound = self.ledger.bound_after(after);
        let cursor = |(holder, _): (&Holder, Slot)| holder.clone();
        let wanted =
            |(holder, slot): (&Holder, Slot)| self.is_wanted(query, slot).then(|| (holder.clone(), slot));
        let portion = turn.portion(bound, PORTION_MAX, cursor, wanted);
        portion.map(|(holder, slot)| match query.sort {
            LimitSort::Holder => (None, holder),
            LimitSort::Used => (self.share_of(slot, now), holder),
        })
    }

    pub(super) fn limit_views(&mut self, holders: Vec<Holder>, now: Timestamp) -> Vec<LimitView> {
        holders.into_iter().map(|holder| self.limit(holder, now)).collect()
    }

    /// What was used in a window that is over counts no longer.
    fn share_of(&mut self, slot: Slot, now: Timestamp) -> Option<u64> {
        self.ledger.advance(slot, now);
        let record = self.ledger.record(slot);
        share_used(&record.account_state().limit, record.used())
    }

    fn is_wanted(&self, query: &LimitQuery, slot: Slot) -> bool {
        let record = self.ledger.record(slot);
        let (kind, id) = match record.holder() {
            Holder::User(user) => (HolderKind::User, user.as_str()),
            Holder::Org(org) => (HolderKind::Org, org.as_str()),
            Holder::Feature(feature) => (HolderKind::Feature, feature.as_str()),
            Holder::Key(hash) => (HolderKind::Key, self.ledger.key(hash).map_or("", |key| key.id.as_str())),
        };
        let found = |search: &String| {
            contains(id, search) || self.name_of(record).is_some_and(|name| contains(&name, search))
        };
        query.kind.is_none_or(|wanted| wanted == kind) && query.search.as_ref().is_none_or(found)
    }

    pub(super) fn limit_view(&self, record: &Record) -> LimitView {
        let (state, used) = (record.account_state(), record.used());
        let percent = share_used(&state.limit, used);
        let key = match record.holder() {
            Holder::Key(hash) => self.ledger.key(hash).map(|key| key.id.clone()),
            Holder::User(_) | Holder::Org(_) | Holder::Feature(_) => None,
        };
        LimitView {
            holder: record.holder().clone(),
            name: self.name_of(record),
            key,
            limit: state.limit.clone(),
            limit_is_default: record.own_limit().is_none(),
            used,
            percent,
            state: LimitState::of(percent),
            resets_at: state.resets_at,
        }
    }

    fn name_of(&self, record: &Record) -> Option<Arc<str>> {
        match record.holder() {
            Holder::User(_) => record.profile.name.clone(),
            Holder::Org(_) | Holder::Feature(_) => None,
            Holder::Key(hash) => self.ledger.key(hash).map(|key| Arc::clone(&key.name)),
        }
    }
}
