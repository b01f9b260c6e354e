//! What is said in a run: how many sessions, what each sends and expects, for how long.

use crate::dialect::Over;
use crate::provider::sim::SEND_BYTES;
use serde::Serialize;
use std::fmt;

/// What `tokload run --help` says of them.
pub(crate) const HELP: &str = "\
Scenarios, as KIND,FIELD=VALUE,…; all take sessions= seconds= users=, and those with acts rate= (a second over all sessions):
 ping      event_bytes=  events that the provider echoes; latency of the round trip
 speech    event_bytes= period_ms= down, up_bytes= up_ms= up; latency of the way down
 saturate  event_bytes= send_bytes=  events down as fast as they can be taken
 turns     turns= resume=  whole turns; latency of each
 ask       chunks= event_bytes= period_ms= up_bytes= turns=  over HTTP: kept connections, one request after the other on each,
           answered whole with so many pieces of text of so many bytes; latency from when it was due to its end, first byte
 stream    the same, answered as a stream of events; also the latency of each event from when it was said
 idle      open sessions; over HTTP kept connections, each of which has had one answer
 churn     sessions opened and closed; over HTTP each with one request
Over HTTP are chat, messages and generate, and responses at http:// or https://. users= share out the connections.
Over WebRTC go ping, speech, turns, idle and churn, of openai, azure and gpt-live; all but idle and churn send 50 packets of sound a
second each way, of which they tell what was lost on which way, how long it took and how it jittered.";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// Events that the provider echoes, at a rate; latency of the round trip.
    Ping,
    /// Audio down and up at speech's pace; latency of the way down.
    Speech,
    /// Events down as fast as they can be taken.
    Saturate,
    /// Open sessions that say nothing.
    Idle,
    /// Sessions opened and closed.
    Churn,
    /// Whole turns: audio in, commit, response, usage.
    Turns,
    /// Over HTTP: requests that are answered whole.
    Ask,
    /// Over HTTP: requests whose answers are streams of events.
    Stream,
}

/// A run's plan. Its text form is `kind,key=value,…` with the field names below.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Scenario {
    pub(crate) kind: Kind,
    pub(crate) sessions: usize,
    pub(crate) seconds: f64,
    /// Acts a second over all sessions: pings, requests, or sessions in churn. 0 is, but for pings, as fast as `sessions` loops
    /// can.
    pub(crate) rate: f64,
    /// Over HTTP that of the text in each piece of an answer.
    pub(crate) event_bytes: usize,
    /// In saturate the provider puts as many events into one send as fit into this, and at least one.
    pub(crate) send_bytes: usize,
    /// Between two events down, in speech and over HTTP.
    pub(crate) period_ms: u64,
    /// The pieces of an answer over HTTP.
    pub(crate) chunks: u32,
    /// Size of an event up and time between two, in speech. Over HTTP the size of what is asked.
    pub(crate) up_bytes: usize,
    pub(crate) up_ms: u64,
    /// Sessions are shared out over so many users.
    pub(crate) users: usize,
    /// Turns or requests that each session takes, unless the time ends first; 0 is no end.
    pub(crate) turns: u64,
    /// Turns after which a session goes on on another connection; 0 is never. OpenAI Realtime has no such thing.
    pub(crate) resume: u64,
}

impl Kind {
    pub(crate) fn parse(text: &str) -> Option<Kind> {
        Some(match text {
            "ping" => Kind::Ping,
            "speech" => Kind::Speech,
            "saturate" => Kind::Saturate,
            "idle" => Kind::Idle,
            "churn" => Kind::Churn,
            "turns" => Kind::Turns,
            "ask" => Kind::Ask,
            "stream" => Kind::Stream,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Kind::Ping => "ping",
            Kind::Speech => "speech",
            Kind::Saturate => "saturate",
            Kind::Idle => "idle",
            Kind::Churn => "churn",
            Kind::Turns => "turns",
            Kind::Ask => "ask",
            Kind::Stream => "stream",
        }
    }

    /// Whether it can be said in this way.
    pub(crate) fn goes_over(self, over: Over) -> bool {
        match self {
            Kind::Ping | Kind::Speech | Kind::Turns => over != Over::Http,
            Kind::Saturate => over == Over::WebSocket,
            Kind::Ask | Kind::Stream => over == Over::Http,
            Kind::Idle | Kind::Churn => true,
        }
    }
}

impl Scenario {
    /// The plan of a kind when nothing else is said.
    pub(crate) fn of(kind: Kind) -> Scenario {
        let base = Scenario {
            kind,
            sessions: 10,
            seconds: 5.0,
            rate: 0.0,
            event_bytes: 8_192,
            send_bytes: SEND_BYTES,
            period_ms: 40,
            chunks: 20,
            up_bytes: 3_200,
            up_ms: 100,
            users: 10,
            turns: 0,
            resume: 0,
        };
        match kind {
            Kind::Ping => Scenario { rate: 500.0, event_bytes: 300, ..base },
            Kind::Speech => Scenario { sessions: 200, ..base },
            Kind::Saturate => Scenario { sessions: 16, ..base },
            Kind::Idle => Scenario { sessions: 2_000, seconds: 2.0, ..base },
            Kind::Churn => Scenario { sessions: 32, ..base },
            Kind::Turns => base,
            Kind::Ask => Scenario { event_bytes: 60, period_ms: 0, up_bytes: 1_000, ..base },
            Kind::Stream => Scenario { event_bytes: 60, up_bytes: 1_000, ..base },
        }
    }

    /// Reads `kind,key=value,…`.
    pub(crate) fn parse(text: &str) -> Result<Scenario, String> {
        let mut words = text.split(',');
        let kind = words.next().unwrap_or_default();
        let kind = Kind::parse(kind).ok_or_else(|| format!("{kind:?} is no scenario"))?;
        let mut scenario = Scenario::of(kind);
        for word in words {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            scenario.set(key, value).ok_or_else(|| format!("not understood in a scenario: {word:?}"))?;
        }
        Ok(scenario)
    }

    fn set(&mut self, key: &str, value: &str) -> Option<()> {
        match key {
            "sessions" => self.sessions = value.parse().ok()?,
            "seconds" => {
                self.seconds = value.parse().ok().filter(|seconds| (0.0..=86_400.0).contains(seconds))?
            }
            "rate" => self.rate = value.parse().ok()?,
            "event_bytes" => self.event_bytes = value.parse().ok()?,
            "send_bytes" => self.send_bytes = value.parse().ok()?,
            "period_ms" => self.period_ms = value.parse().ok()?,
            "chunks" => self.chunks = value.parse().ok()?,
            "up_bytes" => self.up_bytes = value.parse().ok()?,
            "up_ms" => self.up_ms = value.parse().ok()?,
            "users" => self.users = value.parse().ok().filter(|&users| users > 0)?,
            "turns" => self.turns = value.parse().ok()?,
            "resume" => self.resume = value.parse().ok().filter(|_| self.kind == Kind::Turns)?,
            _ => return None,
        }
        Some(())
    }

    /// What the simulated provider is asked for in the query string. In turns its audit counts by user.
    pub(crate) fn query(&self, user: &str) -> Option<String> {
        match self.kind {
            Kind::Ping => Some("load=echo".to_owned()),
            Kind::Saturate => Some(format!("load=blast:{}:{}", self.event_bytes, self.send_bytes)),
            Kind::Speech => Some(format!("load=speech:{}:{}", self.event_bytes, self.period_ms)),
            Kind::Turns => Some(format!("audit={user}")),
            Kind::Ask | Kind::Stream => {
                let Scenario { chunks, event_bytes, period_ms, .. } = self;
                Some(format!("audit={user}&load=words:{chunks}:{event_bytes}:{period_ms}"))
            }
            Kind::Idle | Kind::Churn => None,
        }
    }
}

impl Scenario {
    /// Whether the sound of a call comes back.
    pub(crate) fn is_echoed(&self) -> bool {
        [Kind::Ping, Kind::Speech].contains(&self.kind)
    }

    /// Likewise of a call: what is not a conversation has its sound echoed.
    pub(crate) fn query_on_call(&self, user: &str) -> Option<String> {
        match self.kind {
            Kind::Ping => Some("load=echo&sim=sound=echo".to_owned()),
            Kind::Speech => Some("sim=sound=echo".to_owned()),
            Kind::Turns => Some(format!("audit={user}")),
            Kind::Saturate | Kind::Idle | Kind::Churn | Kind::Ask | Kind::Stream => None,
        }
    }
}

/// The kind and what most often differs, for tables.
impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} · {} sessions", self.kind.name(), self.sessions)?;
        match self.kind {
            Kind::Ping => write!(f, " · {} B at {}/s", self.event_bytes, self.rate),
            Kind::Saturate => {
                write!(f, " · {} B, sends of {} B", self.event_bytes, self.send_bytes.max(self.event_bytes))
            }
            Kind::Speech => write!(
                f,
                " · {} B each {} ms down, {} B each {} ms up",
                self.event_bytes, self.period_ms, self.up_bytes, self.up_ms
            ),
            Kind::Ask | Kind::Stream => {
                let Scenario { chunks, event_bytes, period_ms, rate, .. } = self;
                write!(f, " · {chunks} × {event_bytes} B each {period_ms} ms")?;
                if *rate > 0.0 { write!(f, " · {rate}/s") } else { Ok(()) }
            }
            Kind::Idle | Kind::Churn | Kind::Turns => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_is_its_kind_and_what_differs() {
        let scenario = Scenario::parse("saturate,event_bytes=300,sessions=8,seconds=1.5").unwrap();
        let expected =
            Scenario { event_bytes: 300, sessions: 8, seconds: 1.5, ..Scenario::of(Kind::Saturate) };
        assert_eq!(scenario, expected);
        assert_eq!(scenario.query("u").unwrap(), "load=blast:300:65536");
        let scenario = Scenario::parse("stream,chunks=9,period_ms=0").unwrap();
        assert_eq!(scenario.query("u").unwrap(), "audit=u&load=words:9:60:0");
        for text in
            ["", "sleep", "ping,rate", "ping,seconds=-1", "ping,users=0", "ping,colour=red", "ping,resume=1"]
        {
            assert!(Scenario::parse(text).is_err(), "{text:?}");
        }
    }
}
