//! The provider's own account of what it delivered, for tests to hold the proxy's totals against.
//!
//! Invariant: a response's usage is counted once as delivered, and only when the kernel took every byte of its
//! `response.done`; what died on the way is counted apart. Billed is all of it, as it is by a real provider: what a
//! response has read and said costs the same whether or not anybody hears its end.

use super::sim::UsageForm;
use crate::clock;
use crate::http::Request;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::AddAssign;
use tokenist_core::usage::Usage;

const SESSIONS_MAX: usize = 4_096;
const HANDSHAKES_MAX: usize = 256;
const RECENT_MAX: usize = 8_192;

#[derive(Debug, Default)]
pub(crate) struct Audit {
    totals: Tally,
    by_key: BTreeMap<String, BTreeMap<String, Tally>>,
    sessions: VecDeque<SessionRecord>,
    handshakes: VecDeque<Value>,
    /// The latest deliveries: when, in milliseconds since 1970, to whom, and how many tokens.
    recent: VecDeque<(u64, String, u64)>,
    handshake_count: u64,
    session_count: u64,
    /// What several sessions see and is counted once.
    counted: BTreeSet<String>,
}

/// What was delivered, and what was not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    usage: Usage,
    responses: u64,
    transcriptions: u64,
    /// Delivered, but told no usage.
    without_usage: u64,
    /// Responses whose end never left, and what they would have told.
    undelivered: u64,
    undelivered_usage: Usage,
    billed: Usage,
}

/// What is being counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fact {
    Response(Usage),
    /// Its end is told, but not what it used.
    ResponseWithoutUsage(Usage),
    Transcription(Usage),
    /// Something that is billed by itself.
    Item(Usage),
    /// The response died; this is what it would have told.
    Undelivered(Usage),
}

/// What the audit counts for an event, once it has left whole and if it never does.
#[derive(Debug)]
pub(super) struct Booking {
    pub(super) key: String,
    pub(super) model: String,
    pub(super) delivered: Fact,
    pub(super) lost: Fact,
    /// What all sessions of a call see is counted once, under this.
    pub(super) once: Option<String>,
}

#[derive(Debug)]
struct SessionRecord {
    id: String,
    key: String,
    model: String,
    responses: u64,
    connections: u64,
    close_code: Option<u16>,
}

impl Fact {
    /// What a response is that tells its usage in a form, or leaves it untold.
    pub(super) fn told_by(form: UsageForm, usage: Usage) -> Fact {
        match form {
            UsageForm::Null | UsageForm::Absent | UsageForm::Empty => Fact::ResponseWithoutUsage(usage),
            UsageForm::Once
            | UsageForm::Twice
            | UsageForm::TopLevel
            | UsageForm::After
            | UsageForm::WithAudio => Fact::Response(usage),
        }
    }
}

impl Tally {
    fn of(fact: Fact) -> Tally {
        let none = Tally::default();
        match fact {
            Fact::Response(usage) => Tally { usage, responses: 1, billed: usage, ..none },
            Fact::ResponseWithoutUsage(usage) => {
                Tally { responses: 1, without_usage: 1, billed: usage, ..none }
            }
            Fact::Transcription(usage) => Tally { usage, transcriptions: 1, billed: usage, ..none },
            Fact::Item(usage) => Tally { usage, billed: usage, ..none },
            Fact::Undelivered(usage) => {
                Tally { undelivered: 1, undelivered_usage: usage, billed: usage, ..none }
            }
        }
    }

    fn json(&self) -> Value {
        let mut json = serde_json::to_value(self.usage).expect("a usage is plain numbers");
        json["total_tokens"] = self.usage.total_tokens().into();
        json["responses"] = self.responses.into();
        json["transcriptions"] = self.transcriptions.into();
        json["without_usage"] = self.without_usage.into();
        json["undelivered"] = self.undelivered.into();
        json["undelivered_usage"] = serde_json::to_value(self.undelivered_usage).expect("plain numbers");
        json["billed"] = serde_json::to_value(self.billed).expect("plain numbers");
        json
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.usage += other.usage;
        self.responses += other.responses;
        self.transcriptions += other.transcriptions;
        self.without_usage += other.without_usage;
        self.undelivered += other.undelivered;
        self.undelivered_usage += other.undelivered_usage;
        self.billed += other.billed;
    }
}

impl Audit {
    pub(crate) fn handshake(&mut self, request: &Request) {
        self.handshake_count += 1;
        if self.handshakes.len() == HANDSHAKES_MAX {
            self.handshakes.pop_front();
        }
        self.handshakes.push_back(json!({
            "method": request.method,
            "path": request.path,
            "query": request.query,
            "headers": request.headers,
            "extensions": request.header("sec-websocket-extensions"),
            "protocols": request.header("sec-websocket-protocol"),
        }));
    }

    pub(crate) fn opened(&mut self, id: &str, key: &str, model: &str) {
        self.session_count += 1;
        if self.sessions.len() == SESSIONS_MAX {
            self.sessions.pop_front();
        }
        let (id, key, model) = (id.to_owned(), key.to_owned(), model.to_owned());
        self.sessions.push_back(SessionRecord {
            id,
            key,
            model,
            responses: 0,
            connections: 1,
            close_code: None,
        });
    }

    /// Another connection of one that was opened.
    pub(crate) fn resumed(&mut self, id: &str, key: &str, model: &str) {
        match self.sessions.iter_mut().rev().find(|session| session.id == id) {
            Some(session) => {
                session.connections += 1;
                session.close_code = None;
            }
            None => self.opened(id, key, model),
        }
    }

    /// The code that the peer closed with; 1006 if none.
    pub(crate) fn closed(&mut self, id: &str, close_code: u16) {
        if let Some(session) = self.sessions.iter_mut().rev().find(|session| session.id == id) {
            session.close_code = Some(close_code);
        }
    }

    pub(crate) fn count_booking(&mut self, session: &str, booking: &Booking, fact: Fact) {
        let is_new =
            booking.once.as_ref().is_none_or(|once| self.counted.insert(format!("{session} {once}")));
        if is_new {
            self.count(session, &booking.key, &booking.model, fact);
        }
    }

    pub(crate) fn count(&mut self, session: &str, key: &str, model: &str, fact: Fact) {
        let tally = Tally::of(fact);
        self.totals += tally;
        if tally.usage.total_tokens() > 0 {
            if self.recent.len() == RECENT_MAX {
                self.recent.pop_front();
            }
            self.recent.push_back((clock::now().0, key.to_owned(), tally.usage.total_tokens()));
        }
        *self.by_key.entry(key.to_owned()).or_default().entry(model.to_owned()).or_default() += tally;
        if let Some(session) = self.sessions.iter_mut().rev().find(|record| record.id == session) {
            session.responses += tally.responses;
        }
    }

    pub(crate) fn json(&self) -> Value {
        let by_key: BTreeMap<&String, BTreeMap<&String, Value>> = self
            .by_key
            .iter()
            .map(|(key, models)| (key, models.iter().map(|(model, tally)| (model, tally.json())).collect()))
            .collect();
        let sessions: Vec<Value> = self
            .sessions
            .iter()
            .map(|session| {
                json!({"id": session.id, "key": session.key, "model": session.model,
                    "responses": session.responses, "connections": session.connections, "close_code": session.close_code})
            })
            .collect();
        json!({
            "totals": self.totals.json(),
            "by_key": by_key,
            "recent": self.recent,
            "session_count": self.session_count,
            "sessions": sessions,
            "handshake_count": self.handshake_count,
            "handshakes": self.handshakes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_died_is_counted_apart() {
        let mut audit = Audit::default();
        let usage = Usage { text_in: 3, audio_out: 4, requests: 1, ..Usage::default() };
        audit.opened("sess_1", "k", "m");
        audit.count("sess_1", "k", "m", Fact::Response(usage));
        audit.count("sess_1", "k", "m", Fact::Undelivered(usage));
        audit.count("sess_1", "k", "asr", Fact::Transcription(usage));
        audit.count("sess_1", "-", "m", Fact::ResponseWithoutUsage(usage));
        audit.closed("sess_1", 1000);
        let json = audit.json();
        assert_eq!(json["totals"]["text_in"], 6);
        assert_eq!(json["totals"]["responses"], 2);
        assert_eq!((&json["recent"][1][1], &json["recent"][1][2]), (&"k".into(), &7.into()));
        assert_eq!(json["by_key"]["k"]["m"]["audio_out"], 4);
        assert_eq!(json["by_key"]["k"]["m"]["undelivered_usage"]["audio_out"], 4);
        assert_eq!(json["by_key"]["-"]["m"]["without_usage"], 1);
        assert_eq!(json["by_key"]["-"]["m"]["billed"]["audio_out"], 4);
        assert_eq!(
            (&json["totals"]["audio_out"], &json["totals"]["billed"]["audio_out"]),
            (&8.into(), &16.into())
        );
        assert_eq!(json["sessions"][0]["responses"], 2);
        assert_eq!(json["sessions"][0]["close_code"], 1000);
    }
}
