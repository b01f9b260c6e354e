//! What the shards are given of the other planes.

use std::sync::Arc;
use tokenist_core::price::PriceTable;
use tokenist_handoff::{Addresses, Calls, Counters, Published, Refusals};

/// What ties the shards to the other planes. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Links {
    pub prices: Arc<Published<PriceTable>>,
    pub addresses: Arc<Published<Addresses>>,
    /// One for each shard.
    pub counters: Vec<Arc<Counters>>,
    pub refusals: Arc<Refusals>,
    pub calls: Arc<Calls>,
    /// 20 random bits that tell this process's session ids from the last one's.
    pub boot: u64,
}
