//! The accounts that this shard knows, and how it asks the aggregator for others.
//!
//! The usual request finds its user here and costs no other thread anything. Memory is bounded by two generations:
//! when the young one is full, or has been there for long, it becomes the old one, and the old one is forgotten. For
//! whoever is known here cannot be forgotten by the ledger.

use crate::holders::Holders;
use std::borrow::Borrow;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::hash::Hash;
use std::sync::Arc;
use std::task::{Poll, Waker};
use tokenist_core::id::{Feature, Identity, OrgId, UserId};
use tokenist_handoff::{Account, Admitted, Answer, Report};

#[derive(Debug)]
pub struct Accounts {
    users: RefCell<Generations<UserId, Arc<Account>>>,
    orgs: RefCell<Generations<OrgId, Arc<Account>>>,
    features: RefCell<Generations<Feature, Arc<Account>>>,
    tickets: RefCell<HashMap<u64, Slot>>,
    next_ticket: Cell<u64>,
    /// Ticks until the young become the old, and how many there are between.
    turn_in: Cell<u64>,
    turn_ticks: u64,
}

/// Whoever is not heard of for twice as long is forgotten.
const TURN_MS: u64 = 30_000;

/// An answer that is awaited.
#[derive(Debug, Default)]
struct Slot {
    answer: Option<Answer>,
    waker: Option<Waker>,
}

impl Accounts {
    /// Of users, orgs and features `entries_max` each; a tick comes every `tick_ms`.
    pub fn new(entries_max: usize, tick_ms: u64) -> Accounts {
        let turn_ticks = TURN_MS / tick_ms.max(1) + 1;
        Accounts {
            users: RefCell::new(Generations::new(entries_max)),
            orgs: RefCell::new(Generations::new(entries_max)),
            features: RefCell::new(Generations::new(entries_max)),
            tickets: RefCell::default(),
            next_ticket: Cell::new(0),
            turn_in: Cell::new(turn_ticks),
            turn_ticks,
        }
    }

    /// Lets a tick pass.
    pub fn tick(&self) {
        let left = self.turn_in.get() - 1;
        self.turn_in.set(if left == 0 { self.turn_ticks } else { left });
        if left == 0 {
            self.turn();
        }
    }

    /// Forgets everybody; sessions hold their accounts themselves.
    pub fn release(&self) {
        self.turn();
        self.turn();
    }

    fn turn(&self) {
        self.users.borrow_mut().turn();
        self.orgs.borrow_mut().turn();
        self.features.borrow_mut().turn();
    }

    /// The accounts of a caller without a tokenist key, if all of them are known.
    pub fn known(&self, identity: &Identity) -> Option<Holders> {
        let user = self.users.borrow_mut().get(identity.user.as_str())?;
        let org = match &identity.org {
            Some(org) => Some(self.orgs.borrow_mut().get(org.as_str())?),
            None => None,
        };
        let feature = match &identity.feature {
            Some(feature) => Some(self.features.borrow_mut().get(feature.as_str())?),
            None => None,
        };
        Some(Holders { user, org, feature, key: None })
    }

    /// Asks the aggregator what `question` makes of a ticket, through `send`, which says whether that was taken. `None` if it
    /// was not.
    pub async fn ask(
        &self,
        question: impl FnOnce(u64) -> Report,
        send: impl FnOnce(Report) -> bool,
    ) -> Option<Answer> {
        let ticket = self.next_ticket.replace(self.next_ticket.get() + 1);
        self.tickets.borrow_mut().insert(ticket, Slot::default());
        let _withdrawn = Withdraw { accounts: self, ticket };
        if !send(question(ticket)) {
            return None;
        }
        let answer = poll_fn(|context| {
            let mut tickets = self.tickets.borrow_mut();
            let Some(slot) = tickets.get_mut(&ticket) else { return Poll::Ready(None) };
            match slot.answer.take() {
                Some(answer) => Poll::Ready(Some(answer)),
                None => {
                    slot.waker = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await;
        if let Some(Answer::Admitted(admitted)) = &answer
            && !admitted.is_tentative
        {
            self.remember(admitted);
        }
        answer
    }

    /// Questions that wait for an answer.
    pub fn asked_count(&self) -> usize {
        self.tickets.borrow().len()
    }

    /// Delivers an answer. Whoever asked may have given up.
    pub fn answer(&self, ticket: u64, answer: Answer) {
        if let Some(slot) = self.tickets.borrow_mut().get_mut(&ticket) {
            slot.answer = Some(answer);
            if let Some(waker) = slot.waker.take() {
                waker.wake();
            }
        }
    }

    fn remember(&self, admitted: &Admitted) {
        self.users.borrow_mut().insert(admitted.user_id.clone(), Arc::clone(&admitted.user));
        if let (Some(id), Some(account)) = (&admitted.org_id, &admitted.org) {
            self.orgs.borrow_mut().insert(id.clone(), Arc::clone(account));
        }
        if let (Some(id), Some(account)) = (&admitted.feature_id, &admitted.feature) {
            self.features.borrow_mut().insert(id.clone(), Arc::clone(account));
        }
    }
}

/// Takes a ticket back, also when its session is dropped while it waits.
struct Withdraw<'a> {
    accounts: &'a Accounts,
    ticket: u64,
}

impl Drop for Withdraw<'_> {
    fn drop(&mut self) {
        self.accounts.tickets.borrow_mut().remove(&self.ticket);
    }
}

/// A map that forgets what was not used for longest, roughly, when it is full.
#[derive(Debug)]
struct Generations<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    young_max: usize,
}

impl<K: Hash + Eq, V: Clone> Generations<K, V> {
    fn new(entries_max: usize) -> Generations<K, V> {
        Generations { young: HashMap::new(), old: HashMap::new(), young_max: (entries_max / 2).max(1) }
    }

    fn get<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        if let Some(value) = self.young.get(key) {
            return Some(value.clone());
        }
        let (key, value) = self.old.remove_entry(key)?;
        self.insert(key, value.clone());
        Some(value)
    }

    fn insert(&mut self, key: K, value: V) {
        if self.young.len() >= self.young_max {
            self.turn();
        }
        self.young.insert(key, value);
    }

    fn turn(&mut self) {
        self.old = std::mem::take(&mut self.young);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_stays_and_memory_is_bounded() {
        let mut generations = Generations::new(10);
        for key in 0..1000 {
            generations.insert(key, key);
            assert_eq!(generations.get(&0), Some(0), "used all the time");
            assert!(generations.young.len() + generations.old.len() <= 10);
        }
        assert_eq!(generations.get(&500), None);
        assert_eq!(generations.get(&999), Some(999));
    }

    #[test]
    fn whoever_is_not_heard_of_is_let_go_in_time_and_all_at_once_when_they_are_needed() {
        let accounts = Accounts::new(10, 10_000);
        let identity = |name: &str| Identity::of(name.into());
        let account = Arc::new(Account::new(Default::default()));
        let remember = |name: &str| {
            accounts.users.borrow_mut().insert(name.into(), Arc::clone(&account));
        };
        remember("alice");
        remember("bob");
        for tick in 0..3 * accounts.turn_ticks {
            accounts.tick();
            assert!(accounts.known(&identity("alice")).is_some(), "used all the time");
            let is_known = accounts.users.borrow().young.contains_key("bob")
                || accounts.users.borrow().old.contains_key("bob");
            assert_eq!(is_known, tick + 1 < 2 * accounts.turn_ticks, "after {tick} ticks");
        }
        assert_eq!(Arc::strong_count(&account), 2);
        accounts.release();
        assert_eq!(Arc::strong_count(&account), 1, "nobody else holds it");
    }
}
