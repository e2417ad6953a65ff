//! What consumers put into the messages of classic groups: subscriptions and assignments, versions 0 to 3.
//!
//! A broker carries both as bytes without a meaning. Consumers read them, and so does who describes their groups or
//! moves them to the protocol of KIP-848. Neither is flexible. They stand behind their version, an int16 that nobody
//! has negotiated: what a newer member wrote is read in the newest version that is known, because versions only ever
//! add fields at the end. [`ConsumerProtocol`] reads and writes them in that way.
//!
//! * 1: the partitions that a member owns, for cooperative rebalancing (KIP-429).
//! * 2: the generation in which it got them (KIP-792).
//! * 3: its rack (KIP-881).
//!
//! The assignment is the same in all versions. Some clients say version 1 of a subscription and leave the partitions
//! out; its beginning is still one of version 0, and Kafka takes the topics of a group from that.

use bytes::{Bytes, BytesMut};
use ottla_protocol::{DecodeError, EncodeError, Encoder, Message, Piece, Reader, Str, TaggedFields};

/// A message behind its own version.
pub trait ConsumerProtocol: Message {
    /// Reads the version and the message. Gives back the version that it was read in: the one that it says, or the
    /// last that is known if that is less. What follows the message is not read.
    ///
    /// # Errors
    /// The version is negative, or the bytes are no such message. The error names the field.
    fn decode_versioned(reader: &mut Reader<'_>) -> Result<(i16, Self), DecodeError> {
        let version = reader.i16().map_err(|error| error.in_field("version"))?.min(*Self::VERSIONS.end());
        Ok((version, Self::decode(reader, version)?))
    }

    /// The same of `bytes`, with the default element limit of [`Reader`].
    ///
    /// # Errors
    /// As [`ConsumerProtocol::decode_versioned`].
    fn from_versioned_bytes(bytes: &Bytes) -> Result<(i16, Self), DecodeError> {
        Self::decode_versioned(&mut Reader::new(bytes))
    }

    /// Writes the version and the message.
    ///
    /// # Errors
    /// As [`Message::encode`].
    fn to_versioned_bytes(&self, version: i16) -> Result<Bytes, EncodeError> {
        let mut out = Encoder::new();
        out.put_i16(version);
        self.encode(&mut out, version)?;
        let mut bytes = BytesMut::with_capacity(out.len());
        for piece in out.finish() {
            // There are no others where there are no records.
            if let Piece::Bytes(piece) = piece {
                bytes.extend_from_slice(&piece);
            }
        }
        Ok(bytes.freeze())
    }
}

impl ConsumerProtocol for ConsumerProtocolSubscription {}

impl ConsumerProtocol for ConsumerProtocolAssignment {}

/// What a member wants to read: its metadata in [JoinGroup](super::join_group).
#[derive(Clone, Debug, PartialEq, Message)]
#[kafka(data, versions = "0-3")]
pub struct ConsumerProtocolSubscription {
    /// The names of the topics.
    pub topics: Vec<Str>,
    /// What its assignor tells those of the other members; null if nothing.
    pub user_data: Option<Bytes>,
    /// The partitions that it owns. Ignorable.
    #[kafka(versions = "1+", ignorable)]
    pub owned_partitions: Vec<TopicPartition>,
    /// The generation in which it got them; -1 if unknown. Ignorable.
    #[kafka(versions = "2+", ignorable, default = -1)]
    pub generation_id: i32,
    /// Its rack; null, or empty, if it has none. Ignorable.
    #[kafka(versions = "3+", ignorable)]
    pub rack_id: Option<Str>,
    /// Always empty: no version has tagged fields.
    pub unknown_tagged_fields: TaggedFields,
}

/// What a member shall read: its assignment in [SyncGroup](super::sync_group).
#[derive(Clone, Debug, PartialEq, Message)]
#[kafka(data, versions = "0-3")]
pub struct ConsumerProtocolAssignment {
    /// The partitions, each topic once.
    pub assigned_partitions: Vec<TopicPartition>,
    /// What the leader's assignor tells that of the member; null if nothing.
    pub user_data: Option<Bytes>,
    /// Always empty: no version has tagged fields.
    pub unknown_tagged_fields: TaggedFields,
}

/// Partitions of one topic.
#[derive(Clone, Debug, PartialEq, Message)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Str,
    /// The indexes of the partitions.
    pub partitions: Vec<i32>,
    /// Always empty: no version has tagged fields.
    pub unknown_tagged_fields: TaggedFields,
}
