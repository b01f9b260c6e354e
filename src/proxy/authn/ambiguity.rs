//! Requests in which two readers could find different credentials, hosts or models: none of them is served.

use super::{
    CREDENTIAL_HEADERS, CREDENTIAL_PARAMETERS, MODEL_PARAMETERS, decoded, is_own, shown, subprotocols,
};
use std::borrow::Cow;
use tokenist_core::http::query::Parameter;
use tokenist_core::http::{HeadError, RequestHead, Version};

/// Where a URL names the model of those who call it otherwise than [`MODEL_PARAMETERS`].
const OTHER_MODEL_PARAMETERS: [&str; 2] = ["model_id", "speech_model"];
/// Query parameters that say what a session is attached to, and what it is for.
const PURPOSE_PARAMETERS: [&str; 2] = [CALL_PARAMETER, "intent"];
const CALL_PARAMETER: &str = "call_id";

/// Refuses a request of which two readers could take different credentials or hosts: one that has two of a name, or shows a
/// tokenist key in one place and something else in another. Of a provider's keys in several places the first counts, in
/// the order SDKs mean them, and no other goes anywhere.
pub(crate) fn refuse_ambiguous(head: &RequestHead) -> Result<(), HeadError> {
    let mut single = CREDENTIAL_HEADERS.iter().chain(&[("host", "Host")]);
    let twice = single.find(|(name, _)| head.headers.count(name) > 1);
    if let Some((_, written)) = twice {
        return Err(HeadError::Twice(written));
    }
    if head.version == Version::Http11 && head.headers.get("host").is_none() {
        return Err(HeadError::Malformed("it has no Host: send one"));
    }
    if head.headers.hides_content() {
        return Err(HeadError::Malformed("its Connection names a header that is not for the connection"));
    }
    let names: Vec<_> = head.query().map(Parameter::name).collect();
    let is_twice = |known: &&str| spellings(&names, known).count() > 1;
    if let Some(known) = CREDENTIAL_PARAMETERS.into_iter().find(is_twice) {
        return Err(HeadError::Twice(known));
    }
    let read = MODEL_PARAMETERS.into_iter().chain(OTHER_MODEL_PARAMETERS).chain(PURPOSE_PARAMETERS);
    refuse_unclear(&names, read)?;
    refuse_two_models(head)?;
    refuse_call_with_model(head)?;
    if subprotocols(head).count() > 1 {
        return Err(HeadError::Twice("the subprotocol of an API key"));
    }
    let shown = shown(head);
    let tokenist = shown.iter().filter(|key| is_own(key)).count();
    match tokenist > 0 && tokenist < shown.len() {
        true => Err(HeadError::Malformed("it shows a tokenist key and another one; send one of them")),
        false => Ok(()),
    }
}

/// Refuses a request among whose parameters one of these is twice, or in another case than it is read in: to some that is another
/// one.
pub(crate) fn refuse_unclear(
    said: &[Cow<'_, str>],
    mut names: impl Iterator<Item = &'static str>,
) -> Result<(), HeadError> {
    let doubt = |known: &'static str| {
        let mut found = spellings(said, known);
        let first = found.next()?;
        let is_twice = found.next().is_some();
        (is_twice.then_some(HeadError::Twice(known)))
            .or_else(|| (first != known).then_some(HeadError::Spelled(known)))
    };
    names.find_map(doubt).map_or(Ok(()), Err)
}

/// Those that are this name, in whatever case.
fn spellings<'a>(said: &'a [Cow<'_, str>], known: &str) -> impl Iterator<Item = &'a str> {
    said.iter().map(|name| &**name).filter(move |name| name.eq_ignore_ascii_case(known))
}

/// Refuses a request that names two models, one as this provider reads it and one as another does.
fn refuse_two_models(head: &RequestHead) -> Result<(), HeadError> {
    let mut named = models_named(head);
    let first = named.next();
    match named.any(|other| first.as_ref() != Some(&other)) {
        true => Err(HeadError::Malformed("its query names two models; name one")),
        false => Ok(()),
    }
}

/// Refuses a request that names a call, as whoever attaches to it does, and a model, as whoever begins a session does: whether it
/// may, and who counts what it hears, differ.
fn refuse_call_with_model(head: &RequestHead) -> Result<(), HeadError> {
    let is_call = |found: &Parameter<'_>| found.name() == CALL_PARAMETER && !found.value().is_empty();
    match head.query().any(|found| is_call(&found)) && models_named(head).next().is_some() {
        true => Err(HeadError::Malformed(
            "its query names a call and a model; a call has its own, so name the call alone",
        )),
        false => Ok(()),
    }
}

/// The models that the query names, in whatever a provider reads.
fn models_named(head: &RequestHead) -> impl Iterator<Item = Cow<'_, str>> {
    let names = || MODEL_PARAMETERS.iter().chain(&OTHER_MODEL_PARAMETERS);
    let is_model =
        move |parameter: &Parameter<'_>| names().any(|name| parameter.name().eq_ignore_ascii_case(name));
    let models = head.query().filter(is_model).map(|parameter| decoded(parameter.value()));
    models.filter(|model| !model.is_empty())
}
