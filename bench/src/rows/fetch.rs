//! Rows f and g: fetching what is in memory, and what has to come from disk.

use std::{fs, time::Duration};

use crate::{
    broker::{Broker, Kind},
    client::{Topic, create_topic},
    disk,
    failure::{Doing, Result},
    frames::{self, Batch, Template},
    generator::{Generator, Outcome, Until, Work},
    rows::{
        Context, Figures, Reading, Used, blame,
        produce::{Spread, Writes},
    },
};

const PARTITIONS: i32 = 4;
const BATCH: usize = 16 << 10;
const FETCH_BYTES: i32 = 1 << 20;

/// A topic whose partitions all hold the same number of equal batches.
struct Filled {
    topic: Topic,
    batch_bytes: usize,
    batch_records: i64,
    end_offset: i64,
}

/// Fetches of each connection's own partitions, one after the other.
struct Reads {
    template: Template,
    batch_bytes: u64,
    batch_records: i64,
    end_offset: i64,
    /// Whether a connection starts again after its last partition.
    endless: bool,
    verify: bool,
    places: Vec<Place>,
}

/// Where a connection is.
struct Place {
    partition: i32,
    last_partition: i32,
    first_partition: i32,
    offset: i64,
}

impl Reads {
    fn new(filled: &Filled, connections: i32, endless: bool, verify: bool) -> Reads {
        let share = PARTITIONS / connections;
        let places = (0..connections)
            .map(|connection| Place {
                partition: connection * share,
                first_partition: connection * share,
                last_partition: (connection + 1) * share - 1,
                offset: 0,
            })
            .collect();
        Reads {
            template: frames::fetch(&filled.topic.name, FETCH_BYTES, 1000),
            batch_bytes: filled.batch_bytes as u64,
            batch_records: filled.batch_records,
            end_offset: filled.end_offset,
            endless,
            verify,
            places,
        }
    }
}

impl Work for Reads {
    fn template(&self, _connection: usize) -> &Template {
        &self.template
    }

    fn prepare(&mut self, connection: usize, sequence: u64, head: &mut [u8]) -> bool {
        let place = &mut self.places[connection];
        if place.offset >= self.end_offset {
            if place.partition < place.last_partition {
                place.partition += 1;
            } else if self.endless {
                place.partition = place.first_partition;
            } else {
                return false;
            }
            place.offset = 0;
        }
        self.template.patch(head, sequence as i32, place.partition);
        self.template.patch_offset(head, place.offset);
        true
    }

    fn check(&mut self, connection: usize, _sequence: u64, seen: &[u8]) -> std::result::Result<u64, String> {
        let place = &mut self.places[connection];
        let (partition, offset) = (place.partition, place.offset);
        let wrong = |what: String| format!("fetch of partition {partition} at offset {offset}: {what}");
        let fetched = frames::read_fetched(seen).map_err(|error| wrong(error.to_string()))?;
        if fetched.error_code != frames::NONE {
            let name = frames::error_name(fetched.error_code);
            return Err(wrong(format!("error {} ({name})", fetched.error_code)));
        }
        if fetched.partition != partition {
            return Err(wrong(format!("partition {} answered", fetched.partition)));
        }
        let whole = fetched.records_len as u64 / self.batch_bytes;
        if whole == 0 {
            return Err(wrong(format!("{} bytes, which is no whole batch", fetched.records_len)));
        }
        let records = seen.get(fetched.records_at..).unwrap_or_default();
        if frames::first_base_offset(records) != Some(offset) {
            return Err(wrong("the first batch has another base offset".to_owned()));
        }
        if self.verify {
            let records = records.get(..fetched.records_len).unwrap_or_default();
            let batches = frames::verify(records, offset).map_err(wrong)?;
            if batches as u64 != whole {
                return Err(format!(
                    "partition {partition} at offset {offset}: {batches} batches where {whole} belong"
                ));
            }
        }
        place.offset += whole as i64 * self.batch_records;
        if place.offset > self.end_offset {
            return Err(format!("partition {partition} gave records up to {}, past its end", place.offset));
        }
        Ok(whole * self.batch_bytes)
    }

    fn seen_len(&self) -> usize {
        if self.verify { FETCH_BYTES as usize + BATCH + 4096 } else { 256 }
    }
}

/// Row f.
pub fn hot(context: &Context, kind: Kind) -> Result<Figures> {
    let mut broker = context.start(kind)?;
    let mut figures = Figures::default();
    let filled = fill(context, &mut broker, "hot", context.options.hot_bytes)?;
    let mut run = || -> Result<()> {
        context.settle()?;
        fetch(context, &broker, Reads::new(&filled, 1, false, context.options.verify), Until::Done)?;
        for (connections, prefix) in [(1, "1."), (4, "4.")] {
            for _ in 1..context.options.rounds {
                fetch(
                    context,
                    &broker,
                    endless(context, &filled, connections),
                    Until::Elapsed(context.round()),
                )?;
            }
            let reads = endless(context, &filled, connections);
            let (outcome, used) = fetch(context, &broker, reads, Until::Elapsed(context.round()))?;
            figures.set_round(prefix, &outcome, &used);
        }
        Ok(())
    };
    run().map_err(|failure| blame(&mut broker, failure))?;
    figures.set_memory(&broker)?;
    Ok(figures)
}

/// Row g.
pub fn cold(context: &Context, kind: Kind) -> Result<Figures> {
    let mut broker = context.start(kind)?;
    let mut figures = Figures::default();
    let filled = fill(context, &mut broker, "cold", context.options.cold_bytes)?;
    // Time for a broker that writes its segments behind the acknowledgement.
    context.pause(Duration::from_secs(2))?;
    let mut run = || -> Result<()> {
        for _ in 0..context.options.rounds {
            evict(context, &broker)?;
            figures.set("direct_mb_per_s", direct(&broker)?);
            evict(context, &broker)?;
            let reads = Reads::new(&filled, 1, false, context.options.verify);
            let (outcome, used) = fetch(context, &broker, reads, Until::Done)?;
            figures.set_round("", &outcome, &used);
        }
        Ok(())
    };
    run().map_err(|failure| blame(&mut broker, failure))?;
    figures.set_memory(&broker)?;
    Ok(figures)
}

fn endless(context: &Context, filled: &Filled, connections: i32) -> Reads {
    Reads::new(filled, connections, true, context.options.verify)
}

/// Creates a topic and gives each partition the same number of batches, `bytes` in all.
fn fill(context: &Context, broker: &mut Broker, name: &str, bytes: u64) -> Result<Filled> {
    let batch = Batch::filled(BATCH, 100, context.now_ms());
    // The data of row g may be more than the retention of the other rows.
    let topic = Topic { retention_bytes: None, ..Topic::new(name, PARTITIONS) };
    create_topic(context, broker, &topic)?;
    let requests = bytes / BATCH as u64 / PARTITIONS as u64;
    let template = frames::produce(name, &batch);
    let work = Writes::new(template, PARTITIONS as u64, PARTITIONS as u64, Spread::Own { requests });
    Generator::connect(broker.addr(), PARTITIONS as usize, 5, work, &context.interrupted)
        .and_then(|mut generator| generator.run(Until::Done))
        .map_err(|failure| blame(broker, failure))?;
    let batch_records = i64::from(batch.records);
    Ok(Filled { topic, batch_bytes: BATCH, batch_records, end_offset: requests as i64 * batch_records })
}

fn fetch(context: &Context, broker: &Broker, reads: Reads, until: Until) -> Result<(Outcome, Used)> {
    let connections = reads.places.len();
    let mut generator = Generator::connect(broker.addr(), connections, 1, reads, &context.interrupted)?;
    let before = Reading::take(context, broker)?;
    let outcome = generator.run(until)?;
    let used = Reading::take(context, broker)?.since(before);
    generator.drain()?;
    Ok((outcome, used))
}

fn evict(context: &Context, broker: &Broker) -> Result<()> {
    context.settle()?;
    disk::evict(&broker.data()).doing("evict the data from the page cache")
}

/// MB/s of O_DIRECT reads of the segments that the fetch will read.
fn direct(broker: &Broker) -> Result<f64> {
    let is_segment = |path: &std::path::PathBuf| {
        let large = fs::metadata(path).is_ok_and(|metadata| metadata.len() >= 1 << 20);
        large && path.extension().is_some_and(|extension| extension == "log")
    };
    let mut segments = disk::files(&broker.data()).doing("list the segments")?;
    segments.retain(is_segment);
    let (bytes, time) =
        disk::read_direct(&segments, Duration::from_secs(30)).doing("read segments with O_DIRECT")?;
    if bytes == 0 {
        return Err("there is no segment of 1 MiB or more (*.log) to read".to_owned().into());
    }
    Ok(bytes as f64 / 1e6 / time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads(endless: bool) -> Reads {
        let topic = Topic::new("t", PARTITIONS);
        Reads::new(&Filled { topic, batch_bytes: 1000, batch_records: 10, end_offset: 20 }, 2, endless, false)
    }

    fn walk(mut reads: Reads, requests: u64) -> Vec<(i32, i64)> {
        let mut head = reads.template.head.clone();
        let mut seen = Vec::new();
        for sequence in 0..requests {
            if !reads.prepare(1, sequence, &mut head) {
                break;
            }
            let place = &mut reads.places[1];
            seen.push((place.partition, place.offset));
            place.offset += 10;
        }
        seen
    }

    #[test]
    fn a_connection_reads_its_own_partitions_once_or_for_ever() {
        let once = [(2, 0), (2, 10), (3, 0), (3, 10)];
        assert_eq!(walk(reads(false), 9), once);
        assert_eq!(walk(reads(true), 6), [&once[..], &once[..2]].concat());
    }

    #[test]
    fn an_error_code_in_an_answer_is_an_error() {
        let mut answer = vec![0, 0, 0, 0, 0, 0, 0, 0, 0];
        answer.extend([0; 4]);
        answer.extend(56_i16.to_be_bytes());
        answer.extend([0; 4]);
        let error = reads(false).check(0, 0, &answer).unwrap_err();
        assert!(error.contains("KAFKA_STORAGE_ERROR"), "{error}");
    }
}
