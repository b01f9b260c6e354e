//! One process's use of a ledger, and how it is told from a twin's: a process that counts under the same name, because
//! the ledger's folder was copied.
//!
//! A process that counts under a name says so where instances meet, with the id of its run, again and again. The next
//! run of the same folder knows the ids of those before it; what it does about another's is told in
//! `store/mongo/claim.rs` and in the scripts of Redis.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use tokenist_core::revision::Tag;

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
}

/// Names a run.
pub(crate) fn new_id() -> String {
    format!("{:016x}", getrandom::u64().expect("the system has randomness"))
}

/// Tells what a run sets from what others do.
pub(crate) fn new_tag() -> Tag {
    Tag::of(getrandom::u64().expect("the system has randomness"))
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
    fn runs_that_do_not_last_have_names_of_their_own() {
        assert_ne!(Run::unlasting(), Run::unlasting());
    }
}
