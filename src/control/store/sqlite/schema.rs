//! The ledger file's tables, and how a file of an earlier version becomes one of this.
//!
//! Times are milliseconds since 1970 in UTC, money is nano-dollars. An empty org or feature means that there was none.

use rusqlite::{Connection, TransactionBehavior};

/// Tells our files from other SQLite files: "tkst".
const APPLICATION_ID: i32 = 0x746b_7374;

/// Each step takes a file one version further, in one transaction.
const STEPS: [&str; 2] = [VERSION_1, VERSION_2];

/// What every table that counts has, in this order.
pub(super) const COUNTS: [&str; 15] = [
    "text_in",
    "audio_in",
    "image_in",
    "cached_text_in",
    "cached_audio_in",
    "cached_image_in",
    "text_out",
    "audio_out",
    "image_out",
    "reasoning_out",
    "duration_ms",
    "requests",
    "cost_nano",
    "estimated_cost_nano",
    "updated_at",
];

/// `COUNTS_HERE` stands for the columns of [`COUNTS`].
const VERSION_1: &str = "
-- Who this file is, and how often it was opened: uuid, generation.
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
-- Usage of one user by org, key, feature, provider and model, in an hour or, under a rolling limit, five minutes.
CREATE TABLE rollups (
    generation INTEGER NOT NULL, row INTEGER NOT NULL,
    user TEXT NOT NULL, org TEXT NOT NULL, key BLOB, feature TEXT NOT NULL,
    provider TEXT NOT NULL, model TEXT NOT NULL,
    start INTEGER NOT NULL, span_ms INTEGER NOT NULL, COUNTS_HERE,
    PRIMARY KEY (generation, row)
) WITHOUT ROWID;
CREATE INDEX rollups_by_start ON rollups (start);
CREATE INDEX rollups_by_org ON rollups (org, start);
CREATE INDEX rollups_by_user ON rollups (user, start);
-- The same rows summed: by user within an org, by org, by tokenist key.
CREATE TABLE member_day (
    start INTEGER NOT NULL, org TEXT NOT NULL, user TEXT NOT NULL, COUNTS_HERE,
    PRIMARY KEY (start, org, user)
) WITHOUT ROWID;
CREATE INDEX member_day_by_user ON member_day (user, start);
CREATE TABLE member_month (
    start INTEGER NOT NULL, org TEXT NOT NULL, user TEXT NOT NULL, COUNTS_HERE,
    PRIMARY KEY (start, org, user)
) WITHOUT ROWID;
CREATE INDEX member_month_by_user ON member_month (user, start);
CREATE INDEX member_month_by_cost ON member_month (start, cost_nano);
CREATE TABLE org_day (
    start INTEGER NOT NULL, org TEXT NOT NULL, COUNTS_HERE, PRIMARY KEY (start, org)
) WITHOUT ROWID;
CREATE TABLE key_day (
    start INTEGER NOT NULL, key BLOB NOT NULL, COUNTS_HERE, PRIMARY KEY (start, key)
) WITHOUT ROWID;
-- One row for each metered response.
CREATE TABLE events (
    generation INTEGER NOT NULL, serial INTEGER NOT NULL, at INTEGER NOT NULL, session INTEGER NOT NULL,
    user TEXT NOT NULL, org TEXT NOT NULL, feature TEXT, conversation TEXT, email TEXT, name TEXT, key BLOB,
    provider TEXT NOT NULL, model TEXT NOT NULL, estimated INTEGER NOT NULL, latency_ms INTEGER, COUNTS_HERE,
    PRIMARY KEY (generation, serial)
) WITHOUT ROWID;
CREATE INDEX events_by_time ON events (at);
CREATE INDEX events_by_user ON events (user, at);
CREATE INDEX events_by_org ON events (org, at);
CREATE INDEX events_by_session ON events (session);
-- One row for each session that is over.
CREATE TABLE sessions (
    generation INTEGER NOT NULL, session INTEGER NOT NULL, opened_at INTEGER NOT NULL, closed_at INTEGER NOT NULL,
    user TEXT NOT NULL, org TEXT NOT NULL, feature TEXT, conversation TEXT, email TEXT, name TEXT, key BLOB,
    provider TEXT NOT NULL, model TEXT, close_code INTEGER NOT NULL, COUNTS_HERE,
    PRIMARY KEY (generation, session)
) WITHOUT ROWID;
CREATE INDEX sessions_by_time ON sessions (closed_at);
CREATE INDEX sessions_by_user ON sessions (user, closed_at);
CREATE INDEX sessions_by_org ON sessions (org, closed_at);
-- Responses with how their session ended, once it has.
CREATE VIEW event_ends AS
    SELECT events.*, sessions.close_code FROM events LEFT JOIN sessions USING (generation, session);
-- Calls that applications described whole; request and response are JSON.
CREATE TABLE logs (
    id TEXT PRIMARY KEY, at INTEGER NOT NULL,
    user TEXT NOT NULL, org TEXT NOT NULL, feature TEXT, conversation TEXT, email TEXT, name TEXT, key BLOB,
    model TEXT NOT NULL, request TEXT, response TEXT, status TEXT NOT NULL, latency_ms INTEGER,
    has_usage INTEGER NOT NULL, COUNTS_HERE
) WITHOUT ROWID;
CREATE INDEX logs_by_time ON logs (at);
CREATE INDEX logs_by_user ON logs (user, at);
CREATE INDEX logs_by_org ON logs (org, at);
-- Settings, each as JSON with the revision that set it. A holder is JSON too: {\"user\":\"alice\"}.
CREATE TABLE users (holder TEXT PRIMARY KEY, revision INTEGER NOT NULL, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE limits (holder TEXT PRIMARY KEY, revision INTEGER NOT NULL, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE blocks (holder TEXT PRIMARY KEY, revision INTEGER NOT NULL, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE keys (hash BLOB PRIMARY KEY, revision INTEGER NOT NULL, value TEXT NOT NULL) WITHOUT ROWID;
";

const VERSION_2: &str = "
-- Rows that are not copied to a central store yet, in the order in which they changed: the table's name and the row's
-- key. Kept while there is such a store only.
CREATE TABLE outbox (
    number INTEGER PRIMARY KEY AUTOINCREMENT, class INTEGER NOT NULL, kind TEXT NOT NULL,
    a NOT NULL, b NOT NULL, c NOT NULL,
    UNIQUE (kind, a, b, c)
);
CREATE INDEX outbox_in_order ON outbox (class, number);
";

/// Why a file cannot be used as it is.
#[derive(Debug)]
pub(super) enum SchemaError {
    /// It belongs to some other program.
    Foreign,
    /// A newer tokenist has written it.
    Newer {
        version: usize,
    },
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for SchemaError {
    fn from(error: rusqlite::Error) -> SchemaError {
        SchemaError::Sqlite(error)
    }
}

/// Takes the file to the present version.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), SchemaError> {
    let pragma = |name: &str| connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0));
    let (application, version) = (pragma("application_id")?, pragma("user_version")? as usize);
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables > 0 && application != i64::from(APPLICATION_ID) {
        return Err(SchemaError::Foreign);
    }
    if version > STEPS.len() {
        return Err(SchemaError::Newer { version });
    }
    for (index, step) in STEPS.iter().enumerate().skip(version) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(&step.replace("COUNTS_HERE", &definitions()))?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", index as i64 + 1)?;
        transaction.commit()?;
    }
    Ok(())
}

fn definitions() -> String {
    let define = |name| match name {
        "updated_at" => "updated_at INTEGER".to_owned(),
        name => format!("{name} INTEGER NOT NULL DEFAULT 0"),
    };
    COUNTS.map(define).join(", ")
}
