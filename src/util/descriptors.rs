//! File descriptors: each connection is one.

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

/// How many files the process may have open now; `None` where the system has no limit or does not say.
pub fn limit() -> Option<usize> {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{Resource, getrlimit};
        getrlimit(Resource::Nofile).current.and_then(|limit| usize::try_from(limit).ok())
    }
    #[cfg(not(target_os = "linux"))]
    None
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use rustix::process::{Resource, getrlimit};

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        let hard = getrlimit(Resource::Nofile).maximum;
        raise_limit();
        assert_eq!(getrlimit(Resource::Nofile).current, hard);
        assert_eq!(limit(), hard.and_then(|hard| usize::try_from(hard).ok()));
    }
}
