//! GPT-Live of a session that was begun elsewhere: who attaches to it (`/v1/live/sessions/ID/attach`) sees all that it uses, and
//! who forks it (`…/fork`) goes on from it in a session of its own. Neither names a model; the provider does, sooner or later.

use super::super::{ClientEvent, ClientPeek, Dialect, ModelSource, Peek, ProviderEvent, Rates, Rest};
use super::GptLive;
use crate::close_reason::CloseReason;
use crate::doubt::Keys;
use crate::http::query;
use std::borrow::Cow;

#[derive(Clone, Copy, Debug)]
pub struct GptLiveJoined;

/// The session that a path names, and what is to be done with it.
fn parts(path: &str) -> Option<(&str, &str, &str)> {
    let (before, doing) = path.trim_end_matches('/').rsplit_once('/')?;
    let (sessions, id) = before.rsplit_once('/')?;
    (["attach", "fork"].contains(&doing) && !id.is_empty()).then_some((sessions, id, doing))
}

impl Dialect for GptLiveJoined {
    fn name(&self) -> &'static str {
        "gpt_live_joined"
    }

    fn path(&self, path: &str) -> Option<String> {
        let (sessions, id, doing) = parts(path)?;
        Some(format!("{}/{id}/{doing}", GptLive.path(sessions)?))
    }

    fn rates(&self) -> Rates {
        GptLive.rates()
    }

    fn model_is_in(&self) -> ModelSource {
        ModelSource::Url
    }

    /// All that there are cost the same.
    fn unnamed_model(&self) -> Option<&'static str> {
        Some("gpt-live-1")
    }

    fn start<'a>(&self, target: &'a str, found: &mut dyn FnMut(ProviderEvent<'a>)) {
        let path = target.split('?').next().unwrap_or_default();
        if let Some((_, id, "attach")) = parts(path) {
            let call = query::decode(id).unwrap_or(Cow::Borrowed(id));
            found(ProviderEvent::Joinable { call });
            found(ProviderEvent::Ahead { grows: true });
        }
    }

    fn deciding(&self) -> Keys {
        GptLive.deciding()
    }

    fn peek<'a>(&self, event: &'a [u8], rest: Rest) -> Peek<'a> {
        GptLive.peek(event, rest)
    }

    fn read<'a>(&self, event: &'a [u8], found: &mut dyn FnMut(ProviderEvent<'a>)) {
        GptLive.read(event, found);
    }

    fn peek_client(&self, head: &[u8], event_bytes: u64) -> ClientPeek {
        GptLive.peek_client(head, event_bytes)
    }

    fn read_client<'a>(&self, event: &'a [u8], event_bytes: u64, found: &mut dyn FnMut(ClientEvent<'a>)) {
        GptLive.read_client(event, event_bytes, found);
    }

    fn cancel(&self, response: Option<&str>) -> Option<String> {
        GptLive.cancel(response)
    }

    fn error_event(&self, reason: &CloseReason, event_id: &str) -> Option<String> {
        GptLive.error_event(reason, event_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_path_names_a_session_and_what_to_do_with_it() {
        for (path, wanted) in [
            ("/v1/live/sessions/live_1/attach", Some("/v1/live/sessions/live_1/attach")),
            ("/a/v1/live/sessions/live_1/fork/", Some("/a/v1/live/sessions/live_1/fork")),
            ("/live/sessions/live_1/attach", Some("/v1/live/sessions/live_1/attach")),
            ("/openai/live/sessions/live_1/attach", Some("/openai/live/sessions/live_1/attach")),
            ("/v1/live/sessions//attach", None),
            ("/v1/live/sessions/attach", None),
            ("/v1/live/sessions/live_1/content", None),
            ("/v1/live/sessions", None),
        ] {
            assert_eq!(GptLiveJoined.path(path).as_deref(), wanted, "{path}");
        }
    }

    #[test]
    fn who_attaches_shares_the_session_and_who_forks_has_one_of_its_own() {
        let told = |target: &'static str| {
            let mut all = Vec::new();
            GptLiveJoined.start(target, &mut |event| all.push(event));
            all
        };
        let call = "live 1".into();
        assert_eq!(
            told("/v1/live/sessions/live%201/attach?a=b"),
            [ProviderEvent::Joinable { call }, ProviderEvent::Ahead { grows: true }]
        );
        assert_eq!(told("/v1/live/sessions/live_1/fork"), []);
    }
}
