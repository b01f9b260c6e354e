//! A store that fails when it is told to, and that can be looked into while a writer owns it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use tokenist_control::store::{
    AuditFilter, Filter, Reader, Recall, RefusalFilter, Store, StoreError, UsageQuery, UsageRow,
};
use tokenist_core::audit::Audit;
use tokenist_core::batch::{Batch, Event, Log, Restored, SessionRecord};
use tokenist_core::journal::{Item, Upto};
use tokenist_core::money::NanoUsd;
use tokenist_core::refusal::Refusal;
use tokenist_core::time::Timestamp;
use tokenist_handoff::Lane;

/// How the next commits go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Fault {
    #[default]
    None,
    /// Nothing is written.
    Refuse,
    /// Everything is written, and the answer lost.
    LoseAnswer,
    /// The next commit, and no other, panics; whatever it wrote is there.
    PanicOnce,
    /// The next question, and no other, panics.
    PanicAsked,
    /// Whoever answers operators does not, until this is over.
    HangAsked,
}

#[derive(Clone)]
pub(crate) struct Faulty {
    inner: Arc<Mutex<(Box<dyn Store>, Fault)>>,
    hanging: Arc<AtomicUsize>,
}

impl Faulty {
    pub(crate) fn new(store: Box<dyn Store>) -> Faulty {
        Faulty { inner: Arc::new(Mutex::new((store, Fault::None))), hanging: Arc::default() }
    }

    pub(crate) fn set_fault(&self, fault: Fault) {
        self.inner().1 = fault;
    }

    /// Questions that are not answered now.
    pub(crate) fn hanging(&self) -> usize {
        self.hanging.load(Ordering::Acquire)
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
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for Faulty {
    fn restore(&mut self, now: Timestamp, holders_max: usize) -> Result<Restored, StoreError> {
        self.inner().0.restore(now, holders_max)
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let (store, fault) = &mut *self.inner();
        if *fault != Fault::Refuse {
            store.commit(batch)?;
        }
        if *fault == Fault::PanicOnce {
            *fault = Fault::None;
            panic!("a bug in the store");
        }
        if matches!(fault, Fault::None | Fault::PanicAsked | Fault::HangAsked) {
            Ok(())
        } else {
            Err(StoreError(format!("{fault:?}")))
        }
    }

    fn left_over(&mut self) -> Result<Option<Vec<(Item, Upto)>>, StoreError> {
        self.inner().0.left_over()
    }

    fn lanes(&mut self, count: usize) -> Result<Vec<Lane>, StoreError> {
        self.inner().0.lanes(count)
    }

    fn recaller(&self) -> Result<Option<Box<dyn Recall>>, StoreError> {
        self.inner().0.recaller()
    }

    fn reader(&self) -> Result<Box<dyn Reader>, StoreError> {
        let reader = self.inner().0.reader()?;
        Ok(Box::new(Asked { store: self.clone(), reader }))
    }
}

/// A reader that panics when it is told to.
struct Asked {
    store: Faulty,
    reader: Box<dyn Reader>,
}

impl Reader for Asked {
    fn usage(&mut self, query: &UsageQuery) -> Result<Vec<UsageRow>, StoreError> {
        let mut inner = self.store.inner();
        if inner.1 == Fault::PanicAsked {
            inner.1 = Fault::None;
            panic!("a bug in the reader");
        }
        drop(inner);
        if thread::current().name() != Some("reader-rules") {
            self.store.hanging.fetch_add(1, Ordering::AcqRel);
            while self.store.inner().1 == Fault::HangAsked {
                thread::yield_now();
            }
            self.store.hanging.fetch_sub(1, Ordering::AcqRel);
        }
        self.reader.usage(query)
    }

    fn events(&mut self, filter: &Filter) -> Result<Vec<Event>, StoreError> {
        self.reader.events(filter)
    }

    fn sessions(&mut self, filter: &Filter) -> Result<Vec<SessionRecord>, StoreError> {
        self.reader.sessions(filter)
    }

    fn logs(&mut self, filter: &Filter) -> Result<Vec<Log>, StoreError> {
        self.reader.logs(filter)
    }

    fn audits(&mut self, filter: &AuditFilter) -> Result<Vec<Audit>, StoreError> {
        self.reader.audits(filter)
    }

    fn refusals(&mut self, filter: &RefusalFilter) -> Result<Vec<Refusal>, StoreError> {
        self.reader.refusals(filter)
    }

    fn log_count(&mut self, filter: &Filter) -> Result<usize, StoreError> {
        self.reader.log_count(filter)
    }

    fn has_marked(&mut self, ids: &[Arc<str>]) -> Result<bool, StoreError> {
        self.reader.has_marked(ids)
    }

    fn log(&mut self, id: &str) -> Result<Option<Log>, StoreError> {
        self.reader.log(id)
    }
}
