//! What one registry has said: each scope's last list, what was read, and what is absent since when.
//!
//! A service is claimed by the scope that lists it; the same service may stand in two (two files). Each claim is read,
//! then perhaps absent from some lists, then gone, then, after lingering, forgotten. A failure changes no claim.
//!
//! A list that repeats the pointers of the one before costs one comparison per service: only the part between the first
//! and the last difference is looked at.

use super::now::Now;
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

/// What a registry has said.
#[derive(Debug)]
pub(super) struct Heard {
    absent_lists: u32,
    linger: Duration,
    /// The registry has said which scopes it has.
    named: bool,
    pub(super) scopes: BTreeMap<Scope, ScopeHeard>,
    services: HashMap<ServiceId, Vec<Claim>>,
    /// Services that stand in the last list of some scope.
    pub(super) present: usize,
    /// The whole registry could not be read.
    pub(super) error: Option<Text>,
}

/// What one scope has said.
#[derive(Debug, Default)]
pub(super) struct ScopeHeard {
    pub(super) listed_at: Option<SystemTime>,
    pub(super) error: Option<Text>,
    failing_since: Option<Instant>,
    /// The scope is no longer named; when its services are absent once more.
    unnamed: Option<Instant>,
    /// The last list; empty when something was heard since that is not in it.
    listed: Vec<Arc<Service>>,
    /// Claimed here and not gone, yet not in `listed`: absent, or unreadable.
    unlisted: BTreeSet<ServiceId>,
    /// Claimed here and not gone.
    ids: HashSet<ServiceId>,
}

#[derive(Debug)]
struct Claim {
    scope: Scope,
    service: Arc<Service>,
    /// `false`: listed, but never could be read.
    read: bool,
    unreadable: Option<Text>,
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
}

/// What an update has done.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Outcome {
    pub(super) changes: Vec<Change>,
    /// Services of a scope that became stale or fresh again.
    pub(super) marked: Vec<ServiceId>,
    /// A scope came back after an outage.
    pub(super) after_outage: bool,
}

/// A service as it is to be published.
#[derive(Debug)]
pub(super) struct View<'a> {
    pub(super) service: &'a Arc<Service>,
    /// `false`: nothing is known but its name.
    pub(super) read: bool,
    /// Gone, and lingering.
    pub(super) gone: bool,
    pub(super) notes: Vec<Note>,
}

enum Said {
    Read(Arc<Service>),
    Unreadable(Text),
    Absent,
    Gone,
}

impl Heard {
    pub(super) fn new(absent_lists: u32, linger: Duration) -> Self {
        Heard {
            absent_lists: absent_lists.max(1),
            linger,
            named: false,
            scopes: BTreeMap::new(),
            services: HashMap::new(),
            present: 0,
            error: None,
        }
    }

    /// Takes in an update. [`Update::Cost`] says nothing about services.
    pub(super) fn apply(&mut self, update: Update, now: Now) -> Outcome {
        match update {
            Update::Scopes(scopes) => self.name_scopes(scopes, now),
            Update::Listed { scope, services, unreadable } => self.list(scope, services, unreadable, now),
            Update::Applied(scope, service) => {
                let heard = self.scopes.entry(scope.clone()).or_default();
                heard.listed = Vec::new();
                let change = self.say(&scope, &service.id.clone(), Said::Read(service), now);
                Outcome { changes: change.into_iter().collect(), ..Outcome::default() }
            }
            Update::Removed(scope, id) => {
                self.scopes.entry(scope.clone()).or_default().listed = Vec::new();
                let change = self.say(&scope, &id, Said::Gone, now);
                Outcome { changes: change.into_iter().collect(), ..Outcome::default() }
            }
            Update::Failed { scope, error } => self.fail(scope, &error, now),
            Update::Cost(_) => Outcome::default(),
        }
    }

    /// Whether every scope was listed.
    pub(super) fn is_listed(&self) -> bool {
        let mut scopes = self.scopes.values().filter(|scope| scope.unnamed.is_none());
        (self.named || !self.scopes.is_empty()) && scopes.all(|scope| scope.listed_at.is_some())
    }

    /// Whether the last reading of the scope, or of everything, succeeded.
    pub(super) fn is_fine(&self, scope: Option<&Scope>) -> bool {
        match scope {
            Some(scope) => self.scopes.get(scope).is_none_or(|heard| heard.error.is_none()),
            None => self.error.is_none(),
        }
    }

    /// What is to be published of a service.
    pub(super) fn view(&self, id: &ServiceId) -> Option<View<'_>> {
        let claims = self.services.get(id)?;
        let claim = claims.iter().min_by_key(|c| (c.gone.is_some(), c.absent > 0, !c.read))?;
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
        let scope = self.scopes.get(&claim.scope).filter(|_| claim.gone.is_none());
        if let Some(error) = scope.and_then(|scope| scope.error.as_deref()) {
            note(Reason::Stale, &claim.scope.to_string(), error);
        }
        for other in claims.iter().filter(|c| c.gone.is_none() && c.scope != claim.scope) {
            note(Reason::Duplicate, &other.scope.to_string(), &format!("that in {} is taken", claim.scope));
        }
        Some(View { service: &claim.service, read: claim.read, gone: claim.gone.is_some(), notes })
    }

    /// Forgets what of a service has lingered long enough. The next moment to look is in the answer.
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

    /// When a scope that is no longer named has its next turn.
    pub(super) fn due(&self) -> Option<Instant> {
        self.scopes.values().filter_map(|scope| scope.unnamed).min()
    }

    /// Counts the absence of what scopes held that are no longer named.
    pub(super) fn tick(&mut self, now: Now) -> Outcome {
        let due = |scope: &ScopeHeard| scope.unnamed.is_some_and(|at| at <= now.instant);
        let scopes: Vec<Scope> = self.scopes.iter().filter(|(_, s)| due(s)).map(|(scope, _)| scope.clone()).collect();
        let changes = scopes.iter().flat_map(|scope| self.miss(scope, now)).collect();
        Outcome { changes, ..Outcome::default() }
    }

    fn name_scopes(&mut self, names: Vec<Scope>, now: Now) -> Outcome {
        let names: BTreeSet<Scope> = names.into_iter().collect();
        (self.named, self.error) = (true, None);
        let unnamed: Vec<Scope> = self.scopes.keys().filter(|scope| !names.contains(*scope)).cloned().collect();
        for name in names {
            self.scopes.entry(name).or_default().unnamed = None;
        }
        let changes = unnamed.iter().flat_map(|scope| self.miss(scope, now)).collect();
        Outcome { changes, ..Outcome::default() }
    }

    /// A scope that is not named: its services are absent once more; with the last of them it is forgotten.
    fn miss(&mut self, scope: &Scope, now: Now) -> Vec<Change> {
        let Some(heard) = self.scopes.get_mut(scope) else { return Vec::new() };
        heard.unnamed = Some(now.instant + SCOPE_ROUND);
        heard.listed = Vec::new();
        let mut ids: Vec<ServiceId> = heard.ids.iter().cloned().collect();
        ids.sort();
        let changes = ids.iter().filter_map(|id| self.say(scope, id, Said::Absent, now)).collect();
        if self.scopes.get(scope).is_some_and(|heard| heard.ids.is_empty()) {
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
    ) -> Outcome {
        let heard = self.scopes.entry(scope.clone()).or_default();
        let recovered = heard.error.take().is_some();
        let after_outage = heard.failing_since.take().is_some_and(|since| now.instant - since >= OUTAGE);
        heard.listed_at = Some(now.wall);
        heard.unnamed = None;
        self.error = None;
        let old = std::mem::take(&mut heard.listed);
        let (start, old_end, new_end) = differing(&old, &services);
        let mut missing = std::mem::take(&mut heard.unlisted);
        if old.is_empty() {
            missing.extend(heard.ids.iter().cloned());
        }
        missing.extend(old[start..old_end].iter().map(|service| service.id.clone()));
        drop(old);
        let mut changes = Vec::new();
        for service in &mut services[start..new_end] {
            missing.remove(&service.id);
            let id = service.id.clone();
            changes.extend(self.say(&scope, &id, Said::Read(service.clone()), now));
            // An equal service is kept once, under its first pointer.
            if let Some(known) = self.claim(&scope, &id) {
                *service = known.service.clone();
            }
        }
        let mut unlisted = BTreeSet::new();
        for (id, error) in unreadable {
            missing.remove(&id);
            changes.extend(self.say(&scope, &id, Said::Unreadable(error), now));
            unlisted.insert(id);
        }
        for id in missing {
            changes.extend(self.say(&scope, &id, Said::Absent, now));
            if self.claim(&scope, &id).is_some_and(|claim| claim.gone.is_none()) {
                unlisted.insert(id);
            }
        }
        let heard = self.scopes.entry(scope).or_default();
        heard.listed = services;
        heard.unlisted = unlisted;
        let marked = if recovered { heard.ids.iter().cloned().collect() } else { Vec::new() };
        Outcome { changes, marked, after_outage }
    }

    fn fail(&mut self, scope: Option<Scope>, error: &Text, now: Now) -> Outcome {
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
            let heard = self.scopes.entry(scope).or_default();
            heard.failing_since.get_or_insert(now.instant);
            if heard.error.as_ref() != Some(error) {
                heard.error = Some(error.clone());
                marked.extend(heard.ids.iter().cloned());
            }
        }
        Outcome { marked, ..Outcome::default() }
    }

    fn claim(&self, scope: &Scope, id: &ServiceId) -> Option<&Claim> {
        self.services.get(id)?.iter().find(|claim| claim.scope == *scope)
    }

    /// What a scope says of a service; `None` if that is not new.
    fn say(&mut self, scope: &Scope, id: &ServiceId, said: Said, now: Now) -> Option<Change> {
        let absent_lists = self.absent_lists;
        if !self.services.contains_key(id) {
            if matches!(said, Said::Absent | Said::Gone) {
                return None;
            }
            self.services.insert(id.clone(), Vec::new());
        }
        let claims = self.services.get_mut(id)?;
        let before = present(claims);
        let at = match claims.binary_search_by(|claim| claim.scope.cmp(scope)) {
            Ok(at) => at,
            Err(_) if matches!(said, Said::Absent | Said::Gone) => return None,
            Err(at) => {
                claims.insert(at, Claim::new(scope.clone(), id));
                at
            }
        };
        let changed = claims[at].hear(said, absent_lists, now.instant);
        let gone = claims[at].gone.is_some();
        let after = present(claims);
        self.present = self.present + usize::from(after.is_some()) - usize::from(before.is_some());
        if !changed {
            return None;
        }
        let heard = self.scopes.entry(scope.clone()).or_default();
        if gone {
            heard.ids.remove(id);
        } else {
            heard.ids.insert(id.clone());
        }
        Some(Change { id: id.clone(), before, after })
    }
}

impl Claim {
    fn new(scope: Scope, id: &ServiceId) -> Self {
        let service = Arc::new(Service::new(id.clone(), Vec::new()));
        Claim { scope, service, read: false, unreadable: None, absent: 0, gone: None }
    }

    /// Whether that changes anything.
    fn hear(&mut self, said: Said, absent_lists: u32, now: Instant) -> bool {
        match said {
            Said::Read(service) => {
                let same = self.read && self.unreadable.is_none() && self.absent == 0 && self.service == service;
                if !same {
                    *self = Claim {
                        scope: self.scope.clone(),
                        service,
                        read: true,
                        unreadable: None,
                        absent: 0,
                        gone: None,
                    };
                }
                !same
            }
            Said::Unreadable(error) => {
                let same = self.unreadable.as_ref() == Some(&error) && self.absent == 0;
                (self.unreadable, self.absent, self.gone) = (Some(error), 0, None);
                !same
            }
            Said::Absent if self.gone.is_none() => {
                self.absent += 1;
                if self.absent >= absent_lists {
                    self.gone = Some(now);
                }
                self.absent == 1 || self.gone.is_some()
            }
            Said::Gone if self.gone.is_none() => {
                (self.absent, self.gone) = (absent_lists, Some(now));
                true
            }
            Said::Absent | Said::Gone => false,
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
