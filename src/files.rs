//! What the configuration names beside itself: the price list, certificates, a provider's key. Loaded at the start,
//! where everything must be in order; the files are read again on SIGHUP, each by itself.

use crate::config::{self, Config, Origin, Provider};
use anyhow::{Context, anyhow};
use std::path::Path;
use std::sync::Arc;
use tokenist_control::prices::Prices;
use tokenist_control::telemetry::StaleFile;
use tokenist_core::auth_scheme::AuthScheme;
use tokenist_core::http::pass::PassList;
use tokenist_core::key::ProviderKey;
use tokenist_core::meter::Billing;
use tokenist_core::models::Models;
use tokenist_core::price::PriceTable;
use tokenist_core::provider::{Routes, Served};
use tokenist_core::terms::Terms;
use tokenist_core::time::Timestamp;
use tokenist_handoff::Published;
use tokenist_proxy::{ClientConfig, ServerConfig};

/// Everything in the configuration that names a file or a secret, loaded.
pub(crate) struct Loaded {
    pub(crate) prices: PriceTable,
    pub(crate) tls: Option<Arc<ServerConfig>>,
    /// In the order of the configuration.
    pub(crate) providers: Vec<Arc<tokenist_proxy::Provider>>,
}

/// Where what is read again is put in force.
pub(crate) struct InForce {
    pub(crate) prices: Arc<Prices>,
    pub(crate) tls: Option<Arc<Published<Arc<ServerConfig>>>>,
    /// Of each provider that speaks TLS.
    pub(crate) roots: Vec<Option<Arc<Published<Arc<ClientConfig>>>>>,
    /// What could not be read the last time that it was tried.
    pub(crate) stale: Arc<Published<Vec<StaleFile>>>,
}

pub(crate) fn load(config: &Config) -> anyhow::Result<Loaded> {
    let keeper = |settings| keeper(settings, &config.provider);
    let providers = config.provider.iter().map(|settings| provider(settings, keeper(settings)).map(Arc::new));
    Ok(Loaded {
        prices: prices(config)?,
        tls: server_tls(config)?,
        providers: providers.collect::<anyhow::Result<_>>()?,
    })
}

impl InForce {
    /// Reads each file again. One that cannot be read leaves what it had said before in force, keeps no other from being
    /// taken, and is told in health until it can.
    pub(crate) fn reload(&self, config: &Config, now: Timestamp) {
        let mut stale = Vec::new();
        let mut note = |setting: &str, outcome: anyhow::Result<()>| match outcome {
            Ok(()) => tracing::info!(setting, "read again"),
            Err(error) => {
                let reason = format!("{error:#}");
                tracing::error!(setting, "nothing was read again, the old is in force: {reason}");
                let before = self.stale.load();
                let since = before.iter().find(|file| file.setting == setting).map_or(now, |file| file.since);
                stale.push(StaleFile { setting: setting.to_owned(), reason, since });
            }
        };
        if config::file(&config.metering.prices_file).is_some() {
            note(PRICES, prices(config).map(|prices| self.prices.set_listed(prices)));
        }
        if let Some(published) = &self.tls {
            let fresh = server_tls(config).and_then(|fresh| fresh.context("proxy.tls_listen is empty"));
            note(CERTIFICATE, fresh.map(|fresh| published.set(fresh)));
        }
        for (provider, roots) in config.provider.iter().zip(&self.roots) {
            if let (Some(published), Some(path)) = (roots, config::file(&provider.ca_file)) {
                let fresh = tokenist_proxy::client_config(Some(&path)).context(ROOTS);
                note(ROOTS, fresh.map(|fresh| published.set(fresh)));
            }
        }
        if stale.is_empty() {
            tracing::info!("certificates and prices were read again");
        }
        self.stale.set(stale);
    }
}

/// The built-in prices, and the operator's file over them. A provider under a name of the operator's has the prices of whom its
/// dialect is of.
pub(crate) fn prices(config: &Config) -> anyhow::Result<PriceTable> {
    let like = |provider: &Provider| provider.family().map_or("", |family| family.defaults[0]);
    let likenesses = config.provider.iter().map(|provider| (&*provider.name, like(provider)));
    let prices = PriceTable::builtin().with_likenesses(likenesses);
    let Some(path) = config::file(&config.metering.prices_file) else { return Ok(prices) };
    let rows = std::fs::read_to_string(&path).with_context(|| format!("{PRICES} {}", path.display()))?;
    prices.with_rows(&rows).with_context(|| format!("{PRICES} {}", path.display()))
}

fn server_tls(config: &Config) -> anyhow::Result<Option<Arc<ServerConfig>>> {
    if config.proxy.tls_listen.is_empty() {
        return Ok(None);
    }
    let (cert, key) = (Path::new(&config.proxy.tls_cert), Path::new(&config.proxy.tls_key));
    tokenist_proxy::server_config(cert, key).context(CERTIFICATE).map(Some)
}

/// The name of the first provider at the same address: what is asked for by the one can be reached by the other.
fn keeper<'a>(provider: &'a Provider, all: &'a [Provider]) -> &'a str {
    let address = |provider: &Provider| {
        let Origin { host, port, .. } = Origin::parse(&provider.base_url)?;
        Some((host.to_ascii_lowercase(), port))
    };
    let same = all.iter().find(|other| address(other) == address(provider));
    &same.unwrap_or(provider).name
}

fn provider(provider: &Provider, keeper: &str) -> anyhow::Result<tokenist_proxy::Provider> {
    let origin = Origin::parse(&provider.base_url).context("provider.base_url")?;
    let roots = config::file(&provider.ca_file);
    let tls = match origin.tls {
        true => Some(tokenist_proxy::client_config(roots.as_deref()).context(ROOTS)?),
        false => None,
    };
    let keys = config::variables(&provider.api_key_env).filter_map(key).collect::<anyhow::Result<_>>()?;
    let family = provider.family().map_err(|bad| anyhow!("provider.{bad}"))?;
    let headers = PassList::with(&provider.headers).map_err(|what| anyhow!("provider.headers: {what}"))?;
    let terms = Terms::parse(&provider.terms).map_err(|what| anyhow!("provider.terms: {what}"))?;
    Ok(tokenist_proxy::Provider {
        name: provider.name.as_str().into(),
        billing: Billing::new(provider.name.as_str().into(), terms),
        keeps_under: keeper.into(),
        host: origin.host,
        port: origin.port,
        tls: tls.map(|tls| Arc::new(Published::new(tls))),
        auth: AuthScheme::named(&provider.auth).unwrap_or(family.auth),
        keys,
        headers,
    })
}

/// The key in an environment variable, if there is one.
fn key(variable: &str) -> Option<anyhow::Result<ProviderKey>> {
    let key = std::env::var(variable).ok().filter(|key| !key.is_empty())?;
    let usable = ProviderKey::parse(&key).with_context(|| {
        format!(
            "{variable} holds something that is no provider's key: it has blanks or control characters, or is a tokenist key"
        )
    });
    Some(usable)
}

/// Which provider serves what.
pub(crate) fn routes(config: &Config) -> anyhow::Result<Routes> {
    let served = config.provider.iter().map(|provider| {
        Ok(Served {
            name: provider.name.as_str().into(),
            family: provider.family().map_err(|bad| anyhow!("provider.{bad}"))?,
            models: Models::parse(&provider.models).map_err(|what| anyhow!("provider.models: {what}"))?,
        })
    });
    served.collect::<anyhow::Result<_>>().map(Routes::new)
}

const PRICES: &str = "metering.prices_file";
const CERTIFICATE: &str = "proxy.tls_cert and proxy.tls_key";
const ROOTS: &str = "provider.ca_file";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_at_one_address_is_known_under_one_name() {
        let of = |(name, base_url): (&str, &str)| Provider {
            name: name.to_owned(),
            base_url: base_url.to_owned(),
            ..Provider::default()
        };
        let all = [
            ("a", "https://api.example"),
            ("b", "https://other.example"),
            ("c", "wss://API.example:443/"),
            ("d", "https://api.example:444"),
        ]
        .map(of);
        assert_eq!(all.each_ref().map(|provider| keeper(provider, &all)), ["a", "b", "a", "d"]);
    }
}
