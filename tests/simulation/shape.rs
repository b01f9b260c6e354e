//! What kind of world a seed makes, before anything happens in it.

use crate::chance::Random;
use tokenist_core::ledger;
use tokenist_core::limit::{Limit, Mode, OnRedisDown, WindowKind};
use tokenist_core::meter::EstimateMode;
use tokenist_core::models::Models;
use tokenist_core::money::NanoUsd;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Nothing outlives the process.
    Memory,
    /// A store in memory that outlives it, with rows as the ledger file has them.
    Disk,
    /// The ledger file itself, in a file system that is in memory.
    File,
    /// That, and a copy of it in a MongoDB where instances meet.
    Mongo,
}

#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) keep: Keep,
    pub(crate) instances: usize,
    pub(crate) shards: usize,
    /// Fewer slots than holders.
    pub(crate) is_small: bool,
    /// So many reports wait in a shard before they are added up.
    pub(crate) held_max: usize,
    pub(crate) queue_max: usize,
    /// Accounts that a shard remembers.
    pub(crate) cache_max: usize,
    pub(crate) details_max: usize,
    /// Of a lane of the journal, where there is one.
    pub(crate) lane_bytes: u64,
    /// The wall clock is set, forwards and back.
    pub(crate) clock_jumps: bool,
    /// Processes are killed and end in peace.
    pub(crate) ends: bool,
    pub(crate) estimate: EstimateMode,
    pub(crate) default_limit: Limit,
}

/// What a thousandth of a dollar is in nano-dollars: some sixteen tokens of speech.
pub(crate) const MILLI: i64 = 1_000_000;

const SHORT_LANE_BYTES: u64 = 1_024;

impl Shape {
    pub(crate) fn of(chance: &mut Random) -> Shape {
        let keep = match chance.below(16) {
            0 | 1 => Keep::Memory,
            2 | 4 => Keep::File,
            3 => Keep::Mongo,
            _ => Keep::Disk,
        };
        let instances = match chance.below(8) {
            0..4 => 1,
            4..7 => 2,
            _ => 3,
        };
        // Where reports are added up, or details left out, nothing tells which of them a kill has taken.
        let adds_up = chance.once_in(6);
        let leaves_out = chance.once_in(12);
        Shape {
            keep,
            instances,
            shards: 1 + chance.index(3),
            is_small: chance.once_in(4),
            held_max: if adds_up { 3 } else { 1_000 },
            queue_max: chance.pick(&[4, 20, 200]),
            cache_max: chance.pick(&[2, 8, 50]),
            // Some ten responses, so that lanes go round, and are full now and then.
            lane_bytes: if chance.once_in(2) { SHORT_LANE_BYTES } else { 1 << 16 },
            details_max: if leaves_out { 10 } else { 100_000 },
            clock_jumps: chance.once_in(6),
            ends: !adds_up && !leaves_out && chance.below(3) > 0,
            estimate: match chance.below(8) {
                0 => EstimateMode::Off,
                1 => EstimateMode::Observe,
                _ => EstimateMode::Enforce,
            },
            default_limit: Limit {
                max_cost: Some(NanoUsd(chance.pick(&[5, 20, 60]) * MILLI)),
                max_tokens: None,
                window: chance.pick(&WindowKind::ALL),
                mode: Mode::Enforce,
                max_sessions: None,
                on_redis_down: OnRedisDown::LocalShare,
                models: Models::default(),
            },
        }
    }

    /// Reports that wait are added up soon, so that one event may be several.
    pub(crate) fn adds_up(&self) -> bool {
        self.held_max < 100
    }

    /// A lane of the journal may be full.
    pub(crate) fn has_short_lanes(&self) -> bool {
        self.lane_bytes == SHORT_LANE_BYTES
    }

    pub(crate) fn is_cluster(&self) -> bool {
        self.instances > 1
    }

    pub(crate) fn ledger(&self, reads_back: bool) -> ledger::Config {
        ledger::Config {
            holders_max: if self.is_small { 5 } else { 100 },
            strangers_max: 50,
            reads_back,
            series_max: 2,
            // Where rows have to wait for a store, hours become coarse, and a restart tells days apart no better.
            rollups_max: if self.ends || self.is_small { 100_000 } else { 8 },
            details_max: self.details_max,
            default_limit: self.default_limit.clone(),
            in_cluster: self.is_cluster(),
            ..ledger::Config::default()
        }
    }
}
