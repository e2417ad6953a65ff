//! What clients of groups are told when the store of groups cannot answer, or has a group that cannot be read.

use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::{
    ErrorCode, Message, Request,
    messages::{
        consumer_group_describe::ConsumerGroupDescribeRequest,
        delete_groups::DeleteGroupsRequest,
        describe_groups::DescribeGroupsRequest,
        heartbeat::HeartbeatRequest,
        leave_group::{LeaveGroupRequest, MemberIdentity},
        list_groups::ListGroupsRequest,
        offset_commit::OffsetCommitRequest,
        offset_delete::OffsetDeleteRequest,
        offset_fetch::{OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic},
    },
};
use ottla_records::{LeaderEpoch, LogId, TopicId};
use ottla_storage::{
    DeliveryReceiver, Expirable, Expired, ExpiringGroups, Expiry, GroupChange, GroupKind, GroupListing,
    GroupRow, GroupStore, LogSettings, OffsetCursor, OffsetKey, OffsetPage, OffsetRow, OffsetStore,
    OffsetTopic, StateStoreError, Storage, StorageError, StoredGroup,
    memory::{MemoryGroups, MemoryOptions, MemoryStorage},
};
use ottla_testing_internal::{Setup, TestBroker, TestClient};
use parking_lot::Mutex;

use crate::{
    members::{AT_ONCE, Member, alone, commit, committing, entering, joining, offset, sync, syncing},
    support::{Topic, create},
};

/// Groups in memory, which can be made to fail.
struct Groups {
    inner: MemoryGroups,
    failure: Mutex<Option<StateStoreError>>,
}

impl Groups {
    fn check(&self) -> Result<(), StateStoreError> {
        self.failure.lock().clone().map_or(Ok(()), Err)
    }
}

impl GroupStore for Groups {
    async fn load_groups(
        &self,
        after: Option<&str>,
        max: usize,
    ) -> Result<Vec<StoredGroup>, StateStoreError> {
        self.check()?;
        self.inner.load_groups(after, max).await
    }

    async fn load_group(&self, group: &str) -> Result<Option<StoredGroup>, StateStoreError> {
        self.check()?;
        self.inner.load_group(group).await
    }

    fn change_groups(
        &self,
        changes: Vec<GroupChange>,
    ) -> impl Future<Output = Result<(), StateStoreError>> + Send + 'static + use<> {
        let changed = self.check().map(|()| self.inner.change_groups(changes));
        async move { changed?.await }
    }

    async fn list_groups(
        &self,
        after: Option<&str>,
        max: usize,
    ) -> Result<Vec<GroupListing>, StateStoreError> {
        self.check()?;
        self.inner.list_groups(after, max).await
    }
}

impl OffsetStore for Groups {
    fn commit_offsets(
        &self,
        group: &str,
        offsets: Vec<OffsetRow>,
    ) -> impl Future<Output = Result<(), StateStoreError>> + Send + 'static + use<> {
        let committed = self.check().map(|()| self.inner.commit_offsets(group, offsets));
        async move { committed?.await }
    }

    async fn read_offsets(
        &self,
        group: &str,
        keys: Vec<OffsetKey>,
    ) -> Result<Vec<OffsetRow>, StateStoreError> {
        self.check()?;
        self.inner.read_offsets(group, keys).await
    }

    async fn read_offset_page(
        &self,
        group: &str,
        from: Option<OffsetCursor>,
        max: usize,
    ) -> Result<OffsetPage, StateStoreError> {
        self.check()?;
        self.inner.read_offset_page(group, from, max).await
    }

    async fn has_offsets(&self, group: &str) -> Result<bool, StateStoreError> {
        self.check()?;
        self.inner.has_offsets(group).await
    }

    async fn offset_topics(&self, group: Option<&str>) -> Result<Vec<OffsetTopic>, StateStoreError> {
        self.check()?;
        self.inner.offset_topics(group).await
    }

    fn delete_offsets(
        &self,
        group: &str,
        keys: Vec<OffsetKey>,
    ) -> impl Future<Output = Result<(), StateStoreError>> + Send + 'static + use<> {
        let deleted = self.check().map(|()| self.inner.delete_offsets(group, keys));
        async move { deleted?.await }
    }

    fn delete_offsets_of_group(
        &self,
        group: &str,
    ) -> impl Future<Output = Result<(), StateStoreError>> + Send + 'static + use<> {
        let deleted = self.check().map(|()| self.inner.delete_offsets_of_group(group));
        async move { deleted?.await }
    }

    async fn delete_offsets_of_topic(&self, topic: TopicId) -> Result<(), StateStoreError> {
        self.check()?;
        self.inner.delete_offsets_of_topic(topic).await
    }

    async fn groups_with_expired_offsets(
        &self,
        expiry: Expiry,
        after: Option<&str>,
        max: usize,
    ) -> Result<ExpiringGroups, StateStoreError> {
        self.check()?;
        self.inner.groups_with_expired_offsets(expiry, after, max).await
    }

    fn expire_offsets(
        &self,
        group: &str,
        which: Expirable,
        expiry: Expiry,
        max: usize,
    ) -> impl Future<Output = Result<Expired, StateStoreError>> + Send + 'static + use<> {
        let expired = self.check().map(|()| self.inner.expire_offsets(group, which, expiry, max));
        async move { expired?.await }
    }
}

/// A storage in memory whose groups can be made to fail.
struct Failing {
    inner: MemoryStorage,
    groups: Groups,
}

impl Storage for Failing {
    type Log = <MemoryStorage as Storage>::Log;
    type Appender = <MemoryStorage as Storage>::Appender;
    type Topics = <MemoryStorage as Storage>::Topics;
    type Groups = Groups;

    fn topics(&self) -> &Self::Topics {
        self.inner.topics()
    }

    fn groups(&self) -> &Groups {
        &self.groups
    }

    fn leader_epoch(&self) -> LeaderEpoch {
        self.inner.leader_epoch()
    }

    fn appender(&self) -> (Self::Appender, DeliveryReceiver) {
        self.inner.appender()
    }

    fn open_log(&self, id: LogId, settings: LogSettings) -> Arc<Self::Log> {
        self.inner.open_log(id, settings)
    }

    fn delete_log(
        &self,
        log: &Arc<Self::Log>,
    ) -> impl Future<Output = Result<(), StorageError>> + Send + 'static {
        self.inner.delete_log(log)
    }

    async fn close(&self) -> Result<(), StorageError> {
        self.inner.close().await
    }
}

fn broker() -> TestBroker<Failing> {
    let inner = MemoryStorage::new(MemoryOptions::default());
    let groups = Groups { inner: MemoryGroups::default(), failure: Mutex::default() };
    TestBroker::over(Failing { inner, groups }, &Setup { settings: AT_ONCE, ..Setup::default() })
}

/// Calls an API in every version.
fn in_every_version<R: Request + Message>(
    client: &mut TestClient,
    request: impl Fn(i16) -> R,
    mut check: impl FnMut(i16, R::Response),
) {
    for version in R::VERSIONS {
        let answer = client.call(version, &request(version));
        check(version, answer);
    }
}

/// All APIs about a group, in every version, answer this error.
fn check_all(client: &mut TestClient, group: &'static str, topic: &Topic, code: ErrorCode) {
    let member = Member { group, id: "m".into(), generation: 1 };
    in_every_version(client, |_| joining(group, ""), |_, answer| assert_eq!(answer.error_code, code));
    in_every_version(
        client,
        |version| syncing(version, &member, &[]),
        |_, answer| assert_eq!(answer.error_code, code),
    );
    let beating = || HeartbeatRequest { group_id: group.into(), ..HeartbeatRequest::default() };
    in_every_version(client, |_| beating(), |_, answer| assert_eq!(answer.error_code, code));
    let leaving = |version| match version {
        3.. => LeaveGroupRequest {
            group_id: group.into(),
            members: vec![MemberIdentity::default()],
            ..LeaveGroupRequest::default()
        },
        _ => LeaveGroupRequest { group_id: group.into(), ..LeaveGroupRequest::default() },
    };
    in_every_version(client, leaving, |_, answer| {
        assert_eq!(answer.error_code, code);
        assert!(answer.members.is_empty());
    });
    in_every_version(
        client,
        |version| committing(version, group, topic, vec![offset(0, 1)]),
        |version, answer| {
            assert_eq!(answer.topics[0].partitions[0].error_code, code, "version {version}");
        },
    );
    let describing =
        || DescribeGroupsRequest { groups: vec![group.into()], ..DescribeGroupsRequest::default() };
    in_every_version(
        client,
        |_| describing(),
        |version, answer| {
            assert_eq!((answer.groups[0].error_code, &*answer.groups[0].group_state), (code, ""));
            assert_eq!(answer.groups[0].error_message.is_some(), version >= 6);
        },
    );
    let describing = || ConsumerGroupDescribeRequest {
        group_ids: vec![group.into()],
        ..ConsumerGroupDescribeRequest::default()
    };
    in_every_version(
        client,
        |_| describing(),
        |_, answer| {
            assert_eq!(answer.groups[0].error_code, code);
            assert!(answer.groups[0].error_message.is_some());
        },
    );
    let deleting =
        || DeleteGroupsRequest { groups_names: vec![group.into()], ..DeleteGroupsRequest::default() };
    in_every_version(client, |_| deleting(), |_, answer| assert_eq!(answer.results[0].error_code, code));
    in_every_version(
        client,
        |_| OffsetDeleteRequest { group_id: group.into(), ..OffsetDeleteRequest::default() },
        |_, answer| assert_eq!(answer.error_code, code),
    );
    in_every_version(
        client,
        |_| entering(group, "m", &["orders"]),
        |_, answer| {
            assert_eq!(answer.error_code, code);
            assert!(answer.error_message.is_some() && answer.member_id.is_none());
        },
    );
}

/// OffsetFetch in every version, by somebody who names himself where that can be done.
fn check_fetch(client: &mut TestClient, group: &str, code: impl Fn(i16) -> ErrorCode) {
    let request = |version| {
        let mut request = OffsetFetchRequest::default();
        if version >= 8 {
            request.groups = vec![OffsetFetchRequestGroup {
                group_id: group.into(),
                member_id: (version >= 9).then(|| "m".into()),
                topics: None,
                ..OffsetFetchRequestGroup::default()
            }];
        } else {
            request.group_id = group.into();
            let partition_indexes = vec![0];
            request.topics = Some(vec![OffsetFetchRequestTopic {
                name: "orders".into(),
                partition_indexes,
                ..OffsetFetchRequestTopic::default()
            }]);
        }
        request
    };
    in_every_version(client, request, |version, answer| {
        let code = code(version);
        match version {
            8.. => assert_eq!(answer.groups[0].error_code, code, "version {version}"),
            2.. => assert_eq!((answer.error_code, answer.topics.is_empty()), (code, !code.is_none())),
            _ => {
                let partition = &answer.topics[0].partitions[0];
                assert_eq!((partition.error_code, partition.committed_offset), (code, -1));
            }
        }
    });
}

#[test]
fn clients_look_for_the_coordinator_again_while_the_store_fails() {
    let broker = broker();
    let mut client = broker.client();
    let topic = create(&mut client, "orders", 1);
    let fail = |failure| *broker.storage().groups.failure.lock() = failure;
    for (failure, code) in [
        (StateStoreError::DiskFull, ErrorCode::NOT_COORDINATOR),
        (StateStoreError::Failed("the disk broke".into()), ErrorCode::NOT_COORDINATOR),
        (StateStoreError::Refused("it is full".into()), ErrorCode::UNKNOWN_SERVER_ERROR),
    ] {
        fail(Some(failure));
        check_all(&mut client, "readers", &topic, code);
        check_fetch(&mut client, "readers", |_| code);
        in_every_version(
            &mut client,
            |_| ListGroupsRequest::default(),
            |_, answer| {
                // Nobody has looked for a coordinator before a list.
                let code = match code {
                    ErrorCode::NOT_COORDINATOR => ErrorCode::COORDINATOR_NOT_AVAILABLE,
                    code => code,
                };
                assert_eq!((answer.error_code, answer.groups.len()), (code, 0));
            },
        );
    }
    // It goes on by itself.
    fail(None);
    let member = alone(&mut client, "readers");
    fail(Some(StateStoreError::DiskFull));
    let request = OffsetCommitRequest {
        member_id: member.id.clone(),
        generation_id_or_member_epoch: member.generation,
        ..committing(9, "readers", &topic, vec![offset(0, 1), offset(9, 1)])
    };
    assert_eq!(
        commit(&mut client, 9, &request),
        [(0, ErrorCode::NOT_COORDINATOR), (9, ErrorCode::NOT_COORDINATOR)],
        "a member hears that nothing of it was committed",
    );
    fail(None);
    assert_eq!(sync(&mut client, 5, &member, &[]).assignment, "all");
}

#[test]
fn a_group_that_cannot_be_read_is_an_error_of_the_broker() {
    let broker = broker();
    let mut client = broker.client();
    let topic = create(&mut client, "orders", 1);
    let row = GroupRow {
        id: "broken".into(),
        kind: GroupKind::Classic,
        epoch: 1,
        protocol_type: "consumer".into(),
        state: Bytes::from_static(b"what no version has written"),
        empty_since: None,
    };
    let stored = broker.storage().groups().change_groups(vec![GroupChange::PutGroup(row)]);
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(stored).unwrap();
    check_all(&mut client, "broken", &topic, ErrorCode::UNKNOWN_SERVER_ERROR);
    // Its offsets can be read, by those who need not be members.
    check_fetch(&mut client, "broken", |version| match version {
        9.. => ErrorCode::UNKNOWN_SERVER_ERROR,
        _ => ErrorCode::NONE,
    });
    // Others do not suffer from it.
    alone(&mut client, "readers");
}
