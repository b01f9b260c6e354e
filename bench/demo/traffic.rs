//! The demo's people at work: each opens a session, says a few turns, leaves, and comes back after a while.
//!
//! Start at [`run`]. What becomes of it is noted in [`Progress`], for the board. A session that fails is noted and its
//! person tries again, so traffic ends with the process alone.

use super::people::Person;
use super::random::Random;
use crate::link::{self, Bytes, HangUp, Outbox};
use crate::opening::{greeting, say_goodbye};
use crate::runtime;
use crate::target::Target;
use crate::ws::{CLOSE, End, FIN, Inbound, PING, PONG, TEXT};
use base64::Engine;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a session may take to open, or a turn to be answered.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a person waits who was turned away, or whose session failed.
const AFTER_REFUSAL: Duration = Duration::from_secs(60);
const AFTER_FAILURE: Duration = Duration::from_secs(5);
/// What is longer is no `error` event, but audio.
const ERROR_BYTES_MAX: usize = 4_096;
/// 16-bit samples at 24 kHz.
const AUDIO_BYTES_PER_MS: u64 = 48;
/// What the provider is asked for: half a second of speech every 150 ms, six times.
const ANSWER: &str = "chunks=6,chunk_bytes=24000,pace=150";

/// What the people have done so far, by id.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) people: BTreeMap<&'static str, Done>,
    pub(super) last_turn_at: Option<Instant>,
    pub(super) last_failure: Option<String>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Done {
    pub(super) sessions: u64,
    pub(super) turns: u64,
    /// Why the last session was ended or refused, in tokenist's words; `None` if it came to its own end.
    pub(super) refusal: Option<String>,
}

/// What the traffic and the board share.
#[derive(Clone, Debug, Default)]
pub(super) struct Shared(Arc<Mutex<Progress>>);

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, Progress> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a session ended that did not fail.
enum Ended {
    Well,
    Refused(String),
}

/// Never returns: everybody keeps coming back.
pub(super) fn run(visitors: Vec<(&'static Person, Target)>, shared: &Shared) {
    runtime::block_on(async {
        let lives: Vec<_> = visitors
            .into_iter()
            .map(|(person, target)| {
                let visitor = Visitor { person, target, shared: shared.clone() };
                monoio::spawn(async move { visitor.live().await })
            })
            .collect();
        for life in lives {
            life.await;
        }
    });
}

struct Visitor {
    person: &'static Person,
    target: Target,
    shared: Shared,
}

impl Visitor {
    async fn live(&self) {
        let mut random = Random::of(self.person.id);
        loop {
            monoio::time::sleep(Duration::from_millis(self.person.pause_ms(&mut random))).await;
            let ended = self.session(&mut random).await;
            monoio::time::sleep(self.note(ended)).await;
        }
    }

    /// Notes how a session ended; how long to stay away for it.
    fn note(&self, ended: io::Result<Ended>) -> Duration {
        let mut progress = self.shared.lock();
        let done = progress.people.entry(self.person.id).or_default();
        match ended {
            Ok(Ended::Well) => {
                done.refusal = None;
                Duration::ZERO
            }
            Ok(Ended::Refused(sentence)) => {
                done.refusal = Some(sentence);
                AFTER_REFUSAL
            }
            Err(error) => {
                progress.last_failure = Some(format!("{}: {error}", self.person.id));
                AFTER_FAILURE
            }
        }
    }

    async fn session(&self, random: &mut Random) -> io::Result<Ended> {
        let link = patiently(link::connect(self.target.address, self.target.tls.clone())).await?;
        let mut inbound = Inbound::new(link.read);
        let outbox = Outbox::start(link.write);
        let ended = self.converse(&mut inbound, &outbox, random).await;
        outbox.hang_up(HangUp::Fin);
        ended
    }

    async fn converse(
        &self,
        inbound: &mut Inbound,
        outbox: &Rc<Outbox>,
        random: &mut Random,
    ) -> io::Result<Ended> {
        let words = format!("audit={}&sim={ANSWER}", self.person.id);
        outbox.put(Bytes::Owned(self.target.upgrade(self.person.id, Some(&words))));
        if let Some(sentence) = refusal(&patiently(greeting(inbound)).await?) {
            return Ok(Ended::Refused(sentence));
        }
        self.done(|done| done.sessions += 1);
        for _ in 0..self.person.turns(random) {
            say(outbox, &append(self.person.speech_ms(random)));
            say(outbox, r#"{"type":"input_audio_buffer.commit"}"#);
            say(outbox, r#"{"type":"response.create"}"#);
            if let Some(sentence) = patiently(answer(inbound, outbox)).await? {
                return Ok(Ended::Refused(sentence));
            }
            self.done(|done| done.turns += 1);
            self.shared.lock().last_turn_at = Some(Instant::now());
        }
        say_goodbye(outbox);
        Ok(Ended::Well)
    }

    fn done(&self, note: impl FnOnce(&mut Done)) {
        note(self.shared.lock().people.entry(self.person.id).or_default());
    }
}

/// Hears until the response is done; the sentence of tokenist's `error` event if that comes instead.
async fn answer(inbound: &mut Inbound, outbox: &Outbox) -> io::Result<Option<String>> {
    loop {
        let Some(message) = inbound.message().await? else { return Err(io::ErrorKind::UnexpectedEof.into()) };
        match message.opcode {
            TEXT if is_type(message.payload, "response.done") => return Ok(None),
            TEXT => {
                if let Some(sentence) = refusal(message.payload) {
                    return Ok(Some(sentence));
                }
            }
            PING => {
                let mut frame = Vec::new();
                End::Client.frame(FIN | PONG, message.payload, &mut frame);
                outbox.put(Bytes::Owned(frame));
            }
            CLOSE => {
                let (code, reason) = message.close_reason();
                return Err(io::Error::other(format!("closed with {code} {reason}")));
            }
            _ => {}
        }
    }
}

/// Whether an event is of this type, which the provider writes first.
fn is_type(event: &[u8], kind: &str) -> bool {
    let head = &event[..event.len().min(64)];
    memchr::memmem::find(head, format!(r#""type":"{kind}""#).as_bytes()).is_some()
}

/// The sentence of an `error` event, whose fields stand in any order.
fn refusal(event: &[u8]) -> Option<String> {
    if event.len() > ERROR_BYTES_MAX {
        return None;
    }
    let event: Value = serde_json::from_slice(event).ok()?;
    (event["type"] == "error")
        .then(|| event["error"]["message"].as_str().unwrap_or("no reason given").to_owned())
}

fn append(speech_ms: u64) -> String {
    let silence = vec![0; (speech_ms * AUDIO_BYTES_PER_MS) as usize];
    let audio = base64::engine::general_purpose::STANDARD.encode(silence);
    json!({"type": "input_audio_buffer.append", "audio": audio}).to_string()
}

fn say(outbox: &Outbox, event: &str) {
    let mut frame = Vec::new();
    End::Client.frame(FIN | TEXT, event.as_bytes(), &mut frame);
    outbox.put(Bytes::Owned(frame));
}

async fn patiently<T>(what: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match monoio::time::timeout(PATIENCE, what).await {
        Ok(outcome) => outcome,
        Err(_) => Err(io::Error::other(format!("no answer within {} s", PATIENCE.as_secs()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_by_its_event_in_whatever_order_its_fields_stand() {
        let sentence = Some("Cost limit reached".to_owned());
        for event in [
            r#"{"type":"error","event_id":"e","error":{"code":"c","message":"Cost limit reached"}}"#,
            r#"{"error":{"code":"c","message":"Cost limit reached"},"event_id":"e","type":"error"}"#,
        ] {
            assert_eq!(refusal(event.as_bytes()), sentence);
        }
        assert_eq!(refusal(br#"{"type":"response.done","response":{"error":{"message":"no"}}}"#), None);
        assert!(is_type(br#"{"type":"response.done","x":1}"#, "response.done"));
    }
}
