//! What groups go on with when the broker is started again.

use ottla_protocol::{
    ErrorCode,
    messages::{consumer_group_heartbeat::ConsumerGroupHeartbeatRequest, heartbeat::HeartbeatRequest},
};
use ottla_testing_internal::TestBroker;

use crate::{
    members::{
        AT_ONCE, alone, beating, commit, commit_one, committed, committing, committing_as, enter, offset,
        owning, sync,
    },
    support::create,
};

#[test]
fn members_go_on_with_their_heartbeats_and_offsets() {
    let dir = tempfile::tempdir().unwrap();
    let start = || TestBroker::in_directory(dir.path(), AT_ONCE);
    let broker = start();
    let mut client = broker.client();
    let topic = create(&mut client, "orders", 2);
    let member = alone(&mut client, "classic");
    let entered = enter(&mut client, "new", "m", &["orders"]);
    let request = committing_as(&member, committing(9, "classic", &topic, vec![offset(0, 42)]));
    assert_eq!(commit(&mut client, 9, &request), [(0, ErrorCode::NONE)]);
    commit_one(&mut client, "alone", &topic, 1, 7);
    drop((client, broker));

    let broker = start();
    let mut client = broker.client();
    let beat = HeartbeatRequest {
        group_id: "classic".into(),
        generation_id: member.generation,
        member_id: member.id.clone(),
        ..HeartbeatRequest::default()
    };
    assert_eq!(client.call(4, &beat).error_code, ErrorCode::NONE);
    assert_eq!(sync(&mut client, 5, &member, &[]).assignment, "all");
    let beat = ConsumerGroupHeartbeatRequest {
        topic_partitions: Some(owning(&topic, &[0, 1])),
        ..beating("new", "m", entered.member_epoch)
    };
    let stayed = client.call(1, &beat);
    assert_eq!((stayed.error_code, stayed.member_epoch), (ErrorCode::NONE, entered.member_epoch));
    assert_eq!(committed(&mut client, "classic", &topic, 0), 42);
    assert_eq!(committed(&mut client, "alone", &topic, 1), 7);
    let request = committing_as(&member, committing(9, "classic", &topic, vec![offset(0, 43)]));
    assert_eq!(commit(&mut client, 9, &request), [(0, ErrorCode::NONE)]);
}
