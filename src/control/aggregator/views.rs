//! Users, sessions and keys as operators see them, and how the aggregator does.

use super::Aggregator;
use super::turn::Turn;
use crate::command::{PORTION_MAX, Portion};
use crate::ranking::{Rank, RankSlice};
use crate::view::{KeyQuery, ModelTotals, SessionView, Stats, UserFilter, UserQuery, UserView};
use std::sync::Arc;
use std::time::Instant;
use tokenist_core::batch::Profile;
use tokenist_core::catalog::Entry;
use tokenist_core::id::{Holder, OrgId, SessionId, UserId};
use tokenist_core::key::Key;
use tokenist_core::ledger::{KeyPosition, LiveSession, Slot};
use tokenist_core::limit::{Block, Mode, WindowKind};
use tokenist_core::record::Record;
use tokenist_core::time::Timestamp;
use tokenist_core::verdict::used_up;

impl Aggregator {
    pub(super) fn users(
        &mut self,
        query: &UserQuery,
        after: Option<&UserId>,
        room: usize,
        turn: &Turn<'_>,
        now: Timestamp,
    ) -> Portion<UserView, UserId> {
        let pick =
            |(user, slot): (&UserId, Slot)| self.admits(&query.filter, user, slot, now).then_some(slot);
        let cursor = |(user, _): (&UserId, Slot)| user.clone();
        // Blocked users are found without a look at all others.
        let portion = match query.filter.blocked {
            true => turn.portion(self.ledger.blocked_after(after), room, cursor, pick),
            false => turn.portion(self.ledger.users_after(after), room, cursor, pick),
        };
        portion.found.iter().for_each(|&slot| self.ledger.advance(slot, now));
        portion.map(|slot| self.user_view(slot, query.window))
    }

    /// Looks at the next users in order of id, and tells which of them the page may show.
    pub(super) fn rank(
        &mut self,
        slice: &RankSlice,
        turn: &Turn<'_>,
        now: Timestamp,
    ) -> Portion<Rank, UserId> {
        let users = self.ledger.users_after(slice.from.as_ref());
        let pick =
            |(user, slot): (&UserId, Slot)| self.admits(&slice.query.filter, user, slot, now).then_some(slot);
        let Portion { found, next } =
            turn.portion(users, PORTION_MAX, |(user, _): (&UserId, Slot)| user.clone(), pick);
        let mut ranks = Vec::new();
        for slot in found {
            self.ledger.advance(slot, now);
            let record = self.ledger.record(slot);
            let user = user_id(record);
            let window = slice.query.window.unwrap_or(record.account_state().limit.window);
            let mut totals = *record.totals(window);
            if let Some(stored) = slice.stored.get(user) {
                totals = totals.join(*stored);
            }
            let figure = slice.query.figure(&totals);
            if slice.wants(figure, user) {
                ranks.push(Rank { figure, user: user.clone() });
            }
        }
        slice.query.keep_first(&mut ranks);
        Portion { found: ranks, next }
    }

    /// `None`: the user is not known.
    pub(super) fn user(
        &mut self,
        user: UserId,
        window: Option<WindowKind>,
        now: Timestamp,
    ) -> Option<UserView> {
        let holder = Holder::User(user);
        match self.ledger.find(&holder).filter(|&slot| !self.ledger.is_stranger(slot)) {
            Some(slot) => {
                self.ledger.advance(slot, now);
                Some(self.user_view(slot, window))
            }
            None => self.visitor(&holder).map(|record| self.view(record, window)),
        }
    }

    /// Of those that are known.
    pub(super) fn views(
        &mut self,
        users: Vec<UserId>,
        window: Option<WindowKind>,
        now: Timestamp,
    ) -> Vec<UserView> {
        let slots: Vec<Slot> =
            users.into_iter().filter_map(|user| self.ledger.find(&Holder::User(user))).collect();
        for &slot in &slots {
            self.ledger.advance(slot, now);
        }
        slots.into_iter().map(|slot| self.user_view(slot, window)).collect()
    }

    pub(super) fn profiles(&self, users: Vec<UserId>) -> Vec<Profile> {
        let profile = |user| {
            let slot = self.ledger.find(&Holder::User(user));
            slot.map(|slot| self.ledger.record(slot).profile.clone()).unwrap_or_default()
        };
        users.into_iter().map(profile).collect()
    }

    pub(super) fn names(&self, users: Vec<UserId>) -> Vec<Option<Arc<str>>> {
        let name = |user| self.ledger.record(self.ledger.find(&Holder::User(user))?).profile.name.clone();
        users.into_iter().map(name).collect()
    }

    pub(super) fn models(&self, user: UserId) -> Vec<ModelTotals> {
        let Some(slot) = self.ledger.find(&Holder::User(user.clone())) else { return Vec::new() };
        let mut models: Vec<ModelTotals> = Vec::new();
        for series in self.ledger.series(slot) {
            // A user's orgs are told apart in the store, not here.
            match models.iter_mut().find(|sum| sum.model == series.model && sum.feature == series.feature) {
                Some(sum) => sum.totals += series.totals,
                None => models.push(ModelTotals {
                    user: user.clone(),
                    feature: series.feature.clone(),
                    model: series.model.clone(),
                    totals: series.totals,
                }),
            }
        }
        models.sort_by(|a, b| (&a.model, &a.feature).cmp(&(&b.model, &b.feature)));
        models
    }

    pub(super) fn blocked(
        &self,
        after: Option<&UserId>,
        turn: &Turn<'_>,
        now: Timestamp,
    ) -> Portion<(UserId, Block), UserId> {
        let with_slot = self.ledger.blocked_after(after);
        let with_slot = with_slot.map(|(user, slot)| (user, holding_block(self.ledger.record(slot), now)));
        let absent = self
            .ledger
            .shelved_after(after)
            .map(|(user, state)| (user, state.block.value.as_ref().filter(|block| block.holds_at(now))));
        turn.portion(
            in_order(with_slot, absent),
            PORTION_MAX,
            |(user, _)| user.clone(),
            |(user, block)| Some((user.clone(), block?.clone())),
        )
    }

    pub(super) fn sessions(
        &self,
        after: Option<SessionId>,
        turn: &Turn<'_>,
        now: Timestamp,
    ) -> Portion<SessionView, SessionId> {
        let sessions = self.ledger.sessions_after(after);
        let cursor = |session: &LiveSession| session.opened.session;
        turn.portion(sessions, PORTION_MAX, cursor, |session| Some(session_view(session, now)))
    }

    pub(super) fn keys(
        &self,
        query: &KeyQuery,
        after: Option<&KeyPosition>,
        turn: &Turn<'_>,
    ) -> Portion<Key, KeyPosition> {
        // An account says the ids of its org's name space bare.
        let is_of = |key: &Key, user: &UserId| match (&key.user, &query.account) {
            (Some(bound), Some(_)) => bound.bare() == user.as_str(),
            (Some(bound), None) => bound == user,
            (None, _) => false,
        };
        let wanted = |key: &Key| {
            query.user.as_ref().is_none_or(|user| is_of(key, user))
                && query.org.as_ref().is_none_or(|org| key.org.as_ref() == Some(org))
                && query.account.as_ref().is_none_or(|account| key.account.as_ref() == Some(account))
                && (query.maker.is_none() || query.maker == key.maker())
                && query.holds_at.is_none_or(|at| key.holds_at(at))
        };
        let cursor = |(slot, _): (&KeyPosition, &Key)| slot.clone();
        let keys = self.ledger.keys_after(after);
        turn.portion(keys, PORTION_MAX, cursor, |(_, key)| wanted(key).then(|| key.clone()))
    }

    pub(super) fn entries(
        &self,
        kind: &str,
        after: Option<&Arc<str>>,
        turn: &Turn<'_>,
    ) -> Portion<Entry, Arc<str>> {
        let cursor = |entry: &Entry| Arc::clone(&entry.id.id);
        let entries = self.ledger.entries_after(kind, after);
        turn.portion(entries, PORTION_MAX, cursor, |entry| entry.value.is_some().then(|| entry.clone()))
    }

    pub(super) fn stats(&self, reports_waiting: usize, now: Timestamp) -> Stats {
        Stats {
            users: self.ledger.user_count(),
            users_max: self.users_max,
            holders: self.ledger.known_count(),
            is_full: self.slots.is_full,
            refused_full: self.slots.refused,
            holders_recalled: self.slots.recalled,
            keys: self.ledger.key_count(),
            keys_max: self.ledger.config().keys_max,
            entries: self.ledger.entry_count(),
            entries_max: self.ledger.config().entries_max,
            details_lost: self.ledger.details_lost(),
            sessions: self.ledger.session_count(),
            refused_recently: self.ledger.refusals().recent(now),
            refusals_unrecorded: self.ledger.refusals().unrecorded(),
            blocked: self.ledger.blocked_count(),
            reports_applied: self.reports_applied,
            reports_waiting,
            store_failing: self.saving.is_failing(),
            store_failure: self.saving.failure(),
            batches_committed: self.saving.done(),
            journal_failure: self.journal.failure(),
            journal_skipped: self.journal.skipped(),
            journal_rebooked: self.journal.rebooked(),
            lag: self.saving.lag.view(Instant::now()),
            threads: Vec::new(), // The handle looks at them.
            replication_failure: self.replication.as_ref().and_then(|replication| replication.failure()),
            replication_waiting: self.replication.as_ref().map(|replication| replication.waiting()),
            redis_failing: self.cluster_failure().is_some(),
            redis_failure: self.cluster_failure().map(str::to_owned),
            instances: self.instance_count(),
        }
    }

    fn admits(&self, filter: &UserFilter, user: &UserId, slot: Slot, now: Timestamp) -> bool {
        let record = self.ledger.record(slot);
        let profile = &record.profile;
        let texts = [Some(user.as_str()), profile.email.as_deref(), profile.name.as_deref()];
        let found = |search: &str| texts.into_iter().flatten().any(|text| contains(text, search));
        // Its members, users of its name space, and users with usage under it, as is known here or was
        // in the store.
        let is_of = |org: &OrgId| {
            profile.org.as_ref() == Some(org)
                || user.space().as_ref() == Some(org)
                || filter.recorded.contains(user)
                || self.ledger.series(slot).iter().any(|series| series.org() == Some(org))
        };
        filter.org.as_ref().is_none_or(is_of)
            && filter.search.as_deref().is_none_or(found)
            && (!filter.blocked || holding_block(record, now).is_some())
            && (!filter.by_default || record.own_limit().is_none())
    }

    pub(super) fn user_view(&self, slot: Slot, window: Option<WindowKind>) -> UserView {
        self.view(self.ledger.record(slot), window)
    }

    pub(super) fn view(&self, record: &Record, window: Option<WindowKind>) -> UserView {
        let state = record.account_state();
        let slot = self.ledger.find(record.holder());
        let account = slot.and_then(|slot| self.accounts.find(slot));
        UserView {
            user: user_id(record).clone(),
            org: record.profile.org.clone(),
            member_of: record.profile.member_of().cloned(),
            email: record.profile.email.clone(),
            name: record.profile.name.clone(),
            totals: *record.totals(window.unwrap_or(state.limit.window)),
            under_way: slot.map(|slot| self.accounts.under_way(slot, record.applied())).unwrap_or_default(),
            limit: state.limit.clone(),
            limit_is_default: record.own_limit().is_none(),
            resets_at: state.resets_at,
            reached: used_up(&state.limit, record.used()).filter(|_| state.limit.mode == Mode::Enforce),
            block: state.block.clone(),
            sessions: account.map_or(0, |account| account.sessions()),
        }
    }
}

/// Two lists in order of user as one.
fn in_order<'a, T: Copy>(
    one: impl Iterator<Item = (&'a UserId, T)>,
    other: impl Iterator<Item = (&'a UserId, T)>,
) -> impl Iterator<Item = (&'a UserId, T)> {
    let (mut one, mut other) = (one.peekable(), other.peekable());
    std::iter::from_fn(move || match (one.peek(), other.peek()) {
        (Some((first, _)), Some((second, _))) if first > second => other.next(),
        (Some(_), _) => one.next(),
        (None, _) => other.next(),
    })
}

fn user_id(record: &Record) -> &UserId {
    match record.holder() {
        Holder::User(user) => user,
        Holder::Org(_) | Holder::Feature(_) | Holder::Key(_) => unreachable!("only users are listed"),
    }
}

pub(super) fn holding_block(record: &Record, now: Timestamp) -> Option<&Block> {
    record.account_state().block.as_ref().filter(|block| block.holds_at(now))
}

pub(super) fn session_view(session: &LiveSession, now: Timestamp) -> SessionView {
    SessionView {
        session: session.opened.session,
        identity: Arc::clone(&session.opened.identity),
        provider: Arc::clone(&session.opened.provider),
        model: session.opened.model.clone(),
        opened_at: session.opened.at,
        transport: session.opened.transport,
        call: session.opened.call.clone(),
        hangup_fails: session.hangup_fails,
        totals: session.totals,
        cost_last_minute: session.last_minute.sum(now),
    }
}

/// Whether `text` contains `part`, ignoring ASCII case.
pub(super) fn contains(text: &str, part: &str) -> bool {
    let (text, part) = (text.as_bytes(), part.as_bytes());
    let Some(first) = part.first().map(u8::to_ascii_lowercase) else { return true };
    // Most bytes are not the first one that is looked for, and a million users may be looked through.
    let begins = |start: &usize| text[*start].to_ascii_lowercase() == first;
    let last = (text.len() + 1).saturating_sub(part.len());
    (0..last).filter(begins).any(|start| text[start..start + part.len()].eq_ignore_ascii_case(part))
}
