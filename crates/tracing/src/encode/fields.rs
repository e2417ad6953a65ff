//! Fields of an event or a span, encoded as they come.

use std::fmt;

use log::kv;
use tracing::field::{Field, Visit};

use super::{
    Encoding,
    json::{Value, Written, beginning, write_text, write_value},
};

/// What stands in the place of a value that is not to be told.
pub(super) const REDACTED: &str = "[redacted]";
/// The most fields of an event, with those that it inherits: each is compared with all before it.
const FIELDS_MAX: usize = 256;
/// The most bytes of a target or a file that comes as a field.
const PLACE_MAX: usize = 1 << 10;

/// Fields in JSON, one after the other: each `,"name":value`. No name stands twice.
#[derive(Debug, Default)]
pub(super) struct Fields {
    text: Vec<u8>,
    list: Vec<Part>,
    /// Something did not fit, and was cut or left out.
    pub(super) is_cut: bool,
}

/// Where a field stands in the text.
#[derive(Clone, Copy, Debug)]
struct Part {
    start: usize,
    /// Where its value begins.
    value: usize,
    end: usize,
}

impl Fields {
    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.list.clear();
        self.is_cut = false;
    }

    /// The bytes that its text may take without growing.
    pub(super) fn capacity(&self) -> usize {
        self.text.capacity()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// All of it, with a comma at the beginning.
    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }

    /// Each name, in JSON, and the whole with its comma.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.list.iter().map(|part| (self.name(part), &self.text[part.start..part.end]))
    }

    /// The value, in JSON, of the field with this name in JSON.
    pub(super) fn get(&self, name: &[u8]) -> Option<&[u8]> {
        let part = self.list.iter().find(|part| self.name(part) == name)?;
        Some(&self.text[part.value..part.end])
    }

    fn name(&self, part: &Part) -> &[u8] {
        &self.text[part.start + 1..part.value - 1]
    }

    /// Adds a field, or replaces the one of that name, in a text of at most `bytes_max`.
    pub(super) fn set(&mut self, name: &str, value: Value<'_>, bytes_max: usize) {
        if self.list.len() >= FIELDS_MAX {
            self.is_cut = true;
            return;
        }
        let mut start = self.text.len();
        self.text.push(b',');
        // Whether it fits is seen when the earlier field of that name has left its room.
        let has_name =
            write_text(&mut self.text, start.saturating_add(bytes_max), Value::Text(name)) == Written::Whole;
        let is_it = |part: &Part| self.name(part) == &self.text[start + 1..];
        if let Some(earlier) = self.list.iter().position(is_it).filter(|_| has_name) {
            start -= self.remove(earlier);
        }
        if !has_name || self.text.len() > bytes_max {
            self.text.truncate(start);
            self.is_cut = true;
            return;
        }
        self.text.push(b':');
        let value_start = self.text.len();
        let written = write_value(&mut self.text, bytes_max, value);
        self.is_cut |= written != Written::Whole;
        if written == Written::Nothing {
            self.text.truncate(start);
        } else {
            self.list.push(Part { start, value: value_start, end: self.text.len() });
        }
    }

    /// Takes over all of them, in the place of those that have their names, as far as they fit.
    pub(super) fn replace_by(&mut self, others: &Self, bytes_max: usize) {
        for part in &others.list {
            if let Some(at) = self.list.iter().position(|earlier| self.name(earlier) == others.name(part)) {
                self.remove(at);
            }
        }
        self.add_missing(others, bytes_max);
    }

    /// Takes over those whose names are not here yet, as far as they fit.
    pub(super) fn add_missing(&mut self, others: &Self, bytes_max: usize) {
        self.is_cut |= others.is_cut;
        for part in &others.list {
            let whole = &others.text[part.start..part.end];
            if self.list.iter().any(|earlier| self.name(earlier) == others.name(part)) {
                continue;
            }
            if self.text.len() + whole.len() > bytes_max || self.list.len() >= FIELDS_MAX {
                self.is_cut = true;
                continue;
            }
            let start = self.text.len();
            self.text.extend_from_slice(whole);
            self.list.push(Part { start, value: start + (part.value - part.start), end: self.text.len() });
        }
    }

    /// Takes one out. By how many bytes those behind it have moved.
    fn remove(&mut self, at: usize) -> usize {
        let Part { start, end, .. } = self.list.remove(at);
        self.text.drain(start..end);
        for later in &mut self.list[at..] {
            *later = later.moved_back(end - start);
        }
        end - start
    }
}

impl Part {
    fn moved_back(self, by: usize) -> Self {
        Self { start: self.start - by, value: self.value - by, end: self.end - by }
    }
}

/// Where an event of the `log` crate comes from, when it comes by way of `tracing`.
#[derive(Debug, Default)]
pub(super) struct LogPlace {
    pub(super) target: String,
    pub(super) file: String,
    pub(super) line: Option<u32>,
}

impl LogPlace {
    pub(super) fn clear(&mut self) {
        self.target.clear();
        self.file.clear();
        self.line = None;
    }
}

/// Takes the fields of something.
pub(super) struct Taker<'a> {
    pub(super) encoding: &'a Encoding,
    pub(super) fields: &'a mut Fields,
    /// Where the message of an event goes, in JSON; a span has none.
    pub(super) message: Option<&'a mut Vec<u8>>,
    /// Where fields of `tracing-log` go, for one of its events.
    pub(super) place: Option<&'a mut LogPlace>,
    /// What the field is called that a span has under the name of its own name.
    pub(super) name_as: &'static str,
}

impl Taker<'_> {
    fn take(&mut self, name: &str, value: Value<'_>) {
        let bytes_max = self.encoding.max_event_bytes;
        let value = if self.encoding.is_redacted(name) { Value::Text(REDACTED) } else { value };
        match (name, &mut self.message) {
            ("message", Some(message)) => {
                message.clear();
                self.fields.is_cut |= write_text(message, bytes_max, value) != Written::Whole;
            }
            ("name", None) => self.fields.set(self.name_as, value, bytes_max),
            _ => self.fields.set(name, value, bytes_max),
        }
    }

    /// Takes a field of `tracing-log`, if it is one.
    fn is_place(&mut self, name: &str, value: Value<'_>) -> bool {
        let Some(place) = &mut self.place else { return false };
        match (name, value) {
            ("log.target", Value::Text(target)) => place.target.push_str(beginning(target, PLACE_MAX)),
            ("log.file", Value::Text(file)) => place.file.push_str(beginning(file, PLACE_MAX)),
            ("log.line", Value::U64(line)) => place.line = line.try_into().ok(),
            ("log.module_path" | "log.target" | "log.file" | "log.line", _) => {}
            _ => return false,
        }
        true
    }
}

impl Visit for Taker<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record(field, Value::Debug(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.record(field, Value::F64(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.record(field, Value::I64(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.record(field, Value::U64(value));
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.record(field, Value::I128(value));
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.record(field, Value::U128(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.record(field, Value::Bool(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record(field, Value::Text(value));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.record(field, Value::Error(value));
    }
}

impl Taker<'_> {
    fn record(&mut self, field: &Field, value: Value<'_>) {
        // Raw identifiers, such as `r#type`, come as they are written.
        let name = field.name().strip_prefix("r#").unwrap_or(field.name());
        if !self.is_place(name, value) {
            self.take(name, value);
        }
    }
}

impl<'kvs> kv::VisitSource<'kvs> for Taker<'_> {
    fn visit_pair(&mut self, key: kv::Key<'kvs>, value: kv::Value<'kvs>) -> Result<(), kv::Error> {
        value.visit(KeyValue { taker: self, name: key.as_str() })
    }
}

/// A value of the `log` crate on its way to its taker.
struct KeyValue<'a, 'b> {
    taker: &'a mut Taker<'b>,
    name: &'a str,
}

impl KeyValue<'_, '_> {
    fn take(&mut self, value: Value<'_>) -> Result<(), kv::Error> {
        // A record has a message of its own; a key of that name is an ordinary one.
        let message = self.taker.message.take();
        self.taker.take(self.name, value);
        self.taker.message = message;
        Ok(())
    }
}

impl<'v> kv::VisitValue<'v> for KeyValue<'_, '_> {
    fn visit_any(&mut self, value: kv::Value<'_>) -> Result<(), kv::Error> {
        self.take(Value::Display(&value))
    }

    fn visit_null(&mut self) -> Result<(), kv::Error> {
        self.take(Value::Null)
    }

    fn visit_u64(&mut self, value: u64) -> Result<(), kv::Error> {
        self.take(Value::U64(value))
    }

    fn visit_i64(&mut self, value: i64) -> Result<(), kv::Error> {
        self.take(Value::I64(value))
    }

    fn visit_u128(&mut self, value: u128) -> Result<(), kv::Error> {
        self.take(Value::U128(value))
    }

    fn visit_i128(&mut self, value: i128) -> Result<(), kv::Error> {
        self.take(Value::I128(value))
    }

    fn visit_f64(&mut self, value: f64) -> Result<(), kv::Error> {
        self.take(Value::F64(value))
    }

    fn visit_bool(&mut self, value: bool) -> Result<(), kv::Error> {
        self.take(Value::Bool(value))
    }

    fn visit_str(&mut self, value: &str) -> Result<(), kv::Error> {
        self.take(Value::Text(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(fields: &Fields) -> &str {
        std::str::from_utf8(fields.text()).unwrap()
    }

    #[test]
    fn the_last_value_of_a_name_stands() {
        let mut fields = Fields::default();
        for (name, value) in [("a", 1), ("b", 2), ("a", 333), ("c", 4), ("b", 55)] {
            fields.set(name, Value::U64(value), 1000);
        }
        assert_eq!(text(&fields), r#","a":333,"c":4,"b":55"#);
        assert_eq!(fields.get(br#""b""#), Some(&b"55"[..]));
        assert_eq!(fields.get(br#""c""#), Some(&b"4"[..]));
        assert_eq!(fields.get(b"c"), None);
        let mut others = Fields::default();
        for (name, value) in [("c", 9), ("d", 10)] {
            others.set(name, Value::U64(value), 1000);
        }
        fields.add_missing(&others, 1000);
        assert_eq!(text(&fields), r#","a":333,"c":4,"b":55,"d":10"#);
        fields.replace_by(&others, 1000);
        assert_eq!(text(&fields), r#","a":333,"b":55,"c":9,"d":10"#);
        assert!(!fields.is_cut);
        assert_eq!(fields.iter().map(|(name, _)| name.len()).sum::<usize>(), 12);
    }

    #[test]
    fn a_new_value_has_the_room_of_the_earlier_one() {
        let mut fields = Fields::default();
        for value in ["one", "two", "three"] {
            fields.set("a", Value::Text(value), 12);
            fields.set("b", Value::U64(1), 12);
        }
        assert_eq!((text(&fields), fields.is_cut), (r#","a":"three""#, true));
    }

    #[test]
    fn there_are_not_more_than_can_be_compared() {
        let mut fields = Fields::default();
        for number in 0..1000 {
            fields.set(&number.to_string(), Value::U64(number), usize::MAX);
        }
        assert_eq!((fields.list.len(), fields.is_cut), (FIELDS_MAX, true));
        let mut more = Fields::default();
        more.set("more", Value::Bool(true), usize::MAX);
        more.add_missing(&fields, usize::MAX);
        assert_eq!((more.list.len(), more.is_cut), (FIELDS_MAX, true));
    }

    #[test]
    fn what_does_not_fit_is_cut_or_left_out() {
        let mut fields = Fields::default();
        fields.set("a", Value::Text("tea"), 10);
        assert_eq!((text(&fields), fields.is_cut), (r#","a":"tea""#, false));
        fields.set("b", Value::Text("tea"), 10);
        assert_eq!((text(&fields), fields.is_cut), (r#","a":"tea""#, true));
        fields.set("b", Value::Text("coffee"), 18);
        assert_eq!(text(&fields), r#","a":"tea","b":"c""#);
        let mut more = Fields::default();
        more.add_missing(&fields, 12);
        assert_eq!((text(&more), more.is_cut), (r#","a":"tea""#, true));
    }
}
