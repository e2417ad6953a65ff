//! Record batches inside messages: opaque here, and never copied.

use bytes::Bytes;

/// The record batches of one partition in a message.
///
/// Decoding gives `Null` or `Bytes`, a view of the frame. `External` is for encoding only: the message is
/// written around a gap that the connection fills, for example with `sendfile`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Records {
    /// No records field at all.
    #[default]
    Null,
    /// The batches, one after the other.
    Bytes(Bytes),
    /// Batches that are somewhere else.
    External {
        /// Which ones; the number means something only to the one who encodes.
        id: u32,
        /// How many bytes they take.
        len: u32,
    },
}

impl Records {
    /// How many bytes the batches take.
    pub fn len(&self) -> usize {
        match self {
            Self::Null => 0,
            Self::Bytes(bytes) => bytes.len(),
            Self::External { len, .. } => *len as usize,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl From<Bytes> for Records {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(bytes)
    }
}
