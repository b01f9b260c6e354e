//! A request's body on its way up: held where it is small, or else passed as it comes.

use super::outlet::Outlet;
use super::source::{Lost, Portion};
use super::{Client, Exchange, Failed};
use crate::io::stream::Writer;
use tokenist_core::http::body::Framing;

/// A body up to this size is held, so that it can be sent again on another connection.
const HELD_MAX: u64 = 64 * 1024;
/// A client that says nothing for so long in the middle of its body is not waited for.
pub(super) const SILENT_MS: u64 = 60_000;

/// What was read of a body before anybody was asked.
pub(crate) struct Held {
    pub(super) content: Vec<u8>,
    /// All of it.
    pub(super) is_whole: bool,
    /// As the client frames the body.
    pub(super) framing: Framing,
}

impl Held {
    /// How the body is framed on its way up.
    pub(super) fn framing_up(&self) -> Framing {
        if self.is_whole { Framing::Length(self.content.len() as u64) } else { self.framing }
    }
}

impl Exchange<'_> {
    /// Reads the body as long as it is here or soon will be.
    pub(super) async fn hold(&self, client: &mut Client, framing: Framing) -> Result<Held, Failed> {
        self.welcome(client).await?;
        let mut held = Held { content: Vec::new(), is_whole: framing.is_empty(), framing };
        let is_small = matches!(framing, Framing::Length(bytes) if bytes <= HELD_MAX);
        while !held.is_whole && (is_small || client.source.has_unread()) {
            let portion = self.next_of(client).await?;
            let Portion { buffer, content, is_last, .. } = portion;
            held.content.extend_from_slice(&buffer.bytes()[content]);
            client.source.give_back(buffer);
            held.is_whole = is_last;
        }
        self.is_sent.set(held.is_whole);
        Ok(held)
    }

    /// Tells a client that waits for it to send its body.
    async fn welcome(&self, client: &mut Client) -> Result<(), Failed> {
        let is_awaited = self.head.expects_continue() && !client.source.has_unread();
        if is_awaited && !client.source.body.is_done() {
            let said = client.writer.write_bytes(b"HTTP/1.1 100 Continue\r\n\r\n".to_vec()).await;
            said.map_err(|_| Failed::Gone)?;
        }
        Ok(())
    }

    async fn next_of(&self, client: &mut Client) -> Result<Portion, Failed> {
        self.wait_for_client();
        let next = client.source.next(&self.shard.pool, &self.live.up, || self.must_end()).await;
        next.map_err(|lost| match lost {
            Lost::Malformed(bad) => Failed::Malformed(bad.0),
            Lost::Called => self.live.ending().map_or(Failed::Gone, Failed::Ended),
            Lost::Ended | Lost::Io(_) => Failed::Gone,
        })
    }

    fn wait_for_client(&self) {
        self.live.deadline.set(self.shard.now().plus_ms(SILENT_MS));
    }

    /// Sends the rest of a body as it comes, until all has gone or nobody wants more. A client that leaves ends the exchange.
    pub(super) async fn upload(&self, client: &mut super::Source, writer: &mut Writer, mut outlet: Outlet) {
        while !self.is_over.get() {
            let is_over = || self.is_over.get() || self.must_end();
            let portion = match client.next(&self.shard.pool, &self.live.up, is_over).await {
                Ok(portion) => portion,
                Err(Lost::Malformed(bad)) => {
                    self.fault.set(Some(bad.0));
                    return self.live.down.call();
                }
                Err(Lost::Called) => return,
                Err(Lost::Ended | Lost::Io(_)) if self.is_over.get() => return,
                Err(Lost::Ended | Lost::Io(_)) => return self.live.forsake(),
            };
            self.note_progress();
            let is_last = portion.is_last;
            let writing = self.live.up.writing();
            let (sent, buffer) = outlet.send(writer, portion).await;
            drop(writing);
            client.give_back(buffer);
            // A provider that takes no more may have answered already.
            if sent.is_err() {
                return;
            }
            if is_last {
                return self.is_sent.set(true);
            }
        }
    }
}
