//! What providers speak over HTTP: which of their endpoints a request is for, where it names its model, and where an answer
//! keeps what the meter needs.
//!
//! Start at [`Api::endpoint`] with a request's method and path. [`Endpoint::asked`] (or a [`Multipart`] reader) tells what a
//! body asks for, and an [`Answer`] turns the bytes of what comes back into the [`ProviderEvent`]s that a
//! [`Meter`](crate::meter::Meter) takes. Invariant: an API keeps no state, knows no price and cannot fail; what it does not
//! understand is nothing to it, and what an answer's reader holds is bounded.
//!
//! For each request:
//! 1. [`of_family`], [`Api::endpoint`]; nothing of one that is not `metered` is read.
//! 2. The model stands in [`Endpoint::model`], in the body, or is told by the answer alone ([`Endpoint::model_in`]).
//! 3. `meter = Meter::of_api(…)`, `meter.ask(&asked)`, and where it is to be injected [`Asked::with_usage`]; then
//!    a [`UsageFilter`] stands behind the reader, and the answer has to come in no coding.
//! 4. `answer = Answer::new(…)` with the head; each piece of the body to [`Answer::read`], what it tells to `meter.take`.
//! 5. At the end, however it comes, [`Answer::end`] and `meter.settle`. A stream that is to be ended before that: nothing
//!    more behind a piece that ended an event, but [`Answer::ending`].

mod answer;
mod anthropic;
mod behind;
mod google;
mod hide;
mod multipart;
mod openai;
mod request;
mod skim;
mod sound;
mod sse;
mod wanted;

pub use self::answer::{Answer, Piece};
pub use self::behind::Behind;
pub use self::hide::UsageFilter;
pub use self::multipart::Multipart;
pub use self::request::Asked;

use self::answer::{Event, Progress};
use self::wanted::Wants;
use crate::close_reason::CloseReason;
use crate::dialect::{ApiName, Family, ProviderEvent, Rates};
use crate::http::RequestHead;
use serde_json::json;
use std::fmt;

/// The words of one provider's HTTP endpoints.
pub trait Api: fmt::Debug + Send + Sync {
    /// Tells it from others.
    fn name(&self) -> &'static str;

    /// Which of its endpoints a request is for, whatever stands before them in its path (which is without query, and decoded
    /// no further than a route needs); `None` if none.
    fn endpoint(&self, method: &str, path: &str) -> Option<Endpoint>;

    /// What an estimate assumes of sound and images.
    fn rates(&self) -> &'static Rates;

    /// What a request asks for that would keep the answer from being metered, and what to do; `None`: nothing.
    fn hinders(&self, _head: &RequestHead) -> Option<&'static str> {
        None
    }

    /// The body of an answer with status 404: under this id nothing is kept.
    fn absent(&self, id: &str) -> String {
        let message = format!("Nothing with id '{id}' was found.");
        let error = json!({"message": message, "type": "invalid_request_error", "param": null, "code": null});
        json!({"error": error}).to_string()
    }

    /// Likewise, with status 400, of what a request goes on from.
    fn absent_before(&self, id: &str) -> String {
        self.absent(id)
    }

    /// The body of an answer that refuses a request, in JSON. Its status is [`CloseReason::http_status`].
    fn error_body(&self, reason: &CloseReason) -> String;
}

/// The APIs of a provider's family.
pub fn of_family(family: &Family) -> impl Iterator<Item = &'static dyn Api> {
    family.apis.iter().map(|name| of(*name))
}

fn of(name: ApiName) -> &'static dyn Api {
    match name {
        ApiName::Openai => &openai::OpenaiHttp,
        ApiName::Google => &google::GoogleHttp,
        ApiName::Anthropic => &anthropic::AnthropicHttp,
    }
}

/// One of an API's endpoints, as a request names it.
#[derive(Clone, Debug)]
pub struct Endpoint {
    call: &'static Call,
    /// The path at the provider; prefixes of a base URL are gone.
    pub path: String,
    /// The model, where the path names it.
    pub model: Option<String>,
    /// By which id the provider keeps what the path names.
    pub kept_id: Option<String>,
}

/// What is the same for all requests to an endpoint.
#[derive(Clone, Copy, Debug)]
struct Call {
    name: &'static str,
    model_in: ModelIn,
    is_metered: bool,
    is_repeatable: bool,
    /// The answer comes in pieces, whatever the body asks for.
    is_stream: bool,
    /// A stream of it states its usage only where that is asked for.
    has_to_be_asked: bool,
    /// Whether the provider keeps the answer under its id where the body does not say; `None`: it never does.
    keeps: Option<bool>,
    reach: Reach,
    /// The answer may be something else than JSON, and is measured by its length then.
    may_be_bytes: bool,
    /// The header of an answer that tells the tier it was given.
    tier_header: Option<&'static str>,
    ask: fn(&[u8]) -> Asked,
    /// What of an answer, or of an event of it, is wanted.
    wanted: &'static Wants,
    read: fn(&Event<'_>, &mut Progress),
    /// The bytes that end a stream behind so many events.
    ending: fn(&CloseReason, u64) -> String,
    /// The element that ends an array of them.
    error: fn(&CloseReason) -> String,
}

impl Call {
    /// One that costs nothing and names no model.
    const FREE: Call = Call {
        name: "",
        model_in: ModelIn::Answer,
        is_metered: false,
        is_repeatable: false,
        is_stream: false,
        has_to_be_asked: false,
        keeps: None,
        reach: Reach::Anew,
        may_be_bytes: false,
        tier_header: None,
        ask: Asked::of,
        wanted: &Wants::new(&[]),
        read: |_, _| {},
        ending: |_, _| String::new(),
        error: |_| String::new(),
    };
}

/// What of all that a provider keeps under the operator's key a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Nothing that was there before.
    Anew,
    /// What is kept under the id in its path.
    One,
    /// All that anybody has had kept.
    All,
}

/// Whether a word of a path is a name, as ids, models and deployments are: a provider cannot take it for a path, or for several
/// words.
fn is_name(word: &str) -> bool {
    let is_in_name = |byte: u8| byte.is_ascii_alphanumeric() || b"._:@~-".contains(&byte);
    word.bytes().all(is_in_name) && word.bytes().any(|byte| byte != b'.')
}

/// Where a request names its model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelIn {
    Path,
    /// In a JSON body, which has to be held for that.
    Json,
    /// In a part of a multipart body, perhaps behind a file ([`Multipart`]); a body of another type is JSON.
    Multipart,
    /// Nowhere; the answer may tell it.
    Answer,
}

impl Endpoint {
    /// What reports call it, such as `chat_completions`.
    pub fn name(&self) -> &'static str {
        self.call.name
    }

    /// Whether anything of it is billed.
    pub fn is_metered(&self) -> bool {
        self.call.is_metered
    }

    /// Whether what it answers may be answered again to another request: then a response is counted by whoever may claim it
    /// ([`Meter::share`](crate::meter::Meter::share)).
    pub fn is_repeatable(&self) -> bool {
        self.call.is_repeatable
    }

    /// Whether what it answers is made for this request alone, and so is new whatever its id. What runs in the background may
    /// have been answered to another request before.
    pub fn answers_anew(&self, asked: &Asked) -> bool {
        self.call.model_in != ModelIn::Answer && !asked.in_background
    }

    pub fn reach(&self) -> Reach {
        self.call.reach
    }

    /// Whether the provider keeps the answer to what is asked, so that it can be asked for again by its id.
    pub fn keeps(&self, asked: &Asked) -> bool {
        let keeps = self.call.keeps.map(|unless_said| asked.is_kept.unwrap_or(unless_said));
        keeps.is_some_and(|keeps| keeps || asked.in_background)
    }

    /// Whether the answer to what is asked comes in pieces.
    pub fn streams(&self, asked: &Asked) -> bool {
        self.call.is_stream || asked.streams
    }

    pub fn model_in(&self) -> ModelIn {
        if self.model.is_some() { ModelIn::Path } else { self.call.model_in }
    }

    /// What a JSON body asks for, or as much of it as there is.
    pub fn asked(&self, body: &[u8]) -> Asked {
        (self.call.ask)(body)
    }

    /// What of a JSON body may not come behind these first bytes of it.
    pub fn behind(&self, held: &[u8]) -> Behind {
        Behind::new(held, !self.call.has_to_be_asked)
    }
}
