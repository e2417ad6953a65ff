//! The Kafka wire protocol: every message and version, bytes to structs and back.
//!
//! * [`messages`]: one file for each API, with its request, its response and their parts.
//! * [`RequestFrame`], [`encode_response`], [`encode_request`], [`decode_response`]: frames and headers.
//! * [`Reader`] and [`Encoder`]: where messages are read from and written to.
//! * [`Message`], the trait: any message in any of its versions.
//!
//! ```
//! use bytes::Bytes;
//! use ottla_protocol::{Encoder, Piece, RequestFrame, encode_request};
//! use ottla_protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic};
//!
//! let topic = MetadataRequestTopic { name: Some("orders".into()), ..Default::default() };
//! let request = MetadataRequest { topics: Some(vec![topic]), ..Default::default() };
//! let mut out = Encoder::new();
//! encode_request(&mut out, 7, Some(&"shop".into()), 12, &request)?;
//!
//! let Some(Piece::Bytes(mut frame)) = out.finish().next() else { unreachable!("one short frame") };
//! let frame = frame.split_off(4);
//! let received = RequestFrame::decode(&frame)?;
//! assert_eq!(received.header.correlation_id, 7);
//! assert_eq!(received.request::<MetadataRequest>()?, request);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Architecture invariants
//!
//! * No I/O, no clock, no threads: bytes in, bytes out.
//! * Nothing that bytes claim decides an allocation, and no bytes make this crate panic or recurse. See
//!   [`Reader`] for the bound on memory.
//! * Record batches are opaque and never copied on the way in; on the way out only short ones are.
//! * Wire types end here: what an offset or an epoch means is the business of others.
//! * A message is one struct definition; how it is read, written and measured follows from it.

// The code that the derive macro makes names this crate, and some of it is in this crate.
extern crate self as ottla_protocol;

mod api_key;
mod encoder;
mod error;
mod error_code;
mod frame;
mod message;
pub mod messages;
mod reader;
mod records;
mod string;
mod tagged;
mod uuid;
pub mod wire;

pub use ottla_protocol_derive::Message;

pub use crate::{
    api_key::ApiKey,
    encoder::{Encoder, Piece, Pieces, SPLICE_BYTES_MIN},
    error::{DecodeError, DecodeErrorKind, EncodeError, EncodeErrorKind},
    error_code::ErrorCode,
    frame::{
        RequestFrame, RequestHeader, ResponseHeader, decode_correlation_id, decode_response, encode_request,
        encode_response,
    },
    message::{Message, Request, Response},
    reader::{ELEMENT_BYTES_MIN, ELEMENT_BYTES_PER_BYTE, Reader},
    records::Records,
    string::Str,
    tagged::{InOrder, TaggedFields},
    uuid::{InvalidUuid, Uuid},
};
