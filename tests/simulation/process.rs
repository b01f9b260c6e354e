//! One process of an instance: what a kill takes.

use crate::amount::Amount;
use crate::around::{Around, OwnShard};
use crate::cast::{Party, Who};
use crate::provider::{Call, Piece};
use crate::queue::{Queue, delta_of};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokenist_control::clock::Clock;
use tokenist_control::cluster::{ClusterEvent, Line};
use tokenist_control::desk::Desk;
use tokenist_control::prices::Prices;
use tokenist_control::store::StoreError;
use tokenist_control::store::mongo::Courier;
use tokenist_control::{Aggregator, Handle, Store};
use tokenist_core::batch::{Batch, Recalled, Stamped};
use tokenist_core::id::{Holder, Identity, SessionId};
use tokenist_core::key::Key;
use tokenist_core::limit::{Block, Limit};
use tokenist_handoff::{Account, Answer, Counters, Mailbox, Order, Report};
use tokenist_proxy::holders::Holders;
use tokenist_proxy::live::Live;
use tokenist_proxy::tap::Tap;

pub(crate) struct Process {
    pub(crate) shards: Vec<Shard>,
    pub(crate) queue: Rc<RefCell<Queue>>,
    pub(crate) aggregator: Aggregator,
    pub(crate) handle: Handle,
    pub(crate) desk: Desk,
    /// What operators wait for.
    pub(crate) asked: Vec<Asked>,
    pub(crate) prices: Arc<Prices>,
    pub(crate) clock: Clock,
    /// When it began, by the clock that only runs.
    pub(crate) began: Duration,
    pub(crate) store: Box<dyn Store>,
    /// What goes between it and MongoDB, where there is one.
    pub(crate) courier: Option<Courier>,
    /// The batch that the writer has, and one that waits.
    pub(crate) batches: VecDeque<Batch>,
    pub(crate) batches_committed: u64,
    /// What the store has answered, on its way to the aggregator.
    pub(crate) answers: VecDeque<Answers>,
    /// Where there are others.
    pub(crate) line: Option<Line>,
    /// Words of theirs on their way, in order.
    pub(crate) events: VecDeque<ClusterEvent>,
    pub(crate) is_lost: bool,
    /// How far it has listened to what others set.
    pub(crate) read_upto: usize,
}

pub(crate) type Answers = Vec<(Holder, Result<Recalled, StoreError>)>;

pub(crate) struct Shard {
    pub(crate) mailbox: Mailbox<Order>,
    pub(crate) own: Rc<OwnShard>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) sessions: Vec<Session>,
    pub(crate) entering: Vec<Entering>,
}

/// Who asks for a session and waits for the aggregator.
pub(crate) struct Entering {
    pub(crate) identity: Arc<Identity>,
    pub(crate) key: Option<usize>,
    /// What was set of that when it was asked.
    pub(crate) asked_of: Option<Stamped<Key>>,
    pub(crate) answer: Pin<Box<dyn Future<Output = Option<Answer>>>>,
    pub(crate) until: Duration,
}

pub(crate) struct Session {
    /// The product's.
    pub(crate) live: Rc<Live>,
    /// Likewise; none before the provider has let it in.
    pub(crate) tap: Option<Tap<Around>>,
    pub(crate) party: Party,
    pub(crate) model: &'static str,
    pub(crate) call: Rc<RefCell<Call>>,
    /// It attaches to its call by name, as others may.
    pub(crate) names_call: bool,
    /// What is still to come of a message of the provider's.
    pub(crate) rest: Vec<Piece>,
    /// When it was let in, by the clock that only runs.
    pub(crate) began: Duration,
    /// Why it ends was looked at.
    pub(crate) was_ended: bool,
    /// One of its holders had used up a limit as the event began that it hears just now. By its end an estimate may have
    /// been replaced with less.
    pub(crate) was_over: bool,
    /// What was charged, of which so much is booked.
    pub(crate) charged: Amount,
    pub(crate) booked: Amount,
    pub(crate) foreseen: Amount,
    /// Where that fault is planted: what is reported and still to be charged.
    pub(crate) owed: Amount,
}

/// What an operator waits for, and what holds once it is done.
pub(crate) struct Asked {
    pub(crate) wish: Wish,
    /// Whether it was done.
    pub(crate) done: Pin<Box<dyn Future<Output = bool>>>,
}

#[derive(Clone, Debug)]
pub(crate) enum Wish {
    /// Nothing changes.
    Look,
    Bind(Who, Option<Limit>),
    Block(Who, Option<Block>),
    SetKey(usize, Key),
    EndKey(usize),
    /// So many tokens and so much money were used outside of a session.
    Record {
        number: u64,
        amount: Amount,
        of: Party,
        at: tokenist_core::time::Timestamp,
    },
}

impl Wish {
    /// Whose settings it changes.
    pub(crate) fn sets(&self) -> Option<Who> {
        match self {
            Wish::Bind(who, _) | Wish::Block(who, _) => Some(*who),
            Wish::Look | Wish::SetKey(..) | Wish::EndKey(_) | Wish::Record { .. } => None,
        }
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Process({} shards)", self.shards.len())
    }
}

impl Process {
    pub(crate) fn sessions(&self) -> impl Iterator<Item = &Session> {
        self.shards.iter().flat_map(|shard| &shard.sessions)
    }

    /// Reports of usage that the aggregator has not applied, by number.
    pub(crate) fn unapplied(&self) -> Vec<Unapplied> {
        let queue = self.queue.borrow();
        let unapplied = |report: &Report| {
            let delta = delta_of(report)?;
            let amount = Amount { nano: delta.cost.0, tokens: delta.usage.total_tokens() as i64 };
            Some(Unapplied { amount, at: delta.at, of: Party::of(&delta.identity) })
        };
        let mut all: Vec<Unapplied> = queue.iter().filter_map(unapplied).collect();
        for shard in &self.shards {
            all.extend(shard.own.held().iter().filter_map(unapplied));
        }
        all
    }
}

/// Usage on its way to the aggregator.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unapplied {
    pub(crate) amount: Amount,
    pub(crate) at: tokenist_core::time::Timestamp,
    pub(crate) of: Party,
}

impl Session {
    pub(crate) fn in_flight(&self) -> Amount {
        self.charged - self.booked
    }

    pub(crate) fn id(&self) -> SessionId {
        self.live.id()
    }

    pub(crate) fn holders(&self) -> &Holders {
        self.live.holders.get().expect("it was let in")
    }

    /// What is said reaches the application.
    pub(crate) fn is_relayed(&self) -> bool {
        self.tap.is_some() && !self.live.is_ending() && !self.live.lingers()
    }

    /// Each holder's account.
    pub(crate) fn accounts(&self) -> impl Iterator<Item = (Who, &Arc<Account>)> {
        let Holders { user, org, feature, key } = self.holders();
        let accounts = std::iter::once(user).chain([org, feature, key].into_iter().flatten());
        self.party.all().zip(accounts)
    }
}
