//! The table of states in the module's documentation, each cell of it on a real group. `UPDATE_DOCS=1 cargo test
//! -p ottla-coordinator states` writes `states.md` from the table here.

use std::{env, fmt::Write, fs, path::Path};

use super::*;

const STATES: [State; 5] =
    [State::Empty, State::PreparingRebalance, State::CompletingRebalance, State::Stable, State::Dead];

const HEAD: &str = "\
# States

<!-- Made from tests/states.rs by `UPDATE_DOCS=1 cargo test -p ottla-coordinator states`. -->

What comes of each event in each state: what the request is answered, whether the group is stored, and the state it
is in then, where that is another. The group has a leader, a follower and a static member; in `PreparingRebalance`
a new member has joined and the others have not; in `Empty` all have left. What is not shown: in the first rebalance
of a group that was empty, `PreparingRebalance` lasts for `group.initial.rebalance.delay.ms`, whoever has joined, and
longer while members come.

";

/// What happens, and what comes of it in each state.
struct Row {
    event: &'static str,
    happen: fn(Bench) -> (Bench, String),
    cells: [&'static str; 5],
}

const TABLE: [Row; 19] = [
    Row {
        event: "a new member joins",
        happen: |bench| joins(bench, Joining { protocols: both(), ..new("c") }),
        cells: [
            "waits, → PreparingRebalance",
            "waits",
            "waits, → PreparingRebalance",
            "waits, → PreparingRebalance",
            "CoordinatorNotAvailable",
        ],
    },
    Row {
        event: "a new member joins and is to be told its id first",
        happen: |bench| joins(bench, Joining { protocols: both(), requires_member_id: true, ..new("c") }),
        cells: [
            "MemberIdRequired",
            "MemberIdRequired",
            "MemberIdRequired",
            "MemberIdRequired",
            "CoordinatorNotAvailable",
        ],
    },
    Row {
        event: "a member joins again and changes nothing",
        happen: |bench| joins(bench, Joining { protocols: both(), ..known("b") }),
        cells: ["UnknownMember", "waits", "joined", "joined", "CoordinatorNotAvailable"],
    },
    Row {
        event: "a member joins again with other metadata",
        happen: |bench| joins(bench, known("b")),
        cells: [
            "UnknownMember",
            "waits",
            "waits, → PreparingRebalance",
            "waits, → PreparingRebalance",
            "CoordinatorNotAvailable",
        ],
    },
    Row {
        event: "the leader joins again",
        happen: |bench| joins(bench, Joining { protocols: both(), ..known("a") }),
        cells: ["UnknownMember", "waits", "joined", "waits, → PreparingRebalance", "CoordinatorNotAvailable"],
    },
    Row {
        event: "a static member comes back",
        happen: |bench| joins(bench, Joining { protocols: both(), ..new_static("s2", "i") }),
        cells: [
            "waits, → PreparingRebalance",
            "waits",
            "waits, → PreparingRebalance",
            "joined, stored",
            "CoordinatorNotAvailable",
        ],
    },
    Row {
        event: "a static member comes back and changes the protocol",
        happen: |bench| {
            joins(bench, Joining { protocols: protocols(&[("sticky", "s")]), ..new_static("s2", "i") })
        },
        cells: [
            "waits, → PreparingRebalance",
            "waits",
            "waits, → PreparingRebalance",
            "waits, → PreparingRebalance",
            "CoordinatorNotAvailable",
        ],
    },
    Row {
        event: "a member syncs",
        happen: |bench| syncs(bench, "b"),
        cells: ["UnknownMember", "RebalanceInProgress", "waits", "assignment", "CoordinatorNotAvailable"],
    },
    Row {
        event: "the leader syncs",
        happen: |bench| syncs(bench, "a"),
        cells: [
            "UnknownMember",
            "RebalanceInProgress",
            "assignment, stored, → Stable",
            "assignment",
            "CoordinatorNotAvailable",
        ],
    },
    Row {
        event: "a member's heartbeat",
        happen: |mut bench| {
            let outcome = bench.heartbeat("b");
            (bench, outcome.map_or_else(|refusal| name_of(&refusal), |()| "ok".into()))
        },
        cells: ["UnknownMember", "RebalanceInProgress", "ok", "ok", "CoordinatorNotAvailable"],
    },
    Row {
        event: "a member commits",
        happen: |bench| {
            let generation = bench.group.generation();
            commits(bench, "b", generation)
        },
        cells: ["UnknownMember", "ok", "RebalanceInProgress", "ok", "CoordinatorNotAvailable"],
    },
    Row {
        event: "a commit of no member",
        happen: |bench| commits(bench, "", Generation(-1)),
        cells: ["ok", "UnknownMember", "UnknownMember", "UnknownMember", "CoordinatorNotAvailable"],
    },
    Row {
        event: "a member leaves",
        happen: |bench| leaves(bench, &["b"]),
        cells: [
            "UnknownMember",
            "ok",
            "ok, → PreparingRebalance",
            "ok, → PreparingRebalance",
            "CoordinatorNotAvailable",
        ],
    },
    Row {
        event: "all members leave",
        happen: |bench| leaves(bench, &["a", "b", "s", "n"]),
        cells: [
            "UnknownMember",
            "ok, stored, → Empty",
            "ok, stored, → Empty",
            "ok, stored, → Empty",
            "CoordinatorNotAvailable",
        ],
    },
    Row {
        event: "a member's session ends",
        happen: |bench| {
            let was_member = bench.group.members.contains("b");
            let (bench, _) = passes(bench, SESSION, &[]);
            let is_expelled = was_member && !bench.group.members.contains("b");
            (bench, if is_expelled { "expelled".into() } else { String::new() })
        },
        cells: ["–", "expelled", "expelled, → PreparingRebalance", "expelled, → PreparingRebalance", "–"],
    },
    Row {
        event: "the wait for joins or syncs ends",
        happen: |bench| passes(bench, REBALANCE, &["a", "b", "s"]),
        cells: ["–", "→ CompletingRebalance", "stored, → Empty", "–", "–"],
    },
    Row {
        event: "it is deleted",
        happen: |mut bench| {
            let outcome = bench.group.delete();
            (bench, outcome.map_or_else(|refusal| name_of(&refusal), |()| "ok".into()))
        },
        cells: ["ok, → Dead", "NonEmptyGroup", "NonEmptyGroup", "NonEmptyGroup", "GroupNotFound"],
    },
    Row {
        event: "it is closed",
        happen: |mut bench| {
            let effects = bench.group.close();
            bench.take(effects);
            (bench, String::new())
        },
        cells: ["→ Dead", "→ Dead", "→ Dead", "→ Dead", "–"],
    },
    Row {
        event: "the broker restarts",
        happen: |bench| {
            let mut after = if bench.group.state() == State::Dead { bench } else { bench.restart() };
            after.stored.clear();
            (after, String::new())
        },
        cells: ["–", "→ Stable", "→ Stable", "–", "–"],
    },
];

/// Protocols that all members support.
fn both() -> Vec<Protocol> {
    protocols(&[("range", "r"), ("sticky", "s")])
}

/// A group in a state, with members `a`, which leads, `b`, and `s` with the instance id `i`.
fn group_in(state: State) -> Bench {
    let long = |joining| Joining { session_timeout: secs(1000), protocols: both(), ..joining };
    let mut bench = Bench::new();
    bench.join_all(vec![
        long(new("a")),
        Joining { protocols: both(), ..new("b") },
        long(new_static("s", "i")),
    ]);
    bench.sync_all(&["a", "b", "s"]);
    match state {
        State::Stable => {}
        State::PreparingRebalance => drop(bench.join(long(new("n")))),
        State::CompletingRebalance => {
            let b = Joining { protocols: both(), ..known("b") };
            let tokens = [long(known("a")), b, long(known("s"))].map(|joining| bench.join(joining));
            tokens.into_iter().for_each(|token| drop(bench.joined(token)));
        }
        State::Empty | State::Dead => drop(bench.leave(&["a", "b", "s"])),
    }
    if state == State::Dead {
        bench.group.delete().unwrap();
    }
    assert_eq!(bench.group.state(), state);
    bench
}

fn name_of(refusal: &Refusal) -> String {
    format!("{refusal:?}").chars().take_while(|c| *c != '(').collect()
}

/// What a request was answered.
fn told(mut bench: Bench, token: Token) -> (Bench, String) {
    let told = match bench.answers.remove(&token) {
        None => "waits".into(),
        Some(Answer::Joined(_)) => "joined".into(),
        Some(Answer::Synced(_)) => "assignment".into(),
        Some(Answer::Refused(refusal)) => name_of(&refusal),
        Some(Answer::Left(outcomes)) => outcomes[0].as_ref().map_or_else(name_of, |()| "ok".into()),
    };
    (bench, told)
}

fn joins(mut bench: Bench, joining: Joining) -> (Bench, String) {
    let token = bench.join(joining);
    told(bench, token)
}

fn syncs(mut bench: Bench, id: &str) -> (Bench, String) {
    let token = bench.sync(id, &[]);
    told(bench, token)
}

fn leaves(mut bench: Bench, ids: &[&str]) -> (Bench, String) {
    let token = bench.token();
    let leaving: Vec<_> =
        ids.iter().map(|id| Leaving { member_id: id, instance_id: None, reason: None }).collect();
    let effects = bench.group.leave(token, &leaving, bench.now);
    bench.take(effects);
    told(bench, token)
}

fn commits(mut bench: Bench, member_id: &str, generation: Generation) -> (Bench, String) {
    let claim = Claim { member_id, instance_id: None, generation };
    let outcome = bench.group.may_commit(&claim, false, bench.now);
    let told = outcome.map_or_else(|refusal| name_of(&refusal), |()| "ok".into());
    (bench, told)
}

/// The members that are named by `ids` stay, and time passes.
fn passes(mut bench: Bench, time: Duration, ids: &[&str]) -> (Bench, String) {
    for _ in 0..time.as_secs() {
        bench.pass(secs(1));
        for id in ids {
            let _ = bench.heartbeat(id);
        }
    }
    (bench, String::new())
}

/// What a cell says.
fn cell(row: &Row, state: State) -> String {
    let bench = group_in(state);
    let stored_before = bench.stored.len();
    let (bench, told) = (row.happen)(bench);
    let mut parts = Vec::new();
    parts.extend((!told.is_empty()).then_some(told));
    parts.extend((bench.stored.len() > stored_before).then(|| "stored".to_owned()));
    parts.extend((bench.group.state() != state).then(|| format!("→ {}", bench.group.state())));
    if parts.is_empty() { "–".into() } else { parts.join(", ") }
}

fn page() -> String {
    let mut page = String::from(HEAD);
    writeln!(page, "| event | {} |", STATES.map(|state| format!("`{state}`")).join(" | ")).unwrap();
    writeln!(page, "|---|{}", "---|".repeat(STATES.len())).unwrap();
    for row in &TABLE {
        writeln!(page, "| {} | {} |", row.event, row.cells.join(" | ")).unwrap();
    }
    page
}

#[test]
fn each_cell_of_the_table_of_states_is_what_a_group_does() {
    let mut wrong = Vec::new();
    for row in &TABLE {
        for (state, expected) in STATES.into_iter().zip(row.cells) {
            let actual = cell(row, state);
            if actual != expected {
                wrong.push(format!("{} in {state}: {actual}, and not {expected}", row.event));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_table_of_states_in_the_documentation_is_this_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/classic/states.md");
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, page()).unwrap();
    }
    assert!(
        fs::read_to_string(&path).unwrap_or_default() == page(),
        "states.md is out of date: run UPDATE_DOCS=1 cargo test -p ottla-coordinator states",
    );
}
