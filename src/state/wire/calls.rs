//! The call model as a message, and back.

use super::time;
use crate::{
    calls::{Application, Model},
    model::{Need, Text},
    pb::state as pb,
    util::time::unix_millis,
};
use std::{sync::Arc, time::SystemTime};

/// What applications need as a message: equal ones give equal messages.
pub(in crate::state) fn encode(model: &Model) -> pb::Calls {
    let need = |(need, gone): (&Need, &Option<SystemTime>)| pb::Need {
        interface: need.interface.to_string(),
        group: need.group.to_string(),
        version: need.version.to_string(),
        gone: gone.map(unix_millis),
    };
    let caller = |(name, application): (&Text, &Arc<Application>)| pb::Caller {
        name: name.to_string(),
        needs: application.needs.iter().map(need).collect(),
    };
    pb::Calls { applications: model.applications.iter().map(caller).collect() }
}

/// A call model with these applications, in which nothing else is known.
pub(in crate::state) fn decode(message: pb::Calls) -> Model {
    let need = |pb::Need { interface, group, version, gone }: pb::Need| {
        let need = Need { interface: interface.into(), group: group.into(), version: version.into() };
        (need, gone.map(time))
    };
    let caller = |pb::Caller { name, needs }: pb::Caller| {
        (Text::from(name), Arc::new(Application::new(needs.into_iter().map(need).collect())))
    };
    Model { applications: message.applications.into_iter().map(caller).collect(), ..Model::default() }
}
