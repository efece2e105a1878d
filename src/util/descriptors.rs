//! The limit of open file descriptors, and how many connections it allows: each connection is one descriptor.

/// Raises the soft limit of open files to the hard one, where the system has them and lets us.
pub fn raise_limit() {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{Resource, getrlimit, setrlimit};
        let mut limit = getrlimit(Resource::Nofile);
        limit.current = limit.maximum;
        // The limit that was there stays where it cannot be raised.
        let _ = setrlimit(Resource::Nofile, limit);
    }
}

/// The soft limit of open files. `None`: the system has no limit, or does not say.
pub fn limit() -> Option<usize> {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{Resource, getrlimit};
        getrlimit(Resource::Nofile).current.and_then(|limit| usize::try_from(limit).ok())
    }
    #[cfg(not(target_os = "linux"))]
    None
}

/// How many admin connections are allowed with this limit of descriptors: 16 to 128.
pub fn for_admin(limit: Option<usize>) -> usize {
    const MOST: usize = 128;
    limit.map_or(MOST, |limit| (limit / 8).clamp(16, MOST))
}

/// How many xDS connections are allowed with this limit, so that some descriptors are left for admin, registries and
/// files.
pub fn for_xds(limit: Option<usize>) -> usize {
    const OTHERS: usize = 128;
    limit.map_or(usize::MAX, |limit| limit.saturating_sub(OTHERS + for_admin(Some(limit))).max(1))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use rustix::process::{Resource, getrlimit};

    #[test]
    fn whatever_the_limit_is_some_are_left_for_all_others() {
        let shares = |limit| (for_admin(limit), for_xds(limit));
        assert_eq!(shares(None), (128, usize::MAX));
        assert_eq!(shares(Some(20_640)), (128, 20_384));
        assert_eq!(shares(Some(1_024)), (128, 768));
        assert_eq!(shares(Some(320)), (40, 152));
        assert_eq!(shares(Some(100)), (16, 1));
    }

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        let hard = getrlimit(Resource::Nofile).maximum;
        raise_limit();
        assert_eq!(getrlimit(Resource::Nofile).current, hard);
        assert_eq!(limit(), hard.and_then(|hard| usize::try_from(hard).ok()));
    }
}
