//! A provider's answer on its way down: as it comes, in the framing that the client understands.

use super::metered::{Look, Metered, Metering};
use super::outlet::Outlet;
use super::source::{Lost, Portion, Source};
use super::upload::Says;
use super::words::{self, Length};
use super::{Exchange, Failed, may_keep};
use crate::cors;
use crate::holders::Holders;
use crate::io::buffer::Buffer;
use crate::io::stream::Writer;
use tokenist_core::close_reason::CloseReason;
use tokenist_core::http::blot::BodyBlot;
use tokenist_core::http::body::{Body, Framing};
use tokenist_core::http::coding::Coding;
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

/// An answer on its way.
struct Passing<'a> {
    outlet: Outlet,
    writer: &'a mut Writer,
    metered: Option<Metered<'a>>,
    clean: Option<BodyBlot<'a>>,
    /// Words of ours can go behind what has passed.
    is_open: bool,
}

impl Exchange<'_> {
    /// Passes on the answer under this head.
    pub(super) async fn pass(
        &self,
        head: &ResponseHead,
        source: &mut Source,
        writer: &mut Writer,
    ) -> Answered {
        let (framing, coding) = match self.checked(head) {
            Ok(checked) => checked,
            Err(reason) => return Answered::Nothing(self.failed_by(reason)),
        };
        if let Some(making) = self.making.take().filter(|_| (200..300).contains(&head.status)) {
            return self.begin_call(head, framing, source, writer, making).await;
        }
        source.body = Body::new(framing);
        let blot = self.shard.blot(self.live);
        let is_refusal = !(200..300).contains(&head.status) && !blot.is_empty();
        self.keeps.set(may_keep(self.shard, self.head) && self.is_sent.get());
        let metering = self.metering.take().map(|mut metering| {
            if let Says::Form(form) = &*self.says.borrow() {
                metering.reading.asked = form.asked().clone();
            }
            metering
        });
        // What is to be changed, or may end between two events, goes on without its coding.
        let must_be_plain =
            |metering: &Metering<'_>| metering.reading.must_be_plain() || is_event_stream(head);
        let is_undone = is_refusal || metering.as_ref().is_some_and(must_be_plain);
        let undone = coding.filter(|_| is_undone && !framing.is_empty());
        source.undo(undone);
        let metered =
            metering.map(|metering| Metered::new(metering, head, coding.filter(|_| undone.is_none())));
        let hides = metered.as_ref().is_some_and(Metered::hides);
        let is_open = hides || undone.is_some() || matches!(framing, Framing::Chunked | Framing::UntilClose);
        let length = match self.head.version {
            _ if !is_open => Length::Stated,
            Version::Http11 => Length::Chunked,
            Version::Http10 => Length::Unknown,
        };
        let left = self.live.holders.get().map(Holders::remaining).unwrap_or_default();
        let head_down = words::answer(head, blot, length, self.keeps.get(), left, undone.is_some(), None);
        let head_down = cors::tell(self.live, head_down);
        let clean = is_refusal.then(|| BodyBlot::new(blot, Framing::UntilClose));
        let outlet = Outlet::new(head_down, length == Length::Chunked);
        let mut passing = Passing { outlet, writer, metered, clean, is_open };
        let answered = self.pass_body(source, &mut passing).await;
        if let Some(metered) = &mut passing.metered {
            metered.end(false);
        }
        match answered {
            Answered::Whole if length == Length::Unknown => Answered::Closed,
            answered => answered,
        }
    }

    async fn pass_body(&self, source: &mut Source, passing: &mut Passing<'_>) -> Answered {
        if !source.has_unread() && !source.body.is_done() && passing.say(b"", false).await.is_err() {
            return self.client_is_gone();
        }
        loop {
            self.note_progress();
            let portion = match source.next(&self.shard.pool, &self.live.down, || self.must_end()).await {
                Ok(portion) => portion,
                Err(lost) => return Box::pin(self.broken_off(lost, passing)).await,
            };
            self.shard.note_read();
            self.live.active_at.set(self.shard.now());
            let is_last = portion.is_last;
            let look = passing.look(&portion);
            if look.ends && look.forward == 0 && passing.outlet.is_fresh() {
                source.give_back(portion.buffer);
                return Answered::Nothing(self.failed(Lost::Called));
            }
            let writing = self.live.down.writing();
            let (sent, buffer) = passing.send(portion, look).await;
            drop(writing);
            source.give_back(buffer);
            self.shard.counters.add(Metric::BytesDownstream, look.forward as u64);
            match sent {
                Err(_) => return self.client_is_gone(),
                Ok(()) if look.ends => return Box::pin(self.end_here(passing)).await,
                Ok(()) if is_last => return Answered::Whole,
                Ok(()) => {}
            }
        }
    }

    /// How the answer's body is framed, and in which coding it comes.
    ///
    /// # Errors
    /// The answer is none that may be passed on: it cannot be read, leads the client past us, or could tell the operator's key.
    fn checked(&self, head: &ResponseHead) -> Result<(Framing, Option<Coding>), CloseReason> {
        let status = head.status;
        let failed = |why: String| CloseReason::UpstreamFailed(why.into());
        if (300..400).contains(&status) && status != 304 {
            tracing::warn!(request = %self.live.id(), status, "the provider redirects; see provider.base_url");
            return Err(failed(format!(
                "it answered with a redirect ({status}), which is not followed: see provider.base_url"
            )));
        }
        let coding = Coding::of(&head.headers);
        if status >= 400 && !self.shard.blot(self.live).is_empty() && coding.is_err() {
            return Err(failed(format!(
                "it refused with status {status} and a body in an unknown coding, which is withheld"
            )));
        }
        if self.codings.is_some() && status < 300 && coding.is_err() {
            self.charge_unread();
            let why = "its answer is in a coding that was not asked for, and so cannot be metered";
            return Err(failed(why.to_owned()));
        }
        let framing = Framing::of_answer(head, &self.head.method);
        let framing = framing.map_err(|bad| failed(format!("its answer cannot be read: {}", bad.0)))?;
        Ok((framing, coding.unwrap_or_default()))
    }

    pub(super) fn client_is_gone(&self) -> Answered {
        self.live.forsake();
        Answered::Cut
    }

    /// No more of the answer comes.
    async fn broken_off(&self, lost: Lost, passing: &mut Passing<'_>) -> Answered {
        let failed = self.failed(lost);
        if passing.outlet.is_fresh() {
            return Answered::Nothing(failed);
        }
        match failed {
            Failed::Ended(_) => self.end_here(passing).await,
            Failed::Upstream(reason) => {
                tracing::warn!(request = %self.live.id(), reason = reason.message(), "an answer broke off");
                self.end_with(passing, &reason).await
            }
            Failed::Gone
            | Failed::Malformed(_)
            | Failed::Unmeterable(_)
            | Failed::Refused(_)
            | Failed::Told(..) => Answered::Cut,
        }
    }

    /// Ends the answer where it is, for the reason that there is.
    async fn end_here(&self, passing: &mut Passing<'_>) -> Answered {
        match self.live.ending() {
            Some(reason) => self.end_with(passing, &reason).await,
            None => Answered::Cut,
        }
    }

    /// Tells the reason in the words of the stream, if it has some.
    async fn end_with(&self, passing: &mut Passing<'_>, reason: &CloseReason) -> Answered {
        self.live.close_code.set(Some(reason.close_code()));
        let words = passing.metered.as_ref().filter(|_| passing.is_open);
        let Some(words) = words.and_then(|metered| metered.ending(reason)) else { return Answered::Cut };
        match passing.say(words.as_bytes(), true).await {
            Ok(()) => Answered::Whole,
            Err(_) => self.client_is_gone(),
        }
    }
}

fn is_event_stream(head: &ResponseHead) -> bool {
    head.headers.are_of_type("text/event-stream")
}

impl Passing<'_> {
    fn look(&mut self, portion: &Portion) -> Look {
        let content = &portion.buffer.bytes()[portion.content.clone()];
        match &mut self.metered {
            Some(metered) => metered.look(content, portion.is_last),
            None => Look { forward: content.len(), ends: false },
        }
    }

    /// Sends what may go on of a portion, without the operator's key where that might be in it.
    async fn send(&mut self, mut portion: Portion, look: Look) -> (std::io::Result<()>, Buffer) {
        portion.content.end = portion.content.start + look.forward;
        portion.is_last &= !look.ends;
        let is_last = portion.is_last;
        let visible = self.metered.as_mut().and_then(|metered| metered.visible(is_last));
        let content = &portion.buffer.bytes()[portion.content.clone()];
        let replaced = match &mut self.clean {
            None => visible,
            Some(clean) => {
                let mut passed = clean.take(visible.as_deref().unwrap_or(content));
                if is_last {
                    passed.extend(clean.rest());
                }
                Some(passed)
            }
        };
        match replaced {
            None if portion.content.is_empty() && !is_last && !self.outlet.is_fresh() => {
                (Ok(()), portion.buffer)
            }
            None => self.outlet.send(self.writer, portion).await,
            Some(bytes) if bytes.is_empty() && !is_last => (Ok(()), portion.buffer),
            Some(bytes) => (self.say(&bytes, is_last).await, portion.buffer),
        }
    }

    async fn say(&mut self, bytes: &[u8], is_last: bool) -> std::io::Result<()> {
        self.outlet.send_bytes(self.writer, bytes, is_last).await
    }
}
