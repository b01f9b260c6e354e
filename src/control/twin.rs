//! Another run that counts under the same name.

use crate::run::Run;
use std::fmt;

/// Why nothing is counted under a name: the other run that is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Twin {
    pub(crate) writer: String,
    pub(crate) id: String,
    /// Whether it may turn out to have ended.
    pub(crate) may_have_ended: bool,
}

impl Twin {
    pub(crate) fn of(run: &Run, id: &str, may_have_ended: bool) -> Twin {
        Twin { writer: run.writer.clone(), id: id.to_owned(), may_have_ended }
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
