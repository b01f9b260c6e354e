//! What happens on shards: sessions are asked for, admitted, dialled, relayed, heard out and settled.
//!
//! The account cache, the reports that wait, the holders' verdict and the meter are the product's; what is here is what
//! lies between them and sockets.

use crate::amount::Amount;
use crate::books::Booked;
use crate::cast::{self, FEATURE_COUNT, KEY_COUNT, ORG_COUNT, Party, USER_COUNT};
use crate::plant::Plant;
use crate::process::{Entering, Phase, Session};
use crate::provider::{self, Event, MODELS, Response, Usage};
use crate::world::World;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokenist_core::close_reason::CloseReason;
use tokenist_core::dialect::{OpenaiRealtime, Rest};
use tokenist_core::id::{Identity, SessionId};
use tokenist_core::journal;
use tokenist_core::message::{Closed, Delta, Opened, Rejected};
use tokenist_core::meter::{self, Meter, Models, Peeked, Reading};
use tokenist_core::money::NanoUsd;
use tokenist_core::refusal::RefusalReason;
use tokenist_handoff::{Admission, Admitted, Answer, Charge, ChargeOutcome, KeyRefusal, Lane, Order, Report};
use tokenist_proxy::holders::Holders;

/// How long a shard waits for the aggregator, and a provider is heard out.
const ADMISSION_WAIT: Duration = Duration::from_secs(5);
const LINGER: Duration = Duration::from_secs(5);

impl World {
    /// Somebody wants a session: whom the shard knows is let in, for others it asks.
    pub(crate) fn arrive(&mut self, at: usize, shard: usize) {
        let (identity, key) = self.caller();
        if self.process(at).drains || self.process(at).shards[shard].held.is_full() {
            self.coverage.note("session refused: draining or behind");
            return;
        }
        let (elapsed, queue) = (self.elapsed, Rc::clone(&self.process(at).queue));
        let asked_of = key.and_then(|key| self.instances[at].books.keys[key].clone());
        let of_shard = &mut self.process_mut(at).shards[shard];
        if key.is_none()
            && let Some(holders) = of_shard.accounts.known(&identity)
        {
            self.coverage.note("session: accounts are known");
            return self.enter(at, shard, identity, holders);
        }
        let admission = match key {
            None => Admission::Identity(Arc::clone(&identity)),
            Some(key) => Admission::Key {
                key: cast::hash(key),
                user: Some(identity.user.clone()),
                org: identity.org.clone(),
                feature: identity.feature.clone(),
                email: None,
                name: None,
            },
        };
        let accounts = Rc::clone(&of_shard.accounts);
        let answer = Box::pin(async move {
            let send = |report| queue.borrow_mut().try_send(report).is_none();
            accounts.ask(|ticket| Report::Admit { shard, ticket, admission }, send).await
        });
        of_shard.entering.push(Entering { identity, key, asked_of, answer, until: elapsed + ADMISSION_WAIT });
        self.coverage.note("session: accounts are asked for");
        self.let_in(at, shard);
    }

    fn caller(&mut self) -> (Arc<Identity>, Option<usize>) {
        let chance = &mut self.chance;
        let user = chance.index(USER_COUNT);
        let mut identity = Identity::of(cast::user(user));
        if user.is_multiple_of(2) || chance.once_in(8) {
            identity.org = Some(cast::org(if chance.once_in(8) { 1 } else { user / 2 % ORG_COUNT }));
        }
        if chance.once_in(3) {
            identity.feature = Some(cast::feature(chance.index(FEATURE_COUNT)));
        }
        let key = chance.once_in(6).then(|| chance.index(KEY_COUNT));
        (Arc::new(identity), key)
    }

    /// Looks who of those that wait is answered, or has waited for too long.
    fn let_in(&mut self, at: usize, shard: usize) {
        let elapsed = self.elapsed;
        let mut context = Context::from_waker(Waker::noop());
        let entering = &mut self.process_mut(at).shards[shard].entering;
        let mut answered = Vec::new();
        let mut index = 0;
        while index < entering.len() {
            let answer = match entering[index].answer.as_mut().poll(&mut context) {
                Poll::Ready(answer) => answer,
                Poll::Pending if elapsed < entering[index].until => {
                    index += 1;
                    continue;
                }
                Poll::Pending => None,
            };
            let Entering { identity, key, asked_of, .. } = entering.remove(index);
            answered.push((identity, key, asked_of, answer));
        }
        for (identity, key, asked_of, answer) in answered {
            match answer {
                Some(Answer::Admitted(admitted)) => {
                    let Admitted { user_id, org_id, feature_id, user, org, feature, key: account, .. } =
                        admitted;
                    let key = key.map(cast::hash);
                    let identity =
                        Identity { org: org_id, feature: feature_id, key, ..Identity::of(user_id) };
                    let holders = Holders { user, org, feature, key: account };
                    self.enter(at, shard, Arc::new(identity), holders);
                }
                Some(Answer::KeyRefused(refusal)) => {
                    self.check_key_refusal(at, key.expect("it was shown"), asked_of, refusal);
                    if refusal != KeyRefusal::Unknown {
                        self.coverage.note("session refused: key");
                    }
                }
                Some(Answer::Usage(_) | Answer::Resumed(_)) => {
                    panic!("{} asked for nothing else", identity.user)
                }
                Some(Answer::Full) => {
                    assert!(self.shape.is_small, "there is a slot for everybody");
                    self.coverage.note("session refused: ledger full");
                }
                Some(Answer::Unread) => {
                    assert!(self.shape.is_small, "nobody is forgotten");
                    self.coverage.note("session refused: store not read");
                }
                None => self.coverage.note("session refused: no answer in time"),
            }
        }
    }

    /// The verdict on who is known, and a place among the user's sessions.
    fn enter(&mut self, at: usize, shard: usize, identity: Arc<Identity>, holders: Holders) {
        let party = Party::of(&identity);
        if let Some(ending) = holders.verdict(self.wall) {
            self.check_ending(at, party, &ending);
            return self.refuse(at, shard, &identity, &ending);
        }
        if let Some(ending) = holders.reject() {
            assert!(self.process(at).is_lost_or_partitioned(), "the peers can be reached");
            self.coverage.note("session refused: limit unsure");
            return self.refuse(at, shard, &identity, &ending);
        }
        let max_sessions = holders.user.state().limit.max_sessions;
        if !holders.user.enter(max_sessions) {
            self.coverage.note("session refused: too many");
            let ending = CloseReason::TooManySessions { max_sessions: max_sessions.unwrap_or(u32::MAX) };
            return self.refuse(at, shard, &identity, &ending);
        }
        self.session_count += 1;
        let model = self.chance.pick(&MODELS);
        let models = Models { session: Some(model.into()), transcription: None };
        let meter = Meter::new(&OpenaiRealtime, "openai".into(), models, self.shape.estimate);
        let session = Session {
            id: SessionId(self.session_count),
            identity,
            party,
            holders,
            meter,
            phase: Phase::Dialled,
            has_place: true,
            responses: Vec::new(),
            response_count: 0,
            charged: Amount::default(),
            booked: Amount::default(),
            foreseen: Amount::default(),
            owed: Amount::default(),
        };
        self.process_mut(at).shards[shard].sessions.push(session);
    }

    fn refuse(&mut self, at: usize, shard: usize, identity: &Identity, ending: &CloseReason) {
        self.coverage.note(match ending {
            CloseReason::LimitReached { .. } => "session refused: limit reached",
            CloseReason::Blocked { .. } => "session refused: blocked",
            _ => "session refused: other",
        });
        let rejected = Rejected {
            at: self.wall,
            user: Some(identity.user.clone()),
            org: identity.org.clone(),
            key: identity.key,
            address: "10.0.0.1".into(),
            reason: RefusalReason::of(ending),
            count: 1,
        };
        self.report(at, shard, Report::Refused(Box::new(rejected)));
    }

    /// The provider answers who was admitted, or refuses.
    pub(crate) fn dial(&mut self, at: usize, shard: usize) {
        let Some(mut session) = self.take_session(at, shard, |session| session.phase == Phase::Dialled)
        else {
            return;
        };
        if self.chance.once_in(6) {
            self.coverage.note("provider refuses the session");
            leave_place(&mut session);
            return;
        }
        session.phase = Phase::Relayed;
        let opened = Opened {
            session: session.id,
            identity: Arc::clone(&session.identity),
            provider: "openai".into(),
            model: session.meter.model().cloned(),
            at: self.wall,
        };
        self.report(at, shard, Report::Opened(opened));
        let created = provider::created(session.meter.model().expect("one was asked for").as_str());
        self.hear_event(at, shard, session, created);
    }

    /// The provider says something in some session.
    pub(crate) fn speak(&mut self, at: usize, shard: usize) {
        let Some(mut session) = self.take_session(at, shard, |session| session.phase != Phase::Dialled)
        else {
            return;
        };
        let event = self.next_event(&mut session);
        self.hear_event(at, shard, session, event);
    }

    fn next_event(&mut self, session: &mut Session) -> Event {
        let chance = &mut self.chance;
        let open: Vec<usize> =
            (0..session.responses.len()).filter(|&r| session.responses[r].stated.is_none()).collect();
        if open.is_empty() || session.phase == Phase::Relayed && open.len() < 3 && chance.once_in(6) {
            session.response_count += 1;
            let id = format!("resp_{}_{}", session.id.0, session.response_count);
            let begun = provider::begun(&id);
            session.responses.push(Response { id, stated: None });
            return begun;
        }
        if chance.once_in(12) && session.responses.len() > open.len() {
            self.coverage.note("provider states usage twice");
            let response = session.responses.iter().find(|response| response.stated.is_some());
            return provider::done(&response.expect("there is one").id, Usage::any(&mut self.chance)).0;
        }
        let index = open[chance.index(open.len())];
        let id = session.responses[index].id.clone();
        match chance.below(8) {
            0..4 => provider::speech(&id, chance.below(25)),
            4 => provider::text(&id, chance.below(12)),
            5 if chance.once_in(2) => {
                self.coverage.note("response ends without usage");
                session.responses.remove(index);
                provider::died(&id)
            }
            _ => {
                let (event, tokens) = provider::done(&id, Usage::any(chance));
                session.responses[index].stated = Some(tokens);
                event
            }
        }
    }

    /// An event passes: the verdict before it, what it charges, the verdict after it.
    fn hear_event(&mut self, at: usize, shard: usize, mut session: Session, event: Event) {
        self.pay_owed(&mut session);
        let (now, relayed) = (self.now(), session.phase == Phase::Relayed);
        let mut ending = None;
        if relayed && session.holders.reached() {
            ending = self.verdict(at, &session);
        }
        if relayed && ending.is_none() {
            self.check_delivery(at, &session);
            self.coverage.note("event delivered");
        }
        let prices = self.process(at).prices.in_force().get();
        let head = event.head.as_bytes();
        let outcome = match session.meter.peek(
            head,
            Rest::Bytes(event.bytes.saturating_sub(head.len() as u64)),
            &prices,
            now,
        ) {
            Peeked::Pass => ChargeOutcome::Under,
            Peeked::Charge(charge) => self.charge(&mut session, charge),
            Peeked::Collect => {
                let reading = session.meter.read(head, &prices, now);
                self.book(at, shard, &mut session, reading)
            }
        };
        if relayed && ending.is_none() && outcome != ChargeOutcome::Under {
            ending = self.verdict(at, &session);
        }
        match ending {
            Some(ending) => self.finish_session(at, shard, session, ending),
            None if !relayed && !session.meter.awaits_usage() => self.settle(at, shard, session),
            None => self.put_back(at, shard, session),
        }
    }

    fn verdict(&self, at: usize, session: &Session) -> Option<CloseReason> {
        let ending = session.holders.verdict(self.wall)?;
        self.check_ending(at, session.party, &ending);
        Some(ending)
    }

    fn charge(&mut self, session: &mut Session, charge: meter::Charge) -> ChargeOutcome {
        let meter::Charge { cost, tokens } = charge;
        session.charged += Amount { nano: cost.0, tokens };
        session.holders.charge(Charge { cost, tokens })
    }

    /// What was read is charged, then reported.
    fn book(&mut self, at: usize, shard: usize, session: &mut Session, reading: Reading) -> ChargeOutcome {
        let Reading { charge, foreseen, booked, .. } = reading;
        let amount = Amount { nano: charge.cost.0, tokens: charge.tokens };
        let outcome = if self.plant == Plant::ReportFirst && !booked.is_empty() && self.chance.once_in(20) {
            session.owed += amount;
            session.charged += amount;
            ChargeOutcome::Under
        } else {
            self.charge(session, charge)
        };
        if foreseen != meter::Charge::default() {
            session.foreseen += Amount { nano: foreseen.cost.0, tokens: foreseen.tokens };
            session.holders.foresee(Charge { cost: foreseen.cost, tokens: foreseen.tokens });
        }
        for metered in booked {
            self.booked_count += 1;
            let amount = Amount { nano: metered.cost.0, tokens: metered.usage.total_tokens() as i64 };
            session.booked += amount;
            self.check_figure(session, &metered);
            self.coverage.note(if metered.estimated { "booked by estimate" } else { "booked by usage" });
            let delta = Delta {
                at: self.wall,
                session: session.id,
                identity: Arc::clone(&session.identity),
                provider: "openai".into(),
                model: metered.model,
                usage: metered.usage,
                cost: metered.cost,
                estimated: metered.estimated,
                // Nothing is made of it, so it can carry the number to the store and back.
                latency_ms: Some(self.booked_count),
            };
            let lane = self.process_mut(at).shards[shard].lane.as_mut();
            let upto = lane.and_then(|lane| lane.append(|record| journal::write_delta(&delta, record)));
            if upto.is_none() && self.instances[at].kept.has_journal() {
                self.coverage.note("journal is full");
            }
            let (number, of, is_in_journal) = (self.booked_count, session.party, upto.is_some());
            let booked = Booked { number, at: self.wall, amount, of, is_in_journal, is_lost: false };
            self.instances[at].books.booked.push(booked);
            self.report(at, shard, Report::Charged(delta, upto));
        }
        outcome
    }

    fn pay_owed(&mut self, session: &mut Session) {
        let Amount { nano, tokens } = std::mem::take(&mut session.owed);
        session.holders.charge(Charge { cost: NanoUsd(nano), tokens });
    }

    /// The application leaves, an operator ends the session, or something does in its middle.
    pub(crate) fn leave(&mut self, at: usize, shard: usize) {
        let relayed = |session: &Session| session.phase == Phase::Relayed;
        let Some(session) = self.take_session(at, shard, relayed) else { return };
        let ending = match self.chance.below(4) {
            0 => CloseReason::UpstreamFailed("it died".into()),
            _ => CloseReason::Killed,
        };
        self.coverage.note("application leaves");
        self.finish_session(at, shard, session, ending);
    }

    /// Nobody is relayed for any more. What the provider still owes is heard out, if there is time.
    pub(crate) fn finish_session(
        &mut self,
        at: usize,
        shard: usize,
        mut session: Session,
        ending: CloseReason,
    ) {
        self.coverage.note(match &ending {
            CloseReason::LimitReached { .. } => "session ended: limit reached",
            CloseReason::Blocked { .. } => "session ended: blocked",
            CloseReason::Unauthorized(_) => "session ended: key",
            CloseReason::UpstreamFailed(_) => "session ended: provider died",
            _ => "session ended: by somebody",
        });
        let is_failed = matches!(ending, CloseReason::UpstreamFailed(_));
        let drains = self.process(at).drains;
        if is_failed || drains || !session.meter.awaits_usage() || self.chance.once_in(4) {
            return self.settle(at, shard, session);
        }
        self.coverage.note("provider is heard out");
        session.phase = Phase::HeardOut(self.elapsed + LINGER);
        leave_place(&mut session);
        let reading = session.meter.abandon();
        self.book(at, shard, &mut session, reading);
        self.put_back(at, shard, session);
    }

    /// Every way out: what is under way is booked by its estimate.
    pub(crate) fn settle(&mut self, at: usize, shard: usize, mut session: Session) {
        self.pay_owed(&mut session);
        let (prices, now) = (self.process(at).prices.in_force().get(), self.now());
        let reading = session.meter.settle(&prices, now);
        self.book(at, shard, &mut session, reading);
        self.pay_owed(&mut session);
        leave_place(&mut session);
        assert_eq!(session.in_flight(), Amount::default(), "all that was charged is booked");
        assert_eq!(session.foreseen, Amount::default(), "nothing is foreseen any more");
        if session.phase != Phase::Dialled {
            let closed = Closed { session: session.id, at: self.wall, close_code: 1000 };
            self.report(at, shard, Report::Closed(closed));
        }
    }

    /// Sent now or with a later tick, in order.
    fn report(&mut self, at: usize, shard: usize, report: Report) {
        let process = self.process_mut(at);
        let held = &mut process.shards[shard].held;
        let refused = match held.is_empty() {
            true => process.queue.borrow_mut().try_send(report),
            false => Some(report),
        };
        if let Some(report) = refused {
            let kept = held.push(report);
            self.coverage.note(match kept {
                tokenist_proxy::reporter::Kept::AsItIs => "report waits in its shard",
                tokenist_proxy::reporter::Kept::Merged => "report added to another",
            });
        }
    }

    /// A shard's beat: what waits is sent, what is over is forgotten.
    pub(crate) fn tick_shard(&mut self, at: usize, shard: usize) {
        let elapsed = self.elapsed;
        let process = self.process_mut(at);
        let queue = Rc::clone(&process.queue);
        let of_shard = &mut process.shards[shard];
        of_shard.held.send(|report| queue.borrow_mut().try_send(report));
        of_shard.accounts.tick();
        of_shard.lane.iter_mut().for_each(Lane::look);
        let is_over = |session: &Session| matches!(session.phase, Phase::HeardOut(until) if elapsed >= until);
        while let Some(index) = self.process(at).shards[shard].sessions.iter().position(is_over) {
            let session = self.process_mut(at).shards[shard].sessions.remove(index);
            self.coverage.note("provider was heard out in vain");
            self.settle(at, shard, session);
        }
        self.let_in(at, shard);
    }

    /// The shard is notified.
    pub(crate) fn obey(&mut self, at: usize, shard: usize) {
        let orders: Vec<Order> = self.process(at).shards[shard].mailbox.drain().collect();
        for order in orders {
            match order {
                Order::Admission { ticket, answer } => {
                    self.process(at).shards[shard].accounts.answer(ticket, answer);
                }
                Order::Sweep => self.sweep(at, shard),
                Order::Release => {
                    self.coverage.note("accounts are let go of");
                    self.process(at).shards[shard].accounts.release();
                }
                Order::Close(id) => {
                    if let Some(session) = self.take_session(at, shard, |session| session.id == id) {
                        self.finish_session(at, shard, session, CloseReason::Killed);
                    }
                }
                Order::Drain { .. } => panic!("nobody drains by order"),
            }
        }
        self.let_in(at, shard);
    }

    /// Judges every session that is relayed.
    fn sweep(&mut self, at: usize, shard: usize) {
        let sessions = std::mem::take(&mut self.process_mut(at).shards[shard].sessions);
        for session in sessions {
            let verdict = match session.phase {
                Phase::Relayed => self.verdict(at, &session),
                Phase::Dialled | Phase::HeardOut(_) => None,
            };
            match verdict {
                Some(ending) => {
                    self.coverage.note("session swept");
                    self.finish_session(at, shard, session, ending);
                }
                None => self.put_back(at, shard, session),
            }
        }
    }

    fn take_session(&mut self, at: usize, shard: usize, which: impl Fn(&Session) -> bool) -> Option<Session> {
        let sessions = &self.process(at).shards[shard].sessions;
        let some: Vec<usize> = (0..sessions.len()).filter(|&index| which(&sessions[index])).collect();
        if some.is_empty() {
            return None;
        }
        let index = some[self.chance.index(some.len())];
        Some(self.process_mut(at).shards[shard].sessions.remove(index))
    }

    fn put_back(&mut self, at: usize, shard: usize, session: Session) {
        self.process_mut(at).shards[shard].sessions.push(session);
    }

    /// Every session of the process ends now.
    pub(crate) fn end_sessions(&mut self, at: usize) {
        for shard in 0..self.shape.shards {
            for mut session in std::mem::take(&mut self.process_mut(at).shards[shard].sessions) {
                match session.phase {
                    Phase::Dialled => leave_place(&mut session),
                    Phase::Relayed | Phase::HeardOut(_) => self.settle(at, shard, session),
                }
            }
        }
    }
}

fn leave_place(session: &mut Session) {
    if std::mem::take(&mut session.has_place) {
        session.holders.user.leave();
    }
}
