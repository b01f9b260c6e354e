//! Shards, the aggregator and a faulty store under one virtual clock, one random step after another.
//!
//! After every step: what shards have metered is what the ledger holds plus what is still on its way. While the clock
//! only moves forward: no shard may charge a user who is blocked or has reached a limit by the simulation's own books,
//! so a limit is passed by the one event that crosses it. At the end, everything is in the store, once. A kill loses
//! nothing that was metered, unless the journal had no room for it, and a start that is killed as well repeats nothing;
//! settings are those that had been committed, and the books go on with that. In a ledger of few seats users are
//! forgotten all the time and read back as they come, late or in vain, and all of this holds all the same.
//!
//! A failing seed is printed; `TOKENIST_SEED=… cargo test -p tokenist-control --test simulation` runs it alone.

mod books;
mod chance;
mod faulty;

use books::{Books, Metered};
use chance::{Random, Seed, seeds};
use faulty::{Fault, Faulty};
use std::cell::Cell;
use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokenist_control::clock::Clock;
use tokenist_control::store::{Memory, Sqlite, Store, StoreError, memory, sqlite};
use tokenist_control::{Aggregator, rebook};
use tokenist_core::batch::{Batch, Recalled};
use tokenist_core::close::Ending;
use tokenist_core::id::{Holder, Identity, SessionId, UserId};
use tokenist_core::journal;
use tokenist_core::ledger::{Config, Ledger};
use tokenist_core::limit::{Block, Limit, Mode, OnRedisDown, WindowKind};
use tokenist_core::message::{Closed, Delta, Opened};
use tokenist_core::money::NanoUsd;
use tokenist_core::time::{DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, Timestamp};
use tokenist_core::usage::Usage;
use tokenist_core::verdict::{Used, Verdict, judge};
use tokenist_handoff::{
    Account, Admission, Admitted, Answer, Charge, Lane, Mailbox, Order, Reach, Report, Sender, mailbox,
};

/// 2026-11-30T21:00:00Z: three hours from the end of a day and a month.
const START: Timestamp = Timestamp(1_796_072_400_000);

const USERS: [&str; 5] = ["alice", "bob", "carol", "dave", "erin"];
const SHARD_COUNT: usize = 3;
const STEP_COUNT: usize = 3_000;
const REPORT_QUEUE: usize = 20;
const MAILBOX_SIZE: usize = 4;
/// Some fifty responses, so that lanes go round, and are full now and then.
const LANE_BYTES: u64 = 4_096;
const DEFAULT_LIMIT: Limit = Limit {
    max_cost: Some(NanoUsd(2_000)),
    max_tokens: None,
    window: WindowKind::Daily,
    mode: Mode::Enforce,
    max_sessions: None,
    on_redis_down: OnRedisDown::LocalShare,
};

#[test]
fn what_is_metered_is_in_the_ledger_and_in_the_store_while_the_clock_moves_forward() {
    play(0..40, Mishap::None, |sim| {
        sim.check_windows();
        sim.check_lists();
        sim.check_accounts();
    });
}

#[test]
fn a_clock_that_jumps_loses_no_count_and_leaves_no_account_wrong() {
    play(1_000..1_040, Mishap::ClockJumps, Sim::check_accounts);
}

#[test]
fn whoever_is_forgotten_gets_no_budget_twice_and_loses_nothing() {
    let recalls = Cell::new(0);
    play(2_000..2_030, Mishap::SmallLedger, |sim| {
        sim.check_windows();
        sim.check_accounts();
        recalls.set(recalls.get() + sim.recalls);
    });
    assert!(recalls.get() > 200, "{} were read back", recalls.get());
}

#[test]
fn where_nothing_can_be_read_back_whoever_used_something_keeps_his_seat() {
    let refusals = Cell::new(0);
    play(5_000..5_020, Mishap::SmallMemory, |sim| {
        sim.check_windows();
        refusals.set(refusals.get() + sim.refusals);
    });
    assert!(refusals.get() > 0, "there were more users than seats");
}

#[test]
fn whoever_restarts_goes_on_with_what_was_metered_once() {
    play(3_000..3_025, Mishap::Restarts, |sim| {
        sim.check_accounts();
        assert!(sim.restarts > 10, "{} restarts", sim.restarts);
        assert!(sim.rebooked > 0, "something was booked that had not been committed");
    });
}

#[test]
fn a_clock_that_jumps_across_restarts_gives_nobody_a_budget_twice() {
    play(4_000..4_025, Mishap::RestartsAndJumps, Sim::check_accounts);
}

/// Plays each seed to its end, where everything is in the store and `check` holds.
fn play(range: Range<u64>, mishap: Mishap, check: impl Fn(&mut Sim)) {
    for seed in seeds(range) {
        let _told = Seed(seed);
        let mut sim = Sim::new(seed, mishap);
        for _ in 0..STEP_COUNT {
            sim.step();
            sim.elapsed += Duration::from_millis(5);
            sim.check_books();
        }
        sim.drain();
        sim.check_store();
        check(&mut sim);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mishap {
    None,
    ClockJumps,
    /// Fewer seats than users.
    SmallLedger,
    /// Likewise, over a store that cannot be asked for whoever was forgotten.
    SmallMemory,
    /// The process is killed now and then, or ends in peace, and the next one restores what the ledger file holds.
    Restarts,
    RestartsAndJumps,
}

impl Mishap {
    fn restarts(self) -> bool {
        matches!(self, Mishap::Restarts | Mishap::RestartsAndJumps)
    }

    fn is_small(self) -> bool {
        matches!(self, Mishap::SmallLedger | Mishap::SmallMemory)
    }

    fn has_file(self) -> bool {
        self.restarts() || self == Mishap::SmallLedger
    }

    fn jumps(self) -> bool {
        matches!(self, Mishap::ClockJumps | Mishap::RestartsAndJumps)
    }
}

struct Sim {
    random: Random,
    mishap: Mishap,
    /// What the machine's clock says.
    system: Timestamp,
    clock: Clock,
    aggregator: Aggregator,
    shards: Vec<Shard>,
    reports: VecDeque<Report>,
    store: Faulty,
    /// The batch that the writer has, and one that waits.
    batches: VecDeque<Batch>,
    batches_committed: u64,
    /// What the store has answered, on its way to the aggregator.
    answers: VecDeque<Vec<(Holder, Result<Recalled, StoreError>)>>,
    elapsed: Duration,
    recalls: u32,
    refusals: u32,
    books: Vec<Books>,
    session_count: u64,
    metered_count: u64,
    restarts: u32,
    /// What starts have booked that the process before had not committed.
    rebooked: usize,
    /// Of the ledger file, if there is one.
    folder: Option<Folder>,
}

struct Shard {
    mailbox: Mailbox<Order>,
    lane: Option<Lane>,
    kept: VecDeque<Report>,
    sessions: Vec<Session>,
}

struct Session {
    id: SessionId,
    user: usize,
    admitted: Admitted,
    estimate: Charge,
}

impl Sim {
    fn new(seed: u64, mishap: Mishap) -> Sim {
        let new_books = |_| Books {
            limit: DEFAULT_LIMIT,
            block: None,
            metered: Vec::new(),
            estimated: Charge::default(),
        };
        let folder = mishap.has_file().then(|| Folder::new(seed));
        let store: Box<dyn Store> = match &folder {
            Some(folder) => folder.open(),
            None => Box::new(Memory::new(memory::Config::default())),
        };
        let (shards, senders) = new_shards();
        let config = ledger_config(mishap);
        let ledger = Ledger::new(config, START);
        let mut sim = Sim {
            random: Random(seed),
            mishap,
            system: START,
            clock: Clock::new(START),
            aggregator: Aggregator::new(ledger, config.holders_max, senders, Arc::default(), None),
            shards,
            reports: VecDeque::new(),
            store: Faulty::new(store),
            batches: VecDeque::new(),
            batches_committed: 0,
            answers: VecDeque::new(),
            elapsed: Duration::ZERO,
            recalls: 0,
            refusals: 0,
            books: USERS.map(new_books).into_iter().collect(),
            session_count: 0,
            metered_count: 0,
            restarts: 0,
            rebooked: 0,
            folder,
        };
        sim.begin_journal();
        sim
    }

    /// Gives each shard its lane, where the store has a journal.
    fn begin_journal(&mut self) {
        let lanes = self.store.lanes(SHARD_COUNT + 1).unwrap();
        for (shard, lane) in self.shards.iter_mut().zip(self.aggregator.take_lanes(lanes)) {
            shard.lane = Some(lane);
        }
    }

    fn step(&mut self) {
        let shard = self.random.below(SHARD_COUNT as u64) as usize;
        match self.random.below(100) {
            0..10 => self.ask(shard),
            10..40 => self.stream(shard),
            40..55 => self.settle(shard),
            55..57 => self.end_any(shard),
            57..70 => self.tick_shard(shard),
            70..72 => self.read_back(),
            72..84 => self.aggregate(),
            84..88 => self.tick_aggregator(),
            88..91 => self.commit(),
            91..97 => self.pass_time(),
            97 if self.mishap.restarts() => self.restart(),
            _ => self.operate(),
        }
    }

    /// A user wants a session.
    fn ask(&mut self, shard: usize) {
        let user = self.random.below(USERS.len() as u64) as usize;
        let admission = Admission::Identity(identity(user));
        self.shards[shard].kept.push_back(Report::Admit { shard, ticket: user as u64, admission });
    }

    /// A part of a response passes: its estimate grows, if the account allows anything at all.
    fn stream(&mut self, shard: usize) {
        let Some(index) = self.any_session(shard) else { return };
        let more =
            Charge { cost: NanoUsd(self.random.below(60) as i64), tokens: self.random.below(40) as i64 };
        self.charge(shard, index, more);
    }

    /// A response's usage arrives: the estimate is taken back for the provider's figure.
    fn settle(&mut self, shard: usize) {
        let Some(index) = self.any_session(shard) else { return };
        let actual =
            Charge { cost: NanoUsd(self.random.below(150) as i64), tokens: self.random.below(100) as i64 };
        if self.is_barred(shard, index) {
            self.end(shard, index);
            return;
        }
        let session = &mut self.shards[shard].sessions[index];
        let estimate = std::mem::take(&mut session.estimate);
        self.books[session.user].estimated = minus(self.books[session.user].estimated, estimate);
        let correction = minus(actual, estimate);
        self.allow(shard, index, estimate);
        let session = &self.shards[shard].sessions[index];
        let reach = charge(&session.admitted, correction);
        self.meter(shard, index, actual, Figure::Provider);
        if reach != Reach::Under && self.is_barred(shard, index) {
            self.end(shard, index);
        }
    }

    fn end_any(&mut self, shard: usize) {
        if let Some(index) = self.any_session(shard) {
            self.end(shard, index);
        }
    }

    fn charge(&mut self, shard: usize, index: usize, more: Charge) {
        if self.is_barred(shard, index) {
            self.end(shard, index);
            return;
        }
        self.allow(shard, index, Charge::default());
        let session = &mut self.shards[shard].sessions[index];
        session.estimate = plus(session.estimate, more);
        let books = &mut self.books[session.user];
        books.estimated = plus(books.estimated, more);
        if charge(&session.admitted, more) != Reach::Under && self.is_barred(shard, index) {
            self.end(shard, index);
        }
    }

    fn is_barred(&self, shard: usize, index: usize) -> bool {
        bars(&self.shards[shard].sessions[index].admitted, self.system)
    }

    /// The account let a session go on: our own books have to say the same. `taken_back` is what they have already
    /// forgotten of the session's estimate.
    fn allow(&self, shard: usize, index: usize, taken_back: Charge) {
        if self.mishap.jumps() {
            return;
        }
        let Session { user, ref admitted, .. } = self.shards[shard].sessions[index];
        if accounts(admitted).any(|account| is_stale(account, self.system)) {
            return; // It is let go on until the aggregator has come to it.
        }
        let books = &self.books[user];
        let blocked = books.block.as_ref().is_some_and(|block| block.holds_at(self.system));
        assert!(!blocked, "{} is blocked", USERS[user]);
        let (metered, tokens) = books.sum(books.limit.window, self.system);
        let running = plus(books.estimated, taken_back);
        if books.limit.mode == Mode::Enforce {
            let cost_reached = books.limit.max_cost.is_some_and(|max| metered + running.cost.0 >= max.0);
            let tokens_reached =
                books.limit.max_tokens.is_some_and(|max| tokens as i64 + running.tokens >= max as i64);
            assert!(!cost_reached && !tokens_reached, "{} has reached {:?}", USERS[user], books.limit);
        }
    }

    /// A session ends: what is not settled is booked by its estimate.
    fn end(&mut self, shard: usize, index: usize) {
        let session = &mut self.shards[shard].sessions[index];
        let estimate = std::mem::take(&mut session.estimate);
        let books = &mut self.books[session.user];
        books.estimated = minus(books.estimated, estimate);
        if estimate != Charge::default() {
            self.meter(shard, index, estimate, Figure::Estimate);
        }
        let Session { id, .. } = self.shards[shard].sessions.swap_remove(index);
        let closed = Closed { session: id, at: self.system, close_code: 1000 };
        self.shards[shard].kept.push_back(Report::Closed(closed));
    }

    fn meter(&mut self, shard: usize, index: usize, amount: Charge, figure: Figure) {
        let model = ["gpt-realtime", "gpt-realtime-mini", "whisper-1"][self.random.below(3) as usize];
        let session = &self.shards[shard].sessions[index];
        let user = session.user;
        self.metered_count += 1;
        let delta = Delta {
            at: self.system,
            session: session.id,
            identity: identity(session.user),
            provider: "openai".into(),
            model: model.into(),
            usage: Usage { audio_out: amount.tokens as u64, requests: 1, ..Usage::default() },
            cost: amount.cost,
            estimated: figure == Figure::Estimate,
            // Nothing is made of it, so it can carry the number to the store and back.
            latency_ms: Some(self.metered_count),
        };
        let shard = &mut self.shards[shard];
        let write = |record: &mut Vec<u8>| journal::write_delta(&delta, record);
        let upto = shard.lane.as_mut().and_then(|lane| lane.append(write));
        self.books[user].metered.push(Metered {
            number: self.metered_count,
            at: delta.at,
            nano: delta.cost.0,
            tokens: amount.tokens as u64,
            is_in_journal: upto.is_some(),
        });
        shard.kept.push_back(Report::Charged(delta, upto));
    }

    fn tick_shard(&mut self, shard: usize) {
        while self.reports.len() < REPORT_QUEUE
            && let Some(report) = self.shards[shard].kept.pop_front()
        {
            self.reports.push_back(report);
        }
        let orders: Vec<Order> = self.shards[shard].mailbox.drain().collect();
        for order in orders {
            match order {
                Order::Admission { ticket, answer: Answer::Admitted(admitted) } => {
                    if !bars(&admitted, self.system) {
                        self.open(shard, ticket as usize, admitted);
                    }
                }
                Order::Admission { answer: Answer::Full, .. } => {
                    assert!(self.mishap.is_small());
                    self.refusals += 1;
                }
                Order::Admission { answer: Answer::Unread, .. } => {
                    assert!(self.mishap == Mishap::SmallLedger)
                }
                Order::Release => {}
                Order::Sweep => {
                    let now = self.system;
                    self.end_where(shard, |session| bars(&session.admitted, now));
                }
                Order::Close(id) => self.end_where(shard, |session| session.id == id),
                other => panic!("{other:?}"),
            }
        }
    }

    fn open(&mut self, shard: usize, user: usize, admitted: Admitted) {
        self.session_count += 1;
        let id = SessionId(self.session_count);
        self.shards[shard].sessions.push(Session { id, user, admitted, estimate: Charge::default() });
        let provider = "openai".into();
        let opened = Opened { session: id, identity: identity(user), provider, model: None, at: self.system };
        self.shards[shard].kept.push_back(Report::Opened(opened));
    }

    fn end_where(&mut self, shard: usize, which: impl Fn(&Session) -> bool) {
        while let Some(index) = self.shards[shard].sessions.iter().position(&which) {
            self.end(shard, index);
        }
    }

    fn aggregate(&mut self) {
        let now = self.now();
        let count = self.random.below(REPORT_QUEUE as u64 + 1) as usize;
        for report in self.reports.drain(..count.min(self.reports.len())).collect::<Vec<_>>() {
            self.aggregator.report(report, now);
        }
        self.aggregator.attend(self.elapsed, now);
        self.aggregator.publish();
    }

    /// The store is asked for whoever comes back, or its answer arrives; now and then it fails.
    fn read_back(&mut self) {
        let now = self.now();
        match self.random.below(2) {
            0 => {
                if let Some(answers) = self.answers.pop_front() {
                    self.aggregator.recalled(answers, now);
                }
            }
            _ => {
                let Some(holders) = self.aggregator.take_question() else { return };
                let answers = match self.random.below(8) {
                    0 => {
                        let failure = |holder| (holder, Err(StoreError("it fails".into())));
                        holders.into_iter().map(failure).collect()
                    }
                    _ => self.recall(&holders, now).into_iter().map(answered).collect(),
                };
                self.answers.push_back(answers);
            }
        }
    }

    fn recall(&mut self, holders: &[Holder], now: Timestamp) -> Vec<Recalled> {
        self.recalls += 1;
        let mut store = self.store.recaller().unwrap().expect("it is asked where it can tell");
        store.recall(holders, now).unwrap()
    }

    fn tick_aggregator(&mut self) {
        let now = self.now();
        self.aggregator.tick(now);
        if self.batches.len() < 2 {
            self.batches.extend(self.aggregator.take_batch());
        }
    }

    fn commit(&mut self) {
        let fault = match self.random.below(4) {
            0 => Fault::Refuse,
            1 => Fault::LoseAnswer,
            _ => Fault::None,
        };
        self.store.set_fault(fault);
        if let Some(batch) = self.batches.front()
            && self.store.commit(batch).is_ok()
        {
            self.batches.pop_front();
            self.batches_committed += 1;
            self.aggregator.saved(self.batches_committed);
        }
    }

    fn pass_time(&mut self) {
        let span = [SECOND_MS, MINUTE_MS, 10 * MINUTE_MS, 3 * HOUR_MS, 2 * DAY_MS];
        let longest = span[self.random.below(span.len() as u64) as usize];
        let ms = self.random.below(longest);
        let back = self.mishap.jumps() && self.random.below(3) == 0;
        self.system = if back { self.system.minus_ms(ms) } else { self.system.plus_ms(ms) };
    }

    fn operate(&mut self) {
        let user = self.random.below(USERS.len() as u64) as usize;
        let name = UserId::from(USERS[user]);
        let now = self.now();
        match self.random.below(5) {
            0 | 1 => {
                let limit = self.any_limit();
                if self.aggregator.set_limit(name, limit, now).is_ok() {
                    self.books[user].limit = limit;
                }
            }
            2 => {
                let expires_at = (self.random.below(2) == 0).then(|| now.plus_ms(self.random.below(HOUR_MS)));
                let block = Block { reason: None, blocked_at: now, expires_at };
                if self.aggregator.block(name, block.clone(), now).is_ok() {
                    self.books[user].block = Some(block);
                }
            }
            3 if !self.aggregator.ledger().is_absent(&Holder::User(name.clone())) => {
                self.aggregator.unblock(name, now);
                self.books[user].block = None;
            }
            _ => {
                let id = SessionId(self.random.below(self.session_count + 1));
                self.aggregator.close_session(id);
            }
        }
    }

    fn any_limit(&mut self) -> Limit {
        let windows = [WindowKind::Daily, WindowKind::Monthly, WindowKind::Rolling24h, WindowKind::Total];
        Limit {
            max_cost: (self.random.below(4) > 0).then(|| NanoUsd(self.random.below(20_000) as i64)),
            max_tokens: (self.random.below(4) == 0).then(|| self.random.below(20_000)),
            window: windows[self.random.below(4) as usize],
            mode: if self.random.below(6) == 0 { Mode::Warn } else { Mode::Enforce },
            ..Limit::default()
        }
    }

    fn any_session(&mut self, shard: usize) -> Option<usize> {
        let count = self.shards[shard].sessions.len() as u64;
        (count > 0).then(|| self.random.below(count) as usize)
    }

    fn now(&mut self) -> Timestamp {
        let reading = self.clock.follow(self.system);
        if reading.set_back {
            self.aggregator.set_back(reading.now);
        }
        reading.now
    }

    /// Every session ends, every report is applied, every batch committed.
    fn drain(&mut self) {
        self.system = self.system.plus_ms(MINUTE_MS);
        self.store.set_fault(Fault::None);
        for shard in 0..SHARD_COUNT {
            self.end_where(shard, |_| true);
        }
        while !self.reports.is_empty() || self.shards.iter().any(|shard| !shard.kept.is_empty()) {
            for shard in 0..SHARD_COUNT {
                self.tick_shard(shard);
                self.end_where(shard, |_| true);
            }
            self.aggregate();
        }
        self.tick_aggregator();
        for shard in 0..SHARD_COUNT {
            self.tick_shard(shard);
        }
        self.batches.extend(self.aggregator.take_batch());
        for batch in std::mem::take(&mut self.batches) {
            self.store.commit(&batch).unwrap();
            self.batches_committed += 1;
        }
        self.aggregator.saved(self.batches_committed);
    }

    fn metered(&self) -> i64 {
        self.books.iter().flat_map(|books| &books.metered).map(|metered| metered.nano).sum()
    }

    fn check_books(&mut self) {
        // Whoever has no seat is looked for in the store, which takes its time.
        if self.mishap.is_small() && self.random.below(30) > 0 {
            return;
        }
        let kept = self.shards.iter().flat_map(|shard| &shard.kept).chain(&self.reports);
        let unreported: i64 = kept
            .map(|report| match report {
                Report::Charged(delta, _) => delta.cost.0,
                Report::Admit { .. } | Report::Opened(_) | Report::Closed(_) | Report::Refused(_) => 0,
            })
            .sum();
        let ledger = self.aggregator.ledger();
        let total = |place| ledger.record(place).totals(WindowKind::Total).cost.0;
        let mut held: i64 = ledger.users_after(None).map(|(_, place)| total(place)).sum();
        if self.mishap == Mishap::SmallLedger {
            let holders = USERS.map(|name| Holder::User(name.into()));
            let is_absent = |holder: &Holder| self.aggregator.ledger().is_absent(holder);
            let absent: Vec<Holder> = holders.into_iter().filter(is_absent).collect();
            let (now, before) = (self.system, self.recalls);
            let recalled = self.recall(&absent, now);
            self.recalls = before;
            let pieces = recalled.iter().flat_map(|recalled| &recalled.usage);
            held += pieces.map(|piece| piece.totals.cost.0).sum::<i64>();
        }
        assert_eq!(self.metered(), held + unreported);
    }

    fn check_store(&self) {
        assert_eq!(self.store.cost(), NanoUsd(self.metered()));
    }

    /// Whoever is blocked or has a limit of its own is listed, and nobody else.
    fn check_lists(&self) {
        let ledger = self.aggregator.ledger();
        let users = ledger.users_after(None).map(|(_, place)| place);
        let blocked = users.filter(|&place| ledger.record(place).standing().block.is_some());
        let listed = ledger.blocked_after(None).map(|(_, place)| place);
        assert_eq!(listed.collect::<Vec<_>>(), blocked.collect::<Vec<_>>());
        let places = (0..).map_while(|index| ledger.place_at(index));
        let bound: BTreeSet<_> = places
            .map(|place| ledger.record(place))
            .filter(|record| record.own_limit().is_some())
            .map(|record| record.holder())
            .collect();
        assert!(ledger.bound_after(None).map(|(holder, _)| holder).eq(bound));
    }

    /// The ledger's windows hold what our own books say.
    fn check_windows(&mut self) {
        let now = self.now();
        for (user, name) in USERS.into_iter().enumerate() {
            let Some(place) = self.aggregator.ledger().find(&Holder::User(name.into())) else { continue };
            let record = self.aggregator.ledger().record(place);
            for window in [WindowKind::Daily, WindowKind::Monthly, WindowKind::Rolling24h, WindowKind::Total]
            {
                let totals = record.totals(window);
                let held = (totals.cost.0, totals.usage.total_tokens());
                let books = &self.books[user];
                let sum = books.sum(window, now);
                if self.mishap == Mishap::SmallLedger && window == WindowKind::Rolling24h {
                    // What was read back is as coarse as its rows.
                    let most = books.last_25_hours(now);
                    assert!(sum <= held && held <= most, "{name} {sum:?} ≤ {held:?} ≤ {most:?}");
                } else {
                    assert_eq!(held, sum, "{name} {window:?}");
                }
            }
        }
    }

    /// The process ends, in peace or not, time passes, and the next one goes on with the ledger file.
    fn restart(&mut self) {
        let in_peace = self.random.below(2) == 0;
        let before = self.metered();
        if in_peace {
            self.drain();
        }
        self.pass_time();
        // What was written, answered for or not, is what holds, and what is in the journal. All else is gone with the
        // process.
        self.reopen();
        let committed = self.numbers();
        for books in &mut self.books {
            books.metered.retain(|metered| metered.is_in_journal || committed.contains(&metered.number));
            (books.limit, books.block, books.estimated) = (DEFAULT_LIMIT, None, Charge::default());
        }
        assert!(!in_peace || self.metered() >= before, "whoever ends in peace loses nothing");
        while !self.start() {
            self.reopen();
        }
        self.rebooked += self.numbers().len() - committed.len();
        self.begin_journal();
        self.check_store();
        let metered = self.books.iter().flat_map(|books| &books.metered).map(|metered| metered.number);
        assert_eq!(self.numbers(), metered.collect(), "each is there, and once");
        let now = self.now();
        self.check_restored(now);
    }

    /// The next process opens the ledger file.
    fn reopen(&mut self) {
        let folder = self.folder.as_ref().expect("whoever restarts has a file");
        self.store.reopen(|| folder.open());
        self.restarts += 1;
    }

    /// Whatever is in the store. Nothing is there twice.
    fn numbers(&self) -> BTreeSet<u64> {
        let events = self.store.events();
        let numbers: BTreeSet<u64> = events.iter().filter_map(|event| event.delta.latency_ms).collect();
        assert_eq!(numbers.len(), events.len());
        numbers
    }

    /// The process reads what there is and books what the one before has left. Whether it comes to the end of that: it
    /// may be killed before, or after something was committed of it.
    fn start(&mut self) -> bool {
        self.reports.clear();
        self.batches.clear();
        self.batches_committed = 0;
        self.clock = Clock::new(self.system);
        let now = self.now();
        let restored = self.store.restore(now, usize::MAX).unwrap();
        for state in &restored.holders {
            let Holder::User(name) = &state.holder else { continue };
            let user = USERS.iter().position(|user| *user == name.as_str()).unwrap();
            self.books[user].limit = state.limit.value.unwrap_or(DEFAULT_LIMIT);
            self.books[user].block.clone_from(&state.block.value);
        }
        let config = ledger_config(self.mishap);
        let (shards, senders) = new_shards();
        self.shards = shards;
        let ledger = Ledger::restore(config, restored, now);
        self.aggregator = Aggregator::new(ledger, config.holders_max, senders, Arc::default(), None);
        self.store.set_fault(match self.random.below(4) {
            0 => Fault::Refuse,
            1 => Fault::LoseAnswer,
            _ => Fault::None,
        });
        let is_done = rebook(&mut self.store, &mut self.aggregator, now).is_ok();
        self.store.set_fault(Fault::None);
        is_done
    }

    /// Windows of the calendar hold exactly what was committed of them, the rolling one not less, and nothing of
    /// what is more than an hour older: rows are as coarse as that.
    fn check_restored(&self, now: Timestamp) {
        for (user, name) in USERS.into_iter().enumerate() {
            let Some(place) = self.aggregator.ledger().find(&Holder::User(name.into())) else {
                assert!(self.books[user].metered.is_empty(), "{name} was forgotten");
                continue;
            };
            let books = self.books[user].restored_at(now);
            // A clock that has stepped back by seconds over midnight is waited for.
            let midnight = now.next_day_start();
            let is_ahead = books.metered.iter().any(|metered| metered.at >= midnight);
            let now = if is_ahead { midnight } else { now };
            let record = self.aggregator.ledger().record(place);
            let held = |window| {
                let totals = record.totals(window);
                (totals.cost.0, totals.usage.total_tokens())
            };
            for window in [WindowKind::Daily, WindowKind::Monthly, WindowKind::Total] {
                assert_eq!(held(window), books.sum(window, now), "{name} {window:?} at {now}");
            }
            let (least, most) = (books.sum(WindowKind::Rolling24h, now), books.last_25_hours(now));
            let rolling = held(WindowKind::Rolling24h);
            assert!(
                rolling >= least && rolling <= most,
                "{name} {least:?} ≤ {rolling:?} ≤ {most:?} at {now}"
            );
        }
    }

    /// With nothing on its way, an account is reached exactly where the verdict is Block.
    fn check_accounts(&mut self) {
        let now = self.now();
        for (user, name) in USERS.into_iter().enumerate() {
            let admitted = self.admit_now(user);
            let ledger = self.aggregator.ledger();
            let record = ledger.record(ledger.find(&Holder::User(name.into())).unwrap());
            let used: Used = record.used();
            let block = matches!(judge(record.standing(), used, now), Verdict::Block(_));
            assert_eq!(reached(&admitted), block, "{name}");
            assert_eq!(admitted.user.cost.charged(), record.applied().cost, "{name}");
        }
    }
}

impl Sim {
    /// A user is let in while nobody else is there. Whoever is refused because all seats were taken asks again.
    fn admit_now(&mut self, user: usize) -> Admitted {
        let now = self.now();
        // Of those that have waited some may be answered now, too.
        let own = USERS.len() as u64;
        let mut has_asked = false;
        for _ in 0..1_000 {
            self.aggregator.tick(now);
            // An answer that nobody takes holds its accounts.
            let orders: Vec<Order> =
                self.shards.iter().flat_map(|shard| shard.mailbox.drain().collect::<Vec<_>>()).collect();
            for order in orders {
                match order {
                    Order::Admission { ticket, answer: Answer::Admitted(admitted) } if ticket == own => {
                        return admitted;
                    }
                    Order::Admission { ticket, .. } if ticket == own => has_asked = false,
                    Order::Admission { .. } | Order::Sweep | Order::Release | Order::Close(_) => {}
                    Order::Drain { .. } => panic!("nobody drains"),
                }
            }
            if !std::mem::replace(&mut has_asked, true) {
                let admission = Admission::Identity(identity(user));
                self.aggregator.report(Report::Admit { shard: 0, ticket: own, admission }, now);
            }
            if let Some(holders) = self.aggregator.take_question() {
                let answers = self.recall(&holders, now).into_iter().map(answered).collect();
                self.aggregator.recalled(answers, now);
            } else if let Some(answers) = self.answers.pop_front() {
                self.aggregator.recalled(answers, now);
            }
            self.elapsed += Duration::from_millis(5);
            self.aggregator.attend(self.elapsed, now);
        }
        panic!("{} is not let in", USERS[user]);
    }
}

fn answered(recalled: Recalled) -> (Holder, Result<Recalled, StoreError>) {
    (recalled.state.holder.clone(), Ok(recalled))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Figure {
    Provider,
    Estimate,
}

fn reached(admitted: &Admitted) -> bool {
    admitted.user.reached() || admitted.org.as_ref().is_some_and(|org| org.reached())
}

/// What a shard does about an account that is reached. Nobody is sent away until a time that is past.
fn bars(admitted: &Admitted, now: Timestamp) -> bool {
    let mut reached = accounts(admitted).filter(|account| account.reached());
    reached.any(|account| match judge(&account.standing.load(), account.used(), now) {
        Verdict::Block(Ending::LimitReached { resets_at, .. }) => {
            assert!(resets_at.is_none_or(|end| end > now), "sent away at {now} until {resets_at:?}");
            true
        }
        Verdict::Block(_) => true,
        Verdict::Allow | Verdict::Warn { .. } => false,
    })
}

/// The aggregator has yet to move this account on: its window is over, or its block.
fn is_stale(account: &Account, now: Timestamp) -> bool {
    let standing = account.standing.load();
    let has_ended = standing.resets_at.is_some_and(|end| now >= end);
    has_ended || standing.block.as_ref().is_some_and(|block| !block.holds_at(now))
}

fn accounts(admitted: &Admitted) -> impl Iterator<Item = &Arc<Account>> {
    std::iter::once(&admitted.user).chain(&admitted.org)
}

fn charge(admitted: &Admitted, amount: Charge) -> Reach {
    let org = admitted.org.as_ref().map_or(Reach::Under, |org| org.charge(amount));
    admitted.user.charge(amount).max(org)
}

fn plus(a: Charge, b: Charge) -> Charge {
    Charge { cost: a.cost + b.cost, tokens: a.tokens + b.tokens }
}

fn minus(a: Charge, b: Charge) -> Charge {
    Charge { cost: a.cost - b.cost, tokens: a.tokens - b.tokens }
}

fn ledger_config(mishap: Mishap) -> Config {
    let holders_max = match mishap {
        Mishap::SmallLedger => 4,
        Mishap::SmallMemory => 2,
        Mishap::None | Mishap::ClockJumps | Mishap::Restarts | Mishap::RestartsAndJumps => 100,
    };
    // Where rows have to wait for a store, hours become coarse, and a restart tells days apart no better.
    let rollups_max = if mishap.has_file() { 100_000 } else { 8 };
    let reads_back = mishap == Mishap::SmallLedger;
    Config {
        holders_max,
        reads_back,
        series_max: 2,
        rollups_max,
        default_limit: DEFAULT_LIMIT,
        ..Config::default()
    }
}

fn new_shards() -> (Vec<Shard>, Vec<Sender<Order>>) {
    let new_shard = |mailbox| Shard { mailbox, lane: None, kept: VecDeque::new(), sessions: Vec::new() };
    let pairs = (0..SHARD_COUNT).map(|_| mailbox(MAILBOX_SIZE).unwrap());
    pairs.map(|(sender, mailbox)| (new_shard(mailbox), sender)).unzip()
}

/// Of a ledger file; removed on drop.
struct Folder(PathBuf);

impl Folder {
    fn new(seed: u64) -> Folder {
        // Nothing here survives a power cut, so memory will do, where there is a file system in it.
        let memory = Path::new("/dev/shm");
        let root = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        Folder(root.join(format!("tokenist-simulation-{}-{seed}", std::process::id())))
    }

    fn open(&self) -> Box<dyn Store> {
        let config = sqlite::Config {
            details_days: 0,
            rollups_days: 0,
            refusals_days: 0,
            lane_bytes: LANE_BYTES,
            directory: self.0.clone(),
        };
        Box::new(Sqlite::open(config).unwrap())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

fn identity(user: usize) -> Arc<Identity> {
    let org = user.is_multiple_of(2).then(|| "acme".into());
    Arc::new(Identity { org, ..Identity::of(USERS[user].into()) })
}
