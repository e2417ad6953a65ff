//! What a step of a state machine wants done.

/// A request that waits for its answer: the caller's own number for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// What is to be done after a step, in this order: all of `changes` is made durable at once, behind those of
/// earlier steps of the group; then each of `answers` is given, and never before.
///
/// Where the changes cannot be made durable, the caller forgets the group, refuses the answers, and begins
/// again from what is stored: a state machine never has to take a step back.
#[derive(Debug, PartialEq)]
pub struct Effects<C, A> {
    /// What must be durable.
    pub changes: Vec<C>,
    /// Who is to be told what then.
    pub answers: Vec<(Token, A)>,
}

impl<C, A> Effects<C, A> {
    /// Adds an answer.
    pub fn answer(&mut self, token: Token, answer: A) {
        self.answers.push((token, answer));
    }

    /// Adds a change.
    pub fn change(&mut self, change: C) {
        self.changes.push(change);
    }
}

impl<C, A> Default for Effects<C, A> {
    fn default() -> Self {
        Self { changes: Vec::new(), answers: Vec::new() }
    }
}
