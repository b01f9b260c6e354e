//! All holders that a limit binds: those with one of their own, and users under the default.
//!
//! Users are ranked as any list of them is, a stretch at a time, so that reports never wait for a list.

use crate::error::CommandError;
use crate::handle::Handle;
use crate::ranking::{RankQuery, UserSort};
use crate::view::{HolderKind, LimitPage, LimitQuery, LimitSort, LimitView, UserFilter};
use tokenist_core::id::{Holder, UserId};

impl Handle {
    /// As [`Handle::limits`], with the users under the default. Its total goes as far as was looked: one more than
    /// the page's end tells that there are more.
    pub async fn limits_and_defaults(&self, query: LimitQuery) -> Result<LimitPage, CommandError> {
        let end = query.offset.saturating_add(query.limit);
        let LimitPage { mut limits, total } =
            self.limits(LimitQuery { offset: 0, limit: end, ..query.clone() }).await?;
        let bound = self.bound_by_default(&query, end).await?;
        let total = total + bound.len();
        for user in bound.into_iter().take(end) {
            limits.push(self.limit(Holder::User(user)).await?);
        }
        let by_holder = |a: &LimitView, b: &LimitView| a.holder.cmp(&b.holder);
        match query.sort {
            LimitSort::Holder => limits.sort_by(by_holder),
            LimitSort::Used => limits.sort_by(|a, b| b.percent.cmp(&a.percent).then_with(|| by_holder(a, b))),
        }
        let limits = limits.into_iter().take(end).skip(query.offset).collect();
        Ok(LimitPage { limits, total })
    }

    /// The first of them, and one more if there are more.
    async fn bound_by_default(&self, query: &LimitQuery, count: usize) -> Result<Vec<UserId>, CommandError> {
        let limit = self.default_limit();
        let binds = limit.max_cost.is_some() || limit.max_tokens.is_some() || !limit.models.is_any();
        if !binds || query.kind.is_some_and(|kind| kind != HolderKind::User) {
            return Ok(Vec::new());
        }
        let (sort, descending) = match query.sort {
            LimitSort::Holder => (UserSort::Id, false),
            LimitSort::Used => (UserSort::Share(limit.clone()), true),
        };
        let filter = UserFilter { search: query.search.clone(), by_default: true, ..UserFilter::default() };
        let window = Some(limit.window);
        let ranking =
            RankQuery { filter, sort, descending, window, after: None, limit: count.saturating_add(1) };
        let page = self.ranked_users(ranking).await?;
        Ok(page.users.into_iter().map(|view| view.user).collect())
    }
}
