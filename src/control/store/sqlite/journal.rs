//! The journal's files in the ledger's folder: one for each incarnation of the ledger, `journal-` and its number.
//! Made for this incarnation, read for those before it, and gone once the ledger has all of it.
//!
//! The table `journal` says for each lane up to where it is booked. Its rows are there before the file is, and go before
//! it: a file without rows belongs to no ledger, whatever is in it.

use super::failed;
use crate::store::StoreError;
use rusqlite::{Connection, Transaction, params};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokenist_core::journal::{Item, Kinds, LAYOUT_BYTES, LaneId, Layout, LayoutError, Upto, items};
use tokenist_handoff::lane::{Medium, NoMedium};
use tokenist_handoff::{Lane, LaneState};
use tracing::warn;

const PREFIX: &str = "journal-";
const ZEROS: usize = 256 << 10;

/// The journal of this incarnation, as far as the store has to do with it.
#[derive(Debug, Default)]
pub(super) struct Journal {
    lanes: Vec<Arc<LaneState>>,
    path: PathBuf,
    incarnation: u64,
    /// Lanes of earlier incarnations that are still to be read; `None` before the first look.
    left: Option<VecDeque<Left>>,
}

/// A lane that an earlier process has left.
#[derive(Debug)]
struct Left {
    path: PathBuf,
    start: u64,
    bytes: u64,
    kinds: Kinds,
    booked: Upto,
}

impl Journal {
    /// This is in the file for good.
    pub(super) fn free(&self, booked: &[Upto]) {
        for Upto { lane, position } in booked {
            if lane.incarnation == self.incarnation
                && let Some(state) = self.lanes.get(lane.number as usize)
            {
                state.free(*position);
            }
        }
    }

    /// What the next lane of an earlier incarnation holds that is not booked. `None`: there are no more.
    pub(super) fn left_over(
        &mut self,
        directory: &Path,
        connection: &Connection,
        ledger: &str,
    ) -> Result<Option<Vec<(Item, Upto)>>, StoreError> {
        if self.left.is_none() {
            self.left = Some(look(directory, connection, ledger)?);
        }
        let Some(left) = self.left.as_mut().and_then(VecDeque::pop_front) else { return Ok(None) };
        let ring =
            read(&left.path, left.start, left.bytes).map_err(|error| unreadable(&left.path, &error))?;
        Ok(Some(items(&ring, left.booked.lane, left.booked.position, &left.kinds).collect()))
    }

    /// Forgets the journals of earlier incarnations, all of which is booked, and begins one of so many lanes. Where
    /// its file cannot be made there are lanes that take nothing.
    pub(super) fn begin(
        &mut self,
        directory: &Path,
        connection: &mut Connection,
        layout: Layout,
    ) -> rusqlite::Result<Vec<Lane>> {
        let path = path_of(directory, layout.incarnation);
        // A backup that was put back may count incarnations that have been before. What these left would be taken for
        // ours.
        let is_clear = remove(&path);
        let rows = if is_clear.is_ok() { layout.lanes } else { 0 };
        let transaction = connection.transaction()?;
        put_rows(&transaction, &layout, rows)?;
        transaction.commit()?;
        for (incarnation, path) in files(directory).unwrap_or_default() {
            if incarnation != layout.incarnation
                && let Err(error) = std::fs::remove_file(&path)
            {
                warn!(path = %path.display(), %error, "a journal that is booked cannot be removed");
            }
        }
        let medium: Arc<dyn Medium> = match is_clear.and_then(|()| make(&path, &layout)) {
            Ok(file) => Arc::new(file),
            Err(error) => {
                warn!(path = %path.display(), %error, "no journal can be made: a kill loses what it would have kept");
                Arc::new(NoMedium::new(&error))
            }
        };
        let lane = |number| {
            let id = LaneId { incarnation: layout.incarnation, number };
            Lane::new(id, Arc::clone(&medium), layout.start(number), layout.lane_bytes)
        };
        let lanes: Vec<Lane> = (0..layout.lanes).map(lane).collect();
        self.lanes = lanes.iter().map(|lane| Arc::clone(lane.state())).collect();
        (self.path, self.incarnation) = (path, layout.incarnation);
        Ok(lanes)
    }

    /// The process ends. A journal of which the ledger has all is needed no more.
    pub(super) fn end(&self) {
        if !self.lanes.is_empty() && self.lanes.iter().all(|lane| lane.is_free()) {
            // One that stays is empty for its reader.
            std::fs::remove_file(&self.path).ok();
        }
    }
}

/// The layout of a journal for this incarnation of this ledger.
pub(super) fn layout(ledger: &str, incarnation: u64, lanes: usize, lane_bytes: u64) -> Layout {
    let lanes = u32::try_from(lanes).unwrap_or(u32::MAX);
    Layout { ledger: ledger.into(), incarnation, lanes, lane_bytes, kinds: Kinds::present() }
}

/// Whether there is a journal that could not be read here.
pub(super) fn check(directory: &Path) -> Result<(), StoreError> {
    let files = files(directory).map_err(|error| failed(directory, "cannot be read", &error))?;
    files.iter().try_for_each(|(_, path)| layout_of(path).map(drop))
}

/// Notes that lanes are booked so far.
pub(super) fn note(transaction: &Transaction<'_>, booked: &[Upto]) -> rusqlite::Result<()> {
    for Upto { lane, position } in booked {
        transaction
            .prepare_cached("UPDATE journal SET upto = max(upto, ?) WHERE generation = ? AND lane = ?")?
            .execute(params![*position as i64, lane.incarnation as i64, lane.number])?;
    }
    Ok(())
}

fn put_rows(transaction: &Transaction<'_>, layout: &Layout, lanes: u32) -> rusqlite::Result<()> {
    transaction.execute("DELETE FROM journal", [])?;
    for lane in 0..lanes {
        let row = params![layout.incarnation as i64, lane];
        transaction.execute("INSERT INTO journal (generation, lane, upto) VALUES (?, ?, 0)", row)?;
    }
    Ok(())
}

/// Lanes of earlier incarnations, in order.
fn look(directory: &Path, connection: &Connection, ledger: &str) -> Result<VecDeque<Left>, StoreError> {
    let mut left = VecDeque::new();
    let files = files(directory).map_err(|error| failed(directory, "cannot be read", &error))?;
    for (incarnation, path) in files {
        let rows = rows(connection, incarnation);
        let rows = rows.map_err(|error| StoreError(format!("the table of journals: {error}")))?;
        let layout = if rows.is_empty() { None } else { layout_of(&path)? };
        let Some(layout) =
            layout.filter(|layout| *layout.ledger == *ledger && layout.incarnation == incarnation)
        else {
            continue;
        };
        for booked in rows.into_iter().filter(|booked| booked.lane.number < layout.lanes) {
            let (start, bytes) = (layout.start(booked.lane.number), layout.lane_bytes);
            let kinds = layout.kinds.clone();
            left.push_back(Left { path: path.clone(), start, bytes, kinds, booked });
        }
    }
    Ok(left)
}

fn rows(connection: &Connection, incarnation: u64) -> rusqlite::Result<Vec<Upto>> {
    let mut rows = connection.prepare("SELECT lane, upto FROM journal WHERE generation = ? ORDER BY lane")?;
    let upto = |row: &rusqlite::Row<'_>| {
        let lane = LaneId { incarnation, number: row.get(0)? };
        Ok(Upto { lane, position: row.get::<_, i64>(1)? as u64 })
    };
    rows.query_map([incarnation as i64], upto)?.collect()
}

/// What a journal's first bytes tell. `None`: it was never written whole, so nothing was ever kept in it.
fn layout_of(path: &Path) -> Result<Option<Layout>, StoreError> {
    let head = read(path, 0, LAYOUT_BYTES as u64).map_err(|error| unreadable(path, &error))?;
    match Layout::read(&head) {
        Ok(layout) => Ok(Some(layout)),
        Err(LayoutError::Damaged) => {
            warn!(path = %path.display(), "a journal was never finished, or is damaged: nothing in it is booked");
            Ok(None)
        }
        Err(LayoutError::Newer) => Err(StoreError(format!(
            "the journal {} was written by a newer tokenist: start that one once more, which books what is in it, and \
             end it; or remove the file to go on without that",
            path.display()
        ))),
    }
}

/// As much as there is of so many bytes.
fn read(path: &Path, from: u64, count: u64) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(count).read_to_end(&mut bytes)?;
    // One that is shorter has never been written to.
    bytes.resize(usize::try_from(count).unwrap_or(usize::MAX), 0);
    Ok(bytes)
}

/// Zeros are written where lanes will be, so that the blocks are there, whatever becomes of the disk's room.
fn make(path: &Path, layout: &Layout) -> io::Result<File> {
    let write = |file: &mut File| {
        file.seek(SeekFrom::Start(LAYOUT_BYTES as u64))?;
        let zeros = vec![0; ZEROS];
        let mut left = layout.file_bytes() - LAYOUT_BYTES as u64;
        while left > 0 {
            let count = left.min(ZEROS as u64);
            file.write_all(&zeros[..count as usize])?;
            left -= count;
        }
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&layout.write())
    };
    let mut file = File::options().read(true).write(true).create_new(true).mode(0o600).open(path)?;
    match write(&mut file) {
        Ok(()) => Ok(file),
        Err(error) => {
            // Half of it is of no use and takes room.
            std::fs::remove_file(path).ok();
            Err(error)
        }
    }
}

/// Removes a file for good, if there is one.
fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(()) => File::open(path.parent().unwrap_or(path))?.sync_all(),
    }
}

fn path_of(directory: &Path, incarnation: u64) -> PathBuf {
    directory.join(format!("{PREFIX}{incarnation}"))
}

/// Every journal in the folder, with the incarnation whose it is by its name, the earliest first.
fn files(directory: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let incarnation = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.parse().ok());
        files.extend(incarnation.map(|incarnation| (incarnation, entry.path())));
    }
    files.sort_unstable();
    Ok(files)
}

fn unreadable(path: &Path, error: &io::Error) -> StoreError {
    StoreError(format!(
        "the journal {}: {error}; it has what a process counted and did not save: mend the disk, or remove the file to \
         go on without that",
        path.display()
    ))
}

#[cfg(test)]
mod tests;
