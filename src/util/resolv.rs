//! How names are resolved, and how this machine does it: the name servers, the search list and the options of its resolv.conf.

mod ask;
mod search;

use hickory_resolver::{
    config::{NameServerConfig, ResolverConfig, ResolverOpts},
    proto::rr::Name,
};
use std::{fs, io, time::Duration};
use tracing::warn;

pub use ask::{Addresses, Asker, Family};

const FILE: &str = "/etc/resolv.conf";

/// As the system is configured; without a configuration there is no name server.
pub fn system() -> (ResolverConfig, ResolverOpts) {
    let configuration = fs::read(FILE).and_then(|text| read(&text));
    configuration.unwrap_or_else(|error| {
        warn!(%error, file = FILE, "Cannot read the system's resolver configuration; only the hosts file answers.");
        (ResolverConfig::default(), ResolverOpts::default())
    })
}

/// The meaning of a resolv.conf. Lines that cannot be read are told and left out, as the C library leaves them out.
fn read(text: &[u8]) -> io::Result<(ResolverConfig, ResolverOpts)> {
    let (parsed, errors) = resolv_conf::Config::parse_with_errors(text);
    for error in errors {
        warn!(%error, file = FILE, "Cannot read a line.");
    }
    let names = |text: &String| Name::from_str_relaxed(text).ok();
    let domain = parsed.get_system_domain().as_ref().and_then(names);
    let search = parsed.get_last_search_or_domain().filter_map(|text| Name::from_str_relaxed(text).ok()).collect();
    let servers: Vec<_> = parsed.nameservers.iter().map(|ip| NameServerConfig::udp_and_tcp(ip.into())).collect();
    if servers.is_empty() {
        return Err(io::Error::other("it names no name server"));
    }
    let mut options = ResolverOpts::default();
    options.ndots = usize::try_from(parsed.ndots).unwrap_or(usize::MAX);
    options.timeout = Duration::from_secs(u64::from(parsed.timeout));
    options.attempts = usize::try_from(parsed.attempts).unwrap_or(usize::MAX);
    options.edns0 = parsed.edns0;
    Ok((ResolverConfig::from_parts(domain, search, servers), options))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resolv_conf_is_read_with_its_options_and_wrong_lines_cost_themselves() {
        let text = b"nameserver 10.0.0.10\nnameserver nonsense\nnameserver 2001:db8::53\n\
            search shop.svc.cluster.local svc.cluster.local\noptions ndots:5 timeout:2 attempts:3 edns0\n";
        let (servers, options) = read(text).unwrap();
        let addresses: Vec<String> = servers.name_servers().iter().map(|server| server.ip.to_string()).collect();
        assert_eq!(addresses, ["10.0.0.10", "2001:db8::53"]);
        let search: Vec<String> = servers.search().iter().map(ToString::to_string).collect();
        assert_eq!(search, ["shop.svc.cluster.local", "svc.cluster.local"]);
        let timeout = Duration::from_secs(2);
        assert_eq!((options.ndots, options.timeout, options.attempts, options.edns0), (5, timeout, 3, true));
    }

    #[test]
    fn a_resolv_conf_without_name_servers_is_an_error() {
        assert!(read(b"search a.example\n").is_err());
    }
}
