//! What the templates of one service's entries are filled from.

use super::{Rules, label::dns_label};
use crate::{
    model::{Labels, PublishedService, ServiceId, Template, Text},
    translate::{Rejected, Why},
};
use std::collections::BTreeMap;

/// A service, its owner and its labels.
#[derive(Debug)]
pub(super) struct Subject<'a> {
    service: &'a PublishedService,
    owner: ServiceId,
    rules: &'a Rules,
    none: Labels,
}

impl<'a> Subject<'a> {
    /// A service belongs to its first source.
    pub(super) fn new(service: &'a PublishedService, rules: &'a Rules) -> Self {
        let nobody = || ServiceId::new("", "", "", "");
        let owner = service.sources.first().cloned().unwrap_or_else(nobody);
        Subject { service, owner, rules, none: Labels::new() }
    }

    /// The service's host.
    pub(super) fn host(&self) -> &str {
        self.service.host.as_str()
    }

    /// The namespace, made a label of DNS as Kubernetes has it. Empty if nothing is left of it.
    pub(super) fn namespace(&self) -> String {
        dns_label(&self.render(&self.rules.namespace, &self.service.labels, &self.none))
    }

    /// The name. It stands behind a slash, so it has none.
    pub(super) fn name(&self) -> String {
        self.render(&self.rules.name, &self.service.labels, &self.none).replace('/', "-")
    }

    /// Who sees the entry. Istio refuses a namespace that is also there as `.`.
    pub(super) fn export_to(&self) -> Vec<String> {
        let namespace = self.namespace();
        let own = self.rules.export_to.iter().any(|who| **who == *".");
        let others = self.rules.export_to.iter().filter(|who| !(own && ***who == *namespace));
        others.map(ToString::to_string).collect()
    }

    /// That something of the service is not sent.
    pub(super) fn rejected(&self, subject: &str, why: Why) -> Rejected {
        Rejected { host: self.service.host.clone(), subject: subject.into(), why }
    }

    pub(super) fn subject_alt_names(&self) -> Vec<String> {
        let names = self.rules.subject_alt_names.iter().map(|t| self.render(t, &self.service.labels, &self.none));
        names.filter(|name| !name.is_empty()).collect()
    }

    /// Labels or annotations. What the service's own labels do not say its endpoints may: the smallest that one of them
    /// has and that is `possible`, so that their order does not matter. What comes out empty is left out.
    pub(super) fn texts(
        &self,
        templates: &'a BTreeMap<Text, Template>,
        possible: impl Fn(&str) -> bool,
    ) -> BTreeMap<String, String> {
        if templates.is_empty() {
            return BTreeMap::new();
        }
        let mut labels = Labels::new();
        if templates.values().any(Template::reads_labels) {
            let all = self.service.endpoints.iter().flat_map(|endpoint| &endpoint.labels);
            for (key, value) in all.filter(|(_, value)| possible(value)) {
                let smallest = labels.entry(key.clone()).or_insert_with(|| value.clone());
                if value < smallest {
                    *smallest = value.clone();
                }
            }
        }
        labels.extend(self.service.labels.clone());
        let texts = templates.iter().map(|(key, t)| (key.to_string(), self.render(t, &labels, &self.none)));
        texts.filter(|(_, text)| !text.is_empty()).collect()
    }

    /// The text for one of its endpoints; empty without a template.
    pub(super) fn of_endpoint(&self, template: &Option<Template>, endpoint: &Labels) -> String {
        template.as_ref().map(|t| self.render(t, &self.service.labels, endpoint)).unwrap_or_default()
    }

    fn render(&self, template: &Template, service: &Labels, endpoint: &Labels) -> String {
        template.render_of_host(&self.service.spelled(&self.service.host), &self.owner, service, endpoint)
    }
}
