//! What a session of the load generator says and hears once it is open, by kind of scenario. Turns are said in a
//! dialect's words, each of which has a file here.

pub(crate) mod call;
mod gemini;
mod interactions;
mod live;
mod openai;
mod responses;
mod timed;
mod translation;

use crate::dialect::Dialect;
use crate::link::{Bytes, HangUp, Outbox};
use crate::opening::{Open, say_goodbye};
use crate::run::Run;
use crate::scenario::Kind;
use crate::schedule::Schedule;
use crate::stamp::Stamp;
use crate::tally::Tally;
use crate::ws::{BINARY, CLOSE, End, FIN, Inbound, Message, PING, PONG, TEXT};
use base64::Engine;
use gemini::Gemini;
pub(crate) use gemini::told as told_by_gemini;
use interactions::Interactions;
use live::Live;
use openai::OpenAi;
use responses::Responses;
pub(crate) use responses::told as told_by_responses;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};
use timed::Timed;
use translation::Translation;

/// What may wait for the socket before a sender pauses, and so is late.
const QUEUED_BYTES: usize = 1 << 20;
/// How long a turn may take.
const TURN_WAIT: Duration = Duration::from_secs(60);
const TURN_AUDIO_BYTES: usize = 9_600;
/// How long that is.
const TURN_AUDIO_MS: u64 = TURN_AUDIO_BYTES as u64 / 48;

/// Hears what comes until the end of the run; in ping and speech a second task speaks meanwhile.
pub(crate) async fn listen(run: &Rc<Run>, index: usize, open: Open) {
    let Open { mut inbound, outbox, .. } = open;
    match run.scenario.kind {
        Kind::Ping => {
            let (run, outbox) = (run.clone(), outbox.clone());
            monoio::spawn(async move {
                ping(&run, index, async |event| send(&run, &outbox, event).await).await;
            });
        }
        Kind::Speech => drop(monoio::spawn(speak(run.clone(), index, outbox.clone()))),
        Kind::Saturate | Kind::Idle | Kind::Churn | Kind::Turns | Kind::Ask | Kind::Stream => {}
    }
    let heard = match run.scenario.kind {
        Kind::Saturate => skim(run, &mut inbound, &outbox).await,
        _ => hear(run, &mut inbound, &outbox).await,
    };
    if run.goes_on() {
        run.tally.borrow_mut().error(&match heard {
            Ok(()) => "session ended early".to_owned(),
            Err(error) => format!("relay: {error}"),
        });
    }
    outbox.hang_up(HangUp::Fin);
}

/// Counts messages without looking at them: the generator must cost less than what it measures.
async fn skim(run: &Run, inbound: &mut Inbound, outbox: &Outbox) -> io::Result<()> {
    loop {
        let skimmed = inbound.skim();
        if run.measuring() {
            let mut tally = run.tally.borrow_mut();
            tally.messages_received += skimmed.messages;
            tally.bytes_received += skimmed.bytes;
        }
        if skimmed.control {
            if control(run, inbound, outbox).await? {
                return Ok(());
            }
        } else if !inbound.fill().await? {
            return Ok(());
        }
    }
}

/// Answers the control frame that is next; true if it was a close.
async fn control(run: &Run, inbound: &mut Inbound, outbox: &Outbox) -> io::Result<bool> {
    Ok(match inbound.message().await? {
        Some(message) => answer_control(run, &message, outbox) == Some(Control::Close),
        None => true,
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Control {
    Ping,
    Close,
}

/// Answers pings and closes; `None` for any other message.
fn answer_control(run: &Run, message: &Message<'_>, outbox: &Outbox) -> Option<Control> {
    let (control, opcode) = match message.opcode {
        PING => (Control::Ping, PONG),
        CLOSE => (Control::Close, CLOSE),
        _ => return None,
    };
    let mut frame = Vec::new();
    End::Client.frame(FIN | opcode, message.payload, &mut frame);
    outbox.put(Bytes::Owned(frame));
    // The close that answers our own at the end of a run is no news.
    let is_news = run.goes_on() || run.scenario.kind == Kind::Turns;
    if control == Control::Close && is_news {
        *run.tally.borrow_mut().close_codes.entry(message.close_reason().0).or_default() += 1;
    }
    Some(control)
}

async fn hear(run: &Run, inbound: &mut Inbound, outbox: &Outbox) -> io::Result<()> {
    while let Some(message) = inbound.message().await? {
        match answer_control(run, &message, outbox) {
            Some(Control::Ping) => {}
            Some(Control::Close) => return Ok(()),
            None if run.measuring() => {
                let mut tally = run.tally.borrow_mut();
                tally.messages_received += 1;
                tally.bytes_received += message.payload.len() as u64;
                if let Some(due) = run.target.handshake.dialect.load().read(message.payload) {
                    tally.latency.record(Stamp::now().since(due));
                }
            }
            None => {}
        }
    }
    Ok(())
}

/// Events that the provider echoes, each when it is due, for as long as they can be sent.
async fn ping(run: &Run, index: usize, send: impl AsyncFn(&[u8]) -> bool) {
    let Some(schedule) = Schedule::shared(run.scenario.rate, run.scenario.sessions, index) else { return };
    let form = run.target.handshake.dialect.load();
    let mut event = form.event(run.scenario.event_bytes);
    for act in 0.. {
        let Some(due) = run.due(schedule, act).await else { return };
        form.write(Stamp::of(due), &mut event);
        if !send(&event).await {
            return;
        }
    }
}

/// The microphone: one append event after the other.
async fn speak(run: Rc<Run>, index: usize, outbox: Rc<Outbox>) {
    if run.scenario.up_ms == 0 {
        return;
    }
    let schedule = Schedule::every(Duration::from_millis(run.scenario.up_ms), run.scenario.sessions, index);
    let dialect = run.target.handshake.dialect;
    let empty = dialect.append("").len();
    let text = dialect.append(&"A".repeat(run.scenario.up_bytes.saturating_sub(empty)));
    let (opcode, event) = match dialect.hears_binary() {
        true => (BINARY, vec![0; run.scenario.up_bytes]),
        false => (TEXT, text.into_bytes()),
    };
    for act in 0.. {
        if run.due(schedule, act).await.is_none() || !send_as(&run, &outbox, opcode, &event).await {
            return;
        }
    }
}

/// Sends and counts a message; false when the session takes nothing any more.
async fn send(run: &Run, outbox: &Outbox, payload: &[u8]) -> bool {
    send_as(run, outbox, TEXT, payload).await
}

async fn send_as(run: &Run, outbox: &Outbox, opcode: u8, payload: &[u8]) -> bool {
    if !outbox.room(QUEUED_BYTES).await {
        return false;
    }
    let mut frame = Vec::new();
    End::Client.frame(FIN | opcode, payload, &mut frame);
    outbox.put(Bytes::Owned(frame));
    let mut tally = run.tally.borrow_mut();
    tally.messages_sent += 1;
    tally.bytes_sent += payload.len() as u64;
    true
}

/// Whole turns, one after the other; a turn that has begun is finished even when the window is over.
pub(crate) async fn turns(run: &Rc<Run>, index: usize, mut line: Open) {
    let (dialect, user) = (run.target.handshake.dialect, run.user(index));
    let model = run.target.handshake.model.clone();
    let mut speaker: Box<dyn Speaker> = match dialect {
        Dialect::Gemini => Box::new(Gemini::new(user, model)),
        Dialect::GptLive => Box::new(Live::new(user, model)),
        Dialect::Responses => Box::new(Responses::new(user, model)),
        Dialect::Translation => Box::new(Translation::new(user, model, TURN_AUDIO_MS)),
        Dialect::Interactions => Box::new(Interactions::new(user, model)),
        Dialect::Deepgram
        | Dialect::Assemblyai
        | Dialect::Elevenlabs
        | Dialect::Cartesia
        | Dialect::Speechmatics
        | Dialect::Mistral => Box::new(Timed::new(dialect, user, model)),
        _ => Box::new(OpenAi::new(user, &line.greeting)),
    };
    let schedule = Schedule::shared(run.scenario.rate, run.scenario.sessions, index);
    if let Some(prelude) = speaker.prelude() {
        send(run, &line.outbox, prelude.as_bytes()).await;
    }
    let sound = vec![0; TURN_AUDIO_BYTES];
    let audio = dialect.append(&base64::engine::general_purpose::STANDARD.encode(&sound));
    for act in 0.. {
        if !run.goes_on() || (run.scenario.turns > 0 && act >= run.scenario.turns) {
            break;
        }
        let due = match schedule {
            Some(schedule) => run.due(schedule, act).await,
            None => Some(Instant::now()),
        };
        let Some(due) = due else { break };
        if run.scenario.resume > 0 && act > 0 && act % run.scenario.resume == 0 {
            let Some(resumed) = change_over(run, index, &mut *speaker, line).await else { return };
            line = resumed;
        }
        let Open { inbound, outbox, .. } = &mut line;
        if dialect.hears_binary() {
            send_as(run, outbox, BINARY, &sound).await;
        } else {
            for message in speaker.turn(&audio) {
                send(run, outbox, message.as_bytes()).await;
            }
        }
        match monoio::time::timeout(TURN_WAIT, turn(run, &mut *speaker, inbound, outbox)).await {
            Ok(Ok(true)) => {
                let mut tally = run.tally.borrow_mut();
                tally.turns += 1;
                tally.latency.record(due.elapsed());
            }
            Ok(Ok(false)) => return outbox.hang_up(HangUp::Fin),
            Ok(Err(error)) => {
                run.tally.borrow_mut().error(&format!("relay: {error}"));
                return outbox.hang_up(HangUp::Fin);
            }
            Err(_) => {
                run.tally.borrow_mut().error("turn: timed out");
                return outbox.hang_up(HangUp::Fin);
            }
        }
    }
    let Open { mut inbound, outbox, .. } = line;
    if let Some(farewell) = speaker.farewell() {
        send(run, &outbox, farewell.as_bytes()).await;
        hear_out(run, &mut *speaker, &mut inbound, &outbox).await;
    }
    say_goodbye(&outbox);
    if dialect == Dialect::Gemini {
        hear_out(run, &mut *speaker, &mut inbound, &outbox).await;
    }
    outbox.hang_up(HangUp::Fin);
}

/// What a dialect says in a turn, and what it makes of what it hears.
trait Speaker {
    /// Said once, when the session is open.
    fn prelude(&self) -> Option<String>;
    /// What is said in a turn, of which `audio` is the piece that the microphone hears.
    fn turn(&mut self, audio: &str) -> Vec<String>;
    /// What asks the provider to say what is left, and to end the session; `None`: a close does.
    fn farewell(&self) -> Option<&'static str> {
        None
    }
    /// Takes a message, and books what it tells.
    fn hear(&mut self, payload: &[u8], tally: &mut Tally) -> io::Result<()>;
    /// Whether all of the turn has been heard; said once a turn.
    fn turn_is_over(&mut self) -> bool;
    /// The handle of the session, where one was given since this was last asked.
    fn take_handle(&mut self) -> Option<String> {
        None
    }
}

/// Hears until the turn is over; false when the session closed.
async fn turn(
    run: &Run,
    speaker: &mut dyn Speaker,
    inbound: &mut Inbound,
    outbox: &Outbox,
) -> io::Result<bool> {
    let mut is_over = |speaker: &mut dyn Speaker| speaker.turn_is_over();
    listen_until(run, speaker, inbound, outbox, &mut is_over).await
}

/// Hears until it is so; false when the session closed.
async fn listen_until(
    run: &Run,
    speaker: &mut dyn Speaker,
    inbound: &mut Inbound,
    outbox: &Outbox,
    is_so: &mut dyn FnMut(&mut dyn Speaker) -> bool,
) -> io::Result<bool> {
    while !is_so(speaker) {
        let Some(message) = inbound.message().await? else {
            run.tally.borrow_mut().error("session ended early");
            return Ok(false);
        };
        match answer_control(run, &message, outbox) {
            Some(Control::Ping) => continue,
            Some(Control::Close) => return Ok(false),
            None => {}
        }
        let mut tally = run.tally.borrow_mut();
        tally.messages_received += 1;
        tally.bytes_received += message.payload.len() as u64;
        speaker.hear(message.payload, &mut tally)?;
    }
    Ok(true)
}

/// Goes on on another connection, by the handle that comes behind a turn. The old one is left when the new one is there, and
/// is heard out. `None`: it could not be done, which is counted.
async fn change_over(run: &Run, index: usize, speaker: &mut dyn Speaker, old: Open) -> Option<Open> {
    let Open { mut inbound, outbox, .. } = old;
    let mut handle = None;
    let mut is_given = |speaker: &mut dyn Speaker| {
        handle = speaker.take_handle();
        handle.is_some()
    };
    let given = listen_until(run, speaker, &mut inbound, &outbox, &mut is_given);
    if !matches!(monoio::time::timeout(TURN_WAIT, given).await, Ok(Ok(true))) {
        run.tally.borrow_mut().error("resume: no handle");
    }
    let new = match handle {
        Some(handle) => run.resume(index, &handle).await,
        None => None,
    };
    say_goodbye(&outbox);
    hear_out(run, speaker, &mut inbound, &outbox).await;
    outbox.hang_up(HangUp::Fin);
    new
}

/// What is told behind the end of the last turn, up to the close that answers ours.
async fn hear_out(run: &Run, speaker: &mut dyn Speaker, inbound: &mut Inbound, outbox: &Outbox) {
    let rest = async {
        while let Ok(Some(message)) = inbound.message().await {
            match message.opcode {
                CLOSE => break,
                TEXT | BINARY => {
                    let mut tally = run.tally.borrow_mut();
                    if let Err(error) = speaker.hear(message.payload, &mut tally) {
                        tally.error(&format!("relay: {error}"));
                    }
                }
                _ => {
                    answer_control(run, &message, outbox);
                }
            }
        }
    };
    if monoio::time::timeout(TURN_WAIT, rest).await.is_err() {
        run.tally.borrow_mut().error("close: timed out");
    }
}
