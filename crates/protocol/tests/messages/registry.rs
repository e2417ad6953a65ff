//! Every message as functions over bytes, ours beside those of `kafka-protocol`.

use std::ops::RangeInclusive;

use bytes::{Bytes, BytesMut};
use kafka_protocol::protocol::{Decodable, Encodable, Message as TheirMessage};
use ottla_protocol::{ApiKey, Encoder, Message, Request, Response};
use thiserror::Error;

use crate::checks::{check_consumer_protocol, check_request, check_response, flat, with_messages};

/// A message.
pub struct Case {
    pub name: &'static str,
    pub kind: Kind,
    pub versions: RangeInclusive<i16>,
    pub flexible_from: i16,
    /// Decodes bytes of the first version, and nothing after them, and encodes what they say in the second.
    pub ours: fn(&Bytes, i16, i16) -> Result<Bytes, Failure>,
    /// Encodes the message of which nothing was set.
    pub our_default: fn(i16) -> Result<Bytes, Failure>,
    /// The same as `ours` by `kafka-protocol`.
    pub theirs: fn(&Bytes, i16, i16) -> Result<Bytes, Failure>,
    pub their_versions: RangeInclusive<i16>,
}

/// What a message is in the protocol.
#[derive(Clone, Copy, Eq, PartialEq)]
pub enum Kind {
    Request(ApiKey),
    Response(ApiKey),
    /// What members of a group say, behind its version.
    Data,
}

impl Kind {
    /// The key of its API.
    pub fn key(self) -> Option<ApiKey> {
        match self {
            Self::Request(key) | Self::Response(key) => Some(key),
            Self::Data => None,
        }
    }

    /// The fuzz target that reads it.
    pub fn target(self) -> &'static str {
        match self {
            Self::Request(_) => "requests",
            Self::Response(_) => "responses",
            Self::Data => "consumer_protocol",
        }
    }
}

impl Case {
    /// What stands before the message in the input of [`check`](Self::check): the header of a request, the key, the
    /// version and the header of a response, or the version alone.
    pub fn head(&self, version: i16) -> Vec<u8> {
        let with_key = |key: ApiKey| [key.0.to_be_bytes(), version.to_be_bytes(), [0, 0], [0, 1]].concat();
        let is_flexible = version >= self.flexible_from;
        match self.kind {
            Kind::Request(key) => {
                let mut bytes = with_key(key);
                bytes.extend([0, 1, b'c']);
                bytes.extend(is_flexible.then_some(0));
                bytes
            }
            Kind::Response(key) => {
                let mut bytes = with_key(key);
                bytes.extend((is_flexible && key != ApiKey::API_VERSIONS).then_some(0));
                bytes
            }
            Kind::Data => version.to_be_bytes().to_vec(),
        }
    }

    /// What the fuzz target does with these bytes.
    pub fn check(&self, bytes: &[u8]) {
        match self.kind {
            Kind::Request(_) => check_request(bytes),
            Kind::Response(_) => check_response(bytes),
            Kind::Data => check_consumer_protocol(bytes),
        }
    }
}

/// Which half failed, and why.
#[derive(Clone, Debug, Error)]
pub enum Failure {
    #[error("decoding: {0}")]
    Decode(String),
    #[error("encoding: {0}")]
    Encode(String),
}

pub fn cases() -> Vec<Case> {
    macro_rules! cases {
        ($(($constant:ident, $module:ident, $request:ident, $response:ident))*) => {
            vec![$(
                case::<ottla_protocol::messages::$module::$request, kafka_protocol::messages::$request>(
                    Kind::Request(<ottla_protocol::messages::$module::$request as Request>::API_KEY),
                ),
                case::<ottla_protocol::messages::$module::$response, kafka_protocol::messages::$response>(
                    Kind::Response(<ottla_protocol::messages::$module::$response as Response>::API_KEY),
                ),
            )*]
        };
    }
    let mut cases = with_messages!(cases);
    cases.push(case::<
        ottla_protocol::messages::consumer_protocol::ConsumerProtocolSubscription,
        kafka_protocol::messages::ConsumerProtocolSubscription,
    >(Kind::Data));
    cases.push(case::<
        ottla_protocol::messages::consumer_protocol::ConsumerProtocolAssignment,
        kafka_protocol::messages::ConsumerProtocolAssignment,
    >(Kind::Data));
    cases
}

/// The messages by their files: each file of the crate has its pair here.
pub fn modules() -> Vec<&'static str> {
    macro_rules! modules {
        ($(($constant:ident, $module:ident, $request:ident, $response:ident))*) => {
            vec![$(stringify!($module)),*, "consumer_protocol"]
        };
    }
    with_messages!(modules)
}

fn case<Ours, Theirs>(kind: Kind) -> Case
where
    Ours: Message + Default,
    Theirs: TheirMessage + Decodable + Encodable,
{
    Case {
        name: Ours::NAME,
        kind,
        versions: Ours::VERSIONS,
        flexible_from: Ours::FLEXIBLE_FROM,
        ours: ours::<Ours>,
        our_default: our_default::<Ours>,
        theirs: theirs::<Theirs>,
        their_versions: Theirs::VERSIONS.min..=Theirs::VERSIONS.max,
    }
}

fn ours<M: Message>(bytes: &Bytes, from: i16, to: i16) -> Result<Bytes, Failure> {
    let message = M::from_bytes(bytes, from).map_err(|error| Failure::Decode(error.to_string()))?;
    encoded(&message, to)
}

fn our_default<M: Message + Default>(version: i16) -> Result<Bytes, Failure> {
    encoded(&M::default(), version)
}

fn encoded<M: Message>(message: &M, version: i16) -> Result<Bytes, Failure> {
    let mut out = Encoder::new();
    message.encode(&mut out, version).map_err(|error| Failure::Encode(error.to_string()))?;
    assert_eq!(out.len(), message.encoded_size(version), "{} v{version}", M::NAME);
    Ok(flat(&mut out))
}

fn theirs<M: Decodable + Encodable>(bytes: &Bytes, from: i16, to: i16) -> Result<Bytes, Failure> {
    let message = M::decode(&mut bytes.clone(), from).map_err(|error| Failure::Decode(error.to_string()))?;
    let mut out = BytesMut::new();
    message.encode(&mut out, to).map_err(|error| Failure::Encode(error.to_string()))?;
    Ok(out.freeze())
}
