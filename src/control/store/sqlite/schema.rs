//! The ledger file's tables, and how a file of an earlier version becomes one of this.
//!
//! Times are milliseconds since 1970 in UTC, money is nano-dollars. An empty org or feature means that there was none.

use rusqlite::{Connection, TransactionBehavior};
use tracing::info;

/// Tells our files from other SQLite files: "tkst".
const APPLICATION_ID: i32 = 0x746b_7374;

/// Each step takes a file one version further, in one transaction.
const STEPS: [&str; 11] = [
    VERSION_1, VERSION_2, VERSION_3, VERSION_4, VERSION_5, VERSION_6, VERSION_7, VERSION_8, VERSION_9,
    VERSION_10, VERSION_11,
];

/// What the tables counted in the first version, where `COUNTS_HERE` stands for these columns and `SUMS_HERE` for their
/// sums over several rows. A kind that came later is a column that a step adds.
const FIRST_COUNTS: [&str; 15] = [
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

/// The statements that add kinds to tables that count.
macro_rules! add_counts {
    ($kinds:tt to $($table:literal)*) => { concat!($(add_counts!(@ $table $kinds)),*) };
    (@ $table:literal [$($kind:literal)*]) => {
        concat!($("ALTER TABLE ", $table, " ADD COLUMN ", $kind, " INTEGER NOT NULL DEFAULT 0;\n"),*)
    };
}

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
-- The same rows summed: by user within an org, by user, by org, by tokenist key.
CREATE TABLE member_day (
    start INTEGER NOT NULL, org TEXT NOT NULL, user TEXT NOT NULL, COUNTS_HERE,
    PRIMARY KEY (start, org, user)
) WITHOUT ROWID;
CREATE INDEX member_day_by_user ON member_day (user, start);
CREATE INDEX member_day_by_cost ON member_day (start, org, cost_nano DESC, user);
CREATE TABLE member_month (
    start INTEGER NOT NULL, org TEXT NOT NULL, user TEXT NOT NULL, COUNTS_HERE,
    PRIMARY KEY (start, org, user)
) WITHOUT ROWID;
CREATE INDEX member_month_by_user ON member_month (user, start);
CREATE INDEX member_month_by_cost ON member_month (start, org, cost_nano DESC, user);
CREATE TABLE user_month (
    start INTEGER NOT NULL, user TEXT NOT NULL, COUNTS_HERE, PRIMARY KEY (start, user)
) WITHOUT ROWID;
CREATE INDEX user_month_by_cost ON user_month (start, cost_nano DESC, user);
CREATE TABLE user_total (user TEXT PRIMARY KEY, COUNTS_HERE) WITHOUT ROWID;
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

const VERSION_3: &str = "
-- The same rows summed over all users, so that what they used together is not summed up anew for each question.
CREATE TABLE slice_hour (
    start INTEGER NOT NULL, org TEXT NOT NULL, feature TEXT NOT NULL, provider TEXT NOT NULL, model TEXT NOT NULL,
    COUNTS_HERE, PRIMARY KEY (start, org, feature, provider, model)
) WITHOUT ROWID;
CREATE INDEX slice_hour_by_org ON slice_hour (org, start);
CREATE TABLE slice_day (
    start INTEGER NOT NULL, org TEXT NOT NULL, feature TEXT NOT NULL, provider TEXT NOT NULL, model TEXT NOT NULL,
    COUNTS_HERE, PRIMARY KEY (start, org, feature, provider, model)
) WITHOUT ROWID;
CREATE INDEX slice_day_by_org ON slice_day (org, start);
INSERT INTO slice_hour
    SELECT start - start % 3600000, org, feature, provider, model, SUMS_HERE FROM rollups GROUP BY 1, 2, 3, 4, 5;
INSERT INTO slice_day
    SELECT start - start % 86400000, org, feature, provider, model, SUMS_HERE FROM slice_hour GROUP BY 1, 2, 3, 4, 5;
-- Users are ranked by this alone, without a look at the rows.
DROP INDEX rollups_by_start;
CREATE INDEX rollups_by_start ON rollups (start, user, org, feature, provider, model, cost_nano);
";

const VERSION_4: &str = "
-- Settings that no session needs, such as logins: JSON, or null once removed.
CREATE TABLE entries (
    kind TEXT NOT NULL, id TEXT NOT NULL, revision INTEGER NOT NULL, value TEXT, PRIMARY KEY (kind, id)
) WITHOUT ROWID;
-- What operators changed; before and after are JSON.
CREATE TABLE audits (
    id TEXT PRIMARY KEY, at INTEGER NOT NULL, actor_kind TEXT NOT NULL, actor TEXT, actor_name TEXT NOT NULL,
    action TEXT NOT NULL, subject_kind TEXT NOT NULL, subject TEXT NOT NULL, before TEXT, after TEXT
) WITHOUT ROWID;
CREATE INDEX audits_by_time ON audits (at);
CREATE INDEX audits_by_subject ON audits (subject, at);
";

const VERSION_5: &str = "
-- Calls that were counted, each by what it is known by if it is sent again.
CREATE TABLE marks (id TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX marks_by_time ON marks (at);
";

const VERSION_6: &str = "
-- Who was refused: a row for each user or key, reason and minute. Of a reached limit the figures are nano-dollars or
-- tokens, as the measure says. An empty text is none.
CREATE TABLE refusals (
    id TEXT PRIMARY KEY, minute INTEGER NOT NULL, last_at INTEGER NOT NULL, user TEXT NOT NULL, org TEXT NOT NULL,
    key TEXT NOT NULL, address TEXT NOT NULL, reason TEXT NOT NULL, close_code INTEGER NOT NULL,
    measure TEXT NOT NULL, used INTEGER, max INTEGER, count INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX refusals_by_time ON refusals (minute, id);
CREATE INDEX refusals_by_user ON refusals (user, minute, id);
CREATE INDEX refusals_by_org ON refusals (org, minute, id);
";

const VERSION_7: &str = "
-- Whoever comes back after he was forgotten is read alone.
CREATE INDEX rollups_by_feature ON rollups (feature, start) WHERE feature <> '';
CREATE INDEX rollups_by_key ON rollups (key, start) WHERE key IS NOT NULL;
CREATE INDEX org_day_by_org ON org_day (org, start);
CREATE INDEX slice_day_by_feature ON slice_day (feature, start) WHERE feature <> '';
CREATE INDEX key_day_by_key ON key_day (key, start);
";

const VERSION_8: &str = "
-- Up to where each lane of a journal is booked here. A journal without rows is nobody's.
CREATE TABLE journal (
    generation INTEGER NOT NULL, lane INTEGER NOT NULL, upto INTEGER NOT NULL, PRIMARY KEY (generation, lane)
) WITHOUT ROWID;
";

const VERSION_9: &str = add_counts!(
    ["video_in" "cache_write_in" "cache_write_long_in" "video_out" "characters_in" "items_in" "searches" "file_searches"]
    to "rollups" "member_day" "member_month" "user_month" "user_total" "org_day" "key_day" "events" "sessions" "logs"
       "slice_hour" "slice_day"
);

const VERSION_10: &str = "
-- What a session's events passed by. Before, nearly all were WebSockets.
ALTER TABLE sessions ADD COLUMN transport TEXT NOT NULL DEFAULT 'websocket';
";

const VERSION_11: &str = "
-- By what its provider knows the call that a session was, or was attached to.
ALTER TABLE sessions ADD COLUMN call TEXT;
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
    take_steps(connection, &STEPS)
}

/// Refuses a file that is not ours, or that [`migrate`] would not understand.
pub(super) fn check(connection: &Connection) -> Result<(), SchemaError> {
    version_of(connection, STEPS.len()).map(drop)
}

/// How many of the steps the file has been taken.
fn version_of(connection: &Connection, step_count: usize) -> Result<usize, SchemaError> {
    let pragma = |name: &str| connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0));
    let (application, version) = (pragma("application_id")?, pragma("user_version")? as usize);
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables > 0 && application != i64::from(APPLICATION_ID) {
        return Err(SchemaError::Foreign);
    }
    if version > step_count {
        return Err(SchemaError::Newer { version });
    }
    Ok(version)
}

fn take_steps(connection: &mut Connection, steps: &[&str]) -> Result<(), SchemaError> {
    let version = version_of(connection, steps.len())?;
    if (1..steps.len()).contains(&version) {
        info!(
            version,
            "the ledger file is brought up to date, which takes some 15 s for each million of its rows"
        );
    }
    for (index, step) in steps.iter().enumerate().skip(version) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let step = step.replace("COUNTS_HERE", &definitions()).replace("SUMS_HERE", &sums());
        transaction.execute_batch(&step)?;
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
    FIRST_COUNTS.map(define).join(", ")
}

fn sums() -> String {
    let sum = |name| format!("{}({name})", if name == "updated_at" { "max" } else { "sum" });
    FIRST_COUNTS.map(sum).join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::counts::COUNTS;
    use super::*;

    fn number(connection: &Connection, sql: &str) -> i64 {
        connection.query_row(sql, [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn a_file_goes_forward_step_by_step_and_a_failed_step_leaves_it_where_it_was() {
        let mut file = Connection::open_in_memory().unwrap();
        let first = "CREATE TABLE one (x, COUNTS_HERE); INSERT INTO one (x) VALUES (1)";
        let second = "ALTER TABLE one RENAME TO two; UPDATE two SET x = x + 1";
        let broken = "DROP TABLE two; CREATE TABLE three (x); INSERT INTO nowhere VALUES (1)";
        take_steps(&mut file, &[first]).unwrap();
        assert_eq!(number(&file, "SELECT x + cost_nano FROM one"), 1);
        assert!(matches!(take_steps(&mut file, &[first, second, broken]), Err(SchemaError::Sqlite(_))));
        assert_eq!(number(&file, "PRAGMA user_version"), 2, "the second was taken, the third was not");
        assert_eq!(number(&file, "SELECT x FROM two"), 2);
        let mended = "CREATE TABLE three (x); INSERT INTO three SELECT x + 1 FROM two";
        for _ in 0..2 {
            take_steps(&mut file, &[first, second, mended]).unwrap();
            assert_eq!(number(&file, "SELECT x FROM three"), 3, "each step is taken once");
        }
        let newer = take_steps(&mut file, &[first, second]);
        assert!(matches!(newer, Err(SchemaError::Newer { version: 3 })), "{newer:?}");
    }

    #[test]
    fn every_earlier_version_becomes_the_present_one() {
        let tables = |file: &Connection| {
            let mut names =
                file.prepare("SELECT name || ifnull(sql, '') FROM sqlite_schema ORDER BY 1").unwrap();
            let names = names.query_map([], |row| row.get::<_, String>(0)).unwrap();
            names.collect::<Result<Vec<_>, _>>().unwrap()
        };
        let mut present = Connection::open_in_memory().unwrap();
        migrate(&mut present).unwrap();
        for version in 0..STEPS.len() {
            let mut file = Connection::open_in_memory().unwrap();
            take_steps(&mut file, &STEPS[..version]).unwrap();
            migrate(&mut file).unwrap();
            assert_eq!(tables(&file), tables(&present), "from version {version}");
        }
    }

    #[test]
    fn every_table_that_counts_has_every_kind() {
        let mut file = Connection::open_in_memory().unwrap();
        migrate(&mut file).unwrap();
        let mut tables = file.prepare("SELECT name FROM sqlite_schema WHERE sql LIKE '%cost_nano%'").unwrap();
        let tables = tables.query_map([], |row| row.get::<_, String>(0)).unwrap();
        let tables: Vec<String> = tables.map(Result::unwrap).filter(|name| !name.contains("_by_")).collect();
        assert_eq!(tables.len(), 12, "{tables:?}");
        for table in tables {
            file.prepare(&format!("SELECT {} FROM {table}", COUNTS.join(", "))).unwrap();
        }
    }

    #[test]
    fn what_was_counted_before_there_were_slices_is_in_them() {
        let mut file = Connection::open_in_memory().unwrap();
        take_steps(&mut file, &STEPS[..2]).unwrap();
        let rows = "INSERT INTO rollups (generation, row, user, org, feature, provider, model, start, span_ms, \
                    requests, cost_nano, updated_at) VALUES ";
        for (row, user, model, start, nano) in [
            (1, "alice", "a", 7_200_000, 1),
            (2, "bob", "a", 7_500_000, 10), // Five minutes of the same hour.
            (3, "bob", "b", 7_200_000, 100),
            (4, "bob", "a", 10_800_000, 1_000),
            (5, "bob", "a", 86_400_000, 10_000),
        ] {
            let row = format!(
                "(1, {row}, '{user}', 'acme', '', 'openai', '{model}', {start}, 3600000, 1, {nano}, {start})"
            );
            file.execute_batch(&format!("{rows}{row}")).unwrap();
        }
        migrate(&mut file).unwrap();
        for (table, start, model, nano, requests) in [
            ("slice_hour", 7_200_000, "a", 11, 2),
            ("slice_hour", 7_200_000, "b", 100, 1),
            ("slice_hour", 10_800_000, "a", 1_000, 1),
            ("slice_day", 0, "a", 1_011, 3),
            ("slice_day", 0, "b", 100, 1),
            ("slice_day", 86_400_000, "a", 10_000, 1),
        ] {
            let of = format!("FROM {table} WHERE start = {start} AND org = 'acme' AND model = '{model}'");
            assert_eq!(number(&file, &format!("SELECT cost_nano {of}")), nano, "{of}");
            assert_eq!(number(&file, &format!("SELECT requests {of}")), requests, "{of}");
        }
        assert_eq!(number(&file, "SELECT count(*) FROM slice_hour"), 4);
        assert_eq!(number(&file, "SELECT count(*) FROM slice_day"), 3);
    }
}
