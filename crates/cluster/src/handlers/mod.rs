//! What a node answers: one file for each API, headed by its versions.
//!
//! A handler is a function of the state and a request. Here, a request is decoded, meets the faults that are set up,
//! and its answer is encoded.

mod alter_configs;
mod api_versions;
mod create_partitions;
mod create_topics;
mod delete_records;
mod delete_topics;
mod describe_cluster;
mod describe_configs;
mod fetch;
mod incremental_alter_configs;
mod init_producer_id;
mod list_offsets;
mod metadata;
mod offset_for_leader_epoch;
mod produce;
mod resources;

use bytes::Bytes;
use ottla_protocol::{ApiKey, Encoder, ErrorCode, Piece, Request, RequestFrame, Response, encode_response};

use crate::{
    faults::{Action, Asked, Filter, Hit},
    state::{Refusal, Shared, State},
};

/// What becomes of a connection after a request.
#[derive(Debug)]
pub(crate) enum Answer {
    /// It gets these bytes.
    Frame(Vec<Bytes>),
    /// It gets nothing, and goes on.
    Nothing,
    /// It is closed.
    Close,
}

/// What a handler makes of a request.
#[derive(Debug)]
enum Done<R> {
    Answer(R),
    Nothing,
    Close,
}

/// A request, without what it asks for.
#[derive(Debug)]
struct Call {
    node: i32,
    version: i16,
    correlation_id: i32,
    fault: Option<Fault>,
}

/// The error that is answered to what a filter means.
#[derive(Debug)]
struct Fault {
    filter: Filter,
    code: ErrorCode,
    /// Whether what is asked is done first.
    after: bool,
}

impl Fault {
    fn of(hit: &Hit) -> Option<Self> {
        let (code, after) = match hit.action {
            Action::Fail(code) => (code, false),
            Action::FailAfter(code) => (code, true),
            _ => return None,
        };
        Some(Self { filter: hit.filter.clone(), code, after })
    }

    fn means_topic(&self, topic: &str) -> bool {
        !self.filter.names_partition() && self.filter.means(topic, None)
    }

    fn means_partition(&self, topic: &str, partition: i32) -> bool {
        self.filter.means(topic, Some(partition))
    }
}

impl Call {
    /// The error that the request is to be answered with, where it stands for the whole.
    fn error(&self) -> Option<ErrorCode> {
        self.fault.as_ref().map(|fault| fault.code)
    }

    /// The error that a topic is to be answered with as a whole, where nothing is done but to answer.
    fn topic_error(&self, topic: &str) -> Option<ErrorCode> {
        self.fault.as_ref().filter(|fault| fault.means_topic(topic)).map(|fault| fault.code)
    }

    /// The same of a partition.
    fn partition_error(&self, topic: &str, partition: i32) -> Option<ErrorCode> {
        self.fault.as_ref().filter(|fault| fault.means_partition(topic, partition)).map(|fault| fault.code)
    }

    /// Does what is asked of a topic, unless a fault wants that it fails before; one may also want it to fail after.
    fn on_topic<T, E: From<Refusal>>(&self, topic: &str, act: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        meet(self.fault.as_ref().filter(|fault| fault.means_topic(topic)), act)
    }

    /// The same of a broker.
    fn on_broker<T, E: From<Refusal>>(&self, act: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        meet(self.fault.as_ref().filter(|fault| !fault.filter.names_topics()), act)
    }

    /// The same of a partition.
    fn on_partition<T, E: From<Refusal>>(
        &self,
        topic: &str,
        partition: i32,
        act: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        meet(self.fault.as_ref().filter(|fault| fault.means_partition(topic, partition)), act)
    }
}

fn meet<T, E: From<Refusal>>(fault: Option<&Fault>, act: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    let Some(fault) = fault else { return act() };
    if fault.after {
        act()?;
    }
    Err(Refusal::new(fault.code, "the test asked for this error").into())
}

/// Answers a frame, which is given without its length.
pub(crate) async fn answer(shared: &Shared, node: i32, frame: Bytes) -> Answer {
    let Ok(frame) = RequestFrame::decode(&frame) else { return Answer::Close };
    let (api, version) = (frame.header.api_key, frame.header.api_version);
    let Some(kafka) = shared.state.lock().node(node).map(|node| node.version) else { return Answer::Close };
    if !kafka.served(api).is_some_and(|served| served.contains(&version)) {
        return match api {
            // A client begins with this one, and may be newer than the broker.
            ApiKey::API_VERSIONS => encode(frame.header.correlation_id, 0, &api_versions::refuse(kafka)),
            _ => Answer::Close,
        };
    }
    match api {
        ApiKey::PRODUCE => serve(shared, node, frame, produce::asked, produce::handle).await,
        ApiKey::FETCH => fetch::serve(shared, node, frame).await,
        ApiKey::LIST_OFFSETS => serve(shared, node, frame, list_offsets::asked, list_offsets::handle).await,
        ApiKey::METADATA => serve(shared, node, frame, metadata::asked, metadata::handle).await,
        ApiKey::API_VERSIONS => serve(shared, node, frame, nothing, api_versions::handle).await,
        ApiKey::CREATE_TOPICS => {
            serve(shared, node, frame, create_topics::asked, create_topics::handle).await
        }
        ApiKey::DELETE_TOPICS => {
            serve(shared, node, frame, delete_topics::asked, delete_topics::handle).await
        }
        ApiKey::DELETE_RECORDS => {
            serve(shared, node, frame, delete_records::asked, delete_records::handle).await
        }
        ApiKey::INIT_PRODUCER_ID => serve(shared, node, frame, nothing, init_producer_id::handle).await,
        ApiKey::OFFSET_FOR_LEADER_EPOCH => {
            serve(shared, node, frame, offset_for_leader_epoch::asked, offset_for_leader_epoch::handle).await
        }
        ApiKey::DESCRIBE_CONFIGS => {
            serve(shared, node, frame, describe_configs::asked, describe_configs::handle).await
        }
        ApiKey::ALTER_CONFIGS => {
            serve(shared, node, frame, alter_configs::asked, alter_configs::handle).await
        }
        ApiKey::CREATE_PARTITIONS => {
            serve(shared, node, frame, create_partitions::asked, create_partitions::handle).await
        }
        ApiKey::INCREMENTAL_ALTER_CONFIGS => {
            serve(shared, node, frame, incremental_alter_configs::asked, incremental_alter_configs::handle)
                .await
        }
        ApiKey::DESCRIBE_CLUSTER => serve(shared, node, frame, nothing, describe_cluster::handle).await,
        // No version has an API that is not here.
        _ => Answer::Close,
    }
}

/// The partitions that a request names, by their topics.
fn partitions<'a, P: Iterator<Item = i32>>(topics: impl Iterator<Item = (&'a str, P)>) -> Vec<Asked> {
    let asked = topics.flat_map(|(topic, partitions)| {
        partitions.map(move |partition| Asked { topic: topic.to_owned(), partition: Some(partition) })
    });
    asked.collect()
}

/// For APIs whose requests name no topics.
fn nothing<R>(_: &R, _: &State) -> Vec<Asked> {
    Vec::new()
}

async fn serve<R: Request>(
    shared: &Shared,
    node: i32,
    frame: RequestFrame,
    asked: fn(&R, &State) -> Vec<Asked>,
    handle: fn(&mut State, &Call, R) -> Done<R::Response>,
) -> Answer {
    let (hit, answer) = {
        let Ok(request) = frame.request::<R>() else { return Answer::Close };
        let mut state = shared.state.lock();
        let (call, hit) = admit(&mut state, node, &frame, |state| asked(&request, state));
        let answer = unserved(&hit).unwrap_or_else(|| finish(&call, handle(&mut state, &call, request)));
        (hit, answer)
    };
    shared.notify();
    after(hit, answer).await
}

/// Counts a request, and finds the fault that it meets.
fn admit(
    state: &mut State,
    node: i32,
    frame: &RequestFrame,
    asked: impl FnOnce(&State) -> Vec<Asked>,
) -> (Call, Option<Hit>) {
    let api = frame.header.api_key;
    if let Some(node) = state.node_mut(node) {
        *node.counts.requests.entry(api).or_default() += 1;
    }
    let asked = if state.hooks.is_empty() { Vec::new() } else { asked(state) };
    let hit = state.hooks.hit(api, node, &asked);
    let fault = hit.as_ref().and_then(Fault::of);
    let (version, correlation_id) = (frame.header.api_version, frame.header.correlation_id);
    (Call { node, version, correlation_id, fault }, hit)
}

/// What becomes of the connection where nothing is done of what is asked.
fn unserved(hit: &Option<Hit>) -> Option<Answer> {
    match hit.as_ref()?.action {
        Action::LoseRequest => Some(Answer::Close),
        Action::Ignore => Some(Answer::Nothing),
        _ => None,
    }
}

fn finish<R: Response>(call: &Call, done: Done<R>) -> Answer {
    match done {
        Done::Answer(response) => encode(call.correlation_id, call.version, &response),
        Done::Nothing => Answer::Nothing,
        Done::Close => Answer::Close,
    }
}

fn encode<R: Response>(correlation_id: i32, version: i16, response: &R) -> Answer {
    let mut out = Encoder::new();
    // What a version cannot express is an answer that a client could not read: it sees a broker that failed.
    if encode_response(&mut out, correlation_id, version, response).is_err() {
        return Answer::Close;
    }
    let bytes = out.finish().map(|piece| match piece {
        Piece::Bytes(bytes) => bytes,
        Piece::External { .. } => unreachable!("the handlers put their records into their answers"),
    });
    Answer::Frame(bytes.collect())
}

/// What a fault does to the answer.
async fn after(hit: Option<Hit>, answer: Answer) -> Answer {
    let Some(hit) = hit else { return answer };
    match hit.action {
        Action::LoseAnswer => return Answer::Close,
        Action::Delay(time) => tokio::time::sleep(time).await,
        Action::Hold => hit.released().await,
        Action::Fail(_) | Action::FailAfter(_) | Action::LoseRequest | Action::Ignore => {}
    }
    answer
}
