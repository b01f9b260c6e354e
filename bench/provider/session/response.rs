//! The course of a response of any dialect, at the pace and with the faults it was asked for.

use super::{Dialect, QUEUED_BYTES, Session};
use crate::provider::conversation::Asked;
use crate::provider::formula::audio_ms;
use crate::provider::sim::{Pace, Point, Sim};
use base64::Engine;
use std::cell::Cell;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::time::Duration;
use tokenist_core::usage::Usage;

/// What a chunk says.
pub(in crate::provider) const WORDS: &str = "hello there ";

#[derive(Debug)]
pub(in crate::provider) struct Response<D: Dialect> {
    pub(in crate::provider) sim: Sim,
    pub(in crate::provider) asked: Asked,
    /// Speech or text.
    pub(in crate::provider) audio: bool,
    pub(in crate::provider) format: String,
    /// Base64 of one chunk of audio.
    pub(in crate::provider) chunk: String,
    pub(in crate::provider) reply: D::Reply,
    chunks_said: Cell<u64>,
    cancelled: Cell<bool>,
}

impl<D: Dialect> Response<D> {
    pub(in crate::provider) fn new(
        sim: Sim,
        asked: Asked,
        audio: bool,
        format: String,
        reply: D::Reply,
    ) -> Response<D> {
        let silence = if audio { vec![0_u8; sim.chunk_bytes] } else { Vec::new() };
        Response {
            asked,
            audio,
            format,
            chunk: base64::engine::general_purpose::STANDARD.encode(silence),
            reply,
            chunks_said: Cell::new(0),
            cancelled: Cell::new(false),
            sim,
        }
    }

    pub(in crate::provider) fn cancel(&self) {
        self.cancelled.set(!self.sim.deaf);
    }

    pub(in crate::provider) fn cancelled(&self) -> bool {
        self.cancelled.get()
    }

    /// All that it has said.
    pub(in crate::provider) fn transcript(&self) -> String {
        WORDS.repeat(self.chunks_said.get() as usize)
    }

    /// What it uses, having said so much.
    pub(in crate::provider) fn usage(&self, session: &Session<D>) -> Usage {
        let chunks = self.chunks_said.get();
        let audio_bytes = if self.audio { chunks * self.sim.chunk_bytes as u64 } else { 0 };
        let usage = self.asked.usage(chunks, audio_ms(&self.format, audio_bytes));
        D::tellable(session, self.sim.fix(usage))
    }

    /// One more chunk is being said.
    pub(in crate::provider) fn count_chunk(&self) {
        self.chunks_said.set(self.chunks_said.get() + 1);
    }
}

pub(in crate::provider) async fn run<D: Dialect>(session: Rc<Session<D>>, response: Rc<Response<D>>) {
    match say(&session, &response).await {
        // Whether or not the session goes on after this, the response itself was told.
        ControlFlow::Continue(()) => drop(session.fail(&response.sim, Point::Done, Some(&response)).await),
        // Died before its end: what it would have told is known, and was not told.
        ControlFlow::Break(()) => {
            if let Some(booking) = D::booking(&session, &response) {
                session.count(&booking, booking.lost);
            }
        }
    }
    over(&session, &response);
    D::left(&session);
}

/// It is under way no more.
pub(in crate::provider) fn over<D: Dialect>(session: &Session<D>, response: &Response<D>) {
    session.active.borrow_mut().retain(|active| !std::ptr::eq(&**active, response));
}

/// Everything up to and including its end; a break says that it was not reached.
async fn say<D: Dialect>(session: &Session<D>, response: &Response<D>) -> ControlFlow<()> {
    let sim = &response.sim;
    D::begin(session, response);
    session.fail(sim, Point::Created, Some(response)).await?;
    D::before_chunks(session, response);
    let middle = sim.chunks / 2;
    for index in 0..sim.chunks {
        if index == middle {
            session.fail(sim, Point::Middle, Some(response)).await?;
        }
        if response.cancelled() || !session.line.room(QUEUED_BYTES).await {
            break;
        }
        chunk(session, response).await;
    }
    if sim.chunks == 0 {
        session.fail(sim, Point::Middle, Some(response)).await?;
    }
    D::after_chunks(session, response);
    session.fail(sim, Point::End, Some(response)).await?;
    if !session.line.is_open() {
        return ControlFlow::Break(());
    }
    D::finish(session, response);
    ControlFlow::Continue(())
}

/// One chunk of speech or text, and the time it takes.
pub(in crate::provider) async fn chunk<D: Dialect>(session: &Session<D>, response: &Response<D>) {
    response.count_chunk();
    D::chunk(session, response);
    let pause_ms = match response.sim.pace {
        Pace::Speech => audio_ms(&response.format, response.sim.chunk_bytes as u64),
        Pace::Millis(ms) => ms,
    };
    if pause_ms > 0 {
        monoio::time::sleep(Duration::from_millis(pause_ms)).await;
    }
}
