//! Who uses the demo: nine people of three orgs, and one of them is an agent that was left in a loop.

use super::random::Random;

pub(super) const MODEL: &str = "gpt-realtime-2.1";
pub(super) const MODEL_MINI: &str = "gpt-realtime-2.1-mini";

#[derive(Debug)]
pub(super) struct Person {
    /// As the user's id; the name is the same with a capital.
    pub(super) id: &'static str,
    pub(super) name: &'static str,
    pub(super) org: &'static str,
    pub(super) feature: &'static str,
    pub(super) model: &'static str,
    pub(super) temper: Temper,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Temper {
    /// Speaks a little and comes back after a while.
    Calm,
    /// Never stops, until its limit does it.
    Looping,
}

/// What the looping agent may use in a day.
pub(super) const LOOP_LIMIT_USD: f64 = 0.25;

const fn calm(
    id: &'static str,
    name: &'static str,
    org: &'static str,
    feature: &'static str,
    model: &'static str,
) -> Person {
    Person { id, name, org, feature, model, temper: Temper::Calm }
}

pub(super) const PEOPLE: [Person; 9] = [
    calm("ada", "Ada", "acme", "support", MODEL),
    calm("ben", "Ben", "acme", "booking", MODEL_MINI),
    calm("chloe", "Chloe", "acme", "support", MODEL),
    calm("dev", "Dev", "globex", "tutor", MODEL_MINI),
    calm("emil", "Emil", "globex", "tutor", MODEL),
    calm("fay", "Fay", "globex", "survey", MODEL_MINI),
    calm("gita", "Gita", "initech", "booking", MODEL),
    calm("hugo", "Hugo", "initech", "survey", MODEL_MINI),
    Person {
        id: LOOPING,
        name: "An agent in a loop",
        org: "initech",
        feature: "support",
        model: MODEL,
        temper: Temper::Looping,
    },
];

/// The id of the user that is meant to reach its limit.
pub(super) const LOOPING: &str = "looping-agent";

impl Person {
    /// How many turns a session of this person has.
    pub(super) fn turns(&self, random: &mut Random) -> u64 {
        match self.temper {
            Temper::Calm => random.between(1, 4),
            Temper::Looping => 50,
        }
    }

    /// Milliseconds between two sessions.
    pub(super) fn pause_ms(&self, random: &mut Random) -> u64 {
        match self.temper {
            Temper::Calm => random.between(4_000, 15_000),
            Temper::Looping => 500,
        }
    }

    /// Milliseconds of speech in a turn.
    pub(super) fn speech_ms(&self, random: &mut Random) -> u64 {
        random.between(800, 4_000)
    }
}
