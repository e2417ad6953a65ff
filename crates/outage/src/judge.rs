//! Whether what was said of records is so: by what is in the logs.

use std::{collections::HashMap, fmt};

use crate::{
    failure::Result,
    ledger::{Fate, Name},
    load::{PARTITIONS, name_of},
    reader::{self, Leader},
};

/// So many wrong fates are described.
const DESCRIBED: usize = 10;

/// What became of the records, and what was said wrongly.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Judgement {
    /// Records of which it was said, or which were left and of which no failure was told.
    pub delivered: u64,
    pub no: u64,
    pub maybe: u64,
    /// Of those, the records that are there.
    pub maybe_there: u64,
    pub rejected: u64,
    /// Records in the logs.
    pub there: u64,
    /// Delivered records that stand behind one that was offered later.
    pub out_of_order: u64,
    /// Fates that are not so.
    pub wrong: u64,
    /// The first of them.
    pub described: Vec<String>,
}

impl Judgement {
    /// Records that were accepted, by what became of them.
    pub fn accepted(&self) -> u64 {
        self.delivered + self.no + self.maybe
    }

    fn wrong(&mut self, name: Name, what: impl fmt::Display) {
        self.wrong += 1;
        if self.described.len() < DESCRIBED {
            self.described.push(format!("record {} of partition {}: {what}", name.number, name.partition));
        }
    }
}

/// Reads all partitions back and compares.
///
/// # Errors
/// A partition cannot be read.
pub fn judge(entries: &[(Name, Fate)], leaders: &[Leader]) -> Result<Judgement> {
    let mut judgement = Judgement::default();
    for (partition, (_, leader)) in (0..PARTITIONS).zip(leaders) {
        let mut log = Vec::new();
        reader::read(*leader, partition, |offset, value| {
            log.push((offset, value.and_then(name_of)));
            Ok(())
        })?;
        let entries = entries.iter().filter(|(name, _)| name.partition == partition);
        compare(&mut judgement, partition, entries.map(|(name, fate)| (name.number, *fate)), &log);
    }
    Ok(judgement)
}

/// Compares what was said of a partition's records, in the order in which it was said, with what its log has: offsets, and
/// whose value is there, where that can be told.
fn compare(
    judgement: &mut Judgement,
    partition: i32,
    entries: impl Iterator<Item = (u64, Fate)>,
    log: &[(i64, Option<Name>)],
) {
    let mut said: HashMap<u64, Fate> = HashMap::new();
    for (number, fate) in entries {
        let before = said.insert(number, fate);
        // Of a record that was left, a failure may be told later, and else nothing is told twice.
        let may_be = match before {
            None => true,
            Some(Fate::Left) => matches!(fate, Fate::No | Fate::Maybe | Fate::Unsaid),
            Some(_) => false,
        };
        if !may_be {
            judgement
                .wrong(Name { partition, number }, format_args!("{before:?} was said, and then {fate:?}"));
        }
    }
    let mut places: HashMap<u64, Vec<i64>> = HashMap::new();
    let mut last = None;
    for (offset, name) in log {
        judgement.there += 1;
        let Some(name) = name.filter(|name| name.partition == partition && said.contains_key(&name.number))
        else {
            let name = name.unwrap_or(Name { partition, number: u64::MAX });
            judgement.wrong(name, format_args!("what is at offset {offset} was not offered"));
            continue;
        };
        places.entry(name.number).or_default().push(*offset);
        if matches!(said[&name.number], Fate::Delivered(_) | Fate::Left) {
            judgement.out_of_order += u64::from(last.is_some_and(|last| last > name.number));
            last = last.max(Some(name.number));
        }
    }
    for number in 0..said.keys().max().map_or(0, |last| last + 1) {
        let name = Name { partition, number };
        let there = places.get(&number).map_or(&[][..], Vec::as_slice);
        let Some(fate) = said.get(&number) else {
            judgement.wrong(name, "nothing was said");
            continue;
        };
        let is_so = match fate {
            Fate::Delivered(offset) => {
                judgement.delivered += 1;
                there.len() == 1 && offset.is_none_or(|offset| offset == there[0])
            }
            Fate::Left => {
                judgement.delivered += 1;
                there.len() == 1
            }
            Fate::No => {
                judgement.no += 1;
                there.is_empty()
            }
            Fate::Rejected => {
                judgement.rejected += 1;
                there.is_empty()
            }
            Fate::Maybe => {
                judgement.maybe += 1;
                judgement.maybe_there += there.len().min(1) as u64;
                there.len() <= 1
            }
            Fate::Unsaid => false,
        };
        if !is_so {
            judgement.wrong(name, format_args!("{fate:?} was said, and it is at {there:?}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is judged of these fates, where the log has the records of these numbers from offset 0 on.
    fn check(said: &[(u64, Fate)], log: &[u64]) -> Judgement {
        let mut judgement = Judgement::default();
        let log: Vec<_> =
            (0..).zip(log).map(|(at, number)| (at, Some(Name { partition: 3, number: *number }))).collect();
        compare(&mut judgement, 3, said.iter().copied(), &log);
        judgement
    }

    #[test]
    fn what_is_so_is_not_wrong() {
        let judged = check(
            &[
                (0, Fate::Delivered(Some(0))),
                (1, Fate::Left),
                (2, Fate::No),
                (3, Fate::Maybe),
                (4, Fate::Maybe),
                (5, Fate::Left),
                (5, Fate::No),
                (6, Fate::Rejected),
                (7, Fate::Delivered(None)),
            ],
            &[0, 1, 4, 7],
        );
        let Judgement { delivered, no, maybe, maybe_there, rejected, there, .. } = judged;
        assert_eq!((delivered, no, maybe, maybe_there, rejected, there), (3, 2, 2, 1, 1, 4));
        assert_eq!((judged.accepted(), judged.wrong, judged.out_of_order), (7, 0, 0), "{judged:?}");
    }

    #[test]
    fn what_is_not_so_is_wrong() {
        const AT_0: Fate = Fate::Delivered(Some(0));
        const AT_1: Fate = Fate::Delivered(Some(1));
        type Case = (&'static [(u64, Fate)], &'static [u64], &'static str);
        let cases: [Case; 12] = [
            (&[(0, AT_0)], &[], "lost"),
            (&[(0, AT_0)], &[0, 0], "twice"),
            (&[(0, AT_1)], &[0], "elsewhere"),
            (&[(0, Fate::Left)], &[], "lost without a word"),
            (&[(0, Fate::Left)], &[0, 0], "left, and twice"),
            (&[(0, Fate::No)], &[0], "there all the same"),
            (&[(0, Fate::Rejected)], &[0], "not accepted, and there"),
            (&[(0, Fate::Maybe)], &[0, 0], "perhaps, and twice"),
            (&[(0, Fate::Unsaid)], &[], "failed without a word of the log"),
            (&[(1, Fate::No)], &[], "nothing was said of the one before"),
            (&[(0, Fate::No), (0, Fate::Maybe)], &[], "said twice"),
            (&[], &[0], "never offered"),
        ];
        for (said, log, what) in cases {
            let judged = check(said, log);
            assert_eq!((judged.wrong, judged.described.len()), (1, 1), "{what}: {judged:?}");
        }
    }

    #[test]
    fn what_is_out_of_order_is_counted() {
        let all = [0, 1, 2, 3].map(|number| (number, Fate::Delivered(None)));
        assert_eq!(check(&all, &[0, 2, 1, 3]).out_of_order, 1);
        assert_eq!(check(&all, &[0, 1, 2, 3]).out_of_order, 0);
        let perhaps = [(0, Fate::Maybe), (1, Fate::Delivered(None))];
        assert_eq!(check(&perhaps, &[1, 0]).out_of_order, 0, "nobody was told that it is there");
    }
}
