//! What is printed at the start: what is served, on which ports, and what to do next.

use crate::{util::escape, xds::Address};
use std::{
    fmt::Write,
    io::{self, Write as _},
    net::SocketAddr,
    path::Path,
    sync::Arc,
    thread,
};

/// Writes the text to standard output, on a thread of its own: an output that is full, closed or not read blocks nothing.
pub(super) fn print(text: String) {
    let write = move || drop(io::stdout().write_all(escape::lines(&text).as_bytes()));
    // Without a thread there is no banner; serving does not need one.
    drop(thread::Builder::new().name("banner".into()).spawn(write));
}

/// The text. `example`: a registry is the built-in example, so the command that starts an Envoy on it is added.
pub(super) fn text(xds: &[(Arc<str>, Address)], admin: SocketAddr, registries: &[String], example: bool) -> String {
    let mut out = String::new();
    let mut line = |text: std::fmt::Arguments<'_>| writeln!(out, "{text}").expect("writing to a text does not fail");
    line(format_args!("Portolan {} reads {}.", env!("CARGO_PKG_VERSION"), registries.join(", ")));
    for (name, address) in xds {
        match xds {
            [_] => line(format_args!("  xDS on {address} for Envoy and gRPC")),
            _ => line(format_args!("  xDS on {address} ({name})")),
        }
    }
    line(format_args!("  Admin on http://{admin}/"));
    if let (true, Some(Address::Tcp(xds))) = (example, xds.first().map(|(_, address)| address)) {
        line(format_args!("This is the example. Start an Envoy on it with"));
        line(format_args!("  {}", envoy_command(*xds)));
        line(format_args!("and ask it:"));
        line(format_args!("  curl -i -H 'Host: product-service.example' http://127.0.0.1:10000/"));
    }
    out
}

/// In a clone, the script that also fetches an Envoy; elsewhere, a bootstrap for the Envoy that is there.
fn envoy_command(xds: SocketAddr) -> String {
    if xds.port() == 16010 && Path::new("envoy-examples/run").exists() {
        return "envoy-examples/run sidecar.yaml".into();
    }
    format!("envoy --config-yaml \"$(portolan bootstrap envoy --xds {xds})\"")
}
