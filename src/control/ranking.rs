//! Users in order of what they used.
//!
//! The ledger has all sums and no order of them, so a page looks at all users once: a portion at a time, between
//! which reports are applied, and with no more kept than the page holds. Where instances share a store, the sums are
//! the store's, which it is asked for once a page.

use crate::view::{UserFilter, UserView};
use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;
use tokenist_core::id::UserId;
use tokenist_core::limit::{Limit, WindowKind};
use tokenist_core::totals::Totals;
use tokenist_core::verdict::{Used, share_used};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserSort {
    Id,
    Cost,
    Tokens,
    /// By when they last used something.
    Updated,
    /// By how much of this limit they have used.
    Share(Limit),
}

/// Which users to list, in which order. Those of the same figure are in order of id.
#[derive(Clone, Debug)]
pub struct RankQuery {
    pub filter: UserFilter,
    pub sort: UserSort,
    /// The greatest first.
    pub descending: bool,
    /// What is summed over; the limit's own window if `None`, so that figures compare what they should only within one.
    pub window: Option<WindowKind>,
    /// Only users that come after this place.
    pub after: Option<Rank>,
    /// At most this many.
    pub limit: usize,
}

/// Where a user stands: the figure sorted by, and its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rank {
    pub figure: i64,
    pub user: UserId,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RankPage {
    pub users: Vec<UserView>,
    /// The last of these, if more follow.
    pub last: Option<Rank>,
}

/// One portion to look at.
#[derive(Clone, Debug)]
pub(crate) struct RankSlice {
    pub(crate) query: Arc<RankQuery>,
    /// What users used over all instances, as the store knows.
    pub(crate) stored: Arc<HashMap<UserId, Totals>>,
    /// Begins after this user.
    pub(crate) from: Option<UserId>,
    /// Users that come after this place are not wanted.
    pub(crate) worst: Option<Rank>,
}

impl RankQuery {
    pub(crate) fn figure(&self, totals: &Totals) -> i64 {
        let signed = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        match &self.sort {
            UserSort::Id => 0,
            UserSort::Cost => totals.cost.0,
            UserSort::Tokens => signed(totals.usage.total_tokens()),
            UserSort::Share(limit) => share_used(limit, Used::of(totals)).map_or(-1, signed),
            UserSort::Updated => totals.updated_at.map_or(0, |at| signed(at.0)),
        }
    }

    pub(crate) fn order(&self, a: (i64, &UserId), b: (i64, &UserId)) -> Ordering {
        let turned = |order: Ordering| if self.descending { order.reverse() } else { order };
        match self.sort {
            UserSort::Id => turned(a.1.cmp(b.1)),
            UserSort::Cost | UserSort::Tokens | UserSort::Updated | UserSort::Share(_) => {
                turned(a.0.cmp(&b.0)).then(a.1.cmp(b.1))
            }
        }
    }

    /// Keeps the first that the page needs, and one that tells whether more follow.
    pub(crate) fn keep_first(&self, ranks: &mut Vec<Rank>) {
        ranks.sort_by(|a, b| self.order((a.figure, &a.user), (b.figure, &b.user)));
        ranks.truncate(self.limit.saturating_add(1));
    }
}

impl RankSlice {
    /// Whether the page may show this user.
    pub(crate) fn wants(&self, figure: i64, user: &UserId) -> bool {
        let is_beyond =
            |rank: &Rank, beyond| self.query.order((figure, user), (rank.figure, &rank.user)) == beyond;
        self.query.after.as_ref().is_none_or(|after| is_beyond(after, Ordering::Greater))
            && self.worst.as_ref().is_none_or(|worst| is_beyond(worst, Ordering::Less))
    }
}
