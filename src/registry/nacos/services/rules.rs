//! What administrators set for Dubbo's providers: the texts of the configuration's group `dubbo`, by namespace, as they were
//! last read (by `manifests`, beside the services).
//!
//! What was read once stays in force while it cannot be read. Before that nothing is known of a namespace: a provider that is
//! disabled would seem to serve.

use crate::{
    model::{Manifest, ManifestUpdate, Scope, Text},
    registry::{dubbo::overrides::Overrides, nacos::error::Error},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};

/// How long services wait at the start for the first reading of the rules.
const FIRST: Duration = Duration::from_secs(10);

/// Rules by their names as Dubbo has them.
pub(super) type Texts = BTreeMap<Text, Arc<Manifest>>;

/// The rules of one namespace.
#[derive(Debug, Clone, Default)]
pub(super) struct Ruleset {
    /// The texts; `None` if they were never read.
    texts: Option<Arc<Texts>>,
    /// Why they cannot be read now; `None` if they can.
    pub(super) trouble: Option<Text>,
}

#[derive(Debug)]
pub(super) struct Rules {
    updates: mpsc::Receiver<ManifestUpdate>,
    known: BTreeMap<Text, Ruleset>,
    /// Why nothing could be read of any namespace; `None` if something could.
    trouble: Option<Text>,
}

impl Rules {
    pub(super) fn new(updates: mpsc::Receiver<ManifestUpdate>) -> Self {
        Rules { updates, known: BTreeMap::new(), trouble: None }
    }

    /// Takes in all updates that have come. At the start it waits, for [`FIRST`] at most, until there is one of each
    /// namespace.
    pub(super) async fn heard(&mut self, namespaces: &BTreeSet<Text>) {
        let end = Instant::now() + FIRST;
        loop {
            while let Ok(update) = self.updates.try_recv() {
                self.take(update);
            }
            if self.trouble.is_some() || namespaces.iter().all(|namespace| self.known.contains_key(namespace)) {
                return;
            }
            let Ok(Some(update)) = timeout_at(end, self.updates.recv()).await else { return };
            self.take(update);
        }
    }

    /// Waits for the next update with something new, and takes it in. Never returns once the reading of rules has
    /// ended.
    pub(super) async fn changed(&mut self) {
        loop {
            let Some(update) = self.updates.recv().await else { return std::future::pending().await };
            if self.take(update) {
                return;
            }
        }
    }

    /// The rules of a namespace, and why they cannot be read now.
    ///
    /// # Errors
    /// If its rules were never read.
    pub(super) fn of(&self, namespace: &Text) -> Result<(Arc<Texts>, Option<Text>), Error> {
        let known = self.known.get(namespace).cloned().unwrap_or_default();
        let trouble = known.trouble.or_else(|| self.trouble.clone());
        known
            .texts
            .map(|texts| (texts, trouble.clone()))
            .ok_or_else(|| Error::NoRules { why: trouble.unwrap_or_else(|| "there was no answer yet".into()) })
    }

    /// Takes in an update. `true` if it has something new.
    fn take(&mut self, update: ManifestUpdate) -> bool {
        match update {
            ManifestUpdate::Scopes(scopes) => {
                let meant: BTreeSet<Text> = scopes.into_iter().map(|Scope(namespace)| namespace).collect();
                self.known.retain(|namespace, _| meant.contains(namespace));
                true
            }
            ManifestUpdate::Listed(Scope(namespace), texts) => {
                let whole_trouble = self.trouble.take();
                let texts = texts.into_iter().map(|text| (name(&text.id.name), text));
                let texts: Texts = texts.filter(|(name, text)| Overrides::is_one(name) && !is_blank(text)).collect();
                let known = self.known.entry(namespace).or_default();
                let trouble = known.trouble.take().or(whole_trouble);
                if known.texts.as_ref().is_some_and(|known| are_same(known, &texts)) {
                    return trouble.is_some();
                }
                known.texts = Some(Arc::new(texts));
                true
            }
            ManifestUpdate::Failed(Some(Scope(namespace)), why) => {
                let known = self.known.entry(namespace).or_default();
                known.trouble.replace(why).is_none()
            }
            ManifestUpdate::Failed(None, why) => self.trouble.replace(why).is_none(),
        }
    }
}

/// True if all texts are the same `Arc`s, as texts are that have not changed.
fn are_same(a: &Texts, b: &Texts) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|((a, x), (b, y))| a == b && Arc::ptr_eq(x, y))
}

/// The name of a rule as Dubbo has it: Nacos takes no `$` in the name of a nested class, and has `___` for it.
fn name(data_id: &str) -> Text {
    data_id.replace("___", "$").into()
}

/// True for a blank text, which Dubbo takes for none.
fn is_blank(text: &Manifest) -> bool {
    text.text.as_ref().is_ok_and(|text| text.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ManifestId;

    fn text(data_id: &str, text: &str) -> Arc<Manifest> {
        let id = ManifestId {
            registry: "r".into(),
            namespace: "public".into(),
            group: "dubbo".into(),
            name: data_id.into(),
        };
        Arc::new(Manifest { id, text: Ok(text.into()) })
    }

    fn names(rules: &Rules) -> Result<Vec<String>, String> {
        let (texts, trouble) = rules.of(&"public".into()).map_err(|error| error.to_string())?;
        let names = texts.keys().map(ToString::to_string);
        Ok(names.chain(trouble.map(|why| format!("({why})"))).collect())
    }

    #[tokio::test]
    async fn what_was_read_once_stays_and_unread_is_not_none() {
        let (out, updates) = mpsc::channel(8);
        let mut rules = Rules::new(updates);
        let scope = || Scope("public".into());
        let steps = [
            (ManifestUpdate::Failed(None, "no answer".into()), Err("no answer")),
            (ManifestUpdate::Failed(Some(scope()), "403".into()), Err("403")),
            (ManifestUpdate::Listed(scope(), Vec::new()), Ok(vec![])),
            (
                ManifestUpdate::Listed(
                    scope(),
                    vec![
                        text("a.A___B::.configurators", "x"),
                        text("shop.tag-router", " \n"),
                        text("a.A:1.0:g:provider:shop", "{}"),
                    ],
                ),
                Ok(vec!["a.A$B::.configurators"]),
            ),
            (ManifestUpdate::Failed(Some(scope()), "403".into()), Ok(vec!["a.A$B::.configurators", "(403)"])),
            (ManifestUpdate::Failed(None, "lost".into()), Ok(vec!["a.A$B::.configurators", "(403)"])),
            (ManifestUpdate::Listed(scope(), Vec::new()), Ok(vec![])),
            (ManifestUpdate::Scopes(Vec::new()), Err("no answer yet")),
        ];
        for (update, expected) in steps {
            let shown = format!("{update:?}");
            out.send(update).await.unwrap();
            rules.heard(&BTreeSet::new()).await;
            match (names(&rules), expected) {
                (Ok(names), Ok(expected)) => assert_eq!(names, expected, "{shown}"),
                (Err(why), Err(expected)) => assert!(why.contains(expected), "{shown}: {why}"),
                (found, expected) => panic!("{shown}: {found:?}, not {expected:?}"),
            }
        }
    }
}
