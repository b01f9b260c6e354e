//! What a call says and hears once it is open, by kind of scenario: the same messages as a session over a socket, but sound
//! goes beside them.

use super::live::Live;
use super::openai::OpenAi;
use super::{Speaker, TURN_WAIT, ping};
use crate::call::{Call, Heard};
use crate::dialect::Dialect;
use crate::run::Run;
use crate::scenario::Kind;
use crate::schedule::Schedule;
use crate::stamp::Stamp;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// A turn has so much of sound at least, in packets.
const TURN_PACKETS: u64 = 5;
/// What is still under way when the window is over comes within this.
const STRAGGLERS: Duration = Duration::from_millis(200);

/// Says and hears a call to its end.
pub(crate) async fn run(run: &Rc<Run>, index: usize, call: Rc<Call>) {
    let kind = run.scenario.kind;
    if kind != Kind::Idle {
        monoio::spawn(call.clone().speak(run.clone(), index));
    }
    if kind == Kind::Ping {
        let (run, call) = (run.clone(), call.clone());
        monoio::spawn(async move { ping(&run, index, async |event| send(&run, &call, event).await).await });
    }
    let heard = match kind {
        Kind::Turns => turns(run, index, &call).await,
        _ => hear(run, &call).await,
    };
    call.peer.close();
    let mut tally = run.tally.borrow_mut();
    if let Err(error) = heard {
        tally.error(&error.to_string());
    }
    call.count(run.scenario.is_echoed(), &mut tally.media);
}

/// Hears what comes until a moment after the run is over.
async fn hear(run: &Rc<Run>, call: &Call) -> io::Result<()> {
    let over = async {
        run.over().await;
        monoio::time::sleep(STRAGGLERS).await;
    };
    monoio::select! {
        () = over => Ok(()),
        ended = hear_on(run, call) => ended,
    }
}

/// Hears what comes until the call is over, which is an error.
async fn hear_on(run: &Run, call: &Call) -> io::Result<()> {
    loop {
        let heard = call.next().await.ok_or_else(ended_early)?;
        take(run, call, &heard);
    }
}

fn ended_early() -> io::Error {
    io::Error::other("session ended early")
}

/// Counts what comes while it is measured. Of sound it is also what comes a moment later.
fn take(run: &Run, call: &Call, heard: &Heard) {
    match heard {
        Heard::Sound(packet) if run.measuring() || !run.goes_on() => {
            call.hear(packet, &mut run.tally.borrow_mut().media);
        }
        Heard::Message(message) if run.measuring() => {
            let mut tally = run.tally.borrow_mut();
            tally.messages_received += 1;
            tally.bytes_received += message.len() as u64;
            if let Some(due) = run.target.handshake.dialect.load().read(message) {
                tally.latency.record(Stamp::now().since(due));
            }
        }
        _ => {}
    }
}

/// Sends and counts a message; false when the call takes nothing any more.
async fn send(run: &Run, call: &Call, payload: &[u8]) -> bool {
    let is_sent = call.send(payload).await;
    if is_sent {
        let mut tally = run.tally.borrow_mut();
        tally.messages_sent += 1;
        tally.bytes_sent += payload.len() as u64;
    }
    is_sent
}

/// Whole turns, one after the other, each once enough has been said for it.
async fn turns(run: &Rc<Run>, index: usize, call: &Call) -> io::Result<()> {
    let (dialect, user) = (run.target.handshake.dialect, run.user(index));
    let mut speaker: Box<dyn Speaker> = match dialect {
        Dialect::GptLive => Box::new(Live::new(user, run.target.handshake.model.clone())),
        _ => Box::new(OpenAi::new(user, &call.greeting)),
    };
    let schedule = Schedule::shared(run.scenario.rate, run.scenario.sessions, index);
    if let Some(prelude) = speaker.prelude() {
        send(run, call, prelude.as_bytes()).await;
    }
    for act in 0.. {
        if !run.goes_on() || (run.scenario.turns > 0 && act >= run.scenario.turns) {
            return Ok(());
        }
        let due = match schedule {
            Some(schedule) => run.due(schedule, act).await,
            None => Some(Instant::now()),
        };
        let Some(due) = due else { return Ok(()) };
        let before = call.packets_sent();
        hear_while(run, &mut *speaker, call, call.spoken(run, before + TURN_PACKETS)).await?;
        if call.packets_sent() < before + TURN_PACKETS {
            return Ok(());
        }
        let asked = Instant::now();
        // The first message of a turn brings the sound that a call has brought already.
        for message in speaker.turn("").into_iter().skip(1) {
            send(run, call, message.as_bytes()).await;
        }
        let due = if schedule.is_some() { due } else { asked };
        let over = hear_until_turn_is_over(run, &mut *speaker, call);
        let over = monoio::time::timeout(TURN_WAIT, over).await;
        over.map_err(|_| io::Error::other("turn: timed out"))??;
        let mut tally = run.tally.borrow_mut();
        tally.turns += 1;
        tally.latency.record(due.elapsed());
    }
    Ok(())
}

async fn hear_until_turn_is_over(run: &Run, speaker: &mut dyn Speaker, call: &Call) -> io::Result<()> {
    while !speaker.turn_is_over() {
        hear_next(run, speaker, call).await?;
    }
    Ok(())
}

/// Hears what comes until `done` is.
async fn hear_while(
    run: &Run,
    speaker: &mut dyn Speaker,
    call: &Call,
    done: impl Future<Output = ()>,
) -> io::Result<()> {
    let all = async {
        loop {
            if let Err(error) = hear_next(run, speaker, call).await {
                return error;
            }
        }
    };
    monoio::select! {
        () = done => Ok(()),
        error = all => Err(error),
    }
}

async fn hear_next(run: &Run, speaker: &mut dyn Speaker, call: &Call) -> io::Result<()> {
    match call.next().await.ok_or_else(ended_early)? {
        Heard::Sound(packet) => call.hear(&packet, &mut run.tally.borrow_mut().media),
        Heard::Message(message) => {
            let mut tally = run.tally.borrow_mut();
            tally.messages_received += 1;
            tally.bytes_received += message.len() as u64;
            let heard = speaker.hear(&message, &mut tally);
            heard.map_err(|error| io::Error::other(format!("relay: {error}")))?;
        }
    }
    Ok(())
}
