//! Settings that no session needs, such as logins. The ledger keeps them by kind and id, as JSON that it does not read.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Which entry, among all of its kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EntryId {
    pub kind: Arc<str>,
    pub id: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub id: EntryId,
    /// JSON. `None` is removed: that is a setting as well, or another instance would bring the entry back.
    pub value: Option<Arc<str>>,
}

/// What can be kept in the catalog. Fields that are added later need a default, for older entries lack them.
pub trait Kept: Serialize + DeserializeOwned {
    const KIND: &'static str;

    /// The org that it is kept for under this id, if it is for one: whether an org has data is asked of every kind.
    fn org<'a>(&'a self, id: &'a str) -> Option<&'a str>;
}

impl EntryId {
    pub fn of<T: Kept>(id: &str) -> EntryId {
        EntryId { kind: T::KIND.into(), id: id.into() }
    }
}

impl Entry {
    /// `None` removes what was there.
    pub fn of<T: Kept>(id: &str, value: Option<&T>) -> Entry {
        let json = |value| serde_json::to_string(value).expect("what is kept is a plain value");
        Entry { id: EntryId::of::<T>(id), value: value.map(|value| json(value).into()) }
    }

    /// `None` if it was removed, is of another kind, or was written by a newer tokenist in words unknown to this one.
    pub fn read<T: Kept>(&self) -> Option<T> {
        let json = self.value.as_ref().filter(|_| *self.id.kind == *T::KIND)?;
        serde_json::from_str(json).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Colour(u8);

    impl Kept for Colour {
        const KIND: &'static str = "colour";

        fn org<'a>(&'a self, _: &'a str) -> Option<&'a str> {
            None
        }
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Shape(u8);

    impl Kept for Shape {
        const KIND: &'static str = "shape";

        fn org<'a>(&'a self, _: &'a str) -> Option<&'a str> {
            None
        }
    }

    #[test]
    fn an_entry_is_read_as_what_it_is_of() {
        let entry = Entry::of("a", Some(&Colour(7)));
        assert_eq!(entry.read(), Some(Colour(7)));
        assert_eq!(entry.read::<Shape>(), None);
        assert_eq!(Entry::of::<Colour>("a", None).read::<Colour>(), None);
        assert_eq!(Entry { value: Some("{}".into()), ..entry }.read::<Colour>(), None);
    }
}
