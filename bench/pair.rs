//! The same scenario direct and through each proxy in turn, with what each proxy's process paid for it.
//!
//! Start at [`run`]. Rounds go around all targets, so that whatever drifts on the machine drifts for all.
//! Medians over the rounds are compared; added latency is a target's less the direct one's.

use crate::driver;
use crate::process::{Pid, Reading};
use crate::run::Edge;
use crate::scenario::{Kind, Scenario};
use crate::summary::{self, round};
use crate::target::Target;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::io;
use std::sync::Mutex;
use std::time::Duration;

/// Between two runs, so that the closing of one is not the opening of the next.
const REST: Duration = Duration::from_millis(500);

/// One way to the provider: direct, or through a proxy whose processes are measured.
#[derive(Debug)]
pub(crate) struct Contender {
    pub(crate) name: String,
    pub(crate) target: Target,
    pub(crate) pids: Vec<Pid>,
}

pub(crate) struct Plan<'a> {
    pub(crate) contenders: &'a [Contender],
    pub(crate) scenarios: &'a [Scenario],
    pub(crate) rounds: usize,
    pub(crate) thread_count: usize,
    /// The contender that ratios are taken against.
    pub(crate) reference: &'a str,
}

/// The figures that are compared, by name: cost per message and so on; `up` and `down` are one way of a packet of sound. Absent where a scenario has none.
type Figures = BTreeMap<&'static str, f64>;

/// Runs every scenario and returns `[{scenario, contenders: {name: {rounds, median}}, ratios}]`.
pub(crate) fn run(plan: &Plan<'_>, progress: &mut dyn FnMut(&str)) -> io::Result<Vec<Value>> {
    // A proxy keeps what an earlier round made it allocate; an idle session's memory counts from before the first.
    let baselines: Vec<Reading> =
        plan.contenders.iter().map(|one| Reading::of(&one.pids)).collect::<Result<_, _>>()?;
    let mut results = Vec::new();
    for scenario in plan.scenarios {
        let mut rounds: Vec<Vec<(Figures, Value)>> = plan.contenders.iter().map(|_| Vec::new()).collect();
        for number in 1..=plan.rounds {
            for (index, contender) in plan.contenders.iter().enumerate() {
                progress(&format!("{scenario} · round {number} · {}", contender.name));
                rounds[index].push(measure(scenario, contender, baselines[index], plan.thread_count)?);
                std::thread::sleep(REST);
            }
        }
        results.push(compare(plan, scenario, &rounds));
    }
    Ok(results)
}

fn measure(
    scenario: &Scenario,
    contender: &Contender,
    baseline: Reading,
    thread_count: usize,
) -> io::Result<(Figures, Value)> {
    let edges = Mutex::new([None, None]);
    let read = |at: Edge| {
        let reading = Reading::of(&contender.pids).ok();
        edges.lock().expect("nobody panics with this lock")[usize::from(at == Edge::End)] = reading;
    };
    let (tally, window) = driver::run(scenario, &contender.target, thread_count, &read)?;
    let edges = *edges.lock().expect("nobody panics with this lock");
    let [Some(start), Some(end)] = edges else {
        return Err(io::Error::other(format!("a process of {} has ended", contender.name)));
    };
    let mut raw = summary::figures(scenario, &tally, window);
    if let Value::Object(fields) = &mut raw {
        for key in ["scenario", "users", "usage"] {
            fields.remove(key);
        }
    }
    let mut figures = Figures::new();
    let cpu_ns = end.cpu_ns.saturating_sub(start.cpu_ns) as f64;
    let messages = (tally.messages_received + tally.messages_sent) as f64;
    let measured = !contender.pids.is_empty();
    match scenario.kind {
        Kind::Idle if measured => {
            let grown = end.resident_bytes.saturating_sub(baseline.resident_bytes) as f64;
            figures.insert("bytes_per_session", grown / tally.sessions_opened.max(1) as f64);
        }
        Kind::Idle => {}
        Kind::Churn => {
            let opened = tally.sessions_opened as f64;
            figures.insert("connects_per_second", opened / window.as_secs_f64());
            if measured {
                figures.insert("cpu_us_per_connect", cpu_ns / 1_000.0 / opened.max(1.0));
            }
        }
        _ if tally.media.sent > 0 => {
            let packets = (tally.media.sent + tally.media.received) as f64;
            figures.insert("packets_per_second", packets / window.as_secs_f64());
            figures.insert("packets_lost", tally.media.lost as f64);
            if measured {
                figures.insert("cpu_us_per_packet", cpu_ns / 1_000.0 / packets);
                figures.insert("cpu_share", cpu_ns / window.as_nanos() as f64);
            }
        }
        Kind::Ping | Kind::Speech | Kind::Saturate | Kind::Turns => {
            figures.insert("messages_per_second", messages / window.as_secs_f64());
            if measured {
                figures.insert("cpu_us_per_message", cpu_ns / 1_000.0 / messages.max(1.0));
                figures.insert("cpu_share", cpu_ns / window.as_nanos() as f64);
            }
        }
        Kind::Ask | Kind::Stream => {
            let requests = tally.turns as f64;
            figures.insert("requests_per_second", requests / window.as_secs_f64());
            figures.insert("events_per_second", tally.messages_received as f64 / window.as_secs_f64());
            if measured {
                figures.insert("cpu_us_per_request", cpu_ns / 1_000.0 / requests.max(1.0));
                let events = tally.messages_received as f64;
                figures.insert("cpu_us_per_event", cpu_ns / 1_000.0 / events.max(1.0));
                figures.insert("cpu_share", cpu_ns / window.as_nanos() as f64);
            }
        }
    }
    for (latency, [p50, p99]) in [
        (&tally.latency, ["latency_us_p50", "latency_us_p99"]),
        (&tally.first, ["first_us_p50", "first_us_p99"]),
        (&tally.event, ["event_us_p50", "event_us_p99"]),
        (&tally.media.up, ["up_us_p50", "up_us_p99"]),
        (&tally.media.down, ["down_us_p50", "down_us_p99"]),
    ] {
        if latency.count() > 0 {
            figures.insert(p50, latency.us(0.5));
            figures.insert(p99, latency.us(0.99));
        }
    }
    figures.insert("errors", tally.error_count() as f64);
    raw["figures"] = rounded(&figures);
    Ok((figures, raw))
}

fn compare(plan: &Plan<'_>, scenario: &Scenario, rounds: &[Vec<(Figures, Value)>]) -> Value {
    let mut medians: Vec<Figures> =
        rounds.iter().map(|rounds| median(rounds.iter().map(|(figures, _)| figures))).collect();
    let direct =
        plan.contenders.iter().position(|contender| contender.pids.is_empty()).map(|at| medians[at].clone());
    if let Some(direct) = direct {
        for (figures, _) in medians.iter_mut().zip(plan.contenders).filter(|(_, one)| !one.pids.is_empty()) {
            for (added, from) in [
                ("added_us_p50", "latency_us_p50"),
                ("added_us_p99", "latency_us_p99"),
                ("added_first_us_p50", "first_us_p50"),
                ("added_first_us_p99", "first_us_p99"),
                ("added_event_us_p50", "event_us_p50"),
                ("added_event_us_p99", "event_us_p99"),
                ("added_up_us_p50", "up_us_p50"),
                ("added_up_us_p99", "up_us_p99"),
                ("added_down_us_p50", "down_us_p50"),
                ("added_down_us_p99", "down_us_p99"),
            ] {
                if let (Some(through), Some(without)) = (figures.get(from).copied(), direct.get(from)) {
                    figures.insert(added, through - without);
                }
            }
        }
    }
    let reference = plan.contenders.iter().position(|contender| contender.name == plan.reference);
    let mut contenders = Map::new();
    let mut ratios = Map::new();
    for ((contender, rounds), figures) in plan.contenders.iter().zip(rounds).zip(&medians) {
        let raw: Vec<&Value> = rounds.iter().map(|(_, raw)| raw).collect();
        contenders.insert(contender.name.clone(), json!({"median": rounded(figures), "rounds": raw}));
        let against =
            reference.filter(|&at| plan.contenders[at].name != contender.name && !contender.pids.is_empty());
        if let Some(at) = against {
            ratios.insert(contender.name.clone(), rounded(&ratio(figures, &medians[at])));
        }
    }
    json!({"scenario": scenario, "contenders": contenders, "reference": plan.reference, "ratios": ratios})
}

/// The median of each figure, by itself.
fn median<'a>(rounds: impl Iterator<Item = &'a Figures>) -> Figures {
    let mut by_name: BTreeMap<&'static str, Vec<f64>> = BTreeMap::new();
    for figures in rounds {
        for (name, value) in figures {
            by_name.entry(name).or_default().push(*value);
        }
    }
    by_name
        .into_iter()
        .map(|(name, mut values)| {
            values.sort_by(f64::total_cmp);
            let middle = values.len() / 2;
            let median = if values.len() % 2 == 1 {
                values[middle]
            } else {
                (values[middle - 1] + values[middle]) / 2.0
            };
            (name, median)
        })
        .collect()
}

/// A difference may be negative, where noise is larger than it: then there is no ratio.
fn ratio(figures: &Figures, reference: &Figures) -> Figures {
    figures
        .iter()
        .filter_map(|(name, value)| {
            let base = reference.get(name).filter(|base| **base > f64::EPSILON && *value >= 0.0)?;
            Some((*name, value / base))
        })
        .collect()
}

fn rounded(figures: &Figures) -> Value {
    figures
        .iter()
        .map(|(name, value)| ((*name).to_owned(), Value::from(round(*value))))
        .collect::<Map<_, _>>()
        .into()
}

/// The medians and ratios as a table for each scenario.
pub(crate) fn table(results: &[Value], scenarios: &[Scenario]) -> String {
    let mut text = String::new();
    for (result, scenario) in results.iter().zip(scenarios) {
        text.push_str(&format!("\n{scenario}\n"));
        let contenders = result["contenders"].as_object().into_iter().flatten();
        let ratios = result["ratios"].as_object().into_iter().flatten();
        let reference = result["reference"].as_str().unwrap_or_default();
        let columns: Vec<(String, &Value)> = contenders
            .map(|(name, contender)| (name.clone(), &contender["median"]))
            .chain(ratios.map(|(name, ratio)| (format!("{name}/{reference}"), ratio)))
            .collect();
        let mut names: Vec<&String> = columns
            .iter()
            .flat_map(|(_, of)| of.as_object().into_iter().flatten().map(|(name, _)| name))
            .collect();
        names.sort();
        names.dedup();
        text.push_str(&format!("  {:<22}", ""));
        columns.iter().for_each(|(name, _)| text.push_str(&format!("{name:>20}")));
        text.push('\n');
        for figure in names {
            text.push_str(&format!("  {figure:<22}"));
            for (_, of) in &columns {
                match of[figure].as_f64() {
                    Some(value) => text.push_str(&format!("{value:>20.3}")),
                    None => text.push_str(&format!("{:>20}", "–")),
                }
            }
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(values: &[(&'static str, f64)]) -> Figures {
        values.iter().copied().collect()
    }

    #[test]
    fn one_wild_round_does_not_move_the_median() {
        let rounds = [
            figures(&[("a", 1.0), ("b", 4.0)]),
            figures(&[("a", 900.0)]),
            figures(&[("a", 2.0), ("b", 2.0)]),
        ];
        assert_eq!(median(rounds.iter()), figures(&[("a", 2.0), ("b", 3.0)]));
    }

    #[test]
    fn a_ratio_needs_both_sides() {
        let one = figures(&[("a", 1.0), ("b", 4.0), ("c", 1.0), ("d", -1.0)]);
        let other = figures(&[("a", 2.0), ("c", 0.0), ("d", 1.0)]);
        assert_eq!(ratio(&one, &other), figures(&[("a", 0.5)]));
    }
}
