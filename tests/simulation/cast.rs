//! Who takes part: a few users, orgs, features and keys, by number, so that they are told apart without their names.

use std::sync::LazyLock;
use tokenist_core::id::{Feature, Holder, Identity, KeyHash, OrgId, UserId};

/// A holder's number.
pub(crate) type Who = usize;

pub(crate) const USER_COUNT: usize = 6;
pub(crate) const ORG_COUNT: usize = 2;
pub(crate) const FEATURE_COUNT: usize = 2;
pub(crate) const KEY_COUNT: usize = 2;
pub(crate) const HOLDER_COUNT: usize = USER_COUNT + ORG_COUNT + FEATURE_COUNT + KEY_COUNT;

const NAMES: [&str; USER_COUNT + ORG_COUNT + FEATURE_COUNT] =
    ["alice", "bob", "carol", "dave", "erin", "frank", "acme", "globex", "voice", "chat"];

static CAST: LazyLock<Vec<Holder>> = LazyLock::new(|| (0..HOLDER_COUNT).map(made).collect());

fn made(who: Who) -> Holder {
    match who {
        0..USER_COUNT => Holder::User(UserId::from(NAMES[who])),
        who if who < FIRST_FEATURE => Holder::Org(OrgId::from(NAMES[who])),
        who if who < FIRST_KEY => Holder::Feature(Feature::from(NAMES[who])),
        who => Holder::Key(hash(who - FIRST_KEY)),
    }
}

pub(crate) const FIRST_ORG: Who = USER_COUNT;
pub(crate) const FIRST_FEATURE: Who = FIRST_ORG + ORG_COUNT;
pub(crate) const FIRST_KEY: Who = FIRST_FEATURE + FEATURE_COUNT;

pub(crate) fn holder(who: Who) -> &'static Holder {
    &CAST[who]
}

pub(crate) fn who(holder: &Holder) -> Who {
    CAST.iter().position(|known| known == holder).expect("nobody else takes part")
}

pub(crate) fn user(who: Who) -> UserId {
    UserId::from(NAMES[who])
}

pub(crate) fn org(index: usize) -> OrgId {
    OrgId::from(NAMES[FIRST_ORG + index])
}

pub(crate) fn feature(index: usize) -> Feature {
    Feature::from(NAMES[FIRST_FEATURE + index])
}

pub(crate) fn hash(key: usize) -> KeyHash {
    KeyHash([key as u8 + 1; 32])
}

pub(crate) fn key_index(hash: &KeyHash) -> usize {
    who(&Holder::Key(*hash)) - FIRST_KEY
}

/// Holders as bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Party(u16);

impl Party {
    pub(crate) fn of(identity: &Identity) -> Party {
        Party(identity.holders().fold(0, |bits, holder| bits | 1 << who(&holder)))
    }

    pub(crate) fn has(self, who: Who) -> bool {
        self.0 & 1 << who != 0
    }

    pub(crate) fn all(self) -> impl Iterator<Item = Who> {
        (0..HOLDER_COUNT).filter(move |&who| self.has(who))
    }
}
