//! Which of two settings of the same thing holds.

use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// Which of two settings of the same thing is the later one, also where two instances made them: the wall clock's
/// milliseconds above 16 bits that tell settings of the same millisecond apart, first in an instance, then by its
/// [`Tag`]. Zero was never set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Revision(pub u64);

/// A value with the revision that set it. The greater revision holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamped<T> {
    pub revision: Revision,
    pub value: T,
}

/// Of a process, one of 1,024: two that set the same thing in the same millisecond do not give it the same revision, or
/// each would keep its own for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tag(u64);

const TAG_BITS: u32 = 10;

impl Tag {
    /// Its lowest bits are what counts.
    pub fn of(number: u64) -> Tag {
        Tag(number & Tag::MASK)
    }

    const MASK: u64 = (1 << TAG_BITS) - 1;
}

impl Revision {
    /// When it was set, by the clock of the instance that did.
    pub fn set_at(self) -> Timestamp {
        Timestamp(self.0 >> 16)
    }

    /// A revision that is later than `last`, set at `now` by the process with this tag.
    pub fn after(last: Revision, now: Timestamp, tag: Tag) -> Revision {
        let least = (last.0 + 1).max(now.0 << 16);
        Revision(least + (tag.0.wrapping_sub(least) & Tag::MASK))
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn settings_of_two_processes_have_an_order(
            one in 0..1_024u64,
            other in 0..1_024u64,
            last in 0..1u64 << 57,
            at in 0..1u64 << 41,
        ) {
            prop_assume!(one != other);
            let set = |last, tag| Revision::after(Revision(last), Timestamp(at), Tag::of(tag));
            let (first, second) = (set(last, one), set(last, other));
            prop_assert!(first != second && first.0 > last && second.0 > last);
            prop_assert!(set(first.0, one) > first && set(first.0, other) > first);
            let is_of_now = last < at << 16;
            prop_assert!(!is_of_now || first.set_at() == Timestamp(at), "of the millisecond in which it is set");
        }
    }
}
