//! Where the value of a setting is kept, which values it may have, and how it is read from text.

use std::{fmt, ops::RangeInclusive, time::Duration};

/// The value of a setting in `C`. Times are in milliseconds where they are text, and may have decimals.
pub(super) enum Field<C> {
    Time { at: fn(&mut C) -> &mut Duration, ms: RangeInclusive<u64> },
    Bytes { at: fn(&mut C) -> &mut usize, range: RangeInclusive<usize> },
    Level { at: fn(&mut C) -> &mut i32, range: RangeInclusive<i32>, or: Option<i32> },
    Flag { at: fn(&mut C) -> &mut bool },
    Text { at: fn(&mut C) -> &mut String },
    MaybeText { at: fn(&mut C) -> &mut Option<String> },
    List { at: fn(&mut C) -> &mut Vec<String> },
    Word { read: fn(&mut C, &str) -> bool, show: fn(&C) -> &'static str, words: fn() -> String },
}

/// A value that is given by a word. The first word of a value is its name.
pub(super) trait Word: Clone + PartialEq + 'static {
    const WORDS: &'static [(&'static str, Self)];

    fn word(&self) -> &'static str {
        Self::WORDS.iter().find(|(_, value)| value == self).map_or("custom", |(word, _)| word)
    }

    /// Reads a word into `self`, and tells whether there is such a word.
    fn read(&mut self, text: &str) -> bool {
        let found = Self::WORDS.iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
        found.map(|(_, value)| *self = value.clone()).is_some()
    }

    fn words() -> String {
        Self::WORDS.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ")
    }
}

/// How many bytes the number of a property counts: librdkafka says in the name where it is not one.
fn unit(property: &str) -> usize {
    if property.ends_with(".kbytes") { 1024 } else { 1 }
}

impl<C> Field<C> {
    /// Reads the value of a property.
    ///
    /// # Errors
    /// What it would have to be, as in "a number of bytes from 1 to 9".
    pub(super) fn read(&self, config: &mut C, property: &str, text: &str) -> Result<(), String> {
        let read = match self {
            Self::Time { at, .. } => milliseconds(text).map(|time| *at(config) = time),
            Self::Bytes { at, .. } => {
                let number = text.parse().ok();
                let bytes = number.and_then(|number: usize| number.checked_mul(unit(property)));
                bytes.map(|bytes| *at(config) = bytes)
            }
            Self::Level { at, .. } => text.parse().ok().map(|level| *at(config) = level),
            Self::Flag { at } => text.to_ascii_lowercase().parse().ok().map(|flag| *at(config) = flag),
            Self::Text { at } => Some(text).filter(|it| !it.is_empty()).map(|it| *at(config) = it.into()),
            Self::MaybeText { at } => {
                *at(config) = Some(text.to_owned()).filter(|it| !it.is_empty());
                Some(())
            }
            Self::List { at } => {
                let elements = text.split(',').map(|element| element.trim().to_owned());
                *at(config) = elements.filter(|element| !element.is_empty()).collect();
                Some(())
            }
            Self::Word { read, .. } => read(config, text).then_some(()),
        };
        let in_range = read.is_some() && self.is_valid(config);
        if in_range { Ok(()) } else { Err(self.demand(unit(property)).to_string()) }
    }

    /// Whether the value is one that it may have.
    pub(super) fn is_valid(&self, config: &mut C) -> bool {
        match self {
            Self::Time { at, ms } => {
                let time = *at(config);
                (Duration::from_millis(*ms.start())..=Duration::from_millis(*ms.end())).contains(&time)
            }
            Self::Bytes { at, range } => range.contains(at(config)),
            Self::Level { at, range, or } => {
                let level = *at(config);
                range.contains(&level) || *or == Some(level)
            }
            Self::Text { at } => !at(config).is_empty(),
            Self::Flag { .. } | Self::MaybeText { .. } | Self::List { .. } | Self::Word { .. } => true,
        }
    }

    /// What the value has to be, where the numbers of bytes count so many each.
    pub(super) fn demand(&self, unit: usize) -> Demand<'_, C> {
        Demand { field: self, unit }
    }

    /// The value.
    pub(super) fn show(&self, config: &mut C) -> String {
        match self {
            Self::Time { at, .. } => format!("{:?}", at(config)),
            Self::Bytes { at, .. } => at(config).to_string(),
            Self::Level { at, .. } => at(config).to_string(),
            Self::Flag { at } => at(config).to_string(),
            Self::Text { at } => at(config).clone(),
            Self::MaybeText { at } => at(config).clone().unwrap_or_default(),
            Self::List { at } => at(config).join(","),
            Self::Word { show, .. } => show(config).to_owned(),
        }
    }
}

/// What a value has to be.
pub(super) struct Demand<'a, C> {
    field: &'a Field<C>,
    unit: usize,
}

impl<C> fmt::Display for Demand<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.field {
            Field::Time { ms, .. } => {
                write!(f, "a number of milliseconds from {} to {}", ms.start(), ms.end())
            }
            Field::Bytes { range, .. } => {
                let (least, most) = (range.start().div_ceil(self.unit), range.end() / self.unit);
                let unit = if self.unit == 1 { "bytes" } else { "KiB" };
                match *range.end() {
                    usize::MAX => write!(f, "a number of {unit} from {least} on"),
                    _ => write!(f, "a number of {unit} from {least} to {most}"),
                }
            }
            Field::Level { range, or, .. } => {
                write!(f, "a number from {} to {}", range.start(), range.end())?;
                or.map_or(Ok(()), |or| write!(f, ", or {or}"))
            }
            Field::Flag { .. } => f.write_str("true or false"),
            Field::Text { .. } => f.write_str("a text"),
            Field::MaybeText { .. } => f.write_str("a text, or nothing"),
            Field::List { .. } => f.write_str("a list, separated by commas"),
            Field::Word { words, .. } => write!(f, "one of {}", words()),
        }
    }
}

/// Reads a time, to the microsecond.
fn milliseconds(text: &str) -> Option<Duration> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let micros: u64 = format!("{part:0<3}").get(..3)?.parse().ok()?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let whole = Some(whole).filter(|_| is_number(whole) && is_number(part))?;
    Duration::from_millis(whole.parse().ok()?).checked_add(Duration::from_micros(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_may_have_decimals() {
        for (text, micros) in
            [("0", 0), ("5", 5_000), ("0.5", 500), ("1.0009", 1_000), ("900000", 900_000_000), ("7.", 0)]
        {
            let expected = Some(Duration::from_micros(micros)).filter(|_| text != "7.");
            assert_eq!(milliseconds(text), expected, "{text}");
        }
        for text in ["", "-1", "+1", ".5", "1e3", "1.x", "1.5.5", "5ms", "1.é", "99999999999999999999"] {
            assert_eq!(milliseconds(text), None, "{text}");
        }
    }
}
