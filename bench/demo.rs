//! The demo's traffic: nine people of three orgs talk to the simulated provider through tokenist, with a month behind
//! them, and one of them runs into its limit.
//!
//! `people` says who, `history` tells the month, `traffic` has them talk, `board` shows what comes of it.

mod board;
mod history;
mod people;
mod random;
mod traffic;

use crate::admin::Server;
use crate::dialect::Dialect;
use crate::target::{Handshake, Reach, Target, Transport};
use people::PEOPLE;
use std::error::Error;
use std::thread;
use std::time::{Duration, Instant};
use traffic::Shared;

const BOARD_EACH: Duration = Duration::from_secs(5);

/// Where the demo's tokenist is.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Where applications connect, as ws://host:port.
    #[arg(long)]
    url: String,
    /// The admin API, as http://host:port.
    #[arg(long)]
    admin: String,
    #[arg(long, env = "TOKENIST_ADMIN_TOKEN", hide_env_values = true)]
    token: String,
    /// Ends after so many seconds; never if it is not said.
    #[arg(long)]
    seconds: Option<u64>,
}

/// Tells the history if the ledger has none, then keeps the people talking and shows the board.
///
/// # Errors
/// tokenist does not take the history, or its admin API stops answering.
#[expect(clippy::print_stdout, reason = "the board is what was asked for")]
pub(crate) fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let tokenist = Server { origin: &arguments.admin, token: Some(&arguments.token) };
    if !history::is_told(&tokenist)? {
        println!("telling the ledger of 30 days");
        history::tell(&tokenist)?;
    }
    let visitors = PEOPLE.iter().map(|person| Ok((person, target(person, &arguments.url)?)));
    let visitors = visitors.collect::<Result<Vec<_>, String>>()?;
    let (started, shared) = (Instant::now(), Shared::default());
    let traffic = thread::Builder::new().name("traffic".into()).spawn({
        let shared = shared.clone();
        move || traffic::run(visitors, &shared)
    })?;
    let end = arguments.seconds.map(Duration::from_secs);
    while end.is_none_or(|end| started.elapsed() < end) {
        thread::sleep(end.map_or(BOARD_EACH, |end| end.saturating_sub(started.elapsed()).min(BOARD_EACH)));
        if traffic.is_finished() {
            return Err("the traffic has ended by a bug of its own; its panic is above".into());
        }
        println!("\n{}", board::show(&tokenist, &shared.lock(), started)?);
    }
    Ok(())
}

fn target(person: &people::Person, url: &str) -> Result<Target, String> {
    let headers = [("x-org-id", person.org), ("x-feature", person.feature), ("x-user-name", person.name)];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let (dialect, model, key) = (Dialect::Openai, person.model.to_owned(), "sk-demo".to_owned());
    let handshake = Handshake { dialect, model, key, headers, transport: Transport::Socket };
    Target::parse(url, Reach::Loopback, None, handshake)
}
