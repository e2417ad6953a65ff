//! What goes wrong, in kinds that say what a caller can do.

use std::{error, fmt, sync::Arc};

use ottla_protocol::ErrorCode;

/// What kind of failure it is.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The client has stopped trying; the same call may succeed later.
    Retriable,
    /// The deadline passed.
    Timeout,
    /// There is no room in the memory budget for more of this kind. Room comes back as records are answered.
    Backpressure,
    /// The record itself cannot be sent: it is too large, or the broker refuses what is in it.
    InvalidRecord,
    /// There is no such topic or partition.
    UnknownTopic,
    /// The offset to read from is not in the log, or no longer.
    OffsetOutOfRange,
    /// The broker does not know the client, or does not allow what it asks for.
    Auth,
    /// A setting is wrong, or does not go with another.
    Config,
    /// The broker is too old for what was asked of it.
    UnsupportedVersion,
    /// Another producer or member has taken this one's place.
    Fenced,
    /// The transaction has to be aborted.
    Abortable,
    /// What was received is damaged.
    DataCorruption,
    /// The client, or this part of it, was closed.
    Closed,
    /// The broker failed in a way that is none of the others.
    Broker,
}

impl ErrorKind {
    /// All of them, in their order.
    pub(crate) const ALL: [Self; 14] = [
        Self::Retriable,
        Self::Timeout,
        Self::Backpressure,
        Self::InvalidRecord,
        Self::UnknownTopic,
        Self::OffsetOutOfRange,
        Self::Auth,
        Self::Config,
        Self::UnsupportedVersion,
        Self::Fenced,
        Self::Abortable,
        Self::DataCorruption,
        Self::Closed,
        Self::Broker,
    ];

    /// Its name, as metrics and logs have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Retriable => "retriable",
            Self::Timeout => "timeout",
            Self::Backpressure => "backpressure",
            Self::InvalidRecord => "invalid_record",
            Self::UnknownTopic => "unknown_topic",
            Self::OffsetOutOfRange => "offset_out_of_range",
            Self::Auth => "auth",
            Self::Config => "config",
            Self::UnsupportedVersion => "unsupported_version",
            Self::Fenced => "fenced",
            Self::Abortable => "abortable",
            Self::DataCorruption => "data_corruption",
            Self::Closed => "closed",
            Self::Broker => "broker",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whether a record that failed is in the log all the same.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Written {
    /// It is not, and never will be: it may be sent again.
    No,
    /// Nobody knows: it was sent, and no answer says what became of it. It is there at most once.
    Maybe,
}

/// What went wrong, with its cause.
///
/// It is cheap to clone: one failure may be that of many records.
#[derive(Clone)]
pub struct Error {
    inner: Arc<Inner>,
}

struct Inner {
    kind: ErrorKind,
    written: Option<Written>,
    what: Box<str>,
    source: Option<Box<dyn error::Error + Send + Sync>>,
}

impl Error {
    /// A failure: `what` says what happened, to what, and what to do.
    pub(crate) fn new(kind: ErrorKind, what: impl Into<Box<str>>) -> Self {
        Self { inner: Arc::new(Inner { kind, written: None, what: what.into(), source: None }) }
    }

    /// The same with what caused it.
    pub(crate) fn because(
        kind: ErrorKind,
        what: impl Into<Box<str>>,
        source: impl Into<Box<dyn error::Error + Send + Sync>>,
    ) -> Self {
        let source = Some(source.into());
        Self { inner: Arc::new(Inner { kind, written: None, what: what.into(), source }) }
    }

    /// The failure of a record, with what is known of its fate; this error is the cause.
    pub(crate) fn of_record(self, written: Written, what: impl Into<Box<str>>) -> Self {
        let (kind, what) = (self.kind(), what.into());
        let inner = Inner { kind, written: Some(written), what, source: Some(Box::new(self)) };
        Self { inner: Arc::new(inner) }
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> ErrorKind {
        self.inner.kind
    }

    /// Whether the record that it is about is in the log all the same; `None` where it is about no record.
    pub fn written(&self) -> Option<Written> {
        self.inner.written
    }

    /// What a broker's error code means for `doing`.
    pub(crate) fn refused(code: ErrorCode, doing: &str, reason: Option<&str>) -> Self {
        let kind = match code {
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION | ErrorCode::UNKNOWN_TOPIC_ID => ErrorKind::UnknownTopic,
            ErrorCode::OFFSET_OUT_OF_RANGE => ErrorKind::OffsetOutOfRange,
            ErrorCode::TOPIC_AUTHORIZATION_FAILED
            | ErrorCode::CLUSTER_AUTHORIZATION_FAILED
            | ErrorCode::GROUP_AUTHORIZATION_FAILED
            | ErrorCode::SASL_AUTHENTICATION_FAILED => ErrorKind::Auth,
            ErrorCode::UNSUPPORTED_VERSION => ErrorKind::UnsupportedVersion,
            code if code.is_retriable() => ErrorKind::Retriable,
            _ => ErrorKind::Broker,
        };
        match reason.filter(|reason| !reason.is_empty()) {
            Some(reason) => Self::new(kind, format!("{doing} was refused: {code}: {reason}")),
            None => Self::new(kind, format!("{doing} was refused: {code}")),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.what)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { kind, written, what, source } = &*self.inner;
        f.debug_struct("Error")
            .field("kind", kind)
            .field("written", written)
            .field("what", what)
            .field("source", source)
            .finish()
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.inner.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use std::{error::Error as _, io};

    use super::*;

    #[test]
    fn a_records_error_tells_its_fate_and_keeps_its_cause() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        let connecting = Error::because(ErrorKind::Timeout, "no broker answered within 5 s", refused);
        assert_eq!(connecting.written(), None);
        let record = connecting.of_record(Written::No, "the record for orders-3 was not sent");
        assert_eq!((record.kind(), record.written()), (ErrorKind::Timeout, Some(Written::No)));
        assert_eq!(record.to_string(), "the record for orders-3 was not sent");
        let cause = record.source().unwrap();
        assert_eq!(cause.to_string(), "no broker answered within 5 s");
        assert!(cause.source().unwrap().to_string().contains("refused"));
    }
}
