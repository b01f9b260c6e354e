//! One side of an exchange as it is written: a head, and content as that head frames it.
//!
//! Start at [`Outlet::send`]. Invariant: what is sent at once leaves in one write wherever it fits a buffer.

use super::source::Portion;
use crate::io::buffer::Buffer;
use crate::io::stream::Writer;
use std::io;
use tokenist_core::http::body::{CHUNK_END, LAST_CHUNK, chunk_start};

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
        let (before, behind) = self.around(content.len(), is_last);
        if before.len() <= content.start && content.end + behind.len() <= free_to {
            let range = content.start - before.len()..content.end + behind.len();
            buffer.bytes_mut()[range.start..content.start].copy_from_slice(&before);
            buffer.bytes_mut()[content.end..range.end].copy_from_slice(&behind);
            return writer.write(buffer, range).await;
        }
        if content.len() <= COPIED_MAX {
            let wire = [&before, &buffer.bytes()[content], &behind].concat();
            let sent = if wire.is_empty() { Ok(()) } else { writer.write_bytes(wire).await };
            return (sent, buffer);
        }
        if let Err(error) = writer.write_ahead(before).await {
            return (Err(error), buffer);
        }
        match writer.write(buffer, content).await {
            (Ok(()), buffer) if !behind.is_empty() => (writer.write_bytes(behind).await, buffer),
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
        let (before, behind) = self.around(bytes.len(), is_last);
        match bytes.len() <= COPIED_MAX {
            true => {
                let mut wire = before;
                wire.extend_from_slice(bytes);
                wire.extend_from_slice(&behind);
                writer.write_bytes(wire).await
            }
            false => {
                writer.write_ahead(before).await?;
                writer.write_bytes([bytes, &behind].concat()).await
            }
        }
    }

    /// What stands before so much content, and behind it.
    fn around(&mut self, content_bytes: usize, is_last: bool) -> (Vec<u8>, Vec<u8>) {
        let (mut before, mut behind) = (std::mem::take(&mut self.head), Vec::new());
        if self.is_chunked {
            if content_bytes > 0 {
                before.extend(chunk_start(content_bytes).as_bytes());
                behind.extend(CHUNK_END);
            }
            if is_last {
                behind.extend(LAST_CHUNK);
            }
        }
        (before, behind)
    }
}
