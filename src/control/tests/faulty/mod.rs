//! A memory store that fails when it is told to, and that can be looked into while a writer owns it.

use std::sync::{Arc, Mutex, MutexGuard};
use tokenist_control::store::{Filter, Memory, Store, StoreError, memory};
use tokenist_core::batch::{Batch, Event, Restored, Rollup, SessionRecord};
use tokenist_core::money::NanoUsd;
use tokenist_core::time::Timestamp;

/// How the next commits go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Fault {
    #[default]
    None,
    /// Nothing is written.
    Refuse,
    /// Everything is written, and the answer lost.
    LoseAnswer,
}

#[derive(Clone)]
pub(crate) struct Faulty(Arc<Mutex<(Memory, Fault)>>);

impl Faulty {
    pub(crate) fn new() -> Faulty {
        Faulty(Arc::new(Mutex::new((Memory::new(memory::Config::default()), Fault::None))))
    }

    pub(crate) fn set_fault(&self, fault: Fault) {
        self.inner().1 = fault;
    }

    /// Of all rollup rows.
    pub(crate) fn cost(&self) -> NanoUsd {
        let all = Filter { user: None, org: None, from: Timestamp(0), to: Timestamp::MAX, limit: usize::MAX };
        self.inner().0.rollups(&all).unwrap().iter().map(|row| row.totals.cost).sum()
    }

    fn inner(&self) -> MutexGuard<'_, (Memory, Fault)> {
        self.0.lock().unwrap()
    }
}

impl Store for Faulty {
    fn restore(&mut self, now: Timestamp) -> Result<Restored, StoreError> {
        self.inner().0.restore(now)
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let (memory, fault) = &mut *self.inner();
        if *fault != Fault::Refuse {
            memory.commit(batch)?;
        }
        if *fault == Fault::None { Ok(()) } else { Err(StoreError(format!("{fault:?}"))) }
    }

    fn rollups(&mut self, filter: &Filter) -> Result<Vec<Rollup>, StoreError> {
        self.inner().0.rollups(filter)
    }

    fn events(&mut self, filter: &Filter) -> Result<Vec<Event>, StoreError> {
        self.inner().0.events(filter)
    }

    fn sessions(&mut self, filter: &Filter) -> Result<Vec<SessionRecord>, StoreError> {
        self.inner().0.sessions(filter)
    }
}
