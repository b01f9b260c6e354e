//! What the demo shows of itself: a line for each of its people, what tokenist says they used, and whether the traffic
//! is alive.

use super::people::{LOOPING, PEOPLE};
use super::traffic::{Done, Progress};
use crate::admin::Server;
use crate::table::{Column, Table};
use serde_json::Value;
use std::collections::BTreeMap;
use std::error::Error;
use std::time::{Duration, Instant};

/// With nine people at work no minute passes without a turn.
const STALLED: Duration = Duration::from_secs(60);

/// What tokenist says of a user.
#[derive(Clone, Debug, Default)]
struct Used {
    /// Over the window of its limit.
    cost_usd: f64,
    limit_usd: Option<f64>,
    tokens: u64,
}

/// The board as it stands.
///
/// # Errors
/// tokenist's admin API does not answer.
pub(super) fn show(
    tokenist: &Server<'_>,
    progress: &Progress,
    started: Instant,
) -> Result<String, Box<dyn Error>> {
    let answer = tokenist.get("/admin/users?limit=100")?;
    Ok(draw(&used(&answer), progress, started.elapsed()))
}

fn used(answer: &Value) -> BTreeMap<String, Used> {
    let users = answer["users"].as_array().into_iter().flatten();
    let row = |user: &Value| {
        let used = Used {
            cost_usd: user["usage"]["costUsd"].as_f64()?,
            limit_usd: user["threshold"]["maxCostUsd"].as_f64(),
            tokens: user["usage"]["totalTokens"].as_u64()?,
        };
        Some((user["userId"].as_str()?.to_owned(), used))
    };
    users.filter_map(row).collect()
}

fn draw(used: &BTreeMap<String, Used>, progress: &Progress, age: Duration) -> String {
    let mut table = Table::new(vec![
        Column::Left("user"),
        Column::Left("org"),
        Column::Left("model"),
        Column::Right("sessions"),
        Column::Right("turns"),
        Column::Right("tokens\ntoday"),
        Column::Right("USD\ntoday"),
        Column::Right("of limit\na day"),
        Column::Left("now"),
    ]);
    for person in &PEOPLE {
        let Done { sessions, turns, refusal } = progress.people.get(person.id).cloned().unwrap_or_default();
        let Used { cost_usd, limit_usd, tokens } = used.get(person.id).cloned().unwrap_or_default();
        table.row(vec![
            person.id.to_owned(),
            person.org.to_owned(),
            person.model.trim_start_matches("gpt-").to_owned(),
            sessions.to_string(),
            turns.to_string(),
            tokens.to_string(),
            format!("{cost_usd:.4}"),
            limit_usd.map_or("no limit".to_owned(), |limit| format!("{limit:.2}")),
            if refusal.is_some() { "refused" } else { "talks" }.to_owned(),
        ]);
    }
    let mut board = table.to_string();
    for (id, done) in &progress.people {
        if let Some(sentence) = &done.refusal {
            let meant = if *id == LOOPING { ", as it is meant to be in this demo" } else { "" };
            board.push_str(&format!("{id} is refused{meant}:\n  {sentence}\n"));
        }
    }
    if let Some(silence) = silence(progress, age) {
        let why = progress.last_failure.as_deref().unwrap_or("nobody says why");
        board.push_str(&format!("NO TURN was finished for {} s. Last failure: {why}\n", silence.as_secs()));
    }
    board
}

/// How long nothing has been finished, if that is too long.
fn silence(progress: &Progress, age: Duration) -> Option<Duration> {
    let silence = progress.last_turn_at.map_or(age, |at| at.elapsed());
    (silence > STALLED).then_some(silence)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::TERMINAL_WIDTH;
    use serde_json::json;

    #[test]
    fn a_board_fits_a_terminal_and_says_whom_a_limit_holds() {
        let answer = json!({"users": [{"userId": LOOPING, "usage": {"costUsd": 1234.5, "totalTokens": 123_456_789},
            "threshold": {"maxCostUsd": 1000.25}}]});
        let mut progress = Progress { last_turn_at: Some(Instant::now()), ..Progress::default() };
        let refusal =
            Some("Cost limit reached: $0.2513 >= $0.25; it resets at 2026-11-29T00:00:00Z".to_owned());
        progress.people.insert(LOOPING, Done { sessions: 123_456, turns: 1_234_567, refusal });
        let board = draw(&used(&answer), &progress, Duration::ZERO);
        assert!(board.lines().all(|line| line.chars().count() <= TERMINAL_WIDTH), "{board}");
        assert!(board.contains("looping-agent is refused, as it is meant to be"), "{board}");
        assert!(board.contains("123456789 1234.5000  1000.25 refused"), "{board}");
        assert!(!board.contains("NO TURN"));
    }

    #[test]
    fn traffic_that_stands_still_is_said_with_the_reason() {
        let progress = Progress { last_failure: Some("ada: HTTP 503".into()), ..Progress::default() };
        assert!(!draw(&BTreeMap::new(), &progress, Duration::from_secs(59)).contains("NO TURN"));
        let board = draw(&BTreeMap::new(), &progress, Duration::from_secs(61));
        assert!(board.contains("NO TURN was finished for 61 s. Last failure: ada: HTTP 503"), "{board}");
    }
}
