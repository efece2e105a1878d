//! The system's own resolver: its name servers, search list and options, and its hosts file.

use super::{Answer, Lookup, LookupError};
use crate::{
    model::Text,
    util::{
        error::chain,
        resolv::{self, Asker},
    },
};

/// Resolves names as this machine does.
pub struct System(Asker);

impl System {
    /// As the system is configured; without a configuration, only the hosts file answers.
    pub fn new() -> Self {
        let (servers, options) = resolv::system();
        System(Asker::new(servers, options).expect("nothing but DNS over TLS can fail to be set up"))
    }
}

impl Default for System {
    fn default() -> Self {
        System::new()
    }
}

impl Lookup for System {
    async fn lookup(&self, name: Text) -> Result<Answer, LookupError> {
        match self.0.addresses(&name).await {
            Ok(found) => {
                let unknown = found.unknown.map(|(family, error)| (family, chain(&error).into()));
                Ok(Answer { addresses: found.ips, ttl: found.ttl, unknown })
            }
            Err(source) => Err(LookupError::Query { name, source: Box::new(source) }),
        }
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
