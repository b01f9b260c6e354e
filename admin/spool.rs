//! Rows of a table between the store, which gives them as fast as it can, and a client that may be slow: in memory
//! while they are few, beyond in a file that has no name.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Cursor, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::atomic::{AtomicU64, Ordering};

/// What one table may hold in memory.
const MEMORY_MAX: usize = 8 << 20;

/// Takes bytes.
#[derive(Debug, Default)]
pub(crate) struct Spool {
    memory: Vec<u8>,
    file: Option<BufWriter<File>>,
}

impl Write for Spool {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(file) = &mut self.file {
            return file.write(bytes);
        }
        if self.memory.len() + bytes.len() > MEMORY_MAX {
            let mut file = BufWriter::new(nameless_file()?);
            file.write_all(&self.memory)?;
            self.memory = Vec::new();
            return self.file.insert(file).write(bytes);
        }
        self.memory.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), Write::flush)
    }
}

impl Spool {
    /// What it took, from the beginning.
    pub(crate) fn read(self) -> io::Result<Box<dyn Read + Send>> {
        let Some(file) = self.file else { return Ok(Box::new(Cursor::new(self.memory))) };
        let mut file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.rewind()?;
        Ok(Box::new(BufReader::new(file)))
    }
}

/// It is gone when it is held no longer, however the process ends.
fn nameless_file() -> io::Result<File> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("tokenist-{}-{number}", std::process::id()));
    let file = File::options().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    fs::remove_file(path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out_however_much_it_is() {
        for length in [0, 10, MEMORY_MAX, MEMORY_MAX + 1, 3 * MEMORY_MAX + 17] {
            let bytes: Vec<u8> = (0..length).map(|index| (index % 251) as u8).collect();
            let mut spool = Spool::default();
            for piece in bytes.chunks(100_003) {
                spool.write_all(piece).unwrap();
            }
            assert_eq!(spool.file.is_some(), length > MEMORY_MAX);
            let mut read = Vec::new();
            spool.read().unwrap().read_to_end(&mut read).unwrap();
            assert!(read == bytes, "{length} bytes");
        }
    }
}
