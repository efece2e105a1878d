//! Finds who is refused where the client names nobody: by halves.
//!
//! One half is sent, the other held. If the client takes it, somebody of the other half is meant, and that is halved; if it
//! refuses, the half that was sent is. What was held beside a half that was refused may have its own; it is tried at the end,
//! whole. So one among n is found in about log2(n) turns, and each turn waits for the client's answer.

use crate::resource::Name;

/// A resource that may be what the client refuses: its name and version.
pub(in super::super) type Suspect = (Name, u64);

/// See the module.
#[derive(Debug, Default)]
pub(in super::super) struct Search {
    /// Sent; the client has not answered.
    trial: Vec<Suspect>,
    /// Held; somebody of it is meant if the client takes the trial.
    held: Vec<Suspect>,
    /// Held; nothing is known of it.
    rest: Vec<Suspect>,
    /// Answers from this nonce on have the trial in them.
    since: u64,
}

/// What follows from an answer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Finding {
    /// Is held from now on.
    pub(in super::super) hold: Vec<Suspect>,
    /// Is sent now.
    pub(in super::super) send: Vec<Suspect>,
    /// Is meant, whether it was held or sent.
    pub(in super::super) guilty: Vec<Suspect>,
}

impl Search {
    /// Whether nothing is looked for.
    pub(in super::super) fn is_over(&self) -> bool {
        self.trial.is_empty() && self.held.is_empty() && self.rest.is_empty()
    }

    /// An answer that began with that nonce was refused, in which these were and nobody is named.
    pub(in super::super) fn refused(&mut self, suspects: Vec<Suspect>, next_nonce: u64) -> Finding {
        self.rest.append(&mut self.held);
        self.trial.clear();
        let mut finding = Finding::default();
        match suspects.len() {
            0 => {}
            1 => finding.guilty = suspects,
            _ => {
                self.halve(suspects);
                finding.hold.clone_from(&self.held);
                finding.send.clone_from(&self.trial);
            }
        }
        self.go_on(&mut finding);
        self.since = next_nonce;
        finding
    }

    /// The client has taken an answer that began with that nonce.
    pub(in super::super) fn accepted(&mut self, nonce: u64, next_nonce: u64) -> Finding {
        let mut finding = Finding::default();
        if self.is_over() || nonce < self.since {
            return finding;
        }
        self.trial.clear();
        let held = std::mem::take(&mut self.held);
        match held.len() {
            0 => {}
            1 => finding.guilty = held,
            _ => {
                self.halve(held);
                finding.send.clone_from(&self.trial);
            }
        }
        self.go_on(&mut finding);
        self.since = next_nonce;
        finding
    }

    /// What was tried is sent once more, from that nonce on.
    pub(in super::super) fn try_again(&mut self, next_nonce: u64) {
        self.since = next_nonce;
    }

    /// Somebody was found by name, or is served at another version: who is left.
    pub(in super::super) fn forget(&mut self, is_left: impl Fn(&Suspect) -> bool, next_nonce: u64) -> Finding {
        let mut finding = Finding::default();
        if self.is_over() {
            return finding;
        }
        let known = self.trial.len() + self.held.len();
        for list in [&mut self.trial, &mut self.held, &mut self.rest] {
            list.retain(&is_left);
        }
        if self.trial.len() + self.held.len() < known {
            // It may have been the one that is gone: of what is held nothing is known.
            self.rest.append(&mut self.held);
            self.since = next_nonce;
        }
        self.go_on(&mut finding);
        finding
    }

    /// No further turn: all that is held is meant.
    pub(in super::super) fn give_up(&mut self) -> Vec<Suspect> {
        let mut all = std::mem::take(self);
        all.held.append(&mut all.rest);
        all.held
    }

    fn halve(&mut self, mut group: Vec<Suspect>) {
        self.held = group.split_off(group.len().div_ceil(2));
        self.trial = group;
    }

    /// Tries what nothing is known of, where nothing else is tried.
    fn go_on(&mut self, finding: &mut Finding) {
        if self.trial.is_empty() {
            self.trial = std::mem::take(&mut self.rest);
            finding.send.extend(self.trial.iter().cloned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Who is found among so many, and in how many turns.
    fn find(count: u64, guilty: &[u64]) -> (BTreeSet<u64>, usize) {
        let (mut search, mut found, mut turns) = (Search::default(), BTreeSet::new(), 1);
        let mut sent: Vec<Suspect> = (0..count).map(|at| (Name::from(format!("{at:05}")), at)).collect();
        let mut withheld = BTreeSet::new();
        loop {
            let is_refused = sent.iter().any(|(_, at)| guilty.contains(at));
            let finding = match is_refused {
                true => search.refused(sent.clone(), turns),
                false => search.accepted(turns, turns),
            };
            withheld.extend(finding.hold.iter().chain(&finding.guilty).map(|(_, at)| *at));
            found.extend(finding.guilty.iter().map(|(_, at)| *at));
            for (_, at) in &finding.send {
                withheld.remove(at);
            }
            if search.is_over() {
                assert_eq!(withheld, found);
                return (found, turns as usize);
            }
            sent = finding.send;
            turns += 1;
        }
    }

    #[test]
    fn one_is_found_in_the_logarithm_of_all_and_two_among_ten_thousand() {
        for (count, most) in [(1, 1), (2, 3), (3, 4), (64, 8), (5_000, 15)] {
            for guilty in (0..count).step_by(1.max(count as usize / 97)) {
                let (found, turns) = find(count, &[guilty]);
                assert_eq!(found, BTreeSet::from([guilty]));
                assert!(turns <= most, "{guilty} of {count}: {turns}");
            }
        }
        let (found, turns) = find(10_000, &[17, 9_000]);
        assert_eq!(found, BTreeSet::from([17, 9_000]));
        assert!(turns <= 32, "{turns}");
        assert_eq!(find(8, &[0, 1, 2, 3, 4, 5, 6, 7]).0.len(), 8);
    }

    #[test]
    fn what_is_left_after_a_trial_that_is_no_more_is_tried() {
        let all: Vec<Suspect> = ["a", "b", "c", "d"].map(|name| (Name::from(name), 1)).into();
        let mut search = Search::default();
        assert_eq!(search.refused(all.clone(), 2).send, all[..2]);
        assert_eq!(search.accepted(1, 3), Finding::default(), "an answer of before");
        let finding = search.forget(|(name, _)| !["a", "b"].contains(&&**name), 3);
        assert_eq!(finding.send, all[2..]);
        assert_eq!(search.accepted(3, 4), Finding::default());
        assert!(search.is_over());
    }

    #[test]
    fn who_has_no_turn_left_is_held() {
        let all: Vec<Suspect> = ["a", "b", "c", "d"].map(|name| (Name::from(name), 1)).into();
        let mut search = Search::default();
        search.refused(all.clone(), 2);
        assert_eq!(search.give_up(), all[2..]);
        assert!(search.is_over());
    }
}
