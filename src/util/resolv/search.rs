//! The search list: the names that one name may stand for.

use hickory_resolver::{
    config::{ResolverConfig, ResolverOpts},
    proto::rr::Name,
};

/// The domains by which a name that is not absolute is completed.
#[derive(Debug)]
pub(super) struct Search {
    domains: Vec<Name>,
    /// A name with so many dots is tried as it is before it is completed.
    ndots: usize,
}

impl Search {
    pub(super) fn new(config: &ResolverConfig, options: &ResolverOpts) -> Self {
        Search { domains: config.domain().into_iter().chain(config.search()).cloned().collect(), ndots: options.ndots }
    }

    /// The names to ask for, all absolute, in their order.
    pub(super) fn names(&self, name: Name) -> Vec<Name> {
        if name.is_fqdn() {
            return vec![name];
        }
        let mut as_it_is = name.clone();
        as_it_is.set_fqdn(true);
        let first = usize::from(name.num_labels()) > self.ndots || name.is_localhost();
        // One that becomes too long is none.
        let completed = self.domains.iter().filter_map(|domain| name.clone().append_domain(domain).ok());
        let mut names: Vec<Name> = Vec::with_capacity(self.domains.len() + 1);
        for name in first.then(|| as_it_is.clone()).into_iter().chain(completed).chain([as_it_is.clone()]) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }
}
