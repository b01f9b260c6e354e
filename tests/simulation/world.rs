//! Everything that takes part, and one step after another of it.
//!
//! Start at [`World::step`]. How sessions come in is in `admit`, what happens in them in `relay`, what the control plane does in `control`, what
//! instances tell each other in `cluster`, how processes end and begin in `life`, and what must be true in `check`.

use crate::around::OwnShard;
use crate::books::Books;
use crate::cast::HOLDER_COUNT;
use crate::chance::Random;
use crate::coverage::Coverage;
use crate::exchange::Redis;
use crate::keep::Kept;
use crate::mongo::Mongo;
use crate::plant::{LATE_MS, Plant};
use crate::process::Process;
use crate::shape::Shape;
use crate::story::begin_line;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokenist_core::cluster::Writer;
use tokenist_core::time::{DAY_MS, HOUR_MS, Instant, MINUTE_MS, Now, SECOND_MS, Timestamp};
use tokenist_proxy::Config;

/// 2026-11-30T21:00:00Z: three hours from the end of a day and a month.
const START: Timestamp = Timestamp(1_796_072_400_000);
/// What passes with every step.
const STEP_MS: u64 = 5;

pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) shape: Shape,
    pub(crate) plant: Plant,
    /// Nothing happens that nobody has asked for.
    pub(crate) is_scripted: bool,
    /// What the shards are told.
    pub(crate) config: Arc<Config>,
    /// Of the step that is taken.
    pub(crate) chance: Random,
    /// What shards see of both clocks.
    pub(crate) clock: Rc<Cell<Now>>,
    /// What every machine's clock says.
    pub(crate) wall: Timestamp,
    /// The clock that only runs.
    pub(crate) elapsed: Duration,
    pub(crate) instances: Vec<Instance>,
    pub(crate) redis: Redis,
    pub(crate) mongo: Mongo,
    /// What the clock that only runs says where the world begins.
    pub(crate) epoch: std::time::Instant,
    /// The last numbers given, the first to what is booked.
    pub(crate) numbers: Rc<Cell<u64>>,
    pub(crate) session_count: u64,
    pub(crate) process_count: u64,
    pub(crate) coverage: Coverage,
    trace: u64,
}

pub(crate) struct Instance {
    pub(crate) name: Writer,
    pub(crate) kept: Kept,
    pub(crate) books: Books,
    /// How many processes it has had.
    pub(crate) start_count: u32,
    /// None between two processes.
    pub(crate) process: Option<Process>,
}

impl World {
    pub(crate) fn new(seed: u64, plant: Plant) -> World {
        let mut chance = Random::at(seed, u64::MAX);
        let shape = Shape::of(&mut chance);
        World::of(seed, shape, plant, chance, false)
    }

    /// A world of this shape, in which nothing happens that is not asked for.
    pub(crate) fn scripted(shape: Shape, plant: Plant) -> World {
        World::of(0, shape, plant, Random::at(0, u64::MAX), true)
    }

    fn of(seed: u64, shape: Shape, plant: Plant, chance: Random, is_scripted: bool) -> World {
        let new = |index: usize| Instance {
            name: Writer(Arc::from(format!("instance-{index}"))),
            kept: Kept::new(&shape),
            books: Books::default(),
            start_count: 0,
            process: None,
        };
        let instances: Vec<_> = (0..shape.instances).map(new).collect();
        let (count, config) = (instances.len(), Arc::new(shape.proxy()));
        let mut world = World {
            seed,
            shape,
            plant,
            is_scripted,
            config,
            chance,
            clock: Rc::default(),
            wall: START,
            elapsed: Duration::ZERO,
            instances,
            redis: Redis::default(),
            mongo: Mongo::default(),
            epoch: std::time::Instant::now(),
            numbers: Rc::default(),
            session_count: 0,
            process_count: 0,
            coverage: Coverage::default(),
            trace: 0xcbf2_9ce4_8422_2325,
        };
        (0..count).for_each(|index| world.start(index));
        world
    }

    /// One thing happens, which one the step's own chance says; then all that must be true is looked at.
    pub(crate) fn step(&mut self, place: u64) {
        self.chance = Random::at(self.seed, place);
        let at = self.chance.index(self.shape.instances);
        begin_line(|| format!("{place}, instance {at} at {} ms", self.wall.since(START)));
        if self.instances[at].process.is_none() {
            self.happen_without(at);
        } else {
            self.happen(at);
        }
        self.pass_ms(STEP_MS);
        self.settle_wishes();
        self.check();
        self.write_down(place);
    }

    fn happen(&mut self, at: usize) {
        let shard = self.chance.index(self.shape.shards);
        match self.chance.below(100) {
            0..8 => drop(self.arrive(at, shard)),
            8..14 => self.dial(at, shard),
            14..38 => self.speak(at, shard),
            38..42 => self.speak_up(at, shard),
            42..44 => self.leave(at, shard),
            44..52 => drop(self.tick_shard(at, shard)),
            52..60 => drop(self.obey(at, shard)),
            60..70 => self.apply(at),
            70..75 => self.tick(at),
            75..79 => self.commit(at),
            79..82 => self.read_back(at),
            82..85 => self.operate(at),
            85..88 => self.serve_desk(at),
            88..94 => self.meet(at),
            94..97 => self.pass_time(),
            97 => self.apply_rule_action(at),
            98 => self.reload(at),
            _ => self.end(at),
        }
    }

    /// The instance is down: it comes back, or time passes.
    fn happen_without(&mut self, at: usize) {
        match self.chance.below(3) {
            0 => self.start(at),
            1 => self.pass_time(),
            _ => {}
        }
    }

    pub(crate) fn pass_ms(&mut self, ms: u64) {
        self.wall = self.wall.plus_ms(ms);
        self.elapsed += Duration::from_millis(ms);
    }

    fn pass_time(&mut self) {
        let span = match self.chance.below(8) {
            0..5 => SECOND_MS,
            5 => MINUTE_MS,
            6 => 10 * MINUTE_MS,
            _ => self.chance.pick(&[3 * HOUR_MS, 2 * DAY_MS]),
        };
        let ms = self.chance.below(span);
        if !self.shape.clock_jumps || !self.chance.once_in(3) {
            self.coverage.note("time passes");
            return self.pass_ms(ms);
        }
        if self.chance.once_in(2) {
            self.coverage.note("wall clock set forwards");
            self.wall = self.wall.plus_ms(ms);
        } else {
            self.coverage.note("wall clock set back");
            self.wall = self.wall.minus_ms(ms);
        }
    }

    pub(crate) fn now(&self) -> Now {
        let ms = u64::try_from(self.elapsed.as_millis()).expect("no world lasts so long");
        Now { wall: self.wall, instant: Instant(ms) }
    }

    /// Once in so many times, unless nothing happens that nobody has asked for.
    pub(crate) fn perhaps(&mut self, times: u64) -> bool {
        !self.is_scripted && self.chance.once_in(times)
    }

    /// A shard of the product's, for which it is now.
    pub(crate) fn shard(&self, at: usize, shard: usize) -> Rc<OwnShard> {
        let now = self.now();
        self.clock.set(match self.plant {
            Plant::OneClock => Now { instant: Instant(now.wall.0), ..now },
            Plant::LateShard => Now { wall: now.wall.minus_ms(LATE_MS), ..now },
            _ => now,
        });
        Rc::clone(&self.process(at).shards[shard].own)
    }

    pub(crate) fn process(&self, at: usize) -> &Process {
        self.instances[at].process.as_ref().expect("it runs")
    }

    pub(crate) fn process_mut(&mut self, at: usize) -> &mut Process {
        self.instances[at].process.as_mut().expect("it runs")
    }

    pub(crate) fn running(&self) -> Vec<usize> {
        (0..self.instances.len()).filter(|&at| self.instances[at].process.is_some()).collect()
    }

    /// What the world is now goes into the trace.
    fn write_down(&mut self, place: u64) {
        let mut words = vec![place, self.wall.0, self.elapsed.as_millis() as u64];
        for Instance { books, process, .. } in &self.instances {
            words.extend((0..HOLDER_COUNT).map(|who| books.kept(who).nano as u64));
            let Some(process) = process else { continue };
            words.push(process.queue.borrow().len() as u64);
            words
                .extend(process.sessions().flat_map(|session| [session.id().0, session.charged.nano as u64]));
        }
        for word in words {
            for byte in word.to_le_bytes() {
                self.trace = (self.trace ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
    }

    /// The same for the same seed and steps.
    pub(crate) fn trace(&self) -> u64 {
        self.trace
    }
}
