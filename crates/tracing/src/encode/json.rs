//! JSON within a limit: strings that are cut where they have to be, and everything else whole or not at all.

use std::{
    error::Error,
    fmt::{self, Write as _},
};

use serde_json::to_writer;

/// The value of a field, as those who log hand it over.
#[derive(Clone, Copy)]
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    I64(i64),
    U64(u64),
    I128(i128),
    U128(u128),
    F64(f64),
    Text(&'a str),
    Debug(&'a dyn fmt::Debug),
    Display(&'a dyn fmt::Display),
    /// Becomes its text and those of what caused it, the innermost last.
    Error(&'a (dyn Error + 'static)),
}

/// How much of something was written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Written {
    Whole,
    /// The beginning of a string.
    Cut,
    /// Nothing: there was no room for it.
    Nothing,
}

/// Writes a value at the end of `out`, which becomes no longer than `end`.
pub(super) fn write_value(out: &mut Vec<u8>, end: usize, value: Value<'_>) -> Written {
    match value {
        Value::Null => write_whole(out, end, b"null"),
        Value::Bool(true) => write_whole(out, end, b"true"),
        Value::Bool(false) => write_whole(out, end, b"false"),
        Value::I64(value) => write_number(out, end, |out| to_writer(out, &value)),
        Value::U64(value) => write_number(out, end, |out| to_writer(out, &value)),
        Value::F64(value) if value.is_finite() => write_number(out, end, |out| to_writer(out, &value)),
        Value::I128(value) => match (i64::try_from(value), u64::try_from(value)) {
            (Ok(value), _) => write_value(out, end, Value::I64(value)),
            (_, Ok(value)) => write_value(out, end, Value::U64(value)),
            _ => write_text(out, end, Value::I128(value)),
        },
        Value::U128(value) => match u64::try_from(value) {
            Ok(value) => write_value(out, end, Value::U64(value)),
            Err(_) => write_text(out, end, Value::U128(value)),
        },
        value => write_text(out, end, value),
    }
}

/// Writes a value as a string, whatever it is, at the end of `out`, which becomes no longer than `end`.
pub(super) fn write_text(out: &mut Vec<u8>, end: usize, value: Value<'_>) -> Written {
    let start = out.len();
    if end.saturating_sub(start) < 2 {
        return Written::Nothing;
    }
    out.push(b'"');
    let mut text = Escaped { out, end: end - 1, is_cut: false };
    // What a `Debug` says of its own failure is not told apart: what it wrote before is what there is.
    let _ = match value {
        Value::Null => text.write_str("null"),
        Value::Bool(value) => text.write_str(if value { "true" } else { "false" }),
        Value::I64(value) => write!(text, "{value}"),
        Value::U64(value) => write!(text, "{value}"),
        Value::I128(value) => write!(text, "{value}"),
        Value::U128(value) => write!(text, "{value}"),
        Value::F64(value) => write!(text, "{value}"),
        Value::Text(value) => text.write_str(value),
        Value::Debug(value) => write!(text, "{value:?}"),
        Value::Display(value) => write!(text, "{value}"),
        Value::Error(value) => write_chain(&mut text, value),
    };
    let is_cut = text.is_cut;
    if is_cut && out.len() == start + 1 {
        out.truncate(start);
        return Written::Nothing;
    }
    out.push(b'"');
    if is_cut { Written::Cut } else { Written::Whole }
}

/// Writes the beginning of `string`, a string as it stands in JSON, at the end of `out`, which becomes no longer than
/// `end`.
pub(super) fn write_beginning(out: &mut Vec<u8>, end: usize, string: &[u8]) -> Written {
    let room = end.saturating_sub(out.len());
    if string.len() <= room {
        out.extend_from_slice(string);
        return Written::Whole;
    }
    let text = &string[1..string.len() - 1];
    let mut kept = 0;
    while kept < text.len() && kept + piece_len(&text[kept..]) + 2 <= room {
        kept += piece_len(&text[kept..]);
    }
    if kept == 0 {
        return Written::Nothing;
    }
    out.push(b'"');
    out.extend_from_slice(&text[..kept]);
    out.push(b'"');
    Written::Cut
}

/// What a value in JSON says: a string its text, anything else itself. It is cut, at a character, to `most` bytes.
pub(super) fn write_plainly(out: &mut Vec<u8>, most: usize, value: &[u8]) {
    let Some(text) = value.strip_prefix(b"\"") else {
        out.extend_from_slice(&value[..value.len().min(most)]);
        return;
    };
    let (mut text, end) = (&text[..text.len() - 1], out.len() + most);
    while !text.is_empty() {
        let (piece, rest) = text.split_at(piece_len(text));
        let control;
        let plain = match piece {
            [b'\\', b'u', code @ ..] => {
                control = [code.iter().fold(0, |value, digit| value << 4 | hexadecimal(*digit))];
                &control[..]
            }
            [b'\\', escape] => {
                control = [unescaped(*escape)];
                &control[..]
            }
            piece => piece,
        };
        if out.len() + plain.len() > end {
            return;
        }
        out.extend_from_slice(plain);
        text = rest;
    }
}

/// The beginning of a text that has at most so many bytes, cut at a character.
pub(super) fn beginning(text: &str, most: usize) -> &str {
    if text.len() <= most {
        return text;
    }
    let mut end = most;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn write_whole(out: &mut Vec<u8>, end: usize, bytes: &[u8]) -> Written {
    if end.saturating_sub(out.len()) < bytes.len() {
        return Written::Nothing;
    }
    out.extend_from_slice(bytes);
    Written::Whole
}

fn write_number(
    out: &mut Vec<u8>,
    end: usize,
    write: impl FnOnce(&mut Vec<u8>) -> serde_json::Result<()>,
) -> Written {
    let start = out.len();
    if write(out).is_err() || out.len() > end {
        out.truncate(start);
        return Written::Nothing;
    }
    Written::Whole
}

fn write_chain(text: &mut Escaped<'_>, error: &(dyn Error + 'static)) -> fmt::Result {
    write!(text, "{error}")?;
    let mut cause = error.source();
    while let Some(error) = cause {
        write!(text, ": {error}")?;
        cause = error.source();
    }
    Ok(())
}

/// The inside of a string in JSON. It fails once the limit is passed, so that what is formatted stops there.
struct Escaped<'a> {
    out: &'a mut Vec<u8>,
    end: usize,
    is_cut: bool,
}

impl Escaped<'_> {
    /// Text of which nothing has to be escaped.
    fn write_run(&mut self, run: &str) -> fmt::Result {
        let room = self.end - self.out.len();
        let kept = beginning(run, room);
        self.out.extend_from_slice(kept.as_bytes());
        self.go_on(kept.len() == run.len())
    }

    fn write_escape(&mut self, byte: u8, escape: u8) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digits = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
        let long = [b'\\', b'u', b'0', b'0', digits[0], digits[1]];
        let sequence = if escape == b'u' { &long[..] } else { &[b'\\', escape][..] };
        let fits = self.out.len() + sequence.len() <= self.end;
        if fits {
            self.out.extend_from_slice(sequence);
        }
        self.go_on(fits)
    }

    fn go_on(&mut self, fits: bool) -> fmt::Result {
        self.is_cut |= !fits;
        if fits { Ok(()) } else { Err(fmt::Error) }
    }
}

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // A `Debug` that goes on after an error writes nothing more.
        self.go_on(!self.is_cut)?;
        let mut start = 0;
        for (at, byte) in text.bytes().enumerate() {
            let escape = ESCAPES[usize::from(byte)];
            if escape != 0 {
                self.write_run(&text[start..at])?;
                self.write_escape(byte, escape)?;
                start = at + 1;
            }
        }
        self.write_run(&text[start..])
    }
}

/// What follows the backslash for a byte that has to be escaped, 0 for all others.
const ESCAPES: [u8; 256] = {
    let mut escapes = [0; 256];
    let mut control = 0;
    while control < 0x20 {
        escapes[control] = b'u';
        control += 1;
    }
    escapes[0x08] = b'b';
    escapes[0x09] = b't';
    escapes[0x0a] = b'n';
    escapes[0x0c] = b'f';
    escapes[0x0d] = b'r';
    escapes[b'"' as usize] = b'"';
    escapes[b'\\' as usize] = b'\\';
    escapes
};

/// The byte that an escape of two bytes stands for.
fn unescaped(escape: u8) -> u8 {
    match escape {
        b'b' => 0x08,
        b't' => 0x09,
        b'n' => 0x0a,
        b'f' => 0x0c,
        b'r' => 0x0d,
        itself => itself,
    }
}

fn hexadecimal(digit: u8) -> u8 {
    match digit {
        b'a'..=b'f' => digit - b'a' + 10,
        digit => digit.wrapping_sub(b'0'),
    }
}

/// The length of the first character or escape of what stands in a string. At most all of it.
fn piece_len(text: &[u8]) -> usize {
    let len = match text {
        [b'\\', b'u', ..] => 6,
        [b'\\', ..] => 2,
        [0xf0..=0xff, ..] => 4,
        [0xe0..=0xef, ..] => 3,
        [0xc0..=0xdf, ..] => 2,
        _ => 1,
    };
    len.min(text.len())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use proptest::prelude::*;

    use super::*;

    fn written(value: Value<'_>, end: usize) -> (String, Written) {
        let mut out = Vec::new();
        let written = write_value(&mut out, end, value);
        (String::from_utf8(out).unwrap(), written)
    }

    #[test]
    fn each_kind_of_value_has_its_json() {
        let cases = [
            (Value::Null, "null"),
            (Value::Bool(true), "true"),
            (Value::Bool(false), "false"),
            (Value::I64(i64::MIN), "-9223372036854775808"),
            (Value::U64(u64::MAX), "18446744073709551615"),
            (Value::I128(-5), "-5"),
            (Value::I128(u64::MAX.into()), "18446744073709551615"),
            (Value::I128(i128::MIN), r#""-170141183460469231731687303715884105728""#),
            (Value::U128(5), "5"),
            (Value::U128(u128::MAX), r#""340282366920938463463374607431768211455""#),
            (Value::F64(1.5), "1.5"),
            (Value::F64(f64::NAN), r#""NaN""#),
            (Value::F64(f64::NEG_INFINITY), r#""-inf""#),
            (Value::Text("a \"b\" \\ \n\u{1} é"), "\"a \\\"b\\\" \\\\ \\n\\u0001 é\""),
            (Value::Debug(&Some("x")), r#""Some(\"x\")""#),
            (Value::Display(&"x"), r#""x""#),
        ];
        for (value, json) in cases {
            assert_eq!(written(value, 100), (json.into(), Written::Whole));
            assert_eq!(written(value, json.len()), (json.into(), Written::Whole));
        }
    }

    #[test]
    fn an_error_has_its_causes() {
        #[derive(Debug, thiserror::Error)]
        #[error("outer")]
        struct Outer(#[source] Inner);
        #[derive(Debug, thiserror::Error)]
        #[error("inner")]
        struct Inner(#[source] std::num::ParseIntError);

        let error = Outer(Inner("x".parse::<u8>().unwrap_err()));
        assert_eq!(written(Value::Error(&error), 100).0, r#""outer: inner: invalid digit found in string""#);
    }

    #[test]
    fn what_does_not_fit_is_cut_or_left_out() {
        assert_eq!(written(Value::Text("abc"), 4), ("\"ab\"".into(), Written::Cut));
        assert_eq!(written(Value::Text("aé"), 4), ("\"a\"".into(), Written::Cut));
        assert_eq!(written(Value::Text("a\u{1}"), 8), ("\"a\"".into(), Written::Cut));
        assert_eq!(written(Value::Text("a\n"), 4), ("\"a\"".into(), Written::Cut));
        assert_eq!(written(Value::Text("é"), 3), (String::new(), Written::Nothing));
        assert_eq!(written(Value::Text("a"), 1), (String::new(), Written::Nothing));
        assert_eq!(written(Value::U64(123), 2), (String::new(), Written::Nothing));
        assert_eq!(written(Value::Bool(true), 3), (String::new(), Written::Nothing));
    }

    /// Writes for ever, unless it is told to stop.
    struct Endless<'a>(&'a Cell<usize>);

    impl fmt::Debug for Endless<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            loop {
                self.0.set(self.0.get() + 1);
                f.write_str("endless ")?;
            }
        }
    }

    #[test]
    fn what_is_formatted_stops_at_the_limit() {
        let writes = Cell::new(0);
        let (json, cut) = written(Value::Debug(&Endless(&writes)), 1024);
        assert_eq!((json.len(), cut, writes.get()), (1024, Written::Cut, 128));
    }

    proptest! {
        #[test]
        fn every_string_comes_back_as_far_as_it_fits(text: String, end in 0..64_usize) {
            let (whole, _) = written(Value::Text(&text), usize::MAX);
            prop_assert_eq!(&serde_json::from_str::<String>(&whole).unwrap(), &text);
            let (json, cut) = written(Value::Text(&text), end);
            prop_assert_eq!(cut == Written::Whole, whole.len() <= end);
            prop_assert!(json.len() <= end);
            if cut != Written::Nothing {
                prop_assert!(text.starts_with(&serde_json::from_str::<String>(&json).unwrap()));
            }

            let mut shorter = Vec::new();
            prop_assert_eq!(write_beginning(&mut shorter, end, whole.as_bytes()), cut);
            prop_assert_eq!(String::from_utf8(shorter).unwrap(), json);

            let mut plain = Vec::new();
            write_plainly(&mut plain, end, whole.as_bytes());
            prop_assert_eq!(std::str::from_utf8(&plain).unwrap(), beginning(&text, end));
        }
    }
}
