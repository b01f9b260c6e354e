//! What a process that is being measured has used: its CPU clock and its memory.

use std::io;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pid(pub(crate) i32);

/// A sum over the processes of one target, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) cpu_ns: u64,
    pub(crate) resident_bytes: u64,
}

impl Reading {
    pub(crate) fn of(pids: &[Pid]) -> io::Result<Reading> {
        let mut sum = Reading::default();
        for &pid in pids {
            sum.cpu_ns += cpu_ns(pid)?;
            sum.resident_bytes += resident_bytes(pid)?;
        }
        Ok(sum)
    }
}

/// Nanoseconds on a CPU by all threads of a process, those that have ended included.
#[allow(
    unsafe_code,
    reason = "a process's CPU clock to the nanosecond is to be had from libc alone; /proc counts in 10 ms"
)]
fn cpu_ns(pid: Pid) -> io::Result<u64> {
    let mut clock = 0;
    // SAFETY: `clock` is writable and outlives the call.
    let error = unsafe { libc::clock_getcpuclockid(pid.0, &raw mut clock) };
    if error != 0 {
        return Err(io::Error::from_raw_os_error(error));
    }
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is writable and outlives the call.
    match unsafe { libc::clock_gettime(clock, &raw mut time) } {
        0 => Ok(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64),
        _ => Err(io::Error::last_os_error()),
    }
}

fn resident_bytes(pid: Pid) -> io::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", pid.0))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()).and_then(|kib| kib.parse::<u64>().ok());
    kib.map(|kib| kib * 1_024).ok_or_else(|| io::Error::other("no VmRSS: has the process ended?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_reads_its_own_use() {
        let own = [Pid(std::process::id() as i32)];
        let before = Reading::of(&own).unwrap();
        assert!(before.resident_bytes > 100_000);
        let mut sum = 0_u64;
        while Reading::of(&own).unwrap().cpu_ns < before.cpu_ns + 2_000_000 {
            sum = sum.wrapping_add(1);
        }
        assert!(sum > 0);
        assert!(Reading::of(&[Pid(i32::MAX)]).is_err());
    }
}
