//! The whole of tokenist in one process, one seed, no threads: instances with their shards and account caches,
//! aggregator, writer and stores, the place where they meet, operators, two clocks, and every fault that can come
//! between two steps.
//!
//! Start at [`Scenario::play`], then `world`. What decides is the product's own: the meter, holders' verdicts, the
//! accounts' atomics, the account cache and the reports that wait in a shard, the aggregator with its ledger, slots,
//! commands and exchange with others, the stores. Simulated are what lies between: sockets and the provider, the queue,
//! the writer's thread, Redis, clocks, and a store that fails. What must be true is in `check`.
//!
//! `seeds` beside this file has the scenarios that failed once; the tests play them first.

mod amount;
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
mod plant;
mod process;
mod provider;
mod queue;
mod scenario;
mod serve;
mod shape;
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
