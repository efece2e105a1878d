//! A rollout: changed output settings come to a share of nodes first, and to more of them as time passes and no node
//! refuses.
//!
//! This is a state machine that the reloader drives; `access` and the views carry it out. The settled settings are
//! those of all nodes outside the share; an aborted rollout leaves only these.

use crate::{
    admin::{Refusing, RolloutStatus, Steer},
    resource::Kind,
    scope::{self, Share},
    telemetry::count,
    util::lock::lock,
    views::Outputs,
};
use prometheus_client::{
    metrics::gauge::Gauge,
    registry::{Registry, Unit},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, atomic::AtomicU64},
    time::SystemTime,
};
use tokio::{sync::Notify, time::Instant};
use tracing::{info, warn};

/// The most nodes whose refusals are kept.
const NODES: usize = 1_000;

/// The most characters of a client's error message.
const WORDS: usize = 500;

/// The output settings in force, and those that are rolled out.
#[derive(Debug)]
pub(super) struct Rollout {
    settled: Outputs,
    rolling: Option<Rolling>,
}

/// Settings that not all nodes have yet.
#[derive(Debug)]
struct Rolling {
    next: Outputs,
    how: scope::Rollout,
    /// The index of the step that it has reached.
    step: usize,
    state: State,
    since: SystemTime,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The next step follows at `until`.
    Running { until: Instant },
    /// Too many nodes refuse; the share stays as it is.
    Halted,
    /// It was taken back by hand: no node has the next settings.
    Aborted,
}

/// Why a command for a rollout cannot be carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Steerless {
    #[error("nothing is being rolled out")]
    Nothing,
    #[error("what was rolled out is taken back already")]
    Aborted,
}

impl Rollout {
    /// All nodes have these settings.
    pub(super) fn new(settled: Outputs) -> Self {
        Rollout { settled, rolling: None }
    }

    /// The settings of all nodes outside the share of a rollout.
    pub(super) fn settled(&self) -> &Outputs {
        &self.settled
    }

    /// The next settings and the share of nodes that have them. `None`: no rollout, or an aborted one.
    pub(super) fn next(&self) -> Option<(&Outputs, Share)> {
        let rolling = self.rolling.as_ref().filter(|rolling| rolling.state != State::Aborted)?;
        Some((&rolling.next, rolling.share()))
    }

    /// Takes the settings of a new configuration: by steps, or if `how` is `None` at once. Returns whether a rollout
    /// has begun, ended or been replaced.
    pub(super) fn follow(&mut self, wanted: Outputs, how: Option<&scope::Rollout>, now: Instant) -> bool {
        if wanted == self.settled {
            return self.rolling.take().is_some();
        }
        match (how, &self.rolling) {
            (None, _) => (self.settled, self.rolling) = (wanted, None),
            (Some(_), Some(rolling)) if rolling.next == wanted => return false,
            (Some(how), _) => {
                let (how, state) = (how.clone(), State::Running { until: now + how.wait });
                info!(share = %how.steps[0], "Begins to roll out other output settings.");
                self.rolling = Some(Rolling { next: wanted, how, step: 0, state, since: SystemTime::now() });
            }
        }
        true
    }

    /// When the next step follows. `None`: it needs a command, or there is no rollout.
    pub(super) fn due(&self) -> Option<Instant> {
        match self.rolling.as_ref()?.state {
            State::Running { until } => Some(until),
            State::Halted | State::Aborted => None,
        }
    }

    /// Makes the next step if it is due. Returns whether it was.
    pub(super) fn advance(&mut self, now: Instant) -> bool {
        let is_due = self.due().is_some_and(|due| due <= now);
        if is_due {
            self.next_step(now);
        }
        is_due
    }

    fn next_step(&mut self, now: Instant) {
        let Some(mut rolling) = self.rolling.take() else { return };
        if rolling.step + 1 == rolling.how.steps.len() && rolling.state != State::Aborted {
            info!("Rolled out other output settings: they hold for all.");
            self.settled = rolling.next;
            return;
        }
        rolling.step = if rolling.state == State::Aborted { 0 } else { rolling.step + 1 };
        rolling.state = State::Running { until: now + rolling.how.wait };
        info!(share = %rolling.share(), "More nodes have the output settings that are rolled out.");
        self.rolling = Some(rolling);
    }

    /// Takes the number of nodes that refuse. Returns whether that has halted the rollout.
    pub(super) fn refused(&mut self, nodes: usize) -> bool {
        let Some(rolling) = &mut self.rolling else { return false };
        let halts = matches!(rolling.state, State::Running { .. }) && nodes >= rolling.how.refusals;
        if halts {
            rolling.state = State::Halted;
            warn!(share = %rolling.share(), nodes, "Halted a rollout: clients refuse what they have by the other output settings.");
        }
        halts
    }

    /// Carries out a command.
    ///
    /// # Errors
    /// If there is no rollout, or it is aborted already.
    pub(super) fn steer(&mut self, steer: Steer, now: Instant) -> Result<(), Steerless> {
        let rolling = self.rolling.as_mut().ok_or(Steerless::Nothing)?;
        match steer {
            Steer::Continue => self.next_step(now),
            Steer::Abort if rolling.state == State::Aborted => return Err(Steerless::Aborted),
            Steer::Abort => rolling.state = State::Aborted,
        }
        Ok(())
    }

    /// The state that the admin API shows.
    pub(super) fn status(&self, refusals: &Refusals, now: Instant) -> RolloutStatus {
        let Some(rolling) = &self.rolling else { return RolloutStatus::default() };
        let left = self.due().map(|due| due.saturating_duration_since(now));
        let share = if rolling.state == State::Aborted { Share::NONE } else { rolling.share() };
        RolloutStatus {
            state: rolling.state.name(),
            share: share.part(),
            steps: rolling.how.steps.iter().map(|share| share.part()).collect(),
            since: Some(rolling.since),
            next_at: left.map(|left| SystemTime::now() + left),
            refusals: refusals.list(),
        }
    }
}

impl Rolling {
    fn share(&self) -> Share {
        self.how.steps.get(self.step).copied().unwrap_or(Share::ALL)
    }
}

impl State {
    const fn name(self) -> &'static str {
        match self {
            State::Running { .. } => "running",
            State::Halted => "halted",
            State::Aborted => "aborted",
        }
    }
}

/// The nodes that refuse a resource made with the next settings. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Refusals(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// By `node.id`: its last refusal.
    nodes: Mutex<BTreeMap<Box<str>, Refusing>>,
    changed: Notify,
}

impl Refusals {
    /// Notes a refusal; of more than [`NODES`] nodes the further ones are not kept. A node that refuses again, as it may as
    /// often as it likes, is no news.
    pub(super) fn add(&self, node: &str, kind: Kind, message: &str) {
        let mut nodes = lock(&self.0.nodes);
        if nodes.len() < NODES || nodes.contains_key(node) {
            let message = message.chars().take(WORDS).collect();
            let known = nodes.insert(node.into(), Refusing { node: node.into(), kind: kind.name(), message });
            if known.is_none() {
                self.0.changed.notify_one();
            }
        }
    }

    /// Waits until a node refuses that did not before.
    pub(super) async fn changed(&self) {
        self.0.changed.notified().await;
    }

    /// How many nodes have refused since the last [`Refusals::clear`].
    pub(super) fn count(&self) -> usize {
        lock(&self.0.nodes).len()
    }

    /// Forgets all refusals, for settings that are tried anew.
    pub(super) fn clear(&self) {
        lock(&self.0.nodes).clear();
    }

    fn list(&self) -> Vec<Refusing> {
        lock(&self.0.nodes).values().cloned().collect()
    }
}

/// The metrics of rollouts.
#[derive(Debug, Clone, Default)]
pub(super) struct Metrics {
    share: Gauge<f64, AtomicU64>,
    halted: Gauge,
    refusing: Gauge,
}

impl Metrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("rollout");
        let help = "The share of nodes that have the output settings of the configuration";
        registry.register_with_unit("share", help, Unit::Ratios, self.share.clone());
        registry.register("halted", "Whether a rollout is halted by refusals, or was taken back", self.halted.clone());
        registry.register("refusing_nodes", "Nodes that refuse what is rolled out", self.refusing.clone());
    }

    pub(super) fn stands(&self, status: &RolloutStatus) {
        self.share.set(status.share);
        self.halted.set(i64::from(matches!(status.state, "halted" | "aborted")));
        self.refusing.set(count(status.refusals.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use std::time::Duration;

    const MINUTE: Duration = Duration::from_secs(60);

    fn outputs(seconds: u64) -> Outputs {
        let mut outputs = Outputs::default();
        outputs.envoy.connect_timeout = Duration::from_secs(seconds);
        outputs
    }

    fn how(refusals: usize) -> scope::Rollout {
        scope::Rollout { steps: [0.1, 0.5, 1.0].map(Share::new).into(), wait: MINUTE, refusals }
    }

    /// The timeout in the settled settings, and that in the next settings with their share.
    fn stands(rollout: &Rollout) -> (u64, Option<(u64, f64)>) {
        let seconds = |outputs: &Outputs| outputs.envoy.connect_timeout.as_secs();
        (seconds(rollout.settled()), rollout.next().map(|(next, share)| (seconds(next), share.part())))
    }

    #[tokio::test(start_paused = true)]
    async fn it_goes_on_when_a_step_is_over_and_ends_with_all() {
        let (mut rollout, now) = (Rollout::new(outputs(1)), Instant::now());
        assert!(rollout.follow(outputs(2), Some(&how(1)), now));
        assert!(!rollout.follow(outputs(2), Some(&how(1)), now), "it is under way");
        for (minutes, expected) in [(1, 0.5), (2, 1.0)] {
            let due = now + minutes * MINUTE;
            assert!(!rollout.advance(due - Duration::from_millis(1)));
            assert_eq!(rollout.due(), Some(due));
            assert!(rollout.advance(due));
            assert_eq!(stands(&rollout), (1, Some((2, expected))));
        }
        assert!(rollout.advance(now + 3 * MINUTE));
        assert_eq!((stands(&rollout), rollout.due()), ((2, None), None));
        assert_eq!(rollout.steer(Steer::Continue, now), Err(Steerless::Nothing));
    }

    #[tokio::test(start_paused = true)]
    async fn as_many_refusals_as_it_may_not_have_halt_it_until_somebody_decides() {
        let (mut rollout, now) = (Rollout::new(outputs(1)), Instant::now());
        rollout.follow(outputs(2), Some(&how(2)), now);
        assert!(!rollout.refused(1));
        assert!(rollout.refused(2) && !rollout.refused(3), "once");
        assert!(!rollout.advance(now + 9 * MINUTE));
        assert_eq!(stands(&rollout), (1, Some((2, 0.1))));
        rollout.steer(Steer::Continue, now).unwrap();
        assert_eq!((stands(&rollout), rollout.due()), ((1, Some((2, 0.5))), Some(now + MINUTE)));
        rollout.steer(Steer::Abort, now).unwrap();
        assert_eq!((stands(&rollout), rollout.due()), ((1, None), None));
        assert_eq!(rollout.steer(Steer::Abort, now), Err(Steerless::Aborted));
        assert!(!rollout.follow(outputs(2), Some(&how(2)), now), "it stays taken back");
        rollout.steer(Steer::Continue, now).unwrap();
        assert_eq!(stands(&rollout), (1, Some((2, 0.1))), "from the beginning");
    }

    #[tokio::test(start_paused = true)]
    async fn other_settings_begin_anew_former_ones_end_it_and_without_steps_all_is_at_once() {
        let (mut rollout, now) = (Rollout::new(outputs(1)), Instant::now());
        rollout.follow(outputs(2), Some(&how(1)), now);
        rollout.advance(now + MINUTE);
        assert!(rollout.follow(outputs(3), Some(&how(1)), now));
        assert_eq!(stands(&rollout), (1, Some((3, 0.1))));
        assert!(rollout.follow(outputs(1), Some(&how(1)), now));
        assert_eq!(stands(&rollout), (1, None));
        rollout.follow(outputs(2), Some(&how(1)), now);
        assert!(rollout.follow(outputs(2), None, now));
        assert_eq!(stands(&rollout), (2, None));
    }

    #[test]
    fn who_refuses_again_wakes_nobody() {
        let refusals = Refusals::default();
        let woken = || refusals.changed().now_or_never().is_some();
        refusals.add("a", Kind::Cluster, "no");
        assert!(woken() && !woken());
        refusals.add("a", Kind::Cluster, "still no");
        assert!(!woken());
        refusals.add("b", Kind::Cluster, "no");
        assert!(woken());
        refusals.clear();
        refusals.add("a", Kind::Cluster, "no, once more");
        assert!(woken());
    }

    #[test]
    fn who_refuses_is_counted_once_and_no_more_than_may_be() {
        let refusals = Refusals::default();
        for number in 0..2 * NODES {
            refusals.add(&format!("n{number}"), Kind::Cluster, &"é".repeat(2 * WORDS));
            refusals.add("n0", Kind::Listener, "no");
        }
        assert_eq!((refusals.count(), refusals.list()[0].message.as_str()), (NODES, "no"));
        assert_eq!(refusals.list()[1].message.chars().count(), WORDS);
        refusals.clear();
        assert_eq!(refusals.count(), 0);
    }
}
