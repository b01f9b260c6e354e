//! The writing half: a write becomes records, all of which leave in one send.

use super::record::{OVERHEAD_MAX, PLAIN_MAX, Sealer, WornOut};
use super::{Shared, invalid};
use crate::io::buffer::{BUFFER_BYTES, Pool};
use crate::io::tcp::{self, WriteHalf};
use rustls::{AlertDescription, ContentType};
use std::io;
use std::rc::Rc;

/// Plaintext of one send: its records, and a key update before each of them, fit a buffer.
const SEND_MAX: usize = BUFFER_BYTES - (BUFFER_BYTES / PLAIN_MAX) * (2 * OVERHEAD_MAX + KEY_UPDATE.len());
/// New keys of ours, without a wish for new ones of the peer's.
const KEY_UPDATE: [u8; 5] = [24, 0, 0, 1, 0];

pub(crate) struct TlsWriter {
    raw: WriteHalf,
    pool: Pool,
    outgoing: Outgoing,
}

/// What seals. Pure.
pub(super) struct Outgoing {
    sealer: Sealer,
    shared: Rc<Shared>,
}

impl TlsWriter {
    pub(super) fn new(raw: WriteHalf, sealer: Sealer, shared: Rc<Shared>, pool: Pool) -> TlsWriter {
        TlsWriter { raw, pool, outgoing: Outgoing::new(sealer, shared) }
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        for plain in bytes.chunks(SEND_MAX) {
            let mut buffer = self.pool.take()?;
            let filled = self.outgoing.seal(plain, buffer.bytes_mut())?;
            tcp::write_filled(&mut self.raw, buffer, 0..filled).await.0?;
        }
        Ok(())
    }

    /// Tells the peer that nothing more will come, or what it did wrong.
    pub(crate) async fn finish(&mut self) -> io::Result<()> {
        let told = self.send_end().await;
        self.raw.shutdown()?;
        told
    }

    async fn send_end(&mut self) -> io::Result<()> {
        let mut buffer = self.pool.take()?;
        let filled = self.outgoing.seal_end(buffer.bytes_mut())?;
        tcp::write_filled(&mut self.raw, buffer, 0..filled).await.0
    }
}

impl Outgoing {
    pub(super) fn new(sealer: Sealer, shared: Rc<Shared>) -> Outgoing {
        Outgoing { sealer, shared }
    }

    #[cfg(test)]
    pub(super) fn wear(&mut self, records: u64) {
        self.sealer.wear(records);
    }

    /// Writes `plain`, of at most [`SEND_MAX`] bytes, as records to the front of `out`; gives their length.
    pub(super) fn seal(&mut self, plain: &[u8], out: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        for part in plain.chunks(PLAIN_MAX) {
            filled += self.renew_keys(&mut out[filled..])?;
            filled +=
                self.sealer.seal(ContentType::ApplicationData, part, &mut out[filled..]).map_err(worn_out)?;
        }
        Ok(filled)
    }

    /// The alert that ends what is sent.
    pub(super) fn seal_end(&mut self, out: &mut [u8]) -> io::Result<usize> {
        const WARNING: u8 = 1;
        const FATAL: u8 = 2;
        let alert = self.shared.alert.get().unwrap_or(AlertDescription::CloseNotify);
        let level = if alert == AlertDescription::CloseNotify { WARNING } else { FATAL };
        self.sealer.seal(ContentType::Alert, &[level, alert.into()], out).map_err(worn_out)
    }

    /// Has the peer told of new keys, where it asked for them or the old ones have sealed what they may.
    fn renew_keys(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let is_due = self.shared.asked_for_keys.take() || self.sealer.is_worn();
        if !is_due || !self.sealer.is_tls13() {
            return Ok(0);
        }
        let filled = self.sealer.seal(ContentType::Handshake, &KEY_UPDATE, out).map_err(worn_out)?;
        let secrets = self.shared.schedule.borrow_mut().next_to_send().map_err(invalid)?;
        self.sealer.renew(secrets);
        Ok(filled)
    }
}

fn worn_out(_: WornOut) -> io::Error {
    io::Error::other("its TLS keys have sealed as many records as they may")
}
