//! What the admin plane may ask and order: the whole public face of the control plane.
//!
//! Most methods send one command to the aggregator and await its answer; those that read what is past ask the
//! store's readers. Questions about many are in `query`. Nothing here touches a session.

use crate::clock::system_time;
use crate::command::{Command, PORTION_MAX, Reply};
use crate::domain_event::DomainEvents;
use crate::error::CommandError;
use crate::explore::{Exploration, Explored, explore};
use crate::prices::{PricePreview, Prices, Unpriced};
use crate::progress::Replication;
use crate::ranking::{RankQuery, UserSort};
use crate::reads::Reads;
use crate::setting::SettingUpdate;
use crate::store::{AuditFilter, Dimension, Filter, Reader, RefusalFilter, StoreError, UsageQuery, UsageRow};
use crate::supervise::Supervisor;
use crate::view::{Call, Judged, LimitView, ModelTotals, Stats, Totals, UserView};
use crossbeam::channel::{Sender, TrySendError};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use tokenist_core::audit::Audit;
use tokenist_core::batch::{Event, Grain, Log, SessionRecord};
use tokenist_core::catalog::{Entry, EntryId, Kept};
use tokenist_core::id::{Holder, Identity, KeyHash, Model, OrgId, SessionId, UserId};
use tokenist_core::key::{Key, KeyId};
use tokenist_core::limit::{Block, Limit, RuleAction, WindowKind};
use tokenist_core::money::NanoUsd;
use tokenist_core::price::{Listing, PriceTable};
use tokenist_core::refusal::Refusal;
use tokenist_core::terms::Terms;
use tokenist_core::time::{DAY_MS, Timestamp};
use tokenist_core::usage::Usage;
use tokio::sync::oneshot;

/// Cheap to clone; every clone speaks to the same aggregator.
#[derive(Clone)]
pub struct Handle {
    commands: Sender<Command>,
    reads: Reads,
    supervisor: Supervisor,
    prices: Arc<Prices>,
    default_limit: Limit,
    /// Where other instances count into the same store, how that does.
    replication: Option<Arc<Replication>>,
    domain_events: DomainEvents,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handle")
    }
}

impl Handle {
    pub(crate) fn new(
        commands: Sender<Command>,
        reads: Reads,
        supervisor: Supervisor,
        prices: Arc<Prices>,
        default_limit: Limit,
        replication: Option<Arc<Replication>>,
        domain_events: DomainEvents,
    ) -> Handle {
        Handle { commands, reads, supervisor, prices, default_limit, replication, domain_events }
    }

    /// As this one, and asks the store by way of readers of its own.
    pub(crate) fn reading_by(&self, reads: Reads) -> Handle {
        Handle { reads, ..self.clone() }
    }

    /// Keeps the control plane's threads, and others that have to be kept.
    pub fn supervisor(&self) -> &Supervisor {
        &self.supervisor
    }

    /// What happens here, for subscribers.
    pub fn domain_events(&self) -> &DomainEvents {
        &self.domain_events
    }

    /// What binds a user without a limit of its own.
    pub fn default_limit(&self) -> &Limit {
        &self.default_limit
    }

    /// What all users used over all instances, where there are several and it matters.
    pub(crate) async fn stored_sums(
        &self,
        query: &RankQuery,
    ) -> Result<HashMap<UserId, Totals>, CommandError> {
        let (Some(replication), Some(window)) = (&self.replication, query.window) else {
            return Ok(HashMap::new());
        };
        if query.sort == UserSort::Id || replication.failure().is_some() {
            return Ok(HashMap::new());
        }
        let (from, by) = (window_start(window, system_time()), vec![Dimension::User]);
        let rows = self.usage(UsageQuery { from, by, ..UsageQuery::default() }).await?;
        Ok(rows.into_iter().filter_map(|row| Some((row.key.user?, row.totals))).collect())
    }

    /// `None` if the ledger has never heard of the user.
    pub async fn user(
        &self,
        user: UserId,
        window: Option<WindowKind>,
    ) -> Result<Option<UserView>, CommandError> {
        let mut view = self.ask(|reply| Command::User(user, window, reply)).await??;
        self.add_others(view.as_mut_slice(), window).await?;
        Ok(view)
    }

    /// The org that a user belongs to by the word of an operator or an entitled key. The outer `None`: the user
    /// is not known.
    pub async fn org_of(&self, user: UserId) -> Result<Option<Option<OrgId>>, CommandError> {
        let view = self.ask(|reply| Command::User(user, None, reply)).await??;
        Ok(view.map(|view| view.member_of))
    }

    /// What a user used by feature and model, all time.
    pub async fn models(&self, user: UserId) -> Result<Vec<ModelTotals>, CommandError> {
        self.ask(|reply| Command::Models(user, reply)).await
    }

    /// What binds a holder. One that was never seen is bound by the default and has used nothing.
    pub async fn limit(&self, holder: Holder) -> Result<LimitView, CommandError> {
        self.ask(|reply| Command::Limit(holder, reply)).await?
    }

    /// Replaces a holder's limit, or with `None` returns it to the default; live sessions that are over the new one
    /// end at once.
    pub async fn bind(&self, holder: Holder, limit: Option<Limit>) -> Result<LimitView, CommandError> {
        self.ask(|reply| Command::Bind(holder, limit, reply)).await?
    }

    /// Replaces the user's limit; live sessions that are over the new one end at once.
    pub async fn set_limit(&self, user: UserId, limit: Limit) -> Result<UserView, CommandError> {
        self.ask(|reply| Command::SetLimit(user, limit, reply)).await?
    }

    /// Blocks the user and ends its sessions at once.
    pub async fn block(&self, user: UserId, block: Block) -> Result<(), CommandError> {
        self.ask(|reply| Command::Block(user, block, reply)).await?
    }

    /// Whether the user was blocked.
    pub async fn unblock(&self, user: UserId) -> Result<bool, CommandError> {
        self.ask(|reply| Command::Unblock(user, reply)).await?
    }

    /// Does to users what rules say, at once, or with `None` no longer. At most `PORTION_MAX` at a time.
    pub async fn apply_rule_actions(
        &self,
        users: Vec<(UserId, Option<RuleAction>)>,
    ) -> Result<(), CommandError> {
        self.ask(|reply| Command::ApplyRuleActions(users, reply)).await
    }

    /// Ends one session with 4003; false if there is none of that id.
    pub async fn close_session(&self, session: SessionId) -> Result<bool, CommandError> {
        self.ask(|reply| Command::CloseSession(session, reply)).await
    }

    /// Makes a user known, with what is said of it. Live sessions are not touched.
    pub async fn introduce(&self, identity: Identity) -> Result<UserView, CommandError> {
        self.ask(|reply| Command::Introduce(Arc::new(identity), reply)).await?
    }

    /// What a usage of `model` costs at `at`, by the prices in force.
    pub fn cost(&self, provider: &str, model: &Model, usage: &Usage, at: Timestamp) -> NanoUsd {
        self.prices.in_force().load().price(provider, model.as_str(), at).cost(usage, &Terms::default())
    }

    /// The prices in force.
    pub fn prices(&self) -> Arc<PriceTable> {
        self.prices.in_force().get()
    }

    /// What the month before `now`'s would have cost if this listing had always held.
    pub async fn preview_price(
        &self,
        listing: Listing,
        now: Timestamp,
    ) -> Result<PricePreview, CommandError> {
        let to = now.month_start();
        let from = to.minus_ms(1).month_start();
        let by = vec![Dimension::Provider, Dimension::Model];
        let rows = self.usage(UsageQuery { from, to, by, ..UsageQuery::default() }).await?;
        Ok(PricePreview::of(&self.prices(), listing, rows))
    }

    /// Counts a call that did not pass through the proxy, unless it was counted before; judges the next one like it.
    pub async fn record(&self, call: Call) -> Result<Judged, CommandError> {
        if !call.ids.is_empty() {
            let ids = call.ids.clone();
            if self.read(move |reader| reader.has_marked(&ids)).await? {
                return self.judge(Identity::clone(&call.delta.identity), call.delta.model).await;
            }
        }
        self.ask(|reply| Command::Record(Box::new(call), reply)).await?
    }

    /// Judges a call to a model before it is made. No holder becomes known by it.
    pub async fn judge(&self, identity: Identity, model: Model) -> Result<Judged, CommandError> {
        self.ask(|reply| Command::Judge(Arc::new(identity), model, reply)).await?
    }

    /// Whether it still holds is for the caller to ask.
    pub async fn find_key(&self, hash: KeyHash) -> Result<Option<Key>, CommandError> {
        self.ask(|reply| Command::FindKey(hash, reply)).await
    }

    /// The key that operators know by this id.
    pub async fn key_of(&self, id: KeyId) -> Result<Option<Key>, CommandError> {
        self.ask(|reply| Command::KeyOf(id, reply)).await
    }

    /// Makes a key known, or changes it. Live sessions of a key that has ended end with 4001.
    pub async fn set_key(&self, key: Key) -> Result<(), CommandError> {
        self.ask(|reply| Command::SetKey(Box::new(key), reply)).await?
    }

    /// Has a key end at `at`: at once if that is past, and never later than it would have. `None`: no such key, or
    /// one that has been revoked before.
    pub async fn end_key(&self, id: KeyId, at: Timestamp) -> Result<Option<Key>, CommandError> {
        self.ask(|reply| Command::EndKey(id, at, reply)).await
    }

    /// What the catalog has under this id.
    pub async fn entry<T: Kept>(&self, id: &str) -> Result<Option<T>, CommandError> {
        let entry = self.ask(|reply| Command::Entry(EntryId::of::<T>(id), reply)).await?;
        Ok(entry.and_then(|entry| entry.read()))
    }

    /// Puts something into the catalog, or changes or removes it.
    pub async fn set_entry<T: Kept>(&self, id: &str, value: Option<&T>) -> Result<(), CommandError> {
        self.ask(|reply| Command::SetEntry(Entry::of(id, value), reply)).await?
    }

    /// Keeps what an operator changed.
    pub async fn audit(&self, audit: Audit) -> Result<(), CommandError> {
        self.ask(|reply| Command::Audit(Box::new(audit), reply)).await
    }

    /// What operators changed, the newest first. The last fifth of a second may be missing.
    pub async fn audits(&self, filter: AuditFilter) -> Result<Vec<Audit>, CommandError> {
        self.read(move |reader| reader.audits(&filter)).await
    }

    /// What of usage is priced by a guess, as prices are now; likewise.
    pub async fn unpriced(&self, query: UsageQuery) -> Result<Unpriced, CommandError> {
        let by = vec![Dimension::Provider, Dimension::Model];
        let rows = self.usage(UsageQuery { by, limit: usize::MAX, ..query }).await?;
        Ok(Unpriced::of(&self.prices(), &rows, system_time()))
    }

    /// How a holder would stand under another limit. Nothing changes.
    pub async fn try_limit(&self, holder: Holder, limit: Limit) -> Result<LimitView, CommandError> {
        self.ask(|reply| Command::TryLimit(holder, limit, reply)).await?
    }

    /// Refusals, the newest first; likewise.
    pub async fn refusals(&self, filter: RefusalFilter) -> Result<Vec<Refusal>, CommandError> {
        self.read(move |reader| reader.refusals(&filter)).await
    }

    /// Takes over what other instances have set, where it is later than what is known here. How much of it was.
    pub async fn adopt(&self, updates: Vec<SettingUpdate>) -> Result<usize, CommandError> {
        let mut adopted = 0;
        for updates in updates.chunks(PORTION_MAX) {
            adopted += self.ask(|reply| Command::Adopt(updates.to_vec(), reply)).await?;
        }
        Ok(adopted)
    }

    /// What the store knows of past usage. The last fifth of a second may be missing.
    pub async fn usage(&self, query: UsageQuery) -> Result<Vec<UsageRow>, CommandError> {
        self.read(move |reader| reader.usage(&query)).await
    }

    /// As [`Handle::usage`], row by row into something, until `take` says that it is enough.
    pub async fn usage_into<T: Send + 'static>(
        &self,
        query: UsageQuery,
        mut into: T,
        mut take: impl FnMut(&mut T, UsageRow) -> bool + Send + 'static,
    ) -> Result<T, CommandError> {
        let question = move |reader: &mut dyn Reader| {
            reader.usage_each(&query, &mut |row| take(&mut into, row))?;
            Ok(into)
        };
        self.read(question).await
    }

    /// How many rows [`Handle::usage`] would give without a limit.
    pub async fn usage_count(&self, query: UsageQuery) -> Result<usize, CommandError> {
        self.read(move |reader| reader.usage_count(&query)).await
    }

    /// What [`Handle::usage`] gives, and how many rows there are without a limit.
    pub async fn usage_page(&self, query: UsageQuery) -> Result<(Vec<UsageRow>, usize), CommandError> {
        self.read(move |reader| reader.usage_page(&query)).await
    }

    /// Usage in all, by group and over time; likewise.
    pub async fn explore(&self, asked: Exploration) -> Result<Explored, CommandError> {
        self.read(move |reader| explore(reader, &asked)).await
    }

    /// Metered responses, the newest first; likewise.
    pub async fn events(&self, filter: Filter) -> Result<Vec<Event>, CommandError> {
        self.read(move |reader| reader.events(&filter)).await
    }

    /// Sessions that are over, the newest first; likewise.
    pub async fn past_sessions(&self, filter: Filter) -> Result<Vec<SessionRecord>, CommandError> {
        self.read(move |reader| reader.sessions(&filter)).await
    }

    /// Calls that applications described, the newest first; likewise.
    pub async fn logs(&self, filter: Filter) -> Result<Vec<Log>, CommandError> {
        self.read(move |reader| reader.logs(&filter)).await
    }

    /// How many [`Handle::logs`] would give without offset and limit.
    pub async fn log_count(&self, filter: Filter) -> Result<usize, CommandError> {
        self.read(move |reader| reader.log_count(&filter)).await
    }

    /// The call that has this id.
    pub async fn log(&self, id: String) -> Result<Option<Log>, CommandError> {
        self.read(move |reader| reader.log(&id)).await
    }

    /// Takes the totals over all instances, where there are several. The store may be behind what is counted here, so
    /// the greater figure is the later one. While it is away, what is counted here has to do.
    pub(crate) async fn add_others(
        &self,
        views: &mut [UserView],
        window: Option<WindowKind>,
    ) -> Result<(), CommandError> {
        let Some(replication) = &self.replication else { return Ok(()) };
        if replication.failure().is_some() {
            return Ok(());
        }
        let now = system_time();
        for kind in [WindowKind::Daily, WindowKind::Monthly, WindowKind::Rolling24h, WindowKind::Total] {
            let of_kind = |view: &&mut UserView| window.unwrap_or(view.limit.window) == kind;
            let users: Vec<UserId> = views.iter_mut().filter(of_kind).map(|view| view.user.clone()).collect();
            if users.is_empty() {
                continue;
            }
            let from = window_start(kind, now);
            let query = UsageQuery { from, users, by: vec![Dimension::User], ..UsageQuery::default() };
            let rows = self.usage(query).await?;
            let sums: HashMap<_, _> = rows.into_iter().map(|row| (row.key.user, row.totals)).collect();
            for view in views.iter_mut().filter(of_kind) {
                if let Some(sum) = sums.get(&Some(view.user.clone())) {
                    view.totals = view.totals.join(*sum);
                }
            }
        }
        Ok(())
    }

    async fn read<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut dyn Reader) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, CommandError> {
        self.reads.ask(question).await
    }

    pub async fn stats(&self) -> Result<Stats, CommandError> {
        let stats = self.ask(Command::Stats).await?;
        Ok(Stats { threads: self.supervisor.threads(), ..stats })
    }

    pub(crate) async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, CommandError> {
        let (reply, answer) = oneshot::channel();
        match self.commands.try_send(command(reply)) {
            Ok(()) => answer.await.map_err(|_| CommandError::Gone),
            Err(TrySendError::Full(_)) => Err(CommandError::Busy),
            Err(TrySendError::Disconnected(_)) => Err(CommandError::Gone),
        }
    }
}

/// From when on the store's rows are in a window of now.
fn window_start(kind: WindowKind, now: Timestamp) -> Timestamp {
    match kind {
        WindowKind::Daily => now.day_start(),
        WindowKind::Monthly => now.month_start(),
        // Of rows by the hour the oldest counts whole.
        WindowKind::Rolling24h => Grain::Hour.start(now.minus_ms(DAY_MS)),
        WindowKind::Total => Timestamp(0),
    }
}
