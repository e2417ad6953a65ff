//! Connections to a peer that does what a test says.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use ottla_protocol::{
    ApiKey, Encoder, ErrorCode, Piece, RequestFrame, Response,
    messages::{
        api_versions::{ApiVersion, ApiVersionsResponse},
        metadata::{MetadataRequest, MetadataResponse, MetadataResponseBroker},
        produce::{PartitionProduceData, ProduceRequest, TopicProduceData},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::Handle,
    sync::oneshot::Receiver,
    time::Instant,
};

use super::{
    address::Address,
    connection::{Connection, ConnectionSettings, Failure, Sent, State},
    wire::{read_answer, take_frame},
};
use crate::{Kafka, admin::NewTopic, error::ErrorKind};

const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(100);
const MIB: usize = 1 << 20;

/// The other end of a connection.
struct Peer {
    stream: TcpStream,
    received: BytesMut,
}

impl Peer {
    /// The next request; `None` where there is none any more.
    async fn request(&mut self) -> Option<RequestFrame> {
        loop {
            if let Some(frame) = take_frame(&mut self.received, 64 * MIB).unwrap() {
                return Some(RequestFrame::decode(&frame).unwrap());
            }
            if self.stream.read_buf(&mut self.received).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    async fn answer<R: Response>(&mut self, correlation_id: i32, version: i16, response: &R) {
        let mut encoder = Encoder::new();
        ottla_protocol::encode_response(&mut encoder, correlation_id, version, response).unwrap();
        for piece in encoder.finish() {
            let Piece::Bytes(bytes) = piece else { unreachable!("there are no records") };
            self.stream.write_all(&bytes).await.unwrap();
        }
    }

    /// Answers the first request as a broker that has Metadata and Produce.
    async fn shake_hands(&mut self) {
        let request = self.request().await.unwrap();
        assert_eq!(request.header.api_key, ApiKey::API_VERSIONS);
        self.answer(request.header.correlation_id, request.header.api_version, &told(ErrorCode::NONE)).await;
    }

    /// Answers a request for metadata, with a number to tell it by.
    async fn answer_metadata(&mut self, controller_id: i32) {
        let request = self.request().await.unwrap();
        let response = MetadataResponse { controller_id, ..MetadataResponse::default() };
        self.answer(request.header.correlation_id, request.header.api_version, &response).await;
    }
}

fn told(error_code: ErrorCode) -> ApiVersionsResponse {
    let api = |api_key, max_version| ApiVersion { api_key, max_version, ..ApiVersion::default() };
    ApiVersionsResponse {
        error_code,
        api_keys: vec![api(ApiKey::METADATA, 8), api(ApiKey::PRODUCE, 7), api(ApiKey::API_VERSIONS, 2)],
        ..ApiVersionsResponse::default()
    }
}

fn patient() -> ConnectionSettings {
    let client_id = "tests".into();
    ConnectionSettings { client_id, connect_timeout: LONG, request_timeout: LONG, max_idle: LONG }
}

/// A connection that begins, and its other end.
async fn pair_with(settings: ConnectionSettings) -> (Connection, Peer) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = Address::new("127.0.0.1", listener.local_addr().unwrap().port());
    let connection = Connection::open(&Handle::current(), address, "broker 1".into(), settings);
    let (stream, _) = listener.accept().await.unwrap();
    (connection, Peer { stream, received: BytesMut::new() })
}

/// A connection that can be used, and its other end.
async fn pair() -> (Connection, Peer) {
    pair_that(LONG).await
}

/// The same, given up when an answer takes so long.
async fn pair_that(request_timeout: Duration) -> (Connection, Peer) {
    let (connection, mut peer) = pair_with(ConnectionSettings { request_timeout, ..patient() }).await;
    peer.shake_hands().await;
    connection.versions().await.unwrap();
    (connection, peer)
}

/// A deadline that no test comes to.
fn soon() -> Instant {
    Instant::now() + LONG
}

type Answer = Receiver<Result<Bytes, Failure>>;

fn send(connection: &Connection) -> Answer {
    connection.send(8, &MetadataRequest::default(), &[], Some(MIB), soon()).unwrap()
}

async fn failure(answer: Answer) -> Failure {
    answer.await.unwrap().unwrap_err()
}

#[tokio::test]
async fn answers_come_in_the_order_of_the_requests() {
    let (connection, mut peer) = pair().await;
    let ask = || connection.call(0, |_| MetadataRequest::default(), MIB, soon());
    let answering = async {
        for number in 0..3 {
            peer.answer_metadata(number).await;
        }
    };
    let (first, second, third, ()) = tokio::join!(ask(), ask(), ask(), answering);
    let numbers = [first, second, third].map(|answer| answer.unwrap().controller_id);
    assert_eq!(numbers, [0, 1, 2]);
}

#[tokio::test]
async fn an_old_broker_is_asked_again_in_a_version_that_it_has() {
    let (connection, mut peer) = pair_with(patient()).await;
    let first = peer.request().await.unwrap();
    assert!(first.header.api_version > 2);
    peer.answer(first.header.correlation_id, 0, &told(ErrorCode::UNSUPPORTED_VERSION)).await;
    let second = peer.request().await.unwrap();
    assert_eq!(second.header.api_version, 2);
    peer.answer(second.header.correlation_id, 2, &told(ErrorCode::NONE)).await;
    assert_eq!(connection.versions().await.unwrap().newest::<MetadataRequest>().unwrap(), 8);
}

#[tokio::test]
async fn who_does_not_answer_is_left_and_what_was_sent_may_have_come_there() {
    let (connection, mut peer) = pair_that(SHORT).await;
    let (late, behind) = (send(&connection), send(&connection));
    assert!(peer.request().await.is_some() && peer.request().await.is_some());
    for answer in [late, behind] {
        let Failure { sent, error } = failure(answer).await;
        assert_eq!((sent, error.kind()), (Sent::Maybe, ErrorKind::Retriable));
        assert!(error.to_string().contains("no answer to Metadata within 100ms"), "{error}");
    }
    assert!(peer.request().await.is_none(), "the connection is closed");
    let error = connection.send(8, &MetadataRequest::default(), &[], Some(MIB), soon()).unwrap_err();
    assert!(error.to_string().contains("no answer to Metadata"), "{error}");
}

#[tokio::test]
async fn who_does_not_wait_any_longer_does_not_end_the_connection_for_others() {
    let (connection, mut peer) = pair().await;
    let hurried =
        connection.send(8, &MetadataRequest::default(), &[], Some(MIB), Instant::now() + SHORT).unwrap();
    let waits = send(&connection);
    let Failure { sent, error } = failure(hurried).await;
    assert_eq!((sent, error.kind()), (Sent::Maybe, ErrorKind::Timeout));
    // The answer that nobody waits for is passed over.
    peer.answer_metadata(1).await;
    peer.answer_metadata(2).await;
    let answer = read_answer::<MetadataRequest>(&waits.await.unwrap().unwrap(), 8).unwrap();
    assert_eq!(answer.controller_id, 2);
}

#[tokio::test]
async fn what_a_socket_did_not_take_was_not_sent() {
    let (connection, peer) = pair_that(SHORT).await;
    let records = Bytes::from(vec![0; 16 * MIB]);
    let data = PartitionProduceData { records: records.into(), ..PartitionProduceData::default() };
    let topic =
        TopicProduceData { name: "a".into(), partition_data: vec![data], ..TopicProduceData::default() };
    let request = ProduceRequest { topic_data: vec![topic], ..ProduceRequest::default() };
    let send = || connection.send(7, &request, &[], Some(MIB), soon()).unwrap();
    let (first, second) = (send(), send());
    assert_eq!(failure(first).await.sent, Sent::Maybe);
    assert_eq!(failure(second).await.sent, Sent::No);
    drop(peer);
}

#[tokio::test]
async fn a_connection_that_is_closed_by_the_broker_says_so() {
    let (connection, mut peer) = pair().await;
    let answers = [send(&connection), send(&connection)];
    peer.request().await.unwrap();
    drop(peer);
    for answer in answers {
        let error = failure(answer).await.error;
        assert!(error.to_string().contains("the connection to broker 1 ended"), "{error}");
    }
    assert!(matches!(connection.state(), State::Down { was_up: true, .. }));
}

#[tokio::test]
async fn nonsense_ends_the_connection() {
    let too_large = i32::try_from(MIB + 1).unwrap().to_be_bytes();
    let of_another = [0, 0, 0, 4, 0, 0, 0, 99];
    for nonsense in [&too_large[..], &of_another, &[0xff; 4]] {
        let (connection, mut peer) = pair().await;
        let answer = send(&connection);
        peer.request().await.unwrap();
        peer.stream.write_all(nonsense).await.unwrap();
        let Failure { sent, error } = failure(answer).await;
        assert_eq!((sent, error.kind()), (Sent::Maybe, ErrorKind::DataCorruption), "{nonsense:?}");
    }
    // And what nobody asked for.
    let (connection, mut peer) = pair().await;
    peer.stream.write_all(&of_another).await.unwrap();
    assert!(peer.request().await.is_none());
    assert!(matches!(connection.state(), State::Down { .. }));
}

#[tokio::test]
async fn who_is_silent_from_the_start_is_not_waited_for() {
    let (connection, mut peer) = pair_with(ConnectionSettings { connect_timeout: SHORT, ..patient() }).await;
    let error = connection.versions().await.unwrap_err();
    assert!(error.to_string().contains("broker 1 did not answer within 100ms"), "{error}");
    assert!(matches!(connection.state(), State::Down { was_up: false, .. }));
    peer.request().await.unwrap();
    assert!(peer.request().await.is_none());
}

#[tokio::test]
async fn a_connection_without_work_ends() {
    let (connection, mut peer) = pair_with(ConnectionSettings { max_idle: SHORT, ..patient() }).await;
    peer.shake_hands().await;
    assert!(peer.request().await.is_none());
    let Failure { sent, error } =
        connection.call(0, |_| MetadataRequest::default(), MIB, soon()).await.unwrap_err();
    // Another one can be opened.
    assert_eq!((sent, error.kind()), (Sent::No, ErrorKind::Retriable));
}

#[tokio::test]
async fn a_broker_that_is_down_is_not_asked_for_without_end() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let builder = Kafka::builder([format!("127.0.0.1:{port}")]).call_timeout(Duration::from_secs(1));
    let kafka = builder.on_current_runtime().build().unwrap();
    let refused = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let broker = |node_id, port: u16| MetadataResponseBroker {
        node_id,
        host: "127.0.0.1".into(),
        port: port.into(),
        ..MetadataResponseBroker::default()
    };
    let brokers = vec![broker(1, port), broker(2, refused)];
    let told = MetadataResponse { brokers, controller_id: 2, ..MetadataResponse::default() };
    let asked = AtomicUsize::new(0);
    let serve = async || {
        let (stream, _) = listener.accept().await.unwrap();
        let mut peer = Peer { stream, received: BytesMut::new() };
        peer.shake_hands().await;
        while let Some(request) = peer.request().await {
            asked.fetch_add(1, Ordering::Relaxed);
            peer.answer(request.header.correlation_id, request.header.api_version, &told).await;
        }
    };
    let serving = async {
        tokio::join!(serve(), serve());
        std::future::pending::<()>().await;
    };
    let admin = kafka.admin();
    let error = tokio::select! {
        created = admin.create_topics([NewTopic::new("orders")]) => created.unwrap_err(),
        () = serving => unreachable!("it waits for ever"),
    };
    assert_eq!(error.kind(), ErrorKind::Timeout);
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains(&format!("cannot connect to 127.0.0.1:{refused}")), "{cause}");
    let asked = asked.load(Ordering::Relaxed);
    assert!((2..=12).contains(&asked), "{asked} times");
}

#[tokio::test]
async fn what_is_under_way_is_answered_when_nobody_asks_any_more() {
    let (connection, mut peer) = pair().await;
    let answer = send(&connection);
    drop(connection);
    peer.answer_metadata(7).await;
    assert!(answer.await.unwrap().is_ok());
    assert!(peer.request().await.is_none());
}
