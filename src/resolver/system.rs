//! The system's own resolver: its name servers, search list and options, and its hosts file.

use super::{Answer, Lookup, LookupError};
use crate::{model::Text, util::resolv};
use hickory_resolver::{TokioResolver, config::LookupIpStrategy, net::runtime::TokioRuntimeProvider};

/// Resolves names as this machine does.
pub struct System(TokioResolver);

impl System {
    /// As the system is configured; without a configuration, only the hosts file answers.
    pub fn new() -> Self {
        let (servers, mut options) = resolv::system();
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        let builder = TokioResolver::builder_with_config(servers, TokioRuntimeProvider::default());
        System(builder.with_options(options).build().expect("nothing but DNS over TLS can fail to be set up"))
    }
}

impl Default for System {
    fn default() -> Self {
        System::new()
    }
}

impl Lookup for System {
    async fn lookup(&self, name: Text) -> Result<Answer, LookupError> {
        let found = match self.0.lookup_ip(&*name).await {
            Ok(found) => found,
            Err(source) if source.is_nx_domain() => {
                return Err(LookupError::NoSuchName { name, source: Box::new(source) });
            }
            Err(source) => return Err(LookupError::Query { name, source: Box::new(source) }),
        };
        let ttl = found.valid_until().saturating_duration_since(std::time::Instant::now());
        Ok(Answer { addresses: found.iter().collect(), ttl })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    #[tokio::test]
    async fn the_systems_hosts_file_answers() {
        let answer = System::new().lookup("localhost".into()).await.unwrap();
        assert!(answer.addresses.iter().all(IpAddr::is_loopback) && !answer.addresses.is_empty(), "{answer:?}");
    }
}
