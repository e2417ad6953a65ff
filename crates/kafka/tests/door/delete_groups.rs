//! DeleteGroups, versions 0 to 2.

use ottla_protocol::{
    ErrorCode, Message, Str,
    messages::{delete_groups::DeleteGroupsRequest, leave_group::LeaveGroupRequest},
};
use ottla_testing_internal::TestClient;

use crate::{
    members::{alone, beating, broker, commit_one, committed, enter},
    support::create,
};

fn delete(client: &mut TestClient, version: i16, groups: &[&str]) -> Vec<(String, ErrorCode)> {
    let groups_names = groups.iter().map(|group| Str::from(*group)).collect();
    let answer =
        client.call(version, &DeleteGroupsRequest { groups_names, ..DeleteGroupsRequest::default() });
    assert_eq!(answer.throttle_time_ms, 0);
    answer.results.iter().map(|it| (it.group_id.to_string(), it.error_code)).collect()
}

#[test]
fn every_version_deletes_what_nobody_is_in() {
    let broker = broker();
    let mut client = broker.client();
    let topic = create(&mut client, "orders", 1);
    for version in DeleteGroupsRequest::VERSIONS {
        for group in ["offsets", "", "classic", "new"] {
            commit_one(&mut client, group, &topic, 0, 5);
        }
        let member = alone(&mut client, "classic");
        enter(&mut client, "new", "m", &["orders"]);
        let with = |code| {
            [("offsets", ErrorCode::NONE), ("classic", code), ("new", code), ("", ErrorCode::NONE)]
                .map(|(group, code)| (group.to_owned(), code))
        };
        // Twice named, once answered.
        let outcomes = delete(&mut client, version, &["offsets", "classic", "new", "offsets", "", "classic"]);
        assert_eq!(outcomes, with(ErrorCode::NON_EMPTY_GROUP), "version {version}");
        assert_eq!(committed(&mut client, "classic", &topic, 0), 5);
        assert_eq!(committed(&mut client, "", &topic, 0), -1);

        let leaving = LeaveGroupRequest {
            group_id: "classic".into(),
            member_id: member.id,
            ..LeaveGroupRequest::default()
        };
        assert_eq!(client.call(2, &leaving).error_code, ErrorCode::NONE);
        assert_eq!(client.call(1, &beating("new", "m", -1)).error_code, ErrorCode::NONE);
        let outcomes = delete(&mut client, version, &["classic", "new"]);
        assert_eq!(outcomes, with(ErrorCode::NONE)[1..3]);
        for group in ["offsets", "classic", "new"] {
            assert_eq!(committed(&mut client, group, &topic, 0), -1);
            let again = delete(&mut client, version, &[group]);
            assert_eq!(again, [(group.to_owned(), ErrorCode::GROUP_ID_NOT_FOUND)], "version {version}");
        }
    }
    let again = delete(&mut client, 2, &["no such group", ""]);
    assert!(again.iter().all(|(_, code)| *code == ErrorCode::GROUP_ID_NOT_FOUND) && again.len() == 2);
    assert!(delete(&mut client, 2, &[]).is_empty());
}
