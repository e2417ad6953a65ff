//! A store in a directory of its own, driven as a network thread drives it.

#![allow(dead_code, reason = "each test uses what it needs")]

use std::{
    collections::HashSet,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use ottla_records::{BatchBuilder, BatchHeader, Batches, LogId, NewRecord, TimestampMs};
use ottla_storage::{
    AppendError, Appended, Appender, Clock, DeliveryReceiver, Disk, Log, LogSettings, Produced, ReadRequest,
    SeededRandom, Stamp, SystemClock, Ticket, conformance,
};
use ottla_storage_local::{
    GoneHandler, KnownLogs, LocalAppender, LocalLog, LogStore, OpenError, Options, RealDisk, World,
};

pub struct Store {
    pub store: LogStore,
    appender: LocalAppender,
    deliveries: DeliveryReceiver,
    pub faults: Arc<Mutex<Vec<String>>>,
}

/// A batch whose first record has this value, and the others none.
pub fn batch(value: &str, records: usize) -> Bytes {
    let mut builder = BatchBuilder::new();
    for i in 0..records {
        let value = (i == 0).then_some(value.as_bytes());
        builder
            .push(&NewRecord { timestamp: TimestampMs(1_000_000), key: None, value, headers: &[] })
            .unwrap();
    }
    builder.build().unwrap()
}

pub fn expected((offset, value, records): (i64, &str, usize)) -> (i64, String, usize) {
    (offset, value.to_owned(), records)
}

impl Store {
    pub fn open(dir: &Path, live: &[u64]) -> Self {
        let known = KnownLogs { live: live.iter().map(|id| LogId(*id)).collect(), deleting: HashSet::new() };
        Self::open_with(dir, &known).unwrap()
    }

    pub fn open_with(dir: &Path, known: &KnownLogs) -> Result<Self, OpenError> {
        let options = Options {
            arena_bytes: 16 << 20,
            wal_max: Some(64 << 20),
            retention_interval: Duration::from_millis(20),
            ..Options::default()
        };
        Self::on(Arc::new(RealDisk::probe(dir).unwrap()), dir, known, &options)
    }

    pub fn on(
        disk: Arc<dyn Disk>,
        root: &Path,
        known: &KnownLogs,
        options: &Options,
    ) -> Result<Self, OpenError> {
        Self::beside(disk, Arc::new(SystemClock::new()), root, known, options, Box::new(|_| {}))
    }

    /// With a clock, and with somebody who hears of each deleted log of which nothing is left.
    pub fn beside(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        root: &Path,
        known: &KnownLogs,
        options: &Options,
        gone: GoneHandler,
    ) -> Result<Self, OpenError> {
        let faults = Arc::new(Mutex::new(Vec::new()));
        let heard = faults.clone();
        let world = World {
            disk,
            clock,
            random: Arc::new(SeededRandom::new(1)),
            faults: Arc::new(move |fault: &str| heard.lock().unwrap().push(fault.to_owned())),
        };
        let store = LogStore::open(world, root, known, options, gone)?;
        let (appender, deliveries) = store.appender();
        Ok(Self { store, appender, deliveries, faults })
    }

    pub fn log(&self, id: u64) -> Arc<LocalLog> {
        self.store.open_log(LogId(id), LogSettings::default())
    }

    /// Appends, without waiting for the answer.
    pub fn start(&self, log: &Arc<LocalLog>, bytes: Bytes) -> Ticket {
        let header = BatchHeader::parse(&bytes).unwrap();
        self.appender.append(log, Produced { bytes, header, stamp: Stamp::Keep })
    }

    /// Waits for the answer.
    pub async fn finish(&mut self, mut ticket: Ticket) -> Result<Appended, AppendError> {
        loop {
            tokio::select! {
                biased;
                answer = &mut ticket => return answer,
                delivery = self.deliveries.recv() => {
                    for (sender, answer) in delivery.expect("the store lives").answers {
                        let _ = sender.send(answer);
                    }
                }
            }
        }
    }

    pub async fn append(&mut self, log: &Arc<LocalLog>, bytes: Bytes) -> Result<Appended, AppendError> {
        self.appender.ready(bytes.len()).await;
        let ticket = self.start(log, bytes);
        self.finish(ticket).await
    }

    /// Every batch of the log: offset, value of the first record, number of records.
    pub async fn read_all(&self, log: &Arc<LocalLog>) -> Vec<(i64, String, usize)> {
        self.try_read_all(log).await.unwrap()
    }

    pub async fn try_read_all(&self, log: &Arc<LocalLog>) -> Result<Vec<(i64, String, usize)>, String> {
        let mut found = Vec::new();
        let mut offset = log.bounds().log_start;
        while offset < log.bounds().high_watermark {
            let request = ReadRequest { offset, max_bytes: 1 << 20, at_least_one: true };
            let read = match log.read_now(request).map_err(|e| e.to_string())? {
                Some(read) => read,
                None => log.read(request).await.map_err(|e| e.to_string())?,
            };
            let before = offset;
            for batch in Batches::new(conformance::bytes(&read)) {
                let Ok(batch) = batch else { break };
                batch.check_crc().map_err(|e| format!("at {offset}: {e}"))?;
                let header = *batch.header();
                if header.next_offset() <= offset {
                    continue;
                }
                let first = batch.records().unwrap().next().unwrap().unwrap();
                let value = String::from_utf8(first.value.unwrap().to_vec()).unwrap();
                found.push((header.base_offset.0, value, header.record_count as usize));
                offset = header.next_offset();
            }
            if offset <= before {
                return Err(format!("reading at {before} got nowhere"));
            }
        }
        Ok(found)
    }

    pub async fn delete(&self, log: &Arc<LocalLog>) {
        self.store.delete_log(log).await.unwrap();
    }

    pub async fn wait_until(&self, condition: impl Fn() -> bool) {
        for _ in 0..6000 {
            if condition() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("it did not happen within a minute");
    }

    pub fn close(self) {
        self.try_close().unwrap();
    }

    pub fn try_close(self) -> Result<(), String> {
        self.store.close();
        self.faults.lock().unwrap().first().cloned().map_or(Ok(()), Err)
    }
}
