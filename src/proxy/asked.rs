//! What a request asks the provider for, as far as it concerns the meter: models, and the call that it attaches to.

use crate::authn;
use crate::environment::Environment;
use crate::shard::Shard;
use std::fmt;
use std::rc::Rc;
use tokenist_core::dialect::{Calls, Dialect, ProviderEvent};
use tokenist_core::http::query::Parameter;
use tokenist_core::http::{RequestHead, query};
use tokenist_core::id::{Model, SessionId};
use tokenist_core::meter::{Claims, Models};

#[derive(Clone, Debug)]
pub struct Asked {
    pub models: Models,
    /// The call that it attaches to, and others may have attached to.
    pub call: Option<Box<str>>,
}

/// A session's claims among all that are attached to a call.
pub(crate) struct Claimant<E> {
    pub(crate) call: Box<str>,
    pub(crate) session: SessionId,
    pub(crate) shard: Rc<Shard<E>>,
}

/// Nothing: what is seen is another session's to meter.
#[derive(Debug)]
pub(crate) struct Onlooker;

impl Claims for Onlooker {
    fn claim(&self, _: u64) -> bool {
        false
    }

    fn take(&self, _: u64) {}
}

impl<E> fmt::Debug for Claimant<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Claimant({} of {})", self.session, self.call)
    }
}

impl<E: Environment> Claims for Claimant<E> {
    fn claim(&self, hash: u64) -> bool {
        self.shard.links.calls.claim(&(&*self.call, hash), self.session, self.shard.time().instant)
    }

    fn take(&self, hash: u64) {
        self.shard.links.calls.take(&(&*self.call, hash), self.session, self.shard.time().instant);
    }
}

impl Asked {
    pub(crate) fn by(head: &RequestHead, dialect: &dyn Dialect) -> Asked {
        let intent = |found: Parameter<'_>| {
            found.name() == "intent" && query::decode(found.value()).as_deref() == Some("transcription")
        };
        let is_transcription = head.query().any(intent);
        let by_name = || authn::MODEL_PARAMETERS.iter().find_map(|name| parameter(head, name));
        let (model, joined) = told(head, dialect);
        let model = model.or_else(by_name);
        // Elsewhere it is a word of the query like any other: what such a session is attached to stands in its path.
        let attaches = dialect.calls() == Some(Calls::Realtime);
        let call = head.query().find(|found| attaches && found.name() == "call_id");
        Asked {
            call: call
                .and_then(|found| query::decode(found.value()))
                .filter(|call| !call.is_empty())
                .map(Box::from)
                .or(joined),
            models: match is_transcription {
                true => Models { session: None, transcription: model },
                false => Models { session: model, transcription: None },
            },
        }
    }
}

/// The model that the dialect finds in the request, and what it is attached to.
fn told(head: &RequestHead, dialect: &dyn Dialect) -> (Option<Model>, Option<Box<str>>) {
    let (mut model, mut call) = (None, None);
    dialect.start(&head.target, &mut |event| match event {
        ProviderEvent::Session(settings) => {
            model = settings.model.and_then(|name| Model::parse(name.as_bytes()).ok());
        }
        ProviderEvent::Joinable { call: joined } => call = Some(Box::from(&*joined)),
        _ => {}
    });
    (model, call)
}

/// The model that the first parameter of this name states, if it is fit to be one.
fn parameter(head: &RequestHead, wanted: &str) -> Option<Model> {
    let mut values = head.query().filter(|found| found.name() == wanted);
    values.find_map(|found| Model::parse(query::decode(found.value())?.as_bytes()).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokenist_core::dialect::{OpenaiRealtime, family};
    use tokenist_core::http::request_head;
    use tokenist_core::models::Models as AllowedModels;
    use tokenist_core::provider::{Routes, Served};

    #[test]
    fn the_url_says_which_model_is_asked_for() {
        for (target, session, transcription) in [
            ("/v1/realtime?model=gpt-realtime", Some("gpt-realtime"), None),
            ("/v1/realtime?a=b&model=org%2Fa+model", Some("org/a model"), None),
            ("/openai/realtime?api-version=1&deployment=mine", Some("mine"), None),
            ("/v1/realtime?deployment=mine&model=gpt-realtime", Some("gpt-realtime"), None),
            ("/v1/realtime?intent=transcription&model=whisper-1", None, Some("whisper-1")),
            ("/v1/realtime?intent=%74ranscription&model=whisper-1", None, Some("whisper-1")),
            ("/v1/realtime?model=&model=second", Some("second"), None),
            ("/v1/realtime?model=%0d%0aX", None, None),
            ("/v1/realtime?model=%ff", None, None),
            ("/v1/realtime?models=m", None, None),
            ("/v1/realtime", None, None),
        ] {
            let head = request_head(format!("GET {target} HTTP/1.1\r\n\r\n").as_bytes()).unwrap();
            let Models { session: asked, transcription: transcribes } =
                Asked::by(&head, &OpenaiRealtime).models;
            let asked = (asked, transcribes);
            assert_eq!(asked, (session.map(Model::from), transcription.map(Model::from)), "{target}");
        }
    }

    #[test]
    fn a_session_is_attached_to_the_call_that_it_names() {
        for (target, call) in [
            ("/v1/realtime?call_id=rtc%5F1", Some("rtc_1")),
            ("/v1/realtime?call_id=", None),
            ("/v1/realtime?call_id=rtc_1&model=", Some("rtc_1")),
            ("/v1/realtime?model=m", None),
        ] {
            let head = request_head(format!("GET {target} HTTP/1.1\r\n\r\n").as_bytes()).unwrap();
            assert_eq!(Asked::by(&head, &OpenaiRealtime).call.as_deref(), call, "{target}");
        }
    }

    #[test]
    fn where_calls_stand_in_the_path_the_query_names_none() {
        let routes = Routes::new(vec![Served {
            name: "openai".into(),
            family: family("openai").unwrap(),
            models: AllowedModels::parse("").unwrap(),
        }]);
        for (path, call) in [
            ("/v1/live/sessions/sess_1/attach", Some("sess_1")),
            ("/v1/realtime/translations", None),
            ("/v1/responses", None),
        ] {
            let head = request_head(format!("GET {path}?call_id=rtc_1 HTTP/1.1\r\n\r\n").as_bytes()).unwrap();
            let route = routes.of_path(path).unwrap();
            assert_eq!(Asked::by(&head, route.dialect).call.as_deref(), call, "{path}");
        }
    }
}
