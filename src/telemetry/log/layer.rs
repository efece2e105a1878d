//! The layer that tracing calls for each event: makes the line and puts it into the queue.

use super::{
    counters::suppressed,
    line::{Fields, Format, Line},
    queue::Queue,
    rate::Rates,
};
use crate::util::lock::lock;
use std::{
    sync::{Arc, Mutex},
    time::{Instant, SystemTime},
};
use tracing::{
    Event, Level, Subscriber,
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{
    layer::{Context, Layer},
    registry::LookupSpan,
};

/// Writes events as lines.
#[derive(Debug)]
pub(super) struct Lines {
    pub(super) format: Format,
    /// Whether lines of text have colours; lines of JSON have none.
    pub(super) color: bool,
    pub(super) queue: Arc<Queue>,
    pub(super) rates: Mutex<Rates>,
}

impl Lines {
    /// Whether the event may be logged; if lines of its place were left out before, a line reports them. What is logged
    /// on request only, at `debug` and `trace`, has no limit.
    fn allows(&self, event: &Event<'_>) -> bool {
        let metadata = event.metadata();
        if *metadata.level() > Level::INFO {
            return true;
        }
        let allowed = lock(&self.rates).allow(metadata.callsite(), Instant::now());
        match allowed {
            None => {
                suppressed().inc();
            }
            Some(0) => {}
            Some(lines) => {
                let message = "Lines as the next one were left out: there were too many.";
                self.write(*metadata.level(), metadata.target(), Vec::new(), Fields::of(message, lines));
            }
        }
        allowed.is_some()
    }

    fn write(&self, level: Level, target: &str, spans: Vec<(&'static str, Fields)>, event: Fields) {
        let line = Line { at: SystemTime::now(), level, target, spans, event };
        self.queue.push(&line.render(self.format.get(), self.color));
    }
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
        if !self.allows(event) {
            return;
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        let spans = context.event_scope(event).into_iter().flat_map(|scope| scope.from_root());
        let spans = spans.filter_map(|span| Some((span.name(), span.extensions().get::<Fields>()?.clone())));
        self.write(*event.metadata().level(), event.metadata().target(), spans.collect(), fields);
    }
}
