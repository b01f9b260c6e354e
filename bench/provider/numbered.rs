//! Events of OpenAI's younger protocols: each has an id of its own, by its number.

use super::session::{Dialect, Session};
use super::sim::Sim;
use serde_json::{Value, json};
use std::cell::Cell;

pub(super) trait Numbered: Dialect {
    /// How many were written.
    fn events(&self) -> &Cell<u64>;
}

impl<D: Numbered> Session<D> {
    pub(super) fn tell_error(&self, code: &str, message: &str) {
        let error = json!({"type": "invalid_request_error", "code": code, "message": message, "param": null});
        self.emit(&self.sim, "error", json!({"error": error}));
    }

    /// An event of a kind that there is none of.
    pub(super) fn refuse_kind(&self, kind: &str) {
        let message = format!("Invalid value: '{kind}'. Supported values are documented.");
        self.tell_error("invalid_value", &message);
    }

    pub(super) fn refuse_no_json(&self, error: &serde_json::Error) {
        self.tell_error("invalid_json", &format!("The event is not JSON: {error}"));
    }

    /// The session as it stands, but for its model where no event names that.
    pub(super) fn tell(&self, kind: &str, mut session: Value) {
        if let Some(session) = session.as_object_mut().filter(|_| self.sim.nameless) {
            session.remove("model");
        }
        self.emit(&self.sim, kind, json!({"session": session}));
    }

    pub(super) fn emit(&self, sim: &Sim, kind: &str, body: Value) {
        self.send(sim, &self.event(kind, body));
    }

    pub(super) fn event(&self, kind: &str, body: Value) -> Vec<u8> {
        let number = self.dialect.events().get() + 1;
        self.dialect.events().set(number);
        super::openai::written(kind, &format!("event_{number}"), self.sim.type_last, &body)
    }
}
