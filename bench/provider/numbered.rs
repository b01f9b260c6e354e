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

    pub(super) fn emit(&self, sim: &Sim, kind: &str, body: Value) {
        self.send(sim, &self.event(kind, body));
    }

    pub(super) fn event(&self, kind: &str, body: Value) -> Vec<u8> {
        let number = self.dialect.events().get() + 1;
        self.dialect.events().set(number);
        super::openai::written(kind, &format!("event_{number}"), self.sim.type_last, &body)
    }
}
