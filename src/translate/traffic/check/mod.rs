//! Checks of Istio's resources: Istio must take a resource, and all of it must be possible here. Then it is used whole;
//! else its last good form stays in use, and findings say why.
//!
//! The rules are those of Istio's own validation (1.32), so that a resource which is refused there is refused here.
//! What Istio takes and Portolan cannot do is refused with another code.

mod destination_rule;
mod gateway;
mod http;
mod regex;
mod sidecar;
mod text;
mod virtual_service;

pub(super) use destination_rule::destination_rule;
pub(super) use gateway::{CIPHERS, gateway};
pub(super) use http::{GRPC_CODES, is_status};
pub(super) use sidecar::sidecar;
pub(super) use text::is_authority;
pub(super) use virtual_service::virtual_service;

use super::{
    finding::{Code, Finding},
    object::Id,
};
use crate::resource::Kind;
use std::fmt::Display;

/// The most findings that one check tells of a resource. One that refuses it is always among them.
pub(super) const MOST_FINDINGS: usize = 100;

/// The findings so far, and the field that is checked now.
#[derive(Debug)]
pub(super) struct Check<'a> {
    kind: Kind,
    id: &'a Id,
    place: String,
    findings: Vec<Finding>,
    is_refused: bool,
}

impl<'a> Check<'a> {
    pub(super) fn new(kind: Kind, id: &'a Id) -> Self {
        Check { kind, id, place: String::new(), findings: Vec::new(), is_refused: false }
    }

    pub(super) fn finish(self) -> Vec<Finding> {
        self.findings
    }

    /// Checks the value of a key: findings inside get the key in their place.
    fn at<T>(&mut self, key: impl Display, check: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.place.len();
        let dot = if before == 0 { "" } else { "." };
        self.place.push_str(&format!("{dot}{key}"));
        let value = check(self);
        self.place.truncate(before);
        value
    }

    /// Checks each item of a list: findings get `key[index]` in their place.
    fn each<T>(&mut self, key: &str, items: &[T], mut check: impl FnMut(&mut Self, &T)) {
        for (index, item) in items.iter().enumerate() {
            self.at(format_args!("{key}[{index}]"), |c| check(c, item));
        }
    }

    fn add(&mut self, code: Code, text: impl Into<String>) {
        let decides = code.refuses() && !self.is_refused;
        if self.findings.len() >= MOST_FINDINGS {
            if !decides {
                return;
            }
            self.findings.pop();
        }
        self.is_refused |= decides;
        self.findings.push(Finding {
            kind: self.kind,
            name: self.id.full(),
            place: self.place.as_str().into(),
            code,
            text: text.into().into(),
        });
    }

    /// Adds a finding: Istio would refuse the resource.
    fn invalid(&mut self, text: impl Into<String>) {
        self.add(Code::Invalid, text);
    }

    /// Adds a finding: Istio takes the resource, but it cannot be done here.
    fn refused(&mut self, text: impl Into<String>) {
        self.add(Code::FieldRefused, text);
    }

    /// Adds a finding: a field has no effect, neither in Istio nor here. The resource is used.
    fn ignored(&mut self, text: impl Into<String>) {
        self.add(Code::Ignored, text);
    }

    fn require(&mut self, fine: bool, text: impl FnOnce() -> String) {
        if !fine {
            self.invalid(text());
        }
    }

    fn outcome(&mut self, result: Result<(), String>) {
        if let Err(text) = result {
            self.invalid(text);
        }
    }
}
