//! What decoding allocates: no more than the bytes that are there can fill, and nothing for records.

use std::fmt::Debug;

use bytes::Bytes;
use ottla_protocol::{
    DecodeError, DecodeErrorKind, ELEMENT_BYTES_MIN, ELEMENT_BYTES_PER_BYTE, Encoder, Message, Reader,
    Records, RequestFrame, Str, encode_request,
    messages::{
        consumer_protocol::ConsumerProtocolSubscription,
        delete_topics::DeleteTopicsRequest,
        fetch::{FetchResponse, FetchableTopicResponse, PartitionData},
        join_group::{
            JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse, JoinGroupResponseMember,
        },
        metadata::MetadataRequest,
        offset_commit::{OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic},
        offset_fetch::{OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics},
        produce::{PartitionProduceData, ProduceRequest, TopicProduceData},
        sync_group::{SyncGroupRequest, SyncGroupRequestAssignment, SyncGroupResponse},
    },
};

use crate::{
    allocations::peak_bytes,
    checks::{FIXED_BYTES, flat},
    registry::cases,
    schema::SCHEMAS,
    value::{self, Random},
};

/// No transactional id, acks, the time-out, and then a count of topics that would take 206 GB.
#[test]
fn a_produce_of_12_bytes_that_claims_two_billion_topics_allocates_nothing() {
    let frame = Bytes::from_static(&[0xff, 0xff, 0, 1, 0, 0, 0x75, 0x30, 0x7f, 0xff, 0xff, 0xff]);
    let (result, allocated) = peak_bytes(|| ProduceRequest::from_bytes(&frame, 3));
    let count = i32::MAX as usize;
    assert_eq!(*result.unwrap_err().kind(), DecodeErrorKind::CountBeyondEnd { count, remaining: 0 });
    assert!(allocated <= FIXED_BYTES, "{allocated} bytes");
    assert!(count * size_of::<TopicProduceData>() > 100_000_000_000, "nothing would have been gained");
}

/// Wherever a length or a count may stand, the greatest that its type can say.
#[test]
fn lengths_and_counts_anywhere_allocate_no_more_than_the_bytes_can_fill() {
    for case in cases() {
        for version in case.versions.clone() {
            let value = value::random(&SCHEMAS[case.name], version, &mut Random(5));
            let head = case.head(version);
            let bytes = [&head[..], &value::encode(&SCHEMAS[case.name], &value, version).unwrap()].concat();
            for at in head.len()..bytes.len().min(150) {
                for number in [&[0x7f, 0xff, 0xff, 0xff][..], &[0xff, 0xff, 0xff, 0xff, 0x0f], &[0x7f, 0xff]]
                {
                    let mut hostile = bytes.clone();
                    hostile.splice(at..(at + number.len()).min(bytes.len()), number.iter().copied());
                    // Checks what is allocated.
                    case.check(&hostile);
                }
            }
        }
    }
}

fn topics(fields_of_each: &[u8]) -> Bytes {
    let topic = [&[1][..], fields_of_each].concat();
    let mut bytes = vec![0xe9, 0x07];
    bytes.extend(topic.repeat(1000));
    bytes.extend([1, 0, 0, 0]);
    Bytes::from(bytes)
}

#[track_caller]
fn check_allocates_what_is_counted<M: Message>(bytes: &Bytes, version: i16) -> Result<M, DecodeError> {
    for limit in [usize::MAX, ELEMENT_BYTES_PER_BYTE * bytes.len()] {
        let mut reader = Reader::with_element_limit(bytes, limit);
        let (_, allocated) = peak_bytes(|| M::decode(&mut reader, version));
        let counted = reader.element_bytes();
        assert!(counted <= limit && allocated <= counted + FIXED_BYTES, "{allocated} of {counted}");
    }
    M::from_bytes(bytes, version)
}

#[test]
fn a_single_unknown_tagged_field_in_each_struct_is_counted_in_full() {
    let none = topics(&[0]);
    assert_eq!(
        check_allocates_what_is_counted::<MetadataRequest>(&none, 9).unwrap().topics.unwrap().len(),
        1000
    );
    let one = topics(&[1, 9, 0]);
    check_allocates_what_is_counted::<MetadataRequest>(&one, 9).unwrap_err();
    let five = topics(&[5, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0]);
    check_allocates_what_is_counted::<MetadataRequest>(&five, 9).unwrap_err();
}

#[test]
fn a_message_may_take_so_many_times_its_size_and_no_more() {
    // Topic names that are empty: a byte there and 32 here.
    let bytes = Bytes::from([&[0xa1, 0x8d, 0x06][..], &[1; 100_000], &[0; 5]].concat());
    let (result, allocated) = peak_bytes(|| DeleteTopicsRequest::from_bytes(&bytes, 4));
    let limit = (ELEMENT_BYTES_PER_BYTE * bytes.len()).max(ELEMENT_BYTES_MIN);
    assert_eq!(*result.unwrap_err().kind(), DecodeErrorKind::TooManyElements { limit });
    assert!(allocated <= FIXED_BYTES, "{allocated} bytes");
}

/// The records of all partitions of a Produce, which lie in its frame.
#[test]
fn records_of_a_produce_are_views_of_its_frame_in_every_version() {
    let batch = Bytes::from(vec![7; 1 << 20]);
    for version in ProduceRequest::VERSIONS {
        let mut out = Encoder::new();
        let partition =
            |index| PartitionProduceData { index, records: batch.clone().into(), ..Default::default() };
        let topic =
            TopicProduceData { partition_data: vec![partition(0), partition(1)], ..Default::default() };
        let request = ProduceRequest { topic_data: vec![topic], ..Default::default() };
        encode_request(&mut out, 1, None, version, &request).unwrap();
        let frame = flat(&mut out).slice(4..);
        let (read, allocated) =
            peak_bytes(|| RequestFrame::decode(&frame).unwrap().request::<ProduceRequest>().unwrap());
        assert_eq!(read, request);
        assert!(allocated <= FIXED_BYTES, "{allocated} bytes in version {version}");
        for partition in &read.topic_data[0].partition_data {
            check_view(&partition.records, &frame);
        }
    }
}

#[test]
fn records_of_a_fetch_are_views_of_its_frame_in_every_version() {
    let records = Records::from(Bytes::from(vec![7; 1 << 20]));
    let partition = PartitionData { records, ..Default::default() };
    let topic = FetchableTopicResponse { partitions: vec![partition], ..Default::default() };
    let response = FetchResponse { responses: vec![topic], ..Default::default() };
    for version in FetchResponse::VERSIONS {
        let mut out = Encoder::new();
        response.encode(&mut out, version).unwrap();
        let bytes = flat(&mut out);
        let (read, allocated) = peak_bytes(|| FetchResponse::from_bytes(&bytes, version).unwrap());
        assert_eq!(read, response);
        assert!(allocated <= FIXED_BYTES, "{allocated} bytes in version {version}");
        check_view(&read.responses[0].partitions[0].records, &bytes);
    }
}

/// What members say and what they are told lies in the frames of the group.
#[test]
fn metadata_and_assignments_of_members_are_views_of_their_frames_in_every_version() {
    let said = Bytes::from(vec![7; 1 << 20]);
    let protocol = JoinGroupRequestProtocol { metadata: said.clone(), ..Default::default() };
    let join = JoinGroupRequest { protocols: vec![protocol], ..Default::default() };
    check_is_a_view(&join, |join| &join.protocols[0].metadata);
    let member = JoinGroupResponseMember { metadata: said.clone(), ..Default::default() };
    let joined = JoinGroupResponse { members: vec![member], ..Default::default() };
    check_is_a_view(&joined, |joined| &joined.members[0].metadata);
    let assignment = SyncGroupRequestAssignment { assignment: said.clone(), ..Default::default() };
    let sync = SyncGroupRequest { assignments: vec![assignment], ..Default::default() };
    check_is_a_view(&sync, |sync| &sync.assignments[0].assignment);
    let synced = SyncGroupResponse { assignment: said.clone(), ..Default::default() };
    check_is_a_view(&synced, |synced| &synced.assignment);
    let subscription = ConsumerProtocolSubscription { user_data: Some(said), ..Default::default() };
    check_is_a_view(&subscription, |subscription| subscription.user_data.as_ref().unwrap());
}

#[track_caller]
fn check_is_a_view<M: Message + PartialEq + Debug>(message: &M, view: impl Fn(&M) -> &Bytes) {
    for version in M::VERSIONS {
        let mut out = Encoder::new();
        message.encode(&mut out, version).unwrap();
        let frame = flat(&mut out);
        let (read, allocated) = peak_bytes(|| M::from_bytes(&frame, version).unwrap());
        assert_eq!(read, *message);
        assert!(allocated <= FIXED_BYTES, "{allocated} bytes in version {version}");
        check_view(&Records::Bytes(view(&read).clone()), &frame);
    }
}

/// Ordinary members of groups, in the versions that clients speak now.
#[test]
fn ordinary_messages_of_groups_stay_below_four_times_their_size() {
    let id = |number: i32| Str::from(format!("consumer-shop-{number}-0b7c2e1a-9a1f-4a53-8a5c-1c0d4f6f2e7b"));
    let assignment = |number| SyncGroupRequestAssignment {
        member_id: id(number),
        assignment: Bytes::from(vec![0; 40]),
        ..Default::default()
    };
    let sync = SyncGroupRequest { assignments: (0..1000).map(assignment).collect(), ..Default::default() };
    check_below_four_times(&sync, 5);

    let partition = |partition_index| OffsetCommitRequestPartition { partition_index, ..Default::default() };
    let topic = OffsetCommitRequestTopic {
        name: "orders".into(),
        partitions: (0..1000).map(partition).collect(),
        ..Default::default()
    };
    let commit = OffsetCommitRequest { topics: vec![topic], ..Default::default() };
    check_below_four_times(&commit, 2);
    check_below_four_times(&commit, 9);
    check_below_four_times(&commit, 10);

    let group = |number| OffsetFetchRequestGroup {
        group_id: id(number),
        topics: Some(vec![OffsetFetchRequestTopics {
            name: "orders".into(),
            partition_indexes: (0..12).collect(),
            ..Default::default()
        }]),
        ..Default::default()
    };
    let fetch = OffsetFetchRequest { groups: (0..1000).map(group).collect(), ..Default::default() };
    check_below_four_times(&fetch, 9);
}

#[track_caller]
fn check_below_four_times<M: Message>(message: &M, version: i16) {
    let mut out = Encoder::new();
    message.encode(&mut out, version).unwrap();
    let bytes = flat(&mut out);
    let mut reader = Reader::new(&bytes);
    let (_, allocated) = peak_bytes(|| M::decode(&mut reader, version).unwrap());
    let (counted, size) = (reader.element_bytes(), bytes.len());
    assert!(allocated <= counted + FIXED_BYTES, "{allocated} of {counted}");
    assert!(counted < 4 * size, "{counted} for {size}");
}

#[track_caller]
fn check_view(records: &Records, frame: &Bytes) {
    let Records::Bytes(records) = records else { panic!("no records") };
    let (records, frame) = (records.as_ptr_range(), frame.as_ptr_range());
    assert!(frame.start <= records.start && records.end <= frame.end, "the records were copied");
}
