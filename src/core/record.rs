//! What the ledger knows of one limit holder, and what follows for its account.
//!
//! Start at [`Record::post`]. The figure a shard compares with is the [`Ceiling`]: what has been applied of the
//! account's charges, plus the limit, less the window's sum. A delta adds to both the applied charges and the sum, so
//! in the ordinary case posting one moves no ceiling.
//!
//! What other instances have counted takes room from the limit as our own sum does: [`Record::hear`].
//!
//! Invariant: once every charge has been applied, charged ≥ ceiling exactly where [`judge`] says Block.

use crate::batch::Profile;
use crate::close::Ending;
use crate::fleet::{Count, Heard, Others, Scope, Weight};
use crate::id::Holder;
use crate::limit::{Block, Limit, Mode, OnRedisDown, Restraint, Standing, WindowKind};
use crate::time::Timestamp;
use crate::totals::Totals;
use crate::verdict::{Used, Verdict, judge};
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
    /// Standing or ceilings are not what they were.
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
    standing: Standing,
    /// An operator's.
    block: Option<Box<Block>>,
    restraint: Option<Box<Restraint>>,
    /// When a key stops to open anything.
    ends_at: Option<Timestamp>,
    applied: Applied,
    ceilings: Ceilings,
    /// `None` until something was heard of other instances, or that they cannot be heard.
    others: Option<Box<Others>>,
    /// Since when all that this instance counted of the holder is in the windows; before, it may have been forgotten.
    whole_from: Timestamp,
    /// The latest verdict was Block.
    barred: bool,
    /// The greatest share that was warned of, until the usage falls below all of them.
    warned_percent: u8,
}

impl Record {
    pub fn new(holder: Holder, default_limit: Limit, now: Timestamp) -> Record {
        let mut record = Record {
            holder,
            profile: Profile::default(),
            windows: Windows::new(now),
            default_limit,
            own_limit: None,
            standing: Standing { limit: default_limit, ..Standing::default() },
            block: None,
            restraint: None,
            ends_at: None,
            applied: Applied::default(),
            ceilings: Ceilings { cost: Ceiling::Unlimited, tokens: Ceiling::Unlimited },
            others: None,
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
        if let Some(others) = &mut self.others {
            others.set_back(&self.windows);
        }
        self.review(now)
    }

    /// `None` returns to the default.
    pub fn set_limit(&mut self, limit: Option<Limit>, now: Timestamp) -> Consequence {
        self.own_limit = limit;
        self.standing.limit = limit.unwrap_or(self.default_limit);
        self.warned_percent = 0;
        if let Some(others) = &mut self.others {
            others.set_limit(&self.windows, self.standing.limit.window);
        }
        Consequence { publish: true, ..self.advance(now) }
    }

    pub fn set_block(&mut self, block: Option<Block>, now: Timestamp) -> Consequence {
        self.block = block.map(Box::new);
        self.settle_block();
        Consequence { publish: true, ..self.advance(now) }
    }

    /// What rules say, beside what operators do. `None`: nothing any more.
    pub fn set_restraint(&mut self, restraint: Option<Restraint>, now: Timestamp) -> Consequence {
        self.restraint = restraint.map(Box::new);
        self.settle_block();
        Consequence { publish: true, ..self.advance(now) }
    }

    /// The holder is a key that opens nothing from `end` on.
    pub fn set_end(&mut self, end: Option<Timestamp>, now: Timestamp) -> Consequence {
        self.ends_at = end;
        Consequence { publish: true, ..self.advance(now) }
    }

    /// What this instance has counted in its limit's window, for the others. Nothing where no limit binds.
    pub fn share(&self, scope: Scope) -> Vec<Count> {
        let limit = &self.standing.limit;
        if !limit.is_bounded() {
            return Vec::new();
        }
        match &self.others {
            Some(others) => others.counts(&self.windows, limit.window, scope, self.whole_from),
            None => Others::default().counts(&self.windows, limit.window, scope, self.whole_from),
        }
    }

    /// Takes in what the others have counted.
    pub fn hear(&mut self, heard: &[Heard], now: Timestamp) -> Consequence {
        self.others.get_or_insert_default().hear(heard, self.whole_from);
        self.advance(now)
    }

    /// Whether what others have counted is known, or does not matter.
    pub fn knows_others(&self) -> bool {
        let limit = &self.standing.limit;
        let are_known = |others: &Others| others.are_known(&self.windows, limit.window);
        !limit.is_bounded() || self.others.as_deref().is_some_and(are_known)
    }

    /// The other instances cannot be heard: so many of them, this one included, go on by themselves. `None`: they can.
    pub fn part(&mut self, instance_count: Option<u32>, now: Timestamp) -> Consequence {
        self.windows.advance(now);
        if self.others.is_some() || instance_count.is_some() {
            let others = self.others.get_or_insert_default();
            others.part(&self.windows, self.standing.limit.window, instance_count);
        }
        self.review(now)
    }

    /// Whether so much more, or a twentieth of it, would use up the limit.
    pub fn is_near_limit(&self, more: Used) -> bool {
        let Limit { max_cost, max_tokens, mode, .. } = self.standing.limit;
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
        let restraint_end = self.restraint.as_ref().map(|restraint| restraint.expires_at);
        let key_end = self.ends_at.filter(|_| !self.standing.revoked);
        block_end.into_iter().chain(restraint_end).chain(key_end).min()
    }

    pub fn holder(&self) -> &Holder {
        &self.holder
    }

    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// An operator's block, whatever rules say.
    pub fn block(&self) -> Option<&Block> {
        self.block.as_deref()
    }

    pub fn own_limit(&self) -> Option<Limit> {
        self.own_limit
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

    /// What counts against the limit in its window: by this instance, by the others, and what is kept for others that
    /// cannot be heard.
    pub fn used(&self) -> Used {
        self.counted().plus(self.weight().reserve)
    }

    /// What all instances have counted in the limit's window, as far as is known here.
    pub fn counted(&self) -> Used {
        Used::of(self.windows.totals(self.standing.limit.window)).plus(self.weight().others)
    }

    fn weight(&self) -> Weight {
        self.others.as_ref().map_or(Weight::default(), |others| others.weight())
    }

    /// Whether forgetting this holder would set somebody free: an own limit, a block, a rule, or a limit that was used
    /// up.
    pub fn must_stay(&self) -> bool {
        let used_up = self.barred && !self.standing.revoked && self.used() != Used::default();
        self.own_limit.is_some() || self.block.is_some() || self.restraint.is_some() || used_up
    }

    /// Draws every conclusion from the present sums, limit and block.
    fn review(&mut self, now: Timestamp) -> Consequence {
        let expired = self.expire(now);
        let apart = self.weigh_others();
        let limit = &self.standing.limit;
        let refuses_new = apart && limit.on_redis_down == OnRedisDown::Refuse && limit.is_bounded();
        let turned = refuses_new != std::mem::replace(&mut self.standing.refuses_new, refuses_new);
        let resets_at = self.resets_at();
        let ended = self.ends_at.is_some_and(|end| now >= end);
        let revoked = ended != std::mem::replace(&mut self.standing.revoked, ended);
        let moved = resets_at != self.standing.resets_at;
        self.standing.resets_at = resets_at;

        let before = self.ceilings;
        self.ceilings = self.compute_ceilings();
        let lowered =
            self.ceilings.cost.is_below(before.cost) || self.ceilings.tokens.is_below(before.tokens);

        let barred = matches!(judge(&self.standing, self.used(), now), Verdict::Block(_));
        // An operator is told of what was used, not of what is kept for others.
        let percent = match judge(&self.standing, self.counted(), now) {
            Verdict::Allow => 0,
            Verdict::Warn { percent } => percent,
            Verdict::Block(Ending::LimitReached { .. }) => 100,
            Verdict::Block(_) => self.warned_percent,
        };
        let sweep = lowered || barred && !self.barred;
        self.barred = barred;
        let warning = (percent > self.warned_percent).then_some(percent);
        self.warned_percent = if percent == 0 { 0 } else { percent.max(self.warned_percent) };
        let publish = expired || revoked || moved || turned || before != self.ceilings;
        Consequence { publish, sweep, warning }
    }

    /// Drops a block or restraint that is over; whether there was one.
    fn expire(&mut self, now: Timestamp) -> bool {
        let block = self.block.take_if(|block| !block.holds_at(now));
        let restraint = self.restraint.take_if(|restraint| now >= restraint.expires_at);
        let expired = block.is_some() || restraint.is_some();
        if expired {
            self.settle_block();
        }
        expired
    }

    fn settle_block(&mut self) {
        let restraint = self.restraint.as_deref();
        let block = self.block.as_deref().cloned();
        self.standing.block = block.or_else(|| restraint.and_then(Restraint::block));
        self.standing.delay_ms = restraint.map_or(0, |restraint| restraint.delay_ms);
    }

    /// Whether the others cannot be heard.
    fn weigh_others(&mut self) -> bool {
        let Some(others) = &mut self.others else { return false };
        others.weigh(&self.windows, &self.standing.limit);
        others.is_apart()
    }

    fn resets_at(&self) -> Option<Timestamp> {
        let window = self.standing.limit.window;
        let own = self.windows.resets_at(window);
        let others = self.others.as_ref().and_then(|others| others.oldest(&self.windows, window)?.end());
        own.into_iter().chain(others).min()
    }

    fn compute_ceilings(&self) -> Ceilings {
        if self.standing.block.is_some() || self.standing.revoked {
            return Ceilings { cost: Ceiling::Shut, tokens: Ceiling::Shut };
        }
        let limit = &self.standing.limit;
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
mod tests {
    use super::*;
    use crate::fleet::Cell;
    use crate::id::UserId;
    use crate::money::NanoUsd;
    use crate::time::DAY_MS;
    use crate::usage::Usage;
    use crate::window::BUCKET_MS;
    use proptest::prelude::*;

    const NOON: Timestamp = Timestamp(1_795_435_200_000);

    fn record(limit: Limit) -> Record {
        Record::new(Holder::User(UserId::from("alice")), limit, NOON)
    }

    fn cost_limit(nano: i64, window: WindowKind) -> Limit {
        Limit { max_cost: Some(NanoUsd(nano)), window, ..Limit::default() }
    }

    fn amount(nano: i64, tokens: u64) -> Totals {
        Totals {
            usage: Usage { text_in: tokens, ..Usage::default() },
            cost: NanoUsd(nano),
            ..Totals::default()
        }
    }

    fn block_until(end: Option<Timestamp>) -> Option<Block> {
        Some(Block { reason: None, blocked_at: NOON, expires_at: end })
    }

    #[test]
    fn an_ordinary_delta_moves_no_ceiling_and_a_new_day_does() {
        let mut record = record(cost_limit(100, WindowKind::Daily));
        assert_eq!(record.ceilings().cost, Ceiling::At(100));
        assert_eq!(record.post(NOON, &amount(60, 0), NOON), Consequence::default());
        assert_eq!(record.ceilings().cost, Ceiling::At(100));
        assert!(record.advance(NOON.next_day_start()).publish);
        assert_eq!(record.ceilings().cost, Ceiling::At(160));
        assert_eq!(record.standing().resets_at, Some(NOON.next_day_start().next_day_start()));
    }

    #[test]
    fn a_late_delta_of_yesterday_is_taken_off_todays_use() {
        let mut record = record(cost_limit(100, WindowKind::Daily));
        let tomorrow = NOON.next_day_start();
        record.advance(tomorrow);
        // The account was charged with 70 yesterday; until that is known it counts against today.
        assert!(record.post(NOON, &amount(70, 0), tomorrow).publish);
        assert_eq!(record.ceilings().cost, Ceiling::At(170));
    }

    #[test]
    fn warnings_come_once_in_each_window() {
        let mut record = record(cost_limit(100, WindowKind::Daily));
        let warnings = |record: &mut Record, at: Timestamp| {
            [79, 1, 5, 10, 1, 4].map(|nano| {
                let consequence = record.post(at, &amount(nano, 0), at);
                (consequence.warning, consequence.sweep)
            })
        };
        let expected = [None, Some(80), None, Some(95), None, None].map(|warning| (warning, false));
        let mut expected_last = expected;
        expected_last[5] = (Some(100), true);
        assert_eq!(warnings(&mut record, NOON), expected_last);
        let tomorrow = NOON.next_day_start();
        record.advance(tomorrow);
        assert_eq!(warnings(&mut record, tomorrow), expected_last);
    }

    #[test]
    fn warn_mode_tells_at_the_limit_and_shuts_nobody_out() {
        let mut record = record(Limit { mode: Mode::Warn, ..cost_limit(100, WindowKind::Total) });
        let consequence = record.post(NOON, &amount(150, 0), NOON);
        assert_eq!(consequence, Consequence { warning: Some(100), ..Consequence::default() });
        assert_eq!(record.ceilings().cost, Ceiling::Unlimited);
    }

    #[test]
    fn a_rule_blocks_beside_an_operator_and_lifts_nothing_of_his() {
        let restraint = |end: u64| Restraint {
            reason: Some("Rule \"r\"".into()),
            since: NOON,
            delay_ms: 7,
            expires_at: NOON.plus_ms(end),
        };
        let mut record = record(Limit::default());
        assert!(record.set_restraint(Some(restraint(10)), NOON).sweep);
        assert_eq!((record.standing().block.clone(), record.block()), (restraint(10).block(), None));
        assert_eq!((record.standing().delay_ms, record.must_stay()), (7, true));
        let own = block_until(Some(NOON.plus_ms(5)));
        record.set_block(own.clone(), NOON);
        record.set_restraint(None, NOON);
        assert_eq!((&record.standing().block, record.due()), (&own, Some(NOON.plus_ms(5))));
        record.set_restraint(Some(restraint(8)), NOON);
        assert_eq!(record.standing().block, own);
        assert!(record.advance(NOON.plus_ms(5)).publish);
        assert_eq!(record.standing().block, restraint(8).block());
        assert!(record.advance(NOON.plus_ms(8)).publish);
        assert_eq!((&record.standing().block, record.standing().delay_ms), (&None, 0));
        assert_eq!((record.ceilings().cost, record.must_stay()), (Ceiling::Unlimited, false));
    }

    #[test]
    fn a_block_shuts_at_once_and_opens_when_it_expires() {
        let mut record = record(Limit::default());
        let end = NOON.plus_ms(10);
        let consequence = record.set_block(block_until(Some(end)), NOON);
        assert!(consequence.publish && consequence.sweep);
        assert_eq!(record.ceilings(), Ceilings { cost: Ceiling::Shut, tokens: Ceiling::Shut });
        assert!(!record.advance(end.minus_ms(1)).publish);
        assert!(record.advance(end).publish);
        assert_eq!((record.ceilings().cost, record.standing().block.clone()), (Ceiling::Unlimited, None));
    }

    #[test]
    fn lowering_a_limit_sweeps_and_raising_it_does_not() {
        let mut record = record(cost_limit(100, WindowKind::Daily));
        record.post(NOON, &amount(50, 0), NOON);
        assert!(record.set_limit(Some(cost_limit(60, WindowKind::Daily)), NOON).sweep);
        assert!(!record.set_limit(Some(cost_limit(70, WindowKind::Daily)), NOON).sweep);
        assert!(!record.set_limit(Some(Limit::default()), NOON).sweep);
        assert!(record.set_limit(None, NOON).sweep);
    }

    #[test]
    fn what_others_use_takes_room_and_closes_sessions() {
        let mut record = record(cost_limit(100, WindowKind::Rolling24h));
        record.post(NOON, &amount(30, 0), NOON);
        let newest = record.share(Scope::Recent).last().copied().unwrap();
        let told = |nano, at: Timestamp| Heard {
            cell: Cell { window: WindowKind::Rolling24h, start: at },
            others: Used { cost: NanoUsd(nano), tokens: 0 },
            own: Used::default(),
        };
        let hour_ago = newest.cell.start.minus_ms(DAY_MS / 24);
        assert!(record.hear(&[told(40, hour_ago), told(20, newest.cell.start)], NOON).sweep);
        assert_eq!(record.ceilings().cost, Ceiling::At(40));
        assert!(record.hear(&[told(30, newest.cell.start)], NOON).sweep);
        assert_eq!(record.ceilings().cost, Ceiling::At(30), "reached");
        assert_eq!(record.standing().resets_at, Some(hour_ago.plus_ms(DAY_MS + BUCKET_MS)));
        assert!(record.advance(hour_ago.plus_ms(DAY_MS + BUCKET_MS)).publish);
        assert_eq!(record.ceilings().cost, Ceiling::At(70));
    }

    #[test]
    fn a_limit_says_what_holds_while_others_cannot_be_heard() {
        for (on_redis_down, left, refuses_new) in [
            (OnRedisDown::LocalShare, 35, false),
            (OnRedisDown::Allow, 70, false),
            (OnRedisDown::Refuse, 35, true),
        ] {
            let mut record = record(Limit { on_redis_down, ..cost_limit(100, WindowKind::Daily) });
            record.post(NOON, &amount(30, 0), NOON);
            let parted = record.part(Some(2), NOON);
            assert_eq!(record.ceilings().cost, Ceiling::At(30 + left));
            assert_eq!((record.standing().refuses_new, parted.warning), (refuses_new, None));
            assert!(record.part(None, NOON).publish || on_redis_down == OnRedisDown::Allow);
            assert_eq!((record.ceilings().cost, record.standing().refuses_new), (Ceiling::At(100), false));
        }
    }

    #[test]
    fn what_binds_somebody_is_not_forgotten() {
        let mut used_up = record(cost_limit(10, WindowKind::Daily));
        assert!(!used_up.must_stay());
        used_up.post(NOON, &amount(10, 0), NOON);
        assert!(used_up.must_stay());
        used_up.advance(NOON.next_day_start());
        assert!(!used_up.must_stay());

        let mut denied = record(cost_limit(0, WindowKind::Daily));
        denied.advance(NOON);
        assert!(!denied.must_stay(), "a limit of zero binds whoever comes next just as well");
    }

    /// One thing that can happen to a holder, with how long after the one before.
    #[derive(Clone, Debug)]
    enum Act {
        /// A shard charges; the delta is applied later.
        Charge(i64, u64),
        /// The oldest waiting delta is applied.
        Apply,
        Limit(Limit),
        Block(Option<u64>),
        Unblock,
        Tick,
        SetBack(u64),
        /// The others have counted so much in the latest cell, and so much in the oldest that is asked for.
        Hear(i64, u64),
        /// The others cannot be heard any more, or again.
        Part(Option<u32>),
    }

    fn windows() -> impl Strategy<Value = WindowKind> {
        prop::sample::select(vec![
            WindowKind::Daily,
            WindowKind::Monthly,
            WindowKind::Rolling24h,
            WindowKind::Total,
        ])
    }

    fn acts() -> impl Strategy<Value = Vec<(u64, Act)>> {
        let act = prop_oneof![
            4 => (0..300i64, 0..300u64).prop_map(|(nano, tokens)| Act::Charge(nano, tokens)),
            4 => Just(Act::Apply),
            1 => (
                prop::option::of(0..1000i64),
                prop::option::of(0..1000u64),
                windows(),
                prop::sample::select(vec![Mode::Enforce, Mode::Enforce, Mode::Warn]),
                prop::sample::select(vec![OnRedisDown::LocalShare, OnRedisDown::Allow, OnRedisDown::Refuse]),
            )
                .prop_map(|(cost, tokens, window, mode, on_redis_down)| {
                    Act::Limit(Limit {
                        max_cost: cost.map(NanoUsd),
                        max_tokens: tokens,
                        window,
                        mode,
                        on_redis_down,
                        ..Limit::default()
                    })
                }),
            1 => prop::option::of(0..DAY_MS).prop_map(Act::Block),
            1 => Just(Act::Unblock),
            2 => Just(Act::Tick),
            1 => (0..3 * DAY_MS).prop_map(Act::SetBack),
            3 => (0..300i64, 0..300u64).prop_map(|(nano, tokens)| Act::Hear(nano, tokens)),
            1 => prop::option::of(1..5u32).prop_map(Act::Part),
        ];
        let pause = prop_oneof![4 => 0..1_000u64, 1 => 0..2 * DAY_MS];
        prop::collection::vec((pause, act), 1..80)
    }

    proptest! {
        #[test]
        fn an_account_is_reached_exactly_where_the_verdict_is_block(acts in acts()) {
            let mut record = record(cost_limit(500, WindowKind::Daily));
            let mut charged = Applied::default();
            let mut waiting = std::collections::VecDeque::new();
            let mut now = NOON;
            let mut is_apart = false;
            let reached = |charged: Applied, ceilings: Ceilings| {
                [(charged.cost, ceilings.cost), (charged.tokens, ceilings.tokens)].iter().any(|&(charged, ceiling)| {
                    match ceiling {
                        Ceiling::Unlimited => false,
                        Ceiling::Shut => true,
                        Ceiling::At(ceiling) => charged >= ceiling,
                    }
                })
            };
            for (pause, act) in acts {
                now = now.plus_ms(pause);
                match act {
                    Act::Charge(nano, tokens) => {
                        charged.cost += nano;
                        charged.tokens += tokens as i64;
                        waiting.push_back((now, amount(nano, tokens)));
                    }
                    Act::Apply => {
                        if let Some((at, totals)) = waiting.pop_front() {
                            record.post(at, &totals, now);
                        }
                    }
                    Act::Limit(limit) => {
                        record.set_limit(Some(limit), now);
                    }
                    Act::Block(ms) => {
                        record.set_block(block_until(ms.map(|ms| now.plus_ms(ms))), now);
                    }
                    Act::Unblock => {
                        record.set_block(None, now);
                    }
                    Act::Tick => {
                        record.advance(now);
                    }
                    Act::SetBack(ms) => {
                        now = now.minus_ms(ms);
                        record.set_back(now);
                    }
                    Act::Hear(nano, tokens) => {
                        record.advance(now);
                        let counts = record.share(Scope::Recent);
                        let used = Used { cost: NanoUsd(nano), tokens };
                        let heard = [counts.first(), counts.last()].into_iter().flatten();
                        let heard: Vec<_> =
                            heard.map(|count| Heard { cell: count.cell, others: used, own: count.used }).collect();
                        record.hear(&heard, now);
                        prop_assert_eq!(record.knows_others(), !heard.is_empty() || !record.standing().limit.is_bounded());
                    }
                    Act::Part(instances) => {
                        is_apart = instances.is_some();
                        record.part(instances, now);
                    }
                }
                // While deltas are on their way the account may only be stricter than the ledger.
                record.advance(now);
                let block = matches!(judge(record.standing(), record.used(), now), Verdict::Block(_));
                let reached_now = reached(charged, record.ceilings());
                prop_assert!(reached_now || !block);
                if waiting.is_empty() {
                    prop_assert_eq!(reached_now, block);
                }
                let (counted, used) = (record.counted(), record.used());
                prop_assert!(counted.cost <= used.cost && counted.tokens <= used.tokens);
                prop_assert!(is_apart || counted == used, "nothing is kept for those who can be heard");
            }
        }

        #[test]
        fn more_usage_is_never_judged_more_mildly(
            max_cost in prop::option::of(0..2_000i64), max_tokens in prop::option::of(0..2_000u64),
            warn: bool, a in 0..3_000i64, b in 0..3_000i64, tokens in 0..3_000u64, more in 0..3_000u64,
        ) {
            let mode = if warn { Mode::Warn } else { Mode::Enforce };
            let standing = Standing {
                limit: Limit { max_cost: max_cost.map(NanoUsd), max_tokens, mode, ..Limit::default() },
                ..Standing::default()
            };
            let severity = |cost: i64, tokens: u64| match judge(&standing, Used { cost: NanoUsd(cost), tokens }, NOON) {
                Verdict::Allow => 0,
                Verdict::Warn { percent } => u64::from(percent),
                Verdict::Block(_) => u64::MAX,
            };
            prop_assert!(severity(a.min(b), tokens) <= severity(a.max(b), tokens + more));
        }
    }
}
