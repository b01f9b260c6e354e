//! Calls whose application has not connected yet: how many there may be, in all and of one user.
//!
//! Invariant: a user has at most as many as are left to all others together, so whoever offers calls and never connects keeps
//! nobody out.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use tokenist_core::id::UserId;

/// Of one shard.
const MAX: usize = 512;

#[derive(Default)]
pub(super) struct Waiting(Rc<RefCell<Count>>);

#[derive(Default)]
struct Count {
    all: usize,
    of_user: HashMap<UserId, usize>,
}

/// The place of one of them, which is free again once this is dropped.
pub(crate) struct HalfOpen {
    count: Rc<RefCell<Count>>,
    user: UserId,
}

impl Waiting {
    /// A place for one more of this user's, if there is one.
    pub(super) fn take(&self, user: &UserId) -> Option<HalfOpen> {
        let mut count = self.0.borrow_mut();
        let has = count.of_user.get(user).copied().unwrap_or_default();
        if has >= MAX - count.all {
            return None;
        }
        count.all += 1;
        count.of_user.insert(user.clone(), has + 1);
        Some(HalfOpen { count: Rc::clone(&self.0), user: user.clone() })
    }
}

impl Drop for HalfOpen {
    fn drop(&mut self) {
        let mut count = self.count.borrow_mut();
        count.all -= 1;
        if let Some(has) = count.of_user.get_mut(&self.user) {
            *has -= 1;
            if *has == 0 {
                count.of_user.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(waiting: &Waiting, user: &str) -> Vec<HalfOpen> {
        let user = UserId::from(user);
        std::iter::from_fn(|| waiting.take(&user)).collect()
    }

    #[test]
    fn whoever_takes_all_he_can_leaves_as_many_to_others() {
        let waiting = Waiting::default();
        let his = all(&waiting, "flood");
        let hers = all(&waiting, "other");
        assert_eq!((his.len(), hers.len()), (MAX / 2, MAX / 4));
        // What he gives back is anybody's, but not all of it his.
        drop(his);
        assert_eq!(all(&waiting, "flood").len(), (MAX - MAX / 4) / 2);
    }

    #[test]
    fn nothing_is_left_of_whoever_has_none() {
        let waiting = Waiting::default();
        drop(all(&waiting, "flood"));
        let count = waiting.0.borrow();
        assert!(count.all == 0 && count.of_user.is_empty());
    }
}
