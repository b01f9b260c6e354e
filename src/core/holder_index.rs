//! The ledger's holders: a bounded number of them, found by id or by slot.
//!
//! The holder to be forgotten is the least recently used of some that may be. A stranger is kept apart until
//! something is known of it, so that strangers push no holder out. A slot that is vacated is the next to be taken, so
//! a module that keeps something beside a holder keeps it in a vector by [`Slot`].

use crate::batch::{HolderState, Revision, Stamped};
use crate::id::{Feature, Holder, KeyHash, OrgId, UserId};
use crate::limit::Limit;
use crate::record::Record;
use crate::series::Series;
use crate::time::Timestamp;
use std::collections::{BTreeMap, HashMap, VecDeque};

/// A holder's number. Valid until the holder is forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slot(u32);

impl Slot {
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// What a slot is to its holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tenure {
    /// No holder is found here: its record is that of one of which nothing is known.
    Vacant,
    /// A stranger's, for as long as a session holds its account.
    Tentative,
    Established,
}

/// A holder with what the ledger keeps beside its record.
#[derive(Debug)]
pub(crate) struct HolderEntry {
    tenure: Tenure,
    pub(crate) record: Record,
    /// A user's usage by model; empty for other holders.
    pub(crate) series: Vec<Series>,
    /// Waits in the list of what is to be published.
    pub(crate) is_changed: bool,
    /// Waits in the list of what is to be saved, for its usage or for what follows.
    pub(crate) is_unsaved: bool,
    /// Is in the list of the blocked; in that of those with a limit of their own.
    pub(crate) is_blocked: bool,
    pub(crate) is_bound: bool,
    /// Waits in the list of what the cluster is told.
    pub(crate) is_touched: bool,
    /// When it was last told whether peers can be reached.
    pub(crate) partition_epoch: u32,
    /// The org of the key that speaks for a user that is new: of now, and not saved.
    pub(crate) expected_in: Option<OrgId>,
    pub(crate) profile_unsaved: bool,
    pub(crate) binding_unsaved: bool,
    pub(crate) revisions: Revisions,
    /// The batch that has all of it that is to last.
    pub(crate) saved_by: u64,
    used_at: u64,
}

/// When the parts of a holder's state were set.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Revisions {
    pub(crate) profile: Revision,
    pub(crate) limit: Revision,
    pub(crate) block: Revision,
}

#[derive(Debug)]
pub(crate) struct HolderIndex {
    slots: Vec<HolderEntry>,
    users: HashMap<UserId, Slot>,
    orgs: HashMap<OrgId, Slot>,
    features: HashMap<Feature, Slot>,
    keys: HashMap<KeyHash, Slot>,
    /// Users again, in order of id, but for strangers.
    order: BTreeMap<UserId, Slot>,
    established_count: usize,
    vacant: Vec<Slot>,
    /// Strangers in the order in which they came, and among them slots that no longer are a stranger's.
    strangers: VecDeque<Slot>,
    /// Grows with every use; tells which holder was used last.
    uses: u64,
    /// Where the search for a holder to forget goes on.
    hand: usize,
}

/// How many that may be forgotten are compared, and how many slots are looked at to find them. With as many holders
/// as the first it is exactly the least recently used that goes; with more, one that has been idle for long.
const CANDIDATE_COUNT: usize = 64;
const SEARCH_COUNT: usize = 4096;
/// How many strangers are looked at to find one that is gone.
const STRANGER_SEARCH_COUNT: usize = 8;

impl HolderIndex {
    pub(crate) fn new() -> HolderIndex {
        HolderIndex {
            slots: Vec::new(),
            users: HashMap::new(),
            orgs: HashMap::new(),
            features: HashMap::new(),
            keys: HashMap::new(),
            order: BTreeMap::new(),
            established_count: 0,
            vacant: Vec::new(),
            strangers: VecDeque::new(),
            uses: 0,
            hand: 0,
        }
    }

    /// Makes room for so many users more.
    pub(crate) fn reserve(&mut self, count: usize) {
        self.slots.reserve(count);
        self.users.reserve(count);
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// All but strangers.
    pub(crate) fn established_count(&self) -> usize {
        self.established_count
    }

    /// Strangers, and at times some that have been more.
    pub(crate) fn stranger_count(&self) -> usize {
        self.strangers.len()
    }

    /// But for strangers.
    pub(crate) fn user_count(&self) -> usize {
        self.order.len()
    }

    pub(crate) fn find(&self, holder: &Holder) -> Option<Slot> {
        match holder {
            Holder::User(user) => self.user(user),
            Holder::Org(org) => self.org(org),
            Holder::Feature(feature) => self.feature(feature),
            Holder::Key(key) => self.key(key),
        }
    }

    pub(crate) fn feature(&self, feature: &Feature) -> Option<Slot> {
        self.features.get(feature).copied()
    }

    pub(crate) fn key(&self, key: &KeyHash) -> Option<Slot> {
        self.keys.get(key).copied()
    }

    pub(crate) fn user(&self, user: &UserId) -> Option<Slot> {
        self.users.get(user).copied()
    }

    pub(crate) fn org(&self, org: &OrgId) -> Option<Slot> {
        self.orgs.get(org).copied()
    }

    /// Users in order of id, from the first that comes after `after`.
    pub(crate) fn users_after(&self, after: Option<&UserId>) -> impl Iterator<Item = (&UserId, Slot)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        self.order.range::<UserId, _>((from, Unbounded)).map(|(user, &slot)| (user, slot))
    }

    pub(crate) fn slots(&self) -> impl Iterator<Item = Slot> + use<> {
        (0..self.slots.len() as u32).map(Slot)
    }

    pub(crate) fn slot_at(&self, index: usize) -> Option<Slot> {
        (index < self.slots.len()).then_some(Slot(index as u32))
    }

    pub(crate) fn entry(&self, slot: Slot) -> &HolderEntry {
        &self.slots[slot.index()]
    }

    pub(crate) fn entry_mut(&mut self, slot: Slot) -> &mut HolderEntry {
        &mut self.slots[slot.index()]
    }

    /// As [`HolderIndex::entry_mut`], and puts off its being forgotten.
    pub(crate) fn use_entry(&mut self, slot: Slot) -> &mut HolderEntry {
        self.uses += 1;
        let entry = &mut self.slots[slot.index()];
        entry.used_at = self.uses;
        entry
    }

    /// Gives a slot to a holder that has none.
    pub(crate) fn insert(&mut self, holder: &Holder, tenure: Tenure, limit: Limit, now: Timestamp) -> Slot {
        let mut entry = HolderEntry::new(holder, limit, now);
        entry.tenure = Tenure::Tentative;
        let slot = match self.vacant.pop() {
            Some(slot) => {
                *self.entry_mut(slot) = entry;
                slot
            }
            None => {
                self.slots.push(entry);
                Slot(u32::try_from(self.slots.len() - 1).expect("fewer than four billion holders"))
            }
        };
        self.enlist(holder, slot);
        match tenure {
            Tenure::Established => self.establish(slot),
            Tenure::Tentative | Tenure::Vacant => self.strangers.push_back(slot),
        }
        slot
    }

    /// Something is known of the holder, which is a stranger no longer.
    pub(crate) fn establish(&mut self, slot: Slot) {
        let entry = &mut self.slots[slot.index()];
        if entry.tenure != Tenure::Tentative {
            return;
        }
        entry.tenure = Tenure::Established;
        // Whatever makes a user known says where it belongs, or that this was not said.
        entry.expected_in = None;
        self.established_count += 1;
        if let Holder::User(user) = entry.record.holder() {
            self.order.insert(user.clone(), slot);
        }
    }

    /// Forgets a holder.
    pub(crate) fn vacate(&mut self, slot: Slot, now: Timestamp) {
        let entry = self.entry_mut(slot);
        let holder = entry.record.holder().clone();
        let before = std::mem::replace(entry, HolderEntry::new(&holder, Limit::default(), now));
        assert!(before.tenure != Tenure::Vacant, "only a slot in use is vacated");
        self.established_count -= usize::from(before.tenure == Tenure::Established);
        self.vacant.push(slot);
        match &holder {
            Holder::User(user) => {
                self.users.remove(user);
                self.order.remove(user);
            }
            Holder::Org(org) => {
                self.orgs.remove(org);
            }
            Holder::Feature(feature) => {
                self.features.remove(feature);
            }
            Holder::Key(key) => {
                self.keys.remove(key);
            }
        }
    }

    /// A stranger that is gone, if there is one among those that came first.
    pub(crate) fn idle_stranger(
        &mut self,
        mut is_gone: impl FnMut(Slot, &HolderEntry) -> bool,
    ) -> Option<Slot> {
        for _ in 0..self.strangers.len().min(STRANGER_SEARCH_COUNT) {
            let slot = self.strangers.pop_front()?;
            let entry = self.entry(slot);
            if entry.tenure != Tenure::Tentative {
                continue;
            }
            if is_gone(slot, entry) {
                return Some(slot);
            }
            self.strangers.push_back(slot);
        }
        None
    }

    /// A holder to forget: the longest unused of the next few for which `may_forget` says yes.
    pub(crate) fn most_idle(
        &mut self,
        mut may_forget: impl FnMut(Slot, &HolderEntry) -> bool,
    ) -> Option<Slot> {
        let count = self.slots.len();
        let mut most_idle: Option<Slot> = None;
        let mut candidates = 0;
        for _ in 0..count.min(SEARCH_COUNT) {
            self.hand = (self.hand + 1) % count;
            let slot = Slot(self.hand as u32);
            let entry = self.entry(slot);
            if entry.tenure != Tenure::Established || !may_forget(slot, entry) {
                continue;
            }
            if most_idle.is_none_or(|other| entry.used_at < self.entry(other).used_at) {
                most_idle = Some(slot);
            }
            candidates += 1;
            if candidates == CANDIDATE_COUNT {
                break;
            }
        }
        most_idle
    }

    fn enlist(&mut self, holder: &Holder, slot: Slot) {
        let known = match holder {
            Holder::User(user) => self.users.insert(user.clone(), slot),
            Holder::Org(org) => self.orgs.insert(org.clone(), slot),
            Holder::Feature(feature) => self.features.insert(feature.clone(), slot),
            Holder::Key(key) => self.keys.insert(*key, slot),
        };
        assert!(known.is_none(), "a holder has one slot");
        self.use_entry(slot);
    }
}

impl HolderEntry {
    pub(crate) fn state(&self) -> HolderState {
        let Revisions { profile, limit, block } = self.revisions;
        HolderState {
            holder: self.record.holder().clone(),
            profile: Stamped { revision: profile, value: self.record.profile.clone() },
            limit: Stamped { revision: limit, value: self.record.own_limit().cloned() },
            block: Stamped { revision: block, value: self.record.block().cloned() },
        }
    }

    pub(crate) fn is_tentative(&self) -> bool {
        self.tenure == Tenure::Tentative
    }

    pub(crate) fn is_vacant(&self) -> bool {
        self.tenure == Tenure::Vacant
    }

    fn new(holder: &Holder, limit: Limit, now: Timestamp) -> HolderEntry {
        HolderEntry {
            tenure: Tenure::Vacant,
            record: Record::new(holder.clone(), limit, now),
            series: Vec::new(),
            is_changed: false,
            is_unsaved: false,
            is_blocked: false,
            is_bound: false,
            is_touched: false,
            partition_epoch: 0,
            expected_in: None,
            profile_unsaved: false,
            binding_unsaved: false,
            revisions: Revisions::default(),
            saved_by: 0,
            used_at: 0,
        }
    }
}
