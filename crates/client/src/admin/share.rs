//! What several brokers answer a part of each: leaders of their partitions, brokers of themselves.
//!
//! All are asked at the same time, so that one that is silent holds up nobody else's part; and what it does not answer
//! until the deadline fails alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures_util::future::join_all;
use ottla_protocol::Request;
use tokio::time::Instant;

use crate::{
    error::{Error, ErrorKind},
    kafka::Kafka,
    metadata::cluster::Cluster,
};

/// A partition, by its topic's name and its number.
pub(super) type Partition = (Arc<str>, i32);

/// What is wanted of those that one broker answers for.
pub(super) type Part<'a, S> = Vec<(&'a <S as Shared>::Key, &'a <S as Shared>::Wanted)>;

/// Something that is asked of each of many, such as partitions, of whichever broker answers for it.
pub(super) trait Shared {
    /// What it is asked of.
    type Key: Clone + Ord;
    /// What is wanted of it.
    type Wanted;
    /// How brokers are asked.
    type Request: Request + Clone;
    /// What they tell.
    type Told: Clone;

    /// The first version of the request that can say what has to be said.
    const LEAST: i16;

    /// The broker that answers, where so many attempts have failed.
    fn broker(cluster: &Cluster, key: &Self::Key, failures: u32) -> Result<i32, Error>;

    /// The request for one broker's part.
    fn request(part: &[(&Self::Key, &Self::Wanted)]) -> Self::Request;

    /// What an answer tells of one.
    fn told(answer: &<Self::Request as Request>::Response, key: &Self::Key) -> Result<Self::Told, Error>;
}

/// What came of each that is wanted, in the order in which they are given. Of one that is given more than once, the last
/// wish counts. `topics` are those whose leaders have to be known.
///
/// # Errors
/// No broker tells of the cluster until the deadline.
pub(super) async fn ask_all<S: Shared>(
    kafka: &Kafka,
    topics: &[Arc<str>],
    asked: Vec<(S::Key, S::Wanted)>,
) -> Result<Vec<(S::Key, Result<S::Told, Error>)>, Error> {
    let (deadline, mut failures) = (kafka.deadline(), 0);
    let keys: Vec<S::Key> = asked.iter().map(|(key, _)| key.clone()).collect();
    let mut wanted: BTreeMap<S::Key, S::Wanted> = asked.into_iter().collect();
    let mut found = BTreeMap::new();
    let mut cluster = kafka.cluster(topics, deadline).await?;
    loop {
        let mut open = BTreeMap::new();
        for (key, told) in ask_once::<S>(kafka, &cluster, &wanted, failures, deadline).await {
            match told {
                Err(error) if error.kind() == ErrorKind::Retriable => drop(open.insert(key, error)),
                told => drop(found.insert(key, told)),
            }
        }
        let Some(last) = open.values().next_back().cloned() else { break };
        failures += 1;
        match kafka.again(topics, deadline, failures, last).await {
            Ok(refreshed) => cluster = refreshed,
            Err(late) => {
                found.extend(open.into_iter().map(|(key, error)| (key, Err(given_up(&late, error)))));
                break;
            }
        }
        wanted.retain(|key, _| open.contains_key(key));
    }
    // Each was found, or given up.
    Ok(keys.into_iter().map(|key| (key.clone(), found[&key].clone())).collect())
}

async fn ask_once<S: Shared>(
    kafka: &Kafka,
    cluster: &Cluster,
    wanted: &BTreeMap<S::Key, S::Wanted>,
    failures: u32,
    deadline: Instant,
) -> Vec<(S::Key, Result<S::Told, Error>)> {
    let mut parts: BTreeMap<i32, Part<'_, S>> = BTreeMap::new();
    let mut all = Vec::with_capacity(wanted.len());
    for (key, what) in wanted {
        match S::broker(cluster, key, failures) {
            Ok(broker) => parts.entry(broker).or_default().push((key, what)),
            Err(error) => all.push((key.clone(), Err(error))),
        }
    }
    let answers = parts.into_iter().map(|(broker, part)| async move {
        let request = S::request(&part);
        let answer = kafka.ask(broker, S::LEAST, |_| request.clone(), deadline).await;
        let told = |key: &S::Key| answer.as_ref().map_err(Clone::clone).and_then(|it| S::told(it, key));
        part.into_iter().map(|(key, _)| (key.clone(), told(key))).collect::<Vec<_>>()
    });
    all.extend(join_all(answers).await.into_iter().flatten());
    all
}

/// Why there is no answer where no further attempt was made, after the last one had failed.
fn given_up(late: &Error, last: Error) -> Error {
    match late.kind() {
        ErrorKind::Timeout => {
            let what = "the deadline has passed, and the last attempt had failed";
            Error::because(ErrorKind::Timeout, what, last)
        }
        _ => late.clone(),
    }
}

/// The topics of partitions, each once.
pub(super) fn topics_of<'a>(partitions: impl Iterator<Item = &'a Partition>) -> Vec<Arc<str>> {
    let topics: BTreeSet<Arc<str>> = partitions.map(|(topic, _)| topic.clone()).collect();
    topics.into_iter().collect()
}

/// Partitions with what is wanted of them, by their topics.
pub(super) fn by_topic<'a, W>(part: &[(&'a Partition, &'a W)]) -> BTreeMap<&'a Arc<str>, Vec<(i32, &'a W)>> {
    let mut topics: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for ((topic, partition), what) in part {
        topics.entry(topic).or_default().push((*partition, *what));
    }
    topics
}

/// A partition, as errors name it.
pub(super) fn name((topic, partition): &Partition) -> String {
    format!("partition {partition} of topic {topic}")
}
