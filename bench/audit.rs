//! Compares what the simulated provider says it delivered with what tokenist says its users used. Where a response
//! died before the provider could tell what it used, tokenist has an estimate, and that is held against the bill.
//!
//! Sessions tell the provider who they are with the query parameter `audit`, as `tokload run` does for its users.

use crate::admin::Server;
use crate::table::{Column, Table};
use serde_json::Value;
use std::collections::BTreeMap;
use std::error::Error;
use tokenist_core::price::PriceTable;
use tokenist_core::time::Timestamp;
use tokenist_core::usage::{KINDS, Usage};

/// The provider's name of a count, tokenist's, and the column's heading.
const COLUMNS: [(&str, &str, &str); 11] = [
    ("text_in", "textInputTokens", "text\nin"),
    ("audio_in", "audioInputTokens", "audio\nin"),
    ("image_in", "imageInputTokens", "image\nin"),
    ("cached_text_in", "cachedTextInputTokens", "cached\ntext"),
    ("cached_audio_in", "cachedAudioInputTokens", "cached\naudio"),
    ("cached_image_in", "cachedImageInputTokens", "cached\nimage"),
    ("text_out", "textOutputTokens", "text\nout"),
    ("audio_out", "audioOutputTokens", "audio\nout"),
    ("reasoning_out", "reasoningTokens", "reas-\noning"),
    ("duration_ms", "durationMs", "time\nms"),
    ("items_in", "items", "items"),
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
    /// What the provider bills, where it could not tell all of it: in dollars, at the list price.
    billed_usd: Option<f64>,
}

/// How far an estimate may be from the bill.
const TOLERANCE: f64 = 0.05;

impl Row {
    fn agrees(&self) -> bool {
        self.delivered == self.counted
            || self.billed_usd.is_some_and(|usd| (self.cost_usd / usd - 1.0).abs() <= TOLERANCE)
    }

    /// What the provider bills of a model, if that is more than it has told.
    fn bill(model: &str, counts: &Value) -> Option<f64> {
        let untold = |name: &str| counts[name].as_u64().unwrap_or(0) > 0;
        if !untold("undelivered") && !untold("without_usage") {
            return None;
        }
        let billed = &counts["billed"];
        let usage = Usage::of(KINDS.map(|kind| billed[kind].as_u64().unwrap_or(0)));
        Some(PriceTable::builtin().price(provider(model), model, LATE).plain_cost(&usage).usd())
    }
}

/// Whose price list holds.
fn provider(model: &str) -> &'static str {
    match model.split('-').next() {
        Some("gemini") => "google",
        Some("grok") => "xai",
        Some("qwen") => "qwen",
        _ => "openai",
    }
}

/// When all of a price list does.
const LATE: Timestamp = Timestamp(4_000_000_000_000);

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
        let delivered = Server { origin: provider, token: None }.get("/audit")?;
        let keys = delivered["by_key"].as_object().into_iter().flatten();
        for (user, models) in keys.filter(|(user, _)| *user != "-") {
            for (model, counts) in models.as_object().into_iter().flatten() {
                let row = rows.entry((user.clone(), model.clone())).or_default();
                row.delivered = COLUMNS.map(|(name, _, _)| counts[name].as_u64().unwrap_or(0));
                row.billed_usd = Row::bill(model, counts);
            }
        }
    }
    let tokenist = Server { origin: sides.admin, token: Some(sides.token) };
    let mut users: Vec<String> = rows.keys().map(|(user, _)| user.clone()).collect();
    if sides.provider.is_none() {
        let known = tokenist.get("/admin/users?limit=1000")?;
        let names = known["users"].as_array().into_iter().flatten().map(|user| user["userId"].as_str());
        users = names.flatten().map(str::to_owned).collect();
    }
    users.dedup();
    let since = if sides.since_start { "?since=start" } else { "" };
    for user in users {
        let counted = tokenist.get(&format!("/admin/users/{user}/models{since}"))?;
        for series in counted["models"].as_array().into_iter().flatten() {
            let model = series["model"].as_str().unwrap_or_default().to_owned();
            let row = rows.entry((user.clone(), model)).or_default();
            for (sum, (_, name, _)) in row.counted.iter_mut().zip(COLUMNS) {
                let count = series["tokenDetails"][name].as_u64().or_else(|| series[name].as_u64());
                *sum += count.unwrap_or(0);
            }
            row.cost_usd += series["usage"]["costUsd"].as_f64().unwrap_or(0.0);
        }
    }
    Ok(Audit { rows, compared: sides.provider.is_some() })
}

impl Audit {
    /// Whether both sides have the same counts everywhere or, where the provider could not tell all, nearly the same
    /// cost.
    pub(crate) fn agrees(&self) -> bool {
        self.rows.values().all(Row::agrees)
    }

    /// A line for each user and model; where the sides differ, one for each side. Kinds that nobody used are left out.
    pub(crate) fn table(&self) -> String {
        let is_used =
            |kind: &usize| self.rows.values().any(|row| row.counted[*kind] > 0 || row.delivered[*kind] > 0);
        let kinds: Vec<usize> = (0..COLUMNS.len()).filter(is_used).collect();
        let mut columns = vec![Column::Left("user"), Column::Left("model")];
        columns.extend(kinds.iter().map(|&kind| Column::Right(COLUMNS[kind].2)));
        columns.push(Column::Right("cost USD"));
        if self.compared {
            columns.push(Column::Left("pro-\nvider"));
        }
        let mut table = Table::new(columns);
        for ((user, model), row) in &self.rows {
            let mut line = |counts: &Counts, cost: &str, says: &str| {
                let mut cells = vec![user.clone(), model.trim_start_matches("gpt-").to_owned()];
                cells.extend(kinds.iter().map(|&kind| counts[kind].to_string()));
                cells.push(cost.to_owned());
                cells.extend(self.compared.then(|| says.to_owned()));
                table.row(cells);
            };
            let cost = format!("{:.6}", row.cost_usd);
            if row.delivered == row.counted || !self.compared {
                line(&row.counted, &cost, "same");
            } else if let Some(billed_usd) = row.billed_usd {
                let word = if row.agrees() { "estimated within 5 %:" } else { "differs:" };
                line(&row.counted, &cost, word);
                line(&row.delivered, &format!("{billed_usd:.6}"), "← told this, bills that");
            } else {
                line(&row.counted, &cost, "differs:");
                line(&row.delivered, "", "← says this");
            }
        }
        table.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_fits_a_terminal() {
        // What is billed by time or by items has no tokens of all kinds.
        let counted = std::array::from_fn(|kind| if kind < COLUMNS.len() - 2 { 12_345 } else { 0 });
        let row = Row { delivered: counted, counted, cost_usd: 1.234_567, billed_usd: None };
        let key = ("user-19".to_owned(), "gpt-4o-mini-transcribe".to_owned());
        let audit = Audit { rows: [(key, row)].into(), compared: true };
        let table = audit.table();
        let widest = table.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(crate::table::TERMINAL_WIDTH), "{table}");
    }
}
