//! What one registry has reported: each scope's last list, what was read, and what is absent since when.
//!
//! A service is claimed by the scope that lists it; the same service may stand in two (two files). Each claim is read,
//! then perhaps absent from some lists, then gone, then, after lingering, forgotten. A failure changes no claim.
//!
//! A registry whose connection changes is read anew. Until that reading has named its scopes and listed each, everything
//! that the former one reported stays; what the new one lacks counts as absent from a list only then, all at once: a service
//! may have moved to a scope that is listed last.
//!
//! A list that repeats the pointers of the one before costs one comparison per service: only the part between the first
//! and the last difference is looked at.

use super::{
    memory::{ScopeMemory, ServiceMemory},
    now::Now,
};
use crate::model::{Note, Reason, Scope, Service, ServiceId, Text, Update};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

/// A scope that the registry no longer names is not listed any more, so time stands in for its lists: so much of it
/// counts as one list without its services. (About a usual polling interval.)
const SCOPE_ROUND: Duration = Duration::from_secs(10);

/// A scope that comes back after so long a failure comes from an outage, not from a lost packet or a half-written file.
const OUTAGE: Duration = Duration::from_secs(5);

/// The error of a scope that only the former reading has listed.
const READ_ANEW: &str = "the registry's connection has changed, and it was not listed since";

/// The error of a scope that only an earlier process has listed.
const KEPT: &str = "known from before the restart, and not listed since";

/// What a registry has reported.
#[derive(Debug, Clone)]
pub(super) struct Ledger {
    absent_lists: u32,
    linger: Duration,
    /// What could not be read for longer is too old.
    stale_after: Option<Duration>,
    /// The registry has named its scopes, in this reading.
    named: bool,
    /// This reading follows another and is not complete yet: nothing counts as absent.
    rereading: bool,
    pub(super) scopes: BTreeMap<Scope, ScopeState>,
    services: HashMap<ServiceId, Vec<Claim>>,
    /// Services that stand in the last list of some scope.
    pub(super) present: usize,
    /// The whole registry could not be read.
    pub(super) error: Option<Text>,
}

/// One scope: its last list, its services, and since when it fails.
#[derive(Debug, Clone, Default)]
pub(super) struct ScopeState {
    pub(super) listed_at: Option<SystemTime>,
    pub(super) error: Option<Text>,
    failing_since: Option<Instant>,
    /// Since when nothing new is known of it, while it fails.
    stale_since: Option<Instant>,
    /// `stale_since` is longer ago than `stale_after`.
    too_old: bool,
    /// The present reading has listed it; what former ones listed does not count.
    listed_now: bool,
    /// Only the former reading has named it, so far.
    former: bool,
    /// The scope is no longer named: when its services count as absent the next time.
    unnamed: Option<Instant>,
    /// The last list; empty when something was reported since that is not in it.
    listed: Vec<Arc<Service>>,
    /// Claimed here and not gone, yet not in `listed`: absent, or unreadable.
    unlisted: BTreeSet<ServiceId>,
    /// While the registry is read anew: what the new list lacks, and what counts as absent in the end.
    lacking: BTreeSet<ServiceId>,
    /// All services that are claimed here and not gone.
    ids: HashSet<ServiceId>,
}

#[derive(Debug, Clone)]
struct Claim {
    scope: Scope,
    service: Arc<Service>,
    /// `false`: listed, but never could be read.
    read: bool,
    unreadable: Option<Text>,
    /// Lists in a row that lacked it.
    absent: u32,
    gone: Option<Instant>,
}

/// A service that is not as it was.
#[derive(Debug, PartialEq)]
pub(super) struct Change {
    pub(super) id: ServiceId,
    /// As it stood in the lists before, if it did.
    pub(super) before: Option<Arc<Service>>,
    /// As it stands in the lists now, if it does.
    pub(super) after: Option<Arc<Service>>,
    /// Nothing claims it any more: it is not only absent from one list.
    pub(super) gone: bool,
}

/// What an update has done.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Effect {
    pub(super) changes: Vec<Change>,
    /// Services of a scope that became stale or fresh again.
    pub(super) marked: Vec<ServiceId>,
    /// Services that have become too old, or are so no longer.
    pub(super) aged: Vec<ServiceId>,
    /// A scope came back after an outage.
    pub(super) after_outage: bool,
}

/// A service as it is to be published.
#[derive(Debug)]
pub(super) struct View<'a> {
    pub(super) service: &'a Arc<Service>,
    /// `false`: nothing is known but its name.
    pub(super) read: bool,
    /// Absent from the last list, and not gone yet.
    pub(super) absent: bool,
    /// Gone from the registry; published without endpoints until `linger` is over.
    pub(super) gone: bool,
    /// It could not be read for so long that it is too old.
    pub(super) too_old: bool,
    claim: &'a Claim,
    /// The claims of all scopes to the service.
    claims: &'a [Claim],
    scope: Option<&'a ScopeState>,
}

/// What one report says of one service.
enum Report {
    Read(Arc<Service>),
    Unreadable(Text),
    Absent,
    Gone,
}

impl Ledger {
    pub(super) fn new(absent_lists: u32, linger: Duration) -> Self {
        Ledger {
            absent_lists: absent_lists.max(1),
            linger,
            stale_after: None,
            named: false,
            rereading: false,
            scopes: BTreeMap::new(),
            services: HashMap::new(),
            present: 0,
            error: None,
        }
    }

    /// Sets after how long a scope that cannot be read is too old; `None`: never.
    pub(super) fn aging(self, stale_after: Option<Duration>) -> Self {
        Ledger { stale_after, ..self }
    }

    /// Goes on with another policy: claims keep what was counted so far.
    pub(super) fn set_policy(&mut self, absent_lists: u32, linger: Duration, stale_after: Option<Duration>) {
        (self.absent_lists, self.linger, self.stale_after) = (absent_lists.max(1), linger, stale_after);
        // Whoever sets it evaluates all services anew; what is too old by it is found at the next tick.
        self.scopes.values_mut().for_each(|scope| scope.too_old = false);
    }

    /// The registry is read anew. Returns the services that are stale until that reading has listed them.
    pub(super) fn begin_reading(&mut self, now: Instant) -> Vec<ServiceId> {
        (self.named, self.error) = (false, None);
        self.rereading = !self.services.is_empty();
        let mut stale = Vec::new();
        self.scopes.retain(|_, scope| !scope.ids.is_empty());
        for scope in self.scopes.values_mut() {
            (scope.listed_now, scope.former, scope.failing_since) = (false, scope.unnamed.is_none(), None);
            if scope.former {
                scope.stale_since.get_or_insert(now);
            }
            scope.error = scope.former.then(|| READ_ANEW.into());
            scope.listed = Vec::new();
            scope.lacking.clear();
            stale.extend(scope.ids.iter().cloned());
        }
        stale
    }

    /// What is known, to be kept over a restart.
    pub(super) fn remember(&self, now: Now) -> (Vec<ScopeMemory>, Vec<ServiceMemory>) {
        // What lingers may have been in a scope that is forgotten.
        let scopes: BTreeSet<&Scope> =
            self.scopes.keys().chain(self.services.values().flatten().map(|claim| &claim.scope)).collect();
        let places: BTreeMap<&Scope, usize> = scopes.iter().copied().zip(0..).collect();
        let scope = |scope: &Scope| ScopeMemory {
            scope: scope.clone(),
            listed_at: self.scopes.get(scope).and_then(|state| state.listed_at),
        };
        let service = |claim: &Claim| {
            let scope = *places.get(&claim.scope)?;
            let (service, unreadable) = (claim.service.clone(), claim.unreadable.clone());
            let gone = claim.gone.map(|gone| now.wall_at(gone));
            Some(ServiceMemory { scope, service, read: claim.read, unreadable, absent: claim.absent, gone })
        };
        let services = self.services.values().flatten().filter_map(service).collect();
        (scopes.into_iter().map(scope).collect(), services)
    }

    /// Takes what was kept over a restart for what an earlier reading has reported, after an outage. Returns its
    /// services.
    pub(super) fn recall(
        &mut self,
        scopes: &[ScopeMemory],
        services: &[ServiceMemory],
        now: Now,
    ) -> BTreeSet<ServiceId> {
        self.services.reserve(services.len());
        let mut here: Vec<HashSet<ServiceId>> = vec![HashSet::new(); scopes.len()];
        let mut all = Vec::with_capacity(services.len());
        for ServiceMemory { scope: place, service, read, unreadable, absent, gone } in services {
            let Some(scope) = scopes.get(*place).map(|memory| &memory.scope) else { continue };
            let claims = self.services.entry(service.id.clone()).or_default();
            let Err(at) = claims.binary_search_by(|claim| claim.scope.cmp(scope)) else { continue };
            let (service, unreadable) = (service.clone(), unreadable.clone());
            let gone = gone.map(|gone| now.ago(gone).instant);
            if gone.is_none() {
                here[*place].insert(service.id.clone());
            }
            all.push(service.id.clone());
            claims.reserve_exact(1);
            claims.insert(at, Claim { scope: scope.clone(), service, read: *read, unreadable, absent: *absent, gone });
        }
        for (memory, ids) in scopes.iter().zip(here).filter(|(_, ids)| !ids.is_empty()) {
            self.scopes.entry(memory.scope.clone()).or_default().ids.extend(ids);
        }
        for ScopeMemory { scope, listed_at } in scopes {
            // One that was listed and had nothing left comes back from an outage, too.
            let known = listed_at.is_some() || self.scopes.contains_key(scope);
            let Some(state) = known.then(|| self.scopes.entry(scope.clone()).or_default()) else { continue };
            (state.listed_at, state.former, state.error) = (*listed_at, true, Some(KEPT.into()));
            state.failing_since = now.instant.checked_sub(OUTAGE);
            state.stale_since = Some(listed_at.map_or(now.instant, |listed| now.ago(listed).instant));
        }
        self.present = self.services.values().filter(|claims| present(claims).is_some()).count();
        self.rereading = !self.scopes.is_empty();
        // In the order in which they were kept, which is theirs: the fewest steps to a set.
        all.into_iter().collect()
    }

    /// Whether anything is known of a service.
    pub(super) fn knows(&self, id: &ServiceId) -> bool {
        self.services.contains_key(id)
    }

    /// The service as it was last listed; `None` if the last list lacks it, or it never could be read.
    pub(super) fn present(&self, id: &ServiceId) -> Option<Arc<Service>> {
        present(self.services.get(id)?)
    }

    /// Takes in an update. [`Update::Cost`] reports nothing on services.
    pub(super) fn apply(&mut self, update: Update, now: Now) -> Effect {
        let mut effect = match update {
            Update::Scopes(scopes) => self.name_scopes(scopes, now),
            Update::Listed { scope, services, unreadable } => self.list(scope, services, unreadable, now),
            Update::Applied(scope, service) => {
                let id = service.id.clone();
                self.report_one(&scope, &id, Report::Read(service), now)
            }
            Update::Removed(scope, id) => self.report_one(&scope, &id, Report::Gone, now),
            Update::Failed { scope, error } => self.fail(scope, &error, now),
            Update::Cost(_) => Effect::default(),
        };
        if self.rereading && self.is_listed() {
            effect.changes.extend(self.end_rereading(now));
        }
        effect
    }

    /// Whether every scope of this reading was listed.
    pub(super) fn is_listed(&self) -> bool {
        let mut scopes = self.scopes.values().filter(|scope| scope.is_named()).peekable();
        (self.named || scopes.peek().is_some()) && scopes.all(|scope| scope.listed_now)
    }

    /// Whether this reading follows another and is not complete yet.
    pub(super) fn is_rereading(&self) -> bool {
        self.rereading
    }

    /// Whether anything was ever listed.
    pub(super) fn was_listed(&self) -> bool {
        self.scopes.values().any(|scope| scope.listed_at.is_some())
    }

    /// Whether the last reading of the scope, or of everything, succeeded.
    pub(super) fn is_fine(&self, scope: Option<&Scope>) -> bool {
        match scope {
            Some(scope) => self.scopes.get(scope).is_none_or(|state| state.error.is_none()),
            None => self.error.is_none(),
        }
    }

    /// All services of which anything is known.
    pub(super) fn ids(&self) -> BTreeSet<ServiceId> {
        self.services.keys().cloned().collect()
    }

    /// The service by its best claim: listed before absent, and absent before gone. `None` if it is not known.
    pub(super) fn view(&self, id: &ServiceId) -> Option<View<'_>> {
        let claims = self.services.get(id)?;
        let claim = claims.iter().min_by_key(|c| (c.gone.is_some(), c.absent > 0, !c.read))?;
        let (absent, gone) = (claim.absent > 0 && claim.gone.is_none(), claim.gone.is_some());
        let scope = self.scopes.get(&claim.scope).filter(|_| !gone);
        let too_old = scope.is_some_and(|scope| scope.too_old);
        Some(View { service: &claim.service, read: claim.read, absent, gone, too_old, claim, claims, scope })
    }

    /// Forgets claims of a service that have lingered long enough. Returns the next moment to look again.
    pub(super) fn expire(&mut self, id: &ServiceId, now: Instant) -> Option<Instant> {
        let claims = self.services.get_mut(id)?;
        let linger = self.linger;
        claims.retain(|claim| claim.gone.is_none_or(|gone| gone + linger > now));
        let next = claims.iter().filter_map(|claim| claim.gone).min().map(|gone| gone + linger);
        if claims.is_empty() {
            self.services.remove(id);
        }
        next
    }

    /// When a scope that is no longer named has its next turn, or one that fails is too old.
    pub(super) fn due(&self) -> Option<Instant> {
        let old = |scope: &ScopeState| Some(scope.stale_since.filter(|_| !scope.too_old)? + self.stale_after?);
        self.scopes.values().flat_map(|scope| [scope.unnamed, old(scope)]).flatten().min()
    }

    /// Counts the absence of what scopes held that are no longer named, and finds what has become too old.
    pub(super) fn tick(&mut self, now: Now) -> Effect {
        let due = |scope: &ScopeState| scope.unnamed.is_some_and(|at| at <= now.instant);
        let scopes: Vec<Scope> = self.scopes.iter().filter(|(_, s)| due(s)).map(|(scope, _)| scope.clone()).collect();
        let changes = scopes.iter().flat_map(|scope| self.miss(scope, now)).collect();
        let mut aged = Vec::new();
        for scope in self.scopes.values_mut().filter(|scope| !scope.too_old) {
            let until = scope.stale_since.zip(self.stale_after).map(|(since, time)| since + time);
            if until.is_some_and(|until| until <= now.instant) {
                scope.too_old = true;
                aged.extend(scope.ids.iter().cloned());
            }
        }
        Effect { changes, aged, ..Effect::default() }
    }

    fn name_scopes(&mut self, names: Vec<Scope>, now: Now) -> Effect {
        let names: BTreeSet<Scope> = names.into_iter().collect();
        (self.named, self.error) = (true, None);
        let unnamed: Vec<Scope> = self.scopes.keys().filter(|scope| !names.contains(*scope)).cloned().collect();
        for name in names {
            let state = self.scopes.entry(name).or_default();
            (state.unnamed, state.former) = (None, false);
        }
        let mut changes = Vec::new();
        for scope in &unnamed {
            match self.scopes.get_mut(scope) {
                Some(state) if self.rereading && state.unnamed.is_none() => state.former = true,
                _ => changes.extend(self.miss(scope, now)),
            }
        }
        Effect { changes, ..Effect::default() }
    }

    /// A scope that is not named: its services are absent once more; with the last of them it is forgotten.
    fn miss(&mut self, scope: &Scope, now: Now) -> Vec<Change> {
        let Some(state) = self.scopes.get_mut(scope) else { return Vec::new() };
        (state.unnamed, state.former) = (Some(now.instant + SCOPE_ROUND), false);
        state.listed = Vec::new();
        let mut ids: Vec<ServiceId> = state.ids.iter().cloned().collect();
        ids.sort();
        let changes = ids.iter().filter_map(|id| self.report(scope, id, Report::Absent, now)).collect();
        if self.scopes.get(scope).is_some_and(|state| state.ids.is_empty()) {
            self.scopes.remove(scope);
        }
        changes
    }

    fn list(
        &mut self,
        scope: Scope,
        mut services: Vec<Arc<Service>>,
        unreadable: Vec<(ServiceId, Text)>,
        now: Now,
    ) -> Effect {
        let state = self.scopes.entry(scope.clone()).or_default();
        let recovered = state.error.take().is_some();
        let after_outage = state.failing_since.take().is_some_and(|since| now.instant - since >= OUTAGE);
        state.stale_since = None;
        let was_too_old = std::mem::take(&mut state.too_old);
        state.listed_at = Some(now.wall);
        (state.listed_now, state.former, state.unnamed) = (true, false, None);
        self.error = None;
        let old = std::mem::take(&mut state.listed);
        let (start, old_end, new_end) = differing(&old, &services);
        let mut missing = std::mem::take(&mut state.unlisted);
        missing.append(&mut state.lacking);
        if old.is_empty() {
            missing.extend(state.ids.iter().cloned());
        }
        missing.extend(old[start..old_end].iter().map(|service| service.id.clone()));
        drop(old);
        let mut changes = Vec::new();
        for service in &mut services[start..new_end] {
            missing.remove(&service.id);
            let id = service.id.clone();
            changes.extend(self.report(&scope, &id, Report::Read(service.clone()), now));
            // An equal service is kept once, under its first pointer.
            if let Some(known) = self.claim(&scope, &id) {
                *service = known.service.clone();
            }
        }
        let mut unlisted = BTreeSet::new();
        for (id, error) in unreadable {
            missing.remove(&id);
            changes.extend(self.report(&scope, &id, Report::Unreadable(error), now));
            unlisted.insert(id);
        }
        let lacking = if self.rereading { std::mem::take(&mut missing) } else { BTreeSet::new() };
        changes.extend(self.absent(&scope, missing, &mut unlisted, now));
        let state = self.scopes.entry(scope).or_default();
        (state.listed, state.unlisted, state.lacking) = (services, unlisted, lacking);
        let all = |concerned: bool| if concerned { state.ids.iter().cloned().collect() } else { Vec::new() };
        Effect { changes, marked: all(recovered), aged: all(was_too_old), after_outage }
    }

    /// Services that a list lacks; those that are not gone by that are added to `unlisted`.
    fn absent(
        &mut self,
        scope: &Scope,
        ids: BTreeSet<ServiceId>,
        unlisted: &mut BTreeSet<ServiceId>,
        now: Now,
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        for id in ids {
            changes.extend(self.report(scope, &id, Report::Absent, now));
            if self.claim(scope, &id).is_some_and(|claim| claim.gone.is_none()) {
                unlisted.insert(id);
            }
        }
        changes
    }

    /// The new reading is complete: what it lacks is absent from a list.
    fn end_rereading(&mut self, now: Now) -> Vec<Change> {
        self.rereading = false;
        let mut changes = Vec::new();
        for scope in self.scopes.keys().cloned().collect::<Vec<_>>() {
            let Some(state) = self.scopes.get_mut(&scope) else { continue };
            if state.former {
                state.error = None;
                changes.extend(self.miss(&scope, now));
                continue;
            }
            let (lacking, mut unlisted) = (std::mem::take(&mut state.lacking), std::mem::take(&mut state.unlisted));
            changes.extend(self.absent(&scope, lacking, &mut unlisted, now));
            self.scopes.entry(scope).or_default().unlisted = unlisted;
        }
        changes
    }

    fn fail(&mut self, scope: Option<Scope>, error: &Text, now: Now) -> Effect {
        let failing: Vec<Scope> = match scope {
            Some(scope) => {
                self.scopes.entry(scope.clone()).or_default();
                vec![scope]
            }
            None => {
                self.error = Some(error.clone());
                self.scopes.keys().cloned().collect()
            }
        };
        let mut marked = Vec::new();
        for scope in failing {
            let state = self.scopes.entry(scope).or_default();
            state.failing_since.get_or_insert(now.instant);
            state.stale_since.get_or_insert(now.instant);
            if state.error.as_ref() != Some(error) {
                state.error = Some(error.clone());
                marked.extend(state.ids.iter().cloned());
            }
        }
        Effect { marked, ..Effect::default() }
    }

    fn claim(&self, scope: &Scope, id: &ServiceId) -> Option<&Claim> {
        self.services.get(id)?.iter().find(|claim| claim.scope == *scope)
    }

    /// A report between lists: the last list is no longer what the scope has.
    fn report_one(&mut self, scope: &Scope, id: &ServiceId, report: Report, now: Now) -> Effect {
        let state = self.scopes.entry(scope.clone()).or_default();
        state.listed = Vec::new();
        state.lacking.remove(id);
        Effect { changes: self.report(scope, id, report, now).into_iter().collect(), ..Effect::default() }
    }

    /// What a scope reports of a service; `None` if that is not new.
    fn report(&mut self, scope: &Scope, id: &ServiceId, report: Report, now: Now) -> Option<Change> {
        let absent_lists = self.absent_lists;
        if !self.services.contains_key(id) {
            if matches!(report, Report::Absent | Report::Gone) {
                return None;
            }
            self.services.insert(id.clone(), Vec::new());
        }
        let claims = self.services.get_mut(id)?;
        let before = present(claims);
        let at = match claims.binary_search_by(|claim| claim.scope.cmp(scope)) {
            Ok(at) => at,
            Err(_) if matches!(report, Report::Absent | Report::Gone) => return None,
            Err(at) => {
                claims.reserve_exact(1);
                claims.insert(at, Claim::new(scope.clone(), id));
                at
            }
        };
        let changed = claims[at].apply(report, absent_lists, now.instant);
        let claim_gone = claims[at].gone.is_some();
        let (after, gone) = (present(claims), claims.iter().all(|claim| claim.gone.is_some()));
        self.present = self.present + usize::from(after.is_some()) - usize::from(before.is_some());
        if !changed {
            return None;
        }
        let state = self.scopes.entry(scope.clone()).or_default();
        if claim_gone {
            state.ids.remove(id);
        } else {
            state.ids.insert(id.clone());
        }
        Some(Change { id: id.clone(), before, after, gone })
    }
}

impl View<'_> {
    /// The registry's own notes, and why the service is absent, gone, stale, too old, or in two scopes.
    pub(super) fn notes(&self) -> Vec<Note> {
        let View { claim, claims, scope, .. } = self;
        let mut notes: Vec<Note> = claim.service.notes.clone();
        let mut note = |reason, subject: &str, detail: &str| notes.push(Note::new(reason, subject, detail));
        if let Some(error) = &claim.unreadable {
            note(Reason::EntryInvalid, "", error);
        }
        match claim.gone {
            Some(_) => note(Reason::Lingering, "", "gone from its registry"),
            None if claim.absent > 0 => note(Reason::AbsentOnce, "", "absent from the last list"),
            None => {}
        }
        if let Some(error) = scope.and_then(|scope| scope.error.as_deref()) {
            note(Reason::Stale, &claim.scope.to_string(), error);
        }
        if self.too_old {
            note(Reason::TooOld, &claim.scope.to_string(), "it could not be read for longer than `stale_after`");
        }
        for other in claims.iter().filter(|c| c.gone.is_none() && c.scope != claim.scope) {
            note(Reason::Duplicate, &other.scope.to_string(), &format!("that in {} is taken", claim.scope));
        }
        notes
    }
}

impl ScopeState {
    /// Whether the present reading has named it.
    fn is_named(&self) -> bool {
        self.unnamed.is_none() && !self.former
    }
}

impl Claim {
    fn new(scope: Scope, id: &ServiceId) -> Self {
        let service = Arc::new(Service::new(id.clone(), Vec::new()));
        Claim { scope, service, read: false, unreadable: None, absent: 0, gone: None }
    }

    /// Takes a report in. `false` if it changes nothing of the claim.
    fn apply(&mut self, report: Report, absent_lists: u32, now: Instant) -> bool {
        match report {
            Report::Read(service) => {
                let same = self.read && self.unreadable.is_none() && self.absent == 0 && self.service == service;
                if !same {
                    let scope = self.scope.clone();
                    *self = Claim { scope, service, read: true, unreadable: None, absent: 0, gone: None };
                }
                !same
            }
            Report::Unreadable(error) => {
                let same = self.unreadable.as_ref() == Some(&error) && self.absent == 0;
                (self.unreadable, self.absent, self.gone) = (Some(error), 0, None);
                !same
            }
            Report::Absent if self.gone.is_none() => {
                self.absent += 1;
                if self.absent >= absent_lists {
                    self.gone = Some(now);
                }
                self.absent == 1 || self.gone.is_some()
            }
            Report::Gone if self.gone.is_none() => {
                (self.absent, self.gone) = (absent_lists, Some(now));
                true
            }
            Report::Absent | Report::Gone => false,
        }
    }
}

fn present(claims: &[Claim]) -> Option<Arc<Service>> {
    claims.iter().find(|claim| claim.absent == 0 && claim.read).map(|claim| claim.service.clone())
}

/// Where two lists begin to differ, and where in each they end to: the same pointers stand before and behind.
fn differing(old: &[Arc<Service>], new: &[Arc<Service>]) -> (usize, usize, usize) {
    let same = |(a, b): &(&Arc<Service>, &Arc<Service>)| Arc::ptr_eq(a, b);
    let start = old.iter().zip(new).take_while(same).count();
    let tail = old[start..].iter().rev().zip(new[start..].iter().rev()).take_while(same).count();
    (start, old.len() - tail, new.len() - tail)
}
