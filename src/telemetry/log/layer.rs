//! The layer that tracing calls for each event: makes the line and puts it into the queue.

use super::{
    LogFormat,
    line::{Fields, Line},
    queue::Queue,
};
use std::{sync::Arc, time::SystemTime};
use tracing::{
    Event, Subscriber,
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{
    layer::{Context, Layer},
    registry::LookupSpan,
};

/// Writes events as lines.
#[derive(Debug)]
pub(super) struct Lines {
    pub(super) format: LogFormat,
    pub(super) color: bool,
    pub(super) queue: Arc<Queue>,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(fields) = span.extensions_mut().get_mut::<Fields>() {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let spans = context.event_scope(event).into_iter().flat_map(|scope| scope.from_root());
        let spans = spans.filter_map(|span| Some((span.name(), span.extensions().get::<Fields>()?.clone())));
        let line = Line {
            at: SystemTime::now(),
            level: *event.metadata().level(),
            target: event.metadata().target(),
            spans: spans.collect(),
            event: fields,
        };
        self.queue.push(&line.render(self.format, self.color));
    }
}
