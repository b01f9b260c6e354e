//! Compares what the simulated provider says it delivered with what tokenist says its users used.
//!
//! Sessions tell the provider who they are with the query parameter `audit`, as `tokload run` does for its users.

use serde_json::Value;
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);

/// The provider's name of a count, tokenist's, and the column's heading.
const COLUMNS: [(&str, &str, &str); 9] = [
    ("text_in", "textInputTokens", "text in"),
    ("audio_in", "audioInputTokens", "audio in"),
    ("image_in", "imageInputTokens", "image in"),
    ("cached_text_in", "cachedTextInputTokens", "cached text"),
    ("cached_audio_in", "cachedAudioInputTokens", "cached audio"),
    ("cached_image_in", "cachedImageInputTokens", "cached image"),
    ("text_out", "textOutputTokens", "text out"),
    ("audio_out", "audioOutputTokens", "audio out"),
    ("reasoning_out", "reasoningTokens", "reasoning"),
];

type Counts = [u64; COLUMNS.len()];

/// By user and model: what the provider delivered, and what tokenist counted with its cost in dollars.
pub(crate) struct Audit {
    rows: BTreeMap<(String, String), Row>,
    compared: bool,
}

#[derive(Default)]
struct Row {
    delivered: Counts,
    counted: Counts,
    cost_usd: f64,
}

/// Whom to ask: `http://host:port` each.
pub(crate) struct Sides<'a> {
    /// Without it there is only what tokenist holds.
    pub(crate) provider: Option<&'a str>,
    pub(crate) admin: &'a str,
    pub(crate) token: &'a str,
    /// Leave out what tokenist's ledger holds from before it started.
    pub(crate) since_start: bool,
}

/// Asks both.
pub(crate) fn audit(sides: &Sides<'_>) -> Result<Audit, Box<dyn Error>> {
    let mut rows: BTreeMap<(String, String), Row> = BTreeMap::new();
    if let Some(provider) = sides.provider {
        let delivered = get(provider, "/audit", None)?;
        let keys = delivered["by_key"].as_object().into_iter().flatten();
        for (user, models) in keys.filter(|(user, _)| *user != "-") {
            for (model, counts) in models.as_object().into_iter().flatten() {
                let row = rows.entry((user.clone(), model.clone())).or_default();
                row.delivered = COLUMNS.map(|(name, _, _)| counts[name].as_u64().unwrap_or(0));
            }
        }
    }
    let ask = |path: String| get(sides.admin, &path, Some(sides.token));
    let mut users: Vec<String> = rows.keys().map(|(user, _)| user.clone()).collect();
    if sides.provider.is_none() {
        let known = ask("/admin/users?limit=1000".to_owned())?;
        let names = known["users"].as_array().into_iter().flatten().map(|user| user["userId"].as_str());
        users = names.flatten().map(str::to_owned).collect();
    }
    users.dedup();
    let since = if sides.since_start { "?since=start" } else { "" };
    for user in users {
        let counted = ask(format!("/admin/users/{user}/models{since}"))?;
        for series in counted["models"].as_array().into_iter().flatten() {
            let model = series["model"].as_str().unwrap_or_default().to_owned();
            let row = rows.entry((user.clone(), model)).or_default();
            for (sum, (_, name, _)) in row.counted.iter_mut().zip(COLUMNS) {
                *sum += series["tokenDetails"][name].as_u64().unwrap_or(0);
            }
            row.cost_usd += series["usage"]["costUsd"].as_f64().unwrap_or(0.0);
        }
    }
    Ok(Audit { rows, compared: sides.provider.is_some() })
}

impl Audit {
    /// Whether both sides have the same counts everywhere.
    pub(crate) fn agrees(&self) -> bool {
        self.rows.values().all(|row| row.delivered == row.counted)
    }

    /// A line for each user and model; where the sides differ, one for each side.
    pub(crate) fn table(&self) -> String {
        let mut table = format!("{:<10} {:<24}", "user", "model");
        for (_, _, heading) in COLUMNS {
            write!(table, " {heading:>12}").expect("a string grows");
        }
        table.push_str(if self.compared { "     cost USD  provider\n" } else { "     cost USD\n" });
        for ((user, model), row) in &self.rows {
            let mut line = |counts: &Counts, cost: &str, says: &str| {
                write!(table, "{user:<10} {model:<24}").expect("a string grows");
                for count in counts {
                    write!(table, " {count:>12}").expect("a string grows");
                }
                writeln!(table, " {cost:>12}  {says}").expect("a string grows");
            };
            let cost = format!("{:.6}", row.cost_usd);
            if !self.compared {
                line(&row.counted, &cost, "");
            } else if row.delivered == row.counted {
                line(&row.counted, &cost, "the same");
            } else {
                line(&row.counted, &cost, "differs:");
                line(&row.delivered, "", "← says this");
            }
        }
        table
    }
}

/// The JSON at a path. Both servers are ours and on this machine, so the answer is read to its end.
fn get(origin: &str, path: &str, token: Option<&str>) -> Result<Value, Box<dyn Error>> {
    let host = origin.strip_prefix("http://").ok_or("an address must begin with http://")?;
    let mut stream = TcpStream::connect(host).map_err(|error| format!("{origin}: {error}"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let bearer = token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{bearer}\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let body = memchr::memmem::find(&answer, b"\r\n\r\n").map(|end| &answer[end + 4..]);
    match body {
        Some(body) if answer.starts_with(b"HTTP/1.1 200") => Ok(sonic_rs::from_slice(body)?),
        _ => {
            let first = answer.split(|&byte| byte == b'\r').next().unwrap_or_default();
            Err(format!("{origin}{path}: {}", String::from_utf8_lossy(first)).into())
        }
    }
}
