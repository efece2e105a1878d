//! The servers of one cluster, and which of them answered last.

use crate::{registry::nacos::error::Destination, util::lock::lock};
use reqwest::Url;
use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard},
};

/// The servers in the order in which they were given. Shared by all requests of one registry.
#[derive(Debug)]
pub(crate) struct Servers {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    list: Vec<Url>,
    good: usize,
}

impl Servers {
    pub(crate) fn new(list: Vec<Url>) -> Self {
        Servers { state: Mutex::new(State { list: each_once(list), good: 0 }) }
    }

    /// All servers: the one that answered last, then those after it.
    pub(crate) fn in_turn(&self) -> Vec<Url> {
        let state = self.state();
        let (before, after) = state.list.split_at(state.good.min(state.list.len()));
        after.iter().chain(before).cloned().collect()
    }

    /// Replaces the servers. The one that answered last is still asked first, if it is among them.
    pub(crate) fn replace(&self, list: Vec<Url>) {
        let list = each_once(list);
        let mut state = self.state();
        let good = state.list.get(state.good).and_then(|good| list.iter().position(|url| url == good));
        *state = State { good: good.unwrap_or_default(), list };
    }

    /// Notes that this server has answered, so that it is asked first from now on.
    pub(crate) fn answered(&self, server: &Url) {
        let mut state = self.state();
        if let Some(at) = state.list.iter().position(|url| url == server) {
            state.good = at;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// The servers without repetitions: one that stands there twice would be asked twice.
fn each_once(mut list: Vec<Url>) -> Vec<Url> {
    let mut seen = HashSet::new();
    list.retain(|url| seen.insert(url.clone()));
    list
}

/// The server to go to when `from` sends its clients away: the one that it names if that is one of ours, else the next.
pub(crate) fn redirected(servers: &[Url], from: &Url, to: &Destination) -> Option<Url> {
    let named = to.as_ref().and_then(|(host, port)| {
        let fits = |url: &&Url| {
            // A URL has brackets around an IPv6 address.
            let own = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
            own == host.trim_matches(['[', ']']) && port.is_none_or(|port| url.port_or_known_default() == Some(port))
        };
        servers.iter().find(fits)
    });
    let next = || {
        let at = servers.iter().position(|url| url == from)?;
        servers.get((at + 1) % servers.len())
    };
    named.or_else(next).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_is_sent_away_goes_to_a_server_of_ours() {
        let url = |text: &str| Url::parse(text).unwrap();
        let servers =
            ["http://a:8848/nacos", "http://b:8848/nacos", "http://b:8948/nacos", "http://[::1]:8848"].map(url);
        for (from, to, expected) in [
            (0, Some(("b", Some(8948))), 2),
            (0, Some(("b", None)), 1),
            (1, Some(("b", Some(8848))), 1),
            (1, Some(("c", Some(8848))), 2),
            (0, Some(("b", Some(1))), 1),
            (2, None, 3),
            (3, None, 0),
            (0, Some(("::1", Some(8848))), 3),
        ] {
            let to = to.map(|(host, port)| (host.to_owned(), port));
            let found = redirected(&servers, &servers[from], &to);
            assert_eq!(found, Some(servers[expected].clone()), "{from} {to:?}");
        }
    }
}
