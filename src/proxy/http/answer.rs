//! A provider's answer on its way down: as it comes, in the framing that the client understands.

use super::outlet::Outlet;
use super::source::{Lost, Portion, Source};
use super::{Exchange, Failed, may_keep, words};
use crate::io::stream::Writer;
use crate::upgrade::is_legible;
use tokenist_core::close_reason::CloseReason;
use tokenist_core::http::blot::BodyBlot;
use tokenist_core::http::body::{Body, Framing};
use tokenist_core::http::{ResponseHead, Version};
use tokenist_core::metric::Metric;

/// How far an answer has come.
pub(super) enum Answered {
    /// All of it has passed, and the client knows where it ended.
    Whole,
    /// All of it has passed, and the client takes the end of the connection for its end.
    Closed,
    /// It broke off in its middle.
    Cut,
    /// Nothing of it has passed.
    Nothing(Failed),
}

impl Exchange<'_> {
    /// Passes on the answer under this head.
    pub(super) async fn pass(
        &self,
        head: &ResponseHead,
        source: &mut Source,
        writer: &mut Writer,
    ) -> Answered {
        let framing = match self.checked(head) {
            Ok(framing) => framing,
            Err(reason) => return Answered::Nothing(self.failed_by(reason)),
        };
        source.body = Body::new(framing);
        let is_new_http = self.head.version == Version::Http11;
        let is_open = matches!(framing, Framing::Chunked | Framing::UntilClose);
        self.keeps.set(may_keep(self.shard, self.head) && self.is_sent.get());
        let is_chunked = is_open && is_new_http;
        let blot = self.shard.blot(self.live);
        let head_down = words::answer(head, blot, is_chunked, self.keeps.get());
        let mut outlet = Outlet::new(head_down, is_chunked);
        let is_refusal = !(200..300).contains(&head.status) && !blot.is_empty();
        let mut clean = is_refusal.then(|| BodyBlot::new(blot, Framing::UntilClose));
        if !source.has_unread()
            && !source.body.is_done()
            && outlet.send_bytes(writer, b"", false).await.is_err()
        {
            return self.client_is_gone();
        }
        loop {
            self.note_progress();
            let portion = match source.next(&self.shard.pool, &self.live.down, || self.must_end()).await {
                Ok(portion) => portion,
                Err(lost) => return self.broken_off(lost, outlet.is_fresh()),
            };
            let is_last = portion.is_last;
            let (content_bytes, writing) = (portion.content.len(), self.live.down.writing());
            let (sent, buffer) = send(&mut outlet, writer, portion, clean.as_mut()).await;
            drop(writing);
            source.give_back(buffer);
            self.shard.counters.add(Metric::BytesDownstream, content_bytes as u64);
            if sent.is_err() {
                return self.client_is_gone();
            }
            if is_last {
                return if is_open && !is_chunked { Answered::Closed } else { Answered::Whole };
            }
        }
    }

    /// How the answer's body is framed.
    ///
    /// # Errors
    /// The answer is none that may be passed on: it cannot be read, leads the client past us, or could tell the operator's key.
    fn checked(&self, head: &ResponseHead) -> Result<Framing, CloseReason> {
        let status = head.status;
        let failed = |why: String| CloseReason::UpstreamFailed(why.into());
        if (300..400).contains(&status) && status != 304 {
            tracing::warn!(request = %self.live.id(), status, "the provider redirects; see provider.base_url");
            return Err(failed(format!(
                "it answered with a redirect ({status}), which is not followed: see provider.base_url"
            )));
        }
        if status >= 400 && !self.shard.blot(self.live).is_empty() && !is_legible(head) {
            return Err(failed(format!(
                "it refused with status {status} and a compressed body, which is withheld"
            )));
        }
        Framing::of_answer(head, &self.head.method)
            .map_err(|bad| failed(format!("its answer cannot be read: {}", bad.0)))
    }

    fn client_is_gone(&self) -> Answered {
        self.live.forsake();
        Answered::Cut
    }

    /// No more of the answer comes.
    fn broken_off(&self, lost: Lost, nothing_was_sent: bool) -> Answered {
        let failed = self.failed(lost);
        if nothing_was_sent {
            return Answered::Nothing(failed);
        }
        if let Failed::Upstream(reason) = &failed {
            tracing::warn!(request = %self.live.id(), reason = reason.message(), "an answer broke off");
        }
        Answered::Cut
    }
}

/// Sends a portion, without the operator's key where that might be in it.
async fn send(
    outlet: &mut Outlet,
    writer: &mut Writer,
    portion: Portion,
    clean: Option<&mut BodyBlot<'_>>,
) -> (std::io::Result<()>, crate::io::buffer::Buffer) {
    let Some(clean) = clean else { return outlet.send(writer, portion).await };
    let Portion { buffer, content, is_last, .. } = portion;
    let mut passed = clean.take(&buffer.bytes()[content]);
    if is_last {
        passed.extend(clean.rest());
    }
    let sent = match passed.is_empty() && !is_last {
        true => Ok(()),
        false => outlet.send_bytes(writer, &passed, is_last).await,
    };
    (sent, buffer)
}
