//! Incremental fetch sessions (KIP-227): a consumer names its partitions once, then only what changes, and is
//! answered only with what has something new.
//!
//! Sessions and the partitions in them are bounded. When there is no room, one that was not used for two
//! minutes makes it; otherwise a client gets no session, and goes on naming all its partitions.
//!
//! No I/O and no clock here: `now` comes in, a reading of the monotonic clock.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use ottla_protocol::{
    ErrorCode, Str, Uuid,
    messages::fetch::{FetchPartition, FetchRequest},
};
use ottla_storage::Random;
use parking_lot::Mutex;

/// The session epoch that asks for no session.
const FINAL_EPOCH: i32 = -1;
/// The session epoch that asks for a new one.
const INITIAL_EPOCH: i32 = 0;
/// A session that was not used for so long may be replaced.
const UNUSED_MAX: Duration = Duration::from_secs(120);

/// How a request names a topic.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) enum TopicKey {
    /// Before version 13.
    Name(Str),
    /// From version 13 on.
    Id(Uuid),
}

/// A partition that is to be fetched.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) topic: TopicKey,
    pub(crate) from: FetchPartition,
}

/// A fetch as its session makes it.
#[derive(Debug)]
pub(crate) struct Fetching {
    kind: Kind,
    /// What to fetch, in the order in which to serve it.
    pub(crate) partitions: Vec<Wanted>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Sessionless,
    Initial,
    Incremental(i32),
}

/// What an answer says of a partition, as far as a session cares.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Said {
    pub(crate) high_watermark: i64,
    pub(crate) log_start: i64,
    /// Whether there are records.
    pub(crate) records: bool,
    /// Whether there is an error or a diverging epoch.
    pub(crate) exception: bool,
}

/// The sessions of all connections.
#[derive(Debug)]
pub(crate) struct FetchSessions {
    sessions: Mutex<HashMap<i32, Session>>,
    random: Arc<dyn Random>,
    sessions_max: usize,
    partitions_max: usize,
}

#[derive(Debug)]
struct Session {
    /// The epoch of the next request.
    epoch: i32,
    by_id: bool,
    used: Duration,
    /// By the turn in which partitions are served: one that had records goes to the end.
    turns: BTreeMap<u64, Cached>,
    turn_of: HashMap<(TopicKey, i32), u64>,
    next_turn: u64,
}

#[derive(Debug)]
struct Cached {
    wanted: Wanted,
    high_watermark: i64,
    log_start: i64,
}

impl FetchSessions {
    /// At most `sessions_max` sessions with at most `partitions_max` partitions together.
    pub(crate) fn new(random: Arc<dyn Random>, sessions_max: usize, partitions_max: usize) -> Self {
        Self { sessions: Mutex::default(), random, sessions_max, partitions_max }
    }

    /// Takes a request's partitions, or those of its session.
    ///
    /// # Errors
    /// There is no such session, or the request is not the next one in it.
    pub(crate) fn begin(
        &self,
        request: &FetchRequest,
        by_id: bool,
        now: Duration,
    ) -> Result<Fetching, ErrorCode> {
        let (id, epoch) = (request.session_id, request.session_epoch);
        if epoch == FINAL_EPOCH || epoch == INITIAL_EPOCH {
            if id != 0 {
                self.sessions.lock().remove(&id);
            }
            let kind = if epoch == INITIAL_EPOCH { Kind::Initial } else { Kind::Sessionless };
            return Ok(Fetching { kind, partitions: named(request, by_id).collect() });
        }
        let mut sessions = self.sessions.lock();
        // Only a request that names partitions can make a session grow.
        let room = match request.topics.is_empty() {
            true => usize::MAX,
            false => {
                let others = sessions.iter().filter(|(other, _)| **other != id);
                self.partitions_max.saturating_sub(others.map(|(_, other)| other.len()).sum())
            }
        };
        let session = sessions.get_mut(&id).ok_or(ErrorCode::FETCH_SESSION_ID_NOT_FOUND)?;
        if session.by_id != by_id {
            return Err(ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR);
        }
        if session.epoch != epoch {
            return Err(ErrorCode::INVALID_FETCH_SESSION_EPOCH);
        }
        session.epoch = after(epoch);
        session.used = now;
        named(request, by_id).for_each(|wanted| session.put(wanted));
        for forgotten in &request.forgotten_topics_data {
            let topic = key(&forgotten.topic, forgotten.topic_id, by_id);
            forgotten.partitions.iter().for_each(|partition| session.remove(&topic, *partition));
        }
        if session.len() > room {
            // The client begins anew, and gets none if there is no room then.
            sessions.remove(&id);
            return Err(ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
        }
        if session.turns.is_empty() {
            sessions.remove(&id);
            return Ok(Fetching { kind: Kind::Sessionless, partitions: Vec::new() });
        }
        let partitions = session.turns.values().map(|cached| cached.wanted.clone()).collect();
        Ok(Fetching { kind: Kind::Incremental(id), partitions })
    }

    /// Takes note of what is answered, in the order of [`Fetching::partitions`]. Returns the session id of the
    /// answer, and which partitions belong into it.
    pub(crate) fn finish(&self, fetching: &Fetching, said: &[Said], now: Duration) -> (i32, Vec<bool>) {
        match fetching.kind {
            Kind::Sessionless => (0, vec![true; said.len()]),
            Kind::Initial => (self.create(fetching, said, now), vec![true; said.len()]),
            Kind::Incremental(id) => {
                let mut sessions = self.sessions.lock();
                let mut session = sessions.get_mut(&id);
                let wanted = fetching.partitions.iter().zip(said);
                let new = wanted.map(|(wanted, said)| {
                    let changed = session.as_mut().is_some_and(|session| session.note(wanted, *said));
                    changed || said.records || said.exception
                });
                (id, new.collect())
            }
        }
    }

    fn create(&self, fetching: &Fetching, said: &[Said], now: Duration) -> i32 {
        let mut sessions = self.sessions.lock();
        let mut partitions: usize = sessions.values().map(Session::len).sum();
        while sessions.len() >= self.sessions_max || partitions + said.len() > self.partitions_max {
            let oldest = sessions.iter().min_by_key(|(_, session)| session.used);
            let Some((&id, session)) = oldest else { return 0 };
            if now.saturating_sub(session.used) < UNUSED_MAX {
                return 0;
            }
            partitions -= session.len();
            sessions.remove(&id);
        }
        let Some(first) = fetching.partitions.first() else { return 0 };
        let mut session = Session {
            epoch: after(INITIAL_EPOCH),
            by_id: matches!(first.topic, TopicKey::Id(_)),
            used: now,
            turns: BTreeMap::new(),
            turn_of: HashMap::new(),
            next_turn: 0,
        };
        fetching.partitions.iter().for_each(|wanted| session.put(wanted.clone()));
        for (wanted, said) in fetching.partitions.iter().zip(said) {
            session.note(wanted, *said);
        }
        loop {
            // 31 bits, and not 0, which means "none".
            let id = (self.random.next_u64() >> 33) as i32;
            if id != 0 && !sessions.contains_key(&id) {
                sessions.insert(id, session);
                return id;
            }
        }
    }
}

impl Session {
    fn len(&self) -> usize {
        self.turns.len()
    }

    /// Adds a partition, or changes from where it is fetched.
    fn put(&mut self, wanted: Wanted) {
        let key = (wanted.topic.clone(), wanted.from.partition);
        if let Some(cached) = self.turn_of.get(&key).and_then(|turn| self.turns.get_mut(turn)) {
            cached.wanted.from = wanted.from;
            return;
        }
        self.turn_of.insert((wanted.topic.detached(), key.1), self.next_turn);
        let cached = Cached { wanted: wanted.detached(), high_watermark: -1, log_start: -1 };
        self.turns.insert(self.next_turn, cached);
        self.next_turn += 1;
    }

    fn remove(&mut self, topic: &TopicKey, partition: i32) {
        if let Some(turn) = self.turn_of.remove(&(topic.clone(), partition)) {
            self.turns.remove(&turn);
        }
    }

    /// Takes note of what is answered; true if it is not what was answered before.
    fn note(&mut self, wanted: &Wanted, said: Said) -> bool {
        let key = (wanted.topic.clone(), wanted.from.partition);
        let Some(turn) = self.turn_of.get_mut(&key) else { return false };
        let Some(mut cached) = self.turns.remove(turn) else { return false };
        let before = (cached.high_watermark, cached.log_start);
        // What goes wrong is said each time, until it is right again.
        (cached.high_watermark, cached.log_start) =
            if said.exception { (-1, -1) } else { (said.high_watermark, said.log_start) };
        if said.records {
            *turn = self.next_turn;
            self.next_turn += 1;
        }
        self.turns.insert(*turn, cached);
        before != (said.high_watermark, said.log_start)
    }
}

impl TopicKey {
    /// A copy that keeps no request alive.
    fn detached(&self) -> Self {
        match self {
            Self::Name(name) => Self::Name(name.detached()),
            Self::Id(id) => Self::Id(*id),
        }
    }
}

impl Wanted {
    fn detached(&self) -> Self {
        // Unknown tagged fields would keep the request alive, and mean nothing here.
        let from = FetchPartition { unknown_tagged_fields: Default::default(), ..self.from.clone() };
        Self { topic: self.topic.detached(), from }
    }
}

fn key(name: &Str, id: Uuid, by_id: bool) -> TopicKey {
    if by_id { TopicKey::Id(id) } else { TopicKey::Name(name.clone()) }
}

/// The partitions that a request names.
fn named(request: &FetchRequest, by_id: bool) -> impl Iterator<Item = Wanted> + '_ {
    request.topics.iter().flat_map(move |topic| {
        let key = key(&topic.topic, topic.topic_id, by_id);
        let wanted = move |from: &FetchPartition| Wanted { topic: key.clone(), from: from.clone() };
        topic.partitions.iter().map(wanted)
    })
}

fn after(epoch: i32) -> i32 {
    if epoch == i32::MAX { 1 } else { epoch + 1 }
}

#[cfg(test)]
mod tests {
    use ottla_protocol::messages::fetch::{FetchTopic, ForgottenTopic};
    use ottla_storage::SeededRandom;

    use super::*;

    const NOW: Duration = Duration::from_secs(1000);

    fn sessions(sessions_max: usize, partitions_max: usize) -> FetchSessions {
        FetchSessions::new(Arc::new(SeededRandom::new(1)), sessions_max, partitions_max)
    }

    /// A request for partitions of the topic "t" from these offsets on.
    fn request(session_id: i32, session_epoch: i32, partitions: &[(i32, i64)]) -> FetchRequest {
        let from = |&(partition, fetch_offset): &(i32, i64)| FetchPartition {
            partition,
            fetch_offset,
            ..FetchPartition::default()
        };
        let topic = FetchTopic {
            topic: Str::from("t"),
            partitions: partitions.iter().map(from).collect(),
            ..FetchTopic::default()
        };
        FetchRequest { session_id, session_epoch, topics: vec![topic], ..FetchRequest::default() }
    }

    fn nothing(high_watermark: i64) -> Said {
        Said { high_watermark, log_start: 0, records: false, exception: false }
    }

    fn records(high_watermark: i64) -> Said {
        Said { records: true, ..nothing(high_watermark) }
    }

    fn error() -> Said {
        Said { high_watermark: -1, log_start: -1, records: false, exception: true }
    }

    /// Partitions and offsets of a fetch, in its order.
    fn order(fetching: &Fetching) -> Vec<(i32, i64)> {
        fetching.partitions.iter().map(|wanted| (wanted.from.partition, wanted.from.fetch_offset)).collect()
    }

    #[test]
    fn only_what_is_new_is_answered_and_who_had_records_goes_last() {
        let sessions = sessions(10, 100);
        let first = sessions.begin(&request(0, 0, &[(0, 5), (1, 6), (2, 7)]), false, NOW).unwrap();
        assert_eq!(order(&first), [(0, 5), (1, 6), (2, 7)]);
        let (id, all) = sessions.finish(&first, &[records(9), nothing(6), nothing(7)], NOW);
        assert_eq!((id > 0, all), (true, vec![true; 3]));

        let second = sessions.begin(&request(id, 1, &[(0, 9)]), false, NOW).unwrap();
        assert_eq!(order(&second), [(1, 6), (2, 7), (0, 9)]);
        let (same, new) = sessions.finish(&second, &[nothing(6), records(8), nothing(9)], NOW);
        assert_eq!((same, new), (id, vec![false, true, false]));

        let mut third = request(id, 2, &[(3, 0)]);
        third.forgotten_topics_data =
            vec![ForgottenTopic { topic: Str::from("t"), partitions: vec![1], ..ForgottenTopic::default() }];
        let third = sessions.begin(&third, false, NOW).unwrap();
        assert_eq!(order(&third), [(0, 9), (2, 7), (3, 0)]);
        let (_, new) = sessions.finish(&third, &[nothing(10), nothing(8), error()], NOW);
        assert_eq!(new, [true, false, true]);
    }

    #[test]
    fn an_error_is_answered_until_it_has_passed_and_its_end_once() {
        let sessions = sessions(10, 100);
        let first = sessions.begin(&request(0, 0, &[(0, 0)]), false, NOW).unwrap();
        let (id, _) = sessions.finish(&first, &[nothing(0)], NOW);
        for (epoch, said, new) in
            [(1, error(), true), (2, error(), true), (3, nothing(0), true), (4, nothing(0), false)]
        {
            let next = sessions.begin(&request(id, epoch, &[]), false, NOW).unwrap();
            assert_eq!(sessions.finish(&next, &[said], NOW), (id, vec![new]), "epoch {epoch}");
        }
    }

    #[test]
    fn sessions_are_checked() {
        let sessions = sessions(10, 100);
        let first = sessions.begin(&request(0, 0, &[(0, 0)]), false, NOW).unwrap();
        let (id, _) = sessions.finish(&first, &[nothing(0)], NOW);
        let begin = |id, epoch, by_id| sessions.begin(&request(id, epoch, &[]), by_id, NOW).map(|_| ());
        assert_eq!(begin(id, 2, false), Err(ErrorCode::INVALID_FETCH_SESSION_EPOCH));
        assert_eq!(begin(id, 1, true), Err(ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR));
        assert_eq!(begin(id ^ 1, 1, false), Err(ErrorCode::FETCH_SESSION_ID_NOT_FOUND));
        assert_eq!(begin(0, 1, false), Err(ErrorCode::FETCH_SESSION_ID_NOT_FOUND));
        assert_eq!(begin(id, 1, false), Ok(()));
        assert_eq!(begin(id, -1, false), Ok(()), "that ends it");
        assert_eq!(begin(id, 2, false), Err(ErrorCode::FETCH_SESSION_ID_NOT_FOUND));
    }

    #[test]
    fn a_session_without_partitions_is_over() {
        let sessions = sessions(10, 100);
        let first = sessions.begin(&request(0, 0, &[(0, 0)]), false, NOW).unwrap();
        let (id, _) = sessions.finish(&first, &[nothing(0)], NOW);
        let mut last = request(id, 1, &[]);
        last.forgotten_topics_data =
            vec![ForgottenTopic { topic: Str::from("t"), partitions: vec![0], ..ForgottenTopic::default() }];
        let last = sessions.begin(&last, false, NOW).unwrap();
        assert_eq!(sessions.finish(&last, &[], NOW), (0, vec![]));
        assert!(sessions.sessions.lock().is_empty());
    }

    #[test]
    fn what_clients_create_is_bounded() {
        let sessions = sessions(2, 5);
        let create = |partitions: &[(i32, i64)], now| {
            let fetching = sessions.begin(&request(0, 0, partitions), false, now).unwrap();
            sessions.finish(&fetching, &vec![nothing(0); partitions.len()], now).0
        };
        let many: Vec<(i32, i64)> = (0..6).map(|partition| (partition, 0)).collect();
        assert_eq!(create(&many, NOW), 0, "more partitions than there is room for");
        let first = create(&many[..2], NOW);
        let second = create(&many[..2], NOW + Duration::from_secs(10));
        assert!(first > 0 && second > 0);
        assert_eq!(create(&many[..1], NOW + Duration::from_secs(20)), 0, "all are in use");
        let third = create(&many[..1], NOW + UNUSED_MAX);
        assert!(third > 0);
        let begin = |id, epoch, partitions: &[(i32, i64)]| {
            sessions.begin(&request(id, epoch, partitions), false, NOW + UNUSED_MAX).map(|_| ())
        };
        assert_eq!(begin(first, 1, &[]), Err(ErrorCode::FETCH_SESSION_ID_NOT_FOUND), "it was the oldest");
        assert_eq!(begin(second, 1, &[(7, 0), (8, 0), (9, 0)]), Err(ErrorCode::FETCH_SESSION_ID_NOT_FOUND));
        assert_eq!(begin(third, 1, &[]), Ok(()));
    }
}
