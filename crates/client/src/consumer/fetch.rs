//! Fetch: what is asked of a broker, and what its answer means.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use ottla_protocol::{
    ErrorCode, Records, Str, Uuid,
    messages::fetch::{
        FetchPartition, FetchRequest, FetchResponse, FetchTopic, ForgottenTopic, PartitionData,
    },
};
use tokio::time::Instant;

use super::{
    aborted::Aborted,
    chunk::{Chunk, Complete, complete, damaged, too_large},
    partition::{Key, Phase, Position, Watermarks},
    session::{Ask, Session, Want, is_of_session},
    state::State,
};
use crate::{
    budget::Reservation,
    config::IsolationLevel,
    error::{Error, ErrorKind},
    net::wire::TooLong,
};

/// The first version, with isolation levels (KIP-98).
pub(super) const FIRST_VERSION: i16 = 4;
/// The first version with sessions (KIP-227).
const SESSIONS_FROM: i16 = 7;
/// The first version that names topics by id (KIP-516).
const BY_ID_FROM: i16 = 13;
/// What an answer has beside records: in all, and for each partition.
const FRAMING: usize = 64 << 10;
const FRAMING_OF_PARTITION: usize = 512;
/// And what a list of aborted transactions may take.
const ABORTED_MAX: usize = 1 << 20;

/// What is asked of a broker.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) request: FetchRequest,
    /// In which version it can be asked.
    pub(super) version: i16,
    /// All partitions that the answer may be about.
    wanted: BTreeMap<Key, Want>,
    /// It is about one partition alone, outside of every session.
    is_alone: bool,
    /// Some partitions of the broker were left out, as there is enough of them.
    some_are_full: bool,
}

impl Asked {
    /// The bytes that the answer may have, into so many for records.
    pub(super) fn answer_max(&self, records: usize) -> usize {
        let aborted = if self.request.isolation_level > 0 { ABORTED_MAX } else { 0 };
        records + FRAMING + aborted + self.wanted.len() * FRAMING_OF_PARTITION
    }
}

impl State {
    /// The bytes to claim for the next fetch from a broker, where that is for one partition alone, whose batch is large.
    pub(super) fn bytes_alone(&self, source: i32) -> Option<usize> {
        let broker = self.brokers.get(&source).filter(|broker| !broker.alone.is_empty())?;
        Some(broker.alone_bytes)
    }

    /// What to ask of a broker that knows Fetch up to this version, into so many bytes; none where nothing is to be fetched
    /// from it now.
    pub(super) fn ask(&mut self, source: i32, version: i16, into: usize, now: Instant) -> Option<Asked> {
        let mut wanted: BTreeMap<Key, Want> = BTreeMap::new();
        let mut order: Vec<(u64, Key)> = Vec::new();
        let mut some_are_full = false;
        for (key, partition) in self.fetchable(source, now) {
            if self.is_full(partition) {
                some_are_full = true;
                continue;
            }
            let want = Want {
                generation: partition.generation,
                position: partition.position,
                leader_epoch: partition.leadership.epoch,
                topic_id: partition.topic_id,
            };
            wanted.insert(key.clone(), want);
            order.push((partition.served, key.clone()));
        }
        let alone = self.next_alone(source, &wanted);
        if let Some(alone) = &alone {
            wanted.retain(|key, _| key == alone);
        }
        if wanted.is_empty() {
            return None;
        }
        // Who had records last comes last, so that everybody is the first whose batch comes whole.
        order.sort();
        let order = order.into_iter().map(|(_, key)| key).filter(|key| wanted.contains_key(key)).collect();
        let has_ids = wanted.values().all(|want| want.topic_id != [0; 16]);
        let version = if has_ids { version } else { version.min(BY_ID_FROM - 1) };
        let by_id = version >= BY_ID_FROM;
        let session = &mut self.brokers.entry(source).or_default().session;
        let ask = match alone {
            None if version >= SESSIONS_FROM => session.ask(&wanted, order, by_id),
            _ => Session::without(order),
        };
        let max_wait = match &alone {
            None if some_are_full => Duration::ZERO,
            // Others wait for the room that this one has.
            None if self.is_short_of_room => self.quiet().min(self.config.fetch_max_wait),
            None => self.config.fetch_max_wait,
            Some(_) => Duration::ZERO,
        };
        let request = self.request(ask, &wanted, by_id, max_wait, into);
        Some(Asked { request, version, wanted, is_alone: alone.is_some(), some_are_full })
    }

    fn next_alone(&mut self, source: i32, wanted: &BTreeMap<Key, Want>) -> Option<Key> {
        let alone = &mut self.brokers.get_mut(&source)?.alone;
        while let Some(key) = alone.pop_front() {
            if wanted.contains_key(&key) {
                return Some(key);
            }
        }
        None
    }

    fn request(
        &self,
        ask: Ask,
        wanted: &BTreeMap<Key, Want>,
        by_id: bool,
        max_wait: Duration,
        into: usize,
    ) -> FetchRequest {
        let config = &self.config;
        let into = into.min(config.fetch_max_bytes);
        let named = ask.named.iter().filter_map(|key| {
            let Want { position, leader_epoch, topic_id, .. } = wanted.get(key)?;
            let partition = FetchPartition {
                partition: key.partition,
                current_leader_epoch: *leader_epoch,
                fetch_offset: position.offset,
                partition_max_bytes: in_i32(config.max_partition_fetch_bytes.min(into)),
                ..FetchPartition::default()
            };
            Some((&key.topic, *topic_id, partition))
        });
        let topics = by_topic(named).into_iter().map(|(name, id, partitions)| {
            let (topic, topic_id) = name_or_id(name, id, by_id);
            FetchTopic { topic, topic_id, partitions, ..FetchTopic::default() }
        });
        let forgotten = ask.forgotten.iter().map(|(key, id)| (&key.topic, *id, key.partition));
        let forgotten = by_topic(forgotten).into_iter().map(|(name, id, partitions)| {
            let (topic, topic_id) = name_or_id(name, id, by_id);
            ForgottenTopic { topic, topic_id, partitions, ..ForgottenTopic::default() }
        });
        // A leader that knows the rack names a replica there and gives no records.
        let near = |key: &Key| self.partitions.get(key).is_none_or(|it| it.leader_only_until.is_none());
        let rack = self.client.client_rack.as_deref().filter(|_| wanted.keys().all(near));
        FetchRequest {
            max_wait_ms: i32::try_from(max_wait.as_millis()).unwrap_or(i32::MAX),
            min_bytes: in_i32(config.fetch_min_bytes.min(into)),
            max_bytes: in_i32(into),
            isolation_level: isolation_level(config.isolation_level),
            session_id: ask.session_id,
            session_epoch: ask.session_epoch,
            topics: topics.collect(),
            forgotten_topics_data: forgotten.collect(),
            rack_id: rack.unwrap_or_default().into(),
            ..FetchRequest::default()
        }
    }

    /// Takes a broker's answer; `room` is what was reserved for it, as far as it is used.
    pub(super) fn fetched(
        &mut self,
        source: i32,
        asked: &Asked,
        answer: FetchResponse,
        room: Reservation,
        now: Instant,
    ) {
        let in_session = !asked.is_alone && asked.version >= SESSIONS_FROM;
        if in_session {
            let session = &mut self.brokers.entry(source).or_default().session;
            if let Err(code) = session.answered(answer.session_id, answer.error_code) {
                if !is_of_session(code) {
                    self.fetch_failed(source, &Error::refused(code, "fetching", None), None, now);
                }
                return;
            }
        } else if !answer.error_code.is_none() {
            return self.fetch_failed(
                source,
                &Error::refused(answer.error_code, "fetching", None),
                None,
                now,
            );
        }
        self.fetch_succeeded(source);
        let topics = topics_of(&asked.wanted);
        let room = Arc::new(room);
        let mut has_records = false;
        for told in answer.responses {
            let by_id = asked.version >= BY_ID_FROM;
            let topic =
                if by_id { topics.by_id.get(&told.topic_id) } else { topics.by_name.get(&*told.topic) };
            let Some(topic) = topic else { continue };
            for data in told.partitions {
                let key = Key { topic: (*topic).clone(), partition: data.partition_index };
                let Some(want) = asked.wanted.get(&key) else { continue };
                has_records |= !data.records.is_empty();
                self.partition_fetched(source, &key, want, data, &room, now);
            }
        }
        let quiet = now + self.quiet();
        let broker = self.brokers.entry(source).or_default();
        broker.quiet_until = Some(quiet).filter(|_| asked.some_are_full && !has_records);
    }

    /// An answer was announced that is larger than what was reserved: one of the partitions that were asked for has a batch
    /// that is. `most` is what all consumers may hold.
    pub(super) fn too_long(&mut self, source: i32, asked: &Asked, too_long: TooLong, most: usize) {
        let broker = self.brokers.entry(source).or_default();
        broker.session.end();
        let announced = usize::try_from(too_long.length).unwrap_or(usize::MAX);
        match asked.wanted.iter().next() {
            Some((key, want)) if asked.is_alone && announced > most => {
                let is_there = self.partitions.get(key).is_some_and(|it| it.generation == want.generation);
                if is_there {
                    let how = format!("has {announced} bytes with what it comes in");
                    self.stop(key, too_large(key, want.position.offset, &how, None));
                }
            }
            _ => {
                broker.alone_bytes = announced.min(most);
                broker.alone = asked.wanted.keys().cloned().collect();
            }
        }
    }

    fn partition_fetched(
        &mut self,
        source: i32,
        key: &Key,
        want: &Want,
        data: PartitionData,
        room: &Arc<Reservation>,
        now: Instant,
    ) {
        let Some(partition) = self.partitions.get_mut(key) else { return };
        let is_meant = partition.generation == want.generation && partition.position == want.position;
        if !is_meant || partition.phase != Phase::Fetching {
            return;
        }
        if !data.error_code.is_none() {
            return self.partition_failed(source, key, data.error_code, now);
        }
        partition.succeeded();
        partition.watermarks = Some(Watermarks {
            log_start: Some(data.log_start_offset).filter(|offset| *offset >= 0),
            high: data.high_watermark,
            last_stable: Some(data.last_stable_offset).filter(|offset| *offset >= 0),
        });
        let diverging = &data.diverging_epoch;
        if diverging.epoch >= 0 || diverging.end_offset >= 0 {
            return self.truncated(key, diverging.end_offset);
        }
        let is_near = |replica: &i32| {
            *replica >= 0
                && *replica != source
                && self.cluster.as_ref().is_some_and(|it| it.brokers.contains_key(replica))
        };
        let preferred = Some(data.preferred_read_replica).filter(|_| partition.leader_only_until.is_none());
        if let Some(replica) = preferred.filter(is_near) {
            partition.replica = Some((replica, now + self.client.metadata_max_age));
        }
        let Records::Bytes(records) = data.records else { return };
        // The room is needed for a batch that was fetched before, or nobody is going to take them for now.
        if records.is_empty() || self.is_claiming || partition.is_paused {
            return;
        }
        let aborted = match self.config.isolation_level {
            IsolationLevel::ReadCommitted => {
                Some(Aborted::new(data.aborted_transactions.as_deref().unwrap_or_default()))
            }
            IsolationLevel::ReadUncommitted => None,
        };
        let came = complete(records, want.position);
        if let Some(bytes) = self.take_records(key, want, came, aborted, room) {
            self.was_cut_off(source, key, bytes, now);
        }
    }

    /// Gives the reader what came. Returns the size of a batch that was cut off, where nothing came before it.
    fn take_records(
        &mut self,
        key: &Key,
        want: &Want,
        came: Complete,
        aborted: Option<Aborted>,
        room: &Arc<Reservation>,
    ) -> Option<usize> {
        let start = want.position;
        self.last_served += 1;
        let served = self.last_served;
        let partition = self.partitions.get_mut(key)?;
        partition.served = served;
        let is_behind = !came.bytes.is_empty() && came.next.offset <= start.offset;
        if !came.bytes.is_empty() && !is_behind {
            partition.position = came.next;
            let chunk = Chunk::new(key.clone(), want.generation, start, came.bytes, aborted, room.clone());
            self.give(key, chunk);
        }
        if is_behind {
            let what =
                format!("offset {} of {key} was asked for, and what came ends before it", start.offset);
            self.stop(key, Error::new(ErrorKind::DataCorruption, what));
        } else if let Some(fault) = came.fault {
            self.stop(key, damaged(key, came.next.offset, &fault));
        }
        came.cut_off
    }

    /// A batch that is larger than what one partition gets is asked for alone.
    fn was_cut_off(&mut self, source: i32, key: &Key, bytes: usize, now: Instant) {
        let broker = self.brokers.entry(source).or_default();
        if bytes <= self.config.max_partition_fetch_bytes || broker.alone.contains(key) {
            return;
        }
        if broker.alone.is_empty() {
            broker.alone_bytes = bytes;
        }
        broker.alone_bytes = broker.alone_bytes.max(bytes);
        broker.alone.push_back(key.clone());
        // A broker that cuts off what is asked for alone is not asked without end.
        self.put_off(key, now);
    }

    /// What an error of a partition means.
    fn partition_failed(&mut self, source: i32, key: &Key, code: ErrorCode, now: Instant) {
        let leader_only_until = self.leader_only_until(now);
        let Some(partition) = self.partitions.get_mut(key) else { return };
        if partition.leadership.leader != Some(source) {
            // The leader knows better.
            if partition.replica.is_some_and(|(replica, _)| replica == source) {
                partition.go_to_leader(leader_only_until);
            }
            return self.put_off(key, now);
        }
        let offset = partition.position.offset;
        match code {
            ErrorCode::OFFSET_OUT_OF_RANGE => {
                partition.phase = Phase::Ranging { start: None };
                return;
            }
            ErrorCode::CORRUPT_MESSAGE => {
                let what = format!(
                    "the broker found the batch of {key} at offset {offset} to be damaged; seek past it to go on"
                );
                return self.stop(key, Error::new(ErrorKind::DataCorruption, what));
            }
            ErrorCode::UNSUPPORTED_COMPRESSION_TYPE => {
                let what = format!(
                    "the batch of {key} at offset {offset} is compressed in a way that the broker does not give to clients of this \
                     version"
                );
                return self.stop(key, Error::new(ErrorKind::UnsupportedVersion, what));
            }
            code if code.is_retriable() => {}
            code => {
                let error = Error::refused(code, &format!("fetching {key} from offset {offset}"), None);
                self.tell(key, error);
            }
        }
        self.put_off(key, now);
        if code.is_invalid_metadata() || !code.is_retriable() {
            self.want_refresh();
        }
    }
}

/// The number that stands for an isolation level.
pub(super) fn isolation_level(level: IsolationLevel) -> i8 {
    match level {
        IsolationLevel::ReadUncommitted => 0,
        IsolationLevel::ReadCommitted => 1,
    }
}

/// Settings are at most 2^31 - 1.
fn in_i32(bytes: usize) -> i32 {
    i32::try_from(bytes).unwrap_or(i32::MAX)
}

fn name_or_id(name: &Arc<str>, id: [u8; 16], by_id: bool) -> (Str, Uuid) {
    if by_id { (Str::default(), id.into()) } else { ((&**name).into(), Uuid::default()) }
}

/// Puts together what is of one topic, in the order in which topics come first.
fn by_topic<'a, T>(
    all: impl Iterator<Item = (&'a Arc<str>, [u8; 16], T)>,
) -> Vec<(&'a Arc<str>, [u8; 16], Vec<T>)> {
    let mut topics: Vec<(&Arc<str>, [u8; 16], Vec<T>)> = Vec::new();
    let mut places: HashMap<(&Arc<str>, [u8; 16]), usize> = HashMap::new();
    for (name, id, one) in all {
        let place = *places.entry((name, id)).or_insert_with(|| {
            topics.push((name, id, Vec::new()));
            topics.len() - 1
        });
        topics[place].2.push(one);
    }
    topics
}

/// The topics that were asked for, as answers name them.
struct Topics<'a> {
    by_id: HashMap<Uuid, &'a Arc<str>>,
    by_name: HashMap<&'a str, &'a Arc<str>>,
}

fn topics_of(wanted: &BTreeMap<Key, Want>) -> Topics<'_> {
    let by_id = wanted.iter().map(|(key, want)| (want.topic_id.into(), &key.topic)).collect();
    let by_name = wanted.keys().map(|key| (&*key.topic, &key.topic)).collect();
    Topics { by_id, by_name }
}

/// The place behind what was read, for errors and rules.
pub(super) fn place(position: Position) -> String {
    match position.epoch {
        Some(epoch) => format!("offset {} (leader epoch {epoch})", position.offset),
        None => format!("offset {}", position.offset),
    }
}
