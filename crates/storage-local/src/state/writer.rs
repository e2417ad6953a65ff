//! The threads of the state database: the writer, to which every request goes, and the one that makes
//! checkpoints.
//!
//! The writer takes all requests that wait, and those that come while it works on them, and puts them into one
//! transaction, so that they share one sync. Where one of them is refused, all is done again with each in a
//! savepoint of its own, so that it does not spoil its neighbours: refusals are rare, and savepoints would cost
//! every request as much as its own work. Nobody is answered before the commit has returned.

use std::sync::mpsc::{Receiver, Sender};

use ottla_storage::StateStoreError;
use rusqlite::{Connection, config::DbConfig};
use tokio::sync::oneshot;

use super::error::Trouble;
use crate::faults::Faults;

/// Most requests in one transaction.
const BATCH: usize = 1024;
/// Frames of the -wal file, one page each, from which on a checkpoint is made: 4 MiB.
const CHECKPOINT_FRAMES: i64 = 1024;
/// A -wal file of so many is copied by the writer itself: a checkpoint that runs beside a busy writer never
/// reaches the end, and only from there can the file be written from its beginning again.
const URGENT_FRAMES: i64 = 4 * CHECKPOINT_FRAMES;

/// A request on its way through the writer.
pub(super) trait Job: Send {
    /// Does it inside of a transaction and keeps the result. It may be done again after a rollback.
    fn run(&mut self, db: &Connection) -> Result<(), Trouble>;

    /// Keeps what went wrong instead of a result.
    fn fail(&mut self, trouble: Trouble);

    /// Tells who asked.
    fn answer(self: Box<Self>);
}

/// A request that `work` does.
pub(super) struct Request<T, W> {
    pub(super) work: W,
    pub(super) result: Option<Result<T, Trouble>>,
    pub(super) answer: oneshot::Sender<Result<T, StateStoreError>>,
}

impl<T, W> Job for Request<T, W>
where
    T: Send,
    W: FnMut(&Connection) -> Result<T, Trouble> + Send,
{
    fn run(&mut self, db: &Connection) -> Result<(), Trouble> {
        self.result = Some(Ok((self.work)(db)?));
        Ok(())
    }

    fn fail(&mut self, trouble: Trouble) {
        self.result = Some(Err(trouble));
    }

    fn answer(self: Box<Self>) {
        if let Some(result) = self.result {
            // Who asked may have gone.
            let _ = self.answer.send(result.map_err(|trouble| trouble.answer()));
        }
    }
}

/// The writer's own.
pub(super) struct Writer {
    pub(super) db: Connection,
    pub(super) jobs: Receiver<Box<dyn Job>>,
    pub(super) checkpointer: Sender<()>,
    pub(super) faults: Faults,
}

impl Writer {
    /// Runs until nobody can ask any more, or the database fails.
    pub(super) fn run(self) {
        while let Ok(first) = self.jobs.recv() {
            let mut batch = vec![first];
            batch.extend(self.jobs.try_iter().take(BATCH - 1));
            let done = self.do_batch(&mut batch);
            self.end(&mut batch, done);
            if let Some(fault) = self.faults.first() {
                batch.iter_mut().for_each(|job| job.fail(Trouble::Fatal(fault.to_string())));
            }
            batch.into_iter().for_each(Job::answer);
            if self.faults.first().is_some() {
                break;
            }
            self.look_at_wal();
        }
        close(self.db, &self.faults);
    }

    /// Does these and what comes meanwhile, all together if possible. What is returned went wrong with all of
    /// them.
    fn do_batch(&self, batch: &mut Vec<Box<dyn Job>>) -> Result<(), Trouble> {
        if self.faults.first().is_some() {
            return Ok(());
        }
        self.execute("BEGIN IMMEDIATE")?;
        match self.commit(|| self.all_or_none(batch)) {
            Err(Trouble::Refused(_) | Trouble::Full) if batch.len() > 1 => self.do_each(batch),
            done => done,
        }
    }

    /// Does all but those that are refused or, where the disk is full, those for which there is room.
    fn do_each(&self, batch: &mut [Box<dyn Job>]) -> Result<(), Trouble> {
        self.execute("BEGIN IMMEDIATE")?;
        match self.commit(|| self.each_for_itself(batch)) {
            Err(Trouble::Full) if batch.len() > 1 => {
                for single in batch.chunks_mut(1) {
                    match self.do_each(single) {
                        Err(fatal @ Trouble::Fatal(_)) => return Err(fatal),
                        done => self.end(single, done),
                    }
                }
                Ok(())
            }
            done => done,
        }
    }

    /// Notes what went wrong with all of these.
    fn end(&self, batch: &mut [Box<dyn Job>], done: Result<(), Trouble>) {
        match done {
            Ok(()) => {}
            Err(Trouble::Fatal(error)) => report(&self.faults, &error),
            Err(trouble) => batch.iter_mut().for_each(|job| job.fail(trouble.clone())),
        }
    }

    /// Does something in the transaction that was begun, and ends it. The work is durable when this returns;
    /// none of it is left where something failed.
    fn commit(&self, work: impl FnOnce() -> Result<(), Trouble>) -> Result<(), Trouble> {
        let done = work().and_then(|()| self.execute("COMMIT"));
        // SQLite ends the transaction by itself after some errors.
        if done.is_err() && !self.db.is_autocommit() {
            self.execute("ROLLBACK")?;
        }
        done
    }

    /// Does the requests of the batch and those that come meanwhile.
    fn all_or_none(&self, batch: &mut Vec<Box<dyn Job>>) -> Result<(), Trouble> {
        let mut done = 0;
        loop {
            for job in batch.iter_mut().skip(done) {
                job.run(&self.db)?;
            }
            done = batch.len();
            batch.extend(self.jobs.try_iter().take(BATCH - done));
            if batch.len() == done {
                return Ok(());
            }
        }
    }

    fn each_for_itself(&self, batch: &mut [Box<dyn Job>]) -> Result<(), Trouble> {
        for job in batch {
            self.execute("SAVEPOINT request")?;
            match job.run(&self.db) {
                Ok(()) => {}
                Err(refused @ Trouble::Refused(_)) => {
                    self.execute("ROLLBACK TO request")?;
                    job.fail(refused);
                }
                Err(trouble) => return Err(trouble),
            }
            self.execute("RELEASE request")?;
        }
        Ok(())
    }

    fn execute(&self, sql: &str) -> Result<(), Trouble> {
        self.db.prepare_cached(sql)?.execute([])?;
        Ok(())
    }

    /// Has a checkpoint made when the -wal file has grown.
    fn look_at_wal(&self) {
        let done = frames(&self.db, "PRAGMA wal_checkpoint(NOOP)").and_then(|(written, copied)| {
            if written >= URGENT_FRAMES && copied < written {
                checkpoint(&self.db)?;
            } else if written - copied >= CHECKPOINT_FRAMES {
                // It ends after us.
                let _ = self.checkpointer.send(());
            }
            Ok(())
        });
        if let Err(Trouble::Fatal(error)) = done {
            report(&self.faults, &error);
        }
    }
}

/// Makes checkpoints when told to, until nobody can tell any more.
pub(super) fn run_checkpointer(db: Connection, wishes: &Receiver<()>, faults: &Faults) {
    while wishes.recv().is_ok() {
        // One checkpoint grants all wishes that are there.
        while wishes.try_recv().is_ok() {}
        if faults.first().is_some() {
            break;
        }
        if let Err(Trouble::Fatal(error)) = checkpoint(&db) {
            report(faults, &error);
        }
    }
    close(db, faults);
}

/// Copies what it can from the -wal file into the database, without making anybody wait. Where the disk is
/// full, or somebody looks at old rows, there will be another time.
fn checkpoint(db: &Connection) -> Result<(), Trouble> {
    frames(db, "PRAGMA wal_checkpoint(PASSIVE)").map(drop)
}

/// Runs a checkpoint pragma; how many frames the -wal file has then, and how many of them the database.
fn frames(db: &Connection, pragma: &str) -> Result<(i64, i64), Trouble> {
    Ok(db.prepare_cached(pragma)?.query_row([], |row| Ok((row.get(1)?, row.get(2)?)))?)
}

pub(super) fn report(faults: &Faults, error: &str) {
    faults.report(&format!("the state database failed: {error}"));
}

/// Closes a connection. The last one copies the -wal file into the database and removes it, but not after a
/// fault: what the disk really holds is not known then.
pub(super) fn close(db: Connection, faults: &Faults) {
    if faults.first().is_some()
        && let Err(error) = db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
    {
        tracing::warn!(%error, "the state database may be written to while it is closed after a fault");
    }
    if let Err((_, error)) = db.close() {
        tracing::warn!(%error, "the state database was not closed in order; the next start repairs that");
    }
}
