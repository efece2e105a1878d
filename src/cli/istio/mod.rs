//! `istio`: what to add to Istiod's mesh configuration; `istio check`: what an Istiod would get from a running server.

mod check;

use crate::{
    config::Config,
    resource::Family,
    util::host_port::{Host, HostPort},
};
use clap::{Args, Subcommand};
use std::{fmt::Write, fs, io, net::Ipv4Addr, path::PathBuf};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Where Istiod reaches Portolan: one address that leads to all replicas. Several, with commas between them, are for
    /// Portolans that serve different services; without it, where the configuration says
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',')]
    xds: Vec<String>,
    /// The authority of a TLS server in front of Portolan, as PEM (Istiod 1.26 and later)
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Leaves Istio's resources in Kubernetes out
    #[arg(long)]
    no_kubernetes: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Connects as an Istiod does and says what it would receive, refuse, or keep from before
    Check(check::Arguments),
}

/// Why the mesh configuration cannot be written.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("{0:?} is no address; write a host and a port, such as portolan.istio-system.svc:16010")]
    Address(String),
    #[error(
        "the configuration lets Portolan listen on {0}, which does not say where Istiod reaches it; say so with --xds"
    )]
    Unreachable(std::net::SocketAddr),
    #[error("cannot read the authority {path}")]
    Authority {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{0} holds no certificate in PEM")]
    NoCertificate(PathBuf),
    #[error(transparent)]
    Check(#[from] check::Error),
}

/// Runs the command, and returns the text to print.
pub(super) fn run(arguments: &Arguments, config: &Config) -> Result<String, Error> {
    // Without a listener of TCP for Istiods, an address that says nothing.
    let configured = config.xds.address_for(Family::Istio).unwrap_or((Ipv4Addr::UNSPECIFIED, 0).into());
    match &arguments.command {
        Some(Command::Check(arguments)) => Ok(check::run(arguments, configured)?),
        None => mesh_configuration(arguments, configured),
    }
}

/// A warning at the head of the output. It is no error, because the servers may serve different services.
const SEVERAL: &str = "\
# WARNING: several sources are no high availability. Of two copies of an entry the first source's counts, also when that
# source is lost: then no change from the others arrives, and Istiod does not start while one of them is missing. For
# replicas of one Portolan give ONE address that leads to all of them, such as a Kubernetes Service.
";

fn mesh_configuration(arguments: &Arguments, configured: std::net::SocketAddr) -> Result<String, Error> {
    let mut addresses = arguments.xds.clone();
    if addresses.is_empty() {
        if configured.ip().is_unspecified() || configured.port() == 0 {
            return Err(Error::Unreachable(configured));
        }
        addresses.push(configured.to_string());
    }
    let several = addresses.len() > 1;
    let authority = arguments.ca.as_ref().map(read_authority).transpose()?;
    let mut out = String::from(
        "# For the mesh configuration of Istiod (ConfigMap `istio`, key `mesh`; with Helm below `meshConfig`). Istiod reads\n\
         # it at its start only, and does not start while one of the servers is unreachable.\n\
         configSources:\n",
    );
    if several {
        out = format!("{SEVERAL}{out}");
    }
    let mut line = |text: std::fmt::Arguments<'_>| writeln!(out, "{text}").expect("writing to a text does not fail");
    for address in &addresses {
        let refused = || Error::Address(address.clone());
        let host = match HostPort::parse(address).map_err(|_| refused())? {
            HostPort { port: None, .. } => return Err(refused()),
            HostPort { host: Host::Ip(ip), .. } => ip.to_string(),
            HostPort { host: Host::Name(name), .. } => name,
        };
        line(format_args!("- address: \"xds://{address}\""));
        if let Some(authority) = &authority {
            // No other mode: with MUTUAL and ISTIO_MUTUAL Istiod connects without TLS, and says nothing.
            line(format_args!("  tlsSettings:\n    mode: SIMPLE\n    sni: \"{host}\""));
            line(format_args!("    caCertificates: |"));
            authority.lines().for_each(|text| line(format_args!("      {text}")));
        }
    }
    if !arguments.no_kubernetes {
        line(format_args!("# Without this source Istiod no longer reads Istio's resources in Kubernetes."));
        line(format_args!("- address: \"k8s://\""));
    }
    Ok(out)
}

fn read_authority(path: &PathBuf) -> Result<String, Error> {
    let text = fs::read_to_string(path).map_err(|source| Error::Authority { path: path.clone(), source })?;
    match text.contains("-----BEGIN CERTIFICATE-----") {
        true => Ok(text),
        false => Err(Error::NoCertificate(path.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(xds: &[&str]) -> Arguments {
        let xds = xds.iter().map(|address| address.to_string()).collect();
        Arguments { command: None, xds, ca: None, no_kubernetes: false }
    }

    fn addresses(text: &str) -> Vec<&str> {
        text.lines().filter_map(|line| line.strip_prefix("- address: ")).collect()
    }

    #[test]
    fn the_mesh_configuration_has_every_server_and_kubernetes() {
        let listen = "127.0.0.1:16010".parse().unwrap();
        let text = mesh_configuration(&arguments(&[]), listen).unwrap();
        assert_eq!(addresses(&text), ["\"xds://127.0.0.1:16010\"", "\"k8s://\""]);
        assert!(!text.contains("WARNING"), "{text}");
        let several = arguments(&["a.example:1", "[::1]:2"]);
        let text = mesh_configuration(&several, listen).unwrap();
        assert_eq!(addresses(&text), ["\"xds://a.example:1\"", "\"xds://[::1]:2\"", "\"k8s://\""]);
        assert!(text.starts_with("# WARNING: several sources are no high availability."), "{text}");
        let bare = Arguments { no_kubernetes: true, ..several };
        assert_eq!(addresses(&mesh_configuration(&bare, listen).unwrap()).len(), 2);
    }

    #[test]
    fn tls_is_the_one_mode_that_istiod_has_with_the_authority_as_text() {
        let folder = tempfile::tempdir().unwrap();
        let ca = folder.path().join("ca.pem");
        let with = || Arguments { ca: Some(ca.clone()), ..arguments(&["portolan.example:16010"]) };
        let listen = "127.0.0.1:16010".parse().unwrap();
        assert!(matches!(mesh_configuration(&with(), listen), Err(Error::Authority { .. })));
        fs::write(&ca, "nothing").unwrap();
        assert!(matches!(mesh_configuration(&with(), listen), Err(Error::NoCertificate(_))));
        fs::write(&ca, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
        let text = mesh_configuration(&with(), listen).unwrap();
        let tls = "  tlsSettings:\n    mode: SIMPLE\n    sni: \"portolan.example\"\n    caCertificates: |\n      -----BEGIN CERTIFICATE-----\n      AAAA\n";
        assert!(text.contains(tls), "{text}");
    }

    #[test]
    fn an_address_that_says_nothing_is_refused() {
        assert!(matches!(
            mesh_configuration(&arguments(&[]), "0.0.0.0:16010".parse().unwrap()),
            Err(Error::Unreachable(_))
        ));
        for bad in ["portolan", "a:0", ":1", "xds://a:1", "a b:1"] {
            let refused = mesh_configuration(&arguments(&[bad]), "127.0.0.1:1".parse().unwrap());
            assert!(matches!(refused, Err(Error::Address(_))), "{bad}");
        }
    }
}
