//! A user's usage by org, feature and model: since the start of the process, and hour by hour for the store.
//!
//! Invariant: what a row has once counted is handed to the store before the row is left.

use crate::batch::{Rollup, Serial};
use crate::id::{Feature, Identity, Model, OrgId, UserId};
use crate::message::Delta;
use crate::time::{HOUR_MS, Timestamp};
use crate::totals::Totals;

/// One user's usage of one model for one org and feature.
#[derive(Clone, Debug)]
pub struct Series {
    org: Option<OrgId>,
    pub feature: Option<Feature>,
    pub model: Model,
    /// Since the process started.
    pub totals: Totals,
    row: Serial,
    hour: Timestamp,
    row_totals: Totals,
    /// The row holds something that no batch has carried.
    unsaved: bool,
}

impl Series {
    /// Begins row number `row` at the delta's hour.
    pub fn new(delta: &Delta, row: Serial) -> Series {
        Series {
            org: delta.identity.org.clone(),
            feature: delta.identity.feature.clone(),
            model: delta.model.clone(),
            totals: Totals::default(),
            row,
            hour: hour_of(delta.at),
            row_totals: Totals::default(),
            unsaved: false,
        }
    }

    /// Whether usage of this model by this identity belongs here.
    pub fn is_of(&self, identity: &Identity, model: &Model) -> bool {
        self.model == *model && self.org == identity.org && self.feature == identity.feature
    }

    /// Whether the row is of another hour than `at`.
    pub fn has_left(&self, at: Timestamp) -> bool {
        self.hour != hour_of(at)
    }

    /// Begins row number `row` at the hour of `at`. The row before must have been taken.
    pub fn begin_row(&mut self, row: Serial, at: Timestamp) {
        assert!(!self.unsaved, "a row is handed over before the next begins");
        self.row = row;
        self.hour = hour_of(at);
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
            feature: self.feature.clone(),
            model: self.model.clone(),
            hour: self.hour,
            totals: self.row_totals,
        })
    }
}

fn hour_of(at: Timestamp) -> Timestamp {
    Timestamp(at.0 - at.0 % HOUR_MS)
}
