//! How sessions come in: somebody asks, is let in or refused, and the provider answers.
//!
//! The account cache, the verdict with its place, and what begins a session are the product's.

use crate::amount::Amount;
use crate::around::OwnShard;
use crate::cast::{self, FEATURE_COUNT, KEY_COUNT, ORG_COUNT, Party, USER_COUNT};
use crate::plant::Plant;
use crate::process::{Entering, Session};
use crate::provider::{self, Call, Event, MODELS};
use crate::world::World;
use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokenist_core::close_reason::CloseReason;
use tokenist_core::id::{Identity, SessionId};
use tokenist_core::message::Transport;
use tokenist_core::meter::Models;
use tokenist_handoff::{Admission, Admitted, Answer, KeyRefusal, Report};
use tokenist_proxy::asked::Asked;
use tokenist_proxy::holders::Holders;
use tokenist_proxy::stages;

/// How long a shard waits for the aggregator.
const ADMISSION_WAIT: Duration = Duration::from_secs(5);

/// Where everybody calls from.
const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

/// What became of somebody who asked for a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    Entered(SessionId),
    Refused(CloseReason),
    KeyRefused(KeyRefusal),
    /// The ledger has no slot.
    Full,
    /// The store was not read.
    Unread,
    /// The shard drains, is behind, or was not answered in time.
    Unheard,
}

impl World {
    /// Somebody wants a session: whom the shard knows is let in, for others it asks.
    pub(crate) fn arrive(&mut self, at: usize, shard: usize) -> Option<Arrival> {
        let (identity, key) = self.caller();
        self.ask_in(at, shard, identity, key)
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

    /// What becomes of it at once; `None` where the aggregator is asked.
    pub(crate) fn ask_in(
        &mut self,
        at: usize,
        shard: usize,
        identity: Arc<Identity>,
        key: Option<usize>,
    ) -> Option<Arrival> {
        let own = self.shard(at, shard);
        if own.is_draining() || own.is_behind() {
            self.coverage.note("session refused: draining or behind");
            return Some(Arrival::Unheard);
        }
        if key.is_none()
            && let Some(holders) = own.accounts.known(&identity)
        {
            self.coverage.note("session: accounts are known");
            return Some(self.enter(at, shard, identity, holders));
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
        let answer = Box::pin(ask(own, shard, admission));
        let asked_of = key.and_then(|key| self.instances[at].books.keys[key].clone());
        let until = self.elapsed + ADMISSION_WAIT;
        let entering = &mut self.process_mut(at).shards[shard].entering;
        entering.push(Entering { identity, key, asked_of, answer, until });
        self.coverage.note("session: accounts are asked for");
        // The question goes out.
        self.let_in(at, shard).pop()
    }

    /// Looks who of those that wait is answered, or has waited for too long.
    pub(crate) fn let_in(&mut self, at: usize, shard: usize) -> Vec<Arrival> {
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
            answered.push((entering.remove(index), answer));
        }
        answered.into_iter().map(|(entering, answer)| self.take_answer(at, shard, entering, answer)).collect()
    }

    fn take_answer(
        &mut self,
        at: usize,
        shard: usize,
        entering: Entering,
        answer: Option<Answer>,
    ) -> Arrival {
        let Entering { identity, key, asked_of, .. } = entering;
        match answer {
            Some(Answer::Admitted(admitted)) => {
                let Admitted { user_id, org_id, feature_id, user, org, feature, key: account, .. } = admitted;
                let key = key.map(cast::hash);
                let identity = Identity { org: org_id, feature: feature_id, key, ..Identity::of(user_id) };
                self.enter(at, shard, Arc::new(identity), Holders { user, org, feature, key: account })
            }
            Some(Answer::KeyRefused(refusal)) => {
                self.check_key_refusal(at, key.expect("it was shown"), asked_of, refusal);
                if refusal != KeyRefusal::Unknown {
                    self.coverage.note("session refused: key");
                }
                Arrival::KeyRefused(refusal)
            }
            Some(
                Answer::Usage(_)
                | Answer::Resumed(_)
                | Answer::Shown(_)
                | Answer::Response(_)
                | Answer::Call(_),
            ) => {
                panic!("{} asked for nothing else", identity.user)
            }
            Some(Answer::Full) => {
                assert!(self.shape.is_small, "there is a slot for everybody");
                self.coverage.note("session refused: ledger full");
                Arrival::Full
            }
            Some(Answer::Unread) => {
                assert!(self.shape.is_small, "nobody is forgotten");
                self.coverage.note("session refused: store not read");
                Arrival::Unread
            }
            None => {
                self.coverage.note("session refused: no answer in time");
                Arrival::Unheard
            }
        }
    }

    /// The verdict on who is known, and a place among the user's sessions.
    fn enter(&mut self, at: usize, shard: usize, identity: Arc<Identity>, holders: Holders) -> Arrival {
        let (own, party) = (self.shard(at, shard), Party::of(&identity));
        let live = own.open().expect("there is room for everybody");
        if let Err(ending) = stages::enter(&own, &live, Arc::clone(&identity), holders) {
            stages::settle(&own, &live, None);
            self.check_ending(at, party, &ending);
            self.coverage.note(match ending {
                CloseReason::LimitReached { .. } => "session refused: limit reached",
                CloseReason::Blocked { .. } => "session refused: blocked",
                CloseReason::LimitUnsure => "session refused: limit unsure",
                CloseReason::TooManySessions { .. } => "session refused: too many",
                _ => "session refused: other",
            });
            own.refused(Some(&identity), identity.key, CLIENT, &ending);
            return Arrival::Refused(ending);
        }
        self.session_count += 1;
        let id = live.id();
        let session = Session {
            live,
            tap: None,
            party,
            model: if self.is_scripted { MODELS[0] } else { self.chance.pick(&MODELS) },
            call: Rc::new(RefCell::new(Call::new(self.session_count))),
            names_call: false,
            rest: Vec::new(),
            began: self.elapsed,
            was_ended: false,
            was_over: false,
            charged: Amount::default(),
            booked: Amount::default(),
            foreseen: Amount::default(),
            owed: Amount::default(),
        };
        self.process_mut(at).shards[shard].sessions.push(session);
        Arrival::Entered(id)
    }

    /// The provider answers who was admitted, or refuses.
    pub(crate) fn dial(&mut self, at: usize, shard: usize) {
        let Some(mut session) = self.take_session(at, shard, |session| session.tap.is_none()) else { return };
        if self.chance.once_in(6) {
            return self.turn_down(at, shard, session);
        }
        if self.chance.once_in(6) {
            self.attach(at, &mut session);
        }
        self.greet(at, shard, session);
    }

    /// The provider refuses the session.
    pub(crate) fn turn_down(&mut self, at: usize, shard: usize, session: Session) {
        self.coverage.note("provider refuses the session");
        if self.plant == Plant::OpenedAnyway {
            let asked = Asked { models: Models::default(), call: None };
            let provider = &self.config.providers[0];
            stages::begin(&self.shard(at, shard), &session.live, &asked, provider, Transport::WebSocket);
        }
        self.settle(at, shard, session);
    }

    /// The session names a call, which another one of the instance may have named before.
    fn attach(&mut self, at: usize, session: &mut Session) {
        session.names_call = true;
        let names_call = |other: &&Session| other.names_call && other.tap.is_some();
        let calls: Vec<Rc<RefCell<Call>>> =
            self.process(at).sessions().filter(names_call).map(|other| Rc::clone(&other.call)).collect();
        if !calls.is_empty() {
            session.call = Rc::clone(&calls[self.chance.index(calls.len())]);
            self.coverage.note("session is attached to a call");
        }
    }

    /// The provider lets the session in, and greets it.
    pub(crate) fn greet(&mut self, at: usize, shard: usize, session: Session) {
        let created = provider::created(session.model);
        self.greet_with(at, shard, session, &created);
    }

    pub(crate) fn greet_with(&mut self, at: usize, shard: usize, mut session: Session, greeting: &Event) {
        let own = self.shard(at, shard);
        let call = session.names_call && self.plant != Plant::CallTwice;
        let names_model = !session.names_call && self.plant != Plant::NamelessModel;
        let asked = Asked {
            models: Models { session: names_model.then(|| session.model.into()), transcription: None },
            call: call.then(|| format!("call_{}", session.call.borrow().number).into()),
        };
        let provider = Arc::clone(&self.config.providers[0]);
        stages::begin(&own, &session.live, &asked, &provider, Transport::WebSocket);
        session.tap = Some(stages::tap(&own, &session.live, asked, provider));
        self.hear_event(at, shard, session, greeting);
    }
}

async fn ask(own: Rc<OwnShard>, shard: usize, admission: Admission) -> Option<Answer> {
    let question = |ticket| Report::Admit { shard, ticket, admission };
    own.accounts.ask(question, |question| own.ask(question)).await
}
