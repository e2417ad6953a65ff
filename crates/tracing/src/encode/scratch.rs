//! Buffers that a thread keeps, in which an event is put together.

use std::{
    cell::Cell,
    fmt::Write,
    time::{Duration, SystemTime},
};

use super::fields::{Fields, LogPlace};

/// A buffer that has grown larger is not kept.
const KEPT_MAX: usize = 64 << 10;

thread_local! {
    static KEPT: Cell<Option<Box<Scratch>>> = const { Cell::new(None) };
}

/// Buffers for one event.
#[derive(Default)]
pub(super) struct Scratch {
    pub(super) fields: Fields,
    /// The message, in JSON.
    pub(super) message: Vec<u8>,
    pub(super) place: LogPlace,
    pub(super) key: Vec<u8>,
    /// The event.
    pub(super) out: Vec<u8>,
    pub(super) clock: Clock,
}

/// Lends the thread's buffers, empty, to `with`. An event inside another one, which a `Debug` may log, has others.
pub(super) fn lend<T>(with: impl FnOnce(&mut Scratch) -> T) -> T {
    // A thread that ends has none any more.
    let kept = KEPT.try_with(Cell::take).ok().flatten();
    let mut scratch = kept.unwrap_or_default();
    scratch.clear();
    let result = with(&mut scratch);
    if scratch.size() <= KEPT_MAX {
        let _ = KEPT.try_with(|kept| kept.set(Some(scratch)));
    }
    result
}

impl Scratch {
    fn clear(&mut self) {
        self.fields.clear();
        self.message.clear();
        self.place.clear();
        self.key.clear();
        self.out.clear();
    }

    fn size(&self) -> usize {
        self.out.capacity() + self.message.capacity() + self.fields.capacity()
    }
}

/// Writes times of day; what does not change within a second is kept.
#[derive(Default)]
pub(super) struct Clock {
    second: Option<u64>,
    /// `2026-01-02T03:04:05`
    text: String,
}

impl Clock {
    /// Writes a time as RFC 3339 with microseconds, in UTC. What is before 1970 is 1970.
    pub(super) fn write(&mut self, out: &mut Vec<u8>, at: SystemTime) {
        let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        if self.second != Some(since.as_secs()) {
            self.text.clear();
            let second = SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs());
            // A time beyond the year 9999 cannot be written so.
            if write!(self.text, "{}", humantime::format_rfc3339_seconds(second)).is_err() {
                self.text.clear();
                self.text.push_str("9999-12-31T23:59:59Z");
            }
            // The `Z` goes behind the fraction.
            self.text.pop();
            self.second = Some(since.as_secs());
        }
        out.extend_from_slice(self.text.as_bytes());
        let mut fraction = *b".000000Z";
        let mut micros = since.subsec_micros();
        for digit in fraction[1..7].iter_mut().rev() {
            *digit = b'0' + (micros % 10) as u8;
            micros /= 10;
        }
        out.extend_from_slice(&fraction);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_a_library() {
        let mut clock = Clock::default();
        let mut micros = 0_u64;
        for step in [0, 1, 999_998, 1, 86_399_000_000, 1_700_000_000_123_456, 7] {
            micros += step;
            let at = SystemTime::UNIX_EPOCH + Duration::from_micros(micros);
            let mut out = Vec::new();
            clock.write(&mut out, at);
            assert_eq!(String::from_utf8(out).unwrap(), humantime::format_rfc3339_micros(at).to_string());
        }
        let mut out = Vec::new();
        clock.write(&mut out, SystemTime::UNIX_EPOCH - Duration::from_secs(1));
        assert_eq!(out, b"1970-01-01T00:00:00.000000Z");
        out.clear();
        clock.write(&mut out, SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 40));
        assert_eq!(out, b"9999-12-31T23:59:59.000000Z");
    }

    #[test]
    fn buffers_inside_buffers_are_others() {
        lend(|outer| {
            outer.out.push(1);
            lend(|inner| assert!(inner.out.is_empty()));
            assert_eq!(outer.out, [1]);
        });
        lend(|large| large.out.reserve(KEPT_MAX + 1));
        lend(|next| assert!(next.out.capacity() <= KEPT_MAX));
    }
}
