//! A user's usage by org, key, feature and model: since the start of the process, and hour by hour for the store.
//!
//! Invariant: what a row has once counted is handed to the store before the row is left.

use crate::batch::{Grain, Rollup, Serial};
use crate::id::{Feature, KeyHash, Model, OrgId, UserId};
use crate::message::Delta;
use crate::time::Timestamp;
use crate::totals::Totals;
use std::sync::Arc;

/// One user's usage of one model for one org, key and feature.
#[derive(Clone, Debug)]
pub struct Series {
    org: Option<OrgId>,
    key: Option<KeyHash>,
    pub feature: Option<Feature>,
    provider: Arc<str>,
    pub model: Model,
    /// Since the process started.
    pub totals: Totals,
    row: Serial,
    start: Timestamp,
    grain: Grain,
    row_totals: Totals,
    /// The row holds something that no batch has carried.
    unsaved: bool,
}

impl Series {
    /// Begins row number `row` at the delta's time.
    pub fn new(delta: &Delta, row: Serial, grain: Grain) -> Series {
        Series {
            org: delta.identity.org.clone(),
            key: delta.identity.key,
            feature: delta.identity.feature.clone(),
            provider: Arc::clone(&delta.provider),
            model: delta.model.clone(),
            totals: Totals::default(),
            row,
            start: grain.start(delta.at),
            grain,
            row_totals: Totals::default(),
            unsaved: false,
        }
    }

    pub fn org(&self) -> Option<&OrgId> {
        self.org.as_ref()
    }

    /// Whether this delta's usage belongs here.
    pub fn is_of(&self, delta: &Delta) -> bool {
        let identity = &delta.identity;
        self.model == delta.model
            && self.org == identity.org
            && self.feature == identity.feature
            && self.key == identity.key
            && self.provider == delta.provider
    }

    /// Whether the row is of another span than that of `at`.
    pub fn has_left(&self, at: Timestamp, grain: Grain) -> bool {
        self.grain != grain || self.start != grain.start(at)
    }

    /// Begins row number `row` at `at`. The row before must have been taken.
    pub fn begin_row(&mut self, row: Serial, at: Timestamp, grain: Grain) {
        assert!(!self.unsaved, "a row is handed over before the next begins");
        self.row = row;
        self.start = grain.start(at);
        self.grain = grain;
        self.row_totals = Totals::default();
    }

    pub fn add(&mut self, amount: &Totals) {
        self.totals += *amount;
        self.row_totals += *amount;
        self.unsaved = true;
    }

    /// The row as it stands, if it has grown since it was last taken.
    pub fn take_unsaved(&mut self, user: &UserId) -> Option<Rollup> {
        std::mem::take(&mut self.unsaved).then(|| Rollup {
            row: self.row,
            user: user.clone(),
            org: self.org.clone(),
            key: self.key,
            feature: self.feature.clone(),
            provider: Arc::clone(&self.provider),
            model: self.model.clone(),
            start: self.start,
            grain: self.grain,
            totals: self.row_totals,
        })
    }
}
