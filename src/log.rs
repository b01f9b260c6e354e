//! The log: lines go through a bounded queue to a thread of its own, so writing one never waits and ends nothing.
//!
//! Start at [`Log::start`]. Whoever writes hands a line over or, where the queue is full, loses it. The thread is the
//! only one that touches the stream: a pipe that nobody reads holds up the thread alone, and what a stream refuses is
//! lost, counted, and told as soon as the stream takes something again.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::panic::{self, PanicHookInfo};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::{Duration, Instant};
use tokenist_control::telemetry::Logging;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Lines that may wait, and what they may weigh together.
const LINES_MAX: usize = 8_192;
const BYTES_MAX: usize = 4 << 20;
/// What the end of the process waits for lines that are still to be written.
const FLUSH: Duration = Duration::from_secs(1);
/// A stream that is not ready is asked again after this.
const RETRY: Duration = Duration::from_millis(20);
/// How soon it is told that lines were lost where no other line follows.
const TELL: Duration = Duration::from_millis(500);

/// A way into the log. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    lines: SyncSender<Vec<u8>>,
    waiting: Arc<Waiting>,
    state: Arc<Logging>,
}

#[derive(Debug)]
pub(crate) struct Flush(Log);

impl Drop for Flush {
    fn drop(&mut self) {
        self.0.flush();
    }
}

/// What was taken and is not written yet.
#[derive(Debug, Default)]
struct Waiting {
    lines: AtomicUsize,
    bytes: AtomicUsize,
}

impl Log {
    /// Starts the thread that writes to this stream.
    pub(crate) fn start(stream: impl AsFd) -> io::Result<Log> {
        // A descriptor of its own: the standard library's lock would be held for as long as a write waits.
        let stream = File::from(stream.as_fd().try_clone_to_owned()?);
        let (lines, queue) = mpsc::sync_channel(LINES_MAX);
        let (waiting, state) = (Arc::<Waiting>::default(), Arc::<Logging>::default());
        let sink = Sink {
            stream,
            state: Arc::clone(&state),
            waiting: Arc::clone(&waiting),
            told: 0,
            in_mid_line: false,
        };
        thread::Builder::new().name("log".into()).spawn(move || sink.run(&queue))?;
        Ok(Log { lines, waiting, state })
    }

    /// Everything that is traced goes here from now on.
    pub(crate) fn take_all(&self, filter: EnvFilter, colours: bool) {
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_ansi(colours)
            // It would tell of errors by a macro that panics when standard error is gone.
            .log_internal_errors(false)
            .with_writer(self.clone())
            .init();
    }

    /// In place of the standard library's hook, which waits for standard error.
    pub(crate) fn tell_panics(&self) {
        let log = self.clone();
        panic::set_hook(Box::new(move |info| log.line(&panic_text(info))));
    }

    /// A line that is told whatever the log's level is.
    pub(crate) fn line(&self, text: &str) {
        self.push(format!("{text}\n").into_bytes());
    }

    /// How it does, for whoever asks.
    pub(crate) fn state(&self) -> &Arc<Logging> {
        &self.state
    }

    /// Waits until everything is written, for a second at most, when what is given back is dropped: for the end of
    /// the process, also by a panic.
    pub(crate) fn flush_at_end(&self) -> Flush {
        Flush(self.clone())
    }

    fn flush(&self) {
        let deadline = Instant::now() + FLUSH;
        while self.waiting.lines.load(Ordering::Acquire) > 0 && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn push(&self, line: Vec<u8>) {
        let waiting = &*self.waiting;
        let bytes = line.len();
        waiting.lines.fetch_add(1, Ordering::AcqRel);
        let fits = waiting.bytes.fetch_add(bytes, Ordering::AcqRel) + bytes <= BYTES_MAX;
        if !fits || self.lines.try_send(line).is_err() {
            waiting.done(bytes);
            self.state.lose("lines come faster than standard error takes them");
        }
    }
}

impl Waiting {
    fn done(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::AcqRel);
        self.lines.fetch_sub(1, Ordering::AcqRel);
    }
}

/// One event: the subscriber writes it whole.
impl Write for &Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = &'a Log;

    fn make_writer(&'a self) -> &'a Log {
        self
    }
}

/// The thread's own.
struct Sink {
    stream: File,
    state: Arc<Logging>,
    waiting: Arc<Waiting>,
    /// Of the lines that were lost, as many as were told of.
    told: u64,
    /// The stream broke off within a line.
    in_mid_line: bool,
}

impl Sink {
    fn run(mut self, queue: &Receiver<Vec<u8>>) {
        loop {
            match queue.recv_timeout(TELL) {
                Ok(line) => {
                    if let Err(cause) = self.tell_lost().and_then(|()| self.write(&line)) {
                        self.state.lose(&format!("standard error cannot be written: {cause}"));
                    }
                    self.waiting.done(line.len());
                }
                // What is still refused is tried again with the next line, or soon.
                Err(RecvTimeoutError::Timeout) => drop(self.tell_lost()),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Says how many lines are missing at this place, if any are.
    fn tell_lost(&mut self) -> io::Result<()> {
        let lost = self.state.lost();
        if lost == self.told {
            return Ok(());
        }
        let cause = self.state.failure().unwrap_or_default();
        let count = lost - self.told;
        self.write(format!("tokenist: {count} lines of the log were lost here: {cause}\n").as_bytes())?;
        self.told = lost;
        self.state.recover(lost);
        Ok(())
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        if self.in_mid_line {
            self.write_bytes(b"\n")?;
            self.in_mid_line = false;
        }
        self.write_bytes(line)
    }

    fn write_bytes(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    bytes = &bytes[count..];
                    self.in_mid_line = !bytes.is_empty();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Whoever shares the stream has set it so; it is a full pipe all the same.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(RETRY),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn panic_text(info: &PanicHookInfo<'_>) -> String {
    let thread = thread::current();
    let name = thread.name().unwrap_or("without a name");
    let mut text = format!("tokenist: thread {name} panicked: {info}");
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        text.push_str(&format!("\n{backtrace}"));
    }
    text
}

/// Prints a line on standard output from a thread of its own: whoever does not read it holds up nobody.
pub(crate) fn announce(line: String) -> io::Result<()> {
    let mut stream = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    thread::Builder::new().name("announce".into()).spawn(move || {
        if let Err(cause) = stream.write_all(format!("{line}\n").as_bytes()) {
            tracing::warn!(%cause, "standard output cannot be written: nobody was told there where this listens");
        }
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, pipe};

    fn eventually(what: impl Fn() -> bool) -> bool {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !what() && Instant::now() < deadline {
            thread::yield_now();
        }
        what()
    }

    #[test]
    fn lines_come_out_in_order() {
        let (mut reader, writer) = pipe().unwrap();
        let log = Log::start(&writer).unwrap();
        drop(writer);
        log.line("one");
        (&log).write_all(b"two\n").unwrap();
        log.flush();
        let mut read = [0; 8];
        reader.read_exact(&mut read).unwrap();
        assert_eq!(&read, b"one\ntwo\n");
        assert_eq!((log.state().lost(), log.state().failure()), (0, None));
    }

    #[test]
    fn a_pipe_that_nobody_reads_costs_lines_and_is_told_of_once_somebody_does() {
        let (mut reader, writer) = pipe().unwrap();
        let log = Log::start(&writer).unwrap();
        drop(writer);
        // Far more than a pipe and the queue take together.
        let line = "x".repeat(1_000);
        for _ in 0..2 * BYTES_MAX / line.len() {
            log.line(&line);
        }
        let lost = log.state().lost();
        assert!(lost > 0);
        assert!(log.state().failure().is_some_and(|what| what.contains("faster")));
        assert!(log.waiting.bytes.load(Ordering::Acquire) <= BYTES_MAX);
        let reading = thread::spawn(move || {
            let mut all = String::new();
            reader.read_to_string(&mut all).unwrap();
            all
        });
        assert!(eventually(|| log.state().failure().is_none()), "once it is told, the log is well");
        log.line("and on");
        log.flush();
        drop(log);
        let all = reading.join().unwrap();
        let told = |line: &str| {
            line.strip_prefix("tokenist: ")?
                .split_once(" lines of the log were lost here")?
                .0
                .parse::<u64>()
                .ok()
        };
        assert_eq!(all.lines().filter_map(told).sum::<u64>(), lost);
        assert_eq!(all.lines().filter(|line| *line == "x".repeat(1_000)).count() as u64 + lost, 8_388);
        assert_eq!(all.lines().last(), Some("and on"));
    }

    #[test]
    fn a_stream_whose_reader_is_gone_ends_nothing_and_is_counted() {
        let (reader, writer) = pipe().unwrap();
        let log = Log::start(&writer).unwrap();
        drop((reader, writer));
        (0..3).for_each(|_| log.line("nobody hears"));
        log.flush();
        assert_eq!(log.state().lost(), 3);
        assert!(log.state().failure().is_some_and(|what| what.contains("cannot be written")));
    }
}
