//! What happens in sessions: the provider and the application say something, one of them leaves, an operator or a
//! limit ends it, the provider is heard out, and it is settled.
//!
//! The tap with its meter, the holders' verdict, what is owed when nobody listens, ticks, orders and drains are the
//! product's; what is here is what its pumps do when they are called.

use crate::admit::Arrival;
use crate::amount::Amount;
use crate::around::{Around, Counted, OwnShard};
use crate::books::Booked;
use crate::plant::{PLANTED, Plant};
use crate::process::Session;
use crate::provider::{self, Event, Piece, Usage};
use crate::world::World;
use std::iter;
use std::rc::Rc;
use tokenist_core::close_reason::CloseReason;
use tokenist_core::id::SessionId;
use tokenist_core::metric::Metric;
use tokenist_core::money::NanoUsd;
use tokenist_core::ws::frame::{Header, Opcode};
use tokenist_core::ws::walk::{Act, Part, Visit};
use tokenist_handoff::{Charge, Order};
use tokenist_proxy::client_events::ClientObserver;
use tokenist_proxy::linger::{Hearing, Owed};
use tokenist_proxy::live::Live;
use tokenist_proxy::stages;

/// What is shown of a message at a time: a frame that is no longer is shown whole.
const BUFFER_BYTES: usize = 64 * 1024;
/// The least that is shown of a longer one at first.
const HEAD_BYTES: usize = 512;

/// How long sessions have to end in a drain.
const DRAIN_MS: u64 = 2_000;
const DRAIN_STEP_MS: u64 = 500;

/// What an account was charged, and what is foreseen for it.
type Gauges = Vec<(Amount, Amount)>;

impl World {
    /// The provider says something in some session, and so in all that listen to the same call.
    pub(crate) fn speak(&mut self, at: usize, shard: usize) {
        let Some(mut session) = self.take_session(at, shard, |session| session.tap.is_some()) else { return };
        if !session.rest.is_empty() {
            let rest = self.take_rest(&mut session);
            return self.hear(at, shard, session, rest);
        }
        let event = self.next_event(&session);
        self.say(at, shard, session, &event);
    }

    /// The provider says this, and all hear it that listen to the session's call.
    pub(crate) fn say(&mut self, at: usize, shard: usize, session: Session, event: &Event) {
        let (call, first) = (Rc::clone(&session.call), session.id());
        self.hear_event(at, shard, session, event);
        for shard in 0..self.shape.shards {
            for id in self.session_ids(at, shard) {
                self.hear_too(at, shard, event, |other| {
                    other.id() == id && id != first && other.tap.is_some() && Rc::ptr_eq(&other.call, &call)
                });
            }
        }
    }

    fn next_event(&mut self, session: &Session) -> Event {
        let (chance, now) = (&mut self.chance, self.elapsed);
        let mut call = session.call.borrow_mut();
        let open = call.open();
        if open.is_empty() || !session.live.lingers() && open.len() < 3 && chance.once_in(6) {
            return call.begin(now);
        }
        if chance.once_in(12) && call.responses.len() > open.len() {
            self.coverage.note("provider states usage twice");
            let stated = call.responses.iter().position(|response| response.stated.is_some());
            let id = call.name(stated.expect("there is one"), now);
            return provider::done(&id, Usage::any(&mut self.chance)).0;
        }
        let index = open[chance.index(open.len())];
        let id = call.name(index, now);
        match chance.below(8) {
            0..4 => provider::speech(&id, chance.below(25)),
            4 => provider::text(&id, chance.below(12)),
            5 if chance.once_in(2) => {
                self.coverage.note("response ends without usage");
                call.responses.remove(index);
                provider::died(&id)
            }
            _ => call.state(index, Usage::any(chance)),
        }
    }

    /// The application says something.
    pub(crate) fn speak_up(&mut self, at: usize, shard: usize) {
        let Some(session) = self.take_session(at, shard, Session::is_relayed) else { return };
        let chance = &mut self.chance;
        let event = match chance.below(4) {
            0 => provider::sound(chance.below(40)),
            1 => provider::item(chance.below(40)),
            2 => provider::respond(),
            _ => provider::commit(),
        };
        self.coverage.note("application says something");
        self.be_told(at, shard, session, Opcode::Text, event.payload());
    }

    /// A frame of the application's passes.
    pub(crate) fn be_told(
        &mut self,
        at: usize,
        shard: usize,
        mut session: Session,
        opcode: Opcode,
        payload: Vec<u8>,
    ) {
        let header = header(true, opcode, payload.len());
        let is_deaf = self.plant == Plant::DeafTap && opcode == Opcode::Text;
        if is_deaf {
            return self.attend(at, shard, session);
        }
        self.with_tap(at, shard, &mut session, |own, live, owed| {
            ClientObserver::new(own, live, owed).visit(&header, &payload, Part::Whole);
        });
        self.attend(at, shard, session);
    }

    /// An event of the provider's passes.
    pub(crate) fn hear_event(&mut self, at: usize, shard: usize, session: Session, event: &Event) {
        let pieces = self.pieces(event.payload());
        self.hear(at, shard, session, pieces);
    }

    /// So it does in another session of the same call.
    fn hear_too(&mut self, at: usize, shard: usize, event: &Event, which: impl Fn(&Session) -> bool) {
        if let Some(mut session) = self.take_session(at, shard, which) {
            self.coverage.note("event is heard by two sessions of a call");
            let mut pieces = self.take_rest(&mut session);
            pieces.extend(self.pieces(event.payload()));
            self.hear(at, shard, session, pieces);
        }
    }

    /// What is still to come of a message comes at last, of whichever response it is.
    fn take_rest(&self, session: &mut Session) -> Vec<Piece> {
        if !session.rest.is_empty() {
            session.call.borrow_mut().be_late(self.elapsed);
        }
        std::mem::take(&mut session.rest)
    }

    /// How a message comes: whole, in two frames, or, if it is long, in parts.
    fn pieces(&mut self, payload: Vec<u8>) -> Vec<Piece> {
        let bytes = payload.len();
        let piece = |header, payload: &[u8], part| Piece { header, payload: payload.to_vec(), part };
        if bytes > BUFFER_BYTES {
            let header = header(true, Opcode::Text, bytes);
            let (first, rest) = payload.split_at(HEAD_BYTES + self.chance.index(BUFFER_BYTES - HEAD_BYTES));
            return vec![piece(header, first, Part::First), piece(header, rest, Part::Last)];
        }
        if bytes > 1 && self.perhaps(8) {
            self.coverage.note("message comes in two frames");
            let (first, rest) = payload.split_at(1 + self.chance.index(bytes - 1));
            return vec![
                piece(header(false, Opcode::Text, first.len()), first, Part::Whole),
                piece(header(true, Opcode::Continuation, rest.len()), rest, Part::Whole),
            ];
        }
        vec![Piece { header: header(true, Opcode::Text, bytes), payload, part: Part::Whole }]
    }

    /// Pieces of a message pass: the verdict before the first, what they charge, the verdict after them.
    fn hear(&mut self, at: usize, shard: usize, mut session: Session, mut pieces: Vec<Piece>) {
        self.pay_owed(&mut session);
        let begins = pieces[0].header.opcode != Opcode::Continuation
            && matches!(pieces[0].part, Part::Whole | Part::First);
        let bars = if begins && session.is_relayed() { self.bar(at, &session) } else { None };
        if pieces.len() > 1 && self.perhaps(4) {
            self.coverage.note("message is interrupted");
            session.rest = pieces.split_off(1);
        }
        let (was_relayed, mut act) = (session.is_relayed(), Act::Pass);
        for (index, Piece { header, payload, part }) in pieces.iter().enumerate() {
            session.was_over = self.has_reached(at, session.party);
            let seen = self.with_tap(at, shard, &mut session, |own, _, owed| {
                own.note_read();
                Hearing(owed).visit(header, payload, *part)
            });
            act = if index == 0 { seen } else { act };
            // Before the next one replaces what was estimated.
            self.note_ending(at, shard, &mut session);
            session.was_over = false;
        }
        if begins && was_relayed {
            match act {
                Act::Pass | Act::StopAfter => {
                    assert_eq!(bars, None, "it is delivered all the same");
                    self.coverage.note("event delivered");
                }
                Act::StopBefore => self.coverage.note("event withheld"),
                Act::Swallow | Act::Break => panic!("it is an event of the provider"),
            }
        }
        self.attend(at, shard, session);
    }

    /// Whatever the product does to a session: what it charges and books goes into our own books.
    fn with_tap<T>(
        &mut self,
        at: usize,
        shard: usize,
        session: &mut Session,
        act: impl for<'a> FnOnce(&'a OwnShard, &'a Live, &'a Owed<'a, Around>) -> T,
    ) -> T {
        let (own, live, before) = (self.shard(at, shard), Rc::clone(&session.live), gauges(session));
        let tap = session.tap.as_mut().expect("the provider has let it in");
        let done = act(&own, &live, &Owed::new(&own, &live, tap));
        self.take_counted(at, session, &before, own.environment().take_counted());
        done
    }

    fn take_counted(&mut self, at: usize, session: &mut Session, before: &Gauges, counted: Vec<Counted>) {
        let after = gauges(session);
        let grown: Gauges = before.iter().zip(&after).map(|(b, a)| (a.0 - b.0, a.1 - b.1)).collect();
        assert!(
            grown.windows(2).all(|pair| pair[0] == pair[1]),
            "each holder is charged the same: {grown:?}"
        );
        session.charged += grown[0].0;
        session.foreseen += grown[0].1;
        for Counted { number, at: when, amount, is_estimated, is_in_journal } in counted {
            session.booked += amount;
            self.check_figure(session, amount, is_estimated);
            self.coverage.note(if is_estimated { "booked by estimate" } else { "booked by usage" });
            if !is_in_journal && self.instances[at].kept.has_journal() {
                self.coverage.note("journal is full");
            }
            let booked =
                Booked { number, at: when, amount, of: session.party, is_in_journal, is_lost: false };
            self.instances[at].books.booked.push(booked);
            if self.plant == Plant::ReportFirst && self.chance.once_in(PLANTED) {
                session.owed += amount;
                session.holders().charge(Charge { cost: NanoUsd(-amount.nano), tokens: -amount.tokens });
            }
        }
    }

    fn pay_owed(&mut self, session: &mut Session) {
        let Amount { nano, tokens } = std::mem::take(&mut session.owed);
        session.holders().charge(Charge { cost: NanoUsd(nano), tokens });
    }

    /// The application leaves, an operator ends the session, or something does in its middle.
    pub(crate) fn leave(&mut self, at: usize, shard: usize) {
        let Some(session) = self.take_session(at, shard, Session::is_relayed) else { return };
        match self.chance.below(8) {
            0 | 1 => self.fail(at, shard, session),
            2 | 3 => self.lose_application(at, shard, session),
            4 => self.kill(at, shard, session),
            _ => self.say_goodbye(at, shard, session),
        }
    }

    /// The provider dies.
    pub(crate) fn fail(&mut self, at: usize, shard: usize, session: Session) {
        session.live.silent.set(true);
        self.shard(at, shard).end(&session.live, CloseReason::UpstreamFailed("it died".into()));
        self.attend(at, shard, session);
    }

    /// The application is gone without a word.
    pub(crate) fn lose_application(&mut self, at: usize, shard: usize, session: Session) {
        self.coverage.note("application is gone");
        session.live.forsake();
        self.attend(at, shard, session);
    }

    /// The application closes.
    pub(crate) fn say_goodbye(&mut self, at: usize, shard: usize, session: Session) {
        self.coverage.note("application leaves");
        self.be_told(at, shard, session, Opcode::Close, 1000_u16.to_be_bytes().to_vec());
    }

    /// An operator ends the session.
    pub(crate) fn kill(&mut self, at: usize, shard: usize, session: Session) {
        self.shard(at, shard).obey(iter::once(Order::Close(session.id())));
        self.attend(at, shard, session);
    }

    /// What pumps do that are called: they see to the end of a session that nobody is relayed for any more.
    pub(crate) fn attend(&mut self, at: usize, shard: usize, mut session: Session) {
        self.note_ending(at, shard, &mut session);
        let is_over = session.live.is_ending() || session.live.leaving.get();
        if !is_over && !session.live.lingers() {
            return self.put_back(at, shard, session);
        }
        if session.tap.is_none() {
            return self.settle(at, shard, session);
        }
        // An application that takes nothing, or the middle of a message, keeps the last words from being said.
        let is_gone = session.live.gone.get() || session.live.silent.get();
        if !session.live.lingers() && !is_gone && (!session.rest.is_empty() || self.perhaps(4)) {
            self.coverage.note("last words wait");
            return self.put_back(at, shard, session);
        }
        if self.plant == Plant::NotHeardOut {
            return self.settle(at, shard, session);
        }
        let did_linger = session.live.lingers();
        let is_heard_out =
            self.with_tap(at, shard, &mut session, |_, _, owed| owed.begin() && !owed.is_settled());
        if !is_heard_out {
            return self.settle(at, shard, session);
        }
        if !did_linger {
            self.coverage.note("provider is heard out");
        }
        self.put_back(at, shard, session);
    }

    /// Whether a session has been ended since it was looked at: why is looked at once.
    fn note_ending(&mut self, at: usize, shard: usize, session: &mut Session) -> bool {
        let Some(ending) = session.live.ending() else { return false };
        if std::mem::replace(&mut session.was_ended, true) {
            return false;
        }
        self.check_end(at, shard, session, &ending);
        self.coverage.note(match &ending {
            CloseReason::LimitReached { .. } => "session ended: limit reached",
            CloseReason::Blocked { .. } => "session ended: blocked",
            CloseReason::Unauthorized(_) => "session ended: key",
            CloseReason::UpstreamFailed(_) => "session ended: provider died",
            CloseReason::Draining => "session ended: draining",
            CloseReason::SessionTooLong { .. } | CloseReason::SessionIdle { .. } => "session ended: time",
            _ => "session ended: by somebody",
        });
        true
    }

    /// Every way out: what is under way is booked by its estimate.
    pub(crate) fn settle(&mut self, at: usize, shard: usize, mut session: Session) {
        self.pay_owed(&mut session);
        let (own, before) = (self.shard(at, shard), gauges(&session));
        stages::settle(&own, &session.live, session.tap.take());
        self.take_counted(at, &mut session, &before, own.environment().take_counted());
        self.pay_owed(&mut session);
        assert_eq!(session.in_flight(), Amount::default(), "all that was charged is booked");
        assert_eq!(session.foreseen, Amount::default(), "nothing is foreseen any more");
    }

    /// A shard's beat: what waits is sent, what is over is forgotten.
    pub(crate) fn tick_shard(&mut self, at: usize, shard: usize) -> Vec<Arrival> {
        let own = self.shard(at, shard);
        if !own.held().is_empty() {
            self.coverage.note("report waits in its shard");
        }
        if self.process(at).shards[shard].counters.get(Metric::ReportsMerged) > 0 {
            self.coverage.note("report added to another");
        }
        own.tick();
        own.send_away();
        self.note_endings(at, shard);
        let now = self.now().instant;
        for id in self.session_ids(at, shard) {
            let Some(session) = self.take_session(at, shard, |session| session.id() == id) else { continue };
            let (_, is_cut) = session.live.overdue(now);
            if is_cut {
                self.coverage.note(if session.live.lingers() {
                    "provider was heard out in vain"
                } else {
                    "session is cut"
                });
                self.settle(at, shard, session);
            } else {
                self.attend(at, shard, session);
            }
        }
        self.let_in(at, shard)
    }

    /// The shard is notified.
    pub(crate) fn obey(&mut self, at: usize, shard: usize) -> Vec<Arrival> {
        let orders: Vec<Order> = self.process(at).shards[shard].mailbox.drain().collect();
        let releases = orders.iter().any(|order| matches!(order, Order::Release));
        if releases {
            self.coverage.note("accounts are let go of");
        }
        let sweeps = orders.iter().any(|order| matches!(order, Order::Sweep));
        let heeded = orders.into_iter().filter(|order| self.heeds(order));
        self.shard(at, shard).obey(heeded.collect::<Vec<_>>().into_iter());
        if self.note_endings(at, shard) > 0 && sweeps {
            self.coverage.note("session swept");
        }
        for id in self.session_ids(at, shard) {
            if let Some(session) = self.take_session(at, shard, |session| session.id() == id) {
                self.attend(at, shard, session);
            }
        }
        self.let_in(at, shard)
    }

    /// Unless it is planted that nobody does.
    fn heeds(&self, order: &Order) -> bool {
        self.plant != Plant::SeatsHeld || !matches!(order, Order::Release)
    }

    /// Why sessions were ended is looked at before any of them leaves; how many they are.
    fn note_endings(&mut self, at: usize, shard: usize) -> usize {
        let mut count = 0;
        for index in 0..self.process(at).shards[shard].sessions.len() {
            let mut session = self.process_mut(at).shards[shard].sessions.remove(index);
            count += usize::from(self.note_ending(at, shard, &mut session));
            self.process_mut(at).shards[shard].sessions.insert(index, session);
        }
        count
    }

    pub(crate) fn session_ids(&self, at: usize, shard: usize) -> Vec<SessionId> {
        self.process(at).shards[shard].sessions.iter().map(Session::id).collect()
    }

    pub(crate) fn take_session(
        &mut self,
        at: usize,
        shard: usize,
        which: impl Fn(&Session) -> bool,
    ) -> Option<Session> {
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

    /// The process takes in nobody more, and its sessions end within the time that they have.
    pub(crate) fn drain_sessions(&mut self, at: usize) {
        for shard in 0..self.shape.shards {
            self.shard(at, shard).obey(iter::once(Order::Drain { deadline_ms: DRAIN_MS }));
        }
        let patience_ms = DRAIN_MS + 2 * self.config.close_ms + DRAIN_STEP_MS;
        let mut took_ms = 0;
        while self.process(at).sessions().next().is_some() {
            assert!(took_ms <= patience_ms, "sessions end in a drain");
            for shard in 0..self.shape.shards {
                self.speak(at, shard);
                self.tick_shard(at, shard);
            }
            self.pass_ms(DRAIN_STEP_MS);
            took_ms += DRAIN_STEP_MS;
        }
    }
}

fn header(fin: bool, opcode: Opcode, bytes: usize) -> Header {
    Header { fin, opcode, mask: None, header_bytes: 2, payload_bytes: bytes as u64 }
}

/// Of each of a session's accounts.
fn gauges(session: &Session) -> Gauges {
    let of = |(cost, tokens): (i64, i64)| Amount { nano: cost, tokens };
    let both = session.accounts().map(|(_, account)| {
        let charged = of((account.cost.charged(), account.tokens.charged()));
        (charged, of((account.cost.foreseen(), account.tokens.foreseen())))
    });
    both.collect()
}
