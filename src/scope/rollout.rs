//! Rollouts: which nodes get other output settings first, and what has to happen before more do.
//!
//! Whether a share has a node follows from the node's id alone: it is the same in every replica and after every restart, and who
//! has the new settings has them in every larger share.

use std::{fmt, time::Duration};
use xxhash_rust::xxh3::xxh3_64;

/// Nodes are told apart by so many places: a hundredth of a percent each.
const PLACES: u16 = 10_000;

/// How other output settings come to all nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollout {
    /// How many nodes have them in turn. Each is more than the one before, and the last is all.
    pub steps: Vec<Share>,
    /// How long each step lasts, if nobody refuses.
    pub wait: Duration,
    /// So many nodes that refuse halt it.
    pub refusals: usize,
}

/// A share of all nodes, in hundredths of a percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u16);

impl Share {
    /// No node.
    pub const NONE: Share = Share(0);
    /// Every node.
    pub const ALL: Share = Share(PLACES);

    /// `part` is from 0 to 1, and is rounded to a hundredth of a percent.
    pub fn new(part: f64) -> Share {
        // In range, and not negative: the cast cuts nothing but what is below a place.
        Share((part.clamp(0.0, 1.0) * f64::from(PLACES)).round() as u16)
    }

    /// As a number from 0 to 1.
    pub fn part(self) -> f64 {
        f64::from(self.0) / f64::from(PLACES)
    }

    /// Whether that node is one of them. One without an id comes last.
    pub fn has(self, node: &str) -> bool {
        place(node) < self.0
    }
}

/// The place of a node by the hash of its id, below [`PLACES`].
fn place(node: &str) -> u16 {
    if node.is_empty() {
        return PLACES - 1;
    }
    let place = (u128::from(xxh3_64(node.as_bytes())) * u128::from(PLACES)) >> 64;
    u16::try_from(place).unwrap_or(PLACES - 1)
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", f64::from(self.0) / 100.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes() -> impl Iterator<Item = String> {
        (0..20_000).map(|n| format!("sidecar~10.0.{}.{}~orders-{n}", n / 250, n % 250))
    }

    #[test]
    fn a_share_has_about_as_many_nodes_as_it_says_and_a_larger_one_has_them_too() {
        let mut before: Vec<String> = Vec::new();
        for part in [0.0, 0.0001, 0.05, 0.25, 0.5, 1.0] {
            let share = Share::new(part);
            let now: Vec<String> = nodes().filter(|node| share.has(node)).collect();
            let expected = part * 20_000.0;
            assert!((now.len() as f64 - expected).abs() <= 0.01 * 20_000.0, "{share}: {}", now.len());
            assert!(before.iter().all(|node| share.has(node)), "{share}");
            before = now;
        }
        assert_eq!(before.len(), 20_000);
        assert_eq!(nodes().filter(|node| Share::NONE.has(node)).count(), 0);
    }

    #[test]
    fn who_has_a_share_is_the_same_everywhere_and_who_has_no_id_comes_last() {
        // Fixed: another version of the product gives the same nodes.
        let places: Vec<u16> = ["a", "node-1", "sidecar~10.0.0.1~a.b~c"].into_iter().map(place).collect();
        assert_eq!(places, [9014, 534, 2170]);
        assert!(!Share::new(0.9999).has("") && Share::ALL.has(""));
    }

    #[test]
    fn it_is_written_as_people_write_it() {
        for (part, text) in [(0.05, "5%"), (0.025, "2.5%"), (0.0001, "0.01%"), (1.0, "100%")] {
            assert_eq!((Share::new(part).to_string().as_str(), Share::new(part).part()), (text, part));
        }
    }
}
