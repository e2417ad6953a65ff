//! Topics that get more partitions.

use ottla_protocol::messages::create_partitions::{
    CreatePartitionsAssignment, CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopic,
};

use super::{
    Admin, BROKER_TIMEOUT_MS,
    topics::{by_controller, outcome},
};
use crate::{error::Error, kafka::Whom};

/// More partitions for a topic.
#[derive(Clone, Debug)]
#[must_use = "they are created by Admin::create_partitions"]
pub struct NewPartitions {
    topic: String,
    count: i32,
    assignments: Option<Vec<Vec<i32>>>,
}

impl NewPartitions {
    /// Partitions until a topic has `count` of them, those that it has already included. The cluster chooses their replicas.
    pub fn increase_to(topic: impl Into<String>, count: i32) -> Self {
        Self { topic: topic.into(), count, assignments: None }
    }

    /// The brokers that get replicas of each new partition, in the order of their numbers; the first of each is to lead it.
    /// Each partition has to get as many as the topic's others have.
    pub fn assignments(mut self, assignments: impl IntoIterator<Item = Vec<i32>>) -> Self {
        self.assignments = Some(assignments.into_iter().collect());
        self
    }

    fn request(&self) -> CreatePartitionsTopic {
        let assignment = |broker_ids: &Vec<i32>| CreatePartitionsAssignment {
            broker_ids: broker_ids.clone(),
            ..CreatePartitionsAssignment::default()
        };
        CreatePartitionsTopic {
            name: self.topic.as_str().into(),
            count: self.count,
            assignments: self.assignments.as_ref().map(|all| all.iter().map(assignment).collect()),
            ..CreatePartitionsTopic::default()
        }
    }
}

impl Admin {
    /// Gives topics more partitions (KIP-195): what became of each, in the order in which they were given. A topic never has
    /// fewer partitions again, and records with a key may go to another partition from now on than those before.
    ///
    /// Where an answer is lost, the controller is asked again, and may refuse what it has just done: a topic that has as
    /// many partitions as are asked for is INVALID_PARTITIONS.
    ///
    /// Dropping the future takes nothing back: partitions may be created.
    ///
    /// # Errors
    /// The controller does not answer in time. A topic's own error does not hold up the others.
    pub async fn create_partitions(
        &self,
        topics: impl IntoIterator<Item = NewPartitions>,
    ) -> Result<Vec<(String, Result<(), Error>)>, Error> {
        let topics: Vec<NewPartitions> = topics.into_iter().collect();
        let request = CreatePartitionsRequest {
            topics: topics.iter().map(NewPartitions::request).collect(),
            timeout_ms: BROKER_TIMEOUT_MS,
            ..CreatePartitionsRequest::default()
        };
        let judge = |answer: &CreatePartitionsResponse| {
            by_controller(answer.results.iter().map(|topic| topic.error_code))
        };
        let answer = self.kafka.call(Whom::Controller, 0, &request, self.kafka.deadline(), judge).await?;
        let created = topics.into_iter().map(|NewPartitions { topic: name, .. }| {
            let told = answer.results.iter().find(|topic| *topic.name == *name);
            let told = told.map(|told| (told.error_code, told.error_message.as_deref()));
            let result = outcome(&name, "creating partitions of", told);
            (name, result)
        });
        Ok(created.collect())
    }
}
