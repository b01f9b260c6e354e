//! How a process begins, is killed, and ends in peace.

use crate::books::{Booked, Books};
use crate::cast::{key_index, who};
use crate::chance::Random;
use crate::keep::Failing;
use crate::process::{Process, Shard};
use crate::queue::Queue;
use crate::world::{Instance, World};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use tokenist_control::Aggregator;
use tokenist_control::clock::Clock;
use tokenist_control::cluster::{ClusterEvent, link};
use tokenist_control::desk::Desk;
use tokenist_control::prices::Prices;
use tokenist_control::{Store, rebook};
use tokenist_core::cluster::Writer;
use tokenist_core::ledger::Ledger;
use tokenist_core::price::PriceTable;
use tokenist_core::time::Timestamp;
use tokenist_handoff::{Order, Sender, mailbox};
use tokenist_proxy::accounts::Accounts;
use tokenist_proxy::reporter::Held;

/// A shard's mailbox, and the commands that may wait.
const MAILBOX_MAX: usize = 4;
pub(crate) const DESK_MAX: usize = 8;
pub(crate) const TICK_MS: u64 = 10_000;

impl World {
    /// The next process goes on with what the one before has left.
    pub(crate) fn start(&mut self, at: usize) {
        self.process_count += 1;
        self.instances[at].start_count += 1;
        let chance = Random::at(self.seed ^ self.process_count, u64::MAX - 1);
        let shape = self.shape.clone();
        if !self.instances[at].kept.lasts() {
            // Whoever keeps nothing cannot keep its name either.
            self.instances[at].name = Writer(format!("run-{}", self.process_count).as_str().into());
        }
        let mut opened = self.instances[at].kept.open(&self.mongo);
        let store = opened.store();
        let mut clock = Clock::new(self.wall);
        let now = clock.follow(self.wall).now;
        let reads_back = store.recaller().expect("it can be opened").is_some();
        let config = shape.ledger(reads_back);
        let restored = store.restore(now, config.holders_max).expect("it can be read");
        let courier = opened.courier();
        if courier.is_some() {
            // What others have set is read from MongoDB, if that answers.
            let books = &mut self.instances[at].books;
            restored.holders.iter().for_each(|state| books.join(who(&state.holder), state));
            restored.keys.iter().for_each(|key| books.join_key(key_index(&key.value.hash), key));
        }
        let (mut shards, senders): (Vec<Shard>, Vec<Sender<Order>>) =
            (0..shape.shards).map(|_| self.new_shard()).unzip();
        let (holders_max, default_limit) = (config.holders_max, config.default_limit.clone());
        let ledger = Ledger::restore(config, restored, now);
        let mut aggregator = Aggregator::new(ledger, holders_max, senders, Arc::default(), None);
        if !self.rebook(at, opened.store(), &mut aggregator, now) {
            // It is killed at that, and the next process does it.
            drop((opened, courier));
            return self.start(at);
        }
        let lanes = opened.store().lanes(shape.shards + 1).expect("a journal can be begun");
        for (shard, lane) in shards.iter_mut().zip(aggregator.take_lanes(lanes)) {
            shard.lane = Some(lane);
        }
        let prices = Arc::new(Prices::new(PriceTable::builtin()));
        aggregator.price_by(Arc::clone(&prices));
        let (handle, desk) = Desk::new(DESK_MAX, Arc::clone(&prices), default_limit);
        let line = shape.is_cluster().then(|| {
            let (link, line) = link(shape.instances as u32);
            aggregator.join(link);
            line
        });
        let is_lost = shape.is_cluster();
        self.instances[at].process = Some(Process {
            shards,
            queue: Rc::new(RefCell::new(Queue::new(shape.queue_max, self.plant, chance))),
            aggregator,
            handle,
            desk,
            asked: Vec::new(),
            prices,
            clock,
            began: self.elapsed,
            store: opened.into_store(),
            courier,
            batches: VecDeque::new(),
            batches_committed: 0,
            answers: VecDeque::new(),
            line,
            events: VecDeque::new(),
            is_lost,
            read_upto: 0,
            drains: false,
        });
        if is_lost && !self.redis.is_away {
            self.find_redis(at);
            self.receive_all(at);
        }
        self.check_restored(at);
        self.coverage.note("process begins");
    }

    fn new_shard(&self) -> (Shard, Sender<Order>) {
        let (sender, mailbox) = mailbox(MAILBOX_MAX).expect("a notifier can be made");
        let shard = Shard {
            mailbox,
            accounts: Rc::new(Accounts::new(self.shape.cache_max, TICK_MS)),
            held: Held::new(self.shape.held_max),
            lane: None,
            sessions: Vec::new(),
            entering: Vec::new(),
        };
        (shard, sender)
    }

    /// It is reached: who is there is told first.
    pub(crate) fn find_redis(&mut self, at: usize) {
        let count = self.shape.instances as u32;
        let process = self.process_mut(at);
        process.is_lost = false;
        let present = ClusterEvent::Instances { count, present: count };
        process.events.extend([present, ClusterEvent::Found]);
    }

    /// A process ends, if this world's do: it is killed between two steps, or drains and is over.
    pub(crate) fn end(&mut self, at: usize) {
        if !self.shape.ends || !self.chance.once_in(2) {
            return;
        }
        let in_peace = self.chance.once_in(3);
        let lost =
            |world: &World| world.instances[at].books.booked.iter().filter(|booked| booked.is_lost).count();
        let before = lost(self);
        if in_peace {
            self.coverage.note("process ends in peace");
            self.process_mut(at).drains = true;
            self.finish_process(at);
        } else {
            self.coverage.note("process is killed");
        }
        self.take(at);
        let may_lose = !in_peace || !self.instances[at].kept.lasts();
        assert!(may_lose || lost(self) == before, "who ends in peace loses nothing");
        if self.chance.once_in(2) {
            self.start(at);
        }
    }

    /// The process is gone, and all that it alone had. What was written, answered for or not, is what holds.
    fn take(&mut self, at: usize) {
        let instance = &mut self.instances[at];
        drop(instance.process.take());
        let (books, written, lasts) = (&mut instance.books, &instance.kept.written, instance.kept.lasts());
        let taken = lose(books, |booked| lasts && (booked.is_in_journal || written.has(booked.number)));
        books.forget_process();
        if lasts {
            written.tell(books);
        }
        if taken > 0 {
            self.coverage.note("kill takes what was not committed");
        }
    }

    /// What is in the journal is booked, before anything else happens. Whether it comes to the end of that.
    fn rebook(
        &mut self,
        at: usize,
        store: &mut dyn Store,
        aggregator: &mut Aggregator,
        now: Timestamp,
    ) -> bool {
        let fails = self.chance.once_in(4);
        let mut failing = Failing { store, fails, takes: self.chance.once_in(2) };
        if rebook(&mut failing, aggregator, now).is_err() {
            self.coverage.note("kill while the journal is booked");
            return false;
        }
        let Instance { books, kept, .. } = &mut self.instances[at];
        if !kept.has_journal() {
            return true;
        }
        let is_new = |booked: &&Booked| booked.is_in_journal && !kept.written.has(booked.number);
        let numbers: Vec<u64> = books.booked.iter().filter(is_new).map(|booked| booked.number).collect();
        if !numbers.is_empty() {
            self.coverage.note("journal is booked");
        }
        self.instances[at].kept.written.note_rebooked(numbers.into_iter());
        true
    }
}

/// Strikes off what is not kept. How much that was.
fn lose(books: &mut Books, is_kept: impl Fn(&Booked) -> bool) -> usize {
    let gone = books.booked.iter_mut().filter(|booked| !booked.is_lost && !is_kept(booked));
    gone.map(|booked| booked.is_lost = true).count()
}
