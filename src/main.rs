//! The composition root: reads the configuration, starts the planes, waits for a signal, drains.
//!
//! No decision is made here.

mod config;
mod cpu;
mod descriptors;
mod files;
mod serve;

use anyhow::Context;
use clap::{Parser, Subcommand};
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
}

#[derive(clap::Args)]
struct File {
    /// A tokenist.toml; without one the defaults and the environment are in force.
    #[arg(long)]
    config: Option<PathBuf>,
}

fn main() -> ExitCode {
    if let Some(missing) = cpu::missing_features() {
        eprintln!(
            "tokenist: this processor lacks {missing}, which this build needs; build it for your processor"
        );
        return ExitCode::FAILURE;
    }
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tokenist: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "what `check` was asked for")]
fn run(command: Command) -> anyhow::Result<()> {
    let load = |file: File| config::load(file.config.as_deref(), std::env::vars()).context("configuration");
    match command {
        Command::Check(file) => {
            let config = load(file)?;
            serve::check(&config)?;
            println!("{}", config::effective(&config));
            Ok(())
        }
        Command::Serve(file) => serve::serve(&load(file)?),
    }
}
