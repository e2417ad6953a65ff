//! What a setting may be: its type, its valid values, and reading a value from text.
//!
//! The syntax is Kafka's: text is trimmed, booleans are `true` or `false` in any case, lists are separated by
//! commas. Only [`Kind::Size`], which is ours, takes units.

use std::{collections::HashSet, fmt};

const MIB: i64 = 1 << 20;

/// The type of a setting, by Kafka's names (`ConfigDef.Type`), and one of our own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// `true` or `false`.
    Boolean,
    /// Text.
    String,
    /// A whole number of 32 bits.
    Int,
    /// A whole number of 16 bits.
    Short,
    /// A whole number of 64 bits.
    Long,
    /// A finite floating-point number.
    Double,
    /// Texts separated by commas.
    List,
    /// The name of a class.
    Class,
    /// Text that is never shown.
    Password,
    /// Bytes, plain or with a unit, as in `256MiB`. Kafka has no such type; clients see a LONG.
    Size,
}

impl Kind {
    /// The name that Kafka gives the type.
    pub fn kafka_name(self) -> &'static str {
        match self {
            Self::Boolean => "BOOLEAN",
            Self::String => "STRING",
            Self::Int => "INT",
            Self::Short => "SHORT",
            Self::Long | Self::Size => "LONG",
            Self::Double => "DOUBLE",
            Self::List => "LIST",
            Self::Class => "CLASS",
            Self::Password => "PASSWORD",
        }
    }

    /// Whether its values must not be shown.
    pub fn is_sensitive(self) -> bool {
        self == Self::Password
    }

    /// Reads a value of this type.
    ///
    /// # Errors
    /// What the text would have to be, as in "must be a whole number".
    pub fn parse(self, text: &str) -> Result<Value, String> {
        let text = text.trim();
        match self {
            Self::Boolean if text.eq_ignore_ascii_case("true") => Ok(Value::Boolean(true)),
            Self::Boolean if text.eq_ignore_ascii_case("false") => Ok(Value::Boolean(false)),
            Self::Boolean => Err("must be true or false".into()),
            Self::String | Self::Class | Self::Password => Ok(Value::Text(text.into())),
            Self::Short => parse_number(text, i16::MIN.into(), i16::MAX.into()),
            Self::Int => parse_number(text, i32::MIN.into(), i32::MAX.into()),
            Self::Long => parse_number(text, i64::MIN, i64::MAX),
            Self::Double => match text.parse::<f64>() {
                Ok(number) if number.is_finite() => Ok(Value::Double(number)),
                _ => Err("must be a number".into()),
            },
            Self::List => parse_list(text),
            Self::Size => parse_size(text),
        }
    }
}

/// Which values of its type a setting may have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Valid {
    /// All of them.
    Any,
    /// Numbers from this one on.
    AtLeast(i64),
    /// Numbers from the first to the second.
    Between(i64, i64),
    /// Numbers from the first to the second, or the third.
    BetweenOr(i64, i64, i64),
    /// One of these texts; of a list, each element.
    OneOf(&'static [&'static str]),
    /// `*`, or a list of `partition:broker`, as the throttles of replication take it.
    ThrottledReplicas,
}

impl Valid {
    /// Checks a value that has the setting's type.
    ///
    /// # Errors
    /// What the value would have to be, as in "must be at least 1".
    pub fn check(self, value: &Value) -> Result<(), String> {
        let valid = match (self, value) {
            (Self::Any, _) => true,
            (Self::OneOf(names), Value::Text(text)) => names.contains(&text.as_str()),
            (Self::OneOf(names), Value::List(list)) => list.iter().all(|text| names.contains(&text.as_str())),
            (Self::ThrottledReplicas, Value::List(list)) => {
                list.iter().all(|text| is_replica(text)) || list.as_slice() == ["*"]
            }
            (_, Value::Number(number)) => self.has(|bound| *number >= bound, |bound| *number <= bound),
            (_, Value::Double(number)) => {
                self.has(|bound| *number >= bound as f64, |bound| *number <= bound as f64)
            }
            _ => false,
        };
        if valid { Ok(()) } else { Err(self.demand(value)) }
    }

    /// Whether a number for which these comparisons hold lies in the range.
    fn has(self, at_least: impl Fn(i64) -> bool, at_most: impl Fn(i64) -> bool) -> bool {
        match self {
            Self::Any => true,
            Self::AtLeast(min) => at_least(min),
            Self::Between(min, max) => at_least(min) && at_most(max),
            Self::BetweenOr(min, max, other) => {
                (at_least(min) && at_most(max)) || (at_least(other) && at_most(other))
            }
            Self::OneOf(_) | Self::ThrottledReplicas => false,
        }
    }

    /// What a value that failed would have to be.
    fn demand(self, value: &Value) -> String {
        match self {
            Self::Any => "has the wrong type".into(),
            Self::AtLeast(min) if min > 0 && min % MIB == 0 => {
                format!("must be at least {min} ({} MiB)", min / MIB)
            }
            Self::AtLeast(min) => format!("must be at least {min}"),
            Self::Between(min, max) => format!("must be from {min} to {max}"),
            Self::BetweenOr(min, max, other) => format!("must be from {min} to {max}, or {other}"),
            Self::OneOf(names) if matches!(value, Value::List(_)) => {
                format!("each element must be one of: {}", names.join(", "))
            }
            Self::OneOf([only]) => format!("must be {only}"),
            Self::OneOf(names) => format!("must be one of: {}", names.join(", ")),
            Self::ThrottledReplicas => {
                "must be * or a list of replicas: partition:broker,partition:broker,...".into()
            }
        }
    }
}

/// As Kafka's documentation writes it; nothing for [`Valid::Any`].
impl fmt::Display for Valid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => Ok(()),
            Self::AtLeast(min) => write!(f, "[{min},...]"),
            Self::Between(min, max) => write!(f, "[{min},...,{max}]"),
            Self::BetweenOr(min, max, other) => write!(f, "[{min},...,{max}] or {other}"),
            Self::OneOf(names) => write!(f, "[{}]", names.join(", ")),
            Self::ThrottledReplicas => f.write_str("[partitionId]:[brokerId],[partitionId]:[brokerId],..."),
        }
    }
}

/// A setting's value, read and checked. It displays as DescribeConfigs shows it: `compact,delete`, `0.5`.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Of a BOOLEAN.
    Boolean(bool),
    /// Of a SHORT, INT, LONG or size.
    Number(i64),
    /// Of a DOUBLE.
    Double(f64),
    /// Of a STRING, CLASS or PASSWORD.
    Text(String),
    /// Of a LIST; no element is empty and none is there twice.
    List(Vec<String>),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean(value) => value.fmt(f),
            Self::Number(value) => value.fmt(f),
            // Debug keeps the `.0` of whole numbers, as Java does.
            Self::Double(value) => fmt::Debug::fmt(value, f),
            Self::Text(value) => value.fmt(f),
            Self::List(values) => values.join(",").fmt(f),
        }
    }
}

/// Settings that have passed their checks, read by type.
pub(super) trait Values {
    /// What the setting comes to; `None` where it was not given and has no default.
    fn value(&self, name: &'static str) -> Option<Value>;

    /// Reads a number.
    ///
    /// # Panics
    /// If the table does not have a number of that range under this name, which no input can bring about.
    fn number<T: TryFrom<i64>>(&self, name: &'static str) -> T {
        match self.value(name) {
            Some(Value::Number(number)) => {
                T::try_from(number).unwrap_or_else(|_| panic!("the range of {name} is wider than its field"))
            }
            _ => panic!("the table has no number {name}"),
        }
    }

    /// Reads a boolean.
    ///
    /// # Panics
    /// If the table does not have a boolean under this name, which no input can bring about.
    fn boolean(&self, name: &'static str) -> bool {
        matches!(self.value(name).unwrap_or_else(|| panic!("the table has no {name}")), Value::Boolean(true))
    }

    /// Whether a text is this one, or a list has it.
    fn has(&self, name: &'static str, text: &str) -> bool {
        match self.value(name) {
            Some(Value::Text(value)) => value == text,
            Some(Value::List(values)) => values.iter().any(|value| value == text),
            _ => false,
        }
    }
}

fn parse_number(text: &str, min: i64, max: i64) -> Result<Value, String> {
    match text.parse::<i64>() {
        Ok(number) if (min..=max).contains(&number) => Ok(Value::Number(number)),
        _ => Err(format!("must be a whole number from {min} to {max}")),
    }
}

fn parse_list(text: &str) -> Result<Value, String> {
    if text.is_empty() {
        return Ok(Value::List(Vec::new()));
    }
    let elements = || text.split(',').map(str::trim);
    if elements().any(str::is_empty) {
        return Err("must not have empty elements".into());
    }
    let mut seen = HashSet::new();
    Ok(Value::List(elements().filter(|element| seen.insert(*element)).map(String::from).collect()))
}

fn parse_size(text: &str) -> Result<Value, String> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let shift = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" => Some(0),
        "kib" => Some(10),
        "mib" => Some(20),
        "gib" => Some(30),
        "tib" => Some(40),
        _ => None,
    };
    let bytes = shift.and_then(|shift| number.parse::<i64>().ok()?.checked_mul(1 << shift));
    bytes.map(Value::Number).ok_or_else(|| "must be a size, as in 268435456, 256MiB or 1GiB".into())
}

fn is_replica(text: &str) -> bool {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    text.split_once(':').is_some_and(|(partition, broker)| is_number(partition) && is_number(broker))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads `text` and shows what it came to, or what it would have to be.
    fn read(kind: Kind, text: &str) -> String {
        kind.parse(text).map_or_else(|error| error, |value| value.to_string())
    }

    #[test]
    fn text_is_read_as_kafka_reads_it() {
        let table = [
            (Kind::Boolean, " TRUE ", "true"),
            (Kind::Boolean, "yes", "must be true or false"),
            (Kind::Boolean, "", "must be true or false"),
            (Kind::Int, " +2000000 ", "2000000"),
            (Kind::Int, "2147483648", "must be a whole number from -2147483648 to 2147483647"),
            (Kind::Int, "1_000", "must be a whole number from -2147483648 to 2147483647"),
            (Kind::Short, "32768", "must be a whole number from -32768 to 32767"),
            (Kind::Long, "9223372036854775807", "9223372036854775807"),
            (Kind::Long, "0x10", "must be a whole number from -9223372036854775808 to 9223372036854775807"),
            (Kind::Long, "1GiB", "must be a whole number from -9223372036854775808 to 9223372036854775807"),
            (Kind::Double, "1e-1", "0.1"),
            (Kind::Double, "1", "1.0"),
            (Kind::Double, "NaN", "must be a number"),
            (Kind::Double, "inf", "must be a number"),
            (Kind::String, "  gzip ", "gzip"),
            (Kind::List, " compact , delete,compact", "compact,delete"),
            (Kind::List, "", ""),
            (Kind::List, "compact,,delete", "must not have empty elements"),
            (Kind::Size, "256MiB", "268435456"),
            (Kind::Size, "1 gib", "1073741824"),
            (Kind::Size, "4096", "4096"),
            (Kind::Size, "256MB", "must be a size, as in 268435456, 256MiB or 1GiB"),
            (Kind::Size, "MiB", "must be a size, as in 268435456, 256MiB or 1GiB"),
            (Kind::Size, "9223372036854775807KiB", "must be a size, as in 268435456, 256MiB or 1GiB"),
            (Kind::Size, "-1", "must be a size, as in 268435456, 256MiB or 1GiB"),
        ];
        for (kind, text, expected) in table {
            assert_eq!(read(kind, text), expected, "{kind:?} {text:?}");
        }
    }

    #[test]
    fn ranges_hold_at_both_ends() {
        let number = |valid: Valid, number| valid.check(&Value::Number(number)).is_ok();
        assert!(number(Valid::AtLeast(1), 1) && !number(Valid::AtLeast(1), 0));
        assert!(number(Valid::Between(1, 9), 9) && !number(Valid::Between(1, 9), 10));
        let gzip = Valid::BetweenOr(1, 9, -1);
        assert!(number(gzip, -1) && number(gzip, 1) && !number(gzip, 0) && !number(gzip, -2));
        let ratio = |number| Valid::Between(0, 1).check(&Value::Double(number)).is_ok();
        assert!(ratio(0.0) && ratio(1.0) && !ratio(1.01) && !ratio(-0.01));
    }

    #[test]
    fn throttled_replicas_are_pairs_or_a_star() {
        for (text, valid) in
            [("*", true), ("", true), ("0:1, 1:2", true), ("x", false), ("0:", false), ("*,0:1", false)]
        {
            let list = Kind::List.parse(text).unwrap();
            assert_eq!(Valid::ThrottledReplicas.check(&list).is_ok(), valid, "{text:?}");
        }
    }
}
