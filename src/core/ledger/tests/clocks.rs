//! When windows end and clocks jump, to the millisecond.

use super::*;
use crate::time::STEP_BACK_MS;
use crate::window::BUCKET_MS;

/// 2026-12-01T00:00:00Z, where a day and a month begin.
const MIDNIGHT: Timestamp = Timestamp(1_796_083_200_000);

fn with_window(window: WindowKind) -> Config {
    let default_limit = Limit { max_cost: Some(NanoUsd(100)), window, ..Limit::default() };
    Config { default_limit, ..small() }
}

#[test]
fn no_session_ends_before_it_began() {
    let mut ledger = Ledger::new(small(), NOON);
    for (session, closed_at, kept) in
        [(1, NOON.plus_ms(HOUR_MS), NOON.plus_ms(HOUR_MS)), (2, NOON.minus_ms(HOUR_MS), NOON)]
    {
        let identity = Arc::new(Identity::of("alice".into()));
        let (session_id, provider) = (SessionId(session), "openai".into());
        let opened = Opened {
            session: session_id,
            identity,
            provider,
            model: None,
            transport: Transport::default(),
            call: None,
            at: NOON,
        };
        ledger.open_session(opened, NOON);
        ledger.close_session(Closed { session: SessionId(session), at: closed_at, close_code: 1000 }, false);
        assert_eq!(ledger.take_batch().unwrap().sessions[0].closed.at, kept);
    }
}

/// A session that is open across the end of its user's window: what was used before counts to the end, and from its
/// first millisecond on the next window allows all of the limit, on the same account.
#[test]
fn a_window_ends_in_the_middle_of_a_session_to_the_millisecond() {
    let used_at = MIDNIGHT.minus_ms(10 * MINUTE_MS);
    let end_of_bucket = MIDNIGHT.plus_ms(DAY_MS - 10 * MINUTE_MS + BUCKET_MS);
    for (window, end) in [
        (WindowKind::Daily, MIDNIGHT),
        (WindowKind::Monthly, MIDNIGHT),
        (WindowKind::Rolling24h, end_of_bucket),
    ] {
        let mut ledger = Ledger::new(with_window(window), used_at);
        let slot = ledger.admit(&user("alice"), used_at, |_, _| true).unwrap();
        ledger.apply(delta("alice", "m", 60, used_at), used_at);
        let last = end.minus_ms(1);
        ledger.tick(last);
        let left = |ledger: &Ledger| (ledger.record(slot).used().cost.0, ledger.record(slot).ceilings().cost);
        assert_eq!(left(&ledger), (60, Ceiling::At(100)), "{window:?}: the last millisecond");
        assert_eq!(ledger.record(slot).account_state().resets_at, Some(end), "{window:?}");
        ledger.tick(end);
        assert_eq!(left(&ledger), (0, Ceiling::At(160)), "{window:?}: the first millisecond");
        // Reported before the end, heard of after it: it was of the window before, unless that is still counted.
        ledger.apply(delta("alice", "m", 30, last), end);
        let late = if window == WindowKind::Rolling24h { 30 } else { 0 };
        assert_eq!(left(&ledger), (late, Ceiling::At(190 - late)), "{window:?}: a late delta");
        ledger.apply(delta("alice", "m", 100, end), end);
        assert_eq!(left(&ledger), (100 + late, Ceiling::At(190 - late)), "{window:?}: used up");
        assert!(ledger.take_sweep(), "{window:?}");
    }
}

/// Usage at a time, and a restart at another: what the day and the month hold then, and after the next midnight.
#[test]
fn a_restart_under_another_clock_gives_no_budget_twice_and_shuts_nobody_out_for_ever() {
    let second = 1_000;
    for (used_at, now, day, month, day_after) in [
        (MIDNIGHT.minus_ms(1), MIDNIGHT.minus_ms(1), 100, 100, 0),
        (MIDNIGHT.minus_ms(1), MIDNIGHT, 0, 0, 0),
        (MIDNIGHT, MIDNIGHT, 100, 100, 0),
        (MIDNIGHT.plus_ms(DAY_MS), MIDNIGHT.plus_ms(2 * DAY_MS), 0, 100, 0),
        // Seconds back, over midnight: the new day has begun and goes on, and is not begun again.
        (MIDNIGHT, MIDNIGHT.minus_ms(second), 100, 100, 100),
        (MIDNIGHT, MIDNIGHT.minus_ms(STEP_BACK_MS), 100, 100, 100),
        // A clock that was far ahead: it counts now, and not after.
        (MIDNIGHT, MIDNIGHT.minus_ms(STEP_BACK_MS + 1), 100, 100, 0),
        (MIDNIGHT.plus_ms(365 * DAY_MS), MIDNIGHT.minus_ms(second), 100, 100, 0),
        // A clock that lost its time.
        (MIDNIGHT, Timestamp(0), 100, 100, 0),
    ] {
        let totals = Totals { cost: NanoUsd(100), ..Totals::default() };
        let usage = vec![Piece { holder: user("alice"), at: used_at, totals }];
        let restored = Restored { usage, ..Restored::default() };
        let mut ledger = Ledger::restore(with_window(WindowKind::Daily), restored, now);
        let sums = |ledger: &Ledger| {
            [WindowKind::Daily, WindowKind::Monthly, WindowKind::Total]
                .map(|window| cost_of(ledger, &user("alice"), window).unwrap())
        };
        let told = format!("used at {used_at}, restarted at {now}");
        assert_eq!(sums(&ledger), [day, month, 100], "{told}");
        let slot = ledger.find(&user("alice")).unwrap();
        assert_eq!(ledger.record(slot).ceilings().cost, Ceiling::At(100 - day), "{told}");
        ledger.tick(now.next_day_start());
        assert_eq!(sums(&ledger)[0], day_after, "{told}: after midnight");
        ledger.tick(now.plus_ms(2 * DAY_MS));
        assert_eq!(sums(&ledger)[0], 0, "{told}: two days later");
    }
}
