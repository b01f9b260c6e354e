//! What kind of world a seed makes, before anything happens in it.

use crate::chance::Random;
use std::sync::Arc;
use tokenist_core::auth_scheme::AuthScheme;
use tokenist_core::client::TrustedProxies;
use tokenist_core::dialect;
use tokenist_core::http::pass::PassList;
use tokenist_core::ledger;
use tokenist_core::limit::{Limit, Mode, OnRedisDown, WindowKind};
use tokenist_core::meter::{Billing, EstimateMode};
use tokenist_core::models::Models;
use tokenist_core::money::NanoUsd;
use tokenist_core::origin::Origins;
use tokenist_core::provider::{Routes, Served};
use tokenist_core::revision::Tag;
use tokenist_proxy::{
    Config, Driver, IdentityRules, MediaListen, Provider, Refuse, Sideband, Unmetered, WebRtc,
};

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
    /// Between two ticks, as shards take it.
    pub(crate) tick_ms: u64,
    /// Accounts that a shard remembers.
    pub(crate) cache_max: usize,
    pub(crate) details_max: usize,
    /// Details that are older are removed; 0: never.
    pub(crate) details_days: u64,
    /// Of a lane of the journal, where there is one.
    pub(crate) lane_bytes: u64,
    /// The wall clock is set, forwards and back.
    pub(crate) clock_jumps: bool,
    /// Processes are killed and end in peace.
    pub(crate) ends: bool,
    pub(crate) estimate: EstimateMode,
    pub(crate) default_limit: Limit,
    /// How long sessions may last, and may be idle.
    pub(crate) session_seconds: Option<u64>,
    pub(crate) idle_seconds: Option<u64>,
}

/// What a thousandth of a dollar is in nano-dollars: some sixteen tokens of speech.
pub(crate) const MILLI: i64 = 1_000_000;

const SHORT_LANE_BYTES: u64 = 1_024;

/// So that accounts are forgotten after some ticks.
const SLOW_TICK_MS: u64 = 10_000;

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
            tick_ms: SLOW_TICK_MS,
            cache_max: chance.pick(&[2, 8, 50]),
            // Some ten responses, so that lanes go round, and are full now and then.
            lane_bytes: if chance.once_in(2) { SHORT_LANE_BYTES } else { 1 << 16 },
            details_max: if leaves_out { 10 } else { 100_000 },
            details_days: 0,
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
            session_seconds: chance.once_in(4).then_some(3_600),
            idle_seconds: chance.once_in(8).then_some(600),
        }
    }

    /// What the shards are told.
    pub(crate) fn proxy(&self) -> Config {
        let family = dialect::family("openai").expect("it is spoken");
        let provider = Provider {
            name: "openai".into(),
            billing: Billing::from("openai"),
            keeps_under: "openai".into(),
            host: "provider.invalid".into(),
            port: 443,
            tls: None,
            auth: AuthScheme::Bearer,
            keys: Vec::new(),
            headers: PassList::with("").expect("it adds nothing"),
        };
        let models = Models::parse("").expect("any will do");
        Config {
            listen: None,
            tls_listen: None,
            tls: None,
            takeover: false,
            driver: Driver::Auto,
            pin: false,
            session_max: 1_000,
            refusal_max: 0,
            message_max_bytes: 1 << 20,
            tick_ms: self.tick_ms,
            head_ms: 10_000,
            dial_ms: 10_000,
            close_ms: 2_000,
            half_close_ms: 30_000,
            linger_ms: 5_000,
            release_ms: 1_000,
            // Nobody is silent who is not there.
            ping_ms: u64::MAX / 4,
            held_max: self.held_max,
            account_cache_max: self.cache_max,
            identity: IdentityRules { passthrough: true, query: false },
            signer: None,
            origins: Origins::default(),
            trusted_proxies: TrustedProxies::default(),
            proxy_protocol: false,
            refuse: Refuse::Auto,
            unmetered: Unmetered::Refuse,
            webrtc: WebRtc::Direct,
            media: MediaListen::default(),
            sideband: Sideband::Required,
            body_max_bytes: 8 << 20,
            include_usage: true,
            keep_alive_ms: 75_000,
            answer_ms: 600_000,
            body_ms: 60_000,
            background_ms: 3_600_000,
            session_seconds: self.session_seconds,
            idle_seconds: self.idle_seconds,
            panic_user: None,
            estimate: self.estimate,
            refuse_unknown_models: false,
            providers: vec![Arc::new(provider)],
            routes: Routes::new(vec![Served { name: "openai".into(), family, models }]),
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

    /// Of this instance's ledger.
    pub(crate) fn ledger(&self, at: usize, reads_back: bool) -> ledger::Config {
        ledger::Config {
            tag: Tag::of(at as u64),
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
