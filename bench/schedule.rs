//! When each act is due. Nothing here waits: a due time is an offset from the run's start.

use std::time::Duration;

/// The due times of one session among `session_count` that share a rate: together they are evenly spaced.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Schedule {
    phase: Duration,
    period: Duration,
}

impl Schedule {
    /// `rate` is acts a second over all sessions; `None` when nothing is ever due.
    pub(crate) fn shared(rate: f64, session_count: usize, session_index: usize) -> Option<Schedule> {
        if !(rate > 0.0 && rate.is_finite()) || session_count == 0 {
            return None;
        }
        let seconds = |acts: usize| Duration::from_secs_f64(acts as f64 / rate);
        Some(Schedule { phase: seconds(session_index), period: seconds(session_count) })
    }

    /// Every `period`, from a phase of the session's own, so that many sessions are not one burst.
    pub(crate) fn every(period: Duration, session_count: usize, session_index: usize) -> Schedule {
        Schedule { phase: period * session_index as u32 / session_count.max(1) as u32, period }
    }

    /// The first act that is not due before `elapsed`.
    pub(crate) fn next(&self, elapsed: Duration) -> u64 {
        let since = elapsed.saturating_sub(self.phase);
        since.as_nanos().div_ceil(self.period.as_nanos().max(1)) as u64
    }

    /// When act `index` is due, the first being 0.
    pub(crate) fn due(&self, index: u64) -> Duration {
        self.phase + Duration::from_nanos((self.period.as_nanos() as u64).saturating_mul(index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_together_keep_the_rate_evenly() {
        for (rate, sessions, seconds) in [(500.0, 50, 4), (1_000.0, 1, 1), (30.0, 90, 10)] {
            let mut due: Vec<Duration> = (0..sessions)
                .filter_map(|session| Schedule::shared(rate, sessions, session))
                .flat_map(|schedule| {
                    (0..).map(move |act| schedule.due(act)).take_while(|due| due.as_secs() < seconds)
                })
                .collect();
            due.sort();
            assert_eq!(due.len(), rate as usize * seconds as usize);
            for pair in due.windows(2) {
                let gap = (pair[1] - pair[0]).as_secs_f64() * rate;
                assert!((gap - 1.0).abs() < 1e-3, "{gap}");
            }
        }
    }

    #[test]
    fn a_period_is_kept_from_each_sessions_own_phase() {
        let schedule = Schedule::every(Duration::from_millis(40), 4, 3);
        assert_eq!(schedule.due(0), Duration::from_millis(30));
        assert_eq!(schedule.due(25), Duration::from_millis(1_030));
        for (elapsed_ms, next) in [(0, 0), (30, 0), (31, 1), (70, 1), (1_029, 25), (1_030, 25)] {
            assert_eq!(schedule.next(Duration::from_millis(elapsed_ms)), next, "{elapsed_ms}");
        }
    }

    #[test]
    fn no_rate_means_nothing_is_due() {
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(Schedule::shared(rate, 1, 0), None);
        }
    }
}
