//! Names of topics: which are valid, and which stand in each other's way.

use thiserror::Error;

/// The longest name of a topic, in characters.
pub const NAME_LEN_MAX: usize = 249;

/// Why a name cannot be a topic's.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum InvalidName {
    /// It is empty.
    #[error("the empty string is no topic name")]
    Empty,
    /// It is `.` or `..`.
    #[error("'.' and '..' are no topic names")]
    Dots,
    /// It is too long.
    #[error("a topic name has at most {NAME_LEN_MAX} characters, and this one has {0}")]
    TooLong(usize),
    /// It has a character that is not allowed.
    #[error("a topic name consists of ASCII letters and digits, '.', '_' and '-'")]
    Character,
}

/// Checks a name by Kafka's rules.
///
/// # Errors
/// See [`InvalidName`].
pub fn validate(name: &str) -> Result<(), InvalidName> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    match name {
        "" => Err(InvalidName::Empty),
        "." | ".." => Err(InvalidName::Dots),
        _ if name.len() > NAME_LEN_MAX => Err(InvalidName::TooLong(name.chars().count())),
        _ if !name.chars().all(allowed) => Err(InvalidName::Character),
        _ => Ok(()),
    }
}

/// Whether two different names give the same metric name, in which Kafka writes `.` as `_`.
pub fn collides(one: &str, other: &str) -> bool {
    let metric = |byte| if byte == b'.' { b'_' } else { byte };
    one != other && one.bytes().map(metric).eq(other.bytes().map(metric))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_as_kafka_does() {
        for good in ["a", "A-1_b.c", &"x".repeat(249), "..."] {
            assert_eq!(validate(good), Ok(()), "{good}");
        }
        assert_eq!(validate(""), Err(InvalidName::Empty));
        assert_eq!(validate(".."), Err(InvalidName::Dots));
        assert_eq!(validate(&"x".repeat(250)), Err(InvalidName::TooLong(250)));
        for bad in ["a b", "a/b", "ä", "a\n"] {
            assert_eq!(validate(bad), Err(InvalidName::Character), "{bad}");
        }
        assert!(collides("a.b", "a_b"));
        assert!(!collides("a.b", "a.b"));
        assert!(!collides("a.b", "a-b"));
    }
}
