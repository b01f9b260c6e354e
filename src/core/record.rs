//! What the ledger knows of one limit holder, and what follows for its account.
//!
//! Start at [`Record::post`]. The figure a shard compares with is the [`Ceiling`]: what has been applied of the
//! account's charges, plus the limit, less the window's sum. A delta adds to both the applied charges and the sum, so
//! in the ordinary case posting one moves no ceiling.
//!
//! What other instances have counted takes room from the limit as our own sum does: [`Record::merge`].
//!
//! Invariant: once every charge has been applied, charged ≥ ceiling exactly where [`judge`] says Block.

use crate::batch::Profile;
use crate::close_reason::CloseReason;
use crate::cluster::{Count, PeerTotals, Peers, Scope, Weight, Writer};
use crate::id::Holder;
use crate::limit::{AccountState, Block, Limit, Mode, OnRedisDown, RuleAction, WindowKind};
use crate::time::Timestamp;
use crate::totals::Totals;
use crate::verdict::{Used, Verdict, is_reached, judge};
use crate::window::Windows;

/// The charge at which a measure's verdict changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ceiling {
    Unlimited,
    /// Blocked or revoked: nothing at all is allowed.
    Shut,
    At(i64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ceilings {
    pub cost: Ceiling,
    pub tokens: Ceiling,
}

/// The part of an account's charges that deltas have told of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    pub cost: i64,
    pub tokens: i64,
}

/// What a change of a record asks of others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Consequence {
    /// AccountState or ceilings are not what they were.
    pub publish: bool,
    /// Less is allowed than before: live sessions have to be judged anew.
    pub sweep: bool,
    /// A share of the limit, in percent, that was reached for the first time in this window: 80, 95 or 100.
    pub warning: Option<u8>,
}

#[derive(Clone, Debug)]
pub struct Record {
    holder: Holder,
    pub profile: Profile,
    windows: Windows,
    default_limit: Limit,
    own_limit: Option<Limit>,
    account_state: AccountState,
    /// An operator's.
    block: Option<Box<Block>>,
    rule_action: Option<Box<RuleAction>>,
    /// When a key stops to open anything.
    ends_at: Option<Timestamp>,
    applied: Applied,
    ceilings: Ceilings,
    /// `None` until something was merged of peers, or that they cannot be reached.
    peers: Option<Box<Peers>>,
    /// Since when all that this instance counted of the holder is in the windows; before, it may have been forgotten.
    whole_from: Timestamp,
    /// The latest verdict was Block.
    barred: bool,
    /// The greatest share that was warned of, until the usage falls below all of them.
    warned_percent: u8,
}

impl Record {
    pub fn new(holder: Holder, default_limit: Limit, now: Timestamp) -> Record {
        let limit = default_limit.clone();
        let mut record = Record {
            holder,
            profile: Profile::default(),
            windows: Windows::new(now),
            default_limit,
            own_limit: None,
            account_state: AccountState { limit, ..AccountState::default() },
            block: None,
            rule_action: None,
            ends_at: None,
            applied: Applied::default(),
            ceilings: Ceilings { cost: Ceiling::Unlimited, tokens: Ceiling::Unlimited },
            peers: None,
            whole_from: now,
            barred: false,
            warned_percent: 0,
        };
        record.review(now);
        record
    }

    /// Adds a delta's totals, which a shard has charged to the account.
    pub fn post(&mut self, at: Timestamp, totals: &Totals, now: Timestamp) -> Consequence {
        self.windows.add(at, totals);
        // A holder that is used is judged by the present window, however far a walk over all holders has come.
        self.windows.advance(now);
        // The account's atomics wrap, so this has to.
        self.applied.cost = self.applied.cost.wrapping_add(totals.cost.0);
        self.applied.tokens = self.applied.tokens.wrapping_add(signed(totals.usage.total_tokens()));
        self.review(now)
    }

    /// Adds what an earlier process counted: no account of this one was charged with it.
    pub fn restore(&mut self, at: Timestamp, totals: &Totals) {
        self.whole_from = Timestamp(0);
        self.windows.add(at, totals);
    }

    /// Lets time pass: windows roll, blocks expire.
    pub fn advance(&mut self, now: Timestamp) -> Consequence {
        self.windows.advance(now);
        self.review(now)
    }

    /// See [`Windows::set_back`].
    pub fn set_back(&mut self, now: Timestamp) -> Consequence {
        self.windows.set_back(now);
        if let Some(peers) = &mut self.peers {
            peers.set_back(&self.windows);
        }
        self.review(now)
    }

    /// `None` returns to the default.
    pub fn set_limit(&mut self, limit: Option<Limit>, now: Timestamp) -> Consequence {
        self.own_limit = limit;
        let limit = self.own_limit.as_ref().unwrap_or(&self.default_limit).clone();
        let before = std::mem::replace(&mut self.account_state.limit, limit).models;
        let models = &self.account_state.limit.models;
        let are_others = !models.is_any() && *models != before;
        self.warned_percent = 0;
        if let Some(peers) = &mut self.peers {
            peers.set_limit(&self.windows, self.account_state.limit.window);
        }
        let consequence = self.advance(now);
        Consequence { publish: true, sweep: consequence.sweep || are_others, ..consequence }
    }

    pub fn set_block(&mut self, block: Option<Block>, now: Timestamp) -> Consequence {
        self.block = block.map(Box::new);
        self.settle_block();
        Consequence { publish: true, ..self.advance(now) }
    }

    /// What rules say, beside what operators do. `None`: nothing any more.
    pub fn set_rule_action(&mut self, rule_action: Option<RuleAction>, now: Timestamp) -> Consequence {
        self.rule_action = rule_action.map(Box::new);
        self.settle_block();
        Consequence { publish: true, ..self.advance(now) }
    }

    /// The holder is a key that opens nothing from `end` on.
    pub fn set_end(&mut self, end: Option<Timestamp>, now: Timestamp) -> Consequence {
        self.ends_at = end;
        Consequence { publish: true, ..self.advance(now) }
    }

    /// What this instance has counted in its limit's window, for the peers. Nothing where no limit binds.
    pub fn contribution(&mut self, scope: Scope) -> Vec<Count> {
        let limit = &self.account_state.limit;
        if !limit.is_bounded() {
            return Vec::new();
        }
        let peers = self.peers.get_or_insert_default();
        peers.counts(&self.windows, limit.window, scope, self.whole_from)
    }

    /// What was merged of each peer in its limit's window.
    pub fn of_peers(&self) -> Vec<(Writer, Vec<Count>)> {
        let told = |peers: &Peers| peers.of_peers(&self.windows, self.account_state.limit.window);
        self.peers.as_deref().map(told).unwrap_or_default()
    }

    /// Takes in what the peers have counted.
    pub fn merge(&mut self, totals: &[PeerTotals], now: Timestamp) -> Consequence {
        self.peers.get_or_insert_default().merge(&self.windows, totals, self.whole_from);
        self.advance(now)
    }

    /// Whether what others have counted is known, or does not matter.
    pub fn knows_peers(&self) -> bool {
        let limit = &self.account_state.limit;
        let are_known = |peers: &Peers| peers.are_known(&self.windows, limit.window);
        !limit.is_bounded() || self.peers.as_deref().is_some_and(are_known)
    }

    /// The peers cannot be reached: so many of them, this one included, go on by themselves. `None`: they can.
    pub fn partition(&mut self, instance_count: Option<u32>, now: Timestamp) -> Consequence {
        self.windows.advance(now);
        if self.peers.is_some() || instance_count.is_some() {
            let peers = self.peers.get_or_insert_default();
            peers.partition(&self.windows, self.account_state.limit.window, instance_count);
        }
        self.review(now)
    }

    /// Whether so much more, or a twentieth of it, would use up the limit.
    pub fn is_near_limit(&self, more: Used) -> bool {
        let &Limit { max_cost, max_tokens, mode, .. } = &self.account_state.limit;
        let used = self.used();
        let cost =
            max_cost.is_some_and(|max| max.0.saturating_sub(used.cost.0) < more.cost.0.max(max.0 / 20));
        let tokens =
            max_tokens.is_some_and(|max| max.saturating_sub(used.tokens) < more.tokens.max(max / 20));
        mode == Mode::Enforce && (cost || tokens)
    }

    /// When something changes next by itself, besides windows.
    pub fn due(&self) -> Option<Timestamp> {
        let block_end = self.block.as_ref().and_then(|block| block.expires_at);
        let rule_action_end = self.rule_action.as_ref().map(|rule_action| rule_action.expires_at);
        let key_end = self.ends_at.filter(|_| !self.account_state.revoked);
        block_end.into_iter().chain(rule_action_end).chain(key_end).min()
    }

    pub fn holder(&self) -> &Holder {
        &self.holder
    }

    pub fn account_state(&self) -> &AccountState {
        &self.account_state
    }

    /// An operator's block, whatever rules say.
    pub fn block(&self) -> Option<&Block> {
        self.block.as_deref()
    }

    pub fn rule_action(&self) -> Option<&RuleAction> {
        self.rule_action.as_deref()
    }

    pub fn own_limit(&self) -> Option<&Limit> {
        self.own_limit.as_ref()
    }

    pub fn ceilings(&self) -> Ceilings {
        self.ceilings
    }

    pub fn applied(&self) -> Applied {
        self.applied
    }

    pub fn totals(&self, window: WindowKind) -> &Totals {
        self.windows.totals(window)
    }

    /// What counts against the limit in its window: by this instance, by the peers, and what is kept for others that
    /// cannot be reached.
    pub fn used(&self) -> Used {
        self.counted().plus(self.weight().reserved)
    }

    /// What all instances have counted in the limit's window, as far as is known here.
    pub fn counted(&self) -> Used {
        Used::of(self.windows.totals(self.account_state.limit.window)).plus(self.weight().peers)
    }

    /// When this window of the holder's rolls over, by what is counted here.
    pub fn window_end(&self, window: WindowKind) -> Option<Timestamp> {
        self.windows.resets_at(window)
    }

    fn weight(&self) -> Weight {
        self.peers.as_ref().map_or(Weight::default(), |peers| peers.weight())
    }

    /// Whether something is forgotten with this holder that cannot be read back: an own limit, a block, where it
    /// belongs, or that it has used anything. The window of all time is never over.
    pub fn must_stay(&self) -> bool {
        let used = self.windows.totals(WindowKind::Total);
        let has_used = Totals { updated_at: None, ..*used } != Totals::default();
        has_used || self.own_limit.is_some() || self.block.is_some() || self.profile.member_of().is_some()
    }

    /// Draws every conclusion from the present sums, limit and block.
    fn review(&mut self, now: Timestamp) -> Consequence {
        let expired = self.expire(now);
        let is_partitioned = self.weigh_peers();
        let limit = &self.account_state.limit;
        let refuses_new = is_partitioned && limit.on_redis_down == OnRedisDown::Refuse && limit.is_bounded();
        let turned = refuses_new != std::mem::replace(&mut self.account_state.refuses_new, refuses_new);
        let resets_at = self.resets_at();
        let ended = self.ends_at.is_some_and(|end| now >= end);
        let revoked = ended != std::mem::replace(&mut self.account_state.revoked, ended);
        let moved = resets_at != self.account_state.resets_at;
        self.account_state.resets_at = resets_at;

        let before = self.ceilings;
        self.ceilings = self.compute_ceilings();
        let lowered =
            self.ceilings.cost.is_below(before.cost) || self.ceilings.tokens.is_below(before.tokens);

        let barred = matches!(judge(&self.account_state, self.used(), now), Verdict::Block(_));
        // An operator is told of what was used, not of what is kept for others.
        let percent = match judge(&self.account_state, self.counted(), now) {
            Verdict::Allow => 0,
            Verdict::Warn { percent } => percent,
            Verdict::Block(CloseReason::LimitReached { .. }) => 100,
            Verdict::Block(_) => self.warned_percent,
        };
        let sweep = lowered || barred && !self.barred;
        self.barred = barred;
        let warning = (percent > self.warned_percent).then_some(percent);
        self.warned_percent = if percent == 0 { 0 } else { percent.max(self.warned_percent) };
        let publish = expired || revoked || moved || turned || before != self.ceilings;
        Consequence { publish, sweep, warning }
    }

    /// Drops a block or rule action that is over; whether there was one.
    fn expire(&mut self, now: Timestamp) -> bool {
        let block = self.block.take_if(|block| !block.holds_at(now));
        let rule_action = self.rule_action.take_if(|rule_action| now >= rule_action.expires_at);
        let expired = block.is_some() || rule_action.is_some();
        if expired {
            self.settle_block();
        }
        expired
    }

    fn settle_block(&mut self) {
        let rule_action = self.rule_action.as_deref();
        let block = self.block.as_deref().cloned();
        self.account_state.block = block.or_else(|| rule_action.and_then(RuleAction::block));
        self.account_state.delay_ms = rule_action.map_or(0, |rule_action| rule_action.delay_ms);
    }

    /// Whether the peers cannot be reached.
    fn weigh_peers(&mut self) -> bool {
        let Some(peers) = &mut self.peers else { return false };
        peers.weigh(&self.windows, &self.account_state.limit);
        peers.is_partitioned()
    }

    /// Until when what was used counts: see [`AccountState::resets_at`].
    fn resets_at(&self) -> Option<Timestamp> {
        let window = self.account_state.limit.window;
        if window != WindowKind::Rolling24h {
            return self.windows.resets_at(window);
        }
        let peers = self.peers.iter().flat_map(|peers| peers.leaving(&self.windows, window));
        let limit = &self.account_state.limit;
        let mut used = self.used();
        if !is_reached(limit, used) {
            return self.windows.leaving().chain(peers).map(|(end, _)| end).min();
        }
        let mut leaving: Vec<(Timestamp, Used)> = self.windows.leaving().chain(peers).collect();
        leaving.sort_unstable_by_key(|&(end, _)| end);
        let mut ends = leaving.iter().filter_map(|&(end, gone)| {
            used = used.minus(gone);
            (!is_reached(limit, used)).then_some(end)
        });
        // What is reserved for peers that cannot be reached does not leave by itself.
        ends.next().or(leaving.last().map(|&(end, _)| end))
    }

    fn compute_ceilings(&self) -> Ceilings {
        if self.account_state.block.is_some() || self.account_state.revoked {
            return Ceilings { cost: Ceiling::Shut, tokens: Ceiling::Shut };
        }
        let limit = &self.account_state.limit;
        if limit.mode == Mode::Warn {
            return Ceilings { cost: Ceiling::Unlimited, tokens: Ceiling::Unlimited };
        }
        let used = self.used();
        Ceilings {
            cost: Ceiling::of(self.applied.cost, limit.max_cost.map(|max| max.0.max(0)), used.cost.0),
            tokens: Ceiling::of(self.applied.tokens, limit.max_tokens.map(signed), signed(used.tokens)),
        }
    }
}

impl Ceiling {
    fn of(applied: i64, limit: Option<i64>, used: i64) -> Ceiling {
        match limit {
            None => Ceiling::Unlimited,
            Some(limit) => Ceiling::At(applied.saturating_add(limit.saturating_sub(used))),
        }
    }

    fn is_below(self, other: Ceiling) -> bool {
        match (self, other) {
            (_, Ceiling::Shut) | (Ceiling::Unlimited, _) => false,
            (Ceiling::Shut, _) | (Ceiling::At(_), Ceiling::Unlimited) => true,
            (Ceiling::At(this), Ceiling::At(other)) => this < other,
        }
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
