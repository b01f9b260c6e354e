//! What is to be asked of which provider: the body as far as it has to be known, the model in it, and who serves that.
//!
//! Start at [`plan`].

use super::metered::Reading;
use super::upload::{self, Held, Says};
use super::{Client, Failed, refusal};
use crate::admission;
use crate::live::Live;
use crate::local::Destination;
use crate::shard::Shard;
use std::rc::Rc;
use tokenist_core::api::{Api, Asked, Endpoint, ModelIn, Reach};
use tokenist_core::close_reason::CloseReason;
use tokenist_core::http::RequestHead;
use tokenist_core::http::body::Framing;
use tokenist_core::id::Model;
use tokenist_core::kept_response::{Counted, ResponseId};
use tokenist_core::key::ProviderKey;
use tokenist_core::provider::RequestRoute;
use tokenist_handoff::FoundResponse;

/// What goes up. Which provider it goes to, [`Live`] knows.
pub(super) struct Plan<'a> {
    pub(super) own_key: Option<ProviderKey>,
    /// The path at the provider.
    pub(super) path: String,
    pub(super) held: Held,
    /// In what the rest of the body is read.
    pub(super) says: Says<'a>,
    /// How the answer is read, if it is metered.
    pub(super) reading: Option<Box<Reading>>,
}

/// Holds as much of the body as is needed, and chooses the provider.
pub(super) async fn plan<'a>(
    shard: &Rc<Shard>,
    live: &Rc<Live>,
    head: &RequestHead,
    client: &mut Client,
    framing: Framing,
    destination: &'a Destination,
    own_key: Option<ProviderKey>,
) -> Result<Plan<'a>, Failed> {
    begin(shard, live);
    let mut says = destination.route().map_or(Says::Nothing, |route| Says::of(route.first().1, head));
    let mut held = upload::hold(shard, live, head, client, framing, &mut says).await?;
    let route = match destination {
        Destination::Api(route) => route,
        Destination::Mint(_) | Destination::Call(_) => unreachable!("they have plans of their own"),
        Destination::Unmetered(provider, path) => {
            let path = path.clone();
            may_ask(shard, live, *provider, own_key.is_some()).map_err(Failed::Refused)?;
            return Ok(Plan { own_key, path, held, says, reading: None });
        }
    };
    if route.first().1.is_metered()
        && let Some(what) =
            route.first().0.hinders(head).or_else(|| compressed(head)).or_else(|| mistyped(head, &says))
    {
        return Err(Failed::Unmeterable(what));
    }
    let asked = says.asked(&held.content);
    if let Some(what) = asked.problem {
        return Err(Failed::Malformed(what));
    }
    let model = named(route.first().1, &asked).map_err(Failed::Refused)?;
    let index = choose(shard, live, route, model.as_ref(), own_key.is_some());
    let index = index.inspect_err(|reason| note(shard, live, reason)).map_err(Failed::Refused)?;
    if !held.is_whole && says.may_name_another() && is_bound(shard, live, index) {
        return Err(Failed::Refused(CloseReason::MessageTooBig { max_bytes: shard.config.body_max_bytes }));
    }
    if !held.is_whole {
        says.pass_behind(&held.content);
    }
    let (api, endpoint) = route.at(index);
    let counted = kept(shard, live, (api, endpoint), &asked, own_key.is_some()).await?;
    let path = endpoint.path.clone();
    let is_new = endpoint.is_metered() && counted != Counted::All;
    let reading = is_new.then(|| {
        let with_usage = Some(&asked).filter(|_| shard.config.include_usage);
        let with_usage = with_usage.and_then(|asked| asked.with_usage(&held.content));
        let hides_usage = with_usage.is_some();
        if let Some(content) = with_usage {
            held.replace(content);
        }
        Box::new(Reading { api, endpoint: endpoint.clone(), asked, counted, hides_usage })
    });
    Ok(Plan { own_key, path, held, says, reading })
}

/// What was counted before of what a request names that its provider keeps.
///
/// # Errors
/// Under the operator's key it is all that anybody has had kept, or another user's: then it is as if it were not there.
async fn kept(
    shard: &Rc<Shard>,
    live: &Live,
    (api, endpoint): (&dyn Api, &Endpoint),
    asked: &Asked,
    has_own_key: bool,
) -> Result<Counted, Failed> {
    let found = match (endpoint.reach(), &endpoint.kept_id, &asked.goes_on_from) {
        (Reach::All, ..) if !has_own_key => return Err(Failed::Told(403, refusal::list_is_everybodys())),
        (Reach::One, Some(id), _) => (id, 404, api.absent(id)),
        (Reach::Anew, _, Some(id)) if !has_own_key => (id, 400, api.absent_before(id)),
        _ => return Ok(Counted::Nothing),
    };
    let (id, status, absent) = found;
    let Some(identity) = live.identity.get() else { return Ok(Counted::Nothing) };
    let provider = &shard.config.providers[live.provider.get().unwrap_or_default()];
    let response = ResponseId::of(&provider.keeps_under, id);
    let found = admission::find_response(shard, response, identity.user.clone()).await;
    match found.map_err(Failed::Refused)? {
        FoundResponse { is_anothers: true, .. } if !has_own_key => Err(Failed::Told(status, absent)),
        FoundResponse { counted, .. } if endpoint.reach() == Reach::One => Ok(counted),
        _ => Ok(Counted::Nothing),
    }
}

/// From now on it is swept, can be ended, and is seen if it lasts.
pub(super) fn begin(shard: &Shard, live: &Live) {
    live.relaying.set(true);
    live.under_way.set(true);
    live.active_at.set(shard.now());
}

/// What is asked for in a coding is read by the provider alone.
fn compressed(head: &RequestHead) -> Option<&'static str> {
    let coding =
        head.headers.get("content-encoding").filter(|coding| !coding.eq_ignore_ascii_case(b"identity"));
    coding.map(|_| "what a compressed body asks for cannot be read: send it without Content-Encoding")
}

/// Of two types a provider may take either, and what is written as a form is nothing but a form to it.
fn mistyped(head: &RequestHead, says: &Says<'_>) -> Option<&'static str> {
    if head.headers.count("content-type") > 1 {
        return Some("it gives Content-Type twice: send it once");
    }
    let forms = ["multipart/", "application/x-www-form-urlencoded"];
    let is_form = forms.iter().any(|form| head.headers.are_of_type(form));
    let is_json = matches!(says, Says::Json { names_model: true, .. });
    let is_transcribed = || {
        let kind = head.headers.get("content-type");
        kind.is_some_and(|kind| is_transcribed(&kind.to_ascii_lowercase()))
    };
    match () {
        () if !is_json => None,
        () if is_form => Some("its body is read as JSON: send it with Content-Type: application/json"),
        () if is_transcribed() => Some("its body is read as UTF-8: send it so, without another charset"),
        () => None,
    }
}

/// Whether a type, in lower case, says that letters stand for others than in UTF-8.
fn is_transcribed(kind: &[u8]) -> bool {
    let parameters = kind.split(|byte| *byte == b';').skip(1).map(<[u8]>::trim_ascii);
    let charsets = parameters.filter_map(|parameter| parameter.strip_prefix(b"charset"));
    let mut named =
        charsets.map(|rest| rest.trim_ascii_start().strip_prefix(b"=").unwrap_or(rest).trim_ascii());
    let is_usual = |name: &[u8]| [&b"utf-8"[..], b"\"utf-8\"", b"utf8", b"us-ascii"].contains(&name);
    named.any(|name| !is_usual(name))
}

/// The model that a request names, in its path or in its body.
fn named(endpoint: &Endpoint, asked: &Asked) -> Result<Option<Model>, CloseReason> {
    let is_in_body = matches!(endpoint.model_in(), ModelIn::Json | ModelIn::Multipart);
    let name = endpoint.model.as_ref().or(asked.model.as_ref().filter(|_| is_in_body));
    match name.and_then(|name| Model::parse(name.as_bytes()).ok()) {
        None if is_in_body && endpoint.is_metered() => {
            Err(CloseReason::ModelMissing("the request's body has to, in the field `model`"))
        }
        model => Ok(model),
    }
}

/// Whether a list says which models may be used.
fn is_bound(shard: &Shard, live: &Live, provider: usize) -> bool {
    !live.bounds().is_empty() || !shard.config.routes.models(provider).is_any()
}

/// Which provider serves the model, if that may be used and the provider can be asked.
fn choose(
    shard: &Shard,
    live: &Live,
    route: &RequestRoute,
    model: Option<&Model>,
    has_own_key: bool,
) -> Result<usize, CloseReason> {
    let index = shard.config.routes.pick_for_request(route, model.map(Model::as_str), live.bounds())?;
    if let Some(model) = model.filter(|model| shard.refuses(&shard.config.providers[index].name, model)) {
        return Err(CloseReason::ModelUnpriced { model: model.as_str().into() });
    }
    may_ask(shard, live, index, has_own_key)?;
    live.model.replace(model.cloned());
    Ok(index)
}

/// Whether the provider can be asked: with the caller's key or with one of the operator's.
fn may_ask(shard: &Shard, live: &Live, provider: usize, has_own_key: bool) -> Result<(), CloseReason> {
    if !has_own_key && shard.config.providers[provider].keys.is_empty() {
        return Err(admission::no_key(&shard.config.providers[provider].name));
    }
    live.provider.set(Some(provider));
    Ok(())
}

/// Keeps for the operator that a caller was refused.
pub(super) fn note(shard: &Shard, live: &Live, reason: &CloseReason) {
    if let (Some(identity), Some(client)) = (live.identity.get(), live.client.get()) {
        shard.refused(Some(identity), identity.key, client, reason);
    }
}
