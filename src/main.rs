//! The composition root: reads the configuration, starts the planes, waits for a signal, drains.
//!
//! No decision is made here.

mod advice;
mod config;
mod cpu;
mod descriptors;
mod files;
mod log;
mod prices;
mod serve;

use anyhow::Context;
use clap::{Parser, Subcommand};
use log::Log;
use prices::Prices;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A metering proxy for realtime AI APIs: counts every user's tokens and dollars and holds limits in mid-session.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the proxy and the admin API until SIGTERM.
    Serve(File),
    /// Check a configuration and print what would be in force.
    Check(File),
    /// What models cost.
    #[command(subcommand)]
    Prices(Prices),
}

#[derive(clap::Args)]
struct File {
    /// A tokenist.toml; without one the defaults and the environment are in force.
    #[arg(long)]
    config: Option<PathBuf>,
}

fn main() -> ExitCode {
    if let Some(missing) = cpu::missing_features() {
        let told = writeln!(
            io::stderr(),
            "tokenist: this processor lacks {missing}, which this build needs; build it for your processor"
        );
        // It fails all the same where nobody can be told.
        told.ok();
        return ExitCode::FAILURE;
    }
    // Without a thread for the log nothing else could be started either.
    let Ok(log) = Log::start(io::stderr()) else { return ExitCode::FAILURE };
    let _written = log.flush_at_end();
    match run(&log) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log.line(&format!("tokenist: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(log: &Log) -> anyhow::Result<()> {
    log.tell_panics();
    let command = Arguments::parse().command;
    let load = |file: File| config::load(file.config.as_deref(), std::env::vars()).context("configuration");
    match command {
        Command::Check(file) => {
            let config = load(file)?;
            serve::check(&config)?;
            advice::of(&config).iter().for_each(|told| log.line(&format!("tokenist: {told}")));
            print(&config::effective(&config))
        }
        Command::Prices(what) => print(&prices::run(what, tokenist_control::clock::system_time(), load)?),
        Command::Serve(file) => serve::serve(&load(file)?, log),
    }
}

/// To standard output; a reader that has seen enough is no failure.
fn print(text: &str) -> anyhow::Result<()> {
    match writeln!(io::stdout(), "{text}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("standard output"),
    }
}
