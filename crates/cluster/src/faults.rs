//! Faults on command: which requests are meant, what happens to them, and the handle that counts them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use ottla_protocol::{ApiKey, ErrorCode};
use tokio::sync::watch;

use crate::state::Shared;

/// Which requests are meant. What is not named may be anything.
///
/// ```
/// use ottla_protocol::ApiKey;
/// use ottla_testing::Filter;
///
/// // The next two Produce requests to node 1 that have something for partition 0 of "orders".
/// let filter = Filter::api(ApiKey::PRODUCE).node(1).topic("orders").partition(0).times(2);
/// # let _ = filter;
/// ```
#[derive(Clone, Debug, Default)]
pub struct Filter {
    api: Option<ApiKey>,
    node: Option<i32>,
    topic: Option<String>,
    partition: Option<i32>,
    times: Option<u64>,
}

impl Filter {
    /// Every request, those for the versions of APIs included.
    #[must_use]
    pub fn any() -> Self {
        Self::default()
    }

    /// The requests of one API.
    #[must_use]
    pub fn api(api: ApiKey) -> Self {
        Self { api: Some(api), ..Self::default() }
    }

    /// Only those to this node.
    #[must_use]
    pub fn node(self, node: i32) -> Self {
        Self { node: Some(node), ..self }
    }

    /// Only those that name this topic; those of a fetch session name all topics of the session.
    #[must_use]
    pub fn topic(self, topic: impl Into<String>) -> Self {
        Self { topic: Some(topic.into()), ..self }
    }

    /// Only those that name a partition with this index.
    #[must_use]
    pub fn partition(self, partition: i32) -> Self {
        Self { partition: Some(partition), ..self }
    }

    /// Only the next `times` of them; without this, all until [`Hook::remove`].
    #[must_use]
    pub fn times(self, times: u64) -> Self {
        Self { times: Some(times), ..self }
    }

    /// Whether the filter looks at single partitions.
    pub(crate) fn names_partition(&self) -> bool {
        self.partition.is_some()
    }

    /// Whether the filter looks at topics or partitions at all.
    pub(crate) fn names_topics(&self) -> bool {
        self.topic.is_some() || self.partition.is_some()
    }

    /// Whether a topic, or a partition of it, is meant.
    pub(crate) fn means(&self, topic: &str, partition: Option<i32>) -> bool {
        self.topic.as_deref().is_none_or(|wanted| wanted == topic)
            && (partition.is_none() || self.partition.is_none() || self.partition == partition)
    }

    fn matches(&self, api: ApiKey, node: i32, asked: &[Asked]) -> bool {
        self.api.is_none_or(|wanted| wanted == api)
            && self.node.is_none_or(|wanted| wanted == node)
            && (!self.names_topics() || asked.iter().any(|asked| self.means(&asked.topic, asked.partition)))
    }
}

/// What happens to a request.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Action {
    /// It is answered with this error, and nothing is done.
    ///
    /// The error stands where Kafka has it: at each partition or topic that the filter means, while the others are
    /// served; at the request as a whole where it has no topics, or where the error is about a fetch session. A Produce
    /// request with acks=0, which has no answer, ends its connection.
    Fail(ErrorCode),
    /// The broker does what is asked, and answers this error all the same, which stands where that of [`Action::Fail`]
    /// does: REQUEST_TIMED_OUT and NOT_ENOUGH_REPLICAS_AFTER_APPEND are such. What it cannot do it answers with its own
    /// error.
    FailAfter(ErrorCode),
    /// The broker does what is asked, and closes the connection instead of answering.
    LoseAnswer,
    /// The broker closes the connection, and does not do what is asked.
    LoseRequest,
    /// The broker neither does what is asked nor answers, and the connection stays open. What comes on it after this
    /// request is served, so that a client which has sent several ahead gets the next answer out of turn.
    Ignore,
    /// The broker does what is asked, and answers after this time.
    Delay(Duration),
    /// The broker does what is asked, and answers when [`Hook::release`] or [`Hook::remove`] is called.
    Hold,
}

/// A topic that a request names, with the partition where it names one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Asked {
    pub(crate) topic: String,
    pub(crate) partition: Option<i32>,
}

/// The faults that are set up, in the order in which they were.
#[derive(Debug, Default)]
pub(crate) struct Hooks {
    hooks: Vec<Entry>,
    next_id: u64,
}

#[derive(Debug)]
struct Entry {
    id: u64,
    filter: Filter,
    action: Action,
    progress: Arc<Progress>,
}

#[derive(Debug)]
struct Progress {
    hits: AtomicU64,
    /// How often what is held was let go.
    released: watch::Sender<u64>,
}

/// What a request met.
#[derive(Debug)]
pub(crate) struct Hit {
    pub(crate) filter: Filter,
    pub(crate) action: Action,
    released: watch::Receiver<u64>,
}

impl Hooks {
    fn add(&mut self, filter: Filter, action: Action) -> (u64, Arc<Progress>) {
        self.next_id += 1;
        let progress = Arc::new(Progress { hits: AtomicU64::new(0), released: watch::Sender::new(0) });
        self.hooks.push(Entry { id: self.next_id, filter, action, progress: progress.clone() });
        (self.next_id, progress)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.hooks.is_empty()
    }

    /// Counts a request at the first hook that means it and is not used up.
    pub(crate) fn hit(&mut self, api: ApiKey, node: i32, asked: &[Asked]) -> Option<Hit> {
        let open = |entry: &Entry| {
            entry.filter.times.is_none_or(|times| entry.progress.hits.load(Ordering::Relaxed) < times)
        };
        let entry = self.hooks.iter().find(|entry| open(entry) && entry.filter.matches(api, node, asked))?;
        entry.progress.hits.fetch_add(1, Ordering::Relaxed);
        let released = entry.progress.released.subscribe();
        Some(Hit { filter: entry.filter.clone(), action: entry.action.clone(), released })
    }
}

impl Hit {
    /// Waits until what is held is let go.
    pub(crate) async fn released(mut self) {
        // A sender that is gone is a hook that is gone.
        let _ = self.released.changed().await;
    }
}

/// A fault that was set up. Dropping it leaves the fault where it is.
#[derive(Debug)]
pub struct Hook {
    shared: Arc<Shared>,
    id: u64,
    progress: Arc<Progress>,
}

impl Hook {
    pub(crate) fn new(shared: &Arc<Shared>, filter: Filter, action: Action) -> Self {
        let (id, progress) = shared.state.lock().hooks.add(filter, action);
        Self { shared: shared.clone(), id, progress }
    }

    /// How many requests it has met.
    pub fn hits(&self) -> u64 {
        self.progress.hits.load(Ordering::Relaxed)
    }

    /// Waits until it has met `hits` requests, which is when they arrived; what they ask for is then done, too, unless
    /// the action keeps it from being done.
    ///
    /// # Panics
    /// It did not within 30 s.
    #[track_caller]
    pub fn wait_for_hits(&self, hits: u64) {
        let met = self.shared.wait_until(|_| self.hits() >= hits);
        assert!(met, "{} requests came and {hits} were waited for", self.hits());
    }

    /// Lets the answers go that are held at the moment. Later ones are held again.
    pub fn release(&self) {
        self.progress.released.send_modify(|times| *times += 1);
    }

    /// Takes the fault away, and lets go what it holds.
    pub fn remove(self) {
        self.shared.state.lock().hooks.hooks.retain(|entry| entry.id != self.id);
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(topic: &str, partition: i32) -> Asked {
        Asked { topic: topic.into(), partition: Some(partition) }
    }

    #[test]
    fn a_filter_means_what_it_names() {
        let orders = [asked("orders", 0), asked("orders", 1)];
        for (filter, met) in [
            (Filter::any(), true),
            (Filter::api(ApiKey::PRODUCE), true),
            (Filter::api(ApiKey::FETCH), false),
            (Filter::any().node(1), true),
            (Filter::any().node(2), false),
            (Filter::any().topic("orders"), true),
            (Filter::any().topic("others"), false),
            (Filter::any().topic("orders").partition(1), true),
            (Filter::any().topic("orders").partition(2), false),
            (Filter::any().partition(1), true),
            (Filter::any().partition(2), false),
        ] {
            assert_eq!(filter.matches(ApiKey::PRODUCE, 1, &orders), met, "{filter:?}");
        }
        assert!(!Filter::any().topic("orders").matches(ApiKey::PRODUCE, 1, &[]), "no topic is named");
    }

    #[test]
    fn the_first_hook_with_hits_left_counts() {
        let mut hooks = Hooks::default();
        let (_, first) = hooks.add(Filter::any().times(1), Action::LoseAnswer);
        let (_, second) = hooks.add(Filter::any(), Action::LoseRequest);
        let mut hit = || hooks.hit(ApiKey::FETCH, 1, &[]).map(|hit| hit.action);
        assert!(matches!(hit(), Some(Action::LoseAnswer)));
        assert!(matches!(hit(), Some(Action::LoseRequest)));
        assert!(matches!(hit(), Some(Action::LoseRequest)));
        assert_eq!((first.hits.load(Ordering::Relaxed), second.hits.load(Ordering::Relaxed)), (1, 2));
    }
}
