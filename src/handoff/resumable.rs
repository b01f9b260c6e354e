//! A session that another connection may go on with: what its connections share, on whichever shards they are.

use crate::account::Account;
use crate::published::Published;
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use tokenist_core::id::SessionId;
use tokenist_core::meter::Carried;
use tokenist_core::time::Instant;

/// What stands for a handle outside of the session that it was given in: it opens nothing, and is another one for each user.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct HandleHash(pub [u8; 32]);

impl fmt::Debug for HandleHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HandleHash(…)")
    }
}

#[derive(Debug)]
pub struct Resumable {
    pub session: SessionId,
    /// When its first connection came.
    pub opened_at: Instant,
    /// What the next connection goes on from.
    pub carried: Published<Carried>,
    /// Connections that share the session's place among its user's sessions.
    connections: AtomicU32,
}

impl Resumable {
    /// The session of one connection, which has a place or has given it back already.
    pub fn new(session: SessionId, opened_at: Instant, carried: Carried, has_place: bool) -> Resumable {
        let connections = AtomicU32::new(has_place.into());
        Resumable { session, opened_at, carried: Published::new(carried), connections }
    }

    /// One more connection shares the session's place; its own, if it has one, becomes that, or is given back. `false`: there
    /// is no place to be shared.
    pub fn join(&self, user: &Account, has_place: bool) -> bool {
        let step = |open: u32| (open > 0 || has_place).then_some(open + 1);
        let before = self.connections.fetch_update(Ordering::AcqRel, Ordering::Acquire, step);
        if before.is_ok_and(|open| open > 0) && has_place {
            user.leave();
        }
        before.is_ok()
    }

    /// A connection that has joined, or was the first, has ended. The last one gives the place back.
    pub fn leave(&self, user: &Account) {
        if self.connections.fetch_sub(1, Ordering::AcqRel) == 1 {
            user.leave();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokenist_core::limit::AccountState;

    #[test]
    fn the_connections_of_a_session_have_one_place_which_the_last_of_them_gives_back() {
        let user = Account::new(AccountState::default());
        let session = |has_place| Resumable::new(SessionId(1), Instant(0), Carried::default(), has_place);
        assert!(user.enter(Some(1)));
        let resumed = session(true);
        assert!(!user.enter(Some(1)), "there is no other");
        assert!(resumed.join(&user, false), "so it is shared");
        resumed.leave(&user);
        assert_eq!(user.sessions(), 1);
        resumed.leave(&user);
        assert_eq!(user.sessions(), 0);
        assert!(!resumed.join(&user, false), "it has none any more");
        assert!(user.enter(None) && resumed.join(&user, true));
        assert!(user.enter(None) && resumed.join(&user, true));
        assert_eq!(user.sessions(), 1, "one too many was given back");
        assert!(!session(false).join(&user, false));
    }

    #[test]
    fn nothing_shows_of_a_handle() {
        assert_eq!(format!("{:?}", HandleHash([7; 32])), "HandleHash(…)");
    }
}
