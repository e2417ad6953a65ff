//! The face for whoever writes lines.

use std::{
    io::{self, Write},
    time::Duration,
};

use tracing::Level;

use crate::{
    clock,
    entry::Entry,
    own,
    sink::{FlushError, Sink},
};

impl Sink {
    /// The face for all else: lines that are written become events of this level, as they are.
    pub fn writer(&self, level: Level) -> LineWriter {
        LineWriter::new(self.clone(), level)
    }
}

/// What stands at the end of a line that was cut.
const MARK: &[u8] = b" [truncated]";

/// Lines that are written become events, as they are, without their ends; what is written between is joined until
/// its line is whole. Empty lines are left out.
///
/// `write` waits for nothing (but see [`Overflow::Block`](crate::Overflow::Block)). `flush` gives on what there is of the last line
/// and waits as [`Sink::flush`] does, for the time that [`Builder::flush_within`](crate::Builder::flush_within) sets. When it
/// is dropped, what there is of the last line is given on.
#[derive(Debug)]
pub struct LineWriter {
    sink: Sink,
    level: Level,
    /// What there is of a line.
    line: Vec<u8>,
    /// The line is longer than an event may be.
    is_cut: bool,
}

impl LineWriter {
    pub(crate) fn new(sink: Sink, level: Level) -> Self {
        Self { sink, level, line: Vec::new(), is_cut: false }
    }

    /// Gives on what there is of the last line, and waits until everything that was given to the sink has had its end.
    ///
    /// # Errors
    /// Those of [`Sink::flush`].
    pub fn close(mut self, within: Duration) -> Result<(), FlushError> {
        self.end_line();
        self.sink.flush(within)
    }

    fn add(&mut self, part: &[u8]) {
        let room = self.sink.shared.encoder.max_event_bytes() - MARK.len() - self.line.len();
        if self.is_cut {
            return;
        }
        self.is_cut = part.len() > room;
        self.line.extend_from_slice(&part[..part.len().min(room)]);
    }

    fn end_line(&mut self) {
        if self.is_cut {
            cut_half_a_character(&mut self.line);
            self.line.extend_from_slice(MARK);
            self.sink.shared.encoder.count_truncated();
        }
        push(&self.sink, self.level, &self.line);
        self.line.clear();
        self.is_cut = false;
    }
}

impl Write for LineWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // What the sink's own thread logs would never end.
        if own::is_own() {
            return Ok(bytes.len());
        }
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (part, after) = (&rest[..end], &rest[end + 1..]);
            rest = after;
            if self.line.is_empty() && part.len() <= self.sink.shared.encoder.max_event_bytes() - MARK.len() {
                push(&self.sink, self.level, part);
            } else {
                self.add(part);
                self.end_line();
            }
        }
        self.add(rest);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.end_line();
        self.sink.flush(self.sink.shared.flush_within).map_err(|error| {
            let kind = match error {
                FlushError::Timeout { .. } => io::ErrorKind::TimedOut,
                FlushError::Closed => io::ErrorKind::BrokenPipe,
                _ => io::ErrorKind::Other,
            };
            io::Error::new(kind, error)
        })
    }
}

impl Drop for LineWriter {
    fn drop(&mut self) {
        self.end_line();
    }
}

fn push(sink: &Sink, level: Level, line: &[u8]) {
    let value = line.strip_suffix(b"\r").unwrap_or(line);
    if value.is_empty() {
        return;
    }
    let timestamp = clock::milliseconds(clock::wall());
    sink.shared.take(Entry { level, timestamp, key: None, target: None, value });
}

/// Takes away the first bytes of a character at the end of which others are missing.
fn cut_half_a_character(line: &mut Vec<u8>) {
    let continues = |byte: &u8| byte & 0b1100_0000 == 0b1000_0000;
    let Some(start) = line.iter().rposition(|byte| !continues(byte)) else { return };
    let whole = match line[start] {
        0..0x80 => 1,
        0xC0..0xE0 => 2,
        0xE0..0xF0 => 3,
        0xF0..0xF8 => 4,
        // It is no text.
        _ => return,
    };
    if line.len() - start < whole {
        line.truncate(start);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_character_goes_and_a_whole_one_stays() {
        for text in ["tea", "tée", "té", "日本", "🍵"] {
            for end in 1..=text.len() {
                let mut line = text.as_bytes()[..end].to_vec();
                cut_half_a_character(&mut line);
                let whole = (0..=end).rev().find(|end| text.is_char_boundary(*end)).unwrap();
                assert_eq!(line, &text.as_bytes()[..whole]);
            }
        }
        for other in [&b""[..], b"\xFF", b"\x80\x80", b"\xFF\x80"] {
            let mut line = other.to_vec();
            cut_half_a_character(&mut line);
            assert_eq!(line, other);
        }
    }
}
