//! Limits as operators see and set them, whoever holds them.

use super::Aggregator;
use super::views::contains;
use crate::handle::CommandError;
use crate::view::{HolderKind, LimitPage, LimitQuery, LimitSort, LimitState, LimitView};
use std::sync::Arc;
use tokenist_core::id::Holder;
use tokenist_core::ledger::Place;
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
        let (place, _) = self.open(holder, now)?;
        self.ledger.set_limit(place, limit, now);
        self.announce(place);
        self.publish();
        Ok(self.limit_view(self.ledger.record(place)))
    }

    pub(super) fn limit(&mut self, holder: Holder, now: Timestamp) -> LimitView {
        if let Some(place) = self.ledger.find(&holder) {
            self.ledger.advance(place, now);
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

    pub(super) fn limits(&mut self, query: &LimitQuery, now: Timestamp) -> LimitPage {
        let places: Vec<Place> = self.ledger.bound().filter(|&place| self.is_wanted(query, place)).collect();
        let total = places.len();
        let mut ranked = Vec::with_capacity(total);
        for place in places {
            let share = match query.sort {
                LimitSort::Holder => None,
                LimitSort::Used => self.share_of(place, now),
            };
            ranked.push((share, place));
        }
        let holder = |place: Place| self.ledger.record(place).holder();
        let in_order = |a: &(Option<u64>, Place), b: &(Option<u64>, Place)| {
            b.0.cmp(&a.0).then_with(|| holder(a.1).cmp(holder(b.1)))
        };
        // Only what is shown, and what comes before it, is put in order: reports wait meanwhile.
        let end = query.offset.saturating_add(query.limit);
        if end < total {
            ranked.select_nth_unstable_by(end, in_order);
            ranked.truncate(end);
        }
        ranked.sort_unstable_by(in_order);
        let shown: Vec<Place> = ranked.into_iter().skip(query.offset).map(|(_, place)| place).collect();
        shown.iter().for_each(|&place| self.ledger.advance(place, now));
        LimitPage {
            limits: shown.iter().map(|&place| self.limit_view(self.ledger.record(place))).collect(),
            total,
        }
    }

    /// What was used in a window that is over counts no longer.
    fn share_of(&mut self, place: Place, now: Timestamp) -> Option<u64> {
        self.ledger.advance(place, now);
        let record = self.ledger.record(place);
        share_used(&record.standing().limit, record.used())
    }

    fn is_wanted(&self, query: &LimitQuery, place: Place) -> bool {
        let record = self.ledger.record(place);
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
        let (standing, used) = (record.standing(), record.used());
        let percent = share_used(&standing.limit, used);
        let key = match record.holder() {
            Holder::Key(hash) => self.ledger.key(hash).map(|key| key.id.clone()),
            Holder::User(_) | Holder::Org(_) | Holder::Feature(_) => None,
        };
        LimitView {
            holder: record.holder().clone(),
            name: self.name_of(record),
            key,
            limit: standing.limit,
            limit_is_default: record.own_limit().is_none(),
            used,
            percent,
            state: LimitState::of(percent),
            resets_at: standing.resets_at,
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
