//! Where sessions go, as data: which provider serves a path and a model, and how it wants its credential.
//!
//! Start at [`Routes::of_path`]. A request's path says who calls ([`path::take_key`]), perhaps which provider is meant, and
//! by its shape which dialect is spoken; the model, wherever the dialect names it, chooses among the providers that are left.

pub mod models;
pub mod path;

use crate::dialect::{Dialect, Family};
use models::Models;
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
    /// Indices of the providers that could serve it; never empty.
    candidates: Vec<usize>,
    pub dialect: &'static dyn Dialect,
    /// The path at the provider.
    pub path: String,
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

impl Routes {
    /// Of one provider at least.
    pub fn new(served: Vec<Served>) -> Routes {
        Routes(served)
    }

    /// What the provider of this index serves.
    pub fn models(&self, index: usize) -> &Models {
        &self.0[index].models
    }

    /// Where a path leads, with or without `/p/NAME` in front.
    pub fn of_path(&self, path: &str) -> Result<Route, NoRoute> {
        let (named, rest) = path::take_provider(path);
        let is_meant = |served: &Served| named.is_none_or(|name| *served.name == *name);
        if let Some(name) = named.filter(|_| !self.0.iter().any(is_meant)) {
            let known = self.0.iter().map(|served| Arc::clone(&served.name)).collect();
            return Err(NoRoute::UnknownProvider { named: name.to_owned(), known });
        }
        let takes = |served: &Served| served.family.route(rest);
        let meant = || self.0.iter().enumerate().filter(|(_, served)| is_meant(served));
        let found = meant().find_map(|(_, served)| takes(served)).ok_or(NoRoute::UnknownPath)?;
        let (dialect, path) = found;
        let same = |served: &Served| takes(served).is_some_and(|(other, _)| other.name() == dialect.name());
        let candidates = meant().filter(|(_, served)| same(served)).map(|(index, _)| index).collect();
        Ok(Route { candidates, dialect, path })
    }

    /// Which provider serves a model: by its exact name, else by the longest beginning, else the first that serves any. Where
    /// nobody has named a model, the first that serves any, or else the first. `Err` is the models that are served instead.
    pub fn pick(&self, route: &Route, model: Option<&str>) -> Result<usize, Arc<str>> {
        let served = |index: &&usize| &self.0[**index].models;
        let Some(model) = model else {
            let of_any = route.candidates.iter().find(|index| served(index).is_any());
            return Ok(*of_any.unwrap_or(&route.candidates[0]));
        };
        let fitting = route.candidates.iter().filter_map(|index| Some((*index, served(&index).fit(model)?)));
        // Of equals the first that is configured.
        let best = fitting.rev().max_by_key(|(_, fit)| *fit);
        best.map(|(index, _)| index).ok_or_else(|| {
            let names: Vec<_> = route.candidates.iter().map(|index| served(&index).to_string()).collect();
            names.join(", ").into()
        })
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

    fn picked(routes: &Routes, path: &str, model: Option<&str>) -> Result<usize, String> {
        let route = routes.of_path(path).map_err(|error| error.to_string())?;
        routes.pick(&route, model).map_err(|allowed| allowed.to_string())
    }

    #[test]
    fn a_path_a_name_and_a_model_say_where_a_session_goes() {
        let routes = routes(&[
            ("openai", "openai", ""),
            ("mini", "openai", "gpt-realtime-mini, gpt-realtime-2*"),
            ("azure", "openai", "gpt-realtime-2.1*, mine"),
            ("google", "gemini", "gemini-3.8-live"),
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
            ("/v1/chat", None, Err("no provider here takes this path")),
            ("/p/google/v1/realtime", None, Err("no provider here takes this path")),
            (
                "/p/nobody/v1/realtime",
                None,
                Err("there is no provider \"nobody\" here; there is openai, mini, azure, google"),
            ),
        ] {
            assert_eq!(picked(&routes, path, model), wanted.map_err(str::to_owned), "{path} {model:?}");
        }
    }
}
