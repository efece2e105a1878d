//! The manifests of a registry as a message, and back.

use super::WireError;
use crate::{
    manifests::{ManifestMemory, Memory},
    model::{ManifestId, Scope, Text},
    pb::state as pb,
};

/// A memory as a message: equal ones give equal messages.
pub(in crate::state) fn encode(memory: &Memory) -> pb::Manifests {
    let manifest = |ManifestMemory { id, good, text }: &ManifestMemory| pb::Manifest {
        id: Some(pb::Id {
            namespace: id.namespace.to_string(),
            group: id.group.to_string(),
            name: id.name.to_string(),
        }),
        good: good.as_ref().map(ToString::to_string),
        text: text.as_ref().ok().filter(|text| good.as_ref() != Some(text)).map(ToString::to_string),
        unreadable: text.as_ref().err().map(ToString::to_string),
    };
    let scope = |(scope, manifests): &(Scope, Vec<ManifestMemory>)| pb::ManifestScope {
        name: scope.0.to_string(),
        manifests: manifests.iter().map(manifest).collect(),
    };
    pb::Manifests { scopes: memory.scopes.iter().map(scope).collect() }
}

/// The memory of a registry by that name.
///
/// # Errors
/// If a manifest has no name or no text.
pub(in crate::state) fn decode(registry: &Text, message: pb::Manifests) -> Result<Memory, WireError> {
    let manifest = |pb::Manifest { id, good, text, unreadable }| {
        let id = id.ok_or(WireError("a manifest without a name"))?;
        let id = ManifestId {
            registry: registry.clone(),
            namespace: id.namespace.into(),
            group: id.group.into(),
            name: id.name.into(),
        };
        let good: Option<Text> = good.map(Into::into);
        let text = match (unreadable, text) {
            (Some(why), _) => Err(why.into()),
            (None, Some(text)) => Ok(text.into()),
            (None, None) => Ok(good.clone().ok_or(WireError("a manifest without a text"))?),
        };
        Ok(ManifestMemory { id, good, text })
    };
    let scope = |scope: pb::ManifestScope| {
        let manifests = scope.manifests.into_iter().map(manifest).collect::<Result<_, _>>()?;
        Ok((Scope(scope.name.into()), manifests))
    };
    Ok(Memory { scopes: message.scopes.into_iter().map(scope).collect::<Result<_, _>>()? })
}
