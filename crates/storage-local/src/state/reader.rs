//! The thread that reads beside the writer: what it is asked need not wait for a transaction under way.
//!
//! It answers from what is durable. A snapshot begins after the requests that it serves were made, so that each
//! of them sees what was answered before.

use std::sync::mpsc::Receiver;

use rusqlite::Connection;

use super::{
    error::Trouble,
    writer::{Job, close, report},
};
use crate::faults::Faults;

/// Most requests that are served from one snapshot, which keeps the -wal file from beginning anew.
const BATCH: usize = 64;

/// Runs until nobody can ask any more, or the database fails.
pub(super) fn run_reader(db: Connection, jobs: &Receiver<Box<dyn Job>>, faults: &Faults) {
    while let Ok(first) = jobs.recv() {
        let mut batch = vec![first];
        batch.extend(jobs.try_iter().take(BATCH - 1));
        if faults.first().is_none()
            && let Err(trouble) = read(&db, &mut batch)
        {
            if let Trouble::Fatal(error) = &trouble {
                report(faults, error);
            }
            batch.iter_mut().for_each(|job| job.fail(trouble.clone()));
        }
        if let Some(fault) = faults.first() {
            batch.iter_mut().for_each(|job| job.fail(Trouble::Fatal(fault.to_string())));
        }
        batch.into_iter().for_each(Job::answer);
        if faults.first().is_some() {
            break;
        }
    }
    close(db, faults);
}

/// Does all of them in one snapshot.
fn read(db: &Connection, batch: &mut [Box<dyn Job>]) -> Result<(), Trouble> {
    let snapshot = db.unchecked_transaction()?;
    for job in batch {
        match job.run(&snapshot) {
            Ok(()) => {}
            Err(refused @ Trouble::Refused(_)) => job.fail(refused),
            Err(trouble) => return Err(trouble),
        }
    }
    Ok(snapshot.commit()?)
}
