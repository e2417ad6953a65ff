//! Incremental fetch sessions (KIP-227): a client names its partitions once, then only what changes, and is answered
//! only with what has something new.
//!
//! As Kafka's, but without a limit of time: what is bounded is how many there are, and the oldest makes room.

use ottla_protocol::{
    ErrorCode, Str, Uuid,
    messages::fetch::{FetchPartition, FetchRequest},
};

/// The session epoch that asks for no session.
const FINAL_EPOCH: i32 = -1;
/// The session epoch that asks for a new one.
const INITIAL_EPOCH: i32 = 0;
/// How many sessions a node has at most, as `max.incremental.fetch.session.cache.slots`.
const SESSIONS_MAX: usize = 1000;
/// How many partitions a session has at most; a client that wants more gets none.
const PARTITIONS_MAX: usize = 10_000;

/// How a request names a topic.
#[derive(Clone, Debug, Eq, PartialEq)]
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
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Said {
    pub(crate) high_watermark: i64,
    pub(crate) log_start: i64,
    /// Whether there are records.
    pub(crate) records: bool,
    /// Whether there is an error or a diverging epoch.
    pub(crate) exception: bool,
}

/// The sessions of a node, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct FetchSessions {
    sessions: Vec<Session>,
    last_id: i32,
}

#[derive(Debug)]
struct Session {
    id: i32,
    /// The epoch of the next request.
    epoch: i32,
    by_id: bool,
    /// In the order in which they are served: one that had records goes to the end.
    partitions: Vec<Cached>,
}

#[derive(Debug)]
struct Cached {
    wanted: Wanted,
    /// High watermark and log start offset as they were told.
    told: (i64, i64),
}

impl FetchSessions {
    /// No session yet. Their ids come after `last_id`, so that those of another node or of before a restart are unknown.
    pub(crate) fn new(last_id: i32) -> Self {
        Self { sessions: Vec::new(), last_id }
    }

    /// Forgets all of them, as a restart does.
    pub(crate) fn clear(&mut self) {
        self.sessions.clear();
    }

    /// What is in a session; empty if it is not known.
    pub(crate) fn partitions(&self, id: i32) -> impl Iterator<Item = &Wanted> {
        let session = self.sessions.iter().filter(move |session| session.id == id);
        session.flat_map(|session| &session.partitions).map(|cached| &cached.wanted)
    }

    /// Takes a request's partitions, or those of its session.
    pub(crate) fn begin(&mut self, request: &FetchRequest, by_id: bool) -> Result<Fetching, ErrorCode> {
        let (id, epoch) = (request.session_id, request.session_epoch);
        if epoch == FINAL_EPOCH || epoch == INITIAL_EPOCH {
            self.sessions.retain(|session| session.id != id);
            let kind = if epoch == INITIAL_EPOCH { Kind::Initial } else { Kind::Sessionless };
            return Ok(Fetching { kind, partitions: named(request, by_id).collect() });
        }
        let place = self.sessions.iter().position(|session| session.id == id);
        let place = place.ok_or(ErrorCode::FETCH_SESSION_ID_NOT_FOUND)?;
        let session = &mut self.sessions[place];
        if session.by_id != by_id {
            return Err(ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR);
        }
        if session.epoch != epoch {
            return Err(ErrorCode::INVALID_FETCH_SESSION_EPOCH);
        }
        session.epoch = after(epoch);
        named(request, by_id).for_each(|wanted| session.put(wanted));
        for forgotten in &request.forgotten_topics_data {
            let topic = key(&forgotten.topic, forgotten.topic_id, by_id);
            let forgotten = |wanted: &Wanted| {
                wanted.topic == topic && forgotten.partitions.contains(&wanted.from.partition)
            };
            session.partitions.retain(|cached| !forgotten(&cached.wanted));
        }
        if session.partitions.len() > PARTITIONS_MAX {
            // The client begins anew, and gets none then.
            self.sessions.remove(place);
            return Err(ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
        }
        if session.partitions.is_empty() {
            self.sessions.remove(place);
            return Ok(Fetching { kind: Kind::Sessionless, partitions: Vec::new() });
        }
        let partitions = session.partitions.iter().map(|cached| cached.wanted.clone()).collect();
        Ok(Fetching { kind: Kind::Incremental(id), partitions })
    }

    /// Takes note of what is answered, in the order of [`Fetching::partitions`]. Returns the session id of the answer,
    /// and which partitions belong into it.
    pub(crate) fn finish(&mut self, fetching: &Fetching, said: &[Said]) -> (i32, Vec<bool>) {
        let answered = fetching.partitions.iter().zip(said);
        match fetching.kind {
            Kind::Sessionless => (0, vec![true; said.len()]),
            Kind::Initial => (self.create(fetching, said), vec![true; said.len()]),
            Kind::Incremental(id) => {
                let mut session = self.sessions.iter_mut().find(|session| session.id == id);
                let new = answered.map(|(wanted, said)| {
                    let changed = session.as_mut().is_some_and(|session| session.note(wanted, *said));
                    changed || said.records || said.exception
                });
                (id, new.collect())
            }
        }
    }

    fn create(&mut self, fetching: &Fetching, said: &[Said]) -> i32 {
        let Some(first) = fetching.partitions.first() else { return 0 };
        if fetching.partitions.len() > PARTITIONS_MAX {
            return 0;
        }
        if self.sessions.len() >= SESSIONS_MAX {
            self.sessions.remove(0);
        }
        self.last_id = after(self.last_id);
        let by_id = matches!(first.topic, TopicKey::Id(_));
        let mut session =
            Session { id: self.last_id, epoch: after(INITIAL_EPOCH), by_id, partitions: Vec::new() };
        fetching.partitions.iter().for_each(|wanted| session.put(wanted.clone()));
        for (wanted, said) in fetching.partitions.iter().zip(said) {
            session.note(wanted, *said);
        }
        self.sessions.push(session);
        self.last_id
    }
}

impl Session {
    fn place(&self, wanted: &Wanted) -> Option<usize> {
        let same = |cached: &Cached| {
            cached.wanted.from.partition == wanted.from.partition && cached.wanted.topic == wanted.topic
        };
        self.partitions.iter().position(same)
    }

    /// Adds a partition, or changes from where it is fetched.
    fn put(&mut self, wanted: Wanted) {
        match self.place(&wanted) {
            Some(place) => self.partitions[place].wanted.from = wanted.from,
            None => self.partitions.push(Cached { wanted, told: (-1, -1) }),
        }
    }

    /// Takes note of what is answered; true if it is not what was answered before.
    fn note(&mut self, wanted: &Wanted, said: Said) -> bool {
        let Some(place) = self.place(wanted) else { return false };
        let mut cached = self.partitions.remove(place);
        let before = cached.told;
        // What goes wrong is said each time, until it is right again.
        cached.told = if said.exception { (-1, -1) } else { (said.high_watermark, said.log_start) };
        let place = if said.records { self.partitions.len() } else { place };
        self.partitions.insert(place, cached);
        before != (said.high_watermark, said.log_start)
    }
}

pub(crate) fn key(name: &Str, id: Uuid, by_id: bool) -> TopicKey {
    if by_id { TopicKey::Id(id) } else { TopicKey::Name(name.detached()) }
}

/// The partitions that a request names. Nothing of them keeps the request alive.
fn named(request: &FetchRequest, by_id: bool) -> impl Iterator<Item = Wanted> + '_ {
    request.topics.iter().flat_map(move |topic| {
        let key = key(&topic.topic, topic.topic_id, by_id);
        topic.partitions.iter().map(move |from| Wanted {
            topic: key.clone(),
            from: FetchPartition { unknown_tagged_fields: Default::default(), ..from.clone() },
        })
    })
}

fn after(number: i32) -> i32 {
    if number == i32::MAX { 1 } else { number + 1 }
}

#[cfg(test)]
mod tests {
    use ottla_protocol::messages::fetch::{FetchTopic, ForgottenTopic};

    use super::*;

    /// A request for partitions of the topic "t" from these offsets on.
    fn request(session_id: i32, session_epoch: i32, partitions: &[(i32, i64)]) -> FetchRequest {
        let from = |&(partition, fetch_offset): &(i32, i64)| FetchPartition {
            partition,
            fetch_offset,
            ..Default::default()
        };
        let partitions = partitions.iter().map(from).collect();
        let topic = FetchTopic { topic: "t".into(), partitions, ..FetchTopic::default() };
        FetchRequest { session_id, session_epoch, topics: vec![topic], ..FetchRequest::default() }
    }

    fn nothing(high_watermark: i64) -> Said {
        Said { high_watermark, log_start: 0, records: false, exception: false }
    }

    fn records(high_watermark: i64) -> Said {
        Said { records: true, ..nothing(high_watermark) }
    }

    const ERROR: Said = Said { high_watermark: -1, log_start: -1, records: false, exception: true };

    fn order(fetching: &Fetching) -> Vec<(i32, i64)> {
        fetching.partitions.iter().map(|wanted| (wanted.from.partition, wanted.from.fetch_offset)).collect()
    }

    #[test]
    fn only_what_is_new_is_answered_and_who_had_records_goes_last() {
        let mut sessions = FetchSessions::default();
        let first = sessions.begin(&request(0, 0, &[(0, 5), (1, 6), (2, 7)]), false).unwrap();
        let (id, all) = sessions.finish(&first, &[records(9), nothing(6), nothing(7)]);
        assert_eq!((id, all), (1, vec![true; 3]));

        let second = sessions.begin(&request(id, 1, &[(0, 9)]), false).unwrap();
        assert_eq!(order(&second), [(1, 6), (2, 7), (0, 9)]);
        let (same, new) = sessions.finish(&second, &[nothing(6), records(8), nothing(9)]);
        assert_eq!((same, new), (id, vec![false, true, false]));

        let mut third = request(id, 2, &[(3, 0)]);
        third.forgotten_topics_data =
            vec![ForgottenTopic { topic: "t".into(), partitions: vec![1], ..ForgottenTopic::default() }];
        let third = sessions.begin(&third, false).unwrap();
        assert_eq!(order(&third), [(0, 9), (2, 7), (3, 0)]);
        assert_eq!(sessions.finish(&third, &[nothing(10), nothing(8), ERROR]).1, [true, false, true]);
    }

    #[test]
    fn an_error_is_answered_until_it_has_passed_and_its_end_once() {
        let mut sessions = FetchSessions::default();
        let first = sessions.begin(&request(0, 0, &[(0, 0)]), false).unwrap();
        let (id, _) = sessions.finish(&first, &[nothing(0)]);
        for (epoch, said, new) in
            [(1, ERROR, true), (2, ERROR, true), (3, nothing(0), true), (4, nothing(0), false)]
        {
            let next = sessions.begin(&request(id, epoch, &[]), false).unwrap();
            assert_eq!(sessions.finish(&next, &[said]), (id, vec![new]), "epoch {epoch}");
        }
    }

    #[test]
    fn sessions_are_checked_and_the_oldest_makes_room() {
        let mut sessions = FetchSessions::new(7);
        let first = sessions.begin(&request(0, 0, &[(0, 0)]), false).unwrap();
        assert_eq!(sessions.finish(&first, &[nothing(0)]).0, 8);
        let mut begin = |id, epoch, by_id| sessions.begin(&request(id, epoch, &[]), by_id).map(|_| ());
        assert_eq!(begin(8, 2, false), Err(ErrorCode::INVALID_FETCH_SESSION_EPOCH));
        assert_eq!(begin(8, 1, true), Err(ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR));
        assert_eq!(begin(9, 1, false), Err(ErrorCode::FETCH_SESSION_ID_NOT_FOUND));
        assert_eq!(begin(8, 1, false), Ok(()));
        assert_eq!(begin(8, -1, false), Ok(()), "that ends it");
        assert_eq!(begin(8, 2, false), Err(ErrorCode::FETCH_SESSION_ID_NOT_FOUND));
        for _ in 0..=SESSIONS_MAX {
            let first = sessions.begin(&request(0, 0, &[(0, 0)]), false).unwrap();
            sessions.finish(&first, &[nothing(0)]);
        }
        assert_eq!(sessions.sessions.len(), SESSIONS_MAX);
        assert_eq!(sessions.partitions(9).count(), 0, "the oldest of them");
        assert_eq!(sessions.partitions(10).count(), 1);
    }
}
