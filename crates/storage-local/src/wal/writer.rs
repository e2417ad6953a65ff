//! The WAL thread: takes what the network threads left, gives it its order, makes it durable in one write,
//! and tells everybody.
//!
//! A commit begins as soon as the one before it has ended; at most one is in flight. What it has done to the
//! sequencer is taken back if the disk was full; if the write failed in any other way, nothing is known about
//! it, and the store stops.

use std::{collections::VecDeque, io::IoSlice, sync::Arc};

use ottla_records::{BatchMut, LogId, Offset};
use ottla_storage::{AppendError, Appended, Clock, Delivery, Log};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::{
    arena::Piece,
    faults::Faults,
    flusher::Flushes,
    log::{LocalLog, view::TailEntry},
    wal::{
        format::{AppendEntry, Entry, RecordHeader},
        intake::{Append, Doorbell, Intake, Parcel},
        ring::{NoRoom, Ring, WalFile, is_full, record_len},
        sequencer::{AppendState, Decision, Placed, Sequencer},
    },
};

/// About how many bytes of batches go into one record: larger ones would keep the first waiting, smaller ones
/// would cost more writes.
const COMMIT_BYTES: usize = 4 << 20;

/// What others ask of the WAL thread.
#[derive(Debug)]
pub(crate) enum Control {
    /// Make a later log start durable, then publish it.
    LogStart { log: Arc<LocalLog>, offset: Offset, done: oneshot::Sender<Result<(), AppendError>> },
    /// Forget a deleted log. Nothing is appended to it after the answer.
    Forget { log: LogId, done: oneshot::Sender<()> },
    /// Tell the append states of these logs. They contain what is durable and nothing else.
    States { logs: Vec<LogId>, answer: oneshot::Sender<Vec<(LogId, AppendState)>> },
    /// Forget producers that have been silent for longer than this.
    ExpireProducers { max_age_ms: i64 },
    /// Commit what is there and end.
    Stop,
}

#[derive(Debug, Default)]
struct Controls {
    waiting: Vec<Control>,
    /// The WAL thread has ended: whoever asks now is answered by his question being dropped.
    closed: bool,
}

/// The WAL thread's letter box.
#[derive(Debug, Default)]
pub(crate) struct WalInbox {
    intakes: Mutex<Vec<Arc<Intake>>>,
    controls: Mutex<Controls>,
    pub(crate) doorbell: Arc<Doorbell>,
}

impl WalInbox {
    /// Adds a network thread's intake, made by `make` with its number.
    pub(crate) fn add_intake<T>(&self, make: impl FnOnce(usize) -> (Arc<Intake>, T)) -> T {
        let mut intakes = self.intakes.lock();
        let (intake, rest) = make(intakes.len());
        intakes.push(intake);
        rest
    }

    /// Leaves a request.
    pub(crate) fn send(&self, control: Control) {
        let mut controls = self.controls.lock();
        if !controls.closed {
            controls.waiting.push(control);
            self.doorbell.ring();
        }
    }

    fn has_controls(&self) -> bool {
        !self.controls.lock().waiting.is_empty()
    }

    fn close(&self) {
        let mut controls = self.controls.lock();
        controls.closed = true;
        let unanswered = std::mem::take(&mut controls.waiting);
        drop((controls, unanswered));
    }

    fn has_work(&self) -> bool {
        self.has_controls() || self.intakes.lock().iter().any(|intake| intake.has_work())
    }
}

/// What the WAL thread works with.
pub(crate) struct WalThread {
    pub(crate) inbox: Arc<WalInbox>,
    pub(crate) ring: Arc<Ring>,
    /// Where record headers are made.
    pub(crate) head: Piece,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) flushes: Arc<Flushes>,
    pub(crate) faults: Faults,
    pub(crate) sequencer: Sequencer,
    pub(crate) next_lsn: u64,
    pub(crate) next_sequence: u64,
}

/// The file that is being written, and where its next record goes.
struct Active {
    file: Arc<WalFile>,
    position: u64,
}

/// A log start that is to become durable.
struct NewLogStart {
    log: Arc<LocalLog>,
    offset: Offset,
    done: oneshot::Sender<Result<(), AppendError>>,
}

/// A batch that has its place in the commit that is being made.
struct Placement {
    parcel: usize,
    append: Append,
    placed: Placed,
    /// From the start of the record.
    position: u32,
}

impl WalThread {
    /// Runs until it is told to stop, or a write fails.
    pub(crate) fn run(mut self) {
        let mut active = None;
        let mut backlog = VecDeque::new();
        let mut log_starts = Vec::new();
        let mut stopping = false;
        loop {
            let intakes = self.inbox.intakes.lock().clone();
            for intake in &intakes {
                intake.take(&mut backlog);
            }
            let controls = std::mem::take(&mut self.inbox.controls.lock().waiting);
            stopping |= self.obey(controls, &mut log_starts);
            if backlog.is_empty() && log_starts.is_empty() {
                if stopping {
                    let why = AppendError::Failed("it was shut down".into());
                    return self.refuse_all(&intakes, backlog, why);
                }
                let inbox = &self.inbox;
                inbox.doorbell.sleep_unless(|| inbox.has_work());
                continue;
            }
            let parcels = next_commit(&mut backlog);
            let done = match self.make_room(&mut active, &parcels, log_starts.len()) {
                Ok(()) => self.commit(&mut active, &intakes, parcels, std::mem::take(&mut log_starts)),
                Err(NoRoom::Later) => {
                    // The keeper may need an answer before it can free a file.
                    for parcel in parcels.into_iter().rev() {
                        backlog.push_front(parcel);
                    }
                    let (inbox, ring) = (&self.inbox, &self.ring);
                    inbox.doorbell.sleep_unless(|| inbox.has_controls() || !ring.must_wait());
                    Ok(())
                }
                Err(NoRoom::DiskFull) => {
                    refuse(&intakes, parcels, std::mem::take(&mut log_starts), &AppendError::DiskFull);
                    Ok(())
                }
                Err(NoRoom::Failed(error)) => {
                    let why: Arc<str> = error.to_string().into();
                    let failed = AppendError::Failed(why.clone());
                    refuse(&intakes, parcels, std::mem::take(&mut log_starts), &failed);
                    Err(why)
                }
            };
            if let Err(why) = done {
                self.ring.stop();
                self.faults.report(&format!("writing the write-ahead log failed: {why}"));
                return self.refuse_all(&intakes, backlog, AppendError::Failed(why));
            }
        }
    }

    /// Answers everything that is waiting or will come, and never writes again.
    fn refuse_all(self, intakes: &[Arc<Intake>], backlog: VecDeque<Parcel>, why: AppendError) {
        let mut parcels: Vec<Parcel> = backlog.into();
        for intake in intakes {
            intake.close(why.clone());
            intake.take(&mut parcels);
        }
        refuse(intakes, parcels, Vec::new(), &why);
        self.inbox.close();
    }

    /// Does what needs no write, keeps the log starts for the next one, and returns whether to stop.
    fn obey(&mut self, controls: Vec<Control>, log_starts: &mut Vec<NewLogStart>) -> bool {
        let mut stop = false;
        for control in controls {
            match control {
                Control::LogStart { log, offset, done } => log_starts.push(NewLogStart { log, offset, done }),
                Control::Forget { log, done } => {
                    self.sequencer.forget(log);
                    let _ = done.send(());
                }
                Control::States { logs, answer } => {
                    let states = logs.into_iter().filter_map(|log| Some((log, self.sequencer.state(log)?)));
                    let _ = answer.send(states.collect());
                }
                Control::ExpireProducers { max_age_ms } => {
                    self.sequencer.expire_producers(self.clock.wall(), max_age_ms);
                }
                Control::Stop => stop = true,
            }
        }
        stop
    }

    /// Makes one record of all this and writes it. `Err`: the store must stop, and everything in the commit
    /// has been answered.
    fn commit(
        &mut self,
        active: &mut Option<Active>,
        intakes: &[Arc<Intake>],
        mut parcels: Vec<Parcel>,
        log_starts: Vec<NewLogStart>,
    ) -> Result<(), Arc<str>> {
        let mut deliveries = deliveries_for(intakes);
        let Some(active) = active.as_mut() else { return Ok(()) };

        let mut placements = self.place(&mut parcels, &mut deliveries);
        // The row of a deleted log goes when no WAL file up to the one at its deletion is left: none after that
        // may name it.
        let (gone, log_starts): (Vec<_>, Vec<_>) =
            log_starts.into_iter().partition(|new| new.log.is_deleted());
        for new in gone {
            let _ = new.done.send(Err(AppendError::Deleted));
        }
        let mut entries: Vec<Entry> = Vec::with_capacity(placements.len() + log_starts.len());
        let header_len = RecordHeader::padded_len(placements.len() + log_starts.len());
        let starts = data_positions(header_len, &parcels);
        for placement in &mut placements {
            placement.position = starts[placement.parcel] + placement.append.at as u32;
            entries.push(Entry::Append(append_entry(placement)));
        }
        let starts = log_starts.iter().map(|new| Entry::LogStart { log: new.log.id(), offset: new.offset });
        entries.extend(starts);
        if entries.is_empty() {
            deliver(intakes, deliveries);
            return Ok(());
        }

        match self.write(active, header_len, &entries, &parcels) {
            Ok(record_at) => {
                self.sequencer.committed();
                self.publish(active, record_at, parcels, placements, &mut deliveries);
                for NewLogStart { log, offset, done } in log_starts {
                    log.with(|view| {
                        view.log_start = view.log_start.max(offset);
                        let log_start = view.log_start;
                        view.epochs.start_at(log_start);
                    });
                    // Before anything is written to a later file: the checkpoint that frees this one knows it.
                    self.flushes.mark_changed(&log);
                    let _ = done.send(Ok(()));
                }
                deliver(intakes, deliveries);
                Ok(())
            }
            Err(error) => {
                let full = is_full(&error);
                let why =
                    if full { AppendError::DiskFull } else { AppendError::Failed(error.to_string().into()) };
                for placement in placements.into_iter().rev() {
                    self.sequencer.undo(placement.append.log.id(), placement.placed);
                    let answers = &mut deliveries[parcels[placement.parcel].appender].answers;
                    answers.push((placement.append.ticket, Err(why.clone())));
                }
                // A duplicate's original may be in this very commit.
                let answers = deliveries.iter_mut().flat_map(|delivery| &mut delivery.answers);
                for answer in answers.filter(|answer| answer.1.is_ok()) {
                    answer.1 = Err(why.clone());
                }
                for new in log_starts {
                    let _ = new.done.send(Err(why.clone()));
                }
                deliver(intakes, deliveries);
                if full { Ok(()) } else { Err(error.to_string().into()) }
            }
        }
    }

    /// Sees to it that a record with all this fits behind the last one.
    fn make_room(
        &mut self,
        active: &mut Option<Active>,
        parcels: &[Parcel],
        log_starts: usize,
    ) -> Result<(), NoRoom> {
        let appends: usize = parcels.iter().map(|parcel| parcel.appends.len()).sum();
        let data: usize = parcels.iter().map(|parcel| parcel.piece.len()).sum();
        let record_len = record_len(appends + log_starts, data) as u64;
        let fits = |active: &Active| active.position + record_len <= active.file.header.file_len;
        if !active.as_ref().is_some_and(fits) {
            let file = self.ring.activate(record_len, self.next_sequence, self.next_lsn)?;
            self.next_sequence += 1;
            *active = Some(Active { file, position: ottla_storage::BLOCK as u64 });
        }
        Ok(())
    }

    /// Gives every batch its offsets, and writes them into it. What is refused or was there before is
    /// answered with the commit.
    fn place(&mut self, parcels: &mut [Parcel], deliveries: &mut [Delivery]) -> Vec<Placement> {
        let now = self.clock.wall();
        let mut placements = Vec::with_capacity(parcels.iter().map(|parcel| parcel.appends.len()).sum());
        for (index, parcel) in parcels.iter_mut().enumerate() {
            let answers = &mut deliveries[parcel.appender].answers;
            for append in std::mem::take(&mut parcel.appends) {
                if append.log.is_deleted() {
                    answers.push((append.ticket, Err(AppendError::Deleted)));
                    continue;
                }
                let stamp = append.stamp.append_time();
                match self.sequencer.append(append.log.id(), &append.header, stamp, now) {
                    Ok(Decision::Place(placed)) => {
                        let range = append.at..append.at + append.header.length;
                        if let Ok(mut batch) = BatchMut::parse(&mut parcel.piece.as_mut_slice()[range]) {
                            batch.set_base_offset(placed.base);
                            batch.set_leader_epoch(placed.epoch);
                        }
                        placements.push(Placement { parcel: index, append, placed, position: 0 });
                    }
                    Ok(Decision::Duplicate { base, append_time }) => {
                        let log_start = append.log.bounds().log_start;
                        let answer = Appended { base_offset: base, log_start, append_time, duplicate: true };
                        answers.push((append.ticket, Ok(answer)));
                    }
                    Err(error) => answers.push((append.ticket, Err(error))),
                }
            }
        }
        placements
    }

    /// Writes the record, and returns where it begins.
    fn write(
        &mut self,
        active: &mut Active,
        header_len: usize,
        entries: &[Entry],
        parcels: &[Parcel],
    ) -> std::io::Result<u64> {
        let data: usize = parcels.iter().map(|parcel| parcel.piece.len()).sum();
        let len = header_len + data;
        let header = RecordHeader {
            lsn: self.next_lsn,
            file_sequence: active.file.header.sequence,
            len: u32::try_from(len).map_err(|_| std::io::Error::other("a record is below 4 GiB"))?,
            entries: entries.len() as u32,
        };
        if self.head.len() < header_len {
            self.head = Piece::alone(header_len.next_power_of_two());
        }
        let head = &mut self.head.as_mut_slice()[..header_len];
        header.encode(active.file.header.salt, entries.iter(), head);
        let mut slices = Vec::with_capacity(1 + parcels.len());
        slices.push(IoSlice::new(head));
        slices.extend(parcels.iter().map(|parcel| IoSlice::new(parcel.piece.as_slice())));
        let at = active.position;
        active.file.file.write_all_at(&slices, at)?;
        active.position += len as u64;
        self.next_lsn += 1;
        Ok(at)
    }

    /// Shows what is durable now to readers, and prepares the answers.
    fn publish(
        &self,
        active: &Active,
        record_at: u64,
        parcels: Vec<Parcel>,
        placements: Vec<Placement>,
        deliveries: &mut [Delivery],
    ) {
        let (appenders, bytes): (Vec<_>, Vec<_>) =
            parcels.into_iter().map(|parcel| (parcel.appender, parcel.piece.freeze())).unzip();
        let mut new_bytes = 0;
        for Placement { parcel, append, placed, position } in placements {
            let header = &append.header;
            let entry = TailEntry {
                base: placed.base,
                next: Offset(placed.base.0 + i64::from(header.last_offset_delta) + 1),
                epoch: placed.epoch,
                max_timestamp: header.max_timestamp,
                bytes: Some(bytes[parcel].slice(append.at..append.at + header.length)),
                wal: active.file.clone(),
                at: record_at + u64::from(position),
                len: header.length as u32,
                crc: header.crc,
            };
            let log_start = append.log.with(|view| {
                view.push(entry);
                view.log_start
            });
            new_bytes += header.length;
            if append.log.queue() {
                self.flushes.touched(append.log.clone());
            }
            note_advance(&append.log, deliveries);
            let append_time = append.stamp.append_time();
            let answer = Appended { base_offset: placed.base, log_start, append_time, duplicate: false };
            deliveries[appenders[parcel]].answers.push((append.ticket, Ok(answer)));
        }
        self.flushes.grown(new_bytes);
    }
}

/// Answers all of this with an error.
fn refuse(intakes: &[Arc<Intake>], parcels: Vec<Parcel>, log_starts: Vec<NewLogStart>, why: &AppendError) {
    let mut deliveries = deliveries_for(intakes);
    for parcel in parcels {
        let answers = parcel.appends.into_iter().map(|append| (append.ticket, Err(why.clone())));
        deliveries[parcel.appender].answers.extend(answers);
    }
    for new in log_starts {
        let _ = new.done.send(Err(why.clone()));
    }
    deliver(intakes, deliveries);
}

/// Takes parcels from the front: as many as make a good commit, at least one.
fn next_commit(backlog: &mut VecDeque<Parcel>) -> Vec<Parcel> {
    let mut bytes = 0;
    let fits = |parcel: &&Parcel| {
        let first = bytes == 0;
        bytes += parcel.piece.len();
        first || bytes <= COMMIT_BYTES
    };
    let count = backlog.iter().take_while(fits).count();
    backlog.drain(..count).collect()
}

/// Where each parcel's bytes begin in the record.
fn data_positions(header_len: usize, parcels: &[Parcel]) -> Vec<u32> {
    let mut position = header_len;
    let next = |parcel: &Parcel| {
        let at = position as u32;
        position += parcel.piece.len();
        at
    };
    parcels.iter().map(next).collect()
}

fn append_entry(placement: &Placement) -> AppendEntry {
    let header = &placement.append.header;
    AppendEntry {
        log: placement.append.log.id(),
        base_offset: placement.placed.base,
        count: (header.last_offset_delta + 1).cast_unsigned(),
        epoch: placement.placed.epoch,
        position: placement.position,
        len: header.length as u32,
        crc: header.crc,
    }
}

fn note_advance(log: &LocalLog, deliveries: &mut [Delivery]) {
    let mut watchers = log.watchers();
    while watchers != 0 {
        let appender = watchers.trailing_zeros() as usize;
        watchers &= watchers - 1;
        if let Some(delivery) = deliveries.get_mut(appender)
            && delivery.advanced.last() != Some(&log.id())
        {
            delivery.advanced.push(log.id());
        }
    }
}

fn deliveries_for(intakes: &[Arc<Intake>]) -> Vec<Delivery> {
    intakes.iter().map(|_| Delivery::default()).collect()
}

fn deliver(intakes: &[Arc<Intake>], deliveries: Vec<Delivery>) {
    for (intake, delivery) in intakes.iter().zip(deliveries) {
        if !delivery.answers.is_empty() || !delivery.advanced.is_empty() {
            intake.deliver(delivery);
        }
    }
}
