//! The states of groups and members and how they change, as the module's documentation shows them.
//!
//! The tests of a group compare every step with these, and reach each of them.

use super::{describe::GroupState, stored::MemberState};

/// From one state of a group to another.
pub(super) type GroupChange = (GroupState, GroupState);
/// From one state of a member, or from outside of the group, to another.
pub(super) type MemberChange = (Option<MemberState>, MemberState);

/// All changes of a group's state that one step can bring.
pub(super) const GROUP: [GroupChange; 11] = {
    use GroupState::{Assigning, Dead, Empty, Reconciling, Stable};
    [
        (Empty, Stable),
        (Empty, Dead),
        (Stable, Reconciling),
        (Stable, Assigning),
        (Stable, Empty),
        (Assigning, Reconciling),
        (Assigning, Stable),
        (Assigning, Empty),
        (Reconciling, Stable),
        (Reconciling, Assigning),
        (Reconciling, Empty),
    ]
};

/// All changes of a member's state that one step can bring.
pub(super) const MEMBER: [MemberChange; 8] = {
    use MemberState::{Stable, UnreleasedPartitions, UnrevokedPartitions};
    [
        (None, Stable),
        (None, UnreleasedPartitions),
        (Some(Stable), UnrevokedPartitions),
        (Some(Stable), UnreleasedPartitions),
        (Some(UnrevokedPartitions), Stable),
        (Some(UnrevokedPartitions), UnreleasedPartitions),
        (Some(UnreleasedPartitions), Stable),
        (Some(UnreleasedPartitions), UnrevokedPartitions),
    ]
};

#[test]
fn the_documentation_shows_these_changes_and_no_others() {
    let group = GROUP.map(|(from, to)| (from.to_string(), to.to_string()));
    let state = |state: Option<MemberState>| state.map_or("Joining".into(), |state| format!("{state:?}"));
    let member = MEMBER.map(|(from, to)| (state(from), state(Some(to))));
    let expected: Vec<_> = group.into_iter().chain(member).collect();

    let line = |line: &str| {
        let (change, _) = line.strip_prefix("//! ")?.split_once(" : ")?;
        let (from, to) = change.split_once(" -> ")?;
        Some((from.trim().to_string(), to.trim().to_string()))
    };
    let shown: Vec<_> = include_str!("mod.rs").lines().filter_map(line).collect();
    assert_eq!(shown, expected);
}
