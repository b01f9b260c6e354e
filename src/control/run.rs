//! One process's use of a ledger, and how it is told from a twin's: a process that counts under the same name, because
//! the ledger's folder was copied.
//!
//! A process that counts under a name says so where instances meet, with the id of its run, again and again. The next
//! run of the same folder knows the ids of those before it; what it does about another's is `Run::judge`.

use std::fmt;
use std::fs::File;
use std::os::unix::fs::MetadataExt;

/// What a process says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The name that its sums grow under, over restarts.
    pub writer: String,
    pub id: String,
    /// Where the ledger is: another process that was there has ended, for the folder is locked. Without blanks.
    pub place: String,
    /// The latest runs of the folder, this one not included.
    pub earlier: Vec<String>,
    /// The name is used again by the next run, so another may use it, too.
    pub lasts: bool,
}

/// What another run under the same name means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kinship {
    /// It was this folder's, and has ended.
    Ended,
    /// It was this folder's before that was copied or taken elsewhere: it may still be alive, if it is heard of again.
    MayLive,
    /// It was never this folder's: the name was used elsewhere since the folder was copied.
    Foreign,
}

/// Why nothing is counted under a name: the other run that is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Twin {
    pub(crate) writer: String,
    pub(crate) id: String,
    /// Whether it may turn out to have ended.
    pub(crate) may_have_ended: bool,
}

/// Runs that a folder remembers.
pub(crate) const EARLIER_MAX: usize = 256;

impl Run {
    /// Of a process whose sums end with it.
    pub(crate) fn unlasting() -> Run {
        let id = new_id();
        Run {
            writer: format!("{}{}", new_id(), new_id()),
            place: id.clone(),
            id,
            earlier: Vec::new(),
            lasts: false,
        }
    }

    pub(crate) fn judge(&self, id: &str, place: &str) -> Kinship {
        match self.earlier.iter().any(|earlier| earlier == id) {
            true if place == self.place => Kinship::Ended,
            true => Kinship::MayLive,
            false => Kinship::Foreign,
        }
    }

    pub(crate) fn twin(&self, id: &str, may_have_ended: bool) -> Twin {
        Twin { writer: self.writer.clone(), id: id.to_owned(), may_have_ended }
    }
}

impl fmt::Display for Twin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Twin { writer, id, .. } = self;
        write!(
            f,
            "another process (run {id}) counts under the name of this ledger ({writer}): the folder in store.path is \
             a copy or a backup of one that is, or was, used since. Two must not count under one name: end that \
             process, or give this one an empty folder, which gets a name of its own. To go on with a backup of a \
             ledger that is gone for good, remove its mark: `HDEL tokenist:{{fleet}}:runs {writer}` in Redis, the \
             document with that _id of the collection `runs` in MongoDB"
        )
    }
}

/// Names a run.
pub(crate) fn new_id() -> String {
    format!("{:016x}", getrandom::u64().expect("the system has randomness"))
}

/// Where a locked file is. No other file of this or any other machine that runs is there.
pub(crate) fn place_of(lock: &File) -> std::io::Result<String> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let metadata = lock.metadata()?;
    Ok(format!("{}:{}:{}", boot.trim(), metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_ended_here_is_told_from_one_that_may_live_and_from_a_stranger() {
        let earlier = vec!["a".to_owned(), "b".to_owned()];
        let run = Run { writer: "w".into(), id: "c".into(), place: "here".into(), earlier, lasts: true };
        for (id, place, kinship) in [
            ("b", "here", Kinship::Ended),
            ("a", "elsewhere", Kinship::MayLive),
            ("d", "here", Kinship::Foreign),
            ("d", "elsewhere", Kinship::Foreign),
        ] {
            assert_eq!(run.judge(id, place), kinship, "{id} {place}");
        }
        assert_ne!(Run::unlasting(), Run::unlasting());
    }
}
