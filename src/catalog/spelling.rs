//! What a host was called before it became a host name.

use crate::model::Hostname;
use xxhash_rust::xxh3::xxh3_64;

/// How a service names a host. Smaller goes first where one service has several names for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Spelling {
    /// More than the case of its letters had to be changed.
    pub(super) rewritten: bool,
    /// A hash of the name, if it differs from the host in more than case and `_` for `-`. Other hashes are other
    /// services.
    pub(super) name: Option<u64>,
}

impl Spelling {
    /// How the name `text` became this host.
    pub(super) fn of(text: &str, host: &Hostname) -> Self {
        let rewritten = !host.as_str().eq_ignore_ascii_case(text);
        let folded = || text.to_lowercase().replace('_', "-");
        let name = Some(()).filter(|()| rewritten).map(|()| folded()).filter(|name| name != host.as_str());
        Spelling { rewritten, name: name.map(|name| xxh3_64(name.as_bytes())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_one_but_for_case_and_underscores() {
        let of = |text: &str| Spelling::of(text, &Hostname::sanitized(text).unwrap());
        assert_eq!(of("a-b"), Spelling::default());
        assert_eq!(of("A-B"), Spelling::default());
        assert_eq!(of("A_B"), Spelling { rewritten: true, name: None });
        let others = ["a:b", "a@b", "a-b-", "_a-b", "a-b."].map(of);
        assert!(others.iter().all(|one| one.name.is_some()), "{others:?}");
        assert_ne!(others[0], others[1]);
        assert_eq!(of("a:b"), of("A:b"));
        assert_eq!(of("订单").name, of("订单").name);
    }
}
