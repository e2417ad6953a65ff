//! Which APIs a broker has in which versions, by the version of Kafka that it stands for.
//!
//! The ranges begin where `ottla-protocol` does, which no client of the last ten years falls below.

use std::ops::RangeInclusive;

use ottla_protocol::ApiKey;

/// A version of Apache Kafka, as far as clients can tell it by the versions of the APIs.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum KafkaVersion {
    /// 2.1 (2018): no flexible versions, producer ids without a way to go on after an error.
    V2_1,
    /// 2.4 (2019): the first flexible versions (KIP-482) and partition errors of single records (KIP-467).
    V2_4,
    /// 2.8 (2021): topic ids in Metadata, CreateTopics and DeleteTopics (KIP-516), DescribeCluster (KIP-700).
    V2_8,
    /// 3.9 (2024): topic ids in Fetch (KIP-516), leaders named in errors (KIP-951).
    V3_9,
    /// 4.3: topic ids in Produce (KIP-516); Metadata may ask clients to begin anew (KIP-1102).
    #[default]
    V4_3,
}

impl KafkaVersion {
    /// All of them, from the oldest on.
    pub const ALL: [Self; 5] = [Self::V2_1, Self::V2_4, Self::V2_8, Self::V3_9, Self::V4_3];

    /// The versions of an API that a broker of this version advertises; `None` if it does not have the API, or if the
    /// cluster does not serve it.
    ///
    /// Produce begins at 0, as in every Kafka: librdkafka takes that for the sign that it may compress. The versions
    /// before 3 are not served.
    pub fn advertised(self, api: ApiKey) -> Option<RangeInclusive<i16>> {
        let (_, min, max) = TABLE.iter().find(|(key, ..)| *key == api)?;
        max[self as usize].map(|max| *min..=max)
    }

    pub(crate) fn served(self, api: ApiKey) -> Option<RangeInclusive<i16>> {
        let advertised = self.advertised(api)?;
        let min = if api == ApiKey::PRODUCE { PRODUCE_FROM } else { *advertised.start() };
        Some(min..=*advertised.end())
    }

    /// The APIs that a broker of this version has and the cluster serves, by their keys.
    pub fn apis(self) -> impl Iterator<Item = (ApiKey, RangeInclusive<i16>)> {
        TABLE.iter().filter_map(move |(key, ..)| Some((*key, self.advertised(*key)?)))
    }
}

/// The first version of Produce that is served.
const PRODUCE_FROM: i16 = 3;

/// The API, its first version, and its last one in each of [`KafkaVersion::ALL`].
type Row = (ApiKey, i16, [Option<i16>; 5]);

/// An API that every version has.
const fn all(key: ApiKey, min: i16, max: [i16; 5]) -> Row {
    (key, min, [Some(max[0]), Some(max[1]), Some(max[2]), Some(max[3]), Some(max[4])])
}

/// Ascending by key.
const TABLE: &[Row] = &[
    all(ApiKey::PRODUCE, 0, [7, 8, 9, 11, 13]),
    all(ApiKey::FETCH, 4, [10, 11, 12, 17, 18]),
    all(ApiKey::LIST_OFFSETS, 1, [4, 5, 6, 9, 11]),
    all(ApiKey::METADATA, 0, [7, 9, 11, 12, 13]),
    all(ApiKey::API_VERSIONS, 0, [2, 3, 3, 4, 4]),
    all(ApiKey::CREATE_TOPICS, 2, [3, 5, 7, 7, 7]),
    all(ApiKey::DELETE_TOPICS, 1, [3, 4, 6, 6, 6]),
    all(ApiKey::DELETE_RECORDS, 0, [1, 1, 2, 2, 2]),
    all(ApiKey::INIT_PRODUCER_ID, 0, [1, 2, 4, 5, 5]),
    all(ApiKey::OFFSET_FOR_LEADER_EPOCH, 2, [2, 3, 4, 4, 4]),
    all(ApiKey::DESCRIBE_CONFIGS, 1, [2, 2, 4, 4, 4]),
    all(ApiKey::ALTER_CONFIGS, 0, [1, 1, 2, 2, 2]),
    all(ApiKey::CREATE_PARTITIONS, 0, [1, 1, 3, 3, 3]),
    (ApiKey::INCREMENTAL_ALTER_CONFIGS, 0, [None, Some(1), Some(1), Some(1), Some(1)]),
    (ApiKey::DESCRIBE_CLUSTER, 0, [None, None, Some(0), Some(1), Some(2)]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_only_grow_and_the_newest_has_all() {
        for (api, _, max) in TABLE {
            assert!(max.windows(2).all(|pair| pair[0] <= pair[1]), "{api}");
            assert!(max[4].is_some(), "{api}");
        }
        assert!(TABLE.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert_eq!(KafkaVersion::V2_1.advertised(ApiKey::DESCRIBE_CLUSTER), None);
        assert_eq!(KafkaVersion::V2_1.advertised(ApiKey::FETCH), Some(4..=10));
        assert_eq!(KafkaVersion::default().served(ApiKey::PRODUCE), Some(3..=13));
    }
}
