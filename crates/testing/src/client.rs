//! A blocking Kafka client for tests: one connection, and nothing that a test does not ask for.

use std::{
    io::{ErrorKind, Read, Write},
    marker::PhantomData,
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use bytes::Bytes;
use ottla_protocol::{Encoder, Piece, Request, Str, decode_correlation_id, decode_response, encode_request};

/// How long an answer may take: far longer than any does, so that only a hang ends by it.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection to a broker.
///
/// Its functions panic where something fails, as it is for tests only.
#[derive(Debug)]
pub struct TestClient {
    stream: TcpStream,
    next_correlation_id: i32,
}

/// A request that was sent and whose answer is still to be received.
#[derive(Debug)]
#[must_use = "a request that is answered has to be received, or the next answer is this one's"]
pub struct Sent<R> {
    correlation_id: i32,
    version: i16,
    request: PhantomData<R>,
}

impl TestClient {
    /// Connects to a broker.
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap_or_else(|error| panic!("{address}: {error}"));
        stream.set_nodelay(true).expect("a socket takes nodelay");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket takes a time-out");
        stream.set_write_timeout(Some(PATIENCE)).expect("a socket takes a time-out");
        Self { stream, next_correlation_id: 1 }
    }

    /// The connection itself, for what a client of Kafka would not do.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// This end's address, which the broker calls the peer.
    pub fn local_address(&self) -> SocketAddr {
        self.stream.local_addr().expect("a connected socket has an address")
    }

    /// Sends a request and receives its answer.
    pub fn call<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        let sent = self.send(version, request);
        self.receive(sent)
    }

    /// Sends a request without waiting for the answer, so that several can be on their way.
    pub fn send<R: Request>(&mut self, version: i16, request: &R) -> Sent<R> {
        let correlation_id = self.next_correlation_id;
        self.next_correlation_id += 1;
        self.write(&encode(correlation_id, version, request));
        Sent { correlation_id, version, request: PhantomData }
    }

    /// Receives the answer to a request; answers come in the order of the requests.
    pub fn receive<R: Request>(&mut self, sent: Sent<R>) -> R::Response {
        let frame = self.receive_frame().unwrap_or_else(|| panic!("closed instead of a {}", R::NAME));
        let correlation_id = decode_correlation_id(&frame).expect("an answer has a correlation id");
        assert_eq!(correlation_id, sent.correlation_id, "the answer to another request");
        let (_, response) = decode_response::<R::Response>(&frame, sent.version)
            .unwrap_or_else(|error| panic!("{} version {}: {error}", R::NAME, sent.version));
        response
    }

    /// Sends a frame, its length before it.
    pub fn send_frame(&mut self, frame: &[u8]) {
        let len = i32::try_from(frame.len()).expect("a frame fits its length");
        self.write(&[&len.to_be_bytes()[..], frame].concat());
    }

    /// Sends bytes as they are.
    pub fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the broker reads");
    }

    /// Receives a frame, without its length; `None` where the broker has closed the connection.
    pub fn receive_frame(&mut self) -> Option<Bytes> {
        let mut len = [0; 4];
        if !self.read(&mut len) {
            return None;
        }
        let len = usize::try_from(i32::from_be_bytes(len)).expect("a frame has a length");
        let mut frame = Vec::new();
        let read = (&self.stream).take(len as u64).read_to_end(&mut frame).expect("the broker answers");
        assert_eq!(read, len, "a frame was cut off");
        Some(frame.into())
    }

    /// Whether something has come that was not received yet.
    pub fn has_answer(&self) -> bool {
        self.stream.set_nonblocking(true).expect("a socket need not block");
        let peeked = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false).expect("a socket may block");
        peeked.is_ok_and(|bytes| bytes > 0)
    }

    /// Waits until the broker closes the connection, and panics if it answers instead.
    pub fn expect_close(&mut self) {
        if let Some(frame) = self.receive_frame() {
            panic!("an answer of {} bytes instead of a close", frame.len());
        }
    }

    /// Whether there was something to read before the end.
    fn read(&mut self, into: &mut [u8; 4]) -> bool {
        match self.stream.read_exact(into) {
            Ok(()) => true,
            // A broker that closes while bytes of ours are unread resets the connection.
            Err(error) => match error.kind() {
                ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => false,
                _ => panic!("the broker neither answers nor closes: {error}"),
            },
        }
    }
}

/// The frame of a request, its length before it.
fn encode<R: Request>(correlation_id: i32, version: i16, request: &R) -> Vec<u8> {
    let mut out = Encoder::new();
    encode_request(&mut out, correlation_id, Some(&Str::from("test")), version, request)
        .unwrap_or_else(|error| panic!("{} version {version}: {error}", R::NAME));
    let mut bytes = Vec::with_capacity(out.len());
    for piece in out.finish() {
        match piece {
            Piece::Bytes(piece) => bytes.extend_from_slice(&piece),
            Piece::External { .. } => panic!("a request has its records itself"),
        }
    }
    bytes
}
