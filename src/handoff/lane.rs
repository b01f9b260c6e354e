//! A lane of the journal: what a thread has counted, in the page cache before it is answered or forwarded, so that it
//! outlives the process. Once the ledger has it, its place is free for what comes next.
//!
//! Start at [`Lane::append`]. It writes with `pwrite(2)` into blocks that are there already: an error comes back as one,
//! where a mapping would end the process by a signal. Nothing is synced here; what a power loss takes is what the
//! ledger had not committed.
//!
//! Invariant: only what the ledger has for good is written over, and a lane is never waited for: what finds no room, or
//! a disk that fails, is counted in memory alone, and that is told.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokenist_core::journal::{self, LaneId, Upto};

/// Where lanes are.
pub trait Medium: fmt::Debug + Send + Sync {
    /// Writes all of it, or fails.
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()>;
}

impl Medium for File {
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.write_all_at(bytes, at)
    }
}

/// Takes nothing: the file could not be made.
#[derive(Debug)]
pub struct NoMedium(i32);

impl NoMedium {
    /// For this reason.
    pub fn new(error: &io::Error) -> NoMedium {
        NoMedium(number_of(error))
    }
}

impl Medium for NoMedium {
    fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Err(io::Error::from_raw_os_error(self.0))
    }
}

/// A lane, which one thread writes.
#[derive(Debug)]
pub struct Lane {
    id: LaneId,
    medium: Arc<dyn Medium>,
    /// Where it begins there.
    start: u64,
    bytes: u64,
    /// Where the next record goes.
    position: u64,
    state: Arc<LaneState>,
    record: Vec<u8>,
    /// The disk was slow: nothing is written until then.
    resumes_at: Option<Instant>,
}

/// How a lane does: told by its writer, and by the store how far it is free.
#[derive(Debug, Default)]
pub struct LaneState {
    written: AtomicU64,
    freed: AtomicU64,
    skipped: AtomicU64,
    trouble: AtomicI32,
}

/// Why the latest was counted in memory alone. Other values are errors as the system numbers them.
const NONE: i32 = 0;
const FULL: i32 = -1;
const SLOW: i32 = -2;

/// Longer than this a write to the page cache takes where something is wrong with the disk beneath it.
const SLOW_MIN: Duration = Duration::from_secs(1);
/// For so many times as long nothing is written then, so that a disk that stalls takes no more than this part of a
/// shard's time.
const SLOW_PAUSE: u32 = 10;
/// What is kept of the memory for records: a log may be much longer than what comes after it.
const SCRATCH_BYTES_MAX: usize = 64 << 10;

impl Lane {
    /// An empty lane of so many bytes, which begins there.
    pub fn new(id: LaneId, medium: Arc<dyn Medium>, start: u64, bytes: u64) -> Lane {
        let (state, record) = (Arc::default(), Vec::new());
        Lane { id, medium, start, bytes, position: 0, state, record, resumes_at: None }
    }

    pub fn state(&self) -> &Arc<LaneState> {
        &self.state
    }

    /// Writes what `write` says and tells up to where the lane is written then. `None`: it is counted in memory alone.
    pub fn append(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Option<Upto> {
        journal::begin(&mut self.record);
        write(&mut self.record);
        journal::seal(&mut self.record, self.id, self.position);
        let written = if self.has_room() { self.write() } else { Err(FULL) };
        let upto = self.position + self.record.len() as u64;
        if self.record.capacity() > SCRATCH_BYTES_MAX {
            self.record = Vec::new();
        }
        self.state.trouble.store(written.err().unwrap_or(NONE), Ordering::Release);
        if written.is_err() {
            self.state.skipped.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        self.position = upto;
        self.state.written.store(upto, Ordering::Release);
        Some(Upto { lane: self.id, position: upto })
    }

    /// Looks whether what kept the last record from being written is over. Call it now and then.
    pub fn look(&mut self) {
        journal::begin(&mut self.record);
        match self.state.trouble() {
            NONE | FULL => {}
            _ if !self.has_room() => {}
            _ => {
                // Zeros are no record, so a reader of the lane ends there, as before.
                let written = self.write();
                self.state.trouble.store(written.err().unwrap_or(NONE), Ordering::Release);
            }
        }
    }

    /// Whether the record would write over nothing that the ledger has not.
    fn has_room(&self) -> bool {
        self.position + self.record.len() as u64 - self.state.freed() <= self.bytes
    }

    /// Puts the record where it goes, or tells why not.
    fn write(&mut self) -> Result<(), i32> {
        let began = Instant::now();
        if self.resumes_at.is_some_and(|at| began < at) {
            return Err(SLOW);
        }
        self.resumes_at = None;
        let at = self.position % self.bytes;
        let first = usize::try_from(self.bytes - at).unwrap_or(usize::MAX).min(self.record.len());
        let (before_end, rest) = self.record.split_at(first);
        let written = self.medium.write_at(before_end, self.start + at);
        let written = match rest {
            [] => written,
            rest => written.and_then(|()| self.medium.write_at(rest, self.start)),
        };
        let took = began.elapsed();
        if took >= SLOW_MIN {
            self.resumes_at = Some(began + took * (SLOW_PAUSE + 1));
        }
        written.map_err(|error| number_of(&error))
    }
}

/// As the system numbers it; what it has no number for is a failure to write like any other.
fn number_of(error: &io::Error) -> i32 {
    error.raw_os_error().filter(|number| *number > NONE).unwrap_or(libc::EIO)
}

impl LaneState {
    /// Up to there the ledger has all for good.
    pub fn free(&self, position: u64) {
        self.freed.fetch_max(position, Ordering::AcqRel);
    }

    fn freed(&self) -> u64 {
        self.freed.load(Ordering::Acquire)
    }

    fn trouble(&self) -> i32 {
        self.trouble.load(Ordering::Acquire)
    }

    /// Whether the ledger has all that was ever written.
    pub fn is_free(&self) -> bool {
        self.freed() >= self.written.load(Ordering::Acquire)
    }

    /// How much was counted in memory alone, since the start.
    pub fn skipped(&self) -> u64 {
        self.skipped.load(Ordering::Relaxed)
    }

    /// Why what is counted is not written at the moment, in some words. `None` while it is.
    pub fn failure(&self) -> Option<String> {
        match self.trouble() {
            NONE => None,
            FULL if self.is_free() => None,
            FULL => Some("it is full of what the ledger has not taken yet".to_owned()),
            SLOW => Some("its disk is too slow".to_owned()),
            error => Some(io::Error::from_raw_os_error(error).to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Mutex, PoisonError};
    use tokenist_core::id::{Identity, SessionId};
    use tokenist_core::journal::{Item, Kinds, items};
    use tokenist_core::message::Delta;
    use tokenist_core::money::NanoUsd;
    use tokenist_core::time::Timestamp;
    use tokenist_core::usage::Usage;

    const ID: LaneId = LaneId { incarnation: 3, number: 1 };
    const START: u64 = 100;

    /// Memory that takes no more than the first `fails_after` bytes of what comes, and then fails, if it is set.
    #[derive(Debug, Default)]
    struct Page {
        bytes: Mutex<Vec<u8>>,
        fails_after: Mutex<Option<usize>>,
        delay: Mutex<Duration>,
    }

    impl Medium for Page {
        fn write_at(&self, from: &[u8], at: u64) -> io::Result<()> {
            std::thread::sleep(*self.delay.lock().unwrap());
            let taken = self.fails_after.lock().unwrap().unwrap_or(from.len()).min(from.len());
            self.bytes.lock().unwrap()[at as usize..][..taken].copy_from_slice(&from[..taken]);
            // Whoever has taken all has not failed.
            if taken < from.len() { Err(io::Error::from_raw_os_error(libc::ENOSPC)) } else { Ok(()) }
        }
    }

    impl Page {
        fn new(bytes: usize) -> Arc<Page> {
            let page = Page::default();
            page.bytes.lock().unwrap().resize(START as usize + bytes, 0xee);
            Arc::new(page)
        }

        fn fail_after(&self, bytes: Option<usize>) {
            *self.fails_after.lock().unwrap_or_else(PoisonError::into_inner) = bytes;
        }

        /// What a process finds that comes after a kill.
        fn read(&self, from: u64) -> Vec<(u64, u64)> {
            let bytes = self.bytes.lock().unwrap();
            let of = |(item, upto): (Item, Upto)| match item {
                Item::Delta(delta) => (delta.at.0, upto.position),
                Item::Call(_) => unreachable!(),
            };
            items(&bytes[START as usize..], ID, from, &Kinds::present()).map(of).collect()
        }
    }

    fn delta(number: u64, name_bytes: usize) -> Delta {
        Delta {
            at: Timestamp(number),
            session: SessionId(1),
            // Like no other: half of a record may not be made whole by what stood there before.
            identity: Arc::new(Identity::of(number.to_string().repeat(name_bytes / 3 + 1).as_str().into())),
            provider: "openai".into(),
            model: "m".into(),
            usage: Usage::default(),
            cost: NanoUsd(1),
            estimated: false,
            latency_ms: None,
        }
    }

    fn append(lane: &mut Lane, number: u64, name_bytes: usize) -> Option<u64> {
        let delta = delta(number, name_bytes);
        lane.append(|record| journal::write_delta(&delta, record)).map(|upto| upto.position)
    }

    /// Whatever is written, freed and refused in whatever order: after a kill at any moment what is found is exactly
    /// what was written and not freed, in order.
    #[test]
    fn what_is_written_and_not_freed_is_found_after_a_kill_at_any_moment() {
        for seed in 0..200 {
            let mut random = seed * 2 + 1;
            let mut below = |bound: u64| {
                random = u64::wrapping_mul(random, 6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                (random >> 33) % bound
            };
            let page = Page::new(1_000);
            let mut lane = Lane::new(ID, page.clone(), START, 1_000);
            let (mut waiting, mut freed, mut skipped) = (Vec::new(), 0, 0);
            for number in 0..300 {
                match below(10) {
                    0..6 => match append(&mut lane, number, below(250) as usize) {
                        Some(position) => waiting.push((number, position)),
                        None => skipped += 1,
                    },
                    6..8 if !waiting.is_empty() => {
                        let count = below(waiting.len() as u64) as usize + 1;
                        freed = waiting.drain(..count).next_back().unwrap().1;
                        lane.state().free(freed);
                    }
                    8 => page.fail_after((below(2) == 0).then(|| below(20) as usize)),
                    _ => lane.look(),
                }
                assert_eq!(page.read(freed), waiting, "seed {seed}, step {number}");
                assert_eq!(lane.state().is_free(), waiting.is_empty());
            }
            assert_eq!(lane.state().skipped(), skipped, "seed {seed}");
            assert!(skipped > 0 && freed > 3_000, "seed {seed}: the ring went round, and was full");
        }
    }

    #[test]
    fn a_failure_is_told_until_it_is_over_and_counting_goes_on() {
        let page = Page::new(300);
        let mut lane = Lane::new(ID, page.clone(), START, 300);
        let state = Arc::clone(lane.state());
        assert!(append(&mut lane, 1, 1).is_some());
        page.fail_after(Some(5));
        assert_eq!((append(&mut lane, 2, 1), state.skipped()), (None, 1));
        assert!(state.failure().is_some_and(|why| why.contains("No space left")), "{:?}", state.failure());
        lane.look();
        assert!(state.failure().is_some(), "it still fails");
        page.fail_after(None);
        lane.look();
        assert_eq!(state.failure(), None);
        assert_eq!(page.read(0).len(), 1, "what was not written is not found");

        while append(&mut lane, 3, 1).is_some() {}
        let full = page.read(0);
        assert!(state.failure().is_some_and(|why| why.contains("full")));
        page.fail_after(Some(5));
        lane.look();
        assert_eq!(page.read(0), full, "looking writes over nothing");
        state.free(full.last().unwrap().1);
        assert_eq!(state.failure(), None, "there is room again");
        assert_eq!(append(&mut lane, 4, 300), None, "no lane has room for so much");
    }

    #[test]
    fn a_disk_that_stalls_is_left_alone_for_a_while() {
        let page = Page::new(10_000);
        let mut lane = Lane::new(ID, page.clone(), START, 10_000);
        *page.delay.lock().unwrap() = SLOW_MIN;
        assert!(append(&mut lane, 1, 1).is_some(), "it is written all the same");
        *page.delay.lock().unwrap() = Duration::ZERO;
        assert_eq!(append(&mut lane, 2, 1), None);
        assert!(lane.state().failure().is_some_and(|why| why.contains("slow")));
        lane.resumes_at = Some(Instant::now());
        lane.look();
        assert_eq!(lane.state().failure(), None);
        assert!(append(&mut lane, 3, 1).is_some());
    }

    #[test]
    fn where_there_is_no_file_nothing_is_written_and_that_is_told() {
        let mut lane =
            Lane::new(ID, Arc::new(NoMedium::new(&io::Error::from_raw_os_error(libc::EROFS))), 0, 1_000);
        assert_eq!(append(&mut lane, 1, 1), None);
        lane.look();
        assert!(lane.state().failure().is_some_and(|why| why.contains("Read-only")));
    }
}
