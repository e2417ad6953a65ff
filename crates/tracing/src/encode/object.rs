//! The object that an event is, put together within its limit.

use std::time::SystemTime;

use tracing::Level;

use super::{
    Encoding, Format,
    fields::Fields,
    json::{Value, Written, write_beginning, write_text, write_value},
    scratch::Clock,
};

/// What stands at the end of an event that was cut; without the mark, its last byte alone.
const TRUNCATED: &[u8] = br#","truncated":true}"#;
/// The version of the Elastic Common Schema that is kept to.
const ECS_VERSION: &[u8] = br#","ecs.version":"8.11.0""#;
/// The most bytes of the target, and of the file, in JSON.
const PLACE_MAX: usize = 256;

/// What an event has beside its message and its fields.
pub(super) struct Head<'a> {
    pub(super) level: Level,
    pub(super) target: &'a str,
    pub(super) file: Option<&'a str>,
    pub(super) line: Option<u32>,
    pub(super) now: SystemTime,
}

/// Whether an event has that name at the top for something of its own.
pub(super) fn is_reserved(format: Format, name: &[u8]) -> bool {
    let reserved: &[&[u8]] = match format {
        Format::Plain => &[
            b"timestamp",
            b"level",
            b"target",
            b"message",
            b"file",
            b"line",
            b"fields",
            b"spans",
            b"truncated",
        ],
        Format::Ecs => &[
            b"@timestamp",
            b"log.level",
            b"message",
            b"ecs.version",
            b"log.logger",
            b"log.origin.file.name",
            b"log.origin.file.line",
            b"labels",
            b"truncated",
        ],
    };
    reserved.contains(&name)
}

/// The object, as far as it is written.
pub(super) struct Object<'a> {
    out: &'a mut Vec<u8>,
    encoding: &'a Encoding,
    /// Where everything but the end has to end.
    end: usize,
    is_cut: bool,
    has_spans: bool,
}

impl<'a> Object<'a> {
    pub(super) fn begin(out: &'a mut Vec<u8>, encoding: &'a Encoding, is_cut: bool) -> Self {
        let end = encoding.max_event_bytes - TRUNCATED.len();
        Self { out, encoding, end, is_cut, has_spans: false }
    }

    /// Writes what each event has. It always fits, but for the end of the message and for the place.
    pub(super) fn head(&mut self, head: &Head<'_>, clock: &mut Clock, message: &[u8], fixed: &Fields) {
        let (time, level): (&[u8], &[u8]) = match self.encoding.format {
            Format::Plain => (br#"{"timestamp":""#, br#"","level":""#),
            Format::Ecs => (br#"{"@timestamp":""#, br#"","log.level":""#),
        };
        self.put(time);
        clock.write(self.out, head.now);
        self.put(level);
        self.put(head.level.as_str().as_bytes());
        match self.encoding.format {
            Format::Plain => {
                self.put(br#"","target":"#);
                self.text_of_at_most(head.target, PLACE_MAX);
                self.message(message, fixed.text().len());
            }
            Format::Ecs => {
                self.put(b"\"");
                let logger = br#","log.logger":"#;
                let behind = ECS_VERSION.len() + logger.len() + PLACE_MAX + fixed.text().len();
                self.message(message, behind);
                self.put(ECS_VERSION);
                self.put(logger);
                self.text_of_at_most(head.target, PLACE_MAX);
            }
        }
        self.put(fixed.text());
        if self.encoding.location {
            self.place(head);
        }
    }

    /// Writes the message, if there is room behind it for so much.
    fn message(&mut self, message: &[u8], behind: usize) {
        self.put(br#","message":"#);
        match write_beginning(self.out, self.end - behind, message) {
            Written::Whole if !message.is_empty() => {}
            Written::Cut => self.is_cut = true,
            // There is none, or none of it fits.
            _ => {
                self.is_cut |= !message.is_empty();
                self.put(br#""""#);
            }
        }
    }

    fn place(&mut self, head: &Head<'_>) {
        let (file, line): (&[u8], &[u8]) = match self.encoding.format {
            Format::Plain => (br#","file":"#, br#","line":"#),
            Format::Ecs => (br#","log.origin.file.name":"#, br#","log.origin.file.line":"#),
        };
        if let Some(name) = head.file {
            self.put_if_it_fits(file, Value::Text(name));
        }
        if let Some(number) = head.line {
            self.put_if_it_fits(line, Value::U64(number.into()));
        }
    }

    fn put_if_it_fits(&mut self, name: &[u8], value: Value<'_>) {
        let start = self.out.len();
        self.put(name);
        let end = self.end.min(self.out.len() + PLACE_MAX);
        let written = write_value(self.out, end, value);
        self.is_cut |= written != Written::Whole;
        if written == Written::Nothing {
            self.out.truncate(start);
        }
    }

    /// Writes the fields: those of the event, or all of those that it inherits as well.
    pub(super) fn fields(&mut self, fields: &Fields, fixed: &Fields) {
        if fields.is_empty() {
            return;
        }
        match self.encoding.format {
            Format::Plain => {
                let name = br#","fields":{"#;
                if self.has_room_for(name.len() + fields.text().len() + 1) {
                    self.put(name);
                    self.put(&fields.text()[1..]);
                    self.put(b"}");
                } else {
                    self.group(name, fields.iter());
                }
            }
            Format::Ecs => {
                let has_dot = |name: &[u8]| name.contains(&b'.');
                // A name of the schema means what it means there: a field of that name cannot say something else.
                let is_free = |name: &[u8]| {
                    !is_reserved(Format::Ecs, &name[1..name.len() - 1]) && fixed.get(name).is_none()
                };
                for (_, whole) in fields.iter().filter(|(name, _)| has_dot(name) && is_free(name)) {
                    self.put_or_leave_out(whole, 0);
                }
                self.group(br#","labels":{"#, fields.iter().filter(|(name, _)| !has_dot(name)));
            }
        }
    }

    /// Writes those of the fields that fit, as an object.
    fn group<'f>(&mut self, name: &[u8], fields: impl Iterator<Item = (&'f [u8], &'f [u8])>) {
        let start = self.out.len();
        if !self.has_room_for(name.len() + 1) {
            self.is_cut |= fields.count() > 0;
            return;
        }
        self.put(name);
        let inside = self.out.len();
        for (_, whole) in fields {
            // The first one has no comma.
            let whole = if self.out.len() == inside { &whole[1..] } else { whole };
            self.put_or_leave_out(whole, 1);
        }
        if self.out.len() == inside {
            self.out.truncate(start);
        } else {
            self.put(b"}");
        }
    }

    /// Writes a span that the event is in; the outermost comes first.
    pub(super) fn span(&mut self, name: &str, fields: Option<&Fields>) {
        let start = self.out.len();
        self.is_cut |= fields.is_some_and(|fields| fields.is_cut);
        let fields = fields.map_or(&b""[..], Fields::text);
        self.put(if self.has_spans { b"," } else { br#","spans":["# });
        self.put(br#"{"name":"#);
        let has_name = write_text(self.out, self.end, Value::Text(name)) == Written::Whole;
        if has_name && self.has_room_for(fields.len() + 1) {
            self.put(fields);
            self.put(b"}");
            self.has_spans = true;
        } else {
            self.out.truncate(start);
            self.is_cut = true;
        }
    }

    /// Ends the object. Whether something of the event is missing in it.
    pub(super) fn end(self) -> bool {
        if self.has_spans {
            self.out.push(b']');
        }
        if self.is_cut {
            self.out.extend_from_slice(TRUNCATED);
        } else {
            self.out.push(b'}');
        }
        self.is_cut
    }

    fn text_of_at_most(&mut self, text: &str, bytes: usize) {
        let end = self.out.len() + bytes;
        self.is_cut |= write_text(self.out, end, Value::Text(text)) != Written::Whole;
    }

    fn put(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// Writes something that has to leave so much room behind it, if that is possible.
    fn put_or_leave_out(&mut self, bytes: &[u8], behind: usize) {
        if self.has_room_for(bytes.len() + behind) {
            self.put(bytes);
        } else {
            self.is_cut = true;
        }
    }

    fn has_room_for(&self, bytes: usize) -> bool {
        // A list of spans is closed before the end.
        self.out.len() + bytes < self.end
    }
}
