//! A store that fails when it is told to, and that can be looked into while a writer owns it.

#![allow(dead_code, reason = "no test uses all of it")]

use std::sync::{Arc, Mutex, MutexGuard};
use tokenist_control::store::{Filter, Memory, Reader, Store, StoreError, UsageQuery, memory};
use tokenist_core::batch::{Batch, Event, Restored};
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
pub(crate) struct Faulty(Arc<Mutex<(Box<dyn Store>, Fault)>>);

impl Faulty {
    pub(crate) fn new(store: Box<dyn Store>) -> Faulty {
        Faulty(Arc::new(Mutex::new((store, Fault::None))))
    }

    pub(crate) fn set_fault(&self, fault: Fault) {
        self.inner().1 = fault;
    }

    /// Drops the store, then opens it anew, as the next process does.
    pub(crate) fn reopen(&self, open: impl FnOnce() -> Box<dyn Store>) {
        let mut inner = self.inner();
        inner.0 = Box::new(Memory::new(memory::Config::default()));
        *inner = (open(), Fault::None);
    }

    /// Of all rollup rows.
    pub(crate) fn cost(&self) -> NanoUsd {
        let sums = self.reader().unwrap().usage(&UsageQuery::default()).unwrap();
        sums.iter().map(|row| row.totals.cost).sum()
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.reader().unwrap().events(&Filter::default()).unwrap()
    }

    fn inner(&self) -> MutexGuard<'_, (Box<dyn Store>, Fault)> {
        self.0.lock().unwrap()
    }
}

impl Store for Faulty {
    fn restore(&mut self, now: Timestamp) -> Result<Restored, StoreError> {
        self.inner().0.restore(now)
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let (store, fault) = &mut *self.inner();
        if *fault != Fault::Refuse {
            store.commit(batch)?;
        }
        if *fault == Fault::None { Ok(()) } else { Err(StoreError(format!("{fault:?}"))) }
    }

    fn reader(&self) -> Result<Box<dyn Reader>, StoreError> {
        self.inner().0.reader()
    }
}
