//! The pool of owned buffers that bytes move through, one pool a shard.
//!
//! A pending read lends its buffer to the kernel for as long as nothing comes. Quiet sessions therefore cancel their
//! read and give the buffer back; and buffers are virtual memory, whose pages are touched only by bytes that
//! arrive and dropped when too many buffers are free.

#![expect(unsafe_code, reason = "buffers are mapped memory that a pending read shares with the kernel")]

use monoio::buf::{IoBuf, IoBufMut};
use std::cell::RefCell;
use std::io;
use std::ops::Range;
use std::ptr::{self, NonNull};
use std::rc::Rc;

/// What one buffer holds. A frame up to this size is forwarded whole.
pub(crate) const BUFFER_BYTES: usize = 64 * 1024;
const SLAB_BUFFERS: usize = 64;
/// Free buffers that keep their pages for the next session in need.
const WARM_MAX: usize = 64;

/// Hands out buffers; cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Pool(Rc<RefCell<Free>>);

#[derive(Default)]
struct Free {
    /// Cold ones first: their pages are not there until something is written to them.
    buffers: Vec<NonNull<u8>>,
    warm_count: usize,
}

/// 64 KiB that belong to whoever holds this. All of it is initialised (the kernel maps zeros).
pub(crate) struct Buffer {
    start: NonNull<u8>,
    pool: Pool,
}

/// The unfilled rest of a buffer, for a read that may fill it up to `end`. Small numbers, because a read that waits holds
/// them several times.
pub(crate) struct Unfilled {
    pub(crate) buffer: Buffer,
    filled: u32,
    end: u32,
}

const _: () = assert!(BUFFER_BYTES <= u32::MAX as usize, "a place in a buffer is a small number");

/// A filled part of a buffer, for a write.
pub(crate) struct Filled {
    pub(crate) buffer: Buffer,
    pub(crate) range: Range<usize>,
}

impl Pool {
    /// Fails where the process may map no more memory.
    pub(crate) fn take(&self) -> io::Result<Buffer> {
        let mut free = self.0.borrow_mut();
        if free.buffers.is_empty() {
            free.grow()?;
        }
        let start = free.buffers.pop().expect("grow adds buffers");
        free.warm_count = free.warm_count.saturating_sub(1);
        Ok(Buffer { start, pool: self.clone() })
    }

    fn put(&self, start: NonNull<u8>) {
        let mut free = self.0.borrow_mut();
        if free.warm_count >= WARM_MAX {
            // SAFETY: the buffer is free, so nobody reads it.
            unsafe { discard(start, BUFFER_BYTES) };
            // A cold one goes to the bottom, so that warm ones are taken first.
            free.buffers.insert(0, start);
        } else {
            free.buffers.push(start);
            free.warm_count += 1;
        }
    }
}

impl Free {
    fn grow(&mut self) -> io::Result<()> {
        let bytes = SLAB_BUFFERS * BUFFER_BYTES;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a fresh anonymous mapping touches no memory of anybody's.
        let slab =
            unsafe { libc::mmap(ptr::null_mut(), bytes, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
        if slab == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // A huge page would make 512 small ones resident at the first byte. Where the kernel has none, the call
        // fails and nothing is lost.
        // SAFETY: the range is the mapping just made.
        unsafe { libc::madvise(slab, bytes, libc::MADV_NOHUGEPAGE) };
        let first = NonNull::new(slab.cast::<u8>()).expect("a mapping is not at zero");
        // SAFETY: every offset lies within the mapping.
        self.buffers.extend((0..SLAB_BUFFERS).rev().map(|index| unsafe { first.add(index * BUFFER_BYTES) }));
        Ok(())
    }
}

/// # Safety
/// The range lies in one slab, starts on a page, and its contents are of no more use.
unsafe fn discard(start: NonNull<u8>, bytes: usize) {
    // SAFETY: as the caller promised.
    unsafe { libc::madvise(start.as_ptr().cast(), bytes, libc::MADV_DONTNEED) };
}

impl Buffer {
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: the buffer is BUFFER_BYTES of initialised memory and this is its only owner.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), BUFFER_BYTES) }
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and the borrow is unique.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), BUFFER_BYTES) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.pool.put(self.start);
    }
}

impl Unfilled {
    pub(crate) fn new(buffer: Buffer, filled: usize, end: usize) -> Unfilled {
        debug_assert!(filled <= end && end <= BUFFER_BYTES, "{filled}..{end} lies in a buffer");
        Unfilled { buffer, filled: filled as u32, end: end as u32 }
    }

    /// What was filled before the read.
    pub(crate) fn filled(&self) -> usize {
        self.filled as usize
    }
}

// SAFETY: the memory does not move with the value and is initialised throughout.
unsafe impl IoBufMut for Unfilled {
    fn write_ptr(&mut self) -> *mut u8 {
        self.buffer.bytes_mut()[self.filled as usize..self.end as usize].as_mut_ptr()
    }

    fn bytes_total(&mut self) -> usize {
        (self.end - self.filled) as usize
    }

    unsafe fn set_init(&mut self, _bytes: usize) {}
}

// SAFETY: as above.
unsafe impl IoBuf for Filled {
    fn read_ptr(&self) -> *const u8 {
        self.buffer.bytes()[self.range.clone()].as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.range.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_keeps_its_pages_however_many_cold_ones_are_free() {
        let pool = Pool::default();
        drop((0..200).map(|_| pool.take().unwrap()).collect::<Vec<_>>());
        assert_eq!(pool.0.borrow().warm_count, WARM_MAX);
        for _ in 0..300 {
            let mut buffer = pool.take().unwrap();
            buffer.bytes_mut()[0] = 7;
            drop(buffer);
            assert_eq!(pool.take().unwrap().bytes()[0], 7, "what was written last is still there");
        }
    }

    #[test]
    fn buffers_are_used_again_and_never_twice_at_once() {
        let pool = Pool::default();
        let mut buffers: Vec<Buffer> = (0..200).map(|_| pool.take().unwrap()).collect();
        for (index, buffer) in buffers.iter_mut().enumerate() {
            buffer.bytes_mut().fill(index as u8);
        }
        for (index, buffer) in buffers.iter().enumerate() {
            assert!(buffer.bytes().iter().all(|&byte| byte == index as u8));
        }
        drop(buffers);
        let free = pool.0.borrow().buffers.len();
        let again = pool.take().unwrap();
        assert_eq!(pool.0.borrow().buffers.len(), free - 1);
        drop(again);
    }
}
