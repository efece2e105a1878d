//! The command line. `main` calls [`main`]; each command is a file of its own and gives a text to print or an error.
//!
//! Answers go to standard output, errors and the log to standard error. An error ends with 1, a mistake in the
//! arguments with 2.

mod ask;
mod bootstrap;
mod check;
mod get;
mod history;
mod holds;
mod istio;
mod quarantine;
mod reload;
mod rollout;
mod routes;
mod serve;
mod table;
mod write;

use crate::{
    config::Sources,
    util::{error::chain, escape},
};
use clap::{Parser, Subcommand};
use std::{
    env,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    sync::mpsc,
    thread,
    time::Duration,
};

/// How long the process waits at its end until an error is written.
const PATIENCE: Duration = Duration::from_secs(1);

/// Reads service registries live and serves what it finds to Envoy over xDS.
///
/// Without a command it serves, and without a configuration it serves an example on loopback addresses.
#[derive(Debug, Parser)]
#[command(name = "portolan", version)]
struct Arguments {
    /// The configuration: a file, or a folder whose files are one; without it, the built-in example.
    #[arg(long, global = true, env = "PORTOLAN_CONFIG", value_name = "PATH")]
    config: Option<PathBuf>,
    /// Sets a key of the configuration, such as xds.listen=127.0.0.1:0; goes before variables, and these before files.
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Reads the configuration again on SIGHUP and on request only, not when its files change.
    #[arg(long, global = true)]
    no_follow: bool,
    /// Takes over from the process that serves with the same socket here, and lets another one take over: the ports stay open.
    #[arg(long, global = true, env = "PORTOLAN_TAKEOVER", value_name = "SOCKET")]
    takeover: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Reads the registries and serves (the default)
    Serve,
    /// Checks the configuration and says what it means, or every problem in it
    Check(check::Arguments),
    /// Asks a running Portolan what it knows and serves
    Get(get::Arguments),
    /// Writes something to a running Portolan
    #[command(subcommand)]
    Put(write::Put),
    /// Takes something away that was written to a running Portolan
    #[command(subcommand)]
    Delete(write::Delete),
    /// Says where a request goes: listener, virtual host, route and clusters, and the resource that says so
    Routes(routes::Arguments),
    /// Prints the gateways of the configuration as Istio's own resources
    Gateways(routes::Gateways),
    /// Says what was published when, and what has led to it
    History(history::History),
    /// Says what differs between what was published at two times
    Diff(history::Diff),
    /// Freezes what is published for a time, while somebody investigates
    Pin(history::Pin),
    /// Lifts a pin
    Unpin(history::Unpin),
    /// Goes back to what was published before, and pins it for a time
    Rollback(history::Rollback),
    /// Follows what is held back of a service or of a registry, now
    Release(holds::Release),
    /// Goes on holding back what is held back of a service or of a registry
    Prolong(holds::Prolong),
    /// Drains, disables, weights or keeps a service or an instance by hand, for a time
    #[command(subcommand)]
    Override(history::Override),
    /// Sends again what clients have refused
    #[command(subcommand)]
    Quarantine(quarantine::Quarantine),
    /// Says how far other output settings have come, and goes on or back with them
    #[command(subcommand)]
    Rollout(rollout::Rollout),
    /// Prints a ready configuration for a client
    #[command(subcommand)]
    Bootstrap(Client),
    /// Prints what Istiod's mesh configuration needs, or checks what an Istiod would have
    Istio(istio::Arguments),
}

#[derive(Debug, Subcommand)]
enum Client {
    /// A bootstrap for Envoy 1.31 and later
    Envoy(Box<bootstrap::Arguments>),
    /// A bootstrap for gRPC programs that take services as `xds:///HOST`
    Grpc(bootstrap::Grpc),
}

/// Runs the command that the arguments of the process name, and prints its answer or error.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments).and_then(|text| print(&text).map_err(Into::into)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if has_seen_enough(&error) => ExitCode::SUCCESS,
        Err(error) => {
            report(chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

/// Runs the command, and returns the text to print; `get` prints by itself.
fn run(Arguments { config, set, no_follow, takeover, command }: Arguments) -> anyhow::Result<String> {
    // A variable that is set to nothing is not set.
    let config = config.filter(|path| !path.as_os_str().is_empty());
    let variables = env::vars_os().map(|(name, value)| (lossy(name), lossy(value)));
    let sources = Sources::new(config).with_variables(variables).with_settings(set);
    let load = || sources.read().result;
    match command.unwrap_or(Command::Serve) {
        Command::Serve => serve::run(sources, !no_follow, takeover).map(|()| String::new()),
        Command::Check(arguments) => check::run(&arguments, &sources),
        Command::Get(arguments) => Ok(get::run(&arguments, print).map(|()| String::new())?),
        Command::Put(arguments) => Ok(write::put(&arguments)?),
        Command::Delete(arguments) => Ok(write::delete(&arguments)?),
        Command::Routes(arguments) => Ok(routes::run(&arguments)?),
        Command::Gateways(arguments) => Ok(routes::gateways(&arguments)?),
        Command::History(arguments) => Ok(history::history(&arguments)?),
        Command::Diff(arguments) => Ok(history::diff(&arguments)?),
        Command::Pin(arguments) => Ok(history::pin(&arguments)?),
        Command::Unpin(arguments) => Ok(history::unpin(&arguments)?),
        Command::Rollback(arguments) => Ok(history::rollback(&arguments)?),
        Command::Release(arguments) => Ok(holds::release(&arguments)?),
        Command::Prolong(arguments) => Ok(holds::prolong(&arguments)?),
        Command::Override(command) => Ok(history::edit(&command)?),
        Command::Quarantine(command) => Ok(quarantine::run(&command)?),
        Command::Rollout(command) => Ok(rollout::run(&command)?),
        Command::Istio(arguments) => Ok(istio::run(&arguments, &load()?.config)?),
        Command::Bootstrap(Client::Envoy(arguments)) => Ok(bootstrap::envoy(&arguments, &load()?.config)?),
        Command::Bootstrap(Client::Grpc(arguments)) => Ok(bootstrap::grpc(&arguments, &load()?.config)?),
    }
}

fn lossy(text: std::ffi::OsString) -> String {
    text.to_string_lossy().into_owned()
}

/// Writes an answer, or a part of one, to standard output. It holds texts of clients and registries, so what a terminal would
/// execute is escaped.
fn print(text: &str) -> io::Result<()> {
    // Even an empty write would wait for an output that is stuck.
    if text.is_empty() {
        return Ok(());
    }
    io::stdout().write_all(escape::lines(text).as_bytes())
}

/// Writes an error to standard error, and waits for that at most [`PATIENCE`]: it may be closed, full, or a pipe that
/// is not read.
fn report(error: String) {
    let (done, written) = mpsc::sync_channel(1);
    let write = move || {
        let _ = writeln!(io::stderr(), "{}", escape::lines(&error));
        let _ = done.send(());
    };
    if thread::Builder::new().spawn(write).is_ok() {
        let _ = written.recv_timeout(PATIENCE);
    }
}

/// Whether the reader of standard output has closed it, as `head` does: that is no error.
fn has_seen_enough(error: &anyhow::Error) -> bool {
    let is_gone = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
    match error.downcast_ref::<get::Error>() {
        Some(get::Error::Print(source)) => is_gone(source),
        _ => error.downcast_ref().is_some_and(is_gone),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_configuration_is_named_before_or_after_the_command() {
        for words in [["portolan", "--config", "a", "check"], ["portolan", "check", "--config", "a"]] {
            let arguments = Arguments::try_parse_from(words).unwrap();
            assert_eq!(arguments.config, Some("a".into()));
            assert!(matches!(arguments.command, Some(Command::Check(_))));
        }
    }
}
