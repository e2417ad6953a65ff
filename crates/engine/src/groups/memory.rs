//! The memory of groups: a part of what responses and groups share.
//!
//! Groups may hold three quarters of that memory, which they take in large pieces. What responses hold is theirs until
//! they are written, and a step of a group cannot wait for that: a request that makes a group grow is refused when there
//! is no more to be had, and told to come back where more was asked for.

use ottla_storage::{Budget, Reservation};

/// How much is asked for at a time, and how much of it may be unused before it is given back.
const PIECE: usize = 1 << 20;

/// What groups hold, and what they may.
#[derive(Debug)]
pub(super) struct Share {
    pool: Budget,
    max: usize,
    held: usize,
    granted: Option<Reservation>,
    /// A piece was asked for.
    is_asking: bool,
}

/// Why a group may not grow.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Short {
    /// More was asked for, and will be there.
    ForNow,
    /// Groups hold all that they may.
    Full,
}

impl Share {
    /// A part of `pool`.
    pub(super) fn new(pool: Budget) -> Self {
        Self { max: pool.total() / 4 * 3, pool, held: 0, granted: None, is_asking: false }
    }

    /// Whether so much more may be held: takes it from the pool where nobody has to be waited for. What brings nothing
    /// may always be done, also where groups have grown past their part by what the broker assigns to them.
    ///
    /// # Errors
    /// See [`Short`].
    pub(super) fn check(&mut self, more: usize) -> Result<(), Short> {
        let wanted = self.held + more;
        if more == 0 || wanted <= self.granted_bytes() {
            return Ok(());
        }
        if wanted > self.max {
            return Err(Short::Full);
        }
        let piece = self.pool.try_reserve(self.missing(more)).ok_or(Short::ForNow)?;
        self.take(piece);
        Ok(())
    }

    /// A group holds so much, where it held `before`.
    pub(super) fn change(&mut self, before: usize, now: usize) {
        self.held = self.held.saturating_sub(before) + now;
        if let Some(granted) = &mut self.granted {
            // Half of what may be unused stays, so that it is not asked for again at once.
            if granted.bytes() > self.held + 4 * PIECE {
                granted.shrink(self.held + 2 * PIECE);
            }
        }
    }

    /// What to wait for, if more is needed: [`Share::grant`] takes it.
    pub(super) fn ask(&mut self, more: usize) -> Option<impl Future<Output = Option<Reservation>> + use<>> {
        let missing = self.missing(more);
        if self.is_asking || missing == 0 {
            return None;
        }
        self.is_asking = true;
        let pool = self.pool.clone();
        Some(async move { pool.reserve(missing).await })
    }

    /// Takes what was asked for.
    pub(super) fn grant(&mut self, piece: Option<Reservation>) {
        self.is_asking = false;
        piece.into_iter().for_each(|piece| self.take(piece));
    }

    /// Whether groups hold more than was granted.
    pub(super) fn is_short(&self) -> bool {
        self.granted_bytes() < self.held.min(self.max)
    }

    fn take(&mut self, piece: Reservation) {
        match &mut self.granted {
            Some(granted) => granted.merge(piece),
            granted @ None => *granted = Some(piece),
        }
    }

    /// What is to be had besides, to hold so much more and a piece to grow into.
    fn missing(&self, more: usize) -> usize {
        (self.held + more + PIECE).min(self.max).saturating_sub(self.granted_bytes())
    }

    fn granted_bytes(&self) -> usize {
        self.granted.as_ref().map_or(0, Reservation::bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_grow_and_never_past_their_part() {
        let pool = Budget::new(16 * PIECE);
        let mut share = Share::new(pool.clone());
        assert_eq!(share.check(PIECE), Ok(()));
        assert_eq!(pool.free(), 14 * PIECE);
        share.change(0, PIECE);
        assert_eq!(share.check(11 * PIECE + 1), Err(Short::Full));
        assert_eq!(share.check(11 * PIECE), Ok(()));
        assert_eq!(pool.free(), 4 * PIECE);
        share.change(PIECE, 12 * PIECE);
        assert!(!share.is_short() && share.ask(PIECE).is_none());
        share.change(12 * PIECE, 0);
        assert_eq!(pool.free(), 14 * PIECE);
    }

    #[test]
    fn who_brings_nothing_is_never_refused() {
        let mut share = Share::new(Budget::new(16 * PIECE));
        share.change(0, 13 * PIECE);
        assert_eq!((share.check(1), share.check(0)), (Err(Short::Full), Ok(())));
    }

    #[tokio::test]
    async fn what_responses_hold_is_waited_for() {
        let pool = Budget::new(16 * PIECE);
        let responses = pool.try_reserve(16 * PIECE).unwrap();
        let mut share = Share::new(pool);
        assert_eq!(share.check(10), Err(Short::ForNow));
        let asked = tokio::spawn(share.ask(10).unwrap());
        assert!(share.ask(10).is_none(), "once is enough");
        drop(responses);
        share.grant(asked.await.unwrap());
        assert_eq!(share.check(10), Ok(()));
    }

    #[tokio::test]
    async fn what_was_not_asked_for_is_made_up_for() {
        let mut share = Share::new(Budget::new(16 * PIECE));
        share.change(0, 3 * PIECE);
        assert!(share.is_short());
        let asked = share.ask(0).unwrap().await;
        share.grant(asked);
        assert!(!share.is_short());
    }
}
