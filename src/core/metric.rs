//! The names of what is counted about the process itself. No label ever holds a user's id.

/// A counter of a shard. All of them only grow; a gauge is the difference of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Metric {
    ConnectionsAccepted,
    SessionsOpened,
    SessionsClosed,
    SessionsResumed,
    SessionsRefused,
    ConnectionsUnserved,
    SessionsPanicked,
    SessionsLingered,
    BytesDownstream,
    BytesUpstream,
    MessagesDownstream,
    MessagesUpstream,
    PacketsDownstream,
    PacketsUpstream,
    CallsOpened,
    CallsClosed,
    CallsUnconnected,
    CallsUnwatched,
    CallsGivenUp,
    HangupsFailed,
    EventsMetered,
    EventsDuplicate,
    EventsEstimated,
    EventsUnmetered,
    EventsUnpriced,
    EventsWithheld,
    LimitsReached,
    LimitsForeseen,
    UpstreamFailures,
    ReportsDeferred,
    ReportsMerged,
}

/// The reasons that refusals are counted by: [`crate::close_reason::CloseReason::code`] of those that can be one, a request that
/// cannot be read, and whatever else there may be.
pub const REFUSAL_REASONS: [&str; 10] = [
    "unauthorized",
    "user_blocked",
    "cost_limit_reached",
    "token_limit_reached",
    "too_many_sessions",
    "limit_unsure",
    "overloaded",
    "draining",
    BAD_REQUEST,
    "other",
];

/// A request that cannot be read.
pub const BAD_REQUEST: &str = "bad_request";

/// Where a reason is in [`REFUSAL_REASONS`].
pub fn refusal_index(code: &str) -> usize {
    let other = REFUSAL_REASONS.len() - 1;
    REFUSAL_REASONS.iter().position(|reason| *reason == code).unwrap_or(other)
}

pub const METRIC_COUNT: usize = Metric::ReportsMerged as usize + 1;

/// Every counter with its Prometheus name and help line.
pub const METRICS: [(Metric, &str, &str); METRIC_COUNT] = [
    (
        Metric::ConnectionsAccepted,
        "tokenist_connections_accepted_total",
        "TCP connections accepted on the data port.",
    ),
    (Metric::SessionsOpened, "tokenist_sessions_opened_total", "Sessions that reached relay."),
    (Metric::SessionsClosed, "tokenist_sessions_closed_total", "Sessions that were settled."),
    (
        Metric::SessionsResumed,
        "tokenist_sessions_resumed_total",
        "Of those that reached relay, connections that went on with a session; the others are sessions of their own.",
    ),
    (Metric::SessionsRefused, "tokenist_sessions_refused_total", "Requests refused in admit."),
    (
        Metric::ConnectionsUnserved,
        "tokenist_connections_unserved_total",
        "Connections refused because the process may open no more files.",
    ),
    (Metric::SessionsPanicked, "tokenist_sessions_panicked_total", "Sessions that died of a bug of ours."),
    (
        Metric::SessionsLingered,
        "tokenist_sessions_lingered_total",
        "Sessions over for their application whose provider was heard out for the usage it owed.",
    ),
    (Metric::BytesDownstream, "tokenist_downstream_bytes_total", "Bytes sent to applications."),
    (Metric::BytesUpstream, "tokenist_upstream_bytes_total", "Bytes sent to providers."),
    (Metric::MessagesDownstream, "tokenist_downstream_messages_total", "Messages relayed to applications."),
    (Metric::MessagesUpstream, "tokenist_upstream_messages_total", "Messages relayed to providers."),
    (
        Metric::PacketsDownstream,
        "tokenist_downstream_packets_total",
        "Packets of sound relayed to the applications of calls.",
    ),
    (
        Metric::PacketsUpstream,
        "tokenist_upstream_packets_total",
        "Packets of sound relayed to the providers of calls.",
    ),
    (Metric::CallsOpened, "tokenist_calls_opened_total", "Calls that were begun; they are sessions as well."),
    (Metric::CallsClosed, "tokenist_calls_closed_total", "Calls that were settled."),
    (
        Metric::CallsUnconnected,
        "tokenist_calls_unconnected_total",
        "Relayed calls of which a side was gone before it had connected (ICE or DTLS).",
    ),
    (
        Metric::CallsUnwatched,
        "tokenist_calls_unwatched_total",
        "Calls past here whose socket did not open, or was lost for good.",
    ),
    (
        Metric::CallsGivenUp,
        "tokenist_calls_given_up_total",
        "Calls that were to end, have not, and are not heard any more: they may go on at their provider.",
    ),
    (
        Metric::HangupsFailed,
        "tokenist_hangups_failed_total",
        "Requests by which a call was to end, and did not; each is made again.",
    ),
    (Metric::EventsMetered, "tokenist_events_metered_total", "Events whose usage was counted."),
    (
        Metric::EventsDuplicate,
        "tokenist_events_duplicate_total",
        "Events whose usage had been counted already.",
    ),
    (
        Metric::EventsEstimated,
        "tokenist_events_estimated_total",
        "Responses booked by estimate, without usage from the provider.",
    ),
    (
        Metric::EventsUnmetered,
        "tokenist_events_unmetered_total",
        "Events that should carry usage but were too large or not readable.",
    ),
    (
        Metric::EventsUnpriced,
        "tokenist_events_unpriced_total",
        "Metered events of unknown models, booked at the fallback price.",
    ),
    (
        Metric::EventsWithheld,
        "tokenist_events_withheld_total",
        "Provider events not forwarded because a limit had been reached.",
    ),
    (Metric::LimitsReached, "tokenist_limits_reached_total", "Sessions ended or refused by a limit."),
    (
        Metric::LimitsForeseen,
        "tokenist_limits_foreseen_total",
        "Responses that would reach a limit with what they read by estimate; nobody is ended by that.",
    ),
    (
        Metric::UpstreamFailures,
        "tokenist_upstream_failures_total",
        "Dials that failed and providers that broke off.",
    ),
    (
        Metric::ReportsDeferred,
        "tokenist_reports_deferred_total",
        "Reports kept for the next tick because the queue was full.",
    ),
    (
        Metric::ReportsMerged,
        "tokenist_reports_merged_total",
        "Metered facts added to one of the same session because too many reports were kept.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_has_its_own_row_and_name() {
        for (index, (metric, name, _)) in METRICS.iter().enumerate() {
            assert_eq!(*metric as usize, index);
            assert!(name.starts_with("tokenist_") && name.ends_with("_total"), "{name}");
            assert_eq!(METRICS.iter().filter(|row| row.1 == *name).count(), 1);
        }
    }
}
