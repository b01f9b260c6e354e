//! What the control plane does: reports are applied, windows roll, batches are committed, whoever was forgotten is read
//! back, and operators ask and order.

use crate::amount::Amount;
use crate::books::Booked;
use crate::cast::{self, FIRST_KEY, HOLDER_COUNT, KEY_COUNT, Party, USER_COUNT};
use crate::plant::{LATE_MS, Plant};
use crate::process::{Answers, Asked, Session, Wish};
use crate::shape::MILLI;
use crate::story::tell;
use crate::world::World;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokenist_control::Handle;
use tokenist_control::store::StoreError;
use tokenist_control::view::{Call, LimitQuery, LimitSort, UserQuery};
use tokenist_core::batch::{Recalled, Revision, Stamped};
use tokenist_core::id::{Holder, Identity, SessionId};
use tokenist_core::key::{Key, KeyId, Scopes};
use tokenist_core::limit::{Block, Limit, Mode, OnRedisDown, RuleAction, WindowKind};
use tokenist_core::message::Delta;
use tokenist_core::models::Models;
use tokenist_core::money::NanoUsd;
use tokenist_core::price::PriceTable;
use tokenist_core::time::{HOUR_MS, MINUTE_MS, Timestamp};
use tokenist_core::usage::Usage;
use tokenist_handoff::Report;

type Done = Pin<Box<dyn Future<Output = bool>>>;

impl World {
    /// What time it is for the aggregator.
    pub(crate) fn ledger_now(&mut self, at: usize) -> Timestamp {
        let wall = match self.plant {
            Plant::LateWindow => self.wall.minus_ms(LATE_MS),
            _ => self.wall,
        };
        let process = self.process_mut(at);
        let reading = process.clock.follow(wall);
        if reading.set_back {
            process.aggregator.set_back(reading.now);
            self.coverage.note("windows are set back");
        }
        reading.now
    }

    pub(crate) fn age(&self, at: usize) -> Duration {
        self.elapsed - self.process(at).began
    }

    /// Some of the reports that wait are applied.
    pub(crate) fn apply(&mut self, at: usize) {
        let waiting = self.process(at).queue.borrow().len();
        let count = self.chance.index(waiting + 1);
        self.apply_some(at, count);
    }

    pub(crate) fn apply_some(&mut self, at: usize, count: usize) {
        let (now, age) = (self.ledger_now(at), self.age(at));
        for _ in 0..count {
            let Some(report) = self.process(at).queue.borrow_mut().take() else { break };
            let may_assign =
                matches!(report, Report::Admit { .. } | Report::Charged(..) | Report::Opened(..));
            self.process_mut(at).aggregator.report(report, now);
            if may_assign {
                self.forget_merged(at);
            }
        }
        let process = self.process_mut(at);
        process.aggregator.attend(age, now);
        process.aggregator.publish();
        self.forget_merged(at);
    }

    /// Of whoever has no slot nothing is known of other instances either.
    pub(crate) fn forget_merged(&mut self, at: usize) {
        let instance = &mut self.instances[at];
        let Some(process) = &instance.process else { return };
        for who in 0..HOLDER_COUNT {
            if process.aggregator.ledger().find(cast::holder(who)).is_none() {
                instance.books.forget_merged(who);
                if !instance.kept.lasts() {
                    instance.books.forget_lifted(who, self.wall);
                }
            }
        }
    }

    /// Time passes for the ledger, and what has gathered goes to the writer if it has room.
    pub(crate) fn tick(&mut self, at: usize) {
        let (now, age) = (self.ledger_now(at), self.age(at));
        let process = self.process_mut(at);
        process.aggregator.tick(now);
        process.aggregator.attend(age, now);
        if process.batches.len() < 2 {
            process.batches.extend(process.aggregator.take_batch());
        }
        self.forget_merged(at);
        // Whoever waited for a slot may have got one.
        self.settle_wishes();
        self.check_windows(at);
    }

    /// The writer tries to commit what it has.
    pub(crate) fn commit(&mut self, at: usize) {
        if self.process(at).batches.is_empty() {
            return;
        }
        match self.chance.below(8) {
            0 => self.coverage.note("commit fails"),
            1 => {
                self.write(at);
                self.coverage.note("commit's answer is lost");
            }
            2 => {
                self.write_and_panic(at);
                self.coverage.note("store panics in a commit");
            }
            _ => {
                self.write(at);
                self.committed(at);
                self.coverage.note("batch committed");
            }
        }
    }

    /// All that the batch says is in the store.
    pub(crate) fn write(&mut self, at: usize) {
        let instance = &mut self.instances[at];
        let process = instance.process.as_mut().expect("it runs");
        let batch = process.batches.front().expect("there is one");
        process.store.commit(batch).expect("nothing is wrong with it");
        instance.kept.written.note(batch);
    }

    pub(crate) fn write_and_panic(&mut self, at: usize) {
        let is_lost = self.plant == Plant::BatchLost;
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            if !is_lost {
                self.write(at);
            }
            panic!("a bug in the store");
        }));
        assert!(panicked.is_err());
        self.process_mut(at).store.recover();
        if is_lost {
            self.process_mut(at).batches.pop_front();
        }
    }

    pub(crate) fn committed(&mut self, at: usize) {
        let process = self.process_mut(at);
        process.batches.pop_front();
        process.batches_committed += 1;
        process.aggregator.saved(process.batches_committed);
    }

    /// The store is asked for whoever comes back, or its answer arrives; now and then it fails.
    pub(crate) fn read_back(&mut self, at: usize) {
        if self.chance.once_in(2) && self.hear_store(at) {
            return;
        }
        let fails = self.chance.once_in(8);
        self.ask_store(at, fails);
    }

    pub(crate) fn hear_store(&mut self, at: usize) -> bool {
        let Some(answers) = self.process_mut(at).answers.pop_front() else { return false };
        let now = self.ledger_now(at);
        self.process_mut(at).aggregator.recalled(answers, now);
        self.coverage.note("forgotten holder is read back");
        self.forget_merged(at);
        true
    }

    pub(crate) fn ask_store(&mut self, at: usize, fails: bool) -> bool {
        let now = self.ledger_now(at);
        let Some(holders) = self.process_mut(at).aggregator.take_question() else { return false };
        let mut answers: Answers = if fails {
            self.coverage.note("store is not read");
            let failure = |holder| (holder, Err(StoreError("it fails".into())));
            holders.into_iter().map(failure).collect()
        } else {
            let answered = |recalled: Recalled| (recalled.state.holder.clone(), Ok(recalled));
            self.recall(at, &holders, now).into_iter().map(answered).collect()
        };
        if self.plant == Plant::ForgottenBudget {
            for (holder, answer) in &mut answers {
                *answer = Ok(Recalled::nothing(holder.clone()));
            }
        }
        self.process_mut(at).answers.push_back(answers);
        true
    }

    pub(crate) fn recall(&self, at: usize, holders: &[Holder], now: Timestamp) -> Vec<Recalled> {
        let store = self.process(at).store.recaller().expect("it can be opened");
        store.expect("it is asked where it can tell").recall(holders, now).expect("it can be read")
    }

    /// An operator asks or orders something, by way of the handle.
    pub(crate) fn operate(&mut self, at: usize) {
        let who = self.chance.index(HOLDER_COUNT);
        let (handle, now) = (self.process(at).handle.clone(), self.wall);
        let user = who % USER_COUNT;
        let (wish, done): (Wish, Done) = match self.chance.below(16) {
            0..4 => {
                let limit = self.any_limit(who);
                (
                    Wish::Bind(who, limit.clone()),
                    ask(handle, move |handle| async move {
                        handle.bind(cast::holder(who).clone(), limit).await.is_ok()
                    }),
                )
            }
            4 | 5 => {
                let expires_at = self.chance.once_in(2).then(|| now.plus_ms(self.chance.below(HOUR_MS)));
                let block = Block { reason: None, blocked_at: now, expires_at };
                let set = block.clone();
                (
                    Wish::Block(user, Some(block)),
                    ask(
                        handle,
                        move |handle| async move { handle.block(cast::user(user), set).await.is_ok() },
                    ),
                )
            }
            6 | 7 => (
                Wish::Block(user, None),
                ask(handle, move |handle| async move { handle.unblock(cast::user(user)).await.is_ok() }),
            ),
            8 => {
                let key = self.any_key();
                let set = key.1.clone();
                (
                    Wish::SetKey(key.0, key.1),
                    ask(handle, move |handle| async move { handle.set_key(set).await.is_ok() }),
                )
            }
            9 => {
                let index = self.chance.index(KEY_COUNT);
                (
                    Wish::EndKey(index),
                    ask(handle, move |handle| async move {
                        matches!(handle.end_key(key_id(index), Timestamp(0)).await, Ok(Some(_)))
                    }),
                )
            }
            10 | 11 if !self.shape.has_short_lanes() => self.any_record(handle),
            12 => {
                let live: Vec<SessionId> = self.process(at).sessions().map(Session::id).collect();
                let id = live.get(self.chance.index(live.len() + 1)).copied().unwrap_or(SessionId::NONE);
                (Wish::Look, ask(handle, move |handle| async move { handle.close_session(id).await.is_ok() }))
            }
            13 => (
                Wish::Look,
                ask(handle, move |handle| async move {
                    handle.judge(Identity::of(cast::user(user)), "m".into()).await.is_ok()
                }),
            ),
            14 => (
                Wish::Look,
                ask(handle, move |handle| async move {
                    let query =
                        LimitQuery { kind: None, search: None, sort: LimitSort::Used, offset: 0, limit: 100 };
                    handle.limits(query).await.is_ok() && handle.blocked().await.is_ok()
                }),
            ),
            _ => (
                Wish::Look,
                ask(handle, move |handle| async move {
                    let query = UserQuery { limit: 100, ..UserQuery::default() };
                    handle.users(query).await.is_ok() && handle.sessions().await.is_ok()
                }),
            ),
        };
        // Of two that change the same setting nothing would tell which came first.
        let sets = wish.sets();
        let is_clear = sets.is_none() || self.process(at).asked.iter().all(|asked| asked.wish.sets() != sets);
        if is_clear {
            self.process_mut(at).asked.push(Asked { wish, done });
            self.settle_wishes();
        }
    }

    fn any_limit(&mut self, who: usize) -> Option<Limit> {
        let chance = &mut self.chance;
        if chance.once_in(6) {
            return None;
        }
        let is_user = who < USER_COUNT;
        Some(Limit {
            max_cost: (!chance.once_in(4)).then(|| NanoUsd(chance.below(40) as i64 * MILLI)),
            max_tokens: chance.once_in(4).then(|| chance.below(1_000)),
            window: chance.pick(&WindowKind::ALL),
            mode: if chance.once_in(6) { Mode::Warn } else { Mode::Enforce },
            max_sessions: (is_user && chance.once_in(4)).then(|| 1 + chance.below(3) as u32),
            on_redis_down: chance.pick(&[OnRedisDown::LocalShare, OnRedisDown::Allow, OnRedisDown::Refuse]),
            models: Models::default(),
        })
    }

    fn any_key(&mut self) -> (usize, Key) {
        let index = self.chance.index(KEY_COUNT);
        let expires_at = self.chance.once_in(3).then(|| self.wall.plus_ms(self.chance.below(12 * HOUR_MS)));
        (
            index,
            Key {
                id: key_id(index),
                hash: cast::hash(index),
                name: "ci".into(),
                hint: "ug_000000000".into(),
                user: (index == 0).then(|| cast::user(0)),
                org: None,
                scopes: Scopes { proxy: true, sdk: true, admin: false },
                account: None,
                maker: None,
                created_at: self.wall,
                expires_at,
                revoked_at: None,
            },
        )
    }

    /// Something was used outside of a session.
    fn any_record(&mut self, handle: Handle) -> (Wish, Done) {
        let (number, at) = (self.numbers.get() + 1, self.wall);
        self.numbers.set(number);
        let user = self.chance.index(USER_COUNT);
        let identity = Arc::new(Identity {
            org: user.is_multiple_of(2).then(|| cast::org(0)),
            ..Identity::of(cast::user(user))
        });
        let (nano, tokens) = (self.chance.below(3_000_000) as i64, self.chance.below(50));
        let delta = Delta {
            at,
            session: SessionId::NONE,
            identity: Arc::clone(&identity),
            provider: "openai".into(),
            model: "gpt-realtime".into(),
            usage: Usage { text_in: tokens, requests: 1, ..Usage::default() },
            cost: NanoUsd(nano),
            estimated: false,
            latency_ms: Some(number),
        };
        let amount = Amount { nano, tokens: tokens as i64 };
        let wish = Wish::Record { number, amount, of: Party::of(&identity), at };
        let call = Call { delta, log: None, ids: Vec::new() };
        (wish, ask(handle, move |handle| async move { handle.record(call).await.is_ok() }))
    }

    /// A turn of commands.
    pub(crate) fn serve_desk(&mut self, at: usize) {
        let now = self.ledger_now(at);
        // The turn is over after the first.
        let took = if self.plant == Plant::TurnEndless { Duration::ZERO } else { Duration::from_secs(1) };
        let spent = move || took;
        let process = self.process_mut(at);
        let reports_waiting = process.queue.borrow().len();
        process.desk.serve(&mut process.aggregator, &spent, now, reports_waiting);
        self.forget_merged(at);
    }

    /// What operators have got done holds from now on.
    pub(crate) fn settle_wishes(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        for at in self.running() {
            let asked = &mut self.process_mut(at).asked;
            let mut done = Vec::new();
            let mut index = 0;
            while index < asked.len() {
                match asked[index].done.as_mut().poll(&mut context) {
                    Poll::Pending => index += 1,
                    Poll::Ready(is_done) => done.push((asked.remove(index).wish, is_done)),
                }
            }
            for (wish, is_done) in done {
                match is_done {
                    true => self.grant(at, wish),
                    false => self.coverage.note("command refused"),
                }
            }
        }
    }

    pub(crate) fn grant(&mut self, at: usize, wish: Wish) {
        self.coverage.note("command carried out");
        tell(|| format!("{wish:?}"));
        let instance = &mut self.instances[at];
        let (books, process) = (&mut instance.books, instance.process.as_ref().expect("it runs"));
        let ledger = process.aggregator.ledger();
        let state = |who| ledger.find(cast::holder(who)).map(|slot| ledger.state(slot));
        match wish {
            Wish::Look => {}
            Wish::Bind(who, limit) => {
                // Who has lost its slot again at once keeps what was set.
                let known = books.limits[who].revision;
                let revision = state(who).map_or(Revision(known.0 + 1), |state| state.limit.revision);
                books.limits[who] = Stamped { revision, value: limit };
            }
            Wish::Block(who, block) => {
                // Of whom nobody knows anything no block is lifted.
                let Some(state) = state(who) else { return };
                books.blocks[who] = Stamped { revision: state.block.revision, value: block };
            }
            Wish::SetKey(index, key) => {
                let revision = ledger.stamped_key(&key.hash).expect("it was set").revision;
                books.keys[index] = Some(Stamped { revision, value: key });
            }
            Wish::EndKey(index) => books.keys[index] = ledger.stamped_key(&cast::hash(index)).cloned(),
            Wish::Record { number, amount, of, at } => {
                let slot = books.booked.partition_point(|booked| booked.number < number);
                // It is written by the aggregator, whose lane is full only where all are short.
                let is_in_journal = instance.kept.has_journal();
                books.booked.insert(slot, Booked { number, at, amount, of, is_in_journal, is_lost: false });
            }
        }
    }

    /// A rule acts on a user, or no longer.
    pub(crate) fn apply_rule_action(&mut self, at: usize) {
        let (user, now) = (self.chance.index(USER_COUNT), self.wall);
        let rule_action = self.chance.once_in(2).then(|| RuleAction {
            reason: self.chance.once_in(2).then(|| "a rule".into()),
            since: now,
            delay_ms: 0,
            expires_at: now.plus_ms(self.chance.below(5 * MINUTE_MS)),
        });
        self.coverage.note("rule acts");
        let now = self.ledger_now(at);
        self.process_mut(at)
            .aggregator
            .apply_rule_actions(vec![(cast::user(user), rule_action.clone())], now);
        self.instances[at].books.rule_actions[user] = rule_action;
    }

    /// The operator's price list is read again.
    pub(crate) fn reload(&mut self, at: usize) {
        let usd = self.chance.pick(&["5", "64", "200"]);
        let listed = price_list(usd);
        self.process(at).prices.set_listed(listed);
        self.coverage.note("prices read again");
    }

    /// The process drains: sessions end, everything is applied and committed.
    pub(crate) fn finish_process(&mut self, at: usize) {
        self.drain_sessions(at);
        // Whoever has not been answered is sent away.
        self.process_mut(at).shards.iter_mut().for_each(|shard| shard.entering.clear());
        for round in 0.. {
            assert!(round < 1_000, "a process comes to its end");
            for shard in 0..self.shape.shards {
                self.tick_shard(at, shard);
                self.obey(at, shard);
            }
            self.apply_some(at, usize::MAX);
            let asks = self.ask_store(at, false) | self.hear_store(at);
            self.serve_desk(at);
            self.settle_wishes();
            let process = self.process(at);
            let is_quiet = process.queue.borrow().len() == 0
                && process.shards.iter().all(|shard| shard.own.held().is_empty())
                && process.desk.waiting_count() == 0
                && process.asked.is_empty();
            self.commit_all(at);
            if is_quiet && !asks {
                break;
            }
            self.elapsed += Duration::from_millis(50);
        }
        self.tick(at);
        self.commit_all(at);
    }

    pub(crate) fn commit_all(&mut self, at: usize) {
        let process = self.process_mut(at);
        process.batches.extend(process.aggregator.take_batch());
        while !self.process(at).batches.is_empty() {
            self.write(at);
            self.committed(at);
        }
    }
}

/// Prices of two models, of which the first says so many dollars' worth in a million tokens. A third has none.
pub(crate) fn price_list(usd: &str) -> PriceTable {
    let header = "model,audio_in,audio_out,text_in,text_out,cached_text_in,cached_audio_in";
    let list =
        format!("{header}\ngpt-realtime,32,{usd},4,16,0.4,0.4\ngpt-realtime-mini,10,20,0.6,2.4,0.06,0.3");
    PriceTable::default().with_rows(&list).expect("the list can be read")
}

pub(crate) fn key_id(index: usize) -> KeyId {
    KeyId::from(["key_0", "key_1"][index])
}

fn ask<F: Future<Output = bool> + 'static>(handle: Handle, asks: impl FnOnce(Handle) -> F) -> Done {
    Box::pin(asks(handle))
}

/// Keys are holders, too.
const _: () = assert!(FIRST_KEY + KEY_COUNT == HOLDER_COUNT);
