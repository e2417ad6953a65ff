//! Arbitrary orders of joins, syncs, heartbeats, commits, leaves, time passing and restarts.
//!
//! What is checked, with the invariants of the group itself after each step ([`ClassicGroup::check`]):
//! - Each request is answered once, and in the end, when nothing comes any more and time passes.
//! - Generations count up, and one is current: whoever is let into a generation is told of the same protocol and the
//!   same leader (or of who took the leader's place with its instance id).
//! - Each member of a generation is assigned exactly what its leader gave it, through restarts too.
//! - After a restart each session begins anew.
//! - After a tick no deadline is in the past; when inputs stop, the group becomes empty and has no deadlines.
//!
//! `OTTLA_GROUP_CASES=10000` tries more of them.

use std::env;

use proptest::prelude::*;

use super::*;

/// How many sequences are tried.
pub(super) fn cases() -> u32 {
    env::var("OTTLA_GROUP_CASES").map_or(128, |count| count.parse().unwrap())
}

/// Clients: the last two have instance ids.
const CLIENTS: usize = 6;

#[derive(Clone, Debug)]
enum Step {
    Join {
        client: usize,
        forgets_id: bool,
        with: With,
    },
    /// Many join in the same way, and the wait for the first members passes.
    Rally {
        clients: Vec<usize>,
        with: With,
    },
    Sync {
        client: usize,
        off: i32,
        assigns: Vec<bool>,
    },
    Heartbeat {
        client: usize,
        off: i32,
    },
    Commit {
        client: usize,
        off: i32,
        is_transactional: bool,
    },
    Leave {
        clients: Vec<usize>,
    },
    Pass {
        millis: u64,
        is_late: bool,
    },
    Restart,
    Delete,
}

/// What a join says.
#[derive(Clone, Debug)]
struct With {
    own: u8,
    session_secs: u64,
    rebalance_secs: u64,
    requires_member_id: bool,
    skips_assignment: bool,
    is_other_type: bool,
}

fn step() -> impl Strategy<Value = Step> {
    let client = 0..CLIENTS;
    let off = prop_oneof![8 => Just(0), 1 => Just(-1), 1 => Just(1), 1 => Just(-1000)];
    let with = (1u8..8, 5u64..30, 0u64..40, any::<bool>(), any::<bool>(), prop::bool::weighted(0.03))
        .prop_map(
            |(own, session_secs, rebalance_secs, requires_member_id, skips_assignment, is_other_type)| With {
                own,
                session_secs,
                rebalance_secs,
                requires_member_id,
                skips_assignment,
                is_other_type,
            },
        );
    prop_oneof![
        2 => (prop::collection::vec(client.clone(), 2..CLIENTS), with.clone())
            .prop_map(|(clients, with)| Step::Rally { clients, with }),
        10 => (client.clone(), prop::bool::weighted(0.2), with)
            .prop_map(|(client, forgets_id, with)| Step::Join { client, forgets_id, with }),
        10 => (client.clone(), off.clone(), prop::collection::vec(any::<bool>(), CLIENTS))
            .prop_map(|(client, off, assigns)| Step::Sync { client, off, assigns }),
        6 => (client.clone(), off.clone()).prop_map(|(client, off)| Step::Heartbeat { client, off }),
        3 => (client.clone(), off, any::<bool>())
            .prop_map(|(client, off, is_transactional)| Step::Commit { client, off, is_transactional }),
        2 => prop::collection::vec(client, 0..3).prop_map(|clients| Step::Leave { clients }),
        8 => (prop_oneof![0u64..5_000, 0u64..60_000], any::<bool>())
            .prop_map(|(millis, is_late)| Step::Pass { millis, is_late }),
        1 => Just(Step::Restart),
        1 => Just(Step::Delete),
    ]
}

/// What clients have been told of a generation.
#[derive(Debug)]
struct Told {
    protocol: Option<Arc<str>>,
    leader: Option<MemberId>,
    assignments: Option<BTreeMap<MemberId, Bytes>>,
}

/// Clients, and what they were told.
struct Model {
    bench: Bench,
    ids: [Option<MemberId>; CLIENTS],
    fresh: u64,
    /// Requests that wait: which client's they are, and by which id it asked.
    waiting: BTreeMap<Token, (usize, Option<MemberId>)>,
    generations: BTreeMap<Generation, Told>,
    /// Which id a static member had before.
    before: BTreeMap<MemberId, MemberId>,
    settings: Arc<ClassicSettings>,
}

impl Model {
    fn new(size_max: usize) -> Self {
        let settings = Arc::new(ClassicSettings { group_size_max: size_max, ..ClassicSettings::default() });
        Self {
            bench: Bench::over(ClassicGroup::new(settings.clone()), secs(1000)),
            ids: [const { None }; CLIENTS],
            fresh: 0,
            waiting: BTreeMap::new(),
            generations: BTreeMap::new(),
            before: BTreeMap::new(),
            settings,
        }
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Join { client, forgets_id, with } => self.join(client, forgets_id, &with),
            Step::Rally { clients, with } => {
                let with = With { requires_member_id: false, ..with };
                for client in clients {
                    self.join(client, false, &with);
                    self.listen();
                }
                self.bench.pass(DELAY * 2);
            }
            Step::Sync { client, off, assigns } => self.sync(client, off, &assigns),
            Step::Heartbeat { client, off } => {
                let id = self.id(client);
                let claim = self.claim(&id, client, off);
                let outcome = self.bench.group.heartbeat(&claim, self.bench.now);
                assert!(outcome.is_err() || claim.generation == self.bench.group.generation());
            }
            Step::Commit { client, off, is_transactional } => {
                let id = self.id(client);
                let claim = self.claim(&id, client, off);
                let outcome = self.bench.group.may_commit(&claim, is_transactional, self.bench.now);
                let is_current = claim.generation == self.bench.group.generation();
                let is_anybodys = is_transactional && id.is_empty() && claim.instance_id.is_none();
                assert!(
                    outcome.is_err() || is_current || is_anybodys || self.bench.group.state() == State::Empty
                );
            }
            Step::Leave { clients } => {
                let ids: Vec<_> = clients.iter().map(|client| self.id(*client)).collect();
                self.bench.leave(&ids.iter().map(String::as_str).collect::<Vec<_>>());
            }
            Step::Pass { millis, is_late: true } => {
                self.bench.now += Duration::from_millis(millis);
                self.bench.tick();
            }
            Step::Pass { millis, is_late: false } => self.bench.pass(Duration::from_millis(millis)),
            Step::Restart => self.restart(),
            Step::Delete => {
                let was_empty = self.bench.group.state() == State::Empty;
                assert_eq!(self.bench.group.delete().is_ok(), was_empty);
                if was_empty {
                    assert!(self.waiting.is_empty());
                    self.bench.stored.clear();
                    self.restart();
                }
            }
        }
        self.bench.group.check();
        self.listen();
    }

    fn instance(client: usize) -> Option<&'static str> {
        [None, None, None, None, Some("i"), Some("j")][client]
    }

    fn id(&self, client: usize) -> String {
        self.ids[client].as_ref().map_or_else(String::new, MemberId::to_string)
    }

    fn claim<'a>(&self, id: &'a str, client: usize, off: i32) -> Claim<'a> {
        let generation = if off < -1 { -1 } else { self.bench.group.generation().0 + off };
        Claim { member_id: id, instance_id: Self::instance(client), generation: Generation(generation) }
    }

    fn join(&mut self, client: usize, forgets_id: bool, with: &With) {
        self.fresh += 1;
        let fresh_id = MemberId::from(&*format!("{client}-{}", self.fresh));
        let member_id = self.ids[client].clone().filter(|_| !forgets_id);
        let all = [("range", "r"), ("sticky", "s"), ("topic", "t")];
        let own: Vec<_> = all.into_iter().enumerate().filter(|(bit, _)| with.own & (1 << bit) != 0).collect();
        let own: Vec<_> = own.into_iter().map(|(_, own)| own).collect();
        let instance = Self::instance(client);
        if let Some(old) = instance.and_then(|instance| self.bench.group.members.static_id(instance)) {
            self.before.insert(fresh_id.clone(), old.clone());
        }
        let joining = Joining {
            member_id: member_id.clone(),
            fresh_id: fresh_id.clone(),
            instance_id: instance.map(InstanceId::from),
            protocol_type: if with.is_other_type { "connect" } else { "consumer" }.into(),
            protocols: protocols(&own),
            session_timeout: secs(with.session_secs),
            rebalance_timeout: secs(with.rebalance_secs),
            requires_member_id: with.requires_member_id,
            skips_assignment: with.skips_assignment,
            ..new("x")
        };
        // The answer tells the id; until then the client has the one that it asked with.
        self.ids[client].clone_from(&member_id);
        let token = self.bench.join(joining);
        self.waiting.insert(token, (client, member_id));
    }

    fn sync(&mut self, client: usize, off: i32, assigns: &[bool]) {
        let id = self.id(client);
        let claim = self.claim(&id, client, off);
        let ids = self.ids.iter().flatten().zip(assigns).filter(|(_, assigns)| **assigns);
        let given = |id: &MemberId| text(&format!("{id} by {} of {}", claim.member_id, claim.generation));
        let assignments: Vec<_> = ids.map(|(id, _)| (id.clone(), given(id))).collect();
        let token = self.bench.token();
        let syncing = Syncing { claim, protocol_type: None, protocol: None, assignments: &assignments };
        let effects = self.bench.group.sync(token, syncing, self.bench.now);
        if let [Change::Store(stored)] = &effects.changes[..] {
            assert_eq!(
                stored.leader.as_ref().map(MemberId::as_str),
                Some(claim.member_id),
                "only the leader assigns"
            );
            let given: BTreeMap<_, _> = assignments.into_iter().collect();
            let all = stored.members.iter().map(|member| {
                let assignment = given.get(&member.member_id).cloned().unwrap_or_default();
                assert_eq!(member.assignment, assignment);
                (member.member_id.clone(), assignment)
            });
            let told = self.generations.get_mut(&stored.generation).expect("a generation that was joined");
            assert!(told.assignments.is_none(), "{:?} is assigned twice", stored.generation);
            told.assignments = Some(all.collect());
        }
        self.bench.take(effects);
        self.waiting.insert(token, (client, self.ids[client].clone()));
    }

    /// Hears what clients were answered.
    fn listen(&mut self) {
        for (token, answer) in std::mem::take(&mut self.bench.answers) {
            let (client, asked_by) = self.waiting.remove(&token).expect("a request that waits");
            match answer {
                Answer::Joined(joined) => self.hear_joined(client, joined),
                Answer::Synced(synced) => self.hear_synced(asked_by.as_ref(), &synced),
                Answer::Refused(Refusal::MemberIdRequired(id)) => self.ids[client] = Some(id),
                Answer::Refused(Refusal::UnknownMember | Refusal::GroupMaxSizeReached) => {
                    self.ids[client] = None
                }
                Answer::Refused(_) => {}
                Answer::Left(_) => panic!("a leave is answered at once"),
            }
        }
    }

    fn hear_joined(&mut self, client: usize, joined: Joined) {
        let last = self.generations.last_key_value().map_or(Generation(0), |(last, _)| *last);
        assert!(joined.generation >= last, "{joined:?} after {last}");
        assert!(!joined.skip_assignment || !joined.members.is_empty());
        assert!(joined.members.is_empty() || joined.leader.as_ref() == Some(&joined.member_id));
        let told = self.generations.entry(joined.generation).or_insert_with(|| Told {
            protocol: joined.protocol.clone(),
            leader: joined.leader.clone(),
            assignments: None,
        });
        assert_eq!(joined.protocol, told.protocol);
        let (leader, before) = (joined.leader.unwrap(), told.leader.clone().unwrap());
        let is_successor = |of: &MemberId, id: &MemberId| {
            std::iter::successors(Some(id), |id| self.before.get(*id)).any(|earlier| earlier == of)
        };
        assert!(
            is_successor(&before, &leader) || is_successor(&leader, &before),
            "{before} or {leader} leads"
        );
        self.ids[client] = Some(joined.member_id);
    }

    fn hear_synced(&mut self, asked_by: Option<&MemberId>, synced: &Synced) {
        let told = &self.generations[&self.bench.group.generation()];
        assert_eq!(synced.protocol, told.protocol);
        let given = told.assignments.as_ref().expect("assignments");
        let mut ids = std::iter::successors(asked_by, |id| self.before.get(*id));
        let expected = ids.find_map(|id| given.get(id)).expect("a member that was assigned something");
        assert_eq!(synced.assignment, *expected);
    }

    /// The process ends and another begins, with what was stored.
    fn restart(&mut self) {
        let effects = self.bench.group.close();
        self.bench.take(effects);
        self.listen();
        assert!(self.waiting.is_empty(), "{:?} wait for a closed group", self.waiting);
        let now = secs(1);
        let stored = self.bench.stored.last().cloned();
        let group = match stored.clone() {
            None => ClassicGroup::new(self.settings.clone()),
            Some(stored) => {
                let (group, effects) = ClassicGroup::restore(stored, self.settings.clone(), now).unwrap();
                assert_eq!(effects, ClassicEffects::default());
                group
            }
        };
        self.generations.retain(|generation, _| *generation <= group.generation());
        let sessions = stored.iter().flat_map(|stored| &stored.members).map(|member| member.session_timeout);
        if group.state() != State::PreparingRebalance {
            assert_eq!(group.next_deadline(), sessions.min().map(|session| now + session));
        }
        let stored = stored.into_iter().collect();
        let requests = self.bench.requests;
        self.bench = Bench { requests, stored, ..Bench::over(group, now) };
    }

    /// Nothing comes any more.
    fn settle(&mut self) {
        for _ in 0..10_000 {
            let Some(deadline) = self.bench.group.next_deadline() else { break };
            self.bench.now = self.bench.now.max(deadline);
            self.bench.tick();
            self.listen();
        }
        assert_eq!(self.bench.group.next_deadline(), None);
        assert_eq!(self.bench.group.state(), State::Empty);
        assert!(self.waiting.is_empty(), "{:?} wait for ever", self.waiting);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_group_keeps_its_word(
        size_max in prop_oneof![Just(2usize), Just(100)],
        steps in prop::collection::vec(step(), 0..120),
    ) {
        let mut model = Model::new(size_max);
        for step in steps {
            model.run(step);
        }
        model.settle();
    }
}
