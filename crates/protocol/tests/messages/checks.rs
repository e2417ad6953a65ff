//! What must hold for any bytes at all. The fuzz targets run exactly this.

use bytes::Bytes;
use ottla_protocol::{ApiKey, Encoder, Message, Piece, Reader, Request, RequestFrame};

/// Calls a macro with every message: the key, the module, the request and the response.
///
/// This is the one list of messages that the tests and the fuzz targets have.
macro_rules! with_messages {
    ($callback:ident) => {
        $callback! {
            (PRODUCE, produce, ProduceRequest, ProduceResponse)
            (FETCH, fetch, FetchRequest, FetchResponse)
            (LIST_OFFSETS, list_offsets, ListOffsetsRequest, ListOffsetsResponse)
            (METADATA, metadata, MetadataRequest, MetadataResponse)
            (API_VERSIONS, api_versions, ApiVersionsRequest, ApiVersionsResponse)
            (CREATE_TOPICS, create_topics, CreateTopicsRequest, CreateTopicsResponse)
            (DELETE_TOPICS, delete_topics, DeleteTopicsRequest, DeleteTopicsResponse)
            (INIT_PRODUCER_ID, init_producer_id, InitProducerIdRequest, InitProducerIdResponse)
            (OFFSET_FOR_LEADER_EPOCH, offset_for_leader_epoch, OffsetForLeaderEpochRequest,
             OffsetForLeaderEpochResponse)
            (DESCRIBE_CONFIGS, describe_configs, DescribeConfigsRequest, DescribeConfigsResponse)
            (DESCRIBE_CLUSTER, describe_cluster, DescribeClusterRequest, DescribeClusterResponse)
        }
    };
}
#[allow(unused_imports, reason = "the fuzz targets use the functions only")]
pub(crate) use with_messages;

/// Reads `data` as the frame of a request.
pub fn check_request(data: &[u8]) {
    let frame = Bytes::copy_from_slice(data);
    let Ok(request) = RequestFrame::decode(&frame) else { return };
    let (key, version) = (request.header.api_key, request.header.api_version);
    macro_rules! check {
        ($(($constant:ident, $module:ident, $request:ident, $response:ident))*) => {
            match key {
                $(ApiKey::$constant => stays::<ottla_protocol::messages::$module::$request>(
                    &request.body, version,
                ),)*
                _ => {}
            }
        };
    }
    with_messages!(check);
}

/// Reads `data` as a key, a version and the body of a response.
pub fn check_response(data: &[u8]) {
    let [k1, k2, v1, v2, body @ ..] = data else { return };
    let (key, version) = (ApiKey(i16::from_be_bytes([*k1, *k2])), i16::from_be_bytes([*v1, *v2]));
    let body = Bytes::copy_from_slice(body);
    macro_rules! check {
        ($(($constant:ident, $module:ident, $request:ident, $response:ident))*) => {
            match key {
                $(ApiKey::$constant => stays::<
                    <ottla_protocol::messages::$module::$request as Request>::Response,
                >(&body, version),)*
                _ => {}
            }
        };
    }
    with_messages!(check);
}

/// What can be decoded can be encoded, has the size that it says, and decodes to the same again. Its arrays
/// take the memory that the reader allows and no more.
fn stays<M: Message + PartialEq + std::fmt::Debug>(bytes: &Bytes, version: i16) {
    let mut reader = Reader::with_element_limit(bytes, 8 * bytes.len());
    let Ok(message) = M::decode(&mut reader, version) else { return };
    assert!(reader.element_bytes() <= 8 * bytes.len());
    let again = encoded(&message, version);
    assert_eq!(again.len(), message.encoded_size(version), "{message:?}");
    let decoded = M::from_bytes(&again, version).expect("what was encoded can be decoded");
    assert_eq!(decoded, message);
}

fn encoded<M: Message + std::fmt::Debug>(message: &M, version: i16) -> Bytes {
    let mut out = Encoder::new();
    message.encode(&mut out, version).unwrap_or_else(|error| panic!("{error}: {message:?}"));
    flat(&mut out)
}

/// What an encoder wrote, in one run of bytes.
pub fn flat(out: &mut Encoder) -> Bytes {
    let mut all = Vec::with_capacity(out.len());
    for piece in out.finish() {
        match piece {
            Piece::Bytes(bytes) => all.extend_from_slice(&bytes),
            Piece::External { id, len } => all.resize(all.len() + len as usize, id as u8),
        }
    }
    Bytes::from(all)
}
