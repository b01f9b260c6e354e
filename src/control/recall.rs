//! The thread that asks the store for what it has of holders that come back after they were forgotten, so that neither
//! aggregator nor a question to the store holds up the other.
//!
//! Invariant: whatever is asked is answered, if only with why not.

use crate::command::{Command, RecallAnswer};
use crate::store::{Recall, StoreError};
use crossbeam::channel::{self, Receiver, Sender};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use tokenist_core::id::Holder;
use tokenist_core::time::Timestamp;
use tracing::error;

/// Holders, and the time as of which all is asked that was known of them.
pub(crate) type Question = (Vec<Holder>, Timestamp);

/// Questions that may wait. Past it they wait in the aggregator, for no longer than the request that needs the answer.
const QUESTIONS_MAX: usize = 256;
/// Holders that are read together, so that the first of many that wait is not answered with the last.
const TOGETHER: usize = 32;

/// Starts it. Answers come as commands. It ends when the last sender is gone, or they are no longer taken.
pub(crate) fn start(store: Box<dyn Recall>, commands: Sender<Command>) -> io::Result<Sender<Question>> {
    let (sender, questions) = channel::bounded(QUESTIONS_MAX);
    thread::Builder::new().name("recall".into()).spawn(move || run(store, &questions, &commands))?;
    Ok(sender)
}

fn run(mut store: Box<dyn Recall>, questions: &Receiver<Question>, commands: &Sender<Command>) {
    while let Ok((mut holders, mut now)) = questions.recv() {
        while holders.len() < TOGETHER
            && let Ok((more, later)) = questions.try_recv()
        {
            holders.extend(more);
            now = now.max(later);
        }
        let answers = answer(&mut *store, holders, now);
        if commands.send(Command::Recalled(answers)).is_err() {
            return;
        }
    }
}

fn answer(store: &mut dyn Recall, holders: Vec<Holder>, now: Timestamp) -> Vec<RecallAnswer> {
    let read = catch_unwind(AssertUnwindSafe(|| store.recall(&holders, now)));
    let read = read.unwrap_or_else(|_| Err(StoreError("a question to the store panicked".into())));
    match read {
        Ok(recalled) => {
            recalled.into_iter().map(|recalled| (recalled.state.holder.clone(), Ok(recalled))).collect()
        }
        Err(cause) => {
            error!(%cause, "the store could not be asked for holders that come back");
            holders.into_iter().map(|holder| (holder, Err(cause.clone()))).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokenist_core::batch::Recalled;

    /// Panics at one holder, fails at another.
    struct Moody;

    impl Recall for Moody {
        fn recall(&mut self, holders: &[Holder], _: Timestamp) -> Result<Vec<Recalled>, StoreError> {
            assert!(!holders.contains(&Holder::User("panic".into())), "as it was asked to");
            match holders.contains(&Holder::User("fail".into())) {
                true => Err(StoreError("disk".into())),
                false => Ok(holders.iter().cloned().map(Recalled::nothing).collect()),
            }
        }
    }

    #[test]
    fn every_question_is_answered_whatever_the_store_does() {
        let (commands, answers) = channel::bounded(1);
        let questions = start(Box::new(Moody), commands).unwrap();
        for (name, is_read) in [("panic", false), ("fail", false), ("alice", true)] {
            questions.send((vec![Holder::User(name.into())], Timestamp(0))).unwrap();
            let Ok(Command::Recalled(answers)) = answers.recv() else { panic!("{name} was not answered") };
            assert_eq!((answers.len(), answers[0].1.is_ok()), (1, is_read), "{name}");
        }
    }
}
