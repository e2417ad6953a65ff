//! Frames: what goes over a connection. A length of four bytes, a header, a message.
//!
//! The length itself is the business of whoever reads the socket; here a frame that comes in is what
//! follows it, and a frame that goes out has it.
//!
//! Header versions follow from the key and version of the request (see [`ApiKey::request_header_version`] and
//! [`ApiKey::response_header_version`]); nothing on the wire tells them.

use std::cell::Cell;

use bytes::Bytes;

use crate::{
    ApiKey, DecodeError, EncodeError, Encoder, Message, Reader, Request, Response, Str, TaggedFields,
    error::DecodeErrorKind,
};

/// What stands before every request.
#[derive(Clone, Debug, PartialEq, Message)]
#[kafka(data, versions = "1-2", flexible = "2+")]
pub struct RequestHeader {
    /// Which API is asked.
    pub api_key: ApiKey,
    /// The version of the request, which the response will have too.
    pub api_version: i16,
    /// A number that the response repeats.
    pub correlation_id: i32,
    /// The name that the client gives itself, for logs and quotas. Flexible versions keep its old encoding, so
    /// that a broker can read it before it knows the version.
    #[kafka(never_flexible)]
    pub client_id: Option<Str>,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// What stands before every response.
#[derive(Clone, Debug, PartialEq, Message)]
#[kafka(data, versions = "0-1", flexible = "1+")]
pub struct ResponseHeader {
    /// The number of the request.
    pub correlation_id: i32,
    /// Tagged fields that this code does not know.
    pub unknown_tagged_fields: TaggedFields,
}

/// A request of which only the header was read.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestFrame {
    /// Its header.
    pub header: RequestHeader,
    /// The bytes of the request itself.
    pub body: Bytes,
    element_bytes_max: usize,
    element_bytes: Cell<usize>,
}

impl RequestFrame {
    /// Reads the header of a frame, which is given without its length.
    ///
    /// A header is read for every version of a known API, supported or not, so that the version can be refused
    /// in an answer: clients begin with an ApiVersions request that may be newer than the broker (KIP-511).
    ///
    /// # Errors
    /// The API key is not known, or the bytes are no header. There is nothing to answer then.
    pub fn decode(frame: &Bytes) -> Result<Self, DecodeError> {
        let mut start = Reader::new(frame);
        let (key, version) = (ApiKey(start.i16()?), start.i16()?);
        let Some(header_version) = key.request_header_version(version) else {
            return Err(DecodeError::new(DecodeErrorKind::UnknownApiKey { key }, 0));
        };
        let mut reader = Reader::new(frame);
        let header = RequestHeader::decode(&mut reader, header_version)?;
        let body = frame.slice(reader.position()..);
        let element_bytes_max = Reader::new(&body).element_bytes_max();
        Ok(Self { header, body, element_bytes_max, element_bytes: Cell::new(0) })
    }

    /// Lets the elements of the request's arrays take at most `bytes`, if that is less than the default limit of
    /// [`Reader`].
    #[must_use]
    pub fn with_element_limit(self, bytes: usize) -> Self {
        Self { element_bytes_max: self.element_bytes_max.min(bytes), ..self }
    }

    /// How many bytes the elements of the request's arrays may take.
    pub fn element_bytes_max(&self) -> usize {
        self.element_bytes_max
    }

    /// How many bytes the elements of the request took that was read last.
    pub fn element_bytes(&self) -> usize {
        self.element_bytes.get()
    }

    /// Reads the body as the request that the header names. Bytes after it are ignored, as Kafka does: librdkafka
    /// sends some (its Metadata request for all topics from version 9 on has a null array of four bytes, which
    /// reads as a whole request with three bytes left over).
    ///
    /// # Errors
    /// The version is not known, or the bytes are no such request.
    ///
    /// # Panics
    /// In debug builds, if the header names another API than `R`'s.
    pub fn request<R: Request>(&self) -> Result<R, DecodeError> {
        debug_assert_eq!(self.header.api_key, R::API_KEY);
        let mut reader = Reader::with_element_limit(&self.body, self.element_bytes_max);
        let request = R::decode(&mut reader, self.header.api_version)?;
        self.element_bytes.set(reader.element_bytes());
        Ok(request)
    }
}

/// Writes the frame of a response.
///
/// # Errors
/// The version cannot express the response. Nothing was written then.
pub fn encode_response<R: Response>(
    out: &mut Encoder,
    correlation_id: i32,
    version: i16,
    response: &R,
) -> Result<(), EncodeError> {
    let header = ResponseHeader { correlation_id, ..ResponseHeader::default() };
    out.frame(|out| {
        header.encode(out, response_header_version::<R>(version))?;
        response.encode(out, version)
    })
}

/// Writes the frame of a request.
///
/// # Errors
/// The version cannot express the request. Nothing was written then.
pub fn encode_request<R: Request>(
    out: &mut Encoder,
    correlation_id: i32,
    client_id: Option<&Str>,
    version: i16,
    request: &R,
) -> Result<(), EncodeError> {
    let header = RequestHeader {
        api_key: R::API_KEY,
        api_version: version,
        correlation_id,
        client_id: client_id.cloned(),
        unknown_tagged_fields: TaggedFields::default(),
    };
    out.frame(|out| {
        header.encode(out, if version >= R::FLEXIBLE_FROM { 2 } else { 1 })?;
        request.encode(out, version)
    })
}

/// Reads the correlation id of a response's frame, which is given without its length: it tells whose response
/// it is, and with that how to read it.
///
/// # Errors
/// The frame is shorter than that.
pub fn decode_correlation_id(frame: &Bytes) -> Result<i32, DecodeError> {
    Reader::new(frame).i32().map_err(|error| error.in_field("correlation_id"))
}

/// Reads a response's frame, which is given without its length.
///
/// # Errors
/// The version is not known, or the bytes are no such response, or more than one.
pub fn decode_response<R: Response>(frame: &Bytes, version: i16) -> Result<(ResponseHeader, R), DecodeError> {
    let mut reader = Reader::new(frame);
    let header = ResponseHeader::decode(&mut reader, response_header_version::<R>(version))?;
    let response = R::decode(&mut reader, version)?;
    reader.finish().map_err(|error| error.in_message(R::NAME, version))?;
    Ok((header, response))
}

fn response_header_version<R: Response>(version: i16) -> i16 {
    i16::from(R::API_KEY != ApiKey::API_VERSIONS && version >= R::FLEXIBLE_FROM)
}
