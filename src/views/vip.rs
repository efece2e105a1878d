//! Virtual addresses: one of a range for each host that needs it, from the set of hosts alone.
//!
//! A host's hash says which address it prefers, and which next, and so on. Of several that prefer one address the
//! smallest owner has it; the others go on to what they prefer next. Who has what therefore depends on the set and not
//! on the way to it: it is the same on every replica and after every restart. A host that comes takes its address from
//! larger owners that collide with it and from nobody else; when it goes, they have theirs back.
//!
//! Each pool keeps who passed by an address because a smaller one had it, so that a change costs a few steps however
//! many hosts there are.

use crate::{
    model::{Hostname, ServiceId},
    resource::version_hash,
};
use ipnet::IpNet;
use std::{
    collections::{BTreeSet, HashMap},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

/// A host that found so many addresses in use gets none: the range is nearly full.
const TURNS: u32 = 64;

/// A host that wants an address. The order is that of precedence.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Claimant {
    /// The service in its registry that owns it. The smallest owner goes before others.
    pub(super) owner: ServiceId,
    pub(super) host: Hostname,
    /// The host of the published service that it belongs to.
    pub(super) service: Hostname,
}

/// A claimant that had an address before, and has another one or none now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Moved {
    pub(super) claimant: Arc<Claimant>,
    /// `None`: it had no address.
    pub(super) from: Option<IpAddr>,
    /// `None`: it has no address any more.
    pub(super) to: Option<IpAddr>,
}

/// The addresses of one range.
#[derive(Debug)]
pub(super) struct Pool {
    range: Range,
    holders: HashMap<u64, Arc<Claimant>>,
    /// The turn in which each claimant found its address; [`TURNS`]: it has none.
    turns: HashMap<Arc<Claimant>, u32>,
    /// The claimants that found the address of a place in use by a smaller one.
    passed: HashMap<u64, BTreeSet<Arc<Claimant>>>,
    moved: Vec<(Arc<Claimant>, u32)>,
}

/// The addresses of a network without its first and its last one.
#[derive(Debug, Clone, Copy)]
struct Range {
    network: IpNet,
    size: u64,
}

impl Pool {
    /// A pool of a network's addresses, of which none is in use.
    pub(super) fn new(network: IpNet) -> Self {
        let size = match network {
            IpNet::V4(v4) => (1_u64 << (32 - v4.prefix_len())).saturating_sub(2),
            IpNet::V6(v6) if v6.prefix_len() <= 64 => u64::MAX - 1,
            IpNet::V6(v6) => (1_u64 << (128 - v6.prefix_len())).saturating_sub(2),
        };
        Pool {
            range: Range { network: network.trunc(), size: size.max(1) },
            holders: HashMap::new(),
            turns: HashMap::new(),
            passed: HashMap::new(),
            moved: Vec::new(),
        }
    }

    /// The address of a claimant; `None`: it is unknown, or the range is nearly full.
    pub(super) fn address(&self, claimant: &Claimant) -> Option<IpAddr> {
        self.at(claimant, *self.turns.get(claimant)?)
    }

    /// The claimants that have another address than at the last call, with both.
    pub(super) fn take_moved(&mut self) -> Vec<Moved> {
        let mut first: HashMap<Arc<Claimant>, u32> = HashMap::new();
        for (claimant, turn) in std::mem::take(&mut self.moved) {
            first.entry(claimant).or_insert(turn);
        }
        let moved = first.into_iter().filter_map(|(claimant, before)| {
            let now = *self.turns.get(&claimant)?;
            let (from, to) = (self.at(&claimant, before), self.at(&claimant, now));
            (now != before).then_some(Moved { claimant, from, to })
        });
        let mut moved: Vec<Moved> = moved.collect();
        moved.sort_by(|a, b| a.claimant.cmp(&b.claimant));
        moved
    }

    /// Adds a claimant and gives it an address, if one is left for it.
    pub(super) fn insert(&mut self, claimant: Arc<Claimant>) {
        if !self.turns.contains_key(&claimant) {
            self.place(claimant, 0);
        }
    }

    /// Removes a claimant and gives its address to others that wanted it.
    pub(super) fn remove(&mut self, claimant: &Claimant) {
        let Some(turn) = self.turns.remove(claimant) else { return };
        for slot in self.slots(claimant, 0..turn) {
            self.unpass(slot, claimant);
        }
        if turn < TURNS {
            self.vacate(self.range.slot(&claimant.host, turn));
        }
    }

    /// Finds a place for a claimant from that turn on, then for the one that it takes the place from, and so on.
    fn place(&mut self, mut claimant: Arc<Claimant>, mut turn: u32) {
        while turn < TURNS {
            let slot = self.range.slot(&claimant.host, turn);
            let Some(holder) = self.holders.get(&slot).cloned() else {
                self.holders.insert(slot, claimant.clone());
                break;
            };
            if holder > claimant {
                self.holders.insert(slot, claimant.clone());
                self.turns.insert(claimant, turn);
                turn = self.turns[&holder];
                self.moved.push((holder.clone(), turn));
                claimant = holder;
            }
            self.passed.entry(slot).or_default().insert(claimant.clone());
            turn += 1;
        }
        self.turns.insert(claimant, turn);
    }

    /// Gives a place that has become free to the smallest of those who passed it by, and so on with the place of that one.
    fn vacate(&mut self, mut slot: u64) {
        loop {
            let Some(claimant) = self.passed.get(&slot).and_then(BTreeSet::first).cloned() else {
                self.holders.remove(&slot);
                return;
            };
            let before = self.turns[&claimant];
            let turn = (0..before).find(|turn| self.range.slot(&claimant.host, *turn) == slot);
            let turn = turn.expect("who passed a place by had it as a turn");
            let earlier: BTreeSet<u64> = self.slots(&claimant, 0..turn).into_iter().collect();
            for passed in self.slots(&claimant, turn..before) {
                if !earlier.contains(&passed) {
                    self.unpass(passed, &claimant);
                }
            }
            self.moved.push((claimant.clone(), before));
            self.turns.insert(claimant.clone(), turn);
            self.holders.insert(slot, claimant.clone());
            if before == TURNS {
                return;
            }
            slot = self.range.slot(&claimant.host, before);
        }
    }

    fn unpass(&mut self, slot: u64, claimant: &Claimant) {
        if let Some(passed) = self.passed.get_mut(&slot) {
            passed.remove(claimant);
            if passed.is_empty() {
                self.passed.remove(&slot);
            }
        }
    }

    fn slots(&self, claimant: &Claimant, turns: std::ops::Range<u32>) -> Vec<u64> {
        turns.map(|turn| self.range.slot(&claimant.host, turn)).collect()
    }

    fn at(&self, claimant: &Claimant, turn: u32) -> Option<IpAddr> {
        (turn < TURNS).then(|| self.range.address(self.range.slot(&claimant.host, turn)))
    }
}

impl Range {
    /// The place that a host prefers in that turn.
    fn slot(&self, host: &Hostname, turn: u32) -> u64 {
        version_hash(host.as_str().as_bytes(), turn.into()) % self.size
    }

    fn address(&self, slot: u64) -> IpAddr {
        match self.network.network() {
            IpAddr::V4(first) => {
                let last = u32::try_from(slot + 1).expect("a network of IPv4 has fewer addresses");
                Ipv4Addr::from(u32::from(first) + last).into()
            }
            IpAddr::V6(first) => Ipv6Addr::from(u128::from(first) + u128::from(slot) + 1).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{prelude::*, sample::subsequence};
    use std::collections::BTreeMap;

    fn claimant(number: usize) -> Arc<Claimant> {
        let host = Hostname::new(&format!("interface-{number}.dubbo")).unwrap();
        // Owners are ordered otherwise than they are numbered.
        let name = format!("{:05}", number * 7919 % 100_003);
        let owner = ServiceId::new("zk", "dubbo", "", name);
        Arc::new(Claimant { owner, service: host.clone(), host })
    }

    fn pool(network: &str) -> Pool {
        Pool::new(network.parse().unwrap())
    }

    fn addresses(pool: &Pool) -> BTreeMap<Arc<Claimant>, Option<IpAddr>> {
        pool.turns.keys().map(|claimant| (claimant.clone(), pool.address(claimant))).collect()
    }

    /// One after the other takes the first address that it prefers and that is left.
    fn in_order_of_owners(all: &BTreeSet<Arc<Claimant>>, pool: &Pool) -> BTreeMap<Arc<Claimant>, Option<IpAddr>> {
        let mut used = BTreeSet::new();
        let choose = |claimant: &Arc<Claimant>| {
            let free = (0..TURNS).find(|turn| !used.contains(&pool.range.slot(&claimant.host, *turn)));
            if let Some(turn) = free {
                used.insert(pool.range.slot(&claimant.host, turn));
            }
            (claimant.clone(), free.and_then(|turn| pool.at(claimant, turn)))
        };
        all.iter().map(choose).collect()
    }

    #[test]
    fn ten_thousand_hosts_have_the_same_addresses_in_any_order_of_arrival() {
        let mut order: Vec<Arc<Claimant>> = (0..10_000).map(claimant).collect();
        let mut first = pool("241.0.0.0/8");
        order.iter().for_each(|claimant| first.insert(claimant.clone()));
        order.sort_by_key(|claimant| version_hash(claimant.host.as_str().as_bytes(), 4711));
        let mut second = pool("241.0.0.0/8");
        order.iter().for_each(|claimant| second.insert(claimant.clone()));
        assert_eq!(addresses(&first), addresses(&second));
        let all: BTreeSet<_> = addresses(&first).into_values().map(|address| address.unwrap()).collect();
        assert_eq!(all.len(), 10_000, "each its own");
        assert!(all.iter().all(|ip| "241.0.0.0/8".parse::<IpNet>().unwrap().contains(ip)));
    }

    #[test]
    fn one_host_more_moves_none_but_those_it_collides_with_and_they_return() {
        // So full that most newcomers collide.
        let mut pool = pool("241.0.0.0/18");
        (0..10_000).for_each(|number| pool.insert(claimant(number)));
        pool.take_moved();
        let (before, mut collided) = (addresses(&pool), 0);
        for number in 10_000..10_100 {
            let newcomer = claimant(number);
            pool.insert(newcomer.clone());
            let moved = pool.take_moved();
            let mut after = addresses(&pool);
            after.remove(&newcomer);
            let differing: BTreeSet<_> = after.iter().filter(|(c, to)| before[*c] != **to).map(|(c, _)| c).collect();
            assert_eq!(differing, moved.iter().map(|moved| &moved.claimant).collect());
            for moved in &moved {
                assert_eq!((moved.from, moved.to), (before[&moved.claimant], after[&moved.claimant]));
                assert!(moved.claimant > newcomer, "only larger owners give way");
            }
            collided += usize::from(!moved.is_empty());
            pool.remove(&newcomer);
            assert_eq!(addresses(&pool), before);
            pool.take_moved();
        }
        assert!((20..80).contains(&collided), "{collided} of 100 collided");
    }

    #[test]
    fn addresses_are_of_the_network_and_not_its_first_or_last() {
        let mut small = pool("10.1.2.0/28");
        (0..14).for_each(|number| small.insert(claimant(number)));
        let all: BTreeSet<String> =
            addresses(&small).into_values().map(|address| address.unwrap().to_string()).collect();
        assert_eq!(all, (1..=14).map(|n| format!("10.1.2.{n}")).collect());
        let mut wide = pool("fd00:1:2:3::/64");
        wide.insert(claimant(1));
        let address = wide.address(&claimant(1)).unwrap();
        assert!("fd00:1:2:3::/64".parse::<IpNet>().unwrap().contains(&address), "{address}");
    }

    proptest! {
        /// More claimants than addresses, so that some get none.
        #[test]
        fn who_comes_and_goes_leaves_what_the_set_alone_gives(
            rounds in prop::collection::vec(subsequence((0..40).collect::<Vec<usize>>(), 0..40), 1..8)
        ) {
            let (mut pool, mut model) = (pool("241.0.0.0/27"), BTreeSet::new());
            for round in rounds {
                let wanted: BTreeSet<_> = round.into_iter().map(claimant).collect();
                for gone in model.difference(&wanted) {
                    pool.remove(gone);
                }
                wanted.difference(&model).cloned().for_each(|new| pool.insert(new));
                model = wanted;
                prop_assert_eq!(addresses(&pool), in_order_of_owners(&model, &pool));
            }
        }
    }
}
