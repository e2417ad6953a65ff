//! A fetch session with one broker (KIP-227): it is told once what is fetched, and then only what changes.

use std::collections::BTreeMap;

use ottla_protocol::ErrorCode;

use super::partition::{Key, Position};

/// The session epoch that asks for no session.
const NO_SESSION: i32 = -1;
/// The session epoch that asks for a new one.
const NEW_SESSION: i32 = 0;

/// A partition as a request asks for it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Want {
    pub(super) generation: u64,
    pub(super) position: Position,
    /// The leader epoch that is known; -1 for none.
    pub(super) leader_epoch: i32,
    pub(super) topic_id: [u8; 16],
}

impl Want {
    /// Whether a broker that was told the other fetches this.
    fn is_told_by(&self, other: &Self) -> bool {
        let told = |want: &Self| (want.position.offset, want.leader_epoch, want.topic_id);
        told(self) == told(other)
    }
}

/// What a session makes of a request.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Ask {
    pub(super) session_id: i32,
    pub(super) session_epoch: i32,
    /// The partitions to name, in this order.
    pub(super) named: Vec<Key>,
    /// Those to take out of the session, with the ids of their topics.
    pub(super) forgotten: Vec<(Key, [u8; 16])>,
}

/// The session with a broker; none at first.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// 0 for none.
    id: i32,
    /// Of the next request.
    epoch: i32,
    by_id: bool,
    /// What the broker was told to fetch.
    told: BTreeMap<Key, Want>,
}

impl Session {
    /// What to ask of a broker for these partitions and no others, by their topics' ids or names. `order` has the keys of
    /// `wanted`: who comes first is served first.
    pub(super) fn ask(&mut self, wanted: &BTreeMap<Key, Want>, order: Vec<Key>, by_id: bool) -> Ask {
        if self.id == 0 || self.by_id != by_id {
            // Naming the old one ends it.
            let ask =
                Ask { session_id: self.id, session_epoch: NEW_SESSION, named: order, forgotten: Vec::new() };
            *self = Self { id: 0, epoch: NEW_SESSION, by_id, told: wanted.clone() };
            return ask;
        }
        let is_told = |key: &Key| match (wanted.get(key), self.told.get(key)) {
            (Some(wanted), Some(told)) => wanted.is_told_by(told),
            _ => false,
        };
        let is_gone = |(key, told): &(&Key, &Want)| {
            wanted.get(key).is_none_or(|wanted| wanted.topic_id != told.topic_id)
        };
        let forgotten = self.told.iter().filter(is_gone).map(|(key, told)| (key.clone(), told.topic_id));
        let forgotten = forgotten.collect();
        let named = order.into_iter().filter(|key| !is_told(key)).collect();
        self.told.clone_from(wanted);
        Ask { session_id: self.id, session_epoch: self.epoch, named, forgotten }
    }

    /// Takes the head of an answer to what was asked last.
    ///
    /// # Errors
    /// The broker does not answer in this session: the next request begins a new one.
    pub(super) fn answered(&mut self, session_id: i32, error: ErrorCode) -> Result<(), ErrorCode> {
        if !error.is_none() {
            self.end();
            return Err(error);
        }
        if self.id == 0 {
            // The broker may have none to give.
            self.id = session_id;
            self.epoch = 1;
        } else if self.id == session_id {
            self.epoch = if self.epoch == i32::MAX { 1 } else { self.epoch + 1 };
        } else {
            self.end();
        }
        Ok(())
    }

    /// Nobody knows what the broker has heard: the next request begins a new session.
    pub(super) fn end(&mut self) {
        *self = Self::default();
    }

    /// What is asked outside of every session.
    pub(super) fn without(order: Vec<Key>) -> Ask {
        Ask { session_id: 0, session_epoch: NO_SESSION, named: order, forgotten: Vec::new() }
    }
}

/// Whether an error is about the session alone, so that the same can be asked again at once in a new one.
pub(super) fn is_of_session(error: ErrorCode) -> bool {
    matches!(
        error,
        ErrorCode::FETCH_SESSION_ID_NOT_FOUND
            | ErrorCode::INVALID_FETCH_SESSION_EPOCH
            | ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: [u8; 16] = [1; 16];

    fn key(partition: i32) -> Key {
        Key { topic: "orders".into(), partition }
    }

    fn wanted(partitions: &[(i32, i64)]) -> BTreeMap<Key, Want> {
        let want =
            |offset| Want { generation: 0, position: Position::at(offset), leader_epoch: 3, topic_id: ID };
        partitions.iter().map(|(partition, offset)| (key(*partition), want(*offset))).collect()
    }

    fn ask(session: &mut Session, wanted: &BTreeMap<Key, Want>) -> (i32, i32, Vec<i32>, Vec<i32>) {
        let ask = session.ask(wanted, wanted.keys().cloned().collect(), true);
        let forgotten = ask.forgotten.iter().map(|(key, _)| key.partition).collect();
        let named = ask.named.iter().map(|key| key.partition).collect();
        (ask.session_id, ask.session_epoch, named, forgotten)
    }

    #[test]
    fn only_what_changes_is_named() {
        let mut session = Session::default();
        assert_eq!(ask(&mut session, &wanted(&[(0, 5), (1, 6)])), (0, 0, vec![0, 1], vec![]));
        session.answered(77, ErrorCode::NONE).unwrap();
        assert_eq!(ask(&mut session, &wanted(&[(0, 5), (1, 9)])), (77, 1, vec![1], vec![]));
        session.answered(77, ErrorCode::NONE).unwrap();
        assert_eq!(ask(&mut session, &wanted(&[(1, 9), (2, 0)])), (77, 2, vec![2], vec![0]));
        session.answered(77, ErrorCode::NONE).unwrap();
        let mut anew = wanted(&[(1, 9), (2, 0)]);
        anew.values_mut().for_each(|want| want.topic_id = [2; 16]);
        assert_eq!(ask(&mut session, &anew), (77, 3, vec![1, 2], vec![1, 2]), "another topic of that name");
    }

    #[test]
    fn a_broker_without_sessions_to_give_is_told_all_each_time() {
        let mut session = Session::default();
        for _ in 0..2 {
            assert_eq!(ask(&mut session, &wanted(&[(0, 5)])), (0, 0, vec![0], vec![]));
            session.answered(0, ErrorCode::NONE).unwrap();
        }
    }

    #[test]
    fn a_session_that_is_lost_begins_anew() {
        for code in [ErrorCode::FETCH_SESSION_ID_NOT_FOUND, ErrorCode::INVALID_FETCH_SESSION_EPOCH] {
            let mut session = Session::default();
            ask(&mut session, &wanted(&[(0, 5)]));
            session.answered(77, ErrorCode::NONE).unwrap();
            ask(&mut session, &wanted(&[(0, 5)]));
            assert_eq!(session.answered(0, code), Err(code));
            assert_eq!(ask(&mut session, &wanted(&[(0, 5)])), (0, 0, vec![0], vec![]));
        }
        // From ids to names there is no way within a session; the old one is ended by name.
        let mut session = Session::default();
        ask(&mut session, &wanted(&[(0, 5)]));
        session.answered(77, ErrorCode::NONE).unwrap();
        let by_name = session.ask(&wanted(&[(0, 5)]), vec![key(0)], false);
        assert_eq!((by_name.session_id, by_name.session_epoch, by_name.named), (77, 0, vec![key(0)]));
    }
}
