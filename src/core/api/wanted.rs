//! What is wanted of a JSON value: paths of keys through its objects, and which of them a key can lead to.
//!
//! Start at [`Wants::under`]. A list is laid out where it is written, so that nothing of it is worked out for an answer.

use crate::dialect::OutputKind;

/// Something that is wanted of a value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(super) path: &'static str,
    pub(super) what: What,
    /// Where each key of the path ends, and how many they are.
    ends: [u8; KEYS_MAX],
    keys: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// The value itself.
    Value,
    /// Whether there is an object.
    Presence,
    /// How long the value is, as so much output.
    Output(OutputKind),
}

pub(crate) const fn value(path: &'static str) -> Wanted {
    Wanted::new(path, What::Value)
}

pub(crate) const fn presence(path: &'static str) -> Wanted {
    Wanted::new(path, What::Presence)
}

pub(crate) const fn text(path: &'static str) -> Wanted {
    Wanted::new(path, What::Output(OutputKind::Text))
}

pub(crate) const fn audio(path: &'static str) -> Wanted {
    Wanted::new(path, What::Output(OutputKind::Audio))
}

/// Keys of a path.
const KEYS_MAX: usize = 6;
/// More of the wanted paths than this cannot be told apart.
const WANTED_MAX: usize = 64;

impl Wanted {
    const fn new(path: &'static str, what: What) -> Wanted {
        let bytes = path.as_bytes();
        let (mut ends, mut keys, mut at) = ([0; KEYS_MAX], 0, 0);
        while at <= bytes.len() {
            if at == bytes.len() || bytes[at] == b'.' {
                ends[keys] = at as u8;
                keys += 1;
            }
            at += 1;
        }
        Wanted { path, what, ends, keys }
    }

    /// Where the key behind so many others stands in the path.
    const fn place(&self, keys: usize) -> (usize, usize) {
        let from = if keys == 0 { 0 } else { self.ends[keys - 1] as usize + 1 };
        (from, self.ends[keys] as usize)
    }

    fn key(&self, keys: usize) -> &[u8] {
        let (from, end) = self.place(keys);
        &self.path.as_bytes()[from..end]
    }
}

/// All that is wanted of a value. A set of them has a bit for each.
#[derive(Debug)]
pub(crate) struct Wants {
    all: &'static [Wanted],
    /// By how many keys lead to them.
    whole: [u64; KEYS_MAX + 1],
    /// By how many keys stand before the next one, and by its shelf: those that go on there.
    shelves: [[u64; SHELVES]; KEYS_MAX],
    /// Of each, and by how many keys stand before it: those with the same key there.
    alike: [[u64; KEYS_MAX]; WANTED_MAX],
}

/// By its length and its first letter most keys are told from those that are wanted.
const SHELVES: usize = 16;

const fn shelf(length: usize, first: u8) -> usize {
    (length + first as usize) % SHELVES
}

impl Wants {
    pub(crate) const fn new(all: &'static [Wanted]) -> Wants {
        assert!(all.len() <= WANTED_MAX, "a set of them has a bit for each");
        let mut wants = Wants {
            all,
            whole: [0; KEYS_MAX + 1],
            shelves: [[0; SHELVES]; KEYS_MAX],
            alike: [[0; KEYS_MAX]; WANTED_MAX],
        };
        let mut index = 0;
        while index < all.len() {
            let wanted = &all[index];
            wants.whole[wanted.keys] |= 1 << index;
            let mut keys = 0;
            while keys < wanted.keys {
                let (from, end) = wanted.place(keys);
                wants.shelves[keys][shelf(end - from, wanted.path.as_bytes()[from])] |= 1 << index;
                wants.alike[index][keys] = alike(all, wanted, keys);
                keys += 1;
            }
            index += 1;
        }
        wants
    }

    /// All of them, as they are before the value begins.
    pub(super) fn set(&self) -> u64 {
        u64::MAX >> (WANTED_MAX - self.all.len().clamp(1, WANTED_MAX))
    }

    /// Which of these are under the next key, behind so many others.
    pub(super) fn under(&self, set: u64, keys: usize, key: &[u8]) -> u64 {
        let (Some(shelves), Some(first)) = (self.shelves.get(keys), key.first()) else { return 0 };
        let mut there = members(set & shelves[shelf(key.len(), *first)]);
        there.find(|index| self.all[*index].key(keys) == key).map_or(0, |index| set & self.alike[index][keys])
    }

    /// Those of these to which so many keys lead.
    pub(super) fn at(&self, set: u64, keys: usize) -> impl Iterator<Item = (usize, &'static Wanted)> {
        let all = self.all;
        members(set & self.whole.get(keys).copied().unwrap_or(0)).map(move |index| (index, &all[index]))
    }
}

/// Which have the key that this one has behind so many others.
const fn alike(all: &[Wanted], wanted: &Wanted, keys: usize) -> u64 {
    let (mut set, mut index) = (0, 0);
    while index < all.len() {
        if keys < all[index].keys
            && is_same(all[index].path, all[index].place(keys), wanted.path, wanted.place(keys))
        {
            set |= 1 << index;
        }
        index += 1;
    }
    set
}

const fn is_same(one: &str, (start, end): (usize, usize), other: &str, (from, to): (usize, usize)) -> bool {
    if end - start != to - from {
        return false;
    }
    let mut at = 0;
    while at < end - start {
        if one.as_bytes()[start + at] != other.as_bytes()[from + at] {
            return false;
        }
        at += 1;
    }
    true
}

/// Which bits are set.
fn members(mut set: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let index = (set != 0).then(|| set.trailing_zeros() as usize)?;
        set &= set - 1;
        Some(index)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_leads_to_all_that_is_wanted_under_it_and_to_nothing_else() {
        const WANTS: &Wants =
            &Wants::new(&[value("id"), text("a.b.c"), audio("a.b.d"), presence("a"), value("b.a")]);
        let names = |set| members(set).map(|index| WANTS.all[index].path).collect::<Vec<_>>();
        let under_a = WANTS.under(WANTS.set(), 0, b"a");
        assert_eq!(names(under_a), ["a.b.c", "a.b.d", "a"]);
        assert_eq!(WANTS.at(under_a, 1).map(|(_, wanted)| wanted.path).collect::<Vec<_>>(), ["a"]);
        let under_b = WANTS.under(under_a, 1, b"b");
        assert_eq!(names(under_b), ["a.b.c", "a.b.d"]);
        assert_eq!(names(WANTS.under(under_b, 2, b"d")), ["a.b.d"]);
        for (set, keys, key) in
            [(WANTS.set(), 0, &b""[..]), (WANTS.set(), 0, b"q"), (under_a, 1, b"a"), (under_b, 6, b"c")]
        {
            assert_eq!(names(WANTS.under(set, keys, key)), [""; 0], "{key:?}");
        }
        assert_eq!(WANTS.at(under_b, 7).count(), 0);
    }
}
