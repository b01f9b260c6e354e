//! How a process begins, is killed, and ends in peace.

use crate::around::{Around, OwnShard};
use crate::books::{Booked, Books};
use crate::cast::{key_index, who};
use crate::chance::Random;
use crate::control::price_list;
use crate::keep::Failing;
use crate::plant::{PLANTED, Plant};
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
use tokenist_core::time::Timestamp;
use tokenist_handoff::{Addresses, Counters, Lane, Mailbox, Order, Published, Sender, mailbox};
use tokenist_proxy::Links;

/// A shard's mailbox, and the commands that may wait.
const MAILBOX_MAX: usize = 4;
pub(crate) const DESK_MAX: usize = 8;

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
        let can_tell = store.recaller().expect("it can be opened").is_some();
        let reads_back = can_tell || self.plant == Plant::ForgottenBudget;
        let config = shape.ledger(at, reads_back);
        let seats_max = if self.plant == Plant::SeatsAll { usize::MAX } else { config.holders_max };
        let restored = store.restore(now, seats_max).expect("it can be read");
        let courier = opened.courier();
        if courier.is_some() {
            // What others have set is read from MongoDB, if that answers.
            let books = &mut self.instances[at].books;
            restored.holders.iter().for_each(|state| books.join(who(&state.holder), state));
            restored.keys.iter().for_each(|key| books.join_key(key_index(&key.value.hash), key));
        }
        let (mailboxes, senders): (Vec<Mailbox<Order>>, Vec<Sender<Order>>) =
            (0..shape.shards).map(|_| new_mailbox()).unzip();
        let (holders_max, default_limit) = (config.holders_max, config.default_limit.clone());
        let ledger = Ledger::restore(config, restored, now);
        let mut aggregator = Aggregator::new(ledger, holders_max, senders, Arc::default(), None);
        if !self.rebook(at, opened.store(), &mut aggregator, now) {
            // It is killed at that, and the next process does it.
            drop((opened, courier));
            return self.start(at);
        }
        let lanes = opened.store().lanes(shape.shards + 1).expect("a journal can be begun");
        let lanes = aggregator.take_lanes(lanes);
        let prices = Arc::new(Prices::new(price_list("64")));
        aggregator.price_by(Arc::clone(&prices));
        let planted_in = if self.is_scripted { 1 } else { PLANTED };
        let queue = Queue::new(shape.queue_max, (self.plant, planted_in), chance);
        let queue = Rc::new(RefCell::new(queue));
        let shards = self.new_shards(mailboxes, lanes, &queue, &prices);
        let (handle, desk) = Desk::new(DESK_MAX, Arc::clone(&prices), default_limit);
        let line = shape.is_cluster().then(|| {
            let (link, line) = link(shape.instances as u32);
            aggregator.join(link);
            line
        });
        let is_lost = shape.is_cluster();
        self.instances[at].process = Some(Process {
            shards,
            queue,
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
        });
        if is_lost && !self.redis.is_away {
            self.find_redis(at);
            self.receive_all(at);
        }
        self.check_restored(at);
        self.coverage.note("process begins");
    }

    fn new_shards(
        &self,
        mailboxes: Vec<Mailbox<Order>>,
        lanes: Vec<Lane>,
        queue: &Rc<RefCell<Queue>>,
        prices: &Prices,
    ) -> Vec<Shard> {
        let links = Links {
            prices: Arc::clone(prices.in_force()),
            addresses: Arc::new(Published::new(Addresses::default())),
            counters: mailboxes.iter().map(|_| Arc::new(Counters::default())).collect(),
            refusals: Arc::default(),
            calls: Arc::default(),
            boot: self.process_count,
        };
        let mut lanes = lanes.into_iter();
        let shards = mailboxes.into_iter().enumerate().map(|(index, mailbox)| {
            let (clock, numbers) = (Rc::clone(&self.clock), Rc::clone(&self.numbers));
            let lane = lanes.next().filter(|_| self.plant != Plant::JournalForgotten);
            let around = Around::new(clock, Rc::clone(queue), lane, numbers);
            let own = Rc::new(OwnShard::new(index, Arc::clone(&self.config), links.clone(), around));
            let counters = Arc::clone(&links.counters[index]);
            Shard { mailbox, own, counters, sessions: Vec::new(), entering: Vec::new() }
        });
        shards.collect()
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
            self.finish_process(at);
        } else {
            self.coverage.note("process is killed");
        }
        self.take_process(at);
        let may_lose = !in_peace || !self.instances[at].kept.lasts();
        assert!(may_lose || lost(self) == before, "who ends in peace loses nothing");
        if self.chance.once_in(2) {
            self.start(at);
        }
    }

    /// The process is gone, and all that it alone had. What was written, answered for or not, is what holds.
    pub(crate) fn take_process(&mut self, at: usize) {
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

fn new_mailbox() -> (Mailbox<Order>, Sender<Order>) {
    let (sender, mailbox) = mailbox(MAILBOX_MAX).expect("a notifier can be made");
    (mailbox, sender)
}

/// Strikes off what is not kept. How much that was.
fn lose(books: &mut Books, is_kept: impl Fn(&Booked) -> bool) -> usize {
    let gone = books.booked.iter_mut().filter(|booked| !booked.is_lost && !is_kept(booked));
    gone.map(|booked| booked.is_lost = true).count()
}
