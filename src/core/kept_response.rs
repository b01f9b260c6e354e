//! Responses that a provider keeps under an id, by which they are asked for again: whose each is, and whether it was counted.
//!
//! The catalog keeps those that were asked for in the background, for their usage is stated to a later request, if to any: so
//! what is known of them outlives the process and is known to all instances. Invariant: a response is counted once by what its
//! provider states, and before that once by estimate at most.

use crate::catalog::Kept;
use crate::id::{Identity, Model, OrgId, SessionId};
use crate::message::Delta;
use crate::money::NanoUsd;
use crate::time::Timestamp;
use crate::usage::Usage;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A response's id with the name under which its provider keeps it, as `provider/id`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ResponseId(Arc<str>);

/// Whether a response was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// It is not over, as far as is known.
    UnderWay,
    /// It was not heard of for so long that its estimate was booked.
    Estimated,
    /// What its provider states was booked, or it came to nothing.
    Stated,
}

/// A response that was asked for in the background.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptResponse {
    pub stage: Stage,
    #[serde(flatten)]
    pub identity: Arc<Identity>,
    pub session: u64,
    pub provider: Arc<str>,
    pub model: Model,
    /// By estimate, what it has used at least.
    pub usage: Usage,
    pub cost: NanoUsd,
    pub at: Timestamp,
    /// Then its estimate is booked, if nothing was heard of it.
    pub due: Timestamp,
    /// How long it may not be heard of.
    pub wait_ms: u64,
    /// Under whose name it was asked for: that instance books the estimate, and no other.
    pub writer: Arc<str>,
}

/// What of a response was counted before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Counted {
    Nothing,
    /// Nothing: it is under way, at this model, and has used so much at least.
    UnderWay(Model, Usage),
    /// So much at this model, by estimate.
    Estimate(Model, Usage, NanoUsd),
    /// All of it.
    All,
}

impl ResponseId {
    pub fn of(provider: &str, id: &str) -> ResponseId {
        ResponseId(format!("{provider}/{id}").into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// How the journal names what was counted of it in this stage.
    pub fn mark(&self, stage: Stage) -> Arc<str> {
        let stage = if stage == Stage::Stated { STATED } else { ESTIMATED };
        format!("{stage}{}", self.0).into()
    }

    /// What [`ResponseId::mark`] wrote.
    pub fn of_mark(mark: &str) -> Option<(ResponseId, Stage)> {
        let read = |prefix, stage| Some((ResponseId(mark.strip_prefix(prefix)?.into()), stage));
        read(STATED, Stage::Stated).or_else(|| read(ESTIMATED, Stage::Estimated))
    }
}

const STATED: &str = "response-stated/";
const ESTIMATED: &str = "response-estimated/";

impl From<&Arc<str>> for ResponseId {
    fn from(id: &Arc<str>) -> ResponseId {
        ResponseId(Arc::clone(id))
    }
}

impl KeptResponse {
    /// One for which this is to be booked if nothing is heard of it for so long.
    pub fn under_way(delta: &Delta, wait_ms: u64, writer: &Arc<str>) -> KeptResponse {
        KeptResponse {
            stage: Stage::UnderWay,
            identity: Arc::clone(&delta.identity),
            session: delta.session.0,
            provider: Arc::clone(&delta.provider),
            model: delta.model.clone(),
            usage: delta.usage,
            cost: delta.cost,
            at: delta.at,
            due: delta.at.plus_ms(wait_ms),
            wait_ms,
            writer: Arc::clone(writer),
        }
    }

    /// It was heard of; `None`: that changes nothing worth to be set down.
    pub fn heard_of(&self, now: Timestamp) -> Option<KeptResponse> {
        let due = now.plus_ms(self.wait_ms);
        let is_news = self.stage == Stage::UnderWay && due > self.due.plus_ms(self.wait_ms / 8);
        is_news.then(|| KeptResponse { due, ..self.clone() })
    }

    /// It has used at least what is estimated now. Whose it is, its first request has said.
    pub fn gone_on(&self, estimate: &Delta) -> KeptResponse {
        let has_said_more = estimate.usage.text_out > self.usage.text_out;
        let due = estimate.at.plus_ms(self.wait_ms).max(self.due);
        match has_said_more {
            true => {
                let Delta { model, usage, cost, .. } = estimate;
                KeptResponse { due, model: model.clone(), usage: *usage, cost: *cost, ..self.clone() }
            }
            false => KeptResponse { due, ..self.clone() },
        }
    }

    /// It has come to nothing. What it had said by then costs what is estimated of it, at once.
    pub fn failed(&self, now: Timestamp) -> KeptResponse {
        match self.usage.text_out {
            0 => KeptResponse { stage: Stage::Stated, ..self.clone() },
            _ => KeptResponse { due: now, ..self.clone() },
        }
    }

    /// What is to be booked of it by estimate.
    pub fn estimate(&self, now: Timestamp) -> Delta {
        Delta {
            at: now,
            session: SessionId(self.session),
            identity: Arc::clone(&self.identity),
            provider: Arc::clone(&self.provider),
            model: self.model.clone(),
            usage: self.usage,
            cost: self.cost,
            estimated: true,
            latency_ms: None,
        }
    }

    pub fn counted(&self) -> Counted {
        match self.stage {
            Stage::UnderWay => Counted::UnderWay(self.model.clone(), self.usage),
            Stage::Estimated => Counted::Estimate(self.model.clone(), self.usage, self.cost),
            Stage::Stated => Counted::All,
        }
    }
}

impl Kept for KeptResponse {
    const KIND: &'static str = "response";

    fn org<'a>(&'a self, _: &'a str) -> Option<&'a str> {
        self.identity.org.as_ref().map(OrgId::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Entry;

    #[test]
    fn what_is_kept_says_again_what_is_to_be_booked() {
        let identity = Identity { org: Some("acme".into()), ..Identity::of("alice".into()) };
        let delta = Delta {
            at: Timestamp(5),
            session: SessionId(u64::MAX),
            identity: Arc::new(identity),
            provider: "openai".into(),
            model: "gpt-5-mini".into(),
            usage: Usage { text_in: 7, requests: 1, ..Usage::default() },
            cost: NanoUsd(9),
            estimated: true,
            latency_ms: None,
        };
        let kept = KeptResponse::under_way(&delta, 80, &"one".into());
        let entry = Entry::of("openai/resp_1", Some(&kept));
        let text = r#"{"stage":"under_way","user":"alice","org":"acme","session":18446744073709551615,"#;
        assert!(entry.value.as_ref().is_some_and(|value| value.starts_with(text)), "{entry:?}");
        let read: KeptResponse = entry.read().unwrap();
        assert_eq!(read, kept);
        assert_eq!(read.estimate(Timestamp(5)), delta);
        assert_eq!(read.heard_of(Timestamp(15)), None);
        assert_eq!(read.heard_of(Timestamp(16)).map(|heard| heard.due), Some(Timestamp(96)));
        assert_eq!(read.org("x"), Some("acme"));
        assert_eq!(read.counted(), Counted::UnderWay("gpt-5-mini".into(), delta.usage));
        // Who tells of it later is another one.
        let usage = Usage { text_in: 7, text_out: 3, requests: 1, ..Usage::default() };
        let identity = Arc::new(Identity::of("bob".into()));
        let later = Delta { at: Timestamp(50), identity, usage, cost: NanoUsd(12), ..delta.clone() };
        let grown = read.gone_on(&later);
        let wanted = KeptResponse { due: Timestamp(130), usage, cost: NanoUsd(12), ..kept.clone() };
        assert_eq!(grown, wanted);
        assert_eq!(grown.gone_on(&delta), wanted, "it has said no less since");
        assert_eq!(grown.failed(Timestamp(60)), KeptResponse { due: Timestamp(60), ..wanted });
        assert_eq!(kept.failed(Timestamp(60)), KeptResponse { stage: Stage::Stated, ..kept });
    }

    #[test]
    fn a_mark_tells_the_response_and_how_it_was_counted() {
        let id = ResponseId::of("openai", "resp_1/x");
        for stage in [Stage::Stated, Stage::Estimated] {
            assert_eq!(ResponseId::of_mark(&id.mark(stage)), Some((id.clone(), stage)));
        }
        for other in ["", "openai/resp_1", "call-1", "response-stated"] {
            assert_eq!(ResponseId::of_mark(other), None, "{other}");
        }
    }
}
