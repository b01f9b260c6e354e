//! Where sessions go, as data: which provider serves a path and a model, and how it wants its credential.
//!
//! Start at [`Routes::of_path`]. A request's path says who calls ([`path::take_key`]), perhaps which provider is meant, and
//! by its shape which dialects it may be in; the model, wherever they name it, chooses among the providers that are left, and
//! what the chosen one speaks is the session's.

pub mod path;

use crate::api::{self, Api, Endpoint};
use crate::close_reason::CloseReason;
use crate::dialect::{Address, Dialect, Family};
use crate::models::Models;
use crate::signalling::Signal;
use crate::verdict::judge_model;
use std::fmt;
use std::sync::Arc;

/// What the routes know of a provider.
#[derive(Clone, Debug)]
pub struct Served {
    /// As `/p/NAME/` and reports call it.
    pub name: Arc<str>,
    pub family: &'static Family,
    /// The models that it serves.
    pub models: Models,
}

/// All providers, in the order in which they are configured.
#[derive(Clone, Debug)]
pub struct Routes(Vec<Served>);

/// Where a request may go, as far as its path tells.
#[derive(Clone, Debug)]
pub struct Route {
    /// The providers that could serve it, those first whose own the path is; never empty.
    candidates: Vec<Candidate>,
    /// What the first of them speaks: in it a session is refused for which none is chosen.
    pub dialect: &'static dyn Dialect,
}

#[derive(Clone, Debug)]
struct Candidate {
    index: usize,
    dialect: &'static dyn Dialect,
    /// The path at the provider.
    path: String,
}

/// Where a request for no session may go, as far as its method and path tell.
#[derive(Clone, Debug)]
pub struct RequestRoute {
    /// The providers that could serve it, by index, those first whose own the path is; never empty.
    candidates: Vec<(usize, &'static dyn Api, Endpoint)>,
}

impl RequestRoute {
    /// In which words it is refused while no provider is chosen, and where it names its model.
    pub fn first(&self) -> (&'static dyn Api, &Endpoint) {
        let (_, api, endpoint) = &self.candidates[0];
        (*api, endpoint)
    }

    /// What the candidate of this index speaks.
    pub fn at(&self, index: usize) -> (&'static dyn Api, &Endpoint) {
        let chosen = self.candidates.iter().find(|(candidate, ..)| *candidate == index);
        let (_, api, endpoint) = chosen.unwrap_or(&self.candidates[0]);
        (*api, endpoint)
    }
}

/// Why a path leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoRoute {
    UnknownPath,
    /// `/p/NAME/` names none of these.
    UnknownProvider {
        named: String,
        known: Vec<Arc<str>>,
    },
}

impl fmt::Display for NoRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoRoute::UnknownPath => f.write_str("no provider here takes this path"),
            NoRoute::UnknownProvider { named, known } => {
                write!(f, "there is no provider {named:?} here; there is {}", known.join(", "))
            }
        }
    }
}

impl Route {
    /// The parameters of the query that any of the candidates reads.
    pub fn parameters(&self) -> impl Iterator<Item = &'static str> {
        self.candidates.iter().flat_map(|candidate| candidate.dialect.parameters())
    }

    /// Leads to the provider of this index alone, if it may lead there at all.
    pub fn keep(&mut self, index: usize) -> bool {
        let is_one = self.candidates.iter().any(|candidate| candidate.index == index);
        self.candidates.retain(|candidate| !is_one || candidate.index == index);
        is_one
    }

    /// What the candidate of this index speaks, and the path there.
    pub fn at(&self, index: usize) -> (&'static dyn Dialect, &str) {
        let chosen = self.candidates.iter().find(|candidate| candidate.index == index);
        let Candidate { dialect, path, .. } = chosen.unwrap_or(&self.candidates[0]);
        (*dialect, path)
    }
}

impl Routes {
    /// Of one provider at least.
    pub fn new(served: Vec<Served>) -> Routes {
        Routes(served)
    }

    /// What the provider of this index serves.
    pub fn models(&self, index: usize) -> &Models {
        &self.0[index].models
    }

    /// What is to be answered where a path, with or without `/p/NAME` in front, asks for an address to dial.
    pub fn address(&self, path: &str) -> Option<Address> {
        let (named, rest) = path::take_provider(path);
        let mut meant = self.0.iter().filter(|served| named.is_none_or(|name| *served.name == *name));
        meant.find_map(|served| served.family.address(rest))
    }

    /// Where a path leads, with or without `/p/NAME` in front.
    pub fn of_path(&self, path: &str) -> Result<Route, NoRoute> {
        let (named, rest) = path::take_provider(path);
        let is_meant = |served: &Served| named.is_none_or(|name| *served.name == *name);
        if let Some(name) = named.filter(|_| !self.0.iter().any(is_meant)) {
            let known = self.0.iter().map(|served| Arc::clone(&served.name)).collect();
            return Err(NoRoute::UnknownProvider { named: name.to_owned(), known });
        }
        let meant = self.0.iter().enumerate().filter(|(_, served)| is_meant(served));
        let mut candidates: Vec<Candidate> = meant
            .filter_map(|(index, served)| {
                let (dialect, path) = served.family.route(rest)?;
                Some(Candidate { index, dialect, path })
            })
            .collect();
        candidates.sort_by_key(|candidate| !self.0[candidate.index].family.is_at_home(rest));
        let dialect = candidates.first().ok_or(NoRoute::UnknownPath)?.dialect;
        // Where the model is named has to be known before a provider is chosen.
        candidates.retain(|candidate| candidate.dialect.model_is_in() == dialect.model_is_in());
        Ok(Route { candidates, dialect })
    }

    /// Where the sockets of a request's calls lead: to those providers alone that have such calls.
    pub fn of_calls(&self, signal: &Signal) -> Option<Route> {
        let mut route = self.of_path(&signal.socket).ok()?;
        route.candidates.retain(|candidate| candidate.dialect.calls() == Some(signal.calls));
        route.dialect = route.candidates.first()?.dialect;
        Some(route)
    }

    /// The index of the provider of this name.
    pub fn index(&self, name: &str) -> Option<usize> {
        self.0.iter().position(|served| *served.name == *name)
    }

    /// Where a request for no session leads, with or without `/p/NAME` in front of its path. `None`: no API knows it.
    pub fn of_request(&self, method: &str, path: &str) -> Option<RequestRoute> {
        let (named, rest) = path::take_provider(path);
        let is_meant = |served: &Served| named.is_none_or(|name| *served.name == *name);
        let meant = self.0.iter().enumerate().filter(|(_, served)| is_meant(served));
        let found = meant.filter_map(|(index, served)| {
            let mut apis = api::of_family(served.family);
            apis.find_map(|api| Some((index, api, api.endpoint(method, rest)?)))
        });
        let mut candidates: Vec<_> = found.collect();
        candidates.sort_by_key(|(index, ..)| !self.0[*index].family.is_at_home(rest));
        let model_in = candidates.first()?.2.model_in();
        // Where the model is named has to be known before a provider is chosen.
        candidates.retain(|(_, _, endpoint)| endpoint.model_in() == model_in);
        Some(RequestRoute { candidates })
    }

    /// The provider that is asked for a path which no dialect of any takes, and the path there: the one that `/p/NAME` in front
    /// of it names, else the first.
    pub fn unmetered<'a>(&self, path: &'a str) -> Result<(usize, &'a str), NoRoute> {
        let (named, rest) = path::take_provider(path);
        let index = self.0.iter().position(|served| named.is_none_or(|name| *served.name == *name));
        index.map(|index| (index, rest)).ok_or(NoRoute::UnknownPath)
    }

    /// Which provider serves a model: by its exact name, else by the longest beginning, else the first that serves any. Where
    /// nobody has named a model, the first that serves any, or else the first. `Err`: it is none that is served here and that
    /// the lists `bounds` allow, too.
    pub fn pick(
        &self,
        route: &Route,
        model: Option<&str>,
        bounds: Vec<Models>,
    ) -> Result<usize, CloseReason> {
        let candidates: Vec<usize> = route.candidates.iter().map(|candidate| candidate.index).collect();
        self.pick_of(&candidates, model, bounds)
    }

    /// As [`Routes::pick`], for a request that is for no session.
    pub fn pick_for_request(
        &self,
        route: &RequestRoute,
        model: Option<&str>,
        bounds: Vec<Models>,
    ) -> Result<usize, CloseReason> {
        let candidates: Vec<usize> = route.candidates.iter().map(|(index, ..)| *index).collect();
        self.pick_of(&candidates, model, bounds)
    }

    fn pick_of(
        &self,
        candidates: &[usize],
        model: Option<&str>,
        mut bounds: Vec<Models>,
    ) -> Result<usize, CloseReason> {
        let served = |index: usize| &self.0[index].models;
        let (first, candidates) = (candidates[0], candidates.iter().copied());
        let Some(model) = model else {
            return Ok(candidates.into_iter().find(|index| served(*index).is_any()).unwrap_or(first));
        };
        bounds.insert(0, Models::of_any(candidates.clone().map(served)));
        if let Some(reason) = judge_model(model, &bounds) {
            return Err(reason);
        }
        let fitting = candidates.filter_map(|index| Some((index, served(index).fit(model)?)));
        // Of equals the first: the one whose path it is, else the one that is configured first.
        Ok(fitting.rev().max_by_key(|(_, fit)| *fit).map_or(first, |(index, _)| index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::family;

    fn routes(rows: &[(&str, &str, &str)]) -> Routes {
        let served = rows.iter().map(|(name, dialect, models)| Served {
            name: Arc::from(*name),
            family: family(dialect).unwrap(),
            models: Models::parse(models).unwrap(),
        });
        Routes::new(served.collect())
    }

    /// The index of the provider; why there is none, or the models that are allowed.
    fn picked(routes: &Routes, path: &str, model: Option<&str>, bounds: &[&str]) -> Result<usize, String> {
        let route = routes.of_path(path).map_err(|error| error.to_string())?;
        let bounds = bounds.iter().map(|list| Models::parse(list).unwrap()).collect();
        routes.pick(&route, model, bounds).map_err(|reason| match reason {
            CloseReason::ModelNotAllowed { allowed, .. } => allowed.to_string(),
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn a_path_a_name_and_a_model_say_where_a_session_goes() {
        let routes = routes(&[
            ("openai", "openai", ""),
            ("mini", "openai", "gpt-realtime-mini, gpt-realtime-2*"),
            ("azure", "openai", "gpt-realtime-2.1*, mine"),
            ("google", "gemini", "gemini-3.8-live"),
            ("qwen", "qwen_omni", "qwen*"),
        ]);
        let gemini = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent";
        for (path, model, wanted) in [
            ("/v1/realtime", Some("gpt-realtime"), Ok(0)),
            ("/v1/realtime", None, Ok(0)),
            ("/realtime", Some("gpt-realtime-mini"), Ok(1)),
            ("/v1/realtime", Some("gpt-realtime-2"), Ok(1)),
            ("/v1/realtime", Some("gpt-realtime-2.1"), Ok(2)),
            ("/openai/realtime", Some("mine"), Ok(2)),
            ("/p/azure/openai/v1/realtime", Some("mine"), Ok(2)),
            ("/p/azure/openai/realtime", None, Ok(2)),
            ("/p/azure/v1/realtime", Some("gpt-realtime"), Err("gpt-realtime-2.1*, mine")),
            (gemini, Some("gemini-3.8-live"), Ok(3)),
            (gemini, None, Ok(3)),
            (gemini, Some("gemini-9"), Err("gemini-3.8-live")),
            ("/v1/realtime", Some("qwen3.8-omni-flash-realtime"), Ok(4)),
            ("/api-ws/v1/realtime", Some("qwen3.8-omni-flash-realtime"), Ok(4)),
            ("/v1/chat", None, Err("no provider here takes this path")),
            ("/p/google/v1/realtime", None, Err("no provider here takes this path")),
            (
                "/p/nobody/v1/realtime",
                None,
                Err("there is no provider \"nobody\" here; there is openai, mini, azure, google, qwen"),
            ),
        ] {
            assert_eq!(picked(&routes, path, model, &[]), wanted.map_err(str::to_owned), "{path} {model:?}");
        }
        let route = routes.of_path("/v1/realtime").unwrap();
        for (index, dialect, path) in
            [(0, "openai_realtime", "/v1/realtime"), (4, "qwen_omni", "/api-ws/v1/realtime")]
        {
            let (spoken, at) = route.at(index);
            assert_eq!((spoken.name(), at), (dialect, path));
        }
    }

    #[test]
    fn of_equals_azure_goes_first_on_its_own_paths_and_last_on_others() {
        for (rows, azure) in [
            ([("openai", "openai", ""), ("azure", "azure", ""), ("xai", "xai", "")], 1),
            ([("azure", "azure", ""), ("openai", "openai", ""), ("xai", "xai", "")], 0),
        ] {
            let (routes, openai) = (routes(&rows), 1 - azure);
            let deployment = "/openai/deployments/mine/chat/completions";
            for (path, wanted) in [
                (deployment, azure),
                ("/openai/v1/responses", azure),
                ("/v1/chat/completions", openai),
                ("/v1/responses", openai),
            ] {
                let route = routes.of_request("POST", path).unwrap();
                assert_eq!(routes.pick_for_request(&route, Some("mine"), Vec::new()), Ok(wanted), "{path}");
            }
            for (path, wanted) in
                [("/openai/v1/realtime", azure), ("/openai/realtime", azure), ("/v1/realtime", openai)]
            {
                assert_eq!(picked(&routes, path, Some("mine"), &[]), Ok(wanted), "{path}");
            }
        }
    }

    #[test]
    fn a_model_has_to_be_served_and_to_be_allowed_by_every_list() {
        let routes = routes(&[("openai", "openai", "gpt-realtime*"), ("mini", "openai", "gpt-mini")]);
        for (model, bounds, wanted) in [
            (Some("gpt-mini"), &["gpt-*", "gpt-mini, gpt-realtime"][..], Ok(1)),
            (Some("gpt-realtime-2"), &["gpt-realtime-2*"], Ok(0)),
            (None, &["gpt-realtime-2*"], Ok(0)),
            (Some("gpt-realtime"), &["gpt-mini", "gpt-*"], Err("gpt-mini")),
            (Some("gpt-realtime"), &["gpt-realtime-2*, gemini-3"], Err("gpt-realtime-2*")),
            (Some("gpt-5"), &["gpt-5"], Err("")),
        ] {
            let found = picked(&routes, "/v1/realtime", model, bounds);
            assert_eq!(found, wanted.map_err(str::to_owned), "{model:?} {bounds:?}");
        }
    }
}
