//! The face for `tracing`.

use std::{fmt, sync::Arc};

use tracing::{
    Event, Subscriber,
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{Layer, layer::Context, registry::LookupSpan};

use crate::{clock, own::is_for_a_sink, shared::Shared, sink::Sink};

impl Sink {
    /// The face for [`tracing`]: a layer for a subscriber of `tracing_subscriber`. Filters are added with `with_filter`, as to
    /// any other.
    pub fn layer(&self) -> SinkLayer {
        SinkLayer::new(self.shared.clone())
    }
}

/// A layer that gives events, and the spans in which they happen, to a sink. See [`Sink::layer`](crate::Sink::layer).
///
/// It lets everything pass to the layers beside it: what is not for this sink is chosen with `with_filter`. Several sinks can stand in
/// one registry. Events of this crate, of its client, and of the sink's own threads are left out.
pub struct SinkLayer {
    shared: Arc<Shared>,
}

impl SinkLayer {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

impl<S> Layer<S> for SinkLayer
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if is_for_a_sink(attributes.metadata().target()) {
            self.shared.encoder.new_span(attributes, id, &context);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let is_wanted = |span| is_for_a_sink(tracing_subscriber::registry::SpanRef::metadata(&span).target());
        if context.span(id).is_some_and(is_wanted) {
            self.shared.encoder.record_in_span(id, values, &context);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let metadata = event.metadata();
        if is_for_a_sink(metadata.target()) && !self.shared.queue.sheds(*metadata.level()) {
            self.shared.encoder.event(event, &context, clock::wall(), |entry| self.shared.take(entry));
        }
    }
}

impl fmt::Debug for SinkLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SinkLayer").finish_non_exhaustive()
    }
}
