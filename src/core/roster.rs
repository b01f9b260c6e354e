//! The ledger's holders: a bounded number of them, found by id or by place.
//!
//! Whoever is to be forgotten is the least recently used of some that may be. A stranger sits apart until something is
//! known of it, so that strangers push nobody out. A place that is vacated is the next to be taken, so whoever keeps
//! something beside a holder keeps it in a vector by [`Place`].

use crate::batch::{HolderState, Revision, Stamped};
use crate::id::{Feature, Holder, KeyHash, OrgId, UserId};
use crate::limit::Limit;
use crate::record::Record;
use crate::series::Series;
use crate::time::Timestamp;
use std::collections::{BTreeMap, HashMap, VecDeque};

/// Where a holder sits. Valid until the holder is forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place(u32);

impl Place {
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// What a seat is to its holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tenure {
    /// Nobody is found here: its record is that of a holder of whom nothing is known.
    Vacant,
    /// A stranger's, for as long as somebody holds its account.
    Tentative,
    Established,
}

/// A holder with what the ledger keeps beside its record.
#[derive(Debug)]
pub(crate) struct Seat {
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
    pub(crate) apart_epoch: u32,
    /// The org of the key that speaks for a user who is new: of now, and not saved.
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
pub(crate) struct Roster {
    seats: Vec<Seat>,
    users: HashMap<UserId, Place>,
    orgs: HashMap<OrgId, Place>,
    features: HashMap<Feature, Place>,
    keys: HashMap<KeyHash, Place>,
    /// Users again, in order of id, but for strangers.
    order: BTreeMap<UserId, Place>,
    established_count: usize,
    vacant: Vec<Place>,
    /// Strangers in the order in which they came, and among them places that no longer are a stranger's.
    strangers: VecDeque<Place>,
    /// Grows with every use; tells who was used last.
    uses: u64,
    /// Where the search for somebody to forget goes on.
    hand: usize,
}

/// How many that may be forgotten are compared, and how many seats are looked at to find them. With as many holders
/// as the first it is exactly the least recently used who goes; with more, somebody who has been idle for long.
const CANDIDATE_COUNT: usize = 64;
const SEARCH_COUNT: usize = 4096;
/// How many strangers are looked at to find one who is gone.
const STRANGER_SEARCH_COUNT: usize = 8;

impl Roster {
    pub(crate) fn new() -> Roster {
        Roster {
            seats: Vec::new(),
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
        self.seats.reserve(count);
        self.users.reserve(count);
    }

    pub(crate) fn len(&self) -> usize {
        self.seats.len()
    }

    /// All but strangers.
    pub(crate) fn established_count(&self) -> usize {
        self.established_count
    }

    /// Strangers, and at times some who have been more.
    pub(crate) fn stranger_count(&self) -> usize {
        self.strangers.len()
    }

    /// But for strangers.
    pub(crate) fn user_count(&self) -> usize {
        self.order.len()
    }

    pub(crate) fn find(&self, holder: &Holder) -> Option<Place> {
        match holder {
            Holder::User(user) => self.user(user),
            Holder::Org(org) => self.org(org),
            Holder::Feature(feature) => self.feature(feature),
            Holder::Key(key) => self.key(key),
        }
    }

    pub(crate) fn feature(&self, feature: &Feature) -> Option<Place> {
        self.features.get(feature).copied()
    }

    pub(crate) fn key(&self, key: &KeyHash) -> Option<Place> {
        self.keys.get(key).copied()
    }

    pub(crate) fn user(&self, user: &UserId) -> Option<Place> {
        self.users.get(user).copied()
    }

    pub(crate) fn org(&self, org: &OrgId) -> Option<Place> {
        self.orgs.get(org).copied()
    }

    /// Users in order of id, from the first that comes after `after`.
    pub(crate) fn users_after(&self, after: Option<&UserId>) -> impl Iterator<Item = (&UserId, Place)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        self.order.range::<UserId, _>((from, Unbounded)).map(|(user, &place)| (user, place))
    }

    pub(crate) fn places(&self) -> impl Iterator<Item = Place> + use<> {
        (0..self.seats.len() as u32).map(Place)
    }

    pub(crate) fn place_at(&self, index: usize) -> Option<Place> {
        (index < self.seats.len()).then_some(Place(index as u32))
    }

    pub(crate) fn seat(&self, place: Place) -> &Seat {
        &self.seats[place.index()]
    }

    pub(crate) fn seat_mut(&mut self, place: Place) -> &mut Seat {
        &mut self.seats[place.index()]
    }

    /// As [`Roster::seat_mut`], and puts off its being forgotten.
    pub(crate) fn use_seat(&mut self, place: Place) -> &mut Seat {
        self.uses += 1;
        let seat = &mut self.seats[place.index()];
        seat.used_at = self.uses;
        seat
    }

    /// Seats a holder who has none.
    pub(crate) fn seat_new(
        &mut self,
        holder: &Holder,
        tenure: Tenure,
        limit: Limit,
        now: Timestamp,
    ) -> Place {
        let mut seat = Seat::new(holder, limit, now);
        seat.tenure = Tenure::Tentative;
        let place = match self.vacant.pop() {
            Some(place) => {
                *self.seat_mut(place) = seat;
                place
            }
            None => {
                self.seats.push(seat);
                Place(u32::try_from(self.seats.len() - 1).expect("fewer than four billion holders"))
            }
        };
        self.enlist(holder, place);
        match tenure {
            Tenure::Established => self.establish(place),
            Tenure::Tentative | Tenure::Vacant => self.strangers.push_back(place),
        }
        place
    }

    /// Something is known of the holder, who is a stranger no longer.
    pub(crate) fn establish(&mut self, place: Place) {
        let seat = &mut self.seats[place.index()];
        if seat.tenure != Tenure::Tentative {
            return;
        }
        seat.tenure = Tenure::Established;
        // Whatever makes him known says where he belongs, or that nobody has said it.
        seat.expected_in = None;
        self.established_count += 1;
        if let Holder::User(user) = seat.record.holder() {
            self.order.insert(user.clone(), place);
        }
    }

    /// Forgets a holder.
    pub(crate) fn vacate(&mut self, place: Place, now: Timestamp) {
        let seat = self.seat_mut(place);
        let holder = seat.record.holder().clone();
        let before = std::mem::replace(seat, Seat::new(&holder, Limit::default(), now));
        assert!(before.tenure != Tenure::Vacant, "only who has a seat leaves it");
        self.established_count -= usize::from(before.tenure == Tenure::Established);
        self.vacant.push(place);
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

    /// A stranger who is gone, if there is one among those that came first.
    pub(crate) fn idle_stranger(&mut self, mut is_gone: impl FnMut(Place, &Seat) -> bool) -> Option<Place> {
        for _ in 0..self.strangers.len().min(STRANGER_SEARCH_COUNT) {
            let place = self.strangers.pop_front()?;
            let seat = self.seat(place);
            if seat.tenure != Tenure::Tentative {
                continue;
            }
            if is_gone(place, seat) {
                return Some(place);
            }
            self.strangers.push_back(place);
        }
        None
    }

    /// Somebody to forget: the longest unused of the next few for whom `may_forget` says yes.
    pub(crate) fn most_idle(&mut self, mut may_forget: impl FnMut(Place, &Seat) -> bool) -> Option<Place> {
        let count = self.seats.len();
        let mut most_idle: Option<Place> = None;
        let mut candidates = 0;
        for _ in 0..count.min(SEARCH_COUNT) {
            self.hand = (self.hand + 1) % count;
            let place = Place(self.hand as u32);
            let seat = self.seat(place);
            if seat.tenure != Tenure::Established || !may_forget(place, seat) {
                continue;
            }
            if most_idle.is_none_or(|other| seat.used_at < self.seat(other).used_at) {
                most_idle = Some(place);
            }
            candidates += 1;
            if candidates == CANDIDATE_COUNT {
                break;
            }
        }
        most_idle
    }

    fn enlist(&mut self, holder: &Holder, place: Place) {
        let known = match holder {
            Holder::User(user) => self.users.insert(user.clone(), place),
            Holder::Org(org) => self.orgs.insert(org.clone(), place),
            Holder::Feature(feature) => self.features.insert(feature.clone(), place),
            Holder::Key(key) => self.keys.insert(*key, place),
        };
        assert!(known.is_none(), "a holder has one seat");
        self.use_seat(place);
    }
}

impl Seat {
    pub(crate) fn state(&self) -> HolderState {
        let Revisions { profile, limit, block } = self.revisions;
        HolderState {
            holder: self.record.holder().clone(),
            profile: Stamped { revision: profile, value: self.record.profile.clone() },
            limit: Stamped { revision: limit, value: self.record.own_limit() },
            block: Stamped { revision: block, value: self.record.block().cloned() },
        }
    }

    pub(crate) fn is_tentative(&self) -> bool {
        self.tenure == Tenure::Tentative
    }

    pub(crate) fn is_vacant(&self) -> bool {
        self.tenure == Tenure::Vacant
    }

    fn new(holder: &Holder, limit: Limit, now: Timestamp) -> Seat {
        Seat {
            tenure: Tenure::Vacant,
            record: Record::new(holder.clone(), limit, now),
            series: Vec::new(),
            is_changed: false,
            is_unsaved: false,
            is_blocked: false,
            is_bound: false,
            is_touched: false,
            apart_epoch: 0,
            expected_in: None,
            profile_unsaved: false,
            binding_unsaved: false,
            revisions: Revisions::default(),
            saved_by: 0,
            used_at: 0,
        }
    }
}
