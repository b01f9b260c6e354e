//! Who was refused, and why: a row for each user or key, reason and minute.
//!
//! Start at [`RefusalBook::note`]. Rows are absolute: one that grows is saved again, and the greater count holds.
//! Invariant: however often and by however many requests are refused, there are at most [`ROWS_PER_HOUR`] new rows in
//! an hour; what comes beyond is counted, and told by reason alone, as are the refusals of strangers.

use crate::close_reason::{CloseReason, Measure};
use crate::id::{OrgId, UserId};
use crate::key::KeyId;
use crate::time::{HOUR_MS, Timestamp};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// New rows in an hour.
pub const ROWS_PER_HOUR: usize = 10_000;
const MINUTE_MS: u64 = 60_000;
/// How long a row is at hand after its minute: reports come late, and whoever is refused now is asked for.
const RECENT_MS: u64 = 5 * MINUTE_MS;

/// Why, as far as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusalReason {
    /// [`CloseReason::code`]
    pub code: Arc<str>,
    pub close_code: u16,
    /// The limit that was reached, and how far use had come.
    pub measure: Option<Measure>,
}

/// Requests that were refused alike, as whoever refused them reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The last of them; likewise the address.
    pub at: Timestamp,
    pub user: Option<UserId>,
    pub org: Option<OrgId>,
    pub key: Option<KeyId>,
    /// Where it came from; empty where that is not known.
    pub address: Arc<str>,
    pub reason: RefusalReason,
    pub count: u64,
}

/// A row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Unique in its ledger, and later ones sort later.
    pub id: Arc<str>,
    /// The minute's start.
    pub minute: Timestamp,
    /// The last of its refusals, with where that came from and how it was told.
    pub last: Refused,
}

impl RefusalReason {
    pub fn of(ending: &CloseReason) -> RefusalReason {
        let measure = match ending {
            CloseReason::LimitReached { measure, .. } => Some(*measure),
            _ => None,
        };
        RefusalReason { code: ending.code().into(), close_code: ending.close_code(), measure }
    }
}

impl Refusal {
    /// Of two states of a row the later one, which has counted more.
    pub fn join(&mut self, other: Refusal) {
        if other.last.count > self.last.count {
            *self = other;
        }
    }
}

type Row = (Timestamp, Subject, Arc<str>);

/// Who is refused: a user, whoever's key was shown, or the key of nobody in particular.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Subject {
    User(UserId),
    Key(KeyId),
}

#[derive(Debug)]
pub struct RefusalBook {
    /// Tells this life's ids from those of others.
    life: Timestamp,
    serial: u64,
    /// Of the last minutes.
    rows: HashMap<Row, Refusal>,
    /// Rows that have grown since they were taken, by their numbers.
    unsaved: BTreeMap<Arc<str>, Refusal>,
    hour: Timestamp,
    rows_in_hour: usize,
    unrecorded: u64,
    /// The minute in which old rows were forgotten last.
    swept: Timestamp,
}

impl RefusalBook {
    /// For a ledger that begins, or goes on, at `life`.
    pub fn new(life: Timestamp) -> RefusalBook {
        RefusalBook {
            life,
            serial: 0,
            rows: HashMap::new(),
            unsaved: BTreeMap::new(),
            hour: Timestamp(0),
            rows_in_hour: 0,
            unrecorded: 0,
            swept: Timestamp(0),
        }
    }

    /// Adds to the row of whoever it is. Of strangers, who are neither a user nor a key here, it keeps nothing.
    pub fn note(&mut self, refused: Refused) {
        let subject = match (&refused.user, &refused.key) {
            (Some(user), _) => Subject::User(user.clone()),
            (None, Some(key)) => Subject::Key(key.clone()),
            (None, None) => return,
        };
        let minute = minute_of(refused.at);
        let row = (minute, subject, Arc::clone(&refused.reason.code));
        if let Some(known) = self.rows.get_mut(&row) {
            let count = known.last.count.saturating_add(refused.count);
            known.last = Refused { count, ..refused };
            self.unsaved.insert(Arc::clone(&known.id), known.clone());
            return;
        }
        if !self.may_begin_a_row(refused.at) {
            self.unrecorded = self.unrecorded.saturating_add(refused.count);
            return;
        }
        self.serial += 1;
        let id: Arc<str> = format!("{:012x}{:08x}", self.life.0, self.serial).into();
        let begun = Refusal { id: Arc::clone(&id), minute, last: refused };
        self.unsaved.insert(id, begun.clone());
        self.rows.insert(row, begun);
    }

    fn may_begin_a_row(&mut self, now: Timestamp) -> bool {
        self.forget_old(now);
        let hour = Timestamp(now.0 - now.0 % HOUR_MS);
        if hour != self.hour {
            (self.hour, self.rows_in_hour) = (hour, 0);
        }
        // A store that is away for hours takes its rows late, not all of them.
        if self.rows_in_hour >= ROWS_PER_HOUR || self.unsaved.len() >= 2 * ROWS_PER_HOUR {
            return false;
        }
        self.rows_in_hour += 1;
        true
    }

    fn forget_old(&mut self, now: Timestamp) {
        let minute = minute_of(now);
        if std::mem::replace(&mut self.swept, minute) != minute {
            self.rows.retain(|(minute, ..), _| minute.plus_ms(MINUTE_MS + RECENT_MS) > now);
        }
    }

    /// Refusals for which there was no row any more.
    pub fn unrecorded(&self) -> u64 {
        self.unrecorded
    }

    /// How many users and keys were refused within the last five minutes.
    pub fn recent(&self, now: Timestamp) -> usize {
        let recent = self.rows.iter().filter(|(_, row)| row.last.at.plus_ms(RECENT_MS) > now);
        recent.map(|((_, subject, _), _)| subject).collect::<HashSet<_>>().len()
    }

    /// What has grown since the last time.
    pub fn take_unsaved(&mut self) -> Vec<Refusal> {
        std::mem::take(&mut self.unsaved).into_values().collect()
    }
}

fn minute_of(at: Timestamp) -> Timestamp {
    Timestamp(at.0 - at.0 % MINUTE_MS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::WindowKind;
    use crate::money::NanoUsd;

    const NOON: Timestamp = Timestamp(1_795_478_400_000);

    fn refused(user: &str, ending: &CloseReason, after_ms: u64) -> Refused {
        Refused {
            at: NOON.plus_ms(after_ms),
            user: Some(user.into()),
            org: Some("acme".into()),
            key: None,
            address: "10.0.0.1".into(),
            reason: RefusalReason::of(ending),
            count: 1,
        }
    }

    fn blocked() -> CloseReason {
        CloseReason::Blocked { reason: None, expires_at: None }
    }

    #[test]
    fn a_row_is_of_one_user_one_reason_and_one_minute() {
        let mut book = RefusalBook::new(NOON);
        let reached = CloseReason::LimitReached {
            measure: Measure::Cost { used: NanoUsd(7), limit: NanoUsd(5) },
            window: WindowKind::Daily,
            resets_at: None,
        };
        book.note(refused("alice", &blocked(), 0));
        book.note(Refused { address: "10.0.0.2".into(), count: 4, ..refused("alice", &blocked(), 59_999) });
        book.note(refused("alice", &reached, 5));
        book.note(refused("bob", &blocked(), 6));
        book.note(refused("alice", &blocked(), 60_000));
        let rows = book.take_unsaved();
        let of = |row: &Refusal| {
            let user = row.last.user.as_ref().unwrap().to_string();
            (user, row.last.reason.close_code, row.minute.since(NOON), row.last.count)
        };
        let expected = [
            ("alice".to_owned(), 4003, 0, 5),
            ("alice".to_owned(), 4004, 0, 1),
            ("bob".to_owned(), 4003, 0, 1),
            ("alice".to_owned(), 4003, 60_000, 1),
        ];
        assert_eq!(rows.iter().map(of).collect::<Vec<_>>(), expected);
        assert_eq!(&*rows[0].last.address, "10.0.0.2");
        assert_eq!(rows[1].last.reason.measure, Some(Measure::Cost { used: NanoUsd(7), limit: NanoUsd(5) }));
        assert!(rows.is_sorted_by(|a, b| a.id < b.id));
        assert_eq!(book.recent(NOON.plus_ms(60_000)), 2);
        assert_eq!(book.recent(NOON.plus_ms(60_000 + RECENT_MS)), 0);

        // A row that grows is saved again as a whole, also after its minute.
        book.note(refused("bob", &blocked(), 7));
        let grown = book.take_unsaved();
        assert_eq!((grown.len(), &grown[0].id, grown[0].last.count), (1, &rows[2].id, 2));
        assert!(book.take_unsaved().is_empty());
    }

    #[test]
    fn a_key_without_a_user_has_rows_and_a_stranger_has_none() {
        let mut book = RefusalBook::new(NOON);
        let unknown = CloseReason::Unauthorized("x".into());
        let nobody = Refused { user: None, ..refused("", &unknown, 0) };
        book.note(nobody.clone());
        assert!(book.take_unsaved().is_empty());
        book.note(Refused { key: Some("key_1".into()), ..nobody });
        assert_eq!(book.take_unsaved().len(), 1);
    }

    #[test]
    fn an_hour_has_only_so_many_rows_and_the_rest_is_counted() {
        let mut book = RefusalBook::new(NOON);
        for index in 0..ROWS_PER_HOUR + 5 {
            book.note(refused(&format!("user-{index}"), &blocked(), 0));
        }
        book.note(Refused { count: 3, ..refused("user-0", &blocked(), 1) });
        assert_eq!((book.take_unsaved().len(), book.unrecorded()), (ROWS_PER_HOUR, 5));
        // Its minute is over, and so is the hour's room; the next hour has room again.
        book.note(refused("user-0", &blocked(), 2 * 60_000));
        assert_eq!((book.take_unsaved().len(), book.unrecorded()), (0, 6));
        book.note(refused("user-0", &blocked(), HOUR_MS));
        assert_eq!(book.take_unsaved().len(), 1);
        assert!(book.rows.len() == 1, "and what is over is forgotten");
    }
}
