//! Sessions that are only load: prebuilt events as fast as the socket takes them, paced like speech, or echoed.

use super::Dialect;
use crate::link::{Bytes, Outbox};
use crate::provider::Shard;
use crate::provider::sim::Load;
use crate::stamp::Stamp;
use crate::ws::{CLOSE, End, FIN, Inbound, PING, PONG};
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How much may wait for the socket.
const QUEUED_BYTES: usize = 128 << 10;

/// Runs until the peer closes.
pub(super) async fn run<D: Dialect>(
    shard: &Rc<Shard>,
    load: Load,
    inbound: &mut Inbound,
    outbox: &Rc<Outbox>,
) -> io::Result<u16> {
    match load {
        Load::Echo => echo(inbound, outbox).await,
        Load::Blast { event_bytes, send_bytes } => {
            monoio::spawn(blast::<D>(outbox.clone(), event_bytes, send_bytes));
            discard(inbound, outbox).await
        }
        Load::Speech { event_bytes, period_ms } => {
            monoio::spawn(speak::<D>(
                shard.clone(),
                outbox.clone(),
                event_bytes,
                Duration::from_millis(period_ms),
            ));
            discard(inbound, outbox).await
        }
        Load::Words { .. } => unreachable!("it is refused at the handshake"),
    }
}

async fn echo(inbound: &mut Inbound, outbox: &Outbox) -> io::Result<u16> {
    while let Some(message) = inbound.message().await? {
        let opcode = match message.opcode {
            PING => PONG,
            PONG => continue,
            opcode => opcode,
        };
        let mut frame = Vec::new();
        End::Server.frame(FIN | opcode, message.payload, &mut frame);
        outbox.put(Bytes::Owned(frame));
        if opcode == CLOSE {
            return Ok(message.close_reason().0);
        }
        outbox.room(QUEUED_BYTES).await;
    }
    Ok(1006)
}

/// Reads and forgets, but answers pings and closes.
async fn discard(inbound: &mut Inbound, outbox: &Outbox) -> io::Result<u16> {
    loop {
        if !inbound.skim().control {
            if !inbound.fill().await? {
                return Ok(1006);
            }
            continue;
        }
        let Some(message) = inbound.message().await? else { return Ok(1006) };
        let mut frame = Vec::new();
        match message.opcode {
            PING => End::Server.frame(FIN | PONG, message.payload, &mut frame),
            CLOSE => End::Server.frame(FIN | CLOSE, message.payload, &mut frame),
            _ => continue,
        }
        outbox.put(Bytes::Owned(frame));
        if message.opcode == CLOSE {
            return Ok(message.close_reason().0);
        }
    }
}

async fn blast<D: Dialect>(outbox: Rc<Outbox>, event_bytes: usize, send_bytes: usize) {
    let mut frames = Vec::new();
    let event = D::LOAD.event(event_bytes);
    while frames.is_empty() || frames.len() + event.len() < send_bytes {
        End::Server.frame(FIN | D::OPCODE, &event, &mut frames);
    }
    let frames = Rc::new(frames);
    while outbox.room(QUEUED_BYTES).await {
        outbox.put(Bytes::Shared(frames.clone()));
    }
}

/// Each session starts at its own millisecond of the period, so that a thousand of them are not one burst.
async fn speak<D: Dialect>(shard: Rc<Shard>, outbox: Rc<Outbox>, event_bytes: usize, period: Duration) {
    let event = D::LOAD.event(event_bytes);
    let phase = Duration::from_millis(shard.next_phase() % (period.as_millis() as u64).max(1));
    let mut due = shard.beat.on_beat(Instant::now() + phase);
    loop {
        shard.beat.until(due).await;
        if !outbox.room(QUEUED_BYTES).await {
            return;
        }
        let mut frame = Vec::new();
        End::Server.frame(FIN | D::OPCODE, &event, &mut frame);
        let payload = frame.len() - event.len();
        D::LOAD.write(Stamp::of(due), &mut frame[payload..]);
        outbox.put(Bytes::Owned(frame));
        due += period;
    }
}
