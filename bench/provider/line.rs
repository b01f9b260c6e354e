//! What a session speaks through: a socket of its own, or a call.

use super::frame;
use super::sim::Sim;
use super::wire::Wire;
use crate::link::{Bytes, HangUp, Outbox, Receipt};
use crate::ws::{CLOSE, End, FIN, close_payload};
use std::rc::Rc;

#[derive(Clone, Debug)]
pub(super) enum Line {
    Socket(Rc<Outbox>),
    Call(Rc<Wire>),
}

impl Line {
    /// Sends a message in the shape that `sim` asks for.
    pub(super) fn say(&self, sim: &Sim, opcode: u8, payload: &[u8], receipt: Option<Receipt>) {
        match self {
            Line::Socket(outbox) => {
                let frames = frame::up(sim, opcode, payload);
                outbox.put_with(Bytes::Owned(frames), sim.split_bytes, receipt);
            }
            Line::Call(wire) => wire.say(sim.opcode.unwrap_or(opcode), payload, receipt),
        }
    }

    /// Sends bytes as they are. On a call, where there are no frames, nobody can ask for that.
    pub(super) fn raw(&self, bytes: Vec<u8>) {
        if let Line::Socket(outbox) = self {
            outbox.put(Bytes::Owned(bytes));
        }
    }

    /// Sends a control frame; a call has none.
    pub(super) fn control(&self, opcode: u8, payload: &[u8]) {
        if let Line::Socket(outbox) = self {
            let mut frame = Vec::new();
            End::Server.frame(FIN | opcode, payload, &mut frame);
            outbox.put(Bytes::Owned(frame));
        }
    }

    /// Says that this is the end.
    pub(super) fn close(&self, code: u16, reason: &str) {
        match self {
            Line::Socket(_) => self.control(CLOSE, &close_payload(code, reason)),
            Line::Call(wire) => wire.end(code, reason),
        }
    }

    pub(super) fn hang_up(&self, how: HangUp) {
        match self {
            Line::Socket(outbox) => outbox.hang_up(how),
            Line::Call(wire) => wire.die(),
        }
    }

    pub(super) fn is_open(&self) -> bool {
        match self {
            Line::Socket(outbox) => outbox.is_open(),
            Line::Call(wire) => wire.is_open(),
        }
    }

    /// Waits until less than `bytes` wait to be sent; false if nothing is taken any more.
    pub(super) async fn room(&self, bytes: usize) -> bool {
        match self {
            Line::Socket(outbox) => outbox.room(bytes).await,
            Line::Call(wire) => wire.room(bytes).await,
        }
    }
}
