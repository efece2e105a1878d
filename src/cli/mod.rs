//! The command line. `main` calls [`main`]; each command is a file of its own and gives a text to print or an error.
//!
//! Answers go to standard output, errors and the log to standard error. An error ends with 1, a mistake in the
//! arguments with 2.

mod bootstrap;
mod check;
mod get;
mod istio;
mod serve;
mod table;

use crate::config::Sources;
use clap::{Parser, Subcommand};
use std::{
    env,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

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
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Reads the registries and serves (the default)
    Serve,
    /// Checks the configuration and says what it means, or every problem in it
    Check,
    /// Asks a running Portolan what it knows and serves
    Get(get::Arguments),
    /// Prints a ready configuration for a client
    #[command(subcommand)]
    Bootstrap(Client),
    /// Prints what Istiod's mesh configuration needs, or checks what an Istiod would have
    Istio(istio::Arguments),
}

#[derive(Debug, Subcommand)]
enum Client {
    /// A bootstrap for Envoy 1.31 and later
    Envoy(bootstrap::Arguments),
}

/// Runs the program.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments).and_then(|text| print(&text).map_err(Into::into)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Each cause once: some errors print theirs themselves.
            let mut text = error.to_string();
            for cause in error.chain().skip(1).map(ToString::to_string) {
                if !text.contains(&cause) {
                    text = format!("{text}: {cause}");
                }
            }
            eprintln!("{text}");
            ExitCode::FAILURE
        }
    }
}

/// Does what is asked, and gives what is to be printed.
fn run(Arguments { config, set, command }: Arguments) -> anyhow::Result<String> {
    // A variable that is set to nothing is not set.
    let config = config.filter(|path| !path.as_os_str().is_empty());
    let variables = env::vars_os().map(|(name, value)| (lossy(name), lossy(value)));
    let sources = Sources::new(config).with_variables(variables).with_settings(set);
    let load = || sources.read().result;
    match command.unwrap_or(Command::Serve) {
        Command::Serve => serve::run(sources).map(|()| String::new()),
        Command::Check => Ok(check::summary(sources.path(), &load()?)),
        Command::Get(arguments) => Ok(get::run(&arguments)?),
        Command::Istio(arguments) => Ok(istio::run(&arguments, &load()?.config)?),
        Command::Bootstrap(Client::Envoy(arguments)) => Ok(bootstrap::envoy(&arguments, &load()?.config)?),
    }
}

fn lossy(text: std::ffi::OsString) -> String {
    text.to_string_lossy().into_owned()
}

/// A reader that has seen enough, such as `head`, is no error.
fn print(text: &str) -> io::Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
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
            assert!(matches!(arguments.command, Some(Command::Check)));
        }
    }
}
