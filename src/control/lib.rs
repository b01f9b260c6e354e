//! The control plane: the aggregator around the core's ledger, and the stores.
//!
//! Start at [`handle`] for what others may ask of it.

pub mod handle;
