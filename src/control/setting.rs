//! What instances tell each other: settings with their revisions, as JSON.

use serde::{Deserialize, Serialize};
use tokenist_core::batch::{HolderState, Stamped};
use tokenist_core::catalog::Entry;
use tokenist_core::key::Key;

/// A setting that holds on every instance. The greater revision holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SettingUpdate {
    Holder(HolderState),
    Key(Stamped<Key>),
    Entry(Stamped<Entry>),
}
