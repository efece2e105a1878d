//! Who sees what: which scope a client has, and what a scope has of the services.
//!
//! Rules are asked in their order; the first that fits a client decides. A scope narrows: what it lacks looks to its clients like
//! what does not exist. Pure: a client and the rules decide, and a service and the scope.

mod calls;
mod client;
mod declared;
mod proxy;
mod rollout;
mod select;
#[cfg(test)]
mod tests;

pub use calls::{Called, Calls, NotKnown, Way};
pub use client::{Client, Condition};
pub use declared::{Declared, TAGS, Wrong};
pub use proxy::class;
pub use rollout::{Rollout, Share};
pub use select::{Level, Scope};

use crate::{
    catalog,
    model::{Nearness, Text},
};
use std::{collections::BTreeMap, sync::Arc};

/// The scope of clients that no rule fits, where they get everything that is not kept from them.
pub const ALL: &str = "all";

/// The scope of clients that no rule fits, where they get nothing.
pub const NONE: &str = "none";

/// The label of services and instances that names the scopes which see them, separated by commas. Without it all do.
pub const LABEL: &str = "portolan-scopes";

/// What the configuration says of scopes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rules {
    /// In the order of the configuration: the first that fits a client decides.
    pub rules: Vec<Rule>,
    /// What a client gets that no rule fits.
    pub unmatched: Unmatched,
    /// By registry: the scopes that see it. A registry that is not here is seen by all.
    pub visible_to: BTreeMap<Text, Vec<Text>>,
    /// Whether the place of a client matters for what it sees: some registry, or some scope, has what is near first.
    pub near: bool,
    /// Whether Envoys may ask for the endpoints of the cluster that they belong to.
    pub own_cluster: bool,
}

/// A scope, and the clients that have it.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Unique, and neither [`ALL`] nor [`NONE`].
    pub name: Text,
    /// One of these must fit the client; an empty list fits every client.
    pub clients: Vec<Condition>,
    /// The registries that it has; `None`: all of them.
    pub registries: Option<Vec<Text>>,
    /// Which services and instances of its registries it has.
    pub select: catalog::Select,
    /// Whether services have their aliases.
    pub aliases: bool,
    /// Which kinds of resources it has.
    pub level: Level,
    /// Whether a client has instances near it first; `None`: as their registries say.
    pub nearness: Option<Nearness>,
    /// Whether a client gets only what its node declares of all that, and how.
    pub declared: Option<Declared>,
    /// Whether a client gets only what its application needs, as far as that is known.
    pub calls: Option<Calls>,
}

/// What a client gets that no rule fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unmatched {
    /// Everything that is not kept from it.
    #[default]
    All,
    /// It gets an empty list of everything.
    None,
    /// Its streams end with `PERMISSION_DENIED`.
    Refuse,
}

impl Unmatched {
    /// Each once, in the order of their declaration.
    pub const ALL: [Unmatched; 3] = [Unmatched::All, Unmatched::None, Unmatched::Refuse];

    /// The word in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Unmatched::All => "all",
            Unmatched::None => "none",
            Unmatched::Refuse => "refuse",
        }
    }
}

/// The scope that a client has.
#[derive(Debug, Clone, PartialEq)]
pub struct Grant {
    /// `None`: there are no scopes, and it sees everything.
    pub scope: Option<Arc<Scope>>,
    /// The rule or the answer that decided, for admin and the log.
    pub why: String,
}

/// No rule fits, and such clients are refused. For our log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no rule of `scopes` fits it, and `xds.unmatched` is `refuse`")]
pub struct Unknown;

/// The rules, ready to be asked.
#[derive(Debug, Clone, Default)]
pub struct Scopes {
    rules: Rules,
    /// One for each rule, in their order.
    scopes: Vec<Arc<Scope>>,
    /// The scope of clients that no rule fits; `None` if they see everything, or are refused.
    rest: Option<Arc<Scope>>,
}

impl Scopes {
    /// Compiles the rules. A scope that is as in `before` is the same value.
    pub fn new(rules: Rules, before: &Scopes) -> Scopes {
        let known = |scope: Scope| {
            let same = before.all().find(|known| ***known == scope);
            same.cloned().unwrap_or_else(|| Arc::new(scope))
        };
        let scopes = rules.rules.iter().map(|rule| known(Scope::new(rule, &rules.visible_to))).collect();
        let all = Rule {
            name: ALL.into(),
            clients: Vec::new(),
            registries: None,
            select: catalog::Select::default(),
            aliases: true,
            level: Level::default(),
            nearness: None,
            declared: None,
            calls: None,
        };
        let rest = match rules.unmatched {
            // Where nothing is kept from anybody there is nothing to look for.
            Unmatched::All if rules.rules.is_empty() && rules.visible_to.is_empty() => None,
            Unmatched::All => Some(all),
            Unmatched::None => Some(Rule { name: NONE.into(), registries: Some(Vec::new()), ..all }),
            Unmatched::Refuse => None,
        };
        let rest = rest.map(|rule| known(Scope::new(&rule, &rules.visible_to)));
        Scopes { rules, scopes, rest }
    }

    /// The scope of a client, by the first rule that fits it.
    ///
    /// # Errors
    /// If no rule fits it, and such clients are refused.
    pub fn grant(&self, client: &Client<'_>) -> Result<Grant, Unknown> {
        for (rule, scope) in self.rules.rules.iter().zip(&self.scopes) {
            if let Some(why) = rule.fits(client) {
                return Ok(Grant { scope: Some(scope.clone()), why });
            }
        }
        match (self.rules.unmatched, &self.rest) {
            (Unmatched::Refuse, _) => Err(Unknown),
            (_, None) => Ok(Grant { scope: None, why: "there are no scopes".into() }),
            (_, rest) => Ok(Grant { scope: rest.clone(), why: "no rule fits".into() }),
        }
    }

    /// The rules that the scopes were made of.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Every scope, in the order of the rules; that of clients that no rule fits stands last.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Scope>> {
        self.scopes.iter().chain(&self.rest)
    }
}

impl Rule {
    /// Why the rule fits; `None`: it does not.
    fn fits(&self, client: &Client<'_>) -> Option<String> {
        if self.clients.is_empty() {
            return Some("its rule fits every client".into());
        }
        self.clients.iter().find(|condition| condition.fits(client)).map(ToString::to_string)
    }
}
