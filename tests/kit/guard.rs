//! What a test leaves behind when it is ended from outside: nothing. Drop handlers do not run then, so a shell beside the test
//! process is told what runs, by a pipe that ends when the process does, and kills what is left.

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::sync::{LazyLock, Mutex};

/// A signal that is meant for the test process reaches the shell as well: it is there for what comes after.
const SCRIPT: &str = r#"
trap '' INT TERM HUP
live=
while read -r word id; do
    others=
    for one in $live; do [ "$one" = "$id" ] || others="$others $one"; done
    case $word in
        begun) live="$others $id" ;;
        *) live=$others ;;
    esac
done
[ -z "$live" ] || kill -9 $live
"#;

struct Guard(Child);

static GUARD: LazyLock<Mutex<Guard>> = LazyLock::new(|| Mutex::new(Guard::start()));

/// This process ends when ours does.
pub(crate) fn begun(process: u32) {
    tell("begun", process);
}

/// It has ended, and its number may become another's.
pub(crate) fn over(process: u32) {
    tell("over", process);
}

fn tell(word: &str, process: u32) {
    GUARD.lock().expect("telling does not panic").tell(word, process);
}

impl Guard {
    fn start() -> Guard {
        let mut shell = Command::new("sh");
        shell.args(["-c", SCRIPT]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Guard(shell.spawn().unwrap_or_else(|error| panic!("no shell to watch over processes: {error}")))
    }

    fn tell(&mut self, word: &str, process: u32) {
        // Where somebody has killed the shell, the tests go on without.
        if let Some(stdin) = &mut self.0.stdin {
            writeln!(stdin, "{word} {process}").ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PATIENCE, eventually};
    use std::time::Duration;

    #[test]
    fn what_is_not_over_ends_with_the_process_that_began_it() {
        let [mut left, mut over] =
            [0, 1].map(|_| Command::new("sleep").arg("60").spawn().expect("there is sleep"));
        let mut guard = Guard::start();
        guard.tell("begun", left.id());
        guard.tell("begun", over.id());
        guard.tell("over", over.id());
        drop(guard.0.stdin.take()); // As the system does for a process that is gone.
        let ended =
            |child: &mut Child, within| eventually(within, || child.try_wait().unwrap(), Option::is_some);
        assert!(ended(&mut left, PATIENCE).is_some());
        guard.0.wait().unwrap();
        assert_eq!(ended(&mut over, Duration::ZERO), None);
        over.kill().unwrap();
        over.wait().unwrap();
    }
}
