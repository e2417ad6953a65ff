//! The tables: every setting there is, once.
//!
//! Invariants, which the tests hold: [`TOPIC`] is Kafka 4.3.1's table of topic settings, complete, with its
//! types, defaults and valid values; a broker setting that gives topics their default has that topic setting's
//! type and default; every default passes its own checks. Kafka's broker settings are here as soon as Ottla
//! does what they say, and not before.

use std::iter;

use super::{
    error::SettingError,
    value::{Kind, Valid, Value},
};

/// A row of the tables.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Its name; Kafka's where Kafka has the setting.
    pub name: &'static str,
    /// Other names that mean the same.
    pub aliases: &'static [&'static str],
    /// Its type.
    pub kind: Kind,
    /// Its default as text; `None` where there is none, or it depends on the machine or other settings.
    pub default: Option<&'static str>,
    /// Which values of its type it may have.
    pub valid: Valid,
    /// For a topic setting: the broker settings that give its default in Kafka, the first one given counting.
    /// Those that end in `.hours` or `.minutes` have that unit, where the topic setting has milliseconds. Not
    /// all of them exist in [`BROKER`].
    pub broker: &'static [&'static str],
    /// Whether Kafka lets it be changed while the broker runs. Ottla reads the broker's settings at its start.
    pub dynamic: bool,
    /// Whether Ottla acts on it; else it is checked, stored and reported only.
    pub acts: bool,
    /// Whether it is accepted but never listed, as Kafka does with the settings of its own tests.
    pub internal: bool,
    /// What it does, for its user.
    pub doc: &'static str,
}

impl Setting {
    /// Its name and its aliases.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        iter::once(self.name).chain(self.aliases.iter().copied())
    }

    /// Reads and checks a value.
    ///
    /// # Errors
    /// [`SettingError::Invalid`] where it does not fit.
    pub fn parse(&self, text: &str) -> Result<Value, SettingError> {
        self.kind
            .parse(text)
            .and_then(|value| self.valid.check(&value).map(|()| value))
            .map_err(|demand| SettingError::Invalid { name: self.name, value: text.into(), demand })
    }

    /// The default, where it has one.
    pub fn default_value(&self) -> Option<Value> {
        self.default.and_then(|text| self.kind.parse(text).ok())
    }

    /// Finds a setting by its name or an alias.
    pub fn find(table: &'static [Setting], name: &str) -> Option<&'static Setting> {
        table.iter().find(|setting| setting.names().any(|it| it == name))
    }

    const fn new(name: &'static str, kind: Kind, default: Option<&'static str>) -> Self {
        Self {
            name,
            aliases: &[],
            kind,
            default,
            valid: Valid::Any,
            broker: &[],
            dynamic: false,
            acts: true,
            internal: false,
            doc: "",
        }
    }

    const fn aliases(self, aliases: &'static [&'static str]) -> Self {
        Self { aliases, ..self }
    }

    const fn valid(self, valid: Valid) -> Self {
        Self { valid, ..self }
    }

    const fn broker(self, broker: &'static [&'static str]) -> Self {
        Self { broker, ..self }
    }

    const fn dynamic(self) -> Self {
        Self { dynamic: true, ..self }
    }

    const fn stored_only(self) -> Self {
        Self { acts: false, ..self }
    }

    const fn internal(self) -> Self {
        Self { internal: true, ..self }
    }

    const fn doc(self, doc: &'static str) -> Self {
        Self { doc, ..self }
    }
}

const fn topic(name: &'static str, kind: Kind, default: &'static str) -> Setting {
    Setting::new(name, kind, Some(default)).dynamic()
}

const fn broker(name: &'static str, kind: Kind, default: &'static str) -> Setting {
    Setting::new(name, kind, Some(default))
}

const POLICIES: Valid = Valid::OneOf(&["compact", "delete"]);
const COMPRESSIONS: Valid = Valid::OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]);
const TIMESTAMP_TYPES: Valid = Valid::OneOf(&["CreateTime", "LogAppendTime"]);
const ASSIGNORS: Valid = Valid::OneOf(&["uniform", "range"]);
const FOREVER: &str = "9223372036854775807";
const MIB: i64 = 1 << 20;

/// The settings of a topic: all that Kafka 4.3.1 has, by name.
pub static TOPIC: &[Setting] = &[
    topic("cleanup.policy", Kind::List, "delete").valid(POLICIES).broker(&["log.cleanup.policy"]).doc(
        "What becomes of old records: `delete` lets retention delete whole segments, `compact` is to keep at \
         least the last record of each key. Compaction does not exist yet: a topic without `delete` keeps all \
         its records.",
    ),
    topic("compression.gzip.level", Kind::Int, "-1")
        .valid(Valid::BetweenOr(1, 9, -1))
        .broker(&["compression.gzip.level"])
        .stored_only()
        .doc("How hard gzip tries, where `compression.type` is `gzip`; -1 leaves it to the library."),
    topic("compression.lz4.level", Kind::Int, "9")
        .valid(Valid::Between(1, 17))
        .broker(&["compression.lz4.level"])
        .stored_only()
        .doc("How hard lz4 tries, where `compression.type` is `lz4`."),
    topic("compression.type", Kind::String, "producer")
        .valid(COMPRESSIONS)
        .broker(&["compression.type"])
        .stored_only()
        .doc(
            "How batches are stored: as the producer compressed them, or all in one way. Batches are stored as \
             they came for now, whatever it says.",
        ),
    topic("compression.zstd.level", Kind::Int, "3")
        .valid(Valid::Between(-131_072, 22))
        .broker(&["compression.zstd.level"])
        .stored_only()
        .doc("How hard zstd tries, where `compression.type` is `zstd`."),
    topic("delete.retention.ms", Kind::Long, "86400000")
        .valid(Valid::AtLeast(0))
        .broker(&["log.cleaner.delete.retention.ms"])
        .stored_only()
        .doc("How long a compacted topic keeps the markers of deleted keys, in milliseconds."),
    topic("file.delete.delay.ms", Kind::Long, "60000")
        .valid(Valid::AtLeast(0))
        .broker(&["log.segment.delete.delay.ms"])
        .stored_only()
        .doc(
            "How long Kafka leaves a deleted segment's files on disk, in milliseconds. Here they go at once: \
             whoever still reads one holds it open.",
        ),
    topic("flush.messages", Kind::Long, FOREVER)
        .valid(Valid::AtLeast(1))
        .broker(&["log.flush.interval.messages"])
        .stored_only()
        .doc(
            "After how many records Kafka forces a log to disk. Here every record is on disk before it is \
             acknowledged, so there is nothing to force.",
        ),
    topic("flush.ms", Kind::Long, FOREVER)
        .valid(Valid::AtLeast(0))
        .broker(&["log.flush.interval.ms", "log.flush.scheduler.interval.ms"])
        .stored_only()
        .doc(
            "After how many milliseconds Kafka forces a log to disk. Here every record is on disk before it is \
             acknowledged, so there is nothing to force.",
        ),
    topic("follower.replication.throttled.replicas", Kind::List, "")
        .valid(Valid::ThrottledReplicas)
        .stored_only()
        .doc("Which following replicas are throttled; one broker has none."),
    topic("index.interval.bytes", Kind::Int, "4096")
        .valid(Valid::AtLeast(0))
        .broker(&["log.index.interval.bytes"])
        .doc(
            "How many bytes of a segment lie between two entries of its offset index. Fewer find an offset \
             faster and make the index larger.",
        ),
    Setting::new("internal.segment.bytes", Kind::Int, None)
        .dynamic()
        .stored_only()
        .internal()
        .doc("What Kafka's own tests set for smaller segments than `segment.bytes` allows."),
    topic("leader.replication.throttled.replicas", Kind::List, "")
        .valid(Valid::ThrottledReplicas)
        .stored_only()
        .doc("Which leading replicas are throttled towards followers; one broker has none to serve."),
    topic("local.retention.bytes", Kind::Long, "-2")
        .valid(Valid::AtLeast(-2))
        .broker(&["log.local.retention.bytes"])
        .stored_only()
        .doc("How much of a tiered partition stays on local disk; there is no tiered storage."),
    topic("local.retention.ms", Kind::Long, "-2")
        .valid(Valid::AtLeast(-2))
        .broker(&["log.local.retention.ms"])
        .stored_only()
        .doc("How long the segments of a tiered partition stay on local disk; there is no tiered storage."),
    topic("max.compaction.lag.ms", Kind::Long, FOREVER)
        .valid(Valid::AtLeast(1))
        .broker(&["log.cleaner.max.compaction.lag.ms"])
        .stored_only()
        .doc("The longest that a record of a compacted topic may wait for compaction, in milliseconds."),
    topic("max.message.bytes", Kind::Int, "1048588")
        .valid(Valid::AtLeast(0))
        .broker(&["message.max.bytes"])
        .doc(
            "The largest record batch that is taken, in bytes, as it comes, compressed or not. A batch can \
             never be larger than a request may be.",
        ),
    topic("message.timestamp.after.max.ms", Kind::Long, "3600000")
        .valid(Valid::AtLeast(0))
        .broker(&["log.message.timestamp.after.max.ms"])
        .doc(
            "How far in the future a record's timestamp may lie, in milliseconds, where \
             `message.timestamp.type` is `CreateTime`.",
        ),
    topic("message.timestamp.before.max.ms", Kind::Long, FOREVER)
        .valid(Valid::AtLeast(0))
        .broker(&["log.message.timestamp.before.max.ms"])
        .doc(
            "How far in the past a record's timestamp may lie, in milliseconds, where \
             `message.timestamp.type` is `CreateTime`.",
        ),
    topic("message.timestamp.type", Kind::String, "CreateTime")
        .valid(TIMESTAMP_TYPES)
        .broker(&["log.message.timestamp.type"])
        .doc("Whether records keep the producer's timestamps or get the time of their append."),
    topic("min.cleanable.dirty.ratio", Kind::Double, "0.5")
        .valid(Valid::Between(0, 1))
        .broker(&["log.cleaner.min.cleanable.ratio"])
        .stored_only()
        .doc("How large a part of a compacted log has to be new before compaction looks at it."),
    topic("min.compaction.lag.ms", Kind::Long, "0")
        .valid(Valid::AtLeast(0))
        .broker(&["log.cleaner.min.compaction.lag.ms"])
        .stored_only()
        .doc("How long a record of a compacted topic is safe from compaction, in milliseconds."),
    topic("min.insync.replicas", Kind::Int, "1")
        .valid(Valid::AtLeast(1))
        .broker(&["min.insync.replicas"])
        .stored_only()
        .doc(
            "How many replicas must have a record before `acks=all` is answered. It counts as at most the \
             number of replicas, which is one on one broker.",
        ),
    topic("preallocate", Kind::Boolean, "false")
        .broker(&["log.preallocate"])
        .stored_only()
        .doc("Whether Kafka gives a new segment its full size on disk at once; segments grow here."),
    topic("remote.log.copy.disable", Kind::Boolean, "false")
        .stored_only()
        .doc("Whether a tiered topic stops copying to remote storage; there is no tiered storage."),
    topic("remote.log.delete.on.disable", Kind::Boolean, "false")
        .stored_only()
        .doc("Whether remote data goes when tiering is switched off; there is no tiered storage."),
    topic("remote.storage.enable", Kind::Boolean, "false")
        .stored_only()
        .doc("Whether the topic is tiered. There is no tiered storage, and `true` is refused."),
    topic("retention.bytes", Kind::Long, "-1").broker(&["log.retention.bytes"]).doc(
        "How much each partition keeps at least: its oldest whole segments are deleted while the rest holds \
         this many bytes. Negative keeps all; so does a `cleanup.policy` without `delete`.",
    ),
    topic("retention.ms", Kind::Long, "604800000")
        .valid(Valid::AtLeast(-1))
        .broker(&["log.retention.ms", "log.retention.minutes", "log.retention.hours"])
        .stored_only()
        .doc(
            "How long records are kept, in milliseconds, -1 being for ever. Retention by time does not exist \
             yet: records are kept whatever their age.",
        ),
    topic("segment.bytes", Kind::Int, "1073741824")
        .valid(Valid::AtLeast(MIB))
        .broker(&["log.segment.bytes"])
        .doc("How large a segment may grow before the next one is begun. Retention deletes whole segments."),
    topic("segment.index.bytes", Kind::Int, "10485760")
        .valid(Valid::AtLeast(4))
        .broker(&["log.index.size.max.bytes"])
        .stored_only()
        .doc("How large Kafka lets a segment's index grow; an index grows with its segment here."),
    topic("segment.jitter.ms", Kind::Long, "0")
        .valid(Valid::AtLeast(0))
        .broker(&["log.roll.jitter.ms", "log.roll.jitter.hours"])
        .stored_only()
        .doc("By how many milliseconds at most, at random, Kafka begins a new segment earlier."),
    topic("segment.ms", Kind::Long, "604800000")
        .valid(Valid::AtLeast(1))
        .broker(&["log.roll.ms", "log.roll.hours"])
        .doc(
            "How long a segment is appended to, in milliseconds, before the next one is begun, so that \
             retention can delete it.",
        ),
    topic("unclean.leader.election.enable", Kind::Boolean, "false")
        .broker(&["unclean.leader.election.enable"])
        .stored_only()
        .doc("Whether a replica that lags may become the leader; one broker has no other replica."),
];

/// The settings of the broker that exist here: Kafka's by name, then Ottla's own.
pub static BROKER: &[Setting] = &[
    broker("auto.create.topics.enable", Kind::Boolean, "true")
        .doc("Whether a topic that a producer or consumer asks for is created if it does not exist."),
    broker("connections.max.idle.ms", Kind::Long, "600000").doc(
        "After how many milliseconds without a request a connection is closed; negative keeps it \
         open for ever.",
    ),
    broker("default.replication.factor", Kind::Int, "1").valid(Valid::Between(1, 32_767)).doc(
        "The replication factor of topics that are created without one. What is above the number of brokers is \
         brought down to it, unless `strict.replication` is set.",
    ),
    broker("delete.topic.enable", Kind::Boolean, "true").doc("Whether topics may be deleted."),
    broker("fetch.max.bytes", Kind::Int, "57671680")
        .valid(Valid::AtLeast(1024))
        .doc("The most bytes of records that the answer to one fetch holds, whatever its client asks for."),
    broker("group.consumer.assignment.interval.ms", Kind::Int, "1000").valid(Valid::AtLeast(0)).dynamic().doc(
        "The least time from one target assignment of a KIP-848 group to the next, in milliseconds, so that members \
         that join one after the other are assigned to together. A group that was empty does not wait.",
    ),
    broker("group.consumer.assignors", Kind::List, "uniform,range").valid(ASSIGNORS).doc(
        "The assignors that members of KIP-848 groups may ask for. The first is taken where nobody asks for one.",
    ),
    broker("group.consumer.heartbeat.interval.ms", Kind::Int, "5000")
        .valid(Valid::AtLeast(1))
        .dynamic()
        .doc("How often members of KIP-848 groups are told to send heartbeats, in milliseconds."),
    broker("group.consumer.max.size", Kind::Int, "2147483647")
        .valid(Valid::AtLeast(1))
        .dynamic()
        .doc("How many members a KIP-848 group may have."),
    broker("group.consumer.session.timeout.ms", Kind::Int, "45000").valid(Valid::AtLeast(1)).dynamic().doc(
        "How long a member of a KIP-848 group may be silent, in milliseconds, before it counts as gone. More than \
         twice `group.consumer.heartbeat.interval.ms` forgives a lost heartbeat.",
    ),
    broker("group.initial.rebalance.delay.ms", Kind::Int, "0").valid(Valid::AtLeast(0)).doc(
        "How long a classic group that was empty waits for more members after the first has joined, in milliseconds. \
         Kafka's default is 3000, which spares a large service that starts some rebalances, and lets every single \
         consumer, console and test wait for three seconds. A rebalance here is a matter of milliseconds, so that \
         the default is not to wait; who starts hundreds of members at once sets Kafka's value.",
    ),
    broker("group.max.session.timeout.ms", Kind::Int, "1800000")
        .valid(Valid::AtLeast(0))
        .doc("The longest session time-out that a member of a classic group may ask for, in milliseconds."),
    broker("group.max.size", Kind::Int, "2147483647")
        .valid(Valid::AtLeast(1))
        .doc("How many members a classic group may have."),
    broker("group.min.session.timeout.ms", Kind::Int, "6000")
        .valid(Valid::AtLeast(0))
        .doc("The shortest session time-out that a member of a classic group may ask for, in milliseconds."),
    broker("log.index.interval.bytes", Kind::Int, "4096")
        .valid(Valid::AtLeast(0))
        .dynamic()
        .doc("The `index.interval.bytes` of topics that do not set it."),
    broker("log.message.timestamp.after.max.ms", Kind::Long, "3600000")
        .valid(Valid::AtLeast(0))
        .dynamic()
        .doc("The `message.timestamp.after.max.ms` of topics that do not set it."),
    broker("log.message.timestamp.before.max.ms", Kind::Long, FOREVER)
        .valid(Valid::AtLeast(0))
        .dynamic()
        .doc("The `message.timestamp.before.max.ms` of topics that do not set it."),
    broker("log.message.timestamp.type", Kind::String, "CreateTime")
        .valid(TIMESTAMP_TYPES)
        .dynamic()
        .doc("The `message.timestamp.type` of topics that do not set it."),
    broker("log.retention.bytes", Kind::Long, "-1")
        .dynamic()
        .doc("The `retention.bytes` of topics that do not set it; negative keeps all."),
    broker("log.retention.check.interval.ms", Kind::Long, "300000")
        .valid(Valid::AtLeast(1))
        .doc("How often the broker looks for segments that retention lets it delete, in milliseconds."),
    broker("log.roll.hours", Kind::Int, "168")
        .valid(Valid::AtLeast(1))
        .doc("The `segment.ms` of topics that do not set it, in hours, where `log.roll.ms` is not given."),
    Setting::new("log.roll.ms", Kind::Long, None)
        .valid(Valid::AtLeast(1))
        .dynamic()
        .doc("The `segment.ms` of topics that do not set it; by default what `log.roll.hours` says."),
    broker("log.segment.bytes", Kind::Int, "1073741824")
        .valid(Valid::AtLeast(MIB))
        .dynamic()
        .doc("The `segment.bytes` of topics that do not set it."),
    broker("log.segment.delete.delay.ms", Kind::Long, "60000")
        .valid(Valid::AtLeast(0))
        .dynamic()
        .stored_only()
        .doc("The `file.delete.delay.ms` of topics that do not set it."),
    broker("max.connections", Kind::Int, "2147483647")
        .valid(Valid::AtLeast(0))
        .dynamic()
        .doc("How many connections the broker holds at a time."),
    broker("max.incremental.fetch.session.cache.slots", Kind::Int, "1000")
        .valid(Valid::AtLeast(0))
        .doc("How many incremental fetch sessions (KIP-227) the broker remembers."),
    broker("message.max.bytes", Kind::Int, "1048588").valid(Valid::AtLeast(0)).dynamic().doc(
        "The `max.message.bytes` of topics that do not set it. It counts as at most \
         `socket.request.max.bytes`.",
    ),
    broker("min.insync.replicas", Kind::Int, "1")
        .valid(Valid::AtLeast(1))
        .dynamic()
        .stored_only()
        .doc("The `min.insync.replicas` of topics that do not set it."),
    broker("node.id", Kind::Int, "0")
        .valid(Valid::AtLeast(0))
        .aliases(&["broker.id"])
        .doc("The number by which clients know this broker."),
    Setting::new("num.network.threads", Kind::Int, None).valid(Valid::AtLeast(1)).doc(
        "How many threads serve connections; by default one fewer than the machine has cores, and at least one. \
         As many as cores serve many small requests up to a quarter faster where clients run on other machines, \
         and are slower where they share this one.",
    ),
    broker("num.partitions", Kind::Int, "1")
        .valid(Valid::AtLeast(1))
        .doc("How many partitions a topic gets that is created without saying how many."),
    broker("offset.metadata.max.bytes", Kind::Int, "4096")
        .valid(Valid::AtLeast(0))
        .doc("The longest remark that a client may commit with an offset, in bytes."),
    broker("offsets.retention.check.interval.ms", Kind::Long, "600000")
        .valid(Valid::AtLeast(1))
        .doc("How often expired offsets are looked for, in milliseconds."),
    broker("offsets.retention.minutes", Kind::Int, "10080").valid(Valid::AtLeast(1)).doc(
        "How long the offsets of a group are kept after its last member has gone, or those of a topic after their \
         commit where no member of the group subscribes to it any more, in minutes (KIP-211).",
    ),
    broker("producer.id.expiration.ms", Kind::Int, "86400000").valid(Valid::AtLeast(1)).dynamic().doc(
        "How long the broker remembers what an idempotent producer sent last, in milliseconds, after it has \
         fallen silent.",
    ),
    broker("socket.request.max.bytes", Kind::Int, "104857600").valid(Valid::AtLeast(1)).doc(
        "The largest request that is taken, in bytes. It counts as at most a quarter of `memory.budget` and at \
         most 100 MiB.",
    ),
    broker("durability", Kind::String, "fsync").valid(Valid::OneOf(&["fsync"])).doc(
        "When a record counts as written: `fsync` acknowledges it once it is on the disk, where a power cut \
         does not reach it.",
    ),
    broker("memory.budget", Kind::Size, "268435456").valid(Valid::AtLeast(32 * MIB)).doc(
        "How much memory requests, responses, buffers and what clients make the broker remember may take \
         together. Above it the broker stops reading from its connections.",
    ),
    broker("strict.replication", Kind::Boolean, "false").doc(
        "Whether a topic that asks for more replicas than there are brokers is refused, as Kafka does, and not \
         created with fewer.",
    ),
    Setting::new("wal.max", Kind::Size, None).valid(Valid::AtLeast(16 * MIB)).doc(
        "How large the write-ahead log may grow on disk; by default 1 GiB, or 5 % of the file system if that \
         is less.",
    ),
];

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fmt::Write};

    use super::*;

    /// Kafka 4.3.1's topic settings: name, type, default and valid values.
    const KAFKA_TOPIC: &str = include_str!("kafka-topic-settings.txt");
    /// The same of those of its broker settings that exist here.
    const KAFKA_BROKER: &str = include_str!("kafka-broker-settings.txt");

    fn line(setting: &Setting) -> String {
        let default = setting.default.unwrap_or("null");
        let mut line = format!("{} {} default=", setting.name, setting.kind.kafka_name());
        match setting.kind {
            Kind::List => write!(line, "[{default}]").unwrap(),
            _ => line.push_str(default),
        }
        if setting.valid != Valid::Any {
            write!(line, " valid={}", setting.valid).unwrap();
        }
        line
    }

    #[test]
    fn topic_settings_are_kafkas() {
        let ours: Vec<String> = TOPIC.iter().map(line).collect();
        let kafkas: Vec<&str> = KAFKA_TOPIC.lines().collect();
        assert_eq!(ours, kafkas);
    }

    #[test]
    fn broker_settings_are_kafkas_but_for_what_is_listed_here() {
        let differ = [
            // Kafka takes the names of classes too.
            ("group.consumer.assignors", "group.consumer.assignors LIST default=[uniform, range] valid="),
            // Kafka has 3000, and takes all numbers in these.
            ("group.initial.rebalance.delay.ms", "group.initial.rebalance.delay.ms INT default=3000"),
            ("group.max.session.timeout.ms", "group.max.session.timeout.ms INT default=1800000"),
            ("group.min.session.timeout.ms", "group.min.session.timeout.ms INT default=6000"),
            ("offset.metadata.max.bytes", "offset.metadata.max.bytes INT default=4096"),
            // Kafka's log cannot do with a factor below 1 either, but says so only when a topic is created.
            ("default.replication.factor", "default.replication.factor INT default=1"),
            ("log.roll.ms", "log.roll.ms LONG default=null"),
            // Kafka wants it given.
            ("node.id", "node.id INT default=(none) valid=[0,...]"),
            // Here it follows from the machine.
            ("num.network.threads", "num.network.threads INT default=3 valid=[1,...]"),
        ];
        let own = ["durability", "memory.budget", "strict.replication", "wal.max"];
        let ours: BTreeSet<String> = BROKER
            .iter()
            .filter(|setting| !own.contains(&setting.name))
            .map(|setting| match differ.iter().find(|(name, _)| *name == setting.name) {
                Some((_, kafkas)) => String::from(*kafkas),
                None => line(setting),
            })
            .collect();
        assert_eq!(ours, KAFKA_BROKER.lines().map(String::from).collect());
    }

    #[test]
    fn defaults_pass_their_own_checks() {
        for setting in TOPIC.iter().chain(BROKER) {
            if let Some(text) = setting.default {
                assert_eq!(Some(setting.parse(text).unwrap()), setting.default_value(), "{}", setting.name);
            }
            assert!(setting.doc.ends_with('.'), "{} has no documentation", setting.name);
        }
    }

    #[test]
    fn names_are_unique() {
        for table in [TOPIC, BROKER] {
            let mut seen = BTreeSet::new();
            assert!(table.iter().flat_map(Setting::names).all(|name| seen.insert(name)));
        }
    }

    #[test]
    fn broker_settings_give_topics_the_same_default() {
        let mut pairs = 0;
        for topic in TOPIC {
            for broker in topic.broker.iter().filter_map(|name| Setting::find(BROKER, name)) {
                pairs += 1;
                assert_eq!(broker.acts, topic.acts, "{}", broker.name);
                if broker.name != "log.roll.hours" {
                    assert_eq!((broker.kind, broker.valid), (topic.kind, topic.valid), "{}", broker.name);
                }
                if !broker.name.starts_with("log.roll.") {
                    assert_eq!(broker.default, topic.default, "{}", broker.name);
                }
            }
        }
        assert_eq!(pairs, 11, "a broker setting lost its topic setting");
    }
}
