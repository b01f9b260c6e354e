//! A memory store that fails when it is told to, and that can be looked into while a writer owns it.

use std::sync::{Arc, Mutex, MutexGuard};
use tokenist_control::store::{Memory, Reader, Store, StoreError, UsageQuery, memory};
use tokenist_core::batch::{Batch, Restored};
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
        let sums = self.inner().0.usage(&UsageQuery::default()).unwrap();
        sums.iter().map(|row| row.totals.cost).sum()
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

    fn reader(&self) -> Result<Box<dyn Reader>, StoreError> {
        self.inner().0.reader()
    }
}
