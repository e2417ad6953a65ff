//! The byte budget: one number that bounds what the broker holds in memory.
//!
//! A [`Reservation`] gives its bytes back when it is dropped, so that no path can forget to. Waiting is fair:
//! a large reservation is not overtaken for ever by small ones.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

/// Bytes are counted in units of this size, so that budgets of terabytes fit the semaphore's counter.
const UNIT: usize = 64;

/// A bounded number of bytes that many tasks share.
#[derive(Clone, Debug)]
pub struct Budget {
    units: Arc<Semaphore>,
    total: usize,
}

impl Budget {
    /// A budget of `bytes`, rounded down to a multiple of 64.
    pub fn new(bytes: usize) -> Self {
        let units = (bytes / UNIT).min(Semaphore::MAX_PERMITS).min(u32::MAX as usize);
        Self { units: Arc::new(Semaphore::new(units)), total: units * UNIT }
    }

    /// The size of the budget in bytes.
    pub fn total(&self) -> usize {
        self.total
    }

    /// The bytes that nobody holds now.
    pub fn free(&self) -> usize {
        self.units.available_permits() * UNIT
    }

    /// Takes `bytes` if they are free now and nobody waits for them. More than the whole budget is never
    /// given.
    pub fn try_reserve(&self, bytes: usize) -> Option<Reservation> {
        match self.units.clone().try_acquire_many_owned(units_of(bytes)?) {
            Ok(permit) => Some(Reservation { permit, bytes }),
            Err(TryAcquireError::NoPermits | TryAcquireError::Closed) => None,
        }
    }

    /// Waits for `bytes`, first come, first served. `None` when they are more than the whole budget, which
    /// no waiting could satisfy.
    pub async fn reserve(&self, bytes: usize) -> Option<Reservation> {
        if bytes > self.total {
            return None;
        }
        let permit = self.units.clone().acquire_many_owned(units_of(bytes)?).await.ok()?;
        Some(Reservation { permit, bytes })
    }
}

fn units_of(bytes: usize) -> Option<u32> {
    u32::try_from(bytes.div_ceil(UNIT)).ok()
}

/// Bytes taken from a [`Budget`]; they go back when this is dropped.
#[derive(Debug)]
pub struct Reservation {
    permit: OwnedSemaphorePermit,
    bytes: usize,
}

impl Reservation {
    /// How many bytes are held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Gives back what is more than `bytes`.
    pub fn shrink(&mut self, bytes: usize) {
        if let Some(keep) = units_of(bytes) {
            let excess = self.permit.num_permits().saturating_sub(keep as usize);
            drop(self.permit.split(excess));
            self.bytes = self.bytes.min(bytes);
        }
    }

    /// Adds what `other`, of the same budget, holds to this one.
    ///
    /// # Panics
    /// If the two come from different budgets.
    pub fn merge(&mut self, other: Reservation) {
        self.bytes += other.bytes;
        self.permit.merge(other.permit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_free_again() {
        let budget = Budget::new(1024);
        let held = budget.try_reserve(1000).unwrap();
        assert!(budget.try_reserve(100).is_none());
        drop(held);
        assert_eq!(budget.free(), 1024);
        assert!(budget.try_reserve(1024).is_some());
    }

    #[test]
    fn what_is_given_back_early_is_free_before_the_rest() {
        let budget = Budget::new(1024);
        let mut held = budget.try_reserve(1000).unwrap();
        held.shrink(2000);
        assert_eq!((held.bytes(), budget.free()), (1000, 0));
        held.shrink(100);
        assert_eq!((held.bytes(), budget.free()), (100, 1024 - 128));
        drop(held);
        assert_eq!(budget.free(), 1024);
    }

    #[test]
    fn more_than_the_whole_is_never_given() {
        let budget = Budget::new(1024);
        assert!(budget.try_reserve(1025).is_none());
        assert!(budget.try_reserve(usize::MAX).is_none());
    }
}
