//! OffsetFetch, versions 1 to 10.

use ottla_protocol::{
    ErrorCode, Message, Uuid,
    messages::{
        create_topics::{CreatableTopic, CreateTopicsRequest},
        offset_commit::OffsetCommitRequestPartition,
        offset_fetch::{
            OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
        },
    },
};
use ottla_testing_internal::TestClient;

use crate::{
    members::{alone, broker, broker_with, commit, commit_one, committing, enter, offset},
    support::{Topic, create, new_topic},
};

/// Partition, offset, leader epoch, remark, error.
type Partition = (i32, i64, i32, String, ErrorCode);

fn none(index: i32) -> Partition {
    (index, -1, -1, String::new(), ErrorCode::NONE)
}

/// The answer of a group in the form of the newest versions: its error, and its topics by name or id.
type Answer = (ErrorCode, Vec<(String, Uuid, Vec<Partition>)>);

/// Asks for a group's partitions of topics, or for all.
fn fetch(
    client: &mut TestClient,
    version: i16,
    group: OffsetFetchRequestGroup,
    topics: Option<&[(&Topic, &[i32])]>,
) -> Answer {
    let mut request = OffsetFetchRequest::default();
    if version >= 8 {
        let topic = |(topic, partitions): &(&Topic, &[i32])| {
            let mut asked = OffsetFetchRequestTopics {
                partition_indexes: partitions.to_vec(),
                ..OffsetFetchRequestTopics::default()
            };
            if version >= 10 {
                asked.topic_id = topic.id;
            } else {
                asked.name = topic.name.into();
            }
            asked
        };
        let topics = topics.map(|topics| topics.iter().map(topic).collect());
        request.groups = vec![OffsetFetchRequestGroup { topics, ..group.clone() }];
    } else {
        request.group_id = group.group_id.clone();
        request.topics = topics.map(|topics| {
            let topic = |(topic, partitions): &(&Topic, &[i32])| OffsetFetchRequestTopic {
                name: topic.name.into(),
                partition_indexes: partitions.to_vec(),
                ..OffsetFetchRequestTopic::default()
            };
            topics.iter().map(topic).collect()
        });
    }
    request.require_stable = version >= 7;
    let answer = client.call(version, &request);
    assert_eq!(answer.throttle_time_ms, 0);
    if version < 8 {
        let topics = answer.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|it| {
                let metadata = it.metadata.as_ref().unwrap().to_string();
                (it.partition_index, it.committed_offset, it.committed_leader_epoch, metadata, it.error_code)
            });
            (topic.name.to_string(), Uuid::ZERO, partitions.collect())
        });
        return (answer.error_code, topics.collect());
    }
    let [answered] = &answer.groups[..] else { panic!("{answer:?}") };
    assert_eq!(answered.group_id, group.group_id);
    let topics = answered.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|it| {
            let metadata = it.metadata.as_ref().unwrap().to_string();
            (it.partition_index, it.committed_offset, it.committed_leader_epoch, metadata, it.error_code)
        });
        (topic.name.to_string(), topic.topic_id, partitions.collect())
    });
    (answered.error_code, topics.collect())
}

fn group(id: &str) -> OffsetFetchRequestGroup {
    OffsetFetchRequestGroup { group_id: id.into(), ..OffsetFetchRequestGroup::default() }
}

/// How a version names a topic.
fn named(version: i16, topic: &Topic, partitions: Vec<Partition>) -> (String, Uuid, Vec<Partition>) {
    match version {
        10.. => (String::new(), topic.id, partitions),
        _ => (topic.name.to_owned(), Uuid::ZERO, partitions),
    }
}

#[test]
fn every_version_tells_what_was_committed() {
    let broker = broker();
    let mut client = broker.client();
    let (orders, payments) = (create(&mut client, "orders", 3), create(&mut client, "payments", 1));
    for id in ["readers", ""] {
        let remarked = OffsetCommitRequestPartition {
            committed_leader_epoch: 3,
            committed_metadata: Some("remark".into()),
            ..offset(2, 42)
        };
        commit(&mut client, 9, &committing(9, id, &orders, vec![remarked, offset(0, 7)]));
        commit_one(&mut client, id, &payments, 0, 1);
    }
    for version in OffsetFetchRequest::VERSIONS {
        for id in ["readers", ""] {
            let epoch = if version >= 5 { 3 } else { -1 };
            let second = (2, 42, epoch, "remark".to_owned(), ErrorCode::NONE);
            let first = (0, 7, -1, String::new(), ErrorCode::NONE);
            let asked: &[(&Topic, &[i32])] = &[(&orders, &[2, 1, 0, 99, -1]), (&payments, &[0])];
            let (error, topics) = fetch(&mut client, version, group(id), Some(asked));
            let of_payments = vec![(0, 1, -1, String::new(), ErrorCode::NONE)];
            let of_orders = vec![second.clone(), none(1), first.clone(), none(99), none(-1)];
            assert_eq!(error, ErrorCode::NONE);
            assert_eq!(
                topics,
                [named(version, &orders, of_orders), named(version, &payments, of_payments.clone())],
                "version {version}",
            );
            if version >= 2 {
                let (error, mut topics) = fetch(&mut client, version, group(id), None);
                topics.sort_by_key(|topic| std::cmp::Reverse(topic.2.len()));
                assert_eq!(error, ErrorCode::NONE);
                let of_orders = vec![first, second];
                assert_eq!(
                    topics,
                    [named(version, &orders, of_orders), named(version, &payments, of_payments)],
                    "version {version}",
                );
            }
        }
    }
}

#[test]
fn what_is_not_there_has_no_offsets() {
    let broker = broker();
    let mut client = broker.client();
    let topic = create(&mut client, "orders", 1);
    let unknown = Topic { name: "none", id: Uuid::from([7; 16]) };
    commit_one(&mut client, "readers", &topic, 0, 1);
    for version in OffsetFetchRequest::VERSIONS {
        let answer = fetch(&mut client, version, group("no such group"), Some(&[(&topic, &[0])]));
        assert_eq!(answer, (ErrorCode::NONE, vec![named(version, &topic, vec![none(0)])]));
        let (_, topics) = fetch(&mut client, version, group("readers"), Some(&[(&unknown, &[0, 5])]));
        let code = if version >= 10 { ErrorCode::UNKNOWN_TOPIC_ID } else { ErrorCode::NONE };
        let partitions = [0, 5].map(|index| (index, -1, -1, String::new(), code)).to_vec();
        assert_eq!(topics, [named(version, &unknown, partitions)]);
        let (error, topics) = fetch(&mut client, version, group("readers"), Some(&[]));
        assert!(error.is_none() && topics.is_empty());
        if version >= 2 {
            let (error, topics) = fetch(&mut client, version, group("no such group"), None);
            assert!(error.is_none() && topics.is_empty());
        }
    }
}

#[test]
fn several_groups_are_answered_each_and_nothing_twice() {
    let broker = broker();
    let mut client = broker.client();
    let topic = create(&mut client, "orders", 2);
    commit_one(&mut client, "a", &topic, 0, 1);
    commit_one(&mut client, "b", &topic, 1, 2);
    for version in 8..=10 {
        let of = |partition_indexes: &[i32]| {
            let partition_indexes = partition_indexes.to_vec();
            match version {
                10.. => {
                    OffsetFetchRequestTopics { topic_id: topic.id, partition_indexes, ..Default::default() }
                }
                _ => OffsetFetchRequestTopics {
                    name: "orders".into(),
                    partition_indexes,
                    ..Default::default()
                },
            }
        };
        let groups = vec![
            OffsetFetchRequestGroup { topics: None, ..group("a") },
            OffsetFetchRequestGroup { topics: Some(vec![of(&[1, 1, 0, 1]), of(&[0])]), ..group("b") },
            OffsetFetchRequestGroup { topics: None, ..group("a") },
            OffsetFetchRequestGroup { topics: Some(vec![of(&[0])]), ..group("a") },
        ];
        let answer = client.call(version, &OffsetFetchRequest { groups, ..Default::default() });
        let told: Vec<_> = answer
            .groups
            .iter()
            .map(|group| {
                let partitions = group.topics.iter().flat_map(|topic| &topic.partitions);
                let offsets = partitions.map(|it| (it.partition_index, it.committed_offset)).collect();
                (&*group.group_id, offsets)
            })
            .collect();
        let expected: [(&str, Vec<(i32, i64)>); 3] =
            [("a", vec![(0, 1)]), ("b", vec![(1, 2), (0, -1)]), ("a", vec![(0, 1)])];
        assert_eq!(told, expected);
    }
}

#[test]
fn members_of_new_groups_say_who_they_are() {
    let broker = broker();
    let mut client = broker.client();
    let topic = create(&mut client, "orders", 1);
    commit_one(&mut client, "readers", &topic, 0, 5);
    let epoch = enter(&mut client, "readers", "m", &["orders"]).member_epoch;
    let member = alone(&mut client, "classic");
    for version in 9..=10 {
        let as_member = |id: &str, member: Option<&str>, member_epoch| OffsetFetchRequestGroup {
            member_id: member.map(Into::into),
            member_epoch,
            ..group(id)
        };
        for (asked, code) in [
            (as_member("readers", Some("m"), epoch), ErrorCode::NONE),
            (as_member("readers", None, -1), ErrorCode::NONE),
            (as_member("readers", Some("m"), epoch + 1), ErrorCode::STALE_MEMBER_EPOCH),
            (as_member("readers", Some("m"), epoch - 1), ErrorCode::STALE_MEMBER_EPOCH),
            (as_member("readers", Some("stranger"), epoch), ErrorCode::UNKNOWN_MEMBER_ID),
            (as_member("readers", None, epoch), ErrorCode::UNKNOWN_MEMBER_ID),
            // Of classic groups and of those that are not there nobody is asked.
            (as_member("classic", Some(&member.id), 77), ErrorCode::NONE),
            (as_member("no such group", Some("m"), 77), ErrorCode::NONE),
        ] {
            for topics in [None, Some(&[(&topic, &[0_i32][..])][..])] {
                let (error, topics) = fetch(&mut client, version, asked.clone(), topics);
                assert_eq!(error, code, "version {version}: {asked:?}");
                assert!(code.is_none() || topics.is_empty());
            }
        }
    }
    // Before, nobody could say so.
    for version in 1..=8 {
        let (error, topics) = fetch(&mut client, version, group("readers"), Some(&[(&topic, &[0])]));
        assert_eq!((error, topics[0].2[0].1), (ErrorCode::NONE, 5));
    }
}

#[test]
fn many_offsets_come_whole() {
    let broker = broker();
    let mut client = broker.client();
    let topics =
        (0..3).map(|number| CreatableTopic { num_partitions: 900, ..new_topic(&format!("t{number}")) });
    client.call(7, &CreateTopicsRequest { topics: topics.collect(), ..Default::default() });
    let all: Vec<i32> = (0..900).collect();
    let topics = ["t0", "t1", "t2"].map(|name| Topic { name, id: Uuid::ZERO });
    for topic in &topics {
        let partitions = all.iter().map(|index| offset(*index, i64::from(*index) + 1)).collect();
        commit(&mut client, 9, &committing(9, "readers", topic, partitions));
    }
    let check = |(error, topics): Answer| {
        assert_eq!(error, ErrorCode::NONE);
        assert_eq!(topics.len(), 3);
        for (_, _, partitions) in topics {
            let told: Vec<_> = partitions.iter().map(|it| (it.0, it.1)).collect();
            let expected: Vec<_> = all.iter().map(|index| (*index, i64::from(*index) + 1)).collect();
            assert_eq!(told, expected);
        }
    };
    for version in [7, 8, 9] {
        check(fetch(&mut client, version, group("readers"), None));
        let asked = [&topics[0], &topics[1], &topics[2]].map(|topic| (topic, &all[..]));
        check(fetch(&mut client, version, group("readers"), Some(&asked)));
    }
}

#[test]
fn an_answer_that_memory_has_no_room_for_is_refused() {
    // A quarter of the budget is shared by responses and groups; an answer may have half of that.
    let broker = broker_with(&["memory.budget=32MiB", "offset.metadata.max.bytes=32767"]);
    let mut client = broker.client();
    let topic = create(&mut client, "orders", 150);
    let remark: ottla_protocol::Str = "x".repeat(32_000).into();
    for index in 0..150 {
        let partition =
            OffsetCommitRequestPartition { committed_metadata: Some(remark.clone()), ..offset(index, 1) };
        commit(&mut client, 9, &committing(9, "readers", &topic, vec![partition]));
    }
    let all: Vec<i32> = (0..150).collect();
    for version in [2, 7, 8, 10] {
        for topics in [None, Some(&[(&topic, &all[..])][..])] {
            let (error, topics) = fetch(&mut client, version, group("readers"), topics);
            assert_eq!((error, topics.len()), (ErrorCode::INVALID_REQUEST, 0), "version {version}");
        }
        let (error, topics) = fetch(&mut client, version, group("readers"), Some(&[(&topic, &all[..99])]));
        assert_eq!((error, topics[0].2.len()), (ErrorCode::NONE, 99));
    }
    // Version 1 has no error of the whole.
    let (_, topics) = fetch(&mut client, 1, group("readers"), Some(&[(&topic, &all)]));
    let refused = |index| (index, -1, -1, String::new(), ErrorCode::INVALID_REQUEST);
    assert_eq!(topics[0].2, all.iter().map(|index| refused(*index)).collect::<Vec<_>>());
}
