//! Questions about many: users, limits, keys, sessions. Their answers are made here, of portions that the ledger gives.
//!
//! The thread that admits and counts looks at so many holders at once that reports never wait for longer than a turn
//! of commands; where one portion ends the next is asked for, between which reports are applied. The caller pays for
//! a long list with its own time. What comes or goes meanwhile is in the list or not, as if it had come or gone before
//! or after.

use crate::command::{Command, PORTION_MAX, Portion, Reply};
use crate::error::CommandError;
use crate::handle::Handle;
use crate::ranking::{Rank, RankPage, RankQuery, RankSlice};
use crate::store::{Dimension, Order, UsageQuery};
use crate::view::{
    KeyPage, KeyQuery, LimitPage, LimitQuery, LimitView, Profile, SessionView, UserFilter, UserPage,
    UserQuery, UserView,
};
use std::cmp::Ordering;
use std::sync::Arc;
use tokenist_core::catalog::Kept;
use tokenist_core::id::{Holder, UserId};
use tokenist_core::limit::{Block, WindowKind};

impl Handle {
    pub async fn users(&self, query: UserQuery) -> Result<UserPage, CommandError> {
        let (window, limit) = (query.window, query.limit);
        let query = UserQuery { filter: self.with_recorded(query.filter).await?, ..query };
        let (query, after) = (Arc::new(query.clone()), query.after);
        let portion = |after, room, reply| Command::Users(Arc::clone(&query), after, room, reply);
        // One more than the page holds tells whether there is more.
        let mut users = self.gather(after, limit.saturating_add(1), portion).await?;
        let more = users.len() > limit;
        users.truncate(limit);
        self.add_others(&mut users, window).await?;
        Ok(UserPage { users, more })
    }

    /// Users in order of what they used, as far as one window of now tells.
    pub async fn ranked_users(&self, query: RankQuery) -> Result<RankPage, CommandError> {
        let query = RankQuery { filter: self.with_recorded(query.filter).await?, ..query };
        let stored = Arc::new(self.stored_sums(&query).await?);
        let query = Arc::new(query);
        let (mut ranks, mut from): (Vec<Rank>, _) = (Vec::new(), None);
        loop {
            let worst = ranks.get(query.limit).cloned();
            let slice = RankSlice { query: Arc::clone(&query), stored: Arc::clone(&stored), from, worst };
            let Portion { found, next } = self.ask(|reply| Command::Rank(slice, reply)).await?;
            ranks.extend(found);
            query.keep_first(&mut ranks);
            from = next;
            if from.is_none() {
                break;
            }
        }
        let more = ranks.len() > query.limit;
        ranks.truncate(query.limit);
        let mut users =
            self.views(ranks.iter().map(|rank| rank.user.clone()).collect(), query.window).await?;
        self.add_others(&mut users, query.window).await?;
        Ok(RankPage { users, last: ranks.pop().filter(|_| more) })
    }

    /// Limits of their own that holders have.
    pub async fn limits(&self, query: LimitQuery) -> Result<LimitPage, CommandError> {
        let end = query.offset.saturating_add(query.limit);
        let (query, mut after) = (Arc::new(query), None);
        let (mut ranked, mut total) = (Vec::new(), 0);
        loop {
            let portion = |reply| Command::Limits(Arc::clone(&query), after, reply);
            let Portion { found, next } = self.ask(portion).await?;
            total += found.len();
            ranked.extend(found);
            keep_nearest(&mut ranked, end);
            after = next;
            if after.is_none() {
                break;
            }
        }
        ranked.sort_unstable_by(nearest_first);
        let shown = ranked.into_iter().take(end).skip(query.offset).map(|(_, holder)| holder);
        Ok(LimitPage { limits: self.limit_views(shown.collect()).await?, total })
    }

    /// Blocks that hold now, in order of user id.
    pub async fn blocked(&self) -> Result<Vec<(UserId, Block)>, CommandError> {
        self.gather(None, usize::MAX, |after, _, reply| Command::Blocked(after, reply)).await
    }

    /// Live sessions, oldest first.
    pub async fn sessions(&self) -> Result<Vec<SessionView>, CommandError> {
        let portion = |after, _, reply| Command::Sessions(after, reply);
        let mut sessions: Vec<SessionView> = self.gather(None, usize::MAX, portion).await?;
        sessions.sort_by_key(|session| (session.opened_at, session.session));
        Ok(sessions)
    }

    pub async fn keys(&self, query: KeyQuery) -> Result<KeyPage, CommandError> {
        let (query, mut after) = (Arc::new(query), None);
        let mut page = KeyPage::default();
        loop {
            let portion = |reply| Command::Keys(Arc::clone(&query), after, reply);
            let Portion { found, next } = self.ask(portion).await?;
            let skipped = query.offset.saturating_sub(page.total);
            let room = query.limit - page.keys.len();
            page.total += found.len();
            page.keys.extend(found.into_iter().skip(skipped).take(room));
            after = next;
            if after.is_none() {
                return Ok(page);
            }
        }
    }

    /// All of a kind that this version can read, in order of id.
    pub async fn entries<T: Kept>(&self) -> Result<Vec<(Arc<str>, T)>, CommandError> {
        let portion = |after, _, reply| Command::Entries(T::KIND, after, reply);
        let entries = self.gather(None, usize::MAX, portion).await?;
        Ok(entries.into_iter().filter_map(|entry| Some((entry.id.id.clone(), entry.read()?))).collect())
    }

    /// What users are called, in the order in which they are asked for.
    pub async fn names(&self, users: Vec<UserId>) -> Result<Vec<Option<Arc<str>>>, CommandError> {
        self.each(users, Command::Names).await
    }

    /// What is said of users, in the order in which they are asked for; nothing of strangers.
    pub async fn profiles(&self, users: Vec<UserId>) -> Result<Vec<Profile>, CommandError> {
        self.each(users, Command::Profiles).await
    }

    /// A filter by org with users that have used something under it, whatever org they belong to.
    async fn with_recorded(&self, filter: UserFilter) -> Result<UserFilter, CommandError> {
        if filter.org.is_none() {
            return Ok(filter);
        }
        let by = vec![Dimension::User];
        let question = UsageQuery { org: filter.org.clone(), by, order: Order::Key, ..UsageQuery::default() };
        // While the store fails these lists still tell what is known here, as they do of blocks.
        let rows = self.usage(question).await.unwrap_or_default();
        let recorded = Arc::new(rows.into_iter().filter_map(|row| row.key.user).collect());
        Ok(UserFilter { recorded, ..filter })
    }

    async fn views(
        &self,
        users: Vec<UserId>,
        window: Option<WindowKind>,
    ) -> Result<Vec<UserView>, CommandError> {
        self.each(users, |users, reply| Command::Views(users, window, reply)).await
    }

    async fn limit_views(&self, holders: Vec<Holder>) -> Result<Vec<LimitView>, CommandError> {
        self.each(holders, Command::LimitViews).await
    }

    /// One portion after the other, until there are so many or there are no more.
    async fn gather<T, C>(
        &self,
        mut after: Option<C>,
        count: usize,
        command: impl Fn(Option<C>, usize, Reply<Portion<T, C>>) -> Command,
    ) -> Result<Vec<T>, CommandError> {
        let mut gathered = Vec::new();
        while gathered.len() < count {
            let room = count - gathered.len();
            let portion = self.ask(|reply| command(after.take(), room, reply)).await?;
            gathered.extend(portion.found);
            after = portion.next;
            if after.is_none() {
                break;
            }
        }
        Ok(gathered)
    }

    /// What is asked of many by name, some at a time.
    async fn each<I: Clone, T>(
        &self,
        items: Vec<I>,
        command: impl Fn(Vec<I>, Reply<Vec<T>>) -> Command,
    ) -> Result<Vec<T>, CommandError> {
        let mut answers = Vec::with_capacity(items.len());
        for items in items.chunks(PORTION_MAX) {
            answers.extend(self.ask(|reply| command(items.to_vec(), reply)).await?);
        }
        Ok(answers)
    }
}

type Ranked = (Option<u64>, Holder);

/// Where no share is known all are alike, and in order of the holder.
fn nearest_first(a: &Ranked, b: &Ranked) -> Ordering {
    b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1))
}

/// Keeps what is on the page or before it. Now and then is enough, as long as there is a bound.
fn keep_nearest(ranked: &mut Vec<Ranked>, end: usize) {
    if ranked.len() > end.saturating_mul(2).saturating_add(PORTION_MAX) {
        ranked.select_nth_unstable_by(end, nearest_first);
        ranked.truncate(end);
    }
}
