//! What a client said of its records, held against what is on the brokers.
//!
//! Delivered: there exactly once, at the offset that was told, where one was. No: not there. Maybe: there once at most.
//! What is there and was never told of belongs to records without an answer, and must not be more than those.

use std::{
    collections::HashMap,
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
};

use ottla_testing::Cluster;
use serde_json::{Value, json};

use super::TOPIC;
use crate::{
    failure::{Doing, Result},
    load::PARTITIONS,
};

/// How many wrong fates are told in words.
const TOLD_MAX: usize = 10;

/// What is on the brokers: where each record is, by partition and number.
#[derive(Debug, Default)]
pub struct Log(HashMap<(i32, u64), Vec<i64>>);

/// What a client said of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is there, at this offset if one was told.
    Delivered(Option<i64>),
    /// It is not there and never will be.
    No,
    /// The client cannot know.
    Maybe,
}

impl Fate {
    /// A line for a file: milliseconds since the start, partition, number, and the fate.
    pub fn line(self, at_ms: u64, partition: i32, number: u64) -> String {
        match self {
            Fate::Delivered(Some(offset)) => format!("{at_ms} {partition} {number} D {offset}\n"),
            Fate::Delivered(None) => format!("{at_ms} {partition} {number} D -\n"),
            Fate::No => format!("{at_ms} {partition} {number} N -\n"),
            Fate::Maybe => format!("{at_ms} {partition} {number} M -\n"),
        }
    }

    fn parse(line: &str) -> Option<(u64, i32, u64, Fate)> {
        let mut words = line.split_ascii_whitespace();
        let (at_ms, partition, number) =
            (words.next()?.parse().ok()?, words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let fate = match (words.next()?, words.next()?) {
            ("D", "-") => Fate::Delivered(None),
            ("D", offset) => Fate::Delivered(Some(offset.parse().ok()?)),
            ("N", _) => Fate::No,
            ("M", _) => Fate::Maybe,
            _ => return None,
        };
        Some((at_ms, partition, number, fate))
    }

    /// Whether it is true of a record that is at these offsets.
    fn holds(self, offsets: &[i64]) -> bool {
        match self {
            Fate::Delivered(Some(offset)) => offsets == [offset],
            Fate::Delivered(None) => offsets.len() == 1,
            Fate::No => offsets.is_empty(),
            Fate::Maybe => offsets.len() <= 1,
        }
    }
}

impl Log {
    /// Reads all that is there.
    pub fn of(cluster: &Cluster) -> Result<Log> {
        let mut log = Log::default();
        for partition in 0..PARTITIONS {
            for batch in cluster.batches(TOPIC, partition) {
                for record in batch.records().doing("read a batch back")? {
                    let record = record.doing("read a record back")?;
                    let number = record
                        .value
                        .and_then(|value| value.first_chunk())
                        .ok_or("a record without a number")?;
                    log.add(partition, u64::from_be_bytes(*number), record.offset.0);
                }
            }
        }
        Ok(log)
    }

    fn add(&mut self, partition: i32, number: u64, offset: i64) {
        self.0.entry((partition, number)).or_default().push(offset);
    }
}

/// Judges a file of fates; the first delivery is looked for from `back_ms` on.
pub fn judge(log: &Log, fates: &Path, back_ms: u64) -> Result<Value> {
    let file = File::open(fates).doing(format_args!("open {}", fates.display()))?;
    let lines = BufReader::new(file).lines().map(|line| line.doing(format_args!("read {}", fates.display())));
    judge_lines(log, lines, back_ms)
}

fn judge_lines(log: &Log, lines: impl Iterator<Item = Result<String>>, back_ms: u64) -> Result<Value> {
    let (mut delivered, mut no, mut maybe, mut maybe_there, mut wrong) = (0_u64, 0_u64, 0_u64, 0_u64, 0_u64);
    let mut told = Vec::new();
    let mut first_delivery: Option<u64> = None;
    let mut there = 0;
    let mut seen = std::collections::HashSet::new();
    for line in lines {
        let line = line?;
        let (at_ms, partition, number, fate) =
            Fate::parse(&line).ok_or_else(|| format!("no fate: {line}"))?;
        let offsets = log.0.get(&(partition, number)).map_or(&[][..], Vec::as_slice);
        there += usize::from(!offsets.is_empty());
        match fate {
            Fate::Delivered(_) => {
                delivered += 1;
                if at_ms >= back_ms {
                    first_delivery = Some(first_delivery.map_or(at_ms, |first| first.min(at_ms)));
                }
            }
            Fate::No => no += 1,
            Fate::Maybe => {
                maybe += 1;
                maybe_there += u64::from(!offsets.is_empty());
            }
        }
        let again = !seen.insert((partition, number));
        if again || !fate.holds(offsets) {
            wrong += 1;
            if told.len() < TOLD_MAX {
                let twice = if again { ", told twice" } else { "" };
                told.push(format!(
                    "{TOPIC}-{partition}, record {number}: {fate:?}{twice}; it is at {offsets:?}"
                ));
            }
        }
    }
    Ok(json!({
        "delivered": delivered,
        "no": no,
        "maybe": maybe,
        "maybe_there": maybe_there,
        "never_told_of": log.0.len() - there,
        "wrong": wrong,
        "wrong_ones": told,
        "first_delivery_ms": first_delivery.map(|at| at - back_ms),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(fates: &[(u64, Fate)], expected: &[(&str, u64)]) {
        let mut log = Log::default();
        for (number, offset) in [(1, 10), (2, 11), (2, 12), (3, 13)] {
            log.add(0, number, offset);
        }
        let lines = fates.iter().map(|(number, fate)| Ok(fate.line(700, 0, *number).trim_end().to_owned()));
        let judged = judge_lines(&log, lines, 500).unwrap();
        for (name, value) in expected {
            assert_eq!(judged[name], *value, "{name}: {judged}");
        }
    }

    #[test]
    fn what_is_true_is_not_wrong() {
        let fates =
            [(1, Fate::Delivered(Some(10))), (3, Fate::Delivered(None)), (4, Fate::No), (5, Fate::Maybe)];
        check(&fates, &[("wrong", 0), ("delivered", 2), ("no", 1), ("maybe", 1), ("maybe_there", 0)]);
        check(&fates, &[("never_told_of", 1), ("first_delivery_ms", 200)]);
        check(&[(1, Fate::Maybe)], &[("wrong", 0), ("maybe_there", 1)]);
    }

    #[test]
    fn what_is_lost_doubled_elsewhere_or_there_after_all_is_wrong() {
        for fate in [
            (1, Fate::Delivered(Some(11))),
            (1, Fate::No),
            (2, Fate::Delivered(Some(11))),
            (2, Fate::Delivered(None)),
            (2, Fate::Maybe),
            (4, Fate::Delivered(Some(10))),
            (4, Fate::Delivered(None)),
        ] {
            check(&[fate], &[("wrong", 1)]);
        }
        check(&[(4, Fate::No), (4, Fate::No)], &[("wrong", 1)]);
    }
}
