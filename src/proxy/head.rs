//! Reads one HTTP head into a session's buffer.

use crate::error::{Cause, Phase, SessionError, Side};
use crate::io::buffer::Buffer;
use crate::io::stream::Reader;
use monoio::io::CancelHandle;
use tokenist_core::http::{HeadError, head_end};

/// Why there is no head.
pub(crate) enum NoHead {
    Session(SessionError),
    /// What came is no head; the peer can be told.
    Refused(HeadError),
}

/// Reads until a head is whole, behind what fills the buffer already; gives the buffer, how much of it is filled, and where the head ends in it.
pub(crate) async fn read_head(
    reader: &mut Reader,
    mut buffer: Buffer,
    mut filled: usize,
    cancel: CancelHandle,
    side: Side,
    phase: Phase,
) -> Result<(Buffer, usize, usize), (NoHead, Buffer)> {
    loop {
        match head_end(&buffer.bytes()[..filled]) {
            Ok(Some(end)) => return Ok((buffer, filled, end)),
            Ok(None) => {}
            Err(error) => return Err((NoHead::Refused(error), buffer)),
        }
        let result;
        (result, buffer) = reader.read(buffer, filled, cancel.clone()).await;
        let failed = |cause: Cause| NoHead::Session(SessionError::new(side, phase, cause));
        match result {
            Ok(0) => {
                return Err((
                    failed(Cause::Malformed("the connection ended before a whole head came")),
                    buffer,
                ));
            }
            Ok(count) => filled += count,
            Err(error) => return Err((failed(error.into()), buffer)),
        }
    }
}
