//! A node's connections: frames come in, are answered one after the other, and go out, as at a broker of Kafka's.
//!
//! While the node is frozen, nothing is read or written. While a request waits for its answer, what the client sends
//! after it is read on only a little, so that a client that goes away is noticed.

use std::{io, sync::Arc};

use bytes::{Buf, Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
};

use crate::{
    door::{Cut, until},
    handlers::{self, Answer},
    state::{Counts, Shared},
};

/// How much is read on while a request waits for its answer.
const READ_AHEAD_BYTES: usize = 64 * 1024;
/// How much a connection asks of the system at once.
const READ_BYTES: usize = 64 * 1024;
/// The bytes of a frame's length.
const LENGTH_BYTES: usize = 4;

/// A connection of a client to a node.
pub(crate) struct Connection {
    shared: Arc<Shared>,
    node: i32,
    frozen: watch::Receiver<bool>,
    stream: TcpStream,
    buffer: BytesMut,
    request_bytes_max: usize,
    /// Whether it ends in order; otherwise it is reset.
    orderly: bool,
}

impl Connection {
    pub(crate) fn new(
        shared: Arc<Shared>,
        node: i32,
        frozen: watch::Receiver<bool>,
        stream: TcpStream,
    ) -> Self {
        // A socket that refuses this is one whose peer has gone.
        let _ = stream.set_nodelay(true);
        let request_bytes_max = shared.state.lock().settings.request_bytes_max;
        let buffer = BytesMut::new();
        let connection = Self { shared, node, frozen, stream, buffer, request_bytes_max, orderly: false };
        connection.count(|counts| {
            counts.connections_opened += 1;
            counts.connections_open += 1;
        });
        connection
    }

    /// Serves the connection until it ends, or is cut.
    pub(crate) async fn serve(mut self, mut cut: Cut) {
        tokio::select! {
            biased;
            () = cut.wait() => {}
            () = self.run() => self.orderly = true,
        }
    }

    async fn run(&mut self) {
        while let Some(frame) = self.read_frame().await {
            let shared = self.shared.clone();
            let answer = tokio::select! {
                biased;
                answer = handlers::answer(&shared, self.node, frame) => answer,
                () = self.read_ahead() => return,
            };
            match answer {
                Answer::Frame(pieces) => {
                    for piece in pieces {
                        if self.write(piece).await.is_err() {
                            return;
                        }
                    }
                }
                Answer::Nothing => {}
                Answer::Close => return,
            }
        }
    }

    /// Reads a frame, without its length; `None` where the connection has ended, or sends what is no frame.
    async fn read_frame(&mut self) -> Option<Bytes> {
        loop {
            if let Some(length) = self.buffer.first_chunk::<LENGTH_BYTES>() {
                let length = usize::try_from(i32::from_be_bytes(*length)).ok()?;
                if length > self.request_bytes_max {
                    return None;
                }
                if self.buffer.len() >= LENGTH_BYTES + length {
                    self.buffer.advance(LENGTH_BYTES);
                    return Some(self.buffer.split_to(length).freeze());
                }
            }
            self.read_some().await?;
        }
    }

    /// Reads on until the connection ends, or forever where there is more than is read on.
    async fn read_ahead(&mut self) {
        while self.buffer.len() < READ_AHEAD_BYTES {
            if self.read_some().await.is_none() {
                return;
            }
        }
        std::future::pending().await
    }

    /// Reads what is there; `None` where the connection has ended.
    async fn read_some(&mut self) -> Option<()> {
        loop {
            until(&mut self.frozen, false).await;
            // The room for a large frame grows as its bytes arrive, not by what it says of itself.
            self.buffer.reserve(READ_BYTES);
            tokio::select! {
                biased;
                () = until(&mut self.frozen, true) => {}
                read = self.stream.read_buf(&mut self.buffer) => {
                    let bytes = read.ok().filter(|bytes| *bytes > 0)?;
                    self.count(|counts| counts.bytes_received += bytes as u64);
                    return Some(());
                }
            }
        }
    }

    async fn write(&mut self, mut bytes: Bytes) -> io::Result<()> {
        // Whoever has received them finds them counted.
        self.count(|counts| counts.bytes_sent += bytes.len() as u64);
        while !bytes.is_empty() {
            until(&mut self.frozen, false).await;
            tokio::select! {
                biased;
                () = until(&mut self.frozen, true) => {}
                written = self.stream.write(&bytes) => {
                    bytes.advance(written?);
                }
            }
        }
        Ok(())
    }

    fn count(&self, change: impl FnOnce(&mut Counts)) {
        if let Some(node) = self.shared.state.lock().node_mut(self.node) {
            change(&mut node.counts);
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if !self.orderly {
            // A socket that refuses this is one whose peer has gone.
            let _ = self.stream.set_zero_linger();
        }
        self.count(|counts| counts.connections_open -= 1);
    }
}
