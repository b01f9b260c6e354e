//! Every setting with its default.

use super::calls::WebRtc;
use super::uri::SecretUri;
use serde::{Deserialize, Serialize};
use std::fmt;
use tokenist_core::dialect::{self, BadWord, Family, Words, duration};
use tokenist_core::limit::{Mode, OnRedisDown, WindowKind};
use tokenist_core::meter::EstimateMode;

/// Everything an operator can set. Each field's comment says its unit and what happens at its edge.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Config {
    pub(crate) proxy: Proxy,
    pub(crate) identity: Identity,
    pub(crate) admission: Admission,
    pub(crate) http: Http,
    pub(crate) browser: Browser,
    pub(crate) webrtc: WebRtc,
    pub(crate) admin: Admin,
    pub(crate) store: Store,
    pub(crate) limits: Limits,
    pub(crate) tiers: Tiers,
    pub(crate) metering: Metering,
    pub(crate) log: Log,
    pub(crate) provider: Vec<Provider>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Proxy {
    /// Where applications connect in plain; empty for nowhere.
    pub(crate) listen: String,
    /// Where they connect over TLS; empty for nowhere. Needs the two files.
    pub(crate) tls_listen: String,
    /// PEM: the certificate chain, leaf first. Read again on SIGHUP.
    pub(crate) tls_cert: String,
    /// PEM: its private key.
    pub(crate) tls_key: String,
    /// Threads that relay; 0: one per CPU the process may use.
    pub(crate) shard_count: usize,
    /// Bind each shard to a CPU of its own, where shards and the CPUs of the process are as many. Turn it off where
    /// other busy processes share the machine.
    pub(crate) pin: bool,
    /// Listen also where another process of the same user listens already: it takes over from one that is drained
    /// next. Otherwise a port that is taken is refused.
    pub(crate) takeover: bool,
    /// Sessions per shard; past it a request gets 503 and `Retry-After`.
    pub(crate) session_max: usize,
    /// The longest message of either side; past it the session ends with 1009.
    pub(crate) message_max_bytes: u64,
    pub(crate) driver: Driver,
    /// Beat of reports, deadlines and sweeps.
    pub(crate) tick_ms: u64,
    /// From accept to the end of the request's head; past it the connection is closed.
    pub(crate) head_seconds: u64,
    /// From there to the provider's answer; past it the client gets 4502.
    pub(crate) dial_seconds: u64,
    /// A side silent for this long is pinged within as long again, each session at a time of its own; after three times
    /// this long it is taken for dead.
    pub(crate) ping_seconds: u64,
    /// What sessions are given to end in after SIGTERM; then they get 1001.
    pub(crate) drain_seconds: u64,
    /// Addresses and networks of proxies, separated by commas, whose word is taken for where a request comes from, on
    /// the admin port as well; empty for none.
    pub(crate) trusted_proxies: String,
    /// Connections from them begin with a header of the PROXY protocol, version 1 or 2; one that does not is closed.
    pub(crate) proxy_protocol: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Driver {
    #[default]
    Auto,
    IoUring,
    Epoll,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Identity {
    /// Callers may bring their own provider key.
    pub(crate) passthrough: bool,
    /// Accept `?user_id= &org_id= &feature=`; they are stripped before forwarding.
    pub(crate) query: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Admission {
    pub(crate) refuse: Refuse,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Refuse {
    Close,
    Http,
    /// Close, but HTTP for a client that was refused three times for one reason within half a minute.
    #[default]
    Auto,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Http {
    /// Requests whose answers cannot be metered: pass them to the provider uncounted, or refuse them with 404.
    pub(crate) unmetered: Unmetered,
    /// How many bytes of a request's JSON are held until its model is known; past it 413.
    pub(crate) body_max_before_model: u64,
    /// Ask for usage in chat streams whose client has not, and keep the event that states it from the client.
    pub(crate) include_usage: bool,
    /// How long a client's connection is kept for its next request.
    pub(crate) keep_alive_seconds: u64,
    /// How long the provider may say nothing before or within an answer; past it the client gets 502.
    pub(crate) answer_seconds: u64,
    /// How long a client may send nothing of a body that is not whole; past it it gets 408.
    pub(crate) body_seconds: u64,
    /// How long nothing may be heard of a response in the background before it is booked by estimate.
    pub(crate) background_seconds: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Browser {
    /// Origins whose pages may come to the data port, separated by commas; `*` for any, empty for none.
    pub(crate) origins: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unmetered {
    Pass,
    #[default]
    Refuse,
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Admin {
    /// Where operators connect.
    pub(crate) listen: String,
    /// The operator's token; if empty, one is generated and printed once.
    pub(crate) token: String,
    /// Let anybody who reaches the port make an account: `POST /auth/register`.
    pub(crate) registration: bool,
    /// Serve `/metrics` to anybody who reaches the port.
    pub(crate) metrics_open: bool,
    /// Origins that browsers may call from, separated by commas; empty for none.
    pub(crate) cors_origins: String,
}

/// Never shows the token.
impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Admin({})", self.listen)
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Store {
    pub(crate) kind: StoreKind,
    /// The folder of the embedded ledger; relative to where tokenist was started. One process at a time uses it.
    pub(crate) path: String,
    /// How often what was counted is written and synced: what a power loss can take.
    pub(crate) commit_ms: u64,
    /// Events, sessions and logs are kept for so many days before the newest row; 0: for ever.
    pub(crate) details_days: u64,
    /// Hourly rollups and the audit likewise. Sums by day and month stay. At least 3, and more than any rule looks back.
    pub(crate) rollups_days: u64,
    /// The record of who was refused likewise: it has addresses in it.
    pub(crate) refusals_days: u64,
    /// Where instances meet, with `kind = "mongodb"`: `mongodb://…` or `mongodb+srv://…`.
    pub(crate) mongodb_uri: SecretUri,
    pub(crate) mongodb_db: String,
    /// Statements that one command to MongoDB has; 0: as many as the server bears.
    pub(crate) mongodb_batch: usize,
    /// Users, orgs and keys kept in memory; past it the one that was idle longest is forgotten.
    pub(crate) users_max: usize,
    /// Where instances that hold the same limits meet; empty for an instance on its own. With several servers of a
    /// cluster separated by commas.
    pub(crate) redis_uri: SecretUri,
    /// How many instances there are at least: what `local_share` divides by where none could be counted yet.
    pub(crate) instances_min: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StoreKind {
    /// Nothing outlives the process.
    Memory,
    /// A file of this instance's own.
    #[default]
    Sqlite,
    /// That file, and a copy of it where instances meet.
    Mongodb,
}

/// What binds every user that has no limit of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Limits {
    /// US dollars; 0 denies everybody, a negative number is no limit.
    pub(crate) max_cost_usd: f64,
    /// 0: none.
    pub(crate) max_total_tokens: u64,
    pub(crate) window: WindowKind,
    /// `enforce`, or `warn` to tell only the operator.
    pub(crate) mode: Mode,
    /// 0: none.
    pub(crate) sessions_per_user: u32,
    /// A session's longest life; 0: none.
    pub(crate) session_seconds: u64,
    /// A session without messages for this long ends; 0: none.
    pub(crate) idle_seconds: u64,
    /// What holds while `store.redis_uri` cannot be reached: `local_share`, `allow` or `refuse`.
    pub(crate) on_redis_down: OnRedisDown,
    /// The models that may be used, separated by commas, with a last `*` for any end; empty for all that providers serve.
    pub(crate) models: String,
}

/// Requests that an org of each tier may make in a calendar month; 0: as many as it likes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Tiers {
    pub(crate) free: u64,
    pub(crate) starter: u64,
    pub(crate) growth: u64,
    pub(crate) pro: u64,
    pub(crate) enterprise: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Metering {
    pub(crate) estimate: Estimate,
    /// How long a provider is heard out for the usage of what was under way when nobody listens any more; 0: not at
    /// all, and it is booked by estimate at once.
    pub(crate) linger_seconds: u64,
    /// A CSV of prices that go before the built-in ones; empty for none. Read again on SIGHUP.
    pub(crate) prices_file: String,
    /// A session of a model without a known price is refused, or ended once that is its model; otherwise it costs the
    /// fallback.
    pub(crate) refuse_unknown_models: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Estimate {
    #[default]
    Enforce,
    Observe,
    Off,
}

impl From<Estimate> for EstimateMode {
    fn from(estimate: Estimate) -> EstimateMode {
        match estimate {
            Estimate::Enforce => EstimateMode::Enforce,
            Estimate::Observe => EstimateMode::Observe,
            Estimate::Off => EstimateMode::Off,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Log {
    /// `error`, `warn`, `info`, `debug` or `trace`, or a filter such as `info,tokenist_proxy=debug`.
    pub(crate) level: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Provider {
    /// As `/p/NAME/`, reports and price lists call it; the next three have the dialect's defaults where it is another one.
    pub(crate) name: String,
    /// What it speaks, by the name of a family.
    pub(crate) dialect: String,
    /// Scheme, host and port; paths are kept as they come.
    pub(crate) base_url: String,
    /// The environment variables that hold the operator's keys, separated by commas. They take turns; one that the provider
    /// refuses rests.
    pub(crate) api_key_env: String,
    /// How it wants a key: `bearer`, `basic`, `token`, `bare`, `api-key`, `x-goog-api-key` or `header:NAME`; empty for what the
    /// dialect says.
    pub(crate) auth: String,
    /// The models that it serves, separated by commas, with a last `*` for any end; empty for all that no other provider
    /// names.
    pub(crate) models: String,
    /// PEM: an extra root for a private upstream; empty for none. Read again on SIGHUP.
    pub(crate) ca_file: String,
    /// Headers of clients that it gets to see beside those that SDKs send to providers, separated by commas. A last `*`
    /// stands for any end. Credentials never pass by a pattern, and what tokenist reads itself never does.
    pub(crate) headers: String,
    /// On which terms all is billed that goes there, as price lists name them: `deployment=data_zone`, separated by commas.
    pub(crate) terms: String,
    /// Of a work-alike of OpenAI Realtime, and of what bills time, what differs from its dialect; empty for what that says. How
    /// its path ends.
    pub(crate) path: String,
    /// Where `response.done` holds its usage: places separated by commas, such as `response.usage, usage`.
    pub(crate) usage: String,
    /// Its names of events: `theirs = OpenAI's`, separated by commas.
    pub(crate) events: String,
    /// Where the client's first event names the model, such as `session.model`; of what bills time the parameter of the query.
    pub(crate) model_in: String,
    /// Its names of models, such as Azure's deployments: `theirs = the price list's`, separated by commas.
    pub(crate) deployments: String,
    /// Of what bills time: `connection`, or `sound` that the client sends in binary.
    pub(crate) bills: String,
    /// The provider's event from which on a connection is billed; empty for from its beginning.
    pub(crate) begins: String,
    /// Its event that states the time: `EVENT: SECONDS`, or `EVENT: SECONDS * COUNT`, with the names of fields.
    pub(crate) states: String,
    /// The event before a close of tokenist's, as JSON with `{code}`, `{close_code}` and `{message}` in it.
    pub(crate) ending: String,
}

impl Default for Proxy {
    fn default() -> Proxy {
        Proxy {
            listen: "127.0.0.1:8080".into(),
            tls_listen: String::new(),
            tls_cert: String::new(),
            tls_key: String::new(),
            shard_count: 0,
            pin: true,
            takeover: false,
            session_max: 20_000,
            message_max_bytes: 32 << 20,
            driver: Driver::Auto,
            tick_ms: 100,
            head_seconds: 10,
            dial_seconds: 10,
            ping_seconds: 20,
            drain_seconds: 30,
            trusted_proxies: String::new(),
            proxy_protocol: false,
        }
    }
}

impl Default for Identity {
    fn default() -> Identity {
        Identity { passthrough: true, query: false }
    }
}

impl Default for Http {
    fn default() -> Http {
        Http {
            unmetered: Unmetered::Refuse,
            body_max_before_model: 8 << 20,
            include_usage: true,
            keep_alive_seconds: 75,
            answer_seconds: 600,
            body_seconds: 60,
            background_seconds: 3_600,
        }
    }
}

impl Default for Admin {
    fn default() -> Admin {
        Admin {
            listen: "127.0.0.1:8081".into(),
            token: String::new(),
            registration: false,
            metrics_open: false,
            cors_origins: String::new(),
        }
    }
}

impl Default for Store {
    fn default() -> Store {
        Store {
            kind: StoreKind::Sqlite,
            path: "tokenist-data".into(),
            commit_ms: 100,
            details_days: 90,
            rollups_days: 400,
            refusals_days: 30,
            mongodb_uri: SecretUri::default(),
            mongodb_db: "tokenist".into(),
            mongodb_batch: 0,
            users_max: 1_000_000,
            redis_uri: SecretUri::default(),
            instances_min: 1,
        }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_cost_usd: 10.0,
            max_total_tokens: 0,
            window: WindowKind::Monthly,
            mode: Mode::Enforce,
            sessions_per_user: 0,
            session_seconds: 0,
            idle_seconds: 0,
            on_redis_down: OnRedisDown::LocalShare,
            models: String::new(),
        }
    }
}

impl Default for Metering {
    fn default() -> Metering {
        Metering {
            estimate: Estimate::Enforce,
            linger_seconds: 5,
            prices_file: String::new(),
            refuse_unknown_models: false,
        }
    }
}

impl Default for Log {
    fn default() -> Log {
        Log { level: "info".into() }
    }
}

impl Default for Provider {
    fn default() -> Provider {
        Provider::of(&dialect::FAMILIES[0])
    }
}

impl Provider {
    /// What a configuration that names the dialect alone means.
    pub(crate) fn of(family: &Family) -> Provider {
        let [name, base_url, api_key_env] = family.defaults.map(str::to_owned);
        Provider {
            name,
            dialect: family.name.to_owned(),
            base_url,
            api_key_env,
            auth: String::new(),
            models: String::new(),
            ca_file: String::new(),
            headers: String::new(),
            terms: String::new(),
            path: String::new(),
            usage: String::new(),
            events: String::new(),
            model_in: String::new(),
            deployments: String::new(),
            bills: String::new(),
            begins: String::new(),
            states: String::new(),
            ending: String::new(),
        }
    }

    /// What it speaks, with the words of its own.
    pub(crate) fn family(&self) -> Result<&'static Family, BadWord> {
        let Provider { path, usage, events, model_in, deployments, bills, begins, states, ending, .. } = self;
        let family = dialect::family(&self.dialect).ok_or_else(|| {
            let known: Vec<_> = dialect::FAMILIES.iter().map(|family| format!("{:?}", family.name)).collect();
            BadWord { key: "dialect", what: format!("{:?} is none of {}", self.dialect, known.join(", ")) }
        })?;
        let bills_time = family.dialects.iter().any(|dialect| dialect.as_duration().is_some());
        // Both kinds have these two.
        let both = [path.as_str(), model_in.as_str()];
        let ([path, model_in], of_time) = if bills_time { ([""; 2], both) } else { (both, [""; 2]) };
        let family = Words { path, usage, events, model_in, deployments }.applied(family)?;
        let [path, model_in] = of_time;
        duration::Words { path, model_in, bills, begins, states, ending }.applied(family)
    }
}
