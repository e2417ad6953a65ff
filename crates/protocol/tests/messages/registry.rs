//! Every message as functions over bytes, ours beside those of `kafka-protocol`.

use std::ops::RangeInclusive;

use bytes::{Bytes, BytesMut};
use kafka_protocol::protocol::{Decodable, Encodable, Message as TheirMessage};
use ottla_protocol::{ApiKey, Encoder, Message, Request, Response};
use thiserror::Error;

use crate::checks::{check_request, check_response, flat, with_messages};

/// A message.
pub struct Case {
    pub name: &'static str,
    pub key: ApiKey,
    pub is_request: bool,
    pub versions: RangeInclusive<i16>,
    pub flexible_from: i16,
    /// Decodes bytes of the first version, and nothing after them, and encodes what they say in the second.
    pub ours: fn(&Bytes, i16, i16) -> Result<Bytes, Failure>,
    /// The same by `kafka-protocol`.
    pub theirs: fn(&Bytes, i16, i16) -> Result<Bytes, Failure>,
    pub their_versions: RangeInclusive<i16>,
}

impl Case {
    /// What stands before the message in the input of [`check`](Self::check): the header of a request, or the key,
    /// the version and the header of a response.
    pub fn head(&self, version: i16) -> Vec<u8> {
        let mut bytes = [self.key.0.to_be_bytes(), version.to_be_bytes(), [0, 0], [0, 1]].concat();
        if self.is_request {
            bytes.extend([0, 1, b'c']);
        }
        let is_flexible = version >= self.flexible_from;
        bytes.extend((is_flexible && (self.is_request || self.key != ApiKey::API_VERSIONS)).then_some(0));
        bytes
    }

    /// What the fuzz target does with these bytes.
    pub fn check(&self, bytes: &[u8]) {
        if self.is_request { check_request(bytes) } else { check_response(bytes) }
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
                    <ottla_protocol::messages::$module::$request as Request>::API_KEY,
                    true,
                ),
                case::<ottla_protocol::messages::$module::$response, kafka_protocol::messages::$response>(
                    <ottla_protocol::messages::$module::$response as Response>::API_KEY,
                    false,
                ),
            )*]
        };
    }
    with_messages!(cases)
}

/// The messages by their files: each file of the crate has its pair here.
pub fn modules() -> Vec<&'static str> {
    macro_rules! modules {
        ($(($constant:ident, $module:ident, $request:ident, $response:ident))*) => {
            vec![$(stringify!($module)),*]
        };
    }
    with_messages!(modules)
}

fn case<Ours, Theirs>(key: ApiKey, is_request: bool) -> Case
where
    Ours: Message,
    Theirs: TheirMessage + Decodable + Encodable,
{
    Case {
        name: Ours::NAME,
        key,
        is_request,
        versions: Ours::VERSIONS,
        flexible_from: Ours::FLEXIBLE_FROM,
        ours: ours::<Ours>,
        theirs: theirs::<Theirs>,
        their_versions: Theirs::VERSIONS.min..=Theirs::VERSIONS.max,
    }
}

fn ours<M: Message>(bytes: &Bytes, from: i16, to: i16) -> Result<Bytes, Failure> {
    let message = M::from_bytes(bytes, from).map_err(|error| Failure::Decode(error.to_string()))?;
    let mut out = Encoder::new();
    message.encode(&mut out, to).map_err(|error| Failure::Encode(error.to_string()))?;
    assert_eq!(out.len(), message.encoded_size(to), "{} v{to}", M::NAME);
    Ok(flat(&mut out))
}

fn theirs<M: Decodable + Encodable>(bytes: &Bytes, from: i16, to: i16) -> Result<Bytes, Failure> {
    let message = M::decode(&mut bytes.clone(), from).map_err(|error| Failure::Decode(error.to_string()))?;
    let mut out = BytesMut::new();
    message.encode(&mut out, to).map_err(|error| Failure::Encode(error.to_string()))?;
    Ok(out.freeze())
}
