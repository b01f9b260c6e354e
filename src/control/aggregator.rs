//! The thread around the core's ledger: takes reports and commands, publishes ceilings and account states, sends orders.
//!
//! Start at `run`. No arithmetic happens here, and all but `run` takes the time as an argument, so a simulation can
//! drive an [`Aggregator`] with a clock of its own.
//!
//! Invariant: whatever a report or command changed is published before its answer goes out and before any sweep, so
//! no session is judged by what no longer holds.

mod calls;
mod cluster;
mod journal;
mod limits;
mod own_calls;
mod responses;
mod resumption;
mod settings;
mod slots;
mod speaking;
mod turn;
mod uses;
mod views;

use self::calls::Calls;
use self::cluster::ClusterSync;
use self::journal::Journal;
use self::responses::Responses;
use self::resumption::Resumptions;
use self::slots::{Asked, Slots};
pub(crate) use self::turn::{Obeyed, Turn};
use self::uses::Uses;
use self::views::session_view;
use crate::accounts::{Accounts, Outbox};
use crate::clock::Clock;
use crate::command::{Command, Need};
use crate::domain_event::{DomainEvent, DomainEvents};
use crate::error::CommandError;
use crate::prices::Prices;
use crate::progress::{Progress, Replication};
use crate::writer::Writer;
use crossbeam::channel::{Receiver, Select};
use std::borrow::Cow;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use tokenist_core::authority::Membership;
use tokenist_core::batch::Batch;
use tokenist_core::catalog::{Entry, Kept};
use tokenist_core::id::{Holder, Identity, SessionId};
use tokenist_core::ledger::{Full, Ledger, Slot, Warning};
use tokenist_core::price::Listing;
use tokenist_core::record::Record;
use tokenist_core::time::Timestamp;
use tokenist_handoff::{Account, Admitted, Answer, Heartbeat, Order, Report, Sender};
use tracing::{info, warn};

/// Reports that are applied before commands are looked at again: under a millisecond's worth.
const BURST: usize = 512;
/// How long reports may gather. The first question about an unknown user may wait as long.
const NAP: Duration = Duration::from_millis(1);

#[derive(Debug)]
pub struct Aggregator {
    ledger: Ledger,
    users_max: usize,
    accounts: Accounts,
    shards: Vec<Outbox>,
    saving: Arc<Progress>,
    replication: Option<Arc<Replication>>,
    /// What follows from the catalog's prices; a simulation has none.
    prices: Option<Arc<Prices>>,
    domain_events: DomainEvents,
    /// `None` where this is the only instance.
    cluster: Option<ClusterSync>,
    slots: Slots,
    journal: Journal,
    resumptions: Resumptions,
    responses: Responses,
    calls: Calls,
    uses: Uses,
    reports_applied: u64,
    details_lost: u64,
}

impl Aggregator {
    /// `shards` are the ways to the shards, in order of their numbers; `saving` is how the writer does, `replication`
    /// how the store's copy elsewhere does.
    pub fn new(
        ledger: Ledger,
        users_max: usize,
        shards: Vec<Sender<Order>>,
        saving: Arc<Progress>,
        replication: Option<Arc<Replication>>,
    ) -> Aggregator {
        Aggregator {
            ledger,
            users_max,
            accounts: Accounts::default(),
            shards: shards.into_iter().map(Outbox::new).collect(),
            saving,
            replication,
            prices: None,
            domain_events: DomainEvents::new(),
            cluster: None,
            slots: Slots::default(),
            journal: Journal::default(),
            resumptions: Resumptions::default(),
            responses: Responses::default(),
            calls: Calls::default(),
            uses: Uses::default(),
            reports_applied: 0,
            details_lost: 0,
        }
    }

    /// This is how the writer does.
    pub(crate) fn watch_saving(&mut self, saving: Arc<Progress>) {
        self.saving = saving;
    }

    /// Keeps these prices as the catalog has them.
    pub fn price_by(&mut self, prices: Arc<Prices>) {
        self.prices = Some(prices);
        self.reprice();
    }

    /// Tells there what happens from now on.
    pub fn publish_to(&mut self, domain_events: DomainEvents) {
        self.domain_events = domain_events;
    }

    fn reprice(&self) {
        let Some(prices) = &self.prices else { return };
        prices.set_catalog(self.ledger.entries(Listing::KIND).filter_map(Entry::read).collect());
    }

    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The account of the holder in that slot, if it was ever opened.
    pub fn account(&self, slot: Slot) -> Option<&Account> {
        self.accounts.find(slot).map(|account| &**account)
    }

    /// Applies one report. What follows from it goes out with the next [`Aggregator::publish`], an admission's answer
    /// at once.
    pub fn report(&mut self, report: Report, now: Timestamp) {
        self.reports_applied += 1;
        match report {
            Report::Charged(delta, upto) => {
                self.ledger.apply(delta, now);
                self.journal.apply(upto);
            }
            Report::Opened(opened) => {
                let session = opened.session;
                self.ledger.open_session(opened, now);
                self.domain_events.publish(|| {
                    let session = self.ledger.session(session).filter(|session| session.connections == 1)?;
                    Some(DomainEvent::SessionOpened(session_view(session, now)))
                });
            }
            Report::Closed(closed) => {
                self.domain_events.publish(|| {
                    let session = self.ledger.session(closed.session);
                    let session = session.filter(|session| session.connections == 1)?.clone();
                    Some(DomainEvent::SessionClosed(session.end(closed.clone())))
                });
                let may_resume = self.resumptions.holds(closed.session);
                self.ledger.close_session(closed, may_resume);
            }
            Report::Resumable { handle, session } => self.note_handle(handle, session),
            Report::Resume { shard, ticket, handle } => self.answer_resumption(shard, ticket, handle),
            Report::Find { shard, ticket, response, user } => {
                self.answer_find(shard, ticket, &response, &user, now);
            }
            Report::FindCall { shard, ticket, call } => self.answer_call(shard, ticket, &call),
            Report::Call(heard) => self.hear_of_call(*heard),
            Report::Response(heard) => self.hear_of_response(*heard, now),
            Report::Show { shard, ticket, token } => self.answer_show(shard, ticket, &token, now),
            Report::Refused(rejected) => self.ledger.refuse(*rejected),
            Report::Admit { shard, ticket, admission } => {
                self.attend_to(Asked::Admission { shard, ticket, admission }, now);
            }
        }
    }

    fn send(&mut self, shard: usize, order: Order) {
        match self.shards.get_mut(shard) {
            Some(outbox) => outbox.send(order),
            None => warn!(shard, "a shard asks that there is none of"),
        }
    }

    /// Lets time pass.
    pub fn tick(&mut self, now: Timestamp) {
        self.ledger.tick(now);
        self.look_after_responses(now);
        self.look_after_room(now);
        self.journal.look();
        self.publish();
        let lost = self.ledger.details_lost();
        if lost > self.details_lost {
            warn!(lost, "events were left out of the store: it was away for too long; totals are whole");
            self.details_lost = lost;
        }
    }

    /// What has accumulated for the store, if anything. Take it only when the writer has room: until then the ledger
    /// coalesces it.
    pub fn take_batch(&mut self) -> Option<Batch> {
        let mut batch = self.ledger.take_batch()?;
        batch.booked = self.journal.take_booked();
        Some(batch)
    }

    /// The clock was far ahead and has been corrected to `now`.
    pub fn set_back(&mut self, now: Timestamp) {
        warn!(%now, "the clock was set back: windows are kept as they were and end later");
        self.ledger.set_back(now);
        self.publish();
    }

    /// Brings every account up to date, then has the shards judge their sessions anew where less is allowed now.
    pub fn publish(&mut self) {
        for slot in self.ledger.take_changed() {
            self.accounts.publish(slot, self.ledger.record(slot));
        }
        if self.ledger.take_sweep() {
            self.shards.iter_mut().for_each(Outbox::sweep);
        }
        self.shards.iter_mut().for_each(Outbox::flush);
        for warning in self.ledger.take_warnings() {
            let Warning { holder, percent } = warning;
            let Some(slot) = self.ledger.find(&holder) else { continue };
            let record = self.ledger.record(slot);
            let (limit, used) = (&record.account_state().limit, record.used());
            info!(
                ?holder,
                percent,
                used = %used.cost.exact(),
                limit = limit.max_cost.map(|cost| tracing::field::display(cost.exact())),
                tokens_used = used.tokens,
                token_limit = limit.max_tokens,
                "a share of a limit is used up"
            );
            self.domain_events
                .publish(|| Some(DomainEvent::Limit { view: self.limit_view(record), percent }));
        }
    }

    /// Whether there is such a session. Which shard has it is not known here, so all are told.
    pub fn close_session(&mut self, session: SessionId) -> bool {
        let is_live = self.ledger.session(session).is_some();
        if is_live {
            self.shards.iter_mut().for_each(|shard| shard.send(Order::Close(session)));
        }
        is_live
    }

    fn known_or_stranger(&self, holder: Holder, now: Timestamp) -> Cow<'_, Record> {
        match (self.ledger.find(&holder), self.visitor(&holder)) {
            (Some(slot), _) => Cow::Borrowed(self.ledger.record(slot)),
            (None, Some(record)) => Cow::Borrowed(record),
            (None, None) => Cow::Owned(self.ledger.stranger(holder, now)),
        }
    }

    /// Carries out a command and answers it, once what the store has of its holders is known.
    pub(crate) fn command(
        &mut self,
        command: Command,
        turn: &Turn<'_>,
        now: Timestamp,
        reports_waiting: usize,
    ) {
        match command.need() {
            Need::Nothing => self.execute(command, turn, now, reports_waiting),
            Need::Look | Need::Act | Need::HolderEntry => {
                self.attend_to(Asked::Command(Box::new(command)), now)
            }
        }
    }

    /// A caller that no longer waits for an answer gets none.
    fn execute(&mut self, command: Command, turn: &Turn<'_>, now: Timestamp, reports_waiting: usize) {
        match command {
            Command::Users(query, after, room, reply) => {
                drop(reply.send(self.users(&query, after.as_ref(), room, turn, now)));
            }
            Command::User(user, window, reply) => {
                drop(reply.send(Ok(self.user(user, window, now))));
            }
            Command::Models(user, reply) => drop(reply.send(self.models(user))),
            Command::Limits(query, after, reply) => {
                drop(reply.send(self.limits(&query, after.as_ref(), turn, now)));
            }
            Command::LimitViews(holders, reply) => drop(reply.send(self.limit_views(holders, now))),
            Command::Limit(holder, reply) => drop(reply.send(Ok(self.limit(holder, now)))),
            Command::TryLimit(holder, limit, reply) => {
                drop(reply.send(Ok(self.try_limit(holder, limit, now))))
            }
            Command::Bind(holder, limit, reply) => drop(reply.send(self.bind(&holder, limit, now))),
            Command::SetLimit(user, limit, reply) => drop(reply.send(self.set_limit(user, limit, now))),
            Command::Block(user, block, reply) => drop(reply.send(self.block(user, block, now))),
            Command::Unblock(user, reply) => drop(reply.send(Ok(self.unblock(user, now)))),
            Command::ApplyRuleActions(users, reply) => {
                self.apply_rule_actions(users, now);
                reply.send(()).ok();
            }
            Command::Blocked(after, reply) => drop(reply.send(self.blocked(after.as_ref(), turn, now))),
            Command::Sessions(after, reply) => drop(reply.send(self.sessions(after, turn, now))),
            Command::CloseSession(session, reply) => drop(reply.send(self.close_session(session))),
            Command::Introduce(identity, reply) => drop(reply.send(self.introduce(&identity, now))),
            Command::Record(call, reply) => drop(reply.send(self.record(*call, now))),
            Command::Judge(identity, model, reply) => {
                drop(reply.send(self.judge_call(&identity, &model, now)));
            }
            Command::Names(users, reply) => drop(reply.send(self.names(users))),
            Command::Profiles(users, reply) => drop(reply.send(self.profiles(users))),
            Command::Views(users, window, reply) => drop(reply.send(self.views(users, window, now))),
            Command::Rank(slice, reply) => drop(reply.send(self.rank(&slice, turn, now))),
            Command::Keys(query, after, reply) => {
                drop(reply.send(self.keys(&query, after.as_ref(), turn)));
            }
            Command::FindKey(hash, reply) => drop(reply.send(self.ledger.key(&hash).cloned())),
            Command::KeyOf(id, reply) => drop(reply.send(self.ledger.key_of(&id).cloned())),
            Command::SetKey(key, reply) => drop(reply.send(self.set_key(*key, now))),
            Command::EndKey(id, at, reply) => drop(reply.send(self.end_key(&id, at, now))),
            Command::Entry(id, reply) => {
                drop(reply.send(self.ledger.entry(&id).map(|entry| entry.value.clone())));
            }
            Command::Entries(kind, after, reply) => {
                drop(reply.send(self.entries(kind, after.as_ref(), turn)));
            }
            Command::SetEntry(entry, reply) => drop(reply.send(self.set_entry(entry, now))),
            Command::Audit(audit, reply) => {
                self.ledger.audit(*audit);
                reply.send(()).ok();
            }
            Command::Adopt(updates, reply) => drop(reply.send(self.adopt(updates, now))),
            Command::ClusterEvent(event) => self.cluster_event(event, now),
            Command::Recalled(answers) => self.recalled(answers, now),
            Command::Stats(reply) => drop(reply.send(self.stats(reports_waiting, now))),
            Command::Finish => unreachable!("the loop ends at it"),
        }
    }

    fn admit_identity(&mut self, identity: &Identity, now: Timestamp) -> Result<Answer, Full> {
        let is_new = self.membership(&identity.user) == Membership::New;
        let (slot, user) = self.receive(&Holder::User(identity.user.clone()), now)?;
        if is_new {
            self.ledger.expect(slot, identity);
        }
        let mut is_tentative = self.ledger.is_stranger(slot);
        let mut others = Vec::with_capacity(3);
        for holder in identity.holders().skip(1) {
            let (slot, account) = self.receive(&holder, now)?;
            is_tentative |= self.ledger.is_stranger(slot);
            others.push(account);
        }
        let mut others = others.into_iter();
        Ok(Answer::Admitted(Admitted {
            user_id: identity.user.clone(),
            org_id: identity.org.clone(),
            feature_id: identity.feature.clone(),
            user,
            org: identity.org.as_ref().and_then(|_| others.next()),
            feature: identity.feature.as_ref().and_then(|_| others.next()),
            key: identity.key.as_ref().and_then(|_| others.next()),
            is_tentative,
        }))
    }
}

/// The aggregator's beats, and its patience at the end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) tick: Duration,
    pub(crate) commit: Duration,
    pub(crate) finish: Duration,
}

/// Runs until it is told to finish, or its last sender is gone.
pub(crate) fn run(
    mut aggregator: Aggregator,
    writer: Writer,
    reports: &Receiver<Report>,
    commands: &Receiver<Command>,
    mut clock: Clock,
    pace: Pace,
    heartbeat: &Heartbeat,
) -> io::Result<()> {
    let mut arrivals = Select::new();
    arrivals.recv(reports);
    arrivals.recv(commands);
    let started = Instant::now();
    let mut next_tick = Instant::now();
    let mut next_commit = Instant::now();
    loop {
        heartbeat.beat();
        let reading = clock.read();
        if reading.set_back {
            aggregator.set_back(reading.now);
        }
        let began = Instant::now();
        let spent = || began.elapsed();
        let obeyed = aggregator.obey(commands, &Turn::new(&spent), reading.now, reports.len());
        if obeyed == Obeyed::Finish {
            for report in reports.try_iter() {
                aggregator.report(report, reading.now);
            }
            aggregator.publish();
            return writer.finish(aggregator.take_batch(), pace.finish);
        }
        let mut has_reports = false;
        for report in reports.try_iter().take(BURST) {
            has_reports = true;
            aggregator.report(report, reading.now);
        }
        aggregator.saved(writer.progress().done());
        let next_slot = aggregator.attend(started.elapsed(), reading.now).map(|at| started + at);
        aggregator.publish();
        if Instant::now() >= next_tick {
            aggregator.tick(reading.now);
            next_tick = Instant::now() + pace.tick;
        }
        if Instant::now() >= next_commit {
            if writer.has_room()
                && let Some(batch) = aggregator.take_batch()
            {
                writer.hand_over(batch)?;
            }
            next_commit = Instant::now() + pace.commit;
        }
        let next_exchange = aggregator.exchange(started.elapsed(), reading.now).map(|at| started + at);
        if !has_reports && obeyed == Obeyed::Nothing {
            let beats = next_tick.min(next_commit);
            let next = next_exchange.into_iter().chain(next_slot).fold(beats, Instant::min);
            // Only a hint: what has arrived is looked for above, and nothing has on a timeout.
            arrivals.ready_deadline(next).ok();
        } else if has_reports && reports.is_empty() && commands.is_empty() {
            // Under load reports come one by one. A nap lets them gather, so that not each one wakes this thread.
            thread::sleep(NAP);
        }
    }
}

impl From<Full> for CommandError {
    fn from(_: Full) -> CommandError {
        CommandError::Full
    }
}
