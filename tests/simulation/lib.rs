//! The whole of tokenist in one process, one seed, no threads: instances with their shards and account caches,
//! aggregator, writer and stores, the place where they meet, operators, two clocks, and every fault that can come
//! between two steps.
//!
//! Start at [`Scenario::play`], then `world`. What decides is the product's own: shards with their sessions' taps and
//! meters, what they hear out and how they drain, the accounts' atomics, the aggregator with its ledger, slots, commands
//! and exchange with others, the stores. Simulated are what lies between: what moves bytes, the provider, the queue, the
//! writer's thread, Redis, clocks, and a store that fails. What must be true is in `check`.
//!
//! `seeds` beside this file has the scenarios that failed once; the tests play them first, and those with a name
//! ([`named`]).

mod admit;
mod amount;
mod around;
mod books;
mod cast;
mod chance;
mod check;
mod cluster;
mod control;
mod copies;
mod coverage;
mod disk;
mod exchange;
mod keep;
mod life;
mod mongo;
pub mod named;
mod plant;
mod process;
mod provider;
mod queue;
mod relay;
mod scenario;
mod script;
mod shape;
mod story;
mod world;

pub use coverage::Coverage;
pub use plant::Plant;
pub use scenario::{Failure, Played, STEP_COUNT, Scenario};

/// The rows of `seeds`.
pub fn kept() -> Vec<Scenario> {
    include_str!("seeds").lines().filter_map(Scenario::parse).collect()
}

#[cfg(test)]
mod tests;
