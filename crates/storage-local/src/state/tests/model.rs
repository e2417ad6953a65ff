//! Groups and offsets in SQLite beside those in memory: whatever is asked of both, in whatever order and however
//! much at once, they answer and hold the same. `OTTLA_STATE_CASES=3000` tries more than the ordinary run.

use std::pin::Pin;

use ottla_records::{LeaderEpoch, Offset, PartitionIndex, TimestampMs};
use ottla_storage::{
    Expirable, Expired, Expiry, GroupChange, GroupKind, GroupRow, GroupStore, MemberRow, OffsetKey,
    OffsetRow, OffsetStore, conformance::group_snapshot, memory::MemoryGroups,
};
use proptest::{collection::vec, option, prelude::*};

use super::*;

/// Something that a store is asked for, which takes effect in its order.
#[derive(Clone, Debug)]
enum Ask {
    Change(Vec<GroupChange>),
    Commit(u8, Vec<OffsetRow>),
    Delete(u8, Vec<OffsetKey>),
    DeleteOfGroup(u8),
    Expire(u8, Expirable, Expiry),
}

/// What is done between two looks at the stores.
#[derive(Clone, Debug)]
struct Step {
    /// All asked for before the first answer is waited for.
    asks: Vec<Ask>,
    /// A topic whose offsets are deleted then.
    topic: Option<TopicId>,
    /// Whether the database is closed and opened again.
    reopens: bool,
}

type Answer = Pin<Box<dyn Future<Output = Result<Option<Expired>, StateStoreError>>>>;

fn ask<S: GroupStore + OffsetStore>(store: &S, ask: Ask) -> Answer {
    fn none(answer: impl Future<Output = Result<(), StateStoreError>> + Send + 'static) -> Answer {
        Box::pin(async { answer.await.map(|()| None) })
    }
    let id = |group: u8| format!("group-{group}");
    match ask {
        Ask::Change(changes) => none(store.change_groups(changes)),
        Ask::Commit(group, rows) => none(store.commit_offsets(&id(group), rows)),
        Ask::Delete(group, keys) => none(store.delete_offsets(&id(group), keys)),
        Ask::DeleteOfGroup(group) => none(store.delete_offsets_of_group(&id(group))),
        Ask::Expire(group, which, expiry) => {
            let answer = store.expire_offsets(&id(group), which, expiry, 1000);
            Box::pin(async { answer.await.map(Some) })
        }
    }
}

/// The answer as both stores must give it: in the order of the keys, and refusals without their words.
async fn plain(answer: Answer) -> Result<Option<Expired>, &'static str> {
    match answer.await {
        Ok(expired) => Ok(expired.map(|mut expired| {
            expired.deleted.sort_unstable();
            expired
        })),
        Err(StateStoreError::Refused(_)) => Err("refused"),
        Err(other) => panic!("{other}"),
    }
}

fn group_id() -> impl Strategy<Value = Arc<str>> {
    (0_u8..4).prop_map(|number| format!("group-{number}").into())
}

fn group_row() -> impl Strategy<Value = GroupRow> {
    (group_id(), any::<i32>(), option::of(0_i64..20)).prop_map(|(id, epoch, empty_since)| GroupRow {
        id,
        kind: if epoch % 2 == 0 { GroupKind::Classic } else { GroupKind::Consumer },
        epoch,
        protocol_type: if epoch % 3 == 0 { String::new() } else { "consumer".into() },
        state: epoch.to_be_bytes().to_vec().into(),
        empty_since: empty_since.map(TimestampMs),
    })
}

fn member() -> impl Strategy<Value = MemberRow> {
    (0_u8..4, any::<u8>()).prop_map(|(number, content)| MemberRow {
        member_id: format!("member-{number}").into(),
        instance_id: (content % 2 == 0).then(|| format!("instance-{content}").into()),
        client_id: format!("client-{content}"),
        client_host: "/127.0.0.1".into(),
        state: vec![content; usize::from(content)].into(),
    })
}

fn change() -> impl Strategy<Value = GroupChange> {
    prop_oneof![
        4 => group_row().prop_map(GroupChange::PutGroup),
        1 => group_id().prop_map(|group| GroupChange::DeleteGroup { group }),
        3 => (group_id(), member()).prop_map(|(group, member)| GroupChange::PutMember { group, member }),
        2 => (group_id(), member())
            .prop_map(|(group, member)| GroupChange::DeleteMember { group, member_id: member.member_id }),
        1 => (group_id(), vec(member(), 0..3))
            .prop_map(|(group, members)| GroupChange::ReplaceMembers { group, members }),
    ]
}

fn topic() -> impl Strategy<Value = TopicId> {
    (0_u8..4).prop_map(|number| TopicId([number; 16]))
}

fn key() -> impl Strategy<Value = OffsetKey> {
    (topic(), 0..3).prop_map(|(topic, partition)| OffsetKey { topic, partition: PartitionIndex(partition) })
}

fn offset_row() -> impl Strategy<Value = OffsetRow> {
    // Once in a while, a partition that there cannot be.
    let key = (key(), 0..30).prop_map(|(key, chance)| OffsetKey {
        partition: if chance == 0 { PartitionIndex(-1) } else { key.partition },
        ..key
    });
    (key, any::<i64>(), -1..3, 0_i64..20, option::weighted(0.2, 0_i64..20)).prop_map(
        |(key, offset, epoch, committed_at, expires_at)| OffsetRow {
            key,
            topic_name: format!("topic-{}", key.topic.0[0]).into(),
            offset: Offset(offset),
            leader_epoch: LeaderEpoch(epoch),
            metadata: "m".repeat((offset % 7).unsigned_abs() as usize),
            committed_at: TimestampMs(committed_at),
            expires_at: expires_at.map(TimestampMs),
        },
    )
}

fn expiry() -> impl Strategy<Value = Expiry> {
    (0_i64..25, 0_i64..10).prop_map(|(now, retention_ms)| Expiry { now: TimestampMs(now), retention_ms })
}

fn asks() -> impl Strategy<Value = Ask> {
    let which = prop_oneof![Just(Expirable::OfMemberless), vec(topic(), 0..4).prop_map(Expirable::OfTopics),];
    prop_oneof![
        4 => vec(change(), 0..4).prop_map(Ask::Change),
        6 => (0_u8..4, vec(offset_row(), 0..6)).prop_map(|(group, rows)| Ask::Commit(group, rows)),
        2 => (0_u8..4, vec(key(), 0..4)).prop_map(|(group, keys)| Ask::Delete(group, keys)),
        1 => (0_u8..4).prop_map(Ask::DeleteOfGroup),
        2 => (0_u8..4, which, expiry()).prop_map(|(group, which, expiry)| Ask::Expire(group, which, expiry)),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    (vec(asks(), 0..12), option::weighted(0.2, topic()), prop::bool::weighted(0.1))
        .prop_map(|(asks, topic, reopens)| Step { asks, topic, reopens })
}

/// Takes the steps in both stores and compares them.
async fn compare(fixture: &Fixture, steps: Vec<Step>, expiry: Expiry) {
    let (mut db, memory) = (fixture.open(), MemoryGroups::default());
    for step in steps {
        let answers: Vec<_> =
            step.asks.into_iter().map(|asked| (ask(&*db, asked.clone()), ask(&memory, asked))).collect();
        for (stored, held) in answers {
            assert_eq!(plain(stored).await, plain(held).await);
        }
        if let Some(topic) = step.topic {
            db.delete_offsets_of_topic(topic).await.unwrap();
            memory.delete_offsets_of_topic(topic).await.unwrap();
        }
        if step.reopens {
            db.close();
            db = fixture.open();
        }
        assert_eq!(group_snapshot(&*db).await, group_snapshot(&memory).await);
        let expiring = db.groups_with_expired_offsets(expiry, None, 100).await.unwrap();
        assert_eq!(expiring, memory.groups_with_expired_offsets(expiry, None, 100).await.unwrap());
    }
    db.close();
}

#[test]
fn sqlite_and_memory_agree() {
    let cases = env::var("OTTLA_STATE_CASES").map_or(48, |cases| cases.parse().unwrap());
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(steps in vec(step(), 1..6), expiry in expiry())| {
        let fixture = Fixture::new();
        run(compare(&fixture, steps, expiry));
        let problems = StateDb::check(&fixture.path()).unwrap();
        // There are no topics, so offsets of theirs are of none.
        let others: Vec<_> = problems.iter().filter(|problem| !problem.what.contains("which is not there")).collect();
        prop_assert!(others.is_empty(), "{:?}", others);
        prop_assert_eq!(fixture.faults(), [""; 0]);
    });
}
