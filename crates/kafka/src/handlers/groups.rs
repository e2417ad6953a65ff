//! What the handlers of the group APIs share: who asks, ids of new members, and what is said of refusals.

use std::{collections::HashSet, fmt};

use ottla_engine::{Broker, groups::GroupError};
use ottla_protocol::{ErrorCode, Str};
use ottla_storage::{Random, Storage};
use tokio::sync::watch;

use crate::{context::Context, errors, memory::Held};

/// All operations on a group: read, delete, describe, describe and alter configurations.
const GROUP_OPERATIONS: i32 = 0b1101_0100_1000;

/// The longest text there is in the protocol, in bytes.
pub(super) const TEXT_MAX: usize = i16::MAX as usize;
/// The longest reason that is given.
const REASON_MAX: usize = 1000;

/// What a client is told that it may do with a group.
pub(super) fn operations(asked: bool) -> i32 {
    if asked { GROUP_OPERATIONS } else { super::OPERATIONS_UNKNOWN }
}

/// What a request names, each once: who names a thing again and again must not get an answer out of proportion.
pub(super) fn each_once(names: Vec<Str>) -> impl Iterator<Item = Str> {
    let mut seen = HashSet::new();
    names.into_iter().filter(move |name| seen.insert(name.clone()))
}

/// The code of a refusal. What is not the client's doing is logged too.
pub(super) fn code<S: Storage>(broker: &Broker<S>, what: &'static str, error: &GroupError) -> ErrorCode {
    if matches!(error, GroupError::Store(_) | GroupError::Unreadable(_)) {
        broker.notices().failed(what, error);
    }
    errors::group(error)
}

/// Where the client of a connection is, as Kafka writes it.
pub(super) fn client_host<S: Storage>(context: &Context<S>) -> String {
    format!("/{}", context.peer.ip().to_canonical())
}

/// A random UUID (version 4), as text.
pub(super) fn uuid(random: &dyn Random) -> String {
    let mut bytes = random.next_16();
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex = format!("{:032x}", u128::from_be_bytes(bytes));
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// Takes the memory for what is kept of a request that waits for other members, which may be long: its frame is let go
/// meanwhile. `None` where memory is short: a request that cannot say when it will be answered must not hold up the
/// frames of others, so its client is to try again.
pub(super) fn hold<S: Storage>(context: &Context<S>, bytes: usize) -> Option<Held> {
    let mut held = Held::default();
    context.memory.frames.try_grow(&mut held, bytes).then_some(held)
}

/// Waits for an answer that others decide on, or for the broker's stop, which must not wait for it.
pub(super) async fn unless_stopping<T>(
    mut stopping: watch::Receiver<bool>,
    answer: impl Future<Output = Result<T, GroupError>>,
) -> Result<T, GroupError> {
    tokio::select! {
        biased;
        answer = answer => answer,
        _ = stopping.wait_for(|stop| *stop) => Err(GroupError::Stopping),
    }
}

/// Why a request is refused, in so many words that there is room for them: they may repeat what the client said.
pub(super) fn reason(why: &dyn fmt::Display) -> Option<Str> {
    let mut why = why.to_string();
    if why.len() > REASON_MAX {
        why.truncate(why.floor_char_boundary(REASON_MAX));
        why.push('…');
    }
    Some(why.into())
}

/// An optional text of a response.
pub(super) fn text(text: Option<impl AsRef<str>>) -> Option<Str> {
    text.map(|text| text.as_ref().into())
}

#[cfg(test)]
mod tests {
    use ottla_storage::SeededRandom;

    use super::*;

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        assert_eq!(reason(&"no").as_deref(), Some("no"));
        let cut = reason(&format!("x{}", "ä".repeat(TEXT_MAX))).unwrap();
        assert_eq!(*cut, format!("x{}…", "ä".repeat((REASON_MAX - 1) / 2)));
    }

    #[test]
    fn an_id_is_a_uuid_of_version_4() {
        let random = SeededRandom::new(7);
        let (one, other) = (uuid(&random), uuid(&random));
        assert_ne!(one, other);
        for id in [one, other] {
            let lengths: Vec<_> = id.split('-').map(str::len).collect();
            assert_eq!(lengths, [8, 4, 4, 4, 12], "{id}");
            assert!(
                id.bytes().all(|b| b == b'-' || b.is_ascii_digit() || (b'a'..=b'f').contains(&b)),
                "{id}"
            );
            assert_eq!(&id[14..15], "4", "{id}");
            assert!(matches!(&id[19..20], "8" | "9" | "a" | "b"), "{id}");
        }
    }
}
