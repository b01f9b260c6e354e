//! One side of an exchange as it is written: a head, and content as that head frames it.
//!
//! Start at [`Outlet::send`]. Invariant: what is sent at once leaves in one write wherever it fits a buffer.

use super::source::Portion;
use crate::io::buffer::Buffer;
use crate::io::stream::Writer;
use std::io;
use std::ops::Range;
use tokenist_core::http::body::{CHUNK_END, CHUNK_END_AND_LAST, ChunkStart, LAST_CHUNK};

/// Content up to this size is copied behind a head, so that both leave in one write.
const COPIED_MAX: usize = 16 * 1024;

pub(crate) struct Outlet {
    is_chunked: bool,
    /// What goes before anything else, and has not gone.
    head: Vec<u8>,
}

impl Outlet {
    pub(crate) fn new(head: Vec<u8>, is_chunked: bool) -> Outlet {
        Outlet { is_chunked, head }
    }

    /// Nothing of it has been sent.
    pub(crate) fn is_fresh(&self) -> bool {
        !self.head.is_empty()
    }

    /// Sends a portion, and the end of the body behind the last one. Gives the buffer back.
    pub(crate) async fn send(&mut self, writer: &mut Writer, portion: Portion) -> (io::Result<()>, Buffer) {
        let Portion { mut buffer, content, free_to, is_last } = portion;
        let around = self.around(content.len(), is_last);
        if let Some(range) = around.put(buffer.bytes_mut(), &content, free_to) {
            return writer.write(buffer, range).await;
        }
        if content.len() <= COPIED_MAX {
            let wire = around.with(&buffer.bytes()[content]);
            let sent = if wire.is_empty() { Ok(()) } else { writer.write_bytes(wire).await };
            return (sent, buffer);
        }
        let behind = around.behind;
        if let Err(error) = writer.write_ahead(around.with_nothing()).await {
            return (Err(error), buffer);
        }
        match writer.write(buffer, content).await {
            (Ok(()), buffer) if !behind.is_empty() => (writer.write_bytes(behind.to_vec()).await, buffer),
            sent => sent,
        }
    }

    /// Sends bytes of our own, and the end of the body behind them if they are the last.
    pub(crate) async fn send_bytes(
        &mut self,
        writer: &mut Writer,
        bytes: &[u8],
        is_last: bool,
    ) -> io::Result<()> {
        let around = self.around(bytes.len(), is_last);
        match bytes.len() <= COPIED_MAX {
            true => writer.write_bytes(around.with(bytes)).await,
            false => {
                let behind = around.behind;
                writer.write_ahead(around.with_nothing()).await?;
                writer.write_bytes([bytes, behind].concat()).await
            }
        }
    }

    /// What stands around so much content.
    fn around(&mut self, content_bytes: usize, is_last: bool) -> Around {
        let head = std::mem::take(&mut self.head);
        let is_chunk = self.is_chunked && content_bytes > 0;
        let start = if is_chunk { ChunkStart::of(content_bytes) } else { ChunkStart::default() };
        let behind = match (is_chunk, self.is_chunked && is_last) {
            (true, true) => CHUNK_END_AND_LAST,
            (true, false) => CHUNK_END,
            (false, true) => LAST_CHUNK,
            (false, false) => b"",
        };
        Around { head, start, behind }
    }
}

/// What stands before content, and behind it.
struct Around {
    head: Vec<u8>,
    start: ChunkStart,
    behind: &'static [u8],
}

impl Around {
    /// Puts it around content within its buffer, which may be written to `free_to`, if there is room: where all of it is then.
    fn put(&self, buffer: &mut [u8], content: &Range<usize>, free_to: usize) -> Option<Range<usize>> {
        let start = self.start.as_bytes();
        let start_at = content.start.checked_sub(start.len())?;
        let head_at = start_at.checked_sub(self.head.len())?;
        let end = Some(content.end + self.behind.len()).filter(|end| *end <= free_to)?;
        buffer[head_at..start_at].copy_from_slice(&self.head);
        buffer[start_at..content.start].copy_from_slice(start);
        buffer[content.end..end].copy_from_slice(self.behind);
        Some(head_at..end)
    }

    fn with_nothing(self) -> Vec<u8> {
        let mut wire = self.head;
        wire.extend_from_slice(self.start.as_bytes());
        wire
    }

    fn with(self, content: &[u8]) -> Vec<u8> {
        let behind = self.behind;
        let mut wire = self.with_nothing();
        wire.extend_from_slice(content);
        wire.extend_from_slice(behind);
        wire
    }
}
