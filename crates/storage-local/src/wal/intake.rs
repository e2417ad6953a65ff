//! Where network threads leave batches for the WAL thread.
//!
//! Each network thread has an intake of its own: it copies a batch into the open piece of arena and notes the
//! append, both under the intake's lock; the WAL thread takes all of it at once when it begins a commit. A
//! piece with its appends is a [`Parcel`].

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, Thread},
};

use ottla_records::{BatchHeader, BatchMut};
use ottla_storage::{
    AppendError, Appender, BLOCK, Delivery, DeliveryReceiver, Produced, Stamp, Ticket, TicketSender,
};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::{
    arena::{Arena, Piece},
    log::LocalLog,
};

/// An append that waits for its commit.
#[derive(Debug)]
pub(crate) struct Append {
    pub(crate) log: Arc<LocalLog>,
    /// Where the batch begins in its piece.
    pub(crate) at: usize,
    pub(crate) header: BatchHeader,
    pub(crate) stamp: Stamp,
    pub(crate) ticket: TicketSender,
}

/// A piece of arena and the batches in it.
#[derive(Debug)]
pub(crate) struct Parcel {
    /// The appender it came through.
    pub(crate) appender: usize,
    /// As long as needed, up to the next block.
    pub(crate) piece: Piece,
    pub(crate) appends: Vec<Append>,
}

#[derive(Debug, Default)]
struct Filling {
    full: Vec<Parcel>,
    open: Option<Piece>,
    /// Bytes used in `open`.
    used: usize,
    appends: Vec<Append>,
    /// Why nothing is taken any more.
    closed: Option<AppendError>,
}

/// One network thread's intake.
#[derive(Debug)]
pub(crate) struct Intake {
    number: usize,
    filling: Mutex<Filling>,
    deliveries: mpsc::UnboundedSender<Delivery>,
}

impl Intake {
    /// Takes everything that has been left here.
    pub(crate) fn take(&self, into: &mut impl Extend<Parcel>) {
        let mut filling = self.filling.lock();
        self.seal(&mut filling, true);
        into.extend(filling.full.drain(..));
    }

    /// Whether there is something to take.
    pub(crate) fn has_work(&self) -> bool {
        let filling = self.filling.lock();
        !filling.full.is_empty() || !filling.appends.is_empty()
    }

    /// Sends answers to the network thread.
    pub(crate) fn deliver(&self, delivery: Delivery) {
        // A thread that has ended needs no answers.
        let _ = self.deliveries.send(delivery);
    }

    /// Takes no more; later appends are answered with `why`.
    pub(crate) fn close(&self, why: AppendError) {
        self.filling.lock().closed = Some(why);
    }

    /// Makes a parcel of the open piece. What it does not use stays open, if `keep_rest`.
    fn seal(&self, filling: &mut Filling, keep_rest: bool) {
        if filling.appends.is_empty() {
            return;
        }
        let Some(mut open) = filling.open.take() else { return };
        let used = filling.used;
        let mut piece = open.split_to(used.next_multiple_of(BLOCK));
        // What an earlier use left in the padding is not written to the disk again.
        piece.as_mut_slice()[used..].fill(0);
        if keep_rest && open.len() > 0 {
            filling.open = Some(open);
        }
        filling.used = 0;
        let appends = std::mem::take(&mut filling.appends);
        filling.full.push(Parcel { appender: self.number, piece, appends });
    }
}

/// A network thread's way of appending.
#[derive(Debug)]
pub struct LocalAppender {
    intake: Arc<Intake>,
    arena: Arena,
    doorbell: Arc<Doorbell>,
    /// The largest batch taken.
    max_batch: usize,
}

impl LocalAppender {
    /// An appender with this number, its intake, and where its answers arrive.
    pub(crate) fn new(
        number: usize,
        arena: Arena,
        doorbell: Arc<Doorbell>,
        max_batch: usize,
    ) -> (Self, Arc<Intake>, DeliveryReceiver) {
        let (deliveries, receiver) = mpsc::unbounded_channel();
        let intake = Arc::new(Intake { number, filling: Mutex::new(Filling::default()), deliveries });
        (Self { intake: intake.clone(), arena, doorbell, max_batch }, intake, receiver)
    }
}

impl Appender for LocalAppender {
    type Log = LocalLog;

    fn number(&self) -> usize {
        self.intake.number
    }

    async fn ready(&self, _bytes: usize) {
        self.arena.room().await;
    }

    fn append(&self, log: &Arc<LocalLog>, batch: Produced) -> Ticket {
        let (sender, ticket) = Ticket::new();
        let len = batch.bytes.len();
        let refused = if log.is_deleted() {
            Some(AppendError::Deleted)
        } else if len > self.max_batch {
            Some(AppendError::TooLarge { bytes: len, limit: self.max_batch })
        } else {
            self.leave(log, batch, sender).err()
        };
        match refused {
            None => {
                self.doorbell.ring();
                ticket
            }
            Some(error) => {
                let (sender, ticket) = Ticket::new();
                let _ = sender.send(Err(error));
                ticket
            }
        }
    }
}

impl LocalAppender {
    fn leave(&self, log: &Arc<LocalLog>, batch: Produced, ticket: TicketSender) -> Result<(), AppendError> {
        let len = batch.bytes.len();
        let mut filling = self.intake.filling.lock();
        if let Some(why) = &filling.closed {
            return Err(why.clone());
        }
        if filling.open.as_ref().is_none_or(|open| open.len() - filling.used < len) {
            self.intake.seal(&mut filling, false);
            filling.open = Some(self.arena.piece(len));
            filling.used = 0;
        }
        let at = filling.used;
        let mut header = batch.header;
        let Some(open) = filling.open.as_mut() else { return Ok(()) };
        let place = &mut open.as_mut_slice()[at..at + len];
        place.copy_from_slice(&batch.bytes);
        if batch.stamp != Stamp::Keep
            && let Ok(mut copied) = BatchMut::parse(place)
        {
            batch.stamp.apply(&mut copied);
            header = *copied.header();
        }
        filling.used += len;
        filling.appends.push(Append { log: log.clone(), at, header, stamp: batch.stamp, ticket });
        Ok(())
    }
}

/// Wakes the WAL thread when it sleeps, and costs nothing when it does not.
#[derive(Debug, Default)]
pub(crate) struct Doorbell {
    asleep: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Doorbell {
    /// There is work.
    pub(crate) fn ring(&self) {
        if self.asleep.swap(false, Ordering::SeqCst)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }

    /// Sleeps until the bell rings, unless there is work already. Only one thread may call this.
    pub(crate) fn sleep_unless(&self, has_work: impl Fn() -> bool) {
        self.thread.get_or_init(thread::current);
        self.asleep.store(true, Ordering::SeqCst);
        if has_work() {
            self.asleep.store(false, Ordering::SeqCst);
            return;
        }
        thread::park();
        self.asleep.store(false, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bell_that_rings_before_the_sleep_is_heard() {
        let bell = Arc::new(Doorbell::default());
        let work = Arc::new(AtomicBool::new(false));
        let ringer = {
            let (bell, work) = (bell.clone(), work.clone());
            thread::spawn(move || {
                work.store(true, Ordering::SeqCst);
                bell.ring();
            })
        };
        while !work.load(Ordering::SeqCst) {
            bell.sleep_unless(|| work.load(Ordering::SeqCst));
        }
        ringer.join().unwrap();
    }
}
