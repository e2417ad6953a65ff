//! How an event becomes the value of a record: one object of JSON, of a bounded size, in which no name stands twice.
//!
//! | module | what it holds |
//! |---|---|
//! | `json` | values within a limit |
//! | `fields` | fields of an event or a span, encoded as they come |
//! | `scratch` | the buffers that a thread keeps |
//! | `object` | the object, put together |

mod fields;
mod json;
mod object;
mod scratch;
#[cfg(test)]
mod tests;

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::SystemTime,
};

use tracing::{
    Event, Level, Subscriber,
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{
    layer::Context,
    registry::{LookupSpan, SpanRef},
};

use self::{
    fields::{Fields, REDACTED, Taker},
    json::{Value, write_plainly, write_text},
    object::{Head, Object, is_reserved},
    scratch::{Scratch, lend},
};
use crate::{clock, entry::Entry, level::of_log, own::is_for_a_sink};

/// The most bytes of a key.
const KEY_MAX: usize = 1 << 10;
/// The most bytes of the header `target`.
const TARGET_MAX: usize = 256;

/// What the fields of an event are called, and where they stand.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Format {
    /// `timestamp`, `level`, `target`, `message`, `fields` (an object), and `spans` (a list of objects, the outermost first,
    /// each with `name` and its fields).
    #[default]
    Plain,
    /// As the Elastic Common Schema has it: `@timestamp`, `log.level`, `message`, `ecs.version`, `log.logger`. Fields of the event
    /// and its spans with a dot in their names stand beside these, the others in `labels`; of those with one name, the
    /// innermost stands.
    Ecs,
}

/// What becomes the key of a record: records of one key go to one partition, in their order.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Key {
    /// There is none: records go to any partition.
    #[default]
    None,
    /// Where in the program an event comes from.
    Target,
    /// The field `trace_id` or `trace.id` of the event, or of the innermost of its spans that has one.
    TraceId,
    /// The field of this name of the event, or of the innermost of its spans that has one.
    Field(String),
}

/// How events are encoded.
#[derive(Debug, Default)]
pub(crate) struct Encoding {
    pub(crate) format: Format,
    pub(crate) key: Key,
    /// Entries tell their target.
    pub(crate) target_header: bool,
    /// Of the value.
    pub(crate) max_event_bytes: usize,
    /// Names of fields whose values are not told.
    pub(crate) redacted: Vec<String>,
    /// Fields that each event has.
    pub(crate) fields: Vec<(String, String)>,
    /// Events tell their file and line.
    pub(crate) location: bool,
}

impl Encoding {
    /// What is wrong with it, if something is.
    pub(crate) fn fault(&self) -> Option<String> {
        let mut names: Vec<&str> = self.fields.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Some(format!("the field {} is given twice", twice[0]));
        }
        if let Some(name) = names.into_iter().find(|name| is_reserved(self.format, name.as_bytes())) {
            return Some(format!("a field cannot be called {name}: each event has one of that name"));
        }
        let fixed = self.fixed();
        if fixed.is_cut {
            return Some("there are more fields that each event has than an event may have".into());
        }
        let bytes = fixed.text().len();
        let most = self.max_event_bytes / 4;
        (bytes > most).then(|| {
            format!("fields that each event has take {bytes} bytes, and may take a quarter of max_event_bytes: {most}")
        })
    }

    /// Whether the value of a field with that name is not told.
    fn is_redacted(&self, name: &str) -> bool {
        self.redacted.iter().any(|redacted| redacted == name)
    }

    fn fixed(&self) -> Fields {
        let mut fields = Fields::default();
        for (name, value) in &self.fields {
            fields.set(name, Value::Text(value), usize::MAX);
        }
        fields
    }
}

/// Encodes events.
pub(crate) struct Encoder {
    encoding: Encoding,
    fixed: Fields,
    /// The names in JSON of those fields that may be the key.
    key_names: Vec<Vec<u8>>,
    /// By which it finds what it has put into spans.
    id: u64,
    truncated: AtomicU64,
}

/// What encoders have put into a span: the fields that each has encoded.
struct OfSpan(Vec<(u64, Fields)>);

impl Encoder {
    pub(crate) fn new(encoding: Encoding) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let names: &[&str] = match &encoding.key {
            Key::None | Key::Target => &[],
            Key::TraceId => &["trace_id", "trace.id"],
            Key::Field(name) => &[name],
        };
        let in_json = |name: &&str| {
            let mut json = Vec::new();
            write_text(&mut json, usize::MAX, Value::Text(name));
            json
        };
        let is_told = |name: &&&str| !encoding.is_redacted(name);
        let key_names = names.iter().filter(is_told).map(in_json).collect();
        Self {
            fixed: encoding.fixed(),
            key_names,
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            truncated: AtomicU64::new(0),
            encoding,
        }
    }

    pub(crate) fn max_event_bytes(&self) -> usize {
        self.encoding.max_event_bytes
    }

    /// How many events were cut.
    pub(crate) fn truncated(&self) -> u64 {
        self.truncated.load(Ordering::Relaxed)
    }

    /// An event was cut.
    pub(crate) fn count_truncated(&self) {
        self.truncated.fetch_add(1, Ordering::Relaxed);
    }

    /// Encodes an event of `tracing`, in the spans in which it happened.
    pub(crate) fn event<S>(
        &self,
        event: &Event<'_>,
        context: &Context<'_, S>,
        now: SystemTime,
        take: impl FnOnce(Entry<'_>),
    ) where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        lend(|scratch| {
            let metadata = event.metadata();
            let Scratch { fields, message, place, .. } = scratch;
            let is_of_log = metadata.target() == "log";
            let place = is_of_log.then_some(place);
            event.record(&mut Taker { message: Some(message), place, ..self.taker(fields) });
            // A buffer of its own would have to be allocated.
            let place = std::mem::take(&mut scratch.place);
            let is_told = is_of_log && !place.target.is_empty();
            if is_told && !is_for_a_sink(&place.target) {
                return;
            }
            let head = Head {
                level: *metadata.level(),
                target: if is_told { &place.target } else { metadata.target() },
                file: if is_told { Some(place.file.as_str()) } else { metadata.file() },
                line: if is_told { place.line } else { metadata.line() },
                now,
            };
            self.find_key(scratch, &head, context.event_scope(event).into_iter().flatten());
            let spans = context.event_scope(event);
            if self.encoding.format == Format::Ecs {
                for span in spans.into_iter().flatten() {
                    self.of_span(&span, |fields| {
                        scratch.fields.add_missing(fields, self.encoding.max_event_bytes);
                    });
                }
                self.put_together(scratch, &head, |_| {});
            } else {
                self.put_together(scratch, &head, |object| {
                    for span in spans.into_iter().flat_map(|spans| spans.from_root()) {
                        let is_found = self.of_span(&span, |fields| object.span(span.name(), Some(fields)));
                        if is_found.is_none() {
                            object.span(span.name(), None);
                        }
                    }
                });
            }
            self.give(scratch, &head, take);
            scratch.place = place;
        })
    }

    /// Encodes a record of the `log` crate.
    pub(crate) fn log<T>(
        &self,
        record: &log::Record<'_>,
        now: SystemTime,
        take: impl FnOnce(Entry<'_>) -> T,
    ) -> T {
        let head = Head {
            level: of_log(record.level()),
            target: record.target(),
            file: record.file(),
            line: record.line(),
            now,
        };
        lend(|scratch| {
            let is_redacted = self.encoding.is_redacted("message");
            self.say(
                scratch,
                if is_redacted { Value::Text(REDACTED) } else { Value::Display(record.args()) },
            );
            // A source that fails has told some of what it has.
            let _ = record.key_values().visit(&mut self.taker(&mut scratch.fields));
            self.find_key::<tracing_subscriber::Registry>(scratch, &head, []);
            self.put_together(scratch, &head, |_| {});
            self.give(scratch, &head, take)
        })
    }

    /// Encodes something that the sink says itself.
    pub(crate) fn own<T>(
        &self,
        level: Level,
        target: &str,
        message: &str,
        fields: &[(&str, u64)],
        now: SystemTime,
        take: impl FnOnce(Entry<'_>) -> T,
    ) -> T {
        let head = Head { level, target, file: None, line: None, now };
        lend(|scratch| {
            self.say(scratch, Value::Text(message));
            for (name, value) in fields {
                scratch.fields.set(name, Value::U64(*value), self.encoding.max_event_bytes);
            }
            self.find_key::<tracing_subscriber::Registry>(scratch, &head, []);
            self.put_together(scratch, &head, |_| {});
            self.give(scratch, &head, take)
        })
    }

    /// Encodes what a new span has.
    pub(crate) fn new_span<S>(&self, attributes: &Attributes<'_>, id: &Id, context: &Context<'_, S>)
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        self.change_span(id, context, |fields| attributes.record(&mut self.taker(fields)));
    }

    /// Encodes what a span is given later.
    pub(crate) fn record_in_span<S>(&self, id: &Id, values: &Record<'_>, context: &Context<'_, S>)
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        self.change_span(id, context, |fields| values.record(&mut self.taker(fields)));
    }

    fn taker<'a>(&'a self, fields: &'a mut Fields) -> Taker<'a> {
        let name_as = match self.encoding.format {
            // `name` is that of the span.
            Format::Plain => "field.name",
            Format::Ecs => "name",
        };
        Taker { encoding: &self.encoding, fields, message: None, place: None, name_as }
    }

    /// Changes what this encoder keeps in a span. Fields are encoded before the span is locked: their `Debug` may log.
    fn change_span<S>(&self, id: &Id, context: &Context<'_, S>, encode: impl FnOnce(&mut Fields))
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let Some(span) = context.span(id) else { return };
        let mut new = Fields::default();
        encode(&mut new);
        let mut extensions = span.extensions_mut();
        if extensions.get_mut::<OfSpan>().is_none() {
            extensions.insert(OfSpan(Vec::new()));
        }
        let Some(OfSpan(kept)) = extensions.get_mut::<OfSpan>() else { return };
        match kept.iter_mut().find(|(encoder, _)| *encoder == self.id) {
            Some((_, fields)) => fields.replace_by(&new, self.encoding.max_event_bytes),
            None => kept.push((self.id, new)),
        }
    }

    /// Looks at what this encoder keeps in a span, if it does.
    fn of_span<'a, S, T>(&self, span: &SpanRef<'a, S>, look: impl FnOnce(&Fields) -> T) -> Option<T>
    where
        S: LookupSpan<'a>,
    {
        let extensions = span.extensions();
        let OfSpan(kept) = extensions.get::<OfSpan>()?;
        kept.iter().find(|(encoder, _)| *encoder == self.id).map(|(_, fields)| look(fields))
    }

    /// Takes the message of an event that is not one of `tracing`.
    fn say(&self, scratch: &mut Scratch, message: Value<'_>) {
        let written = write_text(&mut scratch.message, self.encoding.max_event_bytes, message);
        scratch.fields.is_cut |= written != json::Written::Whole;
    }

    /// Finds the key; spans come with the innermost first.
    fn find_key<'a, S>(
        &self,
        scratch: &mut Scratch,
        head: &Head<'_>,
        spans: impl IntoIterator<Item = SpanRef<'a, S>>,
    ) where
        S: LookupSpan<'a> + 'a,
    {
        let Scratch { fields, key, .. } = scratch;
        if self.encoding.key == Key::Target {
            key.extend_from_slice(json::beginning(head.target, KEY_MAX).as_bytes());
        }
        if self.key_names.is_empty() {
            return;
        }
        let find = |fields: &Fields, key: &mut Vec<u8>| {
            let value = self.key_names.iter().find_map(|name| fields.get(name));
            value.map(|value| write_plainly(key, KEY_MAX, value)).is_some()
        };
        if !find(fields, key) {
            spans.into_iter().any(|span| self.of_span(&span, |fields| find(fields, key)) == Some(true));
        }
    }

    /// Writes the event from its parts; `spans` writes the spans that it is in, where they stand by themselves.
    fn put_together(&self, scratch: &mut Scratch, head: &Head<'_>, spans: impl FnOnce(&mut Object<'_>)) {
        let Scratch { fields, message, out, clock, .. } = scratch;
        let mut object = Object::begin(out, &self.encoding, fields.is_cut);
        object.head(head, clock, message, &self.fixed);
        object.fields(fields, &self.fixed);
        spans(&mut object);
        if object.end() {
            self.count_truncated();
        }
    }

    fn give<T>(&self, scratch: &Scratch, head: &Head<'_>, take: impl FnOnce(Entry<'_>) -> T) -> T {
        let has_key = self.encoding.key == Key::Target || !scratch.key.is_empty();
        take(Entry {
            level: head.level,
            timestamp: clock::milliseconds(head.now),
            key: has_key.then_some(scratch.key.as_slice()),
            target: self.encoding.target_header.then(|| json::beginning(head.target, TARGET_MAX).as_bytes()),
            value: &scratch.out,
        })
    }
}
