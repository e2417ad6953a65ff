//! What steps of groups work with: the store, time, topics, memory, and those who wait for answers.

use std::{collections::HashMap, sync::Arc, time::Duration};

use ottla_coordinator::{
    Token,
    consumer::{self, TopicInfo},
};
use ottla_records::TopicId;
use ottla_storage::{GroupStore, Reservation, StateStoreError, Storage, StoredGroup};
use tokio::sync::{mpsc, oneshot};

use super::{
    error::GroupError,
    group::{Answer, GroupSettings, Outcome},
    memory::Share,
    patterns::Resolved,
    settling::{Settling, Told},
};
use crate::broker::{Broker, Topics};

/// What an answer comes as, or why there is none.
pub(super) type Answered = Result<Answer, GroupError>;

/// What the owner hears from the tasks that it has begun.
pub(super) enum Event {
    Loaded(Arc<str>, Result<Option<StoredGroup>, StateStoreError>),
    Settled(Arc<str>, Result<(), StateStoreError>),
    Resolved(Resolved),
    Granted(Option<Reservation>),
    /// Offsets were looked through for expired ones.
    Swept,
}

/// What steps work with.
pub(super) struct Tools<S: Storage> {
    pub(super) broker: Arc<Broker<S>>,
    pub(super) settings: GroupSettings,
    pub(super) share: Share,
    /// Those who wait for an answer of a state machine.
    asking: HashMap<Token, oneshot::Sender<Answered>>,
    last_token: u64,
    to_settle: mpsc::UnboundedSender<Settling>,
    to_owner: mpsc::UnboundedSender<Event>,
}

impl<S: Storage> Tools<S> {
    pub(super) fn new(
        broker: Arc<Broker<S>>,
        settings: GroupSettings,
        to_settle: mpsc::UnboundedSender<Settling>,
        to_owner: mpsc::UnboundedSender<Event>,
    ) -> Self {
        let share = Share::new(broker.memory().clone());
        Self { broker, settings, share, asking: HashMap::new(), last_token: 0, to_settle, to_owner }
    }

    pub(super) fn now(&self) -> Duration {
        self.broker.clock().monotonic()
    }

    pub(super) fn topics(&self) -> View<S> {
        View(self.broker.topics())
    }

    /// Asks for memory to grow into.
    pub(super) fn ask_for_memory(&mut self, more: usize) {
        if let Some(asked) = self.share.ask(more) {
            let to_owner = self.to_owner.clone();
            tokio::spawn(async move {
                let _ = to_owner.send(Event::Granted(asked.await));
            });
        }
    }

    /// Has the rows of a group read.
    pub(super) fn load(&self, id: Arc<str>) {
        let (broker, to_owner) = (self.broker.clone(), self.to_owner.clone());
        tokio::spawn(async move {
            let loaded = broker.storage().groups().load_group(&id).await;
            // The owner has gone when the broker stops.
            let _ = to_owner.send(Event::Loaded(id, loaded));
        });
    }

    /// Notes who waits for an answer under a token.
    pub(super) fn token(&mut self, answer: oneshot::Sender<Answered>) -> Token {
        self.last_token += 1;
        let token = Token(self.last_token);
        self.asking.insert(token, answer);
        token
    }

    /// Has changes made durable and answers given then. Returns whether there are changes to wait for.
    pub(super) fn carry_out(&mut self, id: &Arc<str>, outcome: Outcome) -> bool {
        let Outcome { before, changes, answers, mut told, .. } = outcome;
        if changes.is_empty() {
            self.answer_all(answers);
            return false;
        }
        let asking: Vec<_> = answers
            .into_iter()
            .filter_map(|(token, answer)| Some((self.asking.remove(&token)?, answer)))
            .collect();
        let (to_owner, id) = (self.to_owner.clone(), id.clone());
        let tell: Told = Box::new(move |result| {
            for (asking, answer) in asking {
                // Who asked may have gone.
                let _ = asking.send(result.clone().map(|()| answer).map_err(GroupError::from));
            }
            let _ = to_owner.send(Event::Settled(id, result.clone()));
        });
        let stored = self.broker.storage().groups().change_groups(changes);
        told.push(tell);
        let stored = Box::pin(async move {
            if let Some(before) = before {
                before.await?;
            }
            stored.await
        });
        self.settle(Settling { stored, told });
        true
    }

    fn settle(&self, settling: Settling) {
        // Who settles has gone when the broker stops: dropped answers say so.
        let _ = self.to_settle.send(settling);
    }

    pub(super) fn answer_all(&mut self, answers: Vec<(Token, Answer)>) {
        for (token, answer) in answers {
            if let Some(asking) = self.asking.remove(&token) {
                let _ = asking.send(Ok(answer));
            }
        }
    }
}

/// The topics as groups see them.
pub(super) struct View<S: Storage>(Arc<Topics<S>>);

impl<S: Storage> consumer::Topics for View<S> {
    fn topic(&self, name: &str) -> Option<TopicInfo> {
        let topic = self.0.named(name)?;
        Some(TopicInfo { id: topic.id, partitions: topic.partitions.len() as u32 })
    }

    fn name(&self, id: TopicId) -> Option<Arc<str>> {
        self.0.with_id(id).map(|topic| topic.name.clone())
    }
}
