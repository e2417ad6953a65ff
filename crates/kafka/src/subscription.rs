//! What members of classic groups say to each other, as far as the broker looks into it: the topics that a consumer
//! subscribes to.

use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::{Message, Reader, messages::consumer_protocol::ConsumerProtocolSubscription};

/// The names of the topics in what a member of protocol type `consumer` says when it joins; `None` where that cannot
/// be read. Topics come first in every version, and some clients leave out what theirs has besides: so all are read
/// as version 0.
pub fn subscription_topics(metadata: &[u8]) -> Option<Vec<Arc<str>>> {
    let (version, message) = metadata.split_first_chunk()?;
    if i16::from_be_bytes(*version) < 0 {
        return None;
    }
    let message = Bytes::copy_from_slice(message);
    let subscription = ConsumerProtocolSubscription::decode(&mut Reader::new(&message), 0).ok()?;
    Some(subscription.topics.iter().map(|topic| Arc::from(topic.as_str())).collect())
}

#[cfg(test)]
mod tests {
    use ottla_protocol::messages::consumer_protocol::{ConsumerProtocol, TopicPartition};

    use super::*;

    fn subscription() -> ConsumerProtocolSubscription {
        ConsumerProtocolSubscription {
            topics: vec!["orders".into(), "payments".into()],
            user_data: Some(Bytes::from_static(b"data")),
            ..ConsumerProtocolSubscription::default()
        }
    }

    fn check(metadata: &[u8], expected: Option<&[&str]>) {
        let topics = subscription_topics(metadata);
        let topics: Option<Vec<&str>> = topics.as_ref().map(|topics| topics.iter().map(|it| &**it).collect());
        assert_eq!(topics.as_deref(), expected);
    }

    #[test]
    fn every_version_tells_its_topics() {
        for version in ConsumerProtocolSubscription::VERSIONS {
            let mut subscription = subscription();
            if version >= 1 {
                let partitions = vec![0, 3];
                let owned =
                    TopicPartition { topic: "orders".into(), partitions, ..TopicPartition::default() };
                subscription.owned_partitions = vec![owned];
            }
            let bytes = subscription.to_versioned_bytes(version).unwrap();
            check(&bytes, Some(&["orders", "payments"]));
        }
    }

    #[test]
    fn what_a_version_lacks_and_what_it_has_besides_does_not_matter() {
        let mut bytes = subscription().to_versioned_bytes(0).unwrap().to_vec();
        bytes[1] = 1;
        check(&bytes, Some(&["orders", "payments"]));
        bytes[..2].copy_from_slice(&i16::MAX.to_be_bytes());
        bytes.extend_from_slice(b"of the future");
        check(&bytes, Some(&["orders", "payments"]));
    }

    #[test]
    fn what_is_no_subscription_has_no_topics() {
        let bytes = subscription().to_versioned_bytes(0).unwrap();
        for len in 0..bytes.len() - 4 {
            check(&bytes[..len], None);
        }
        check(&[&(-1_i16).to_be_bytes()[..], &bytes[2..]].concat(), None);
        check(&[0, 0, 0xff, 0xff, 0xff, 0xff], None);
        check(&[0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0], None);
        check(&[0, 0, 0, 0, 0, 1, 0, 1, 0xff, 0, 0, 0, 0], None);
    }
}
