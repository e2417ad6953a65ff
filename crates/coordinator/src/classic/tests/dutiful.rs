//! Members that do what they should, among others that do not: they are never expelled.
//!
//! A dutiful member sends its heartbeats, and joins and syncs again some seconds after it was told to: at most half
//! of its session time-out later, since a join that changes nothing does not count as a heartbeat. The others join
//! and are never heard of again, leave, change what they want, lead and do not assign. What is checked: a dutiful
//! member is told to join again at most; after a restart it may also be told that its generation or its place, if
//! that was not stored, is lost. When the others have gone, all dutiful members are in one stable generation.

use proptest::prelude::*;

use super::{model::cases, *};

/// A dutiful member.
#[derive(Debug)]
struct Dutiful {
    name: &'static str,
    instance: Option<&'static str>,
    /// How long it takes to react.
    lag: Duration,
    id: Option<String>,
    generation: Generation,
    stage: Stage,
    /// A restart may have lost what it was told: until it has joined by a request after `last_before_restart`.
    is_forgiven: bool,
    last_before_restart: Token,
}

#[derive(Debug)]
enum Stage {
    /// It joins at this time.
    Joins(Duration),
    /// It waits for its join.
    Joining(Token),
    /// It syncs at this time; the leader knows whom to assign to.
    Syncs(Duration, Vec<MemberId>),
    /// It waits for its sync.
    Syncing(Token),
    /// It works.
    Works,
}

/// What others do in a second.
#[derive(Clone, Debug)]
enum Mischief {
    Nothing,
    Join { other: usize, session_secs: u64, rebalance_secs: u64, requires_member_id: bool },
    JoinAgain { other: usize, metadata: u8 },
    Sync { other: usize },
    Heartbeat { other: usize },
    Leave { other: usize },
    Restart,
}

const OTHERS: usize = 3;

fn mischief() -> impl Strategy<Value = Mischief> {
    let other = 0..OTHERS;
    prop_oneof![
        40 => Just(Mischief::Nothing),
        3 => (other.clone(), 6u64..60, 0u64..100, any::<bool>()).prop_map(
            |(other, session_secs, rebalance_secs, requires_member_id)|
                Mischief::Join { other, session_secs, rebalance_secs, requires_member_id }
        ),
        3 => (other.clone(), any::<u8>()).prop_map(|(other, metadata)| Mischief::JoinAgain { other, metadata }),
        3 => other.clone().prop_map(|other| Mischief::Sync { other }),
        5 => other.clone().prop_map(|other| Mischief::Heartbeat { other }),
        1 => other.prop_map(|other| Mischief::Leave { other }),
        1 => Just(Mischief::Restart),
    ]
}

struct World {
    bench: Bench,
    dutiful: Vec<Dutiful>,
    others: [Option<String>; OTHERS],
    fresh: u64,
}

impl World {
    fn new(lags: [u64; 3]) -> Self {
        let names = [("d0", None), ("d1", None), ("d2", Some("instance"))];
        let dutiful = names.into_iter().zip(lags).map(|((name, instance), lag)| Dutiful {
            name,
            instance,
            lag: secs(lag),
            id: None,
            generation: Generation(-1),
            stage: Stage::Joins(secs(1000 + lag)),
            is_forgiven: false,
            last_before_restart: Token(0),
        });
        Self { bench: Bench::new(), dutiful: dutiful.collect(), others: [const { None }; OTHERS], fresh: 0 }
    }

    fn fresh_id(&mut self, name: &str) -> String {
        self.fresh += 1;
        format!("{name}-{}", self.fresh)
    }

    /// One second.
    fn second(&mut self, mischief: &Mischief) {
        self.mischief(mischief);
        for number in 0..self.dutiful.len() {
            self.act(number);
        }
        self.bench.pass(secs(1));
        self.bench.answers.retain(|token, _| {
            self.dutiful.iter().any(|own| match own.stage {
                Stage::Joining(waits) | Stage::Syncing(waits) => waits == *token,
                _ => false,
            })
        });
    }

    fn mischief(&mut self, mischief: &Mischief) {
        match *mischief {
            Mischief::Nothing => {}
            Mischief::Join { other, session_secs, rebalance_secs, requires_member_id } => {
                let id = self.fresh_id("other");
                let joining = Joining {
                    session_timeout: secs(session_secs),
                    rebalance_timeout: secs(rebalance_secs),
                    requires_member_id,
                    ..new(&id)
                };
                self.bench.join(joining);
                self.others[other] = Some(id);
            }
            Mischief::JoinAgain { other, metadata } => {
                if let Some(id) = &self.others[other] {
                    let own = protocols(&[("range", &metadata.to_string()), ("sticky", "")]);
                    self.bench.join(Joining { protocols: own, ..known(id) });
                }
            }
            Mischief::Sync { other } => {
                if let Some(id) = &self.others[other] {
                    self.bench.sync(id, &[]);
                }
            }
            Mischief::Heartbeat { other } => {
                if let Some(id) = &self.others[other] {
                    let _ = self.bench.heartbeat(id);
                }
            }
            Mischief::Leave { other } => {
                if let Some(id) = &self.others[other] {
                    self.bench.leave(&[id]);
                }
            }
            Mischief::Restart => self.restart(),
        }
    }

    fn restart(&mut self) {
        let effects = self.bench.group.close();
        self.bench.take(effects);
        let (settings, now) = (self.bench.group.settings.clone(), self.bench.now);
        let group = match self.bench.stored.last().cloned() {
            None => ClassicGroup::new(settings),
            Some(stored) => ClassicGroup::restore(stored, settings, now).unwrap().0,
        };
        self.bench.group = group;
        for own in &mut self.dutiful {
            own.is_forgiven = true;
            own.last_before_restart = Token(self.bench.requests);
        }
    }

    /// A dutiful member does what it should.
    fn act(&mut self, number: usize) {
        let now = self.bench.now;
        match &self.dutiful[number].stage {
            Stage::Joins(at) if *at <= now => self.join(number),
            Stage::Syncs(at, roster) if *at <= now => {
                let roster: Vec<_> = roster.iter().map(|id| (id.as_str(), "work")).collect();
                let own = &self.dutiful[number];
                let id = own.id.clone().expect("an id");
                let claim = Claim { member_id: &id, instance_id: own.instance, generation: own.generation };
                let syncing = Syncing { claim, protocol_type: None, protocol: None, assignments: &[] };
                let token = self.bench.sync_as(syncing, &roster);
                self.dutiful[number].stage = Stage::Syncing(token);
            }
            Stage::Joins(_) => {}
            // In a generation it is heard of, whatever it waits for otherwise.
            Stage::Works | Stage::Syncs(..) => self.heartbeat(number),
            Stage::Joining(token) | Stage::Syncing(token) => {
                if let Some(answer) = self.bench.answers.remove(token) {
                    self.hear(number, answer);
                }
            }
        }
    }

    fn join(&mut self, number: usize) {
        let fresh_id = self.fresh_id(self.dutiful[number].name);
        let own = &self.dutiful[number];
        let joining = Joining {
            member_id: own.id.as_deref().map(MemberId::from),
            instance_id: own.instance.map(InstanceId::from),
            requires_member_id: true,
            protocols: protocols(&[("range", own.name), ("sticky", "")]),
            ..new(&fresh_id)
        };
        let token = self.bench.join(joining);
        self.dutiful[number].stage = Stage::Joining(token);
    }

    fn heartbeat(&mut self, number: usize) {
        let own = &self.dutiful[number];
        let id = own.id.clone().expect("an id");
        let claim = Claim { member_id: &id, instance_id: own.instance, generation: own.generation };
        if let Err(refusal) = self.bench.group.heartbeat(&claim, self.bench.now) {
            self.hear(number, Answer::Refused(refusal));
        }
    }

    fn hear(&mut self, number: usize, answer: Answer) {
        let own = &mut self.dutiful[number];
        let later = self.bench.now + own.lag;
        own.stage = match answer {
            Answer::Joined(joined) => {
                let is_since_restart =
                    matches!(own.stage, Stage::Joining(token) if token > own.last_before_restart);
                own.is_forgiven &= !is_since_restart;
                own.id = Some(joined.member_id.to_string());
                own.generation = joined.generation;
                Stage::Syncs(later, joined.members.into_iter().map(|member| member.member_id).collect())
            }
            Answer::Synced(_) => Stage::Works,
            Answer::Refused(Refusal::MemberIdRequired(id)) => {
                own.id = Some(id.to_string());
                Stage::Joins(self.bench.now)
            }
            Answer::Refused(Refusal::RebalanceInProgress | Refusal::NotCoordinator) => Stage::Joins(later),
            Answer::Refused(Refusal::IllegalGeneration) if own.is_forgiven => Stage::Joins(later),
            Answer::Refused(Refusal::UnknownMember) if own.is_forgiven => {
                own.id = None;
                Stage::Joins(later)
            }
            answer => panic!("{own:?} is told {answer:?}"),
        };
    }

    /// All others have gone, and the dutiful work together.
    fn check_settled(&mut self) {
        assert_eq!(self.bench.group.state(), State::Stable);
        let mut ids: Vec<_> = self.dutiful.iter().map(|own| own.id.clone().expect("an id")).collect();
        ids.sort();
        assert_eq!(self.bench.ids(), ids);
        for own in &self.dutiful {
            assert!(matches!(own.stage, Stage::Works), "{own:?}");
            assert_eq!(own.generation, self.bench.group.generation());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases().div_ceil(2), ..ProptestConfig::default() })]

    #[test]
    fn who_does_its_duty_is_never_expelled(
        lags in [0u64..6, 0u64..6, 0u64..6],
        all in prop::collection::vec(mischief(), 0..300),
    ) {
        let mut world = World::new(lags);
        for mischief in &all {
            world.second(mischief);
        }
        for _ in 0..600 {
            world.second(&Mischief::Nothing);
        }
        world.check_settled();
    }
}
