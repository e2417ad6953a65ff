//! Row h: one record from a producer to a consumer whose fetch already waits, on a connection of its own.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::{
    broker::{Broker, Kind},
    client::{Topic, create_topic},
    failure::{Doing, Result},
    frames::{self, Batch, Template},
    generator::latencies,
    rows::{Context, Figures, Reading, blame},
};

/// How long the consumer's fetch gets to reach the broker and wait there before the record is sent.
const SETTLE: Duration = Duration::from_millis(1);

/// Row h.
pub fn run(context: &Context, kind: Kind) -> Result<Figures> {
    let mut broker = context.start(kind)?;
    let mut figures = Figures::default();
    let topic = Topic::new("wake", 1);
    create_topic(context, &mut broker, &topic)?;
    rounds(context, &broker, &topic, &mut figures).map_err(|failure| blame(&mut broker, failure))?;
    figures.set_memory(&broker)?;
    Ok(figures)
}

fn rounds(context: &Context, broker: &Broker, topic: &Topic, figures: &mut Figures) -> Result<()> {
    let mut pair = Pair::connect(broker, topic, context.now_ms()).doing("connect")?;
    for round in 1..=context.options.rounds {
        context.settle()?;
        let before = Reading::take(context, broker)?;
        let (mut acknowledged, mut delivered) = (latencies(), latencies());
        let started = Instant::now();
        while started.elapsed() < context.round() {
            context.check_interrupted()?;
            let (to_ack, to_record) = pair.exchange()?;
            acknowledged.saturating_record(to_ack.as_nanos() as u64);
            delivered.saturating_record(to_record.as_nanos() as u64);
        }
        let used = Reading::take(context, broker)?.since(before);
        if round < context.options.rounds {
            continue;
        }
        let records = delivered.len() as f64;
        for (prefix, histogram) in [("delivered_", &delivered), ("ack_", &acknowledged)] {
            for (name, quantile) in [("p50_ms", 0.5), ("p99_ms", 0.99), ("p999_ms", 0.999)] {
                figures.set(format!("{prefix}{name}"), histogram.value_at_quantile(quantile) as f64 / 1e6);
            }
        }
        figures.set("records", records);
        figures.set("broker_cpu_us_per_request", used.broker_cpu.as_secs_f64() * 1e6 / records);
        figures.set("generator_cpu_us_per_request", used.own_cpu.as_secs_f64() * 1e6 / records);
    }
    Ok(())
}

/// A producer and a consumer of one partition.
struct Pair {
    producer: TcpStream,
    consumer: TcpStream,
    write: Template,
    read: Template,
    write_head: Vec<u8>,
    read_head: Vec<u8>,
    next_offset: i64,
    correlation_id: i32,
    scratch: [u8; 4096],
}

impl Pair {
    fn connect(broker: &Broker, topic: &Topic, now_ms: i64) -> io::Result<Pair> {
        let open = || {
            let stream = TcpStream::connect(broker.addr())?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(Duration::from_secs(60)))?;
            Ok::<_, io::Error>(stream)
        };
        let write = frames::produce(&topic.name, &Batch::single(100, now_ms));
        let read = frames::fetch(&topic.name, 1 << 20, 30_000);
        Ok(Pair {
            producer: open()?,
            consumer: open()?,
            write_head: write.head.clone(),
            read_head: read.head.clone(),
            write,
            read,
            next_offset: 0,
            correlation_id: 0,
            scratch: [0; 4096],
        })
    }

    /// Parks a fetch, sends a record, and returns how long its acknowledgement and its delivery took.
    fn exchange(&mut self) -> Result<(Duration, Duration)> {
        self.correlation_id = self.correlation_id.wrapping_add(1);
        self.read.patch(&mut self.read_head, self.correlation_id, 0);
        self.read.patch_offset(&mut self.read_head, self.next_offset);
        self.consumer.write_all(&self.read_head).doing("send a fetch")?;
        if self.ready(SETTLE)? != (false, false) {
            return Err("the fetch was answered before there was a record".to_owned().into());
        }
        self.write.patch(&mut self.write_head, self.correlation_id, 0);
        let sent = Instant::now();
        self.producer.write_all(&self.write_head).doing("send a record")?;
        let (mut to_ack, mut to_record) = (None, None);
        while to_ack.is_none() || to_record.is_none() {
            let (acknowledged, delivered) = self.ready(Duration::from_secs(60))?;
            if !acknowledged && !delivered {
                return Err("the broker answered nothing for 60 s".to_owned().into());
            }
            if acknowledged {
                let length =
                    answer(&mut self.producer, &mut self.scratch).doing("read an acknowledgement")?;
                to_ack = Some(sent.elapsed());
                self.check_ack(length)?;
            }
            if delivered {
                let length = answer(&mut self.consumer, &mut self.scratch).doing("read a fetch's answer")?;
                to_record = Some(sent.elapsed());
                self.check_record(length)?;
            }
        }
        self.next_offset += 1;
        Ok((to_ack.expect("set above"), to_record.expect("set above")))
    }

    /// Whether the producer's and the consumer's answers are there, at the latest after `timeout`.
    fn ready(&self, timeout: Duration) -> Result<(bool, bool)> {
        let mut fds =
            [PollFd::new(&self.producer, PollFlags::IN), PollFd::new(&self.consumer, PollFlags::IN)];
        let timeout = Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: timeout.subsec_nanos().into() };
        poll(&mut fds, Some(&timeout)).doing("wait for an answer")?;
        Ok((!fds[0].revents().is_empty(), !fds[1].revents().is_empty()))
    }

    fn check_ack(&self, length: usize) -> Result<()> {
        match frames::read_produced(&self.scratch[..length]).doing("read an acknowledgement")? {
            (0, frames::NONE, offset) if offset == self.next_offset => Ok(()),
            (_, code, offset) => {
                let name = frames::error_name(code);
                Err(format!("produce of offset {}: error {code} ({name}), offset {offset}", self.next_offset)
                    .into())
            }
        }
    }

    fn check_record(&self, length: usize) -> Result<()> {
        let fetched = frames::read_fetched(&self.scratch[..length]).doing("read a fetch's answer")?;
        let records = self.scratch[..length].get(fetched.records_at..).unwrap_or_default();
        if fetched.error_code != frames::NONE {
            let name = frames::error_name(fetched.error_code);
            return Err(format!(
                "fetch at offset {}: error {} ({name})",
                self.next_offset, fetched.error_code
            )
            .into());
        }
        let batches = frames::verify(records, self.next_offset)?;
        if batches != 1 {
            return Err(
                format!("fetch at offset {}: {batches} batches where 1 belongs", self.next_offset).into()
            );
        }
        Ok(())
    }
}

/// Reads one answer and returns its length.
fn answer(stream: &mut TcpStream, scratch: &mut [u8]) -> io::Result<usize> {
    let mut have = 0;
    loop {
        match stream.read(&mut scratch[have..])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => have += read,
        }
        let Some(field) = scratch[..have].first_chunk::<4>() else { continue };
        let length = (u32::from_be_bytes(*field) as usize).saturating_add(4);
        if length > scratch.len() {
            return Err(io::Error::other(format!("an answer of {length} bytes")));
        }
        if have >= length {
            return Ok(length);
        }
    }
}
