//! What must hold for any bytes at all that claim to be a request, a response, or what members of a group say. The
//! fuzz targets run this on what they make up, the tests on the corpus.

use std::fmt::Debug;

use bytes::Bytes;
use ottla_protocol::{
    ApiKey, DecodeError, ELEMENT_BYTES_PER_BYTE, Encoder, Message, Piece, Reader, Request, RequestFrame,
    RequestHeader, ResponseHeader,
    messages::consumer_protocol::{
        ConsumerProtocol, ConsumerProtocolAssignment, ConsumerProtocolSubscription,
    },
};

use crate::allocations::peak_bytes;

/// What reading a message may allocate beside the elements that its reader counts: an error with the path to
/// its field, and the counter of a frame that is shared for the first time.
pub const FIXED_BYTES: usize = 1024;

/// Calls a macro with every message: the key, the module, the request and the response.
///
/// This is the one list of messages that the tests and the fuzz targets have; it lacks only the two that
/// [`check_consumer_protocol`] reads.
macro_rules! with_messages {
    ($callback:ident) => {
        $callback! {
            (PRODUCE, produce, ProduceRequest, ProduceResponse)
            (FETCH, fetch, FetchRequest, FetchResponse)
            (LIST_OFFSETS, list_offsets, ListOffsetsRequest, ListOffsetsResponse)
            (METADATA, metadata, MetadataRequest, MetadataResponse)
            (OFFSET_COMMIT, offset_commit, OffsetCommitRequest, OffsetCommitResponse)
            (OFFSET_FETCH, offset_fetch, OffsetFetchRequest, OffsetFetchResponse)
            (FIND_COORDINATOR, find_coordinator, FindCoordinatorRequest, FindCoordinatorResponse)
            (JOIN_GROUP, join_group, JoinGroupRequest, JoinGroupResponse)
            (HEARTBEAT, heartbeat, HeartbeatRequest, HeartbeatResponse)
            (LEAVE_GROUP, leave_group, LeaveGroupRequest, LeaveGroupResponse)
            (SYNC_GROUP, sync_group, SyncGroupRequest, SyncGroupResponse)
            (DESCRIBE_GROUPS, describe_groups, DescribeGroupsRequest, DescribeGroupsResponse)
            (LIST_GROUPS, list_groups, ListGroupsRequest, ListGroupsResponse)
            (API_VERSIONS, api_versions, ApiVersionsRequest, ApiVersionsResponse)
            (CREATE_TOPICS, create_topics, CreateTopicsRequest, CreateTopicsResponse)
            (DELETE_TOPICS, delete_topics, DeleteTopicsRequest, DeleteTopicsResponse)
            (DELETE_RECORDS, delete_records, DeleteRecordsRequest, DeleteRecordsResponse)
            (INIT_PRODUCER_ID, init_producer_id, InitProducerIdRequest, InitProducerIdResponse)
            (OFFSET_FOR_LEADER_EPOCH, offset_for_leader_epoch, OffsetForLeaderEpochRequest,
             OffsetForLeaderEpochResponse)
            (DESCRIBE_CONFIGS, describe_configs, DescribeConfigsRequest, DescribeConfigsResponse)
            (ALTER_CONFIGS, alter_configs, AlterConfigsRequest, AlterConfigsResponse)
            (CREATE_PARTITIONS, create_partitions, CreatePartitionsRequest, CreatePartitionsResponse)
            (DELETE_GROUPS, delete_groups, DeleteGroupsRequest, DeleteGroupsResponse)
            (INCREMENTAL_ALTER_CONFIGS, incremental_alter_configs, IncrementalAlterConfigsRequest,
             IncrementalAlterConfigsResponse)
            (OFFSET_DELETE, offset_delete, OffsetDeleteRequest, OffsetDeleteResponse)
            (DESCRIBE_CLUSTER, describe_cluster, DescribeClusterRequest, DescribeClusterResponse)
            (CONSUMER_GROUP_HEARTBEAT, consumer_group_heartbeat, ConsumerGroupHeartbeatRequest,
             ConsumerGroupHeartbeatResponse)
            (CONSUMER_GROUP_DESCRIBE, consumer_group_describe, ConsumerGroupDescribeRequest,
             ConsumerGroupDescribeResponse)
        }
    };
}
#[allow(unused_imports, reason = "a fuzz target uses one function only")]
pub(crate) use with_messages;

/// Reads `data` as the frame of a request, without its length.
#[allow(dead_code, reason = "a fuzz target uses one function only")]
pub fn check_request(data: &[u8]) {
    let frame = Bytes::copy_from_slice(data);
    let Ok(RequestFrame { header, body, .. }) = RequestFrame::decode(&frame) else { return };
    let (key, version) = (header.api_key, header.api_version);
    let header_version = key.request_header_version(version).expect("a header was read");
    let mut reader = Reader::new(&frame);
    let again = check_message::<RequestHeader>(&mut reader, header_version);
    assert_eq!(again, Some(header));
    assert_eq!(frame.slice(reader.position()..), body);
    macro_rules! check {
        ($(($constant:ident, $module:ident, $request:ident, $response:ident))*) => {
            match key {
                $(ApiKey::$constant => check_body::<ottla_protocol::messages::$module::$request>(&body, version),)*
                _ => {}
            }
        };
    }
    with_messages!(check);
}

/// Reads `data` as a key, a version, and the frame of a response, without its length.
#[allow(dead_code, reason = "a fuzz target uses one function only")]
pub fn check_response(data: &[u8]) {
    let [k1, k2, v1, v2, frame @ ..] = data else { return };
    let (key, version) = (ApiKey(i16::from_be_bytes([*k1, *k2])), i16::from_be_bytes([*v1, *v2]));
    let Some(header_version) = key.response_header_version(version) else { return };
    let frame = Bytes::copy_from_slice(frame);
    let mut reader = reader(&frame);
    if check_message::<ResponseHeader>(&mut reader, header_version).is_none() {
        return;
    }
    let body = frame.slice(reader.position()..);
    macro_rules! check {
        ($(($constant:ident, $module:ident, $request:ident, $response:ident))*) => {
            match key {
                $(ApiKey::$constant => check_body::<
                    <ottla_protocol::messages::$module::$request as Request>::Response,
                >(&body, version),)*
                _ => {}
            }
        };
    }
    with_messages!(check);
}

/// Reads `data` as what a member of a consumer group says, and as what it is told.
#[allow(dead_code, reason = "a fuzz target uses one function only")]
pub fn check_consumer_protocol(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    check_versioned::<ConsumerProtocolSubscription>(&bytes);
    check_versioned::<ConsumerProtocolAssignment>(&bytes);
}

/// Behind its version a message is what it is alone; what follows it is not read.
fn check_versioned<M: ConsumerProtocol + PartialEq + Debug>(bytes: &Bytes) {
    let mut versioned = reader(bytes);
    let Some((version, message)) = read::<M, _>(&mut versioned, M::decode_versioned) else { return };
    let counted = versioned.element_bytes();
    let body = bytes.slice(2..);
    let mut alone = Reader::with_element_limit(&body, counted);
    assert_eq!(check_message::<M>(&mut alone, version).as_ref(), Some(&message));
    let written = message.to_versioned_bytes(version).unwrap_or_else(|error| panic!("{error}: {message:?}"));
    let mut again = Reader::with_element_limit(&written, counted);
    assert_eq!(M::decode_versioned(&mut again), Ok((version, message)));
    assert_eq!(again.remaining(), 0);
}

fn check_body<M: Message + PartialEq + Debug>(body: &Bytes, version: i16) {
    check_message::<M>(&mut reader(body), version);
}

/// A reader that allows what the default does, without its minimum: that would hide much in short messages.
fn reader(bytes: &Bytes) -> Reader<'_> {
    Reader::with_element_limit(bytes, ELEMENT_BYTES_PER_BYTE * bytes.len())
}

/// What can be read can be written, has the size that it says, and reads as the same again.
fn check_message<M: Message + PartialEq + Debug>(reader: &mut Reader<'_>, version: i16) -> Option<M> {
    let message = read::<M, _>(reader, |reader| M::decode(reader, version))?;
    let counted = reader.element_bytes();
    let written = encoded(&message, version);
    assert_eq!(written.len(), message.encoded_size(version), "{message:?}");
    // What is written takes fewer bytes than what was read where that had numbers in more than they need.
    let mut again = Reader::with_element_limit(&written, counted);
    let read = M::decode(&mut again, version).unwrap_or_else(|error| panic!("{error}: {message:?}"));
    assert_eq!((again.remaining(), &read), (0, &message));
    assert_eq!(encoded(&read, version), written);
    Some(message)
}

/// Reading a message allocates what the reader counts, which is within its limit, and next to nothing else.
fn read<M: Message, T>(
    reader: &mut Reader<'_>,
    decode: impl FnOnce(&mut Reader<'_>) -> Result<T, DecodeError>,
) -> Option<T> {
    let (result, allocated) = peak_bytes(|| decode(reader));
    let counted = reader.element_bytes();
    assert!(
        allocated <= counted + FIXED_BYTES,
        "{}: {allocated} bytes allocated, {counted} counted",
        M::NAME
    );
    result.ok()
}

fn encoded<M: Message + Debug>(message: &M, version: i16) -> Bytes {
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
