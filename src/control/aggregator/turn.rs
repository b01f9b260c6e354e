//! The time that commands have between two bursts of reports, and lists that are made a portion at a time in it.
//!
//! Invariant: however many commands wait and however many holders there are, reports and admissions wait for one turn
//! and for what one command looks at in one go, which is some hundred holders or what it was asked for by name.

use super::Aggregator;
use crate::command::{Command, PORTION_MAX, Portion};
use crossbeam::channel::{Receiver, TryRecvError};
use std::time::Duration;
use tokenist_core::time::Timestamp;

/// How long commands are carried out before reports are looked at again.
const TURN: Duration = Duration::from_millis(1);
/// Items that are looked at between two looks at the clock.
const CHECK: usize = 512;
/// One turn of commands.
pub(crate) struct Turn<'a> {
    spent: &'a dyn Fn() -> Duration,
}

/// What became of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Obeyed {
    /// There was nothing to do.
    Nothing,
    Some,
    /// The aggregator is to end.
    Finish,
}

impl<'a> Turn<'a> {
    /// `spent` says how long ago the turn began.
    pub(crate) fn new(spent: &'a dyn Fn() -> Duration) -> Turn<'a> {
        Turn { spent }
    }

    fn is_over(&self) -> bool {
        (self.spent)() >= TURN
    }

    /// What `pick` makes of `items`, one after the other, until there are no more, `room` is filled, or the turn is
    /// over. `cursor` tells the place of the last that was looked at. Some are always looked at, so a caller that goes on
    /// from there comes to the end.
    pub(super) fn portion<I: Copy, T, C>(
        &self,
        items: impl Iterator<Item = I>,
        room: usize,
        cursor: impl Fn(I) -> C,
        mut pick: impl FnMut(I) -> Option<T>,
    ) -> Portion<T, C> {
        let room = room.clamp(1, PORTION_MAX);
        let mut found = Vec::new();
        for (index, item) in items.enumerate() {
            found.extend(pick(item));
            if found.len() >= room || (index + 1) % CHECK == 0 && self.is_over() {
                return Portion { found, next: Some(cursor(item)) };
            }
        }
        Portion { found, next: None }
    }
}

impl Aggregator {
    /// Carries out commands until none waits or the turn is over; one at least, so that a flood of reports starves
    /// nobody either.
    pub(crate) fn obey(
        &mut self,
        commands: &Receiver<Command>,
        turn: &Turn<'_>,
        now: Timestamp,
        reports_waiting: usize,
    ) -> Obeyed {
        let mut obeyed = Obeyed::Nothing;
        loop {
            match commands.try_recv() {
                Ok(Command::Finish) | Err(TryRecvError::Disconnected) => return Obeyed::Finish,
                Err(TryRecvError::Empty) => return obeyed,
                Ok(command) => self.command(command, turn, now, reports_waiting),
            }
            obeyed = Obeyed::Some;
            if turn.is_over() {
                return obeyed;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::{LimitQuery, LimitSort, UserFilter, UserQuery};
    use crossbeam::channel::{self, Sender};
    use std::cell::Cell;
    use std::sync::Arc;
    use tokenist_core::id::{Holder, Identity, SessionId, UserId};
    use tokenist_core::ledger::{self, Ledger};
    use tokenist_core::limit::{Block, Limit};
    use tokenist_core::message::{Opened, Transport};
    use tokenist_handoff::Report;
    use tokio::sync::oneshot;

    const NOW: Timestamp = Timestamp(1_795_435_200_000);
    const USERS: usize = 20_000;

    /// Of every tenth user `alter` makes what is looked for.
    fn aggregator(alter: impl Fn(&mut Aggregator, UserId)) -> Aggregator {
        let ledger = Ledger::new(ledger::Config::default(), NOW);
        let mut aggregator = Aggregator::new(ledger, USERS, Vec::new(), Arc::default(), None);
        for index in 0..USERS {
            let user = UserId::from(&*format!("user-{index:06}"));
            aggregator.introduce(&Identity::of(user.clone()), NOW).unwrap();
            if index % 10 == 0 {
                alter(&mut aggregator, user);
            }
        }
        aggregator
    }

    fn search(text: &str) -> Arc<UserQuery> {
        let filter = UserFilter { search: Some(text.into()), ..UserFilter::default() };
        Arc::new(UserQuery { filter, limit: 10, ..UserQuery::default() })
    }

    /// Sends as many of these commands as the queue takes, as callers do who ask again and again.
    fn flood(commands: &Sender<Command>, command: impl Fn() -> Command) {
        while commands.try_send(command()).is_ok() {}
    }

    /// A clock that goes on by this at each look.
    fn clock(step: Duration) -> impl Fn() -> Duration {
        let spent = Cell::new(Duration::ZERO);
        move || spent.replace(spent.get() + step)
    }

    #[test]
    fn reports_wait_for_one_turn_however_many_questions_wait() {
        let mut aggregator = aggregator(|_, _| {});
        let (commands, waiting) = channel::bounded(1_024);
        let query = search("nobody is called so");
        // Between two looks at the clock a quarter of a turn goes by: the whole list would take ten turns.
        let step = TURN / 4;
        for round in 1..=200_u64 {
            flood(&commands, || Command::Users(Arc::clone(&query), None, 10, oneshot::channel().0));
            let spent = clock(step);
            assert_eq!(aggregator.obey(&waiting, &Turn::new(&spent), NOW, 0), Obeyed::Some);
            // The next look is one after those that were made.
            assert!(spent() <= TURN + 2 * step, "a turn that was over went on until {:?}", spent());
            let identity = Arc::new(Identity::of("user-000001".into()));
            let opened = Opened {
                session: SessionId(round),
                identity,
                provider: "openai".into(),
                model: None,
                transport: Transport::default(),
                call: None,
                at: NOW,
            };
            aggregator.report(Report::Opened(opened), NOW);
            assert_eq!(aggregator.ledger().session_count() as u64, round, "it was applied in between");
        }
    }

    #[test]
    fn whoever_goes_on_where_a_turn_ended_sees_everything_once() {
        let mut aggregator = aggregator(|aggregator, user| {
            let block = Block { reason: None, blocked_at: NOW, expires_at: None };
            aggregator.block(user.clone(), block, NOW).unwrap();
            aggregator.bind(&Holder::User(user), Some(Limit::default()), NOW).unwrap();
        });
        let spent = || TURN; // Every turn is over before it begins.
        let turn = Turn::new(&spent);
        let (mut users, mut after) = (Vec::new(), None);
        loop {
            let portion = aggregator.users(&search("7"), after.as_ref(), usize::MAX, &turn, NOW);
            assert!(portion.found.len() <= CHECK);
            users.extend(portion.found.into_iter().map(|view| view.user));
            after = portion.next;
            if after.is_none() {
                break;
            }
        }
        let all = (0..USERS).map(|index| UserId::from(&*format!("user-{index:06}")));
        assert!(
            users.iter().eq(all
                .clone()
                .filter(|user| user.as_str().contains('7'))
                .collect::<Vec<_>>()
                .iter())
        );

        let tenth: Vec<UserId> = all.step_by(10).collect();
        let (mut blocked, mut after) = (Vec::new(), None);
        loop {
            let portion = aggregator.blocked(after.as_ref(), &turn, NOW);
            blocked.extend(portion.found.into_iter().map(|(user, _)| user));
            after = portion.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(blocked, tenth);
        let query =
            LimitQuery { kind: None, search: None, sort: LimitSort::Used, offset: 0, limit: usize::MAX };
        let (mut bound, mut after) = (Vec::new(), None);
        loop {
            let portion = aggregator.limits(&query, after.as_ref(), &turn, NOW);
            bound.extend(portion.found.into_iter().map(|(_, holder)| holder));
            after = portion.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(bound, tenth.into_iter().map(Holder::User).collect::<Vec<_>>());
    }

    #[test]
    fn a_flood_of_reports_leaves_each_turn_a_command() {
        let mut aggregator = aggregator(|_, _| {});
        let (commands, waiting) = channel::bounded(3);
        flood(&commands, || Command::Stats(oneshot::channel().0));
        let spent = || TURN;
        for left in [2, 1, 0] {
            assert_eq!(aggregator.obey(&waiting, &Turn::new(&spent), NOW, 0), Obeyed::Some);
            assert_eq!(waiting.len(), left);
        }
        assert_eq!(aggregator.obey(&waiting, &Turn::new(&spent), NOW, 0), Obeyed::Nothing);
        drop(commands);
        assert_eq!(aggregator.obey(&waiting, &Turn::new(&spent), NOW, 0), Obeyed::Finish);
    }
}
