//! What must be true, whatever happens.
//!
//! Start at [`World::check`], which is called after every step. Other checks are made where something is decided: an
//! event is delivered, a session is refused or ended, a window has rolled, a process has begun.

use crate::amount::Amount;
use crate::books::{Booked, Books, is_about_in, is_in};
use crate::cast::{self, FIRST_KEY, HOLDER_COUNT, Party, USER_COUNT, Who};
use crate::life::DESK_MAX;
use crate::process::{Session, Unapplied};
use crate::shape::Keep;
use crate::world::{Instance, World};
use std::collections::BTreeSet;
use tokenist_core::batch::Stamped;
use tokenist_core::close_reason::CloseReason;
use tokenist_core::id::Holder;
use tokenist_core::key::Key;
use tokenist_core::limit::{Limit, WindowKind};
use tokenist_core::time::Timestamp;
use tokenist_core::totals::Totals;
use tokenist_core::verdict::{Verdict, judge};
use tokenist_handoff::{Account, KeyRefusal};

impl World {
    /// After every step, on every instance that runs.
    pub(crate) fn check(&mut self) {
        for at in self.running() {
            let unapplied = self.process(at).unapplied();
            self.check_accounts(at, &unapplied);
            self.check_sums(at, &unapplied);
            self.check_settings(at);
            self.check_bounds(at);
            // Who has no slot is looked for in the store, which takes its time.
            if self.shape.is_small && self.chance.once_in(16) {
                self.check_absent(at, &unapplied);
            }
        }
    }

    /// What was charged to an account is what the ledger has applied, what is on its way to it, and what is in flight.
    fn check_accounts(&self, at: usize, unapplied: &[Unapplied]) {
        let process = self.process(at);
        let ledger = process.aggregator.ledger();
        let (mut in_flight, mut foreseen) =
            ([Amount::default(); HOLDER_COUNT], [Amount::default(); HOLDER_COUNT]);
        let mut places = [0; USER_COUNT];
        for session in process.sessions() {
            for who in session.party.all() {
                in_flight[who] += session.in_flight();
                foreseen[who] += session.foreseen;
            }
            let user = session.party.all().next().expect("a session has a user");
            places[user] += u32::from(!session.live.lingers());
        }
        for who in 0..HOLDER_COUNT {
            let Some(slot) = ledger.find(cast::holder(who)) else { continue };
            let Some(account) = process.aggregator.account(slot) else { continue };
            let applied = ledger.record(slot).applied();
            let applied = Amount { nano: applied.cost, tokens: applied.tokens };
            let expected = applied + on_its_way(unapplied, who) + in_flight[who];
            assert_eq!(charged(account), expected, "charged to {:?} of {at}", cast::holder(who));
            let told = Amount { nano: account.cost.foreseen(), tokens: account.tokens.foreseen() };
            assert_eq!(told, foreseen[who], "foreseen for {:?}", cast::holder(who));
            if who < USER_COUNT {
                assert_eq!(account.sessions(), places[who], "sessions of {:?}", cast::holder(who));
            }
        }
    }

    /// What the ledger holds of somebody is what was booked, less what is on its way to it.
    fn check_sums(&self, at: usize, unapplied: &[Unapplied]) {
        let Instance { books, .. } = &self.instances[at];
        let ledger = self.process(at).aggregator.ledger();
        for who in 0..HOLDER_COUNT {
            let Some(slot) = ledger.find(cast::holder(who)) else { continue };
            let held = Amount::of(ledger.record(slot).totals(WindowKind::Total));
            let booked = books.kept(who);
            assert_eq!(held + on_its_way(unapplied, who), booked, "used by {:?} of {at}", cast::holder(who));
        }
    }

    /// Likewise of whoever has no slot: what the store has of it.
    fn check_absent(&self, at: usize, unapplied: &[Unapplied]) {
        let Instance { books, .. } = &self.instances[at];
        let ledger = self.process(at).aggregator.ledger();
        let absent = |who: &Who| ledger.is_absent(cast::holder(*who));
        let absent: Vec<Who> = (0..HOLDER_COUNT).filter(absent).collect();
        if absent.is_empty() {
            return;
        }
        let holders: Vec<Holder> = absent.iter().map(|&who| cast::holder(who).clone()).collect();
        for (who, recalled) in absent.into_iter().zip(self.recall(at, &holders, self.wall)) {
            let held: Amount = recalled.usage.iter().map(|piece| Amount::of(&piece.totals)).sum();
            let booked = books.kept(who);
            assert_eq!(held + on_its_way(unapplied, who), booked, "used by {:?}, absent", cast::holder(who));
        }
    }

    /// What was set holds, here and on whoever has heard of it.
    fn check_settings(&self, at: usize) {
        let Instance { books, .. } = &self.instances[at];
        let ledger = self.process(at).aggregator.ledger();
        for who in 0..HOLDER_COUNT {
            let Some(slot) = ledger.find(cast::holder(who)) else { continue };
            let record = ledger.record(slot);
            assert_eq!(
                record.own_limit(),
                books.limits[who].value.as_ref(),
                "limit of {:?} on {at}",
                cast::holder(who)
            );
            if who < USER_COUNT {
                let holds =
                    |now: Timestamp| books.blocks[who].value.as_ref().filter(|b| b.holds_at(now)).cloned();
                let block = record.block().filter(|block| block.holds_at(self.wall)).cloned();
                if !self.shape.clock_jumps {
                    assert_eq!(block, holds(self.wall), "block of {:?} on {at}", cast::holder(who));
                }
            }
        }
    }

    fn check_bounds(&self, at: usize) {
        let process = self.process(at);
        assert!(process.queue.borrow().len() <= self.shape.queue_max + 1);
        assert!(process.batches.len() <= 2 && process.desk.waiting_count() <= DESK_MAX);
        let sessions: usize = process.shards.iter().map(|shard| shard.sessions.len()).sum();
        let known = process.aggregator.ledger().known_count();
        let slots = process.aggregator.ledger().config().holders_max;
        // Strangers who begin to talk at once are given a slot beyond the bound until somebody can be forgotten.
        assert!(known <= slots + HOLDER_COUNT, "{known} have {slots} slots");
        for shard in &process.shards {
            let asked_count = shard.own.accounts.asked_count();
            assert_eq!(asked_count, shard.entering.len(), "who gave up is not waited for");
            let held_max = self.shape.held_max + 64 * (sessions + self.session_count as usize);
            let held = shard.own.held().len();
            assert!(held <= held_max, "{held} reports wait in a shard");
        }
    }

    /// The provider's figure, as the meter read it, is what the provider has stated.
    pub(crate) fn check_figure(&self, session: &Session, amount: Amount, is_estimated: bool) {
        if is_estimated {
            return;
        }
        let (mut call, tokens) = (session.call.borrow_mut(), amount.tokens as u64);
        let is_stated = call.responses.iter().any(|response| response.stated == Some(tokens));
        assert!(is_stated || call.is_slow, "{tokens} tokens were stated by nobody");
        call.metered_count += 1;
        let is_once = call.metered_count <= call.stated_count();
        assert!(is_once || call.is_slow, "{tokens} tokens are counted twice");
    }

    /// Why no event may be delivered in a session, by our own books.
    pub(crate) fn bar(&self, at: usize, session: &Session) -> Option<String> {
        if self.shape.clock_jumps {
            return None;
        }
        let Instance { books, .. } = &self.instances[at];
        let now = self.wall;
        for (who, account) in session.accounts() {
            if is_stale(account, now) {
                continue; // It is let go on until the aggregator has come to it.
            }
            let limit = self.limit(at, who);
            let used = books.kept_in(who, limit.window, now) + books.merged_in(who, limit.window, now);
            let in_flight: Amount = self.in_flight(at, who) + in_flight_of(session, who);
            if (used + in_flight).reaches(&limit) {
                return Some(format!("{:?} has reached {limit:?}", cast::holder(who)));
            }
            if who < USER_COUNT {
                let block = books.blocks[who].value.as_ref();
                let is_blocked = block.is_some_and(|block| block.holds_at(now)) || self.is_acted_on(at, who);
                if is_blocked {
                    return Some(format!("{:?} is blocked", cast::holder(who)));
                }
            }
            if who >= FIRST_KEY {
                let key = books.keys[who - FIRST_KEY].as_ref();
                if key.is_none_or(|key| key.value.revoked_at.is_some()) {
                    return Some("the key was revoked".into());
                }
            }
        }
        None
    }

    /// A session is ended: something has to say why.
    pub(crate) fn check_end(&self, at: usize, shard: usize, session: &Session, ending: &CloseReason) {
        let lasted = self.elapsed - session.began;
        match *ending {
            CloseReason::Killed | CloseReason::UpstreamFailed(_) => {}
            CloseReason::Draining => assert!(self.shard(at, shard).is_draining(), "nobody drains"),
            CloseReason::SessionTooLong { max_seconds: least }
            | CloseReason::SessionIdle { idle_seconds: least } => {
                assert!(lasted.as_secs() >= least, "it has lasted {lasted:?}");
            }
            CloseReason::LimitReached { .. } if session.was_over => {}
            _ => self.check_ending(at, session.party, ending),
        }
    }

    /// Whether one of them has used up a limit, by our own books.
    pub(crate) fn has_reached(&self, at: usize, party: Party) -> bool {
        party.all().any(|who| self.most_used(at, who).reaches(&self.limit(at, who)))
    }

    /// Somebody is refused or ended: our own books have to say why.
    pub(crate) fn check_ending(&self, at: usize, party: Party, ending: &CloseReason) {
        if self.shape.clock_jumps {
            return;
        }
        let now = self.wall;
        let user = party.all().next().expect("somebody is asked for");
        match ending {
            CloseReason::Blocked { .. } => {
                let block = self.instances[at].books.blocks[user].value.as_ref();
                let is_blocked = block.is_some_and(|block| block.holds_at(now)) || self.is_acted_on(at, user);
                assert!(is_blocked, "{:?} is not blocked", cast::holder(user));
            }
            CloseReason::LimitReached { .. } => {
                assert!(self.has_reached(at, party), "of {party:?} nobody has used up a limit: {ending:?}");
            }
            CloseReason::Unauthorized(_) => {
                let key = party.all().find(|&who| who >= FIRST_KEY).expect("a key was shown") - FIRST_KEY;
                let key = self.instances[at].books.keys[key].as_ref();
                assert!(key.is_none_or(|key| !key.value.holds_at(now)), "the key holds");
            }
            CloseReason::LimitUnsure => {
                assert!(self.process(at).is_lost_or_partitioned(), "the peers can be reached");
            }
            CloseReason::TooManySessions { .. } => {
                let most = self.limit(at, user).max_sessions.expect("it bounds its sessions") as usize;
                let has = |session: &&Session| session.party.has(user) && !session.live.lingers();
                assert!(self.process(at).sessions().filter(has).count() >= most, "there is a place");
            }
            other => panic!("no verdict says {other:?}"),
        }
    }

    /// By what was set when it was asked, if that has not changed since.
    pub(crate) fn check_key_refusal(
        &self,
        at: usize,
        key: usize,
        asked_of: Option<Stamped<Key>>,
        refusal: KeyRefusal,
    ) {
        let known = self.instances[at].books.keys[key].as_ref();
        let same = known.filter(|known| Some(*known) == asked_of.as_ref());
        match refusal {
            KeyRefusal::Unknown => assert!(asked_of.is_none(), "the key is known"),
            KeyRefusal::Ended => {
                let holds = same.is_some_and(|key| key.value.holds_at(self.wall));
                assert!(!holds || self.shape.clock_jumps, "the key holds");
            }
            KeyRefusal::OutOfScope => panic!("all of them are for sessions"),
            // Whom a key speaks for is asked elsewhere.
            KeyRefusal::Mute(_) => {}
        }
    }

    /// What all have used at most, as far as this instance can know it, and what it keeps for those it cannot hear.
    fn most_used(&self, at: usize, who: Who) -> Amount {
        let window = self.limit(at, who).window;
        let all: Amount = self.instances.iter().map(|one| one.books.most_in(who, window, self.wall)).sum();
        let process = self.process(at);
        let late: Amount = process
            .unapplied()
            .iter()
            .filter(|late| late.of.has(who) && !is_in(window, late.at, self.wall))
            .map(|late| late.amount)
            .sum();
        let ledger = process.aggregator.ledger();
        let reserve = ledger.find(cast::holder(who)).map_or(Amount::default(), |slot| {
            let record = ledger.record(slot);
            Amount::used(record.used()) - Amount::used(record.counted())
        });
        let held: Amount = self.in_flight(at, who) + self.taken_out(at, who);
        all + late + reserve + held
    }

    /// After the ledger let time pass, its windows hold what was booked in them.
    pub(crate) fn check_windows(&self, at: usize) {
        if self.shape.clock_jumps {
            return;
        }
        let Instance { books, start_count, .. } = &self.instances[at];
        let process = self.process(at);
        // What was read back is as coarse as its rows.
        let is_coarse = self.shape.is_small || *start_count > 1;
        let (ledger, unapplied, now) = (process.aggregator.ledger(), process.unapplied(), self.wall);
        for who in 0..HOLDER_COUNT {
            let Some(slot) = ledger.find(cast::holder(who)) else { continue };
            let record = ledger.record(slot);
            for window in WindowKind::ALL {
                let late = unapplied.iter().filter(|late| late.of.has(who) && is_in(window, late.at, now));
                let late: Amount = late.map(|late| late.amount).sum();
                let held = Amount::of(record.totals(window)) + late;
                let least = books.kept_in(who, window, now);
                let is_exact = window != WindowKind::Rolling24h || !is_coarse;
                let most = if is_exact { least } else { books.most_in(who, window, now) };
                assert!(
                    least.is_within(held) && held.is_within(most),
                    "{:?} {window:?} of {at}: {least:?} ≤ {held:?} ≤ {most:?}",
                    cast::holder(who)
                );
            }
            let limit = self.limit(at, who);
            let all: Amount =
                self.instances.iter().map(|one| one.books.most_in(who, limit.window, now)).sum();
            let counted = Amount::used(record.counted());
            assert!(
                counted.is_within(all),
                "{at} believes {counted:?} of {all:?} of {:?}",
                cast::holder(who)
            );
        }
    }

    /// What a process finds at its start is what was committed, once.
    pub(crate) fn check_restored(&mut self, at: usize) {
        self.check_sums(at, &[]);
        self.check_settings(at);
        if self.shape.clock_jumps && self.instances[at].kept.lasts() {
            self.check_restored_windows(at);
        }
        if self.shape.is_small && self.instances[at].kept.lasts() {
            self.check_absent(at, &[]);
        }
    }

    /// Windows of the calendar hold exactly what was booked in them, the rolling one not less, and nothing of what is
    /// more than an hour older: rows are as coarse as that. So wherever the clock has been set, nobody gets a budget
    /// twice.
    fn check_restored_windows(&self, at: usize) {
        let now = self.wall;
        let books = Books { booked: self.instances[at].books.restored_at(now), ..Books::default() };
        let ledger = self.process(at).aggregator.ledger();
        for who in 0..HOLDER_COUNT {
            let Some(slot) = ledger.find(cast::holder(who)) else { continue };
            // A clock that has stepped back by seconds over midnight is waited for.
            let midnight = now.next_day_start();
            let is_of = |booked: &&Booked| !booked.is_lost && booked.of.has(who);
            let is_ahead = books.booked.iter().filter(is_of).any(|booked| booked.at >= midnight);
            let now = if is_ahead { midnight } else { now };
            for window in WindowKind::ALL {
                let held = Amount::of(ledger.record(slot).totals(window));
                let least = books.kept_in(who, window, now);
                let about = |booked: &Booked| !booked.is_lost && is_about_in(window, booked.at, now);
                let most = books.sum(who, about);
                assert!(
                    least.is_within(held) && held.is_within(most),
                    "{:?} {window:?} of {at} restored: {least:?} ≤ {held:?} ≤ {most:?}",
                    cast::holder(who)
                );
            }
        }
    }

    /// At the end of a world all that is queued is written, and everybody knows what all have used.
    pub(crate) fn finish(&mut self) {
        for at in 0..self.instances.len() {
            if self.instances[at].process.is_none() {
                self.start(at);
            }
        }
        self.wall = self.wall.plus_ms(60_000);
        for at in self.running() {
            self.finish_process(at);
            self.check();
        }
        if self.shape.is_cluster() {
            self.settle_cluster();
            self.check();
            self.check_all_know();
        }
        if self.shape.keep == Keep::Mongo {
            self.settle_copies();
            self.check_copies();
        }
        for at in self.running() {
            self.finish_process(at);
            self.check();
            self.check_verdicts(at);
            self.check_lists(at);
            self.check_store(at);
        }
    }

    /// Each instance knows what all have booked, where they ask about the same window.
    fn check_all_know(&self) {
        for who in 0..USER_COUNT {
            let windows: BTreeSet<WindowKind> =
                self.running().into_iter().map(|at| self.limit(at, who).window).collect();
            let [window] = Vec::from_iter(windows)[..] else { continue };
            let is_bounded = |at: usize| {
                self.limit(at, who).max_cost.is_some() || self.limit(at, who).max_tokens.is_some()
            };
            if self.shape.clock_jumps || self.shape.is_small || !self.running().into_iter().all(is_bounded) {
                continue;
            }
            let kept = |one: &Instance| one.books.kept_in(who, window, self.wall);
            let least: Amount = self.instances.iter().map(kept).sum();
            let most: Amount =
                self.instances.iter().map(|one| one.books.most_in(who, window, self.wall)).sum();
            for at in self.running() {
                let ledger = self.process(at).aggregator.ledger();
                let Some(slot) = ledger.find(cast::holder(who)) else { continue };
                let counted = Amount::used(ledger.record(slot).counted());
                assert!(
                    least.is_within(counted) && counted.is_within(most),
                    "{at} knows {counted:?} of {:?}, not {least:?} to {most:?}",
                    cast::holder(who)
                );
            }
        }
    }

    /// With nothing on its way, an account is reached exactly where the verdict is no.
    fn check_verdicts(&mut self, at: usize) {
        let now = self.ledger_now(at);
        let aggregator = &mut self.process_mut(at).aggregator;
        aggregator.tick(now);
        let aggregator = &self.process(at).aggregator;
        let ledger = aggregator.ledger();
        for who in 0..HOLDER_COUNT {
            let Some(slot) = ledger.find(cast::holder(who)) else { continue };
            let Some(account) = aggregator.account(slot) else { continue };
            let record = ledger.record(slot);
            let is_barred = matches!(judge(record.account_state(), record.used(), now), Verdict::Block(_));
            assert_eq!(account.reached(), is_barred, "{:?}", cast::holder(who));
        }
    }

    /// Whoever is blocked or has a limit of its own is listed, and nobody else.
    fn check_lists(&self, at: usize) {
        let ledger = self.process(at).aggregator.ledger();
        // A rule may act on somebody of whom nothing else is known.
        let users = (0..USER_COUNT).filter_map(|who| ledger.find(cast::holder(who)));
        let blocked = users.filter(|&slot| ledger.record(slot).account_state().block.is_some());
        let listed = ledger.blocked_after(None).map(|(_, slot)| slot);
        assert_eq!(listed.collect::<Vec<_>>(), blocked.collect::<Vec<_>>());
        let known = (0..HOLDER_COUNT).map(cast::holder).filter(|holder| {
            ledger.find(holder).is_some_and(|slot| ledger.record(slot).own_limit().is_some())
        });
        let bound: BTreeSet<&Holder> = known.collect();
        assert!(ledger.bound_after(None).map(|(holder, _)| holder).eq(bound));
    }

    /// Everything that was booked is in the store, once, or was said to be left out.
    fn check_store(&mut self, at: usize) {
        self.check_events(at);
        self.check_reopened(at);
    }

    fn check_events(&mut self, at: usize) {
        let Instance { books, kept, process, .. } = &self.instances[at];
        let process = process.as_ref().expect("it runs");
        let Some(events) = kept.events(&*process.store) else { return };
        let numbers: BTreeSet<u64> = events.iter().filter_map(|event| event.delta.latency_ms).collect();
        assert_eq!(numbers.len(), events.len(), "an event is written once");
        if process.aggregator.ledger().details_lost() > 0 {
            return self.coverage.note("details left out and said so");
        }
        let kept = books.booked.iter().filter(|booked| !booked.is_lost);
        let written: Amount = events.iter().map(|event| Amount::of(&Totals::of(&event.delta))).sum();
        assert_eq!(
            written,
            kept.clone().map(|booked| booked.amount).sum(),
            "all that was booked is an event"
        );
        if !self.shape.adds_up() {
            assert!(numbers.into_iter().eq(kept.map(|booked| booked.number)), "each is there, and no other");
        }
    }

    /// And the next process finds it.
    fn check_reopened(&mut self, at: usize) {
        if !self.instances[at].kept.lasts() {
            return;
        }
        let now = self.wall;
        let Instance { books, kept, process, .. } = &mut self.instances[at];
        drop(process.take());
        let mut opened = kept.open(&self.mongo);
        let restored = opened.store().restore(now, usize::MAX).expect("it can be read");
        for who in 0..HOLDER_COUNT {
            let pieces = restored.usage.iter().filter(|piece| piece.holder == *cast::holder(who));
            let held: Amount = pieces.map(|piece| Amount::of(&piece.totals)).sum();
            assert_eq!(held, books.kept(who), "what the store has of {:?}", cast::holder(who));
        }
    }

    fn limit(&self, at: usize, who: Who) -> Limit {
        let own = self.instances[at].books.limits[who].value.clone();
        let default = if who < USER_COUNT { self.shape.default_limit.clone() } else { Limit::default() };
        own.unwrap_or(default)
    }

    fn is_acted_on(&self, at: usize, user: Who) -> bool {
        let rule_action = self.instances[at].books.rule_actions[user].as_ref();
        rule_action
            .is_some_and(|rule_action| rule_action.reason.is_some() && self.wall < rule_action.expires_at)
    }

    fn in_flight(&self, at: usize, who: Who) -> Amount {
        self.process(at).sessions().map(|session| in_flight_of(session, who)).sum()
    }

    /// In flight of sessions that somebody looks at just now, as their account tells.
    fn taken_out(&self, at: usize, who: Who) -> Amount {
        let process = self.process(at);
        let ledger = process.aggregator.ledger();
        let Some(slot) = ledger.find(cast::holder(who)) else { return Amount::default() };
        let Some(account) = process.aggregator.account(slot) else { return Amount::default() };
        let applied = ledger.record(slot).applied();
        let known = Amount { nano: applied.cost, tokens: applied.tokens }
            + on_its_way(&process.unapplied(), who)
            + self.in_flight(at, who);
        charged(account) - known
    }
}

fn in_flight_of(session: &Session, who: Who) -> Amount {
    if session.party.has(who) { session.in_flight() } else { Amount::default() }
}

fn on_its_way(unapplied: &[Unapplied], who: Who) -> Amount {
    unapplied.iter().filter(|late| late.of.has(who)).map(|late| late.amount).sum()
}

fn charged(account: &Account) -> Amount {
    Amount { nano: account.cost.charged(), tokens: account.tokens.charged() }
}

/// The aggregator has yet to move this account on: its window is over, or its block.
fn is_stale(account: &Account, now: Timestamp) -> bool {
    let state = account.state();
    let has_ended = state.resets_at.is_some_and(|end| now >= end);
    has_ended || state.block.as_ref().is_some_and(|block| !block.holds_at(now))
}
