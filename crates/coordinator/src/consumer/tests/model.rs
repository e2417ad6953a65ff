//! Groups under clients that come, lag, lose answers, repeat themselves, vanish and leave, in any order, while
//! topics change and the broker restarts.
//!
//! What a client has is what it understood from the answers that it got: it may use a partition from the answer
//! on that gives it, until it has given it up. No two clients may have the same partition, whatever happens.
//! `OTTLA_GROUP_CASES` sets how many sequences are tried.

use proptest::prelude::*;

use super::*;

const SESSION: Duration = s(45);
const REBALANCE: Duration = s(30);
const NAMES: [&str; 3] = ["one", "two", "three"];
const CLIENTS: usize = 6;
/// Clients from this one on are static members.
const FIRST_STATIC: usize = 4;

#[derive(Clone, Copy, Debug)]
enum Event {
    /// A client sends what it has to say.
    Beat(usize, Delivery),
    /// A client has done what it was told: it has given up partitions and taken others.
    Adopt(usize),
    /// A client subscribes to the topics of these bits; the fourth stands for an expression that means all.
    Subscribe(usize, u8),
    Leave(usize),
    LeaveForNow(usize),
    /// A client ends without a word.
    Vanish(usize),
    /// A client that has ended starts again, under another id.
    Start(usize),
    /// An old heartbeat comes a second time.
    Repeat(usize, usize),
    Pass(u64),
    /// A topic is created, gets more partitions, or is replaced by one with fewer.
    PutTopic(usize, u32),
    DeleteTopic(usize),
    Restart,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Delivery {
    Whole,
    RequestLost,
    AnswerLost,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Life {
    Runs,
    /// It has ended, and starts again when it is told to.
    Ended,
}

#[derive(Debug)]
struct Client {
    number: usize,
    /// How often it has been started.
    started: usize,
    life: Life,
    /// Zero where it must join.
    epoch: i32,
    topics: u8,
    has: BTreeSet<TopicPartition>,
    /// What it was told to have, where it has not done that yet.
    told: Option<Assignment>,
    /// It has to say what it has, because it did what it was told.
    confirms: bool,
    /// It has to say all, because it may have missed something.
    unsure: bool,
    resubscribes: bool,
    /// How many answers it has missed, one after the other.
    missed: usize,
    /// Heartbeats that it has sent, without those that tell what it had.
    sent: Vec<Heartbeat>,
}

/// What the broker must know of a member to let it go.
#[derive(Clone, Copy, Debug)]
struct Heard {
    last: Duration,
    /// Since when it is to give up partitions.
    must_revoke: Option<Duration>,
}

struct Model {
    fixture: Fixture,
    clients: Vec<Client>,
    heard: BTreeMap<MemberId, Heard>,
    next_topic: u8,
}

impl Client {
    fn new(number: usize) -> Self {
        Self {
            number,
            started: 0,
            life: Life::Ended,
            epoch: 0,
            topics: 1,
            has: BTreeSet::new(),
            told: None,
            confirms: false,
            unsure: false,
            resubscribes: false,
            missed: 0,
            sent: Vec::new(),
        }
    }

    fn id(&self) -> MemberId {
        MemberId::from(format!("c{}.{}", self.number, self.started).as_str())
    }

    fn is_static(&self) -> bool {
        self.number >= FIRST_STATIC
    }

    /// It has nothing any more, and must join.
    fn begin_anew(&mut self) {
        *self = Self {
            started: self.started,
            life: self.life,
            topics: self.topics,
            sent: std::mem::take(&mut self.sent),
            ..Self::new(self.number)
        };
    }

    fn request(&self, world: &World) -> Heartbeat {
        let all = self.epoch == 0 || self.unsure;
        let mut heartbeat = beat(self.id().as_str(), self.epoch);
        heartbeat.instance_id =
            self.is_static().then(|| InstanceId::from(format!("i{}", self.number).as_str()));
        if all || self.resubscribes {
            let named = NAMES.iter().enumerate().filter(|(bit, _)| self.topics & 1 << bit != 0);
            heartbeat.topics = Some(named.map(|(_, topic)| name(topic)).collect());
            heartbeat.pattern = Some(match self.topics & 8 {
                0 => Pattern::None,
                _ => Pattern::Resolved { text: name(".*"), topics: world.0.keys().cloned().collect() },
            });
        }
        if all {
            heartbeat.rebalance_timeout = Some(REBALANCE);
        }
        if all || self.confirms {
            heartbeat.owned = Some(self.has.iter().copied().collect());
        }
        heartbeat
    }

    /// Understands an answer.
    fn hear(&mut self, answer: Answer) {
        self.missed = 0;
        match answer {
            Ok(accepted) => {
                self.epoch = accepted.member_epoch.0;
                (self.confirms, self.unsure, self.resubscribes) = (false, false, false);
                if let Some(assignment) = accepted.assignment {
                    self.has.extend(assignment.iter());
                    self.told = Some(assignment);
                }
            }
            Err(
                Refusal::FencedEpoch { .. } | Refusal::UnknownMember { .. } | Refusal::UnknownInstance { .. },
            ) => {
                self.begin_anew();
            }
            Err(Refusal::UnreleasedInstance { .. } | Refusal::FencedInstance { .. }) => {
                self.begin_anew();
                self.life = Life::Ended;
            }
            Err(other) => panic!("{other}"),
        }
    }
}

impl Model {
    fn new(assignment_interval: Duration) -> Self {
        let settings = ConsumerSettings { session_timeout: SESSION, assignment_interval, ..prompt() };
        let clients = (0..CLIENTS).map(Client::new).collect();
        Self { fixture: Fixture::new(settings), clients, heard: BTreeMap::new(), next_topic: 10 }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Beat(client, delivery) => self.beat(client, delivery),
            Event::Adopt(client) => self.adopt(client),
            Event::Subscribe(client, topics) => {
                self.clients[client].topics = topics;
                self.clients[client].resubscribes = true;
            }
            Event::Leave(client) => self.leave(client, MemberEpoch::LEAVES),
            Event::LeaveForNow(client) if client >= FIRST_STATIC => {
                self.leave(client, MemberEpoch::LEAVES_FOR_NOW);
            }
            Event::Vanish(client) | Event::LeaveForNow(client) => self.end(client),
            Event::Start(client) => self.start(client),
            Event::Repeat(client, nth) => self.repeat(client, nth),
            Event::Pass(seconds) => self.pass(s(seconds)),
            Event::PutTopic(topic, partitions) => self.put_topic(NAMES[topic], partitions),
            Event::DeleteTopic(topic) => {
                self.fixture.world.0.remove(NAMES[topic]);
                self.topics_changed();
            }
            Event::Restart => self.restart(),
        }
        self.check();
    }

    /// No partition is with two clients.
    fn check(&self) {
        let mut all = BTreeMap::new();
        for client in &self.clients {
            for partition in &client.has {
                let other = all.insert(*partition, client.number);
                assert_eq!(other, None, "{partition:?} is also with {}", client.number);
            }
        }
    }

    fn start(&mut self, client: usize) {
        let client = &mut self.clients[client];
        if client.life == Life::Ended {
            client.begin_anew();
            client.started += 1;
            client.life = Life::Runs;
            client.sent.clear();
        }
    }

    fn end(&mut self, client: usize) {
        self.clients[client].begin_anew();
        self.clients[client].life = Life::Ended;
    }

    fn beat(&mut self, client: usize, delivery: Delivery) {
        self.start(client);
        let request = self.clients[client].request(&self.fixture.world);
        // A static member that joins again before it has left ends, so that its answer must not be lost.
        let fragile = self.clients[client].is_static() && request.member_epoch == MemberEpoch::JOINS;
        let delivery = if fragile { Delivery::Whole } else { delivery };
        if delivery == Delivery::RequestLost {
            self.clients[client].unsure = true;
            return;
        }
        let answer = self.send(&request);
        let missed = self.clients[client].missed;
        let joined =
            request.member_epoch != MemberEpoch::JOINS && self.heard.contains_key(&request.member_id);
        if let (Err(refusal), true) = (&answer, joined) {
            assert!(missed > 1, "{request:?} of a member that missed {missed} answers: {refusal}");
        }
        if request.owned.is_none() {
            self.clients[client].sent.push(request);
        }
        if delivery == Delivery::AnswerLost {
            self.clients[client].missed += 1;
            self.clients[client].unsure = true;
        } else {
            self.clients[client].hear(answer);
        }
    }

    /// A heartbeat that was on its way for long. Its client gave it up, and is unsure what became of it.
    fn repeat(&mut self, client: usize, nth: usize) {
        let client = &self.clients[client];
        let Some(old) = client.sent.get(nth % client.sent.len().max(1)).cloned() else { return };
        if self.send(&old).is_ok() {
            let id = old.member_id;
            let sender =
                self.clients.iter_mut().find(|client| client.life == Life::Runs && client.id() == id);
            if let Some(client) = sender {
                client.missed += 1;
                client.unsure = true;
            }
        }
    }

    fn adopt(&mut self, client: usize) {
        let client = &mut self.clients[client];
        if let Some(told) = client.told.take() {
            client.has = told.iter().collect();
            client.confirms = true;
        }
    }

    fn leave(&mut self, client: usize, epoch: MemberEpoch) {
        if self.clients[client].life == Life::Runs {
            let request = self.clients[client].request(&self.fixture.world);
            // Whatever the answer: it ends.
            self.send(&Heartbeat { member_epoch: epoch, ..request }).ok();
        }
        self.end(client);
    }

    fn send(&mut self, request: &Heartbeat) -> Answer {
        let now = self.fixture.now;
        let epoch = request.member_epoch;
        let effects = self.fixture.step(|group, world| group.heartbeat(Token(1), request, world, now));
        self.note(&effects.changes, false);
        let (_, answer) = effects.answers.into_iter().next().unwrap();
        if answer.is_ok() && epoch >= MemberEpoch::JOINS {
            let heard = self.heard.entry(request.member_id.clone());
            heard.or_insert(Heard { last: now, must_revoke: None }).last = now;
        }
        answer
    }

    fn pass(&mut self, time: Duration) {
        // As a timer does: each deadline in its turn.
        let end = self.fixture.now + time;
        while let Some(deadline) = self.fixture.group.next_deadline().filter(|deadline| *deadline <= end) {
            let wait = deadline.saturating_sub(self.fixture.now);
            let changes = self.fixture.pass(wait);
            self.note(&changes, true);
            self.check();
        }
        self.fixture.now = end;
    }

    fn put_topic(&mut self, topic: &str, partitions: u32) {
        let before = self.fixture.world.topic(topic);
        let id = match before {
            Some(info) if info.partitions <= partitions => info.id.0[0],
            _ => {
                self.next_topic = self.next_topic.wrapping_add(1).max(10);
                self.next_topic
            }
        };
        self.fixture.world.put(topic, id, partitions);
        self.topics_changed();
    }

    fn topics_changed(&mut self) {
        let (now, all) = (self.fixture.now, self.fixture.world.0.keys().cloned().collect());
        let resolved = [(name(".*"), all)];
        let effects = self.fixture.step(|group, world| group.patterns_resolved(resolved, world, now));
        self.note(&effects.changes, false);
    }

    fn restart(&mut self) {
        self.fixture.restart();
        let now = self.fixture.now;
        for heard in self.heard.values_mut() {
            *heard = Heard { last: now, must_revoke: heard.must_revoke.map(|_| now) };
        }
        // Every session begins anew, and nothing else has an earlier deadline than the ones of before.
        let begun = self.fixture.group.members.values().all(|member| member.session_ends == now + SESSION);
        assert!(begun, "a session that did not begin anew");
        self.topics_changed();
    }

    /// Follows what becomes of members: in time's course only those go that are silent for a session, or that
    /// do not give up what they must.
    fn note(&mut self, changes: &[Change], expelled: bool) {
        let now = self.fixture.now;
        for change in changes {
            match change {
                Change::MemberRemoved(id) => {
                    let heard = self.heard.remove(id);
                    let silent = heard.is_some_and(|heard| now >= heard.last + SESSION);
                    let slow = heard
                        .and_then(|heard| heard.must_revoke)
                        .is_some_and(|since| now >= since + REBALANCE);
                    assert!(!expelled || silent || slow, "{id} was expelled: {heard:?} at {now:?}");
                    // It must not use anything after its time.
                    for client in &mut self.clients {
                        if expelled && client.id() == *id {
                            client.has.clear();
                            client.told = None;
                        }
                    }
                }
                Change::CurrentPut(id, row) => {
                    let revokes = row.state == MemberState::UnrevokedPartitions
                        && row.epoch != MemberEpoch::LEAVES_FOR_NOW;
                    let heard =
                        self.heard.entry(id.clone()).or_insert(Heard { last: now, must_revoke: None });
                    heard.must_revoke = revokes.then_some(now);
                }
                _ => {}
            }
        }
    }

    /// Everybody does what is right for a while.
    fn calm_down(&mut self) {
        for _ in 0..30 {
            for client in 0..CLIENTS {
                if self.clients[client].life == Life::Runs {
                    self.happen(Event::Adopt(client));
                    self.happen(Event::Beat(client, Delivery::Whole));
                    self.happen(Event::Adopt(client));
                    self.happen(Event::Beat(client, Delivery::Whole));
                }
            }
            self.happen(Event::Pass(5));
        }
        let running: Vec<_> = self.clients.iter().filter(|client| client.life == Life::Runs).collect();
        let group = &self.fixture.group;
        let state = if running.is_empty() { GroupState::Empty } else { GroupState::Stable };
        assert_eq!(group.state(), state, "{:?}", group.describe(&self.fixture.world));
        let mut wanted = BTreeSet::new();
        for client in &running {
            let id = client.id();
            assert_eq!(client.epoch, group.assignment_epoch().0);
            assert_eq!(client.has, self.fixture.target(id.as_str()).iter().collect(), "{id}");
            let names = NAMES.iter().enumerate().filter(|(bit, _)| client.topics & (8 | 1 << bit) != 0);
            for info in names.filter_map(|(_, topic)| self.fixture.world.topic(topic)) {
                wanted.extend((0..info.partitions).map(|n| at(info.id.0[0], n as i32)));
            }
        }
        let had: BTreeSet<_> = running.iter().flat_map(|client| client.has.iter().copied()).collect();
        assert_eq!(had, wanted);
    }
}

fn event() -> impl Strategy<Value = Event> {
    let client = 0..CLIENTS;
    let delivery = prop_oneof![
        6 => Just(Delivery::Whole),
        1 => Just(Delivery::RequestLost),
        1 => Just(Delivery::AnswerLost),
    ];
    prop_oneof![
        30 => (client.clone(), delivery).prop_map(|(client, delivery)| Event::Beat(client, delivery)),
        20 => client.clone().prop_map(Event::Adopt),
        3 => (client.clone(), 0..16_u8).prop_map(|(client, topics)| Event::Subscribe(client, topics)),
        2 => client.clone().prop_map(Event::Leave),
        2 => (FIRST_STATIC..CLIENTS).prop_map(Event::LeaveForNow),
        1 => client.clone().prop_map(Event::Vanish),
        3 => client.clone().prop_map(Event::Start),
        3 => (client, 0..8_usize).prop_map(|(client, nth)| Event::Repeat(client, nth)),
        6 => prop_oneof![Just(0), Just(1), 2..20_u64, Just(46)].prop_map(Event::Pass),
        2 => (0..NAMES.len(), 1..9_u32).prop_map(|(topic, partitions)| Event::PutTopic(topic, partitions)),
        1 => (0..NAMES.len()).prop_map(Event::DeleteTopic),
        2 => Just(Event::Restart),
    ]
}

fn cases() -> u32 {
    std::env::var("OTTLA_GROUP_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn partitions_have_one_owner_and_groups_settle(
        interval in prop_oneof![Just(0), Just(1), Just(15)],
        events in prop::collection::vec(event(), 1..120),
    ) {
        let mut model = Model::new(s(interval));
        for event in events {
            model.happen(event);
        }
        model.calm_down();
    }
}
