//! Logs to Kafka that never hurt the program that logs.
//!
//! ```no_run
//! use std::time::Duration;
//! use ottla_tracing::Sink;
//! use tracing_subscriber::prelude::*;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (sink, guard) = Sink::builder(["localhost:9092"], "logs").build()?;
//! tracing_subscriber::registry().with(sink.layer()).init();
//!
//! tracing::info!(order = 42, "tea is served");
//!
//! // Dropping the guard at the end of `main` would do as well.
//! let counters = guard.close(Duration::from_secs(5));
//! println!("{} events are in Kafka", counters.delivered);
//! # Ok(())
//! # }
//! ```
//!
//! # Faces
//!
//! | what logs | what it is given |
//! |---|---|
//! | [`tracing`] | [`Sink::layer`], beside other layers, each with filters of its own |
//! | the `log` crate | [`Sink::logger`], for `log::set_boxed_logger` |
//! | whatever writes lines | [`Sink::writer`], an [`io::Write`](std::io::Write) |
//!
//! A sink needs no async runtime and no `main` that is one: it has a thread and a runtime of its own, and its own client. It starts
//! with Kafka down, and connects when there is something to send.
//!
//! # What becomes of an event
//!
//! Whoever logs copies the event into a queue and goes on; it never waits, but under [`Overflow::Block`]. The queue is bounded
//! by its bytes. As it fills, `TRACE` is refused from 50 % on, `DEBUG` from 70 %, `INFO` from 85 %; for the rest, [`Overflow`]
//! decides when it is full.
//!
//! While Kafka takes nothing (nobody answers, the topic is missing, the client may not write), events wait. Only where more than half of
//! the queue is full, the oldest make room: they go to the [`Fallback`], which by default is standard error for `WARN` and
//! `ERROR`; others are lost. An event that the client could not deliver within `delivery.timeout.ms` goes there as well.
//!
//! What was dropped or lost is counted by level ([`Counters`]), and said in a record of the target `ottla_tracing`, as
//! soon as that can be and once a minute at most. The sink says nothing else of its own more often than that: with `tracing`, for
//! other layers, and in the fallback.
//!
//! # At the end
//!
//! | how the program ends | what to do |
//! |---|---|
//! | it returns from `main` | keep the [`Guard`] in `main` |
//! | `std::process::exit` | [`Guard::close`] before |
//! | a panic | [`Sink::panic_hook`]; the guard is dropped as well, if the panic unwinds `main` |
//! | SIGTERM | handle it and return from `main`, or [`Guard::close_on_sigterm`] |
//! | SIGKILL, power | what was flushed, or logged about 20 ms before with Kafka in reach, is there |
//!
//! # Records
//!
//! The value is a JSON object ([`Format`]), the timestamp that of the event. The header `level` tells the level; [`Builder`] has more
//! headers, keys ([`Key`]), fixed fields and redaction. Topics are never created by a sink.
//!
//! # Features
//!
//! `gzip`, `snappy`, `lz4` and `zstd`: compression, to be set by the property `compression.type`. None is on by default.
//!
//! Inside: `encode` (JSON), `queue`, `sender` (the thread that sends), `fallback`, and a file for each face.

#![deny(missing_docs)]

mod builder;
mod circuit;
mod clock;
mod encode;
mod entry;
mod exit;
mod fallback;
mod layer;
mod level;
mod logger;
mod own;
mod queue;
mod sender;
mod shared;
mod sink;
mod writer;

pub use builder::{BuildError, Builder};
pub use encode::{Format, Key};
pub use fallback::Fallback;
pub use layer::SinkLayer;
pub use level::ByLevel;
pub use logger::Logger;
pub use queue::Overflow;
pub use sink::{Counters, FlushError, Guard, Sink};
pub use writer::LineWriter;
