//! A broker that only acknowledges, as a process of its own: what is measured against it is the client.
//!
//! One thread serves a connection; requests are answered one after the other. A produced batch is counted by its header
//! and dropped. Batches to be read are all the same but for their offsets. No length that a peer names reserves memory
//! that its bytes do not fill.
//!
//! The runner speaks to it over its standard input, a line each: `create TOPIC`, `fill TOPIC RECORDS VALUE_BYTES`,
//! `stats` and the end of the input, which ends it. It prints its address first, and a line for each of these.

mod answers;
mod topics;

use std::{
    io::{self, BufRead, BufWriter, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, atomic::Ordering},
    thread,
};

use bytes::{Buf, Bytes, BytesMut};
use ottla_protocol::{ApiKey, Encoder, ErrorCode, Piece, RequestFrame, Response, encode_response};
use serde_json::json;

use self::topics::Topics;
use crate::{
    failure::{Doing, Result},
    load::Readable,
};

/// The longest request, as Kafka's `socket.request.max.bytes`.
const FRAME_BYTES_MAX: usize = 100 << 20;
const READ_BYTES: usize = 256 << 10;

/// Serves until the standard input ends.
pub fn run() -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).doing("listen on loopback")?;
    let addr = listener.local_addr().doing("ask for the port")?;
    println!("{addr}");
    let topics = Arc::new(Topics::default());
    let served = Arc::clone(&topics);
    thread::spawn(move || accept(&listener, addr, &served));
    for line in io::stdin().lock().lines() {
        println!("{}", obey(&topics, &line.doing("read the standard input")?));
    }
    Ok(())
}

fn obey(topics: &Topics, line: &str) -> serde_json::Value {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    match words[..] {
        ["create", name] => topics.create(name, None),
        ["fill", name, records, value_bytes] => {
            let readable = records.parse().ok().zip(value_bytes.parse().ok());
            match readable.map(|(records, value_bytes)| Readable::new(records, value_bytes)) {
                Some(Ok(readable)) => topics.create(name, Some(readable)),
                _ => return json!({ "error": line }),
            }
        }
        ["stats"] => {
            let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
            return json!({
                "requests": count(&topics.requests),
                "batches": count(&topics.batches),
                "records": count(&topics.records),
            });
        }
        _ => return json!({ "error": line }),
    }
    json!({})
}

fn accept(listener: &TcpListener, addr: SocketAddr, topics: &Arc<Topics>) {
    for stream in listener.incoming().map_while(io::Result::ok) {
        let topics = Arc::clone(topics);
        // A connection that breaks is its client's affair, which sees it too.
        thread::spawn(move || serve(stream, addr, &topics));
    }
}

fn serve(mut stream: TcpStream, addr: SocketAddr, topics: &Topics) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut out = BufWriter::with_capacity(READ_BYTES, stream.try_clone()?);
    let mut buffer = BytesMut::new();
    while let Some(frame) = read_frame(&mut stream, &mut buffer)? {
        answer(frame, addr, topics, &mut out)?;
        out.flush()?;
    }
    Ok(())
}

/// The next frame without its length; `None` at the end.
fn read_frame(stream: &mut TcpStream, buffer: &mut BytesMut) -> io::Result<Option<Bytes>> {
    loop {
        if let Some(head) = buffer.first_chunk::<4>() {
            let length = u32::from_be_bytes(*head) as usize;
            if length > FRAME_BYTES_MAX {
                return Err(io::Error::other(format!("a frame of {length} bytes")));
            }
            if buffer.len() - 4 >= length {
                buffer.advance(4);
                return Ok(Some(buffer.split_to(length).freeze()));
            }
        }
        let filled = buffer.len();
        buffer.resize(filled + READ_BYTES, 0);
        let read = stream.read(&mut buffer[filled..]);
        buffer.truncate(filled + *read.as_ref().unwrap_or(&0));
        if read? == 0 {
            return Ok(None);
        }
    }
}

fn answer(frame: Bytes, addr: SocketAddr, topics: &Topics, out: &mut impl Write) -> io::Result<()> {
    let frame = RequestFrame::decode(&frame).map_err(io::Error::other)?;
    let header = &frame.header;
    let call = (header.correlation_id, header.api_version);
    macro_rules! request {
        () => {
            frame.request().map_err(io::Error::other)?
        };
    }
    match header.api_key {
        ApiKey::API_VERSIONS if header.api_version > 4 => {
            let refusal = ottla_protocol::messages::api_versions::ApiVersionsResponse {
                error_code: ErrorCode::UNSUPPORTED_VERSION,
                ..answers::api_versions()
            };
            write(out, (header.correlation_id, 0), &refusal)
        }
        ApiKey::API_VERSIONS => write(out, call, &answers::api_versions()),
        ApiKey::METADATA => write(out, call, &answers::metadata(topics, addr, request!())),
        ApiKey::INIT_PRODUCER_ID => write(out, call, &answers::init_producer_id()),
        ApiKey::PRODUCE => match answers::produce(topics, &frame).map_err(io::Error::other)? {
            Some(response) => write(out, call, &response),
            None => Ok(()),
        },
        ApiKey::FETCH => write(out, call, &answers::fetch(topics, request!())),
        ApiKey::LIST_OFFSETS => write(out, call, &answers::list_offsets(topics, request!())),
        ApiKey::OFFSET_FOR_LEADER_EPOCH => {
            write(out, call, &answers::offset_for_leader_epoch(topics, request!()))
        }
        other => Err(io::Error::other(format!("API {} is not here", other.0))),
    }
}

fn write<R: Response>(
    out: &mut impl Write,
    (correlation_id, version): (i32, i16),
    response: &R,
) -> io::Result<()> {
    let mut encoder = Encoder::new();
    encode_response(&mut encoder, correlation_id, version, response).map_err(io::Error::other)?;
    for piece in encoder.finish() {
        if let Piece::Bytes(bytes) = piece {
            out.write_all(&bytes)?;
        }
    }
    Ok(())
}
