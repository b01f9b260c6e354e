//! The process itself.

use serde::Serialize;
use tokenist_control::telemetry::StaleFile;
use utoipa::ToSchema;

/// How the process does. Counts are null while the ledger does not answer.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Health {
    pub(crate) status: HealthStatus,
    /// What does not work as it should, a sentence each; empty while all does.
    pub(crate) problems: Vec<String>,
    pub(crate) version: &'static str,
    /// What moves the bytes: `io_uring` or `epoll`.
    pub(crate) driver: &'static str,
    pub(crate) draining: bool,
    #[schema(format = DateTime)]
    pub(crate) started_at: String,
    pub(crate) uptime_seconds: u64,
    /// Live sessions.
    #[schema(required)]
    pub(crate) sessions: Option<usize>,
    #[schema(required)]
    pub(crate) users: Option<usize>,
    /// Why connections are refused at the moment, if they are.
    #[schema(required)]
    pub(crate) accept_failure: Option<&'static str>,
    /// Lines of the log that were lost since the start, because standard error did not take them.
    pub(crate) log_lines_lost: u64,
    /// New users are refused with 4503: nobody in the ledger can be forgotten for them.
    #[schema(required)]
    pub(crate) ledger_full: Option<bool>,
    /// The store's kind.
    pub(crate) store: &'static str,
    /// The last commit to the store failed.
    #[schema(required)]
    pub(crate) store_failing: Option<bool>,
    /// Why it failed, in a sentence.
    #[schema(required)]
    pub(crate) store_failure: Option<String>,
    /// Why what is counted is kept in memory alone until the ledger has it, if so: a kill would lose it.
    #[schema(required)]
    pub(crate) journal_failure: Option<String>,
    /// Reports that shards hold back because the ledger takes in fewer than come. Past 65,536 a shard its new sessions
    /// are refused with 4503.
    pub(crate) reports_held: u64,
    /// Threads that have panicked, by a bug of tokenist's, and were begun anew.
    pub(crate) threads_restarted: Vec<RestartedThread>,
    /// Why MongoDB cannot be written or read, if so: what is counted waits in the ledger file meanwhile.
    #[schema(required)]
    pub(crate) mirror_failure: Option<String>,
    /// Rows that are not copied to MongoDB yet; null without one.
    #[schema(required)]
    pub(crate) mirror_waiting: Option<u64>,
    /// The Redis by which instances hold limits together cannot be reached, or was not a moment ago. Null also where
    /// there is none.
    #[schema(required)]
    pub(crate) redis_failing: Option<bool>,
    /// Why, in a sentence.
    #[schema(required)]
    pub(crate) redis_failure: Option<String>,
    /// Instances that hold limits together, this one included; null where this is the only one.
    #[schema(required)]
    pub(crate) instances: Option<u32>,
    /// Files that could not be read when they were last to be read again, until they can: what they said before is in
    /// force. Absent where there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub(crate) stale_files: Vec<StaleFileBody>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = StaleFile)]
pub(crate) struct StaleFileBody {
    /// The setting that names it.
    pub(crate) setting: String,
    /// Which file, and what is wrong with it.
    pub(crate) reason: String,
    /// When it first could not be read.
    #[schema(format = DateTime)]
    pub(crate) since: String,
}

impl From<&StaleFile> for StaleFileBody {
    fn from(file: &StaleFile) -> StaleFileBody {
        let StaleFile { setting, reason, since } = file.clone();
        StaleFileBody { setting, reason, since: since.to_string() }
    }
}

/// A thread that has panicked.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RestartedThread {
    pub(crate) name: String,
    /// How often since the start.
    pub(crate) restarts: u64,
    /// It has not begun anew yet.
    pub(crate) down: bool,
    /// What it said the last time.
    #[schema(required)]
    pub(crate) failure: Option<String>,
}

#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum HealthStatus {
    Ok,
    /// It serves, but not everything works: see `problems`.
    Degraded,
    /// No new session is accepted.
    Draining,
    /// The ledger has stopped; the process is about to end.
    Failing,
}

/// The configuration that is in force; secrets are only said to be set.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Settings {
    pub(crate) settings: Vec<Setting>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Setting {
    pub(crate) section: String,
    pub(crate) key: String,
    pub(crate) value: serde_json::Value,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Ready {
    pub(crate) status: HealthStatus,
}
