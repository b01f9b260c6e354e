//! What a run comes to: JSON that says on which machine and by which command it was made, and text.

use crate::clock;
use crate::scenario::Scenario;
use crate::tally::{Latency, Media, Tally};
use serde_json::{Value, json};
use std::time::Duration;

/// Raised when a field changes its meaning.
const SCHEMA: u64 = 1;

/// The head of every result.
pub(crate) fn head(commit: Option<&str>) -> Value {
    json!({
        "schema": SCHEMA,
        "at": clock::now().to_string(),
        "machine": machine(),
        "commit": commit,
        "command": std::env::args().collect::<Vec<_>>().join(" "),
    })
}

fn machine() -> Value {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        line.split_once(':').map(|(_, value)| value.trim().to_owned())
    };
    json!({
        "cpu": field(&read("/proc/cpuinfo"), "model name"),
        "cores": std::thread::available_parallelism().map_or(1, usize::from),
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "memory": field(&read("/proc/meminfo"), "MemTotal"),
    })
}

/// The figures of one run.
pub(crate) fn figures(scenario: &Scenario, tally: &Tally, window: Duration) -> Value {
    let seconds = window.as_secs_f64();
    json!({
        "scenario": scenario,
        "seconds": seconds,
        "sessions_opened": tally.sessions_opened,
        "sessions_resumed": tally.sessions_resumed,
        "sessions_per_second": tally.sessions_opened as f64 / seconds,
        "messages_received": tally.messages_received,
        "messages_sent": tally.messages_sent,
        "messages_per_second": (tally.messages_received + tally.messages_sent) as f64 / seconds,
        "bytes_received": tally.bytes_received,
        "bytes_sent": tally.bytes_sent,
        "turns": tally.turns,
        "late_sends": tally.late_sends,
        "latency_us": latency(&tally.latency),
        "first_us": latency(&tally.first),
        "event_us": latency(&tally.event),
        "connect_us": latency(&tally.connect),
        "media": media(&tally.media),
        "error_count": tally.error_count(),
        "errors": tally.errors,
        "close_codes": tally.close_codes,
        "usage": tally.usage(),
        "users": tally.users,
    })
}

/// Of packets of sound; null where there were none.
fn media(media: &Media) -> Value {
    if media.sent + media.received == 0 {
        return Value::Null;
    }
    json!({"packets_sent": media.sent, "packets_received": media.received, "lost": media.lost, "lost_up": media.lost_up,
        "lost_down": media.lost_down, "tones": media.tones, "up_us": latency(&media.up),
        "down_us": latency(&media.down), "jitter_us": latency(&media.jitter)})
}

fn latency(latency: &Latency) -> Value {
    if latency.count() == 0 {
        return Value::Null;
    }
    let us = |quantile| round(latency.us(quantile));
    json!({"count": latency.count(), "mean": round(latency.us_mean()), "p50": us(0.5), "p90": us(0.9),
        "p99": us(0.99), "p99_9": us(0.999), "max": round(latency.us_max())})
}

pub(crate) fn round(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

/// A run in a few lines.
pub(crate) fn text(figures: &Value, scenario: &Scenario) -> String {
    let number = |key: &str| figures[key].as_f64().unwrap_or(0.0);
    let mut text = format!(
        "{scenario}\n  {:.1} s · {} sessions · {:.0} messages/s · {} turns · errors {} · late sends {}\n",
        number("seconds"),
        figures["sessions_opened"],
        number("messages_per_second"),
        figures["turns"],
        figures["error_count"],
        figures["late_sends"],
    );
    let media = &figures["media"];
    if !media.is_null() {
        text.push_str(&format!(
            "  sound  {} packets sent · {} received · lost {}: {} up, {} down · {} of the tone\n",
            media["packets_sent"],
            media["packets_received"],
            media["lost"],
            media["lost_up"],
            media["lost_down"],
            media["tones"],
        ));
    }
    for (name, of) in [
        ("latency", &figures["latency_us"]),
        ("first byte", &figures["first_us"]),
        ("event", &figures["event_us"]),
        ("connect", &figures["connect_us"]),
        ("sound up", &media["up_us"]),
        ("sound down", &media["down_us"]),
        ("jitter", &media["jitter_us"]),
    ] {
        if !of.is_null() {
            let parts =
                ["p50", "p90", "p99", "p99_9", "max"].map(|quantile| format!("{quantile} {}", of[quantile]));
            text.push_str(&format!("  {name} µs  {}\n", parts.join("  ")));
        }
    }
    for (word, count) in figures["errors"].as_object().into_iter().flatten() {
        text.push_str(&format!("  error  {word}: {count}\n"));
    }
    for (code, count) in figures["close_codes"].as_object().into_iter().flatten() {
        text.push_str(&format!("  closed with {code}: {count}\n"));
    }
    for (user, models) in figures["users"].as_object().into_iter().flatten() {
        for (model, usage) in models.as_object().into_iter().flatten() {
            text.push_str(&format!("  {user}  {model}  {usage}\n"));
        }
    }
    text
}
