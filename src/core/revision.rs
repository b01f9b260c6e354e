//! Which of two settings of the same thing holds.

use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// Which of two settings of the same thing is the later one, also where two instances made them: the wall clock's
/// milliseconds above 16 bits that tell settings of the same millisecond apart. Zero was never set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Revision(pub u64);

/// A value with the revision that set it. The greater revision holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamped<T> {
    pub revision: Revision,
    pub value: T,
}

impl Revision {
    /// When it was set, by the clock of the instance that did.
    pub fn set_at(self) -> Timestamp {
        Timestamp(self.0 >> 16)
    }

    /// A revision that is later than `last`, set at `now`.
    pub fn after(last: Revision, now: Timestamp) -> Revision {
        Revision((last.0 + 1).max(now.0 << 16))
    }
}

impl<T> Stamped<T> {
    /// Takes over what was set later. Whether it was.
    pub fn join(&mut self, other: Stamped<T>) -> bool {
        let is_later = other.revision > self.revision;
        if is_later {
            *self = other;
        }
        is_later
    }
}
