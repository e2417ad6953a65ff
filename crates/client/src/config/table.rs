//! The table: every setting there is, once, with the names that Java and librdkafka have for it.
//!
//! Defaults stand in the structs that hold the values, and are read from there.

use super::{
    ClientConfig, ConsumerConfig, Fault, ProducerConfig,
    field::{Field, Word},
};

/// A row of the table, for a setting whose value is in `C`.
pub(super) struct Setting<C> {
    /// The method that sets it.
    pub(super) name: &'static str,
    /// Java's property.
    pub(super) java: Option<&'static str>,
    /// librdkafka's properties, where they are called otherwise than Java's.
    pub(super) librdkafka: &'static [&'static str],
    pub(super) field: Field<C>,
    /// What it is, for its user.
    #[cfg_attr(not(test), expect(dead_code, reason = "it is for the page of settings"))]
    pub(super) what: &'static str,
    /// Why the default is what it is.
    #[cfg_attr(not(test), expect(dead_code, reason = "it is for the page of settings"))]
    pub(super) why: &'static str,
}

impl<C> Setting<C> {
    /// The properties that set it.
    pub(super) fn properties(&self) -> impl Iterator<Item = &'static str> + use<C> {
        self.java.into_iter().chain(self.librdkafka.iter().copied())
    }
}

/// A struct whose fields are settings.
pub(super) trait Section: Clone + Default + 'static {
    fn settings() -> &'static [Setting<Self>];
}

/// What is wrong with each setting on its own.
pub(super) fn out_of_range<C: Section>(config: &C) -> Vec<Fault> {
    let mut config = config.clone();
    let wrong = C::settings().iter().filter_map(|setting| {
        if setting.field.is_valid(&mut config) {
            return None;
        }
        let (name, value) = (setting.name, setting.field.show(&mut config));
        Some(Fault(format!("{name} is {value:?}: it must be {}", setting.field.demand(1))))
    });
    wrong.collect()
}

const I32_MAX: u64 = i32::MAX as u64;
const I32_MAX_BYTES: usize = i32::MAX as usize;

pub(super) static CLIENT: &[Setting<ClientConfig>] = &[
    Setting {
        name: "seeds",
        java: Some("bootstrap.servers"),
        librdkafka: &["metadata.broker.list"],
        field: Field::List { at: |it| &mut it.seeds },
        what: "Brokers, `host:port`, of which one has to answer for the others to be found.",
        why: "Nobody but you knows them.",
    },
    Setting {
        name: "client_id",
        java: Some("client.id"),
        librdkafka: &[],
        field: Field::Text { at: |it| &mut it.client_id },
        what: "What the client calls itself to brokers, for their logs and quotas.",
        why: "It tells an operator at least which library it is.",
    },
    Setting {
        name: "client_rack",
        java: Some("client.rack"),
        librdkafka: &[],
        field: Field::MaybeText { at: |it| &mut it.client_rack },
        what: "Where the client runs, by the names of the cluster: a consumer reads from replicas there (KIP-392).",
        why: "Without it, leaders are read from, which always works.",
    },
    Setting {
        name: "memory_budget",
        java: Some("buffer.memory"),
        librdkafka: &["queue.buffering.max.kbytes", "queued.max.messages.kbytes"],
        field: Field::Bytes { at: |it| &mut it.memory_budget, range: 1 << 20..=usize::MAX },
        what: "The most bytes of records, responses and decompressed data in memory, for all producers and consumers of \
               the client together.",
        why: "It fits into a small container, and holds what 100 MB/s send in half a second.",
    },
    Setting {
        name: "request_timeout",
        java: Some("request.timeout.ms"),
        librdkafka: &["socket.timeout.ms"],
        field: Field::Time { at: |it| &mut it.request_timeout, ms: 1..=I32_MAX },
        what: "How long an answer may take before the connection counts as dead.",
        why: "Java's: brokers may hold a produce request back while replicas lag.",
    },
    Setting {
        name: "call_timeout",
        java: Some("default.api.timeout.ms"),
        librdkafka: &[],
        field: Field::Time { at: |it| &mut it.call_timeout, ms: 1..=I32_MAX },
        what: "How long a call, such as one of the admin's, may take with all its attempts.",
        why: "Java's: it leaves time for a second attempt after a request that timed out.",
    },
    Setting {
        name: "connect_timeout",
        java: Some("socket.connection.setup.timeout.ms"),
        librdkafka: &[],
        field: Field::Time { at: |it| &mut it.connect_timeout, ms: 1..=I32_MAX },
        what: "How long it may take until a connection can be used.",
        why: "Java's: the first packets may be lost three times.",
    },
    Setting {
        name: "connections_max_idle",
        java: Some("connections.max.idle.ms"),
        librdkafka: &[],
        field: Field::Time { at: |it| &mut it.connections_max_idle, ms: 1..=i64::MAX as u64 },
        what: "How long a connection stays open without a request.",
        why: "Java's: brokers close after ten minutes, and the client should be first.",
    },
    Setting {
        name: "retry_backoff",
        java: Some("retry.backoff.ms"),
        librdkafka: &[],
        field: Field::Time { at: |it| &mut it.retry_backoff, ms: 1..=I32_MAX },
        what: "How long to wait before the second attempt at the same thing, reconnecting too; then twice as long after \
               each (KIP-580), a fifth more or less.",
        why: "A leader that has moved is found soon, and the wait grows with each failure.",
    },
    Setting {
        name: "retry_backoff_max",
        java: Some("retry.backoff.max.ms"),
        librdkafka: &[],
        field: Field::Time { at: |it| &mut it.retry_backoff_max, ms: 1..=I32_MAX },
        what: "The most to wait between two attempts at the same thing.",
        why: "A broker that is back is found within a second, and one that is not gets one attempt a second.",
    },
    Setting {
        name: "metadata_max_age",
        java: Some("metadata.max.age.ms"),
        librdkafka: &["topic.metadata.refresh.interval.ms"],
        field: Field::Time { at: |it| &mut it.metadata_max_age, ms: 1..=I32_MAX },
        what: "How old metadata of topics in use may grow without a reason to ask for it again.",
        why: "Java's: errors refresh it at once, so this is for partitions that were added.",
    },
    Setting {
        name: "allow_auto_create_topics",
        java: Some("allow.auto.create.topics"),
        librdkafka: &[],
        field: Field::Flag { at: |it| &mut it.allow_auto_create_topics },
        what: "Whether the broker may create a topic that is asked for and not there.",
        why: "A topic by accident has the cluster's defaults, often one replica.",
    },
];

pub(super) static PRODUCER: &[Setting<ProducerConfig>] = &[
    Setting {
        name: "linger",
        java: Some("linger.ms"),
        librdkafka: &["queue.buffering.max.ms"],
        field: Field::Time { at: |it| &mut it.linger, ms: 0..=I32_MAX },
        what: "How long a batch waits for more records.",
        why: "Java's and librdkafka's: records that come close together share a batch.",
    },
    Setting {
        name: "batch_size",
        java: Some("batch.size"),
        librdkafka: &[],
        field: Field::Bytes { at: |it| &mut it.batch_size, range: 0..=I32_MAX_BYTES },
        what: "The bytes, uncompressed, from which on a batch is complete. A larger record makes a batch of its own.",
        why: "Four times Java's, for fewer requests and better compression, and the memory budget holds a thousand of them.",
    },
    Setting {
        name: "max_request_size",
        java: Some("max.request.size"),
        librdkafka: &["message.max.bytes"],
        field: Field::Bytes { at: |it| &mut it.max_request_size, range: 1000..=I32_MAX_BYTES },
        what: "The most bytes of one record, uncompressed, and of the batches in one request.",
        why: "Java's: brokers take batches up to 1,048,588 bytes where `message.max.bytes` is not set.",
    },
    Setting {
        name: "compression",
        java: Some("compression.type"),
        librdkafka: &["compression.codec"],
        field: Field::Word {
            read: |it, text| it.compression.read(text),
            show: |it| it.compression.word(),
            words: super::Compression::words,
        },
        what: "How record batches are compressed.",
        why: "Java's and librdkafka's: whether CPU or network is scarce only you know.",
    },
    Setting {
        name: "gzip_level",
        java: Some("compression.gzip.level"),
        librdkafka: &[],
        field: Field::Level { at: |it| &mut it.gzip_level, range: 1..=9, or: Some(-1) },
        what: "How hard gzip tries (KIP-390); -1 is its own default.",
        why: "Java's.",
    },
    Setting {
        name: "lz4_level",
        java: Some("compression.lz4.level"),
        librdkafka: &[],
        field: Field::Level { at: |it| &mut it.lz4_level, range: 1..=17, or: None },
        what: "How hard lz4 tries (KIP-390).",
        why: "Java's.",
    },
    Setting {
        name: "zstd_level",
        java: Some("compression.zstd.level"),
        librdkafka: &[],
        field: Field::Level { at: |it| &mut it.zstd_level, range: -131_072..=22, or: None },
        what: "How hard zstd tries (KIP-390).",
        why: "Java's, and zstd's own.",
    },
    Setting {
        name: "acks",
        java: Some("acks"),
        librdkafka: &["request.required.acks"],
        field: Field::Word {
            read: |it, text| it.acks.read(text),
            show: |it| it.acks.word(),
            words: super::Acks::words,
        },
        what: "Whose acknowledgement a record waits for: of all replicas in sync, of the leader (1), or nobody's (0). \
               Other than all needs `idempotence` to be off.",
        why: "Java's and librdkafka's: a record that is acknowledged survives its leader.",
    },
    Setting {
        name: "idempotence",
        java: Some("enable.idempotence"),
        librdkafka: &[],
        field: Field::Flag { at: |it| &mut it.idempotence },
        what: "Whether brokers recognise what is sent again, so that it is written once and in order (KIP-98). librdkafka's \
               default is `false`.",
        why: "Java's: without it, every retry may write twice.",
    },
    Setting {
        name: "delivery_timeout",
        java: Some("delivery.timeout.ms"),
        librdkafka: &["message.timeout.ms"],
        field: Field::Time { at: |it| &mut it.delivery_timeout, ms: 1..=I32_MAX },
        what: "How long after its send a record's fate is known at the latest. It ends the retries; nothing counts them.",
        why: "Java's: it outlasts the restart of a broker.",
    },
    Setting {
        name: "max_wait",
        java: Some("max.block.ms"),
        librdkafka: &[],
        field: Field::Time { at: |it| &mut it.max_wait, ms: 0..=I32_MAX },
        what: "How long a send may wait for metadata and for room in the memory budget.",
        why: "Java's.",
    },
    Setting {
        name: "drop_grace",
        java: None,
        librdkafka: &[],
        field: Field::Time { at: |it| &mut it.drop_grace, ms: 0..=I32_MAX },
        what: "How long a producer that is dropped without being closed goes on with the records that it has.",
        why: "Time for one more attempt, within what a service has to stop.",
    },
    Setting {
        name: "partitioner",
        java: Some("partitioner.class"),
        librdkafka: &["partitioner"],
        field: Field::Word {
            // Java names classes with their packages.
            read: |it, text| it.partitioner.read(text.rsplit('.').next().unwrap_or(text)),
            show: |it| it.partitioner.word(),
            words: crate::producer::partitioner::Partitioning::words,
        },
        what: "Which [partition](crate::producer::partitioner) a record goes to that names none.",
        why: "Java's: most keys in most clusters were placed by it.",
    },
];

pub(super) static CONSUMER: &[Setting<ConsumerConfig>] = &[
    Setting {
        name: "isolation_level",
        java: Some("isolation.level"),
        librdkafka: &[],
        field: Field::Word {
            read: |it, text| it.isolation_level.read(text),
            show: |it| it.isolation_level.word(),
            words: super::IsolationLevel::words,
        },
        what: "Whether records of open and aborted transactions are read. librdkafka's default is `read_committed`.",
        why: "Java's: it waits for no transaction to end.",
    },
    Setting {
        name: "fetch_min_bytes",
        java: Some("fetch.min.bytes"),
        librdkafka: &[],
        field: Field::Bytes { at: |it| &mut it.fetch_min_bytes, range: 0..=I32_MAX_BYTES },
        what: "The bytes that a broker waits for before it answers.",
        why: "Java's and librdkafka's: records are there as soon as possible.",
    },
    Setting {
        name: "fetch_max_bytes",
        java: Some("fetch.max.bytes"),
        librdkafka: &[],
        field: Field::Bytes { at: |it| &mut it.fetch_max_bytes, range: 1..=I32_MAX_BYTES },
        what: "The most bytes of records in one answer, but for a first batch that is larger.",
        why: "An eighth of the memory budget, so that the answers of several brokers have room.",
    },
    Setting {
        name: "fetch_max_wait",
        java: Some("fetch.max.wait.ms"),
        librdkafka: &["fetch.wait.max.ms"],
        field: Field::Time { at: |it| &mut it.fetch_max_wait, ms: 0..=I32_MAX },
        what: "How long a broker waits for `fetch_min_bytes`.",
        why: "Java's and librdkafka's: two requests a second while nothing comes.",
    },
    Setting {
        name: "max_partition_fetch_bytes",
        java: Some("max.partition.fetch.bytes"),
        librdkafka: &["fetch.message.max.bytes"],
        field: Field::Bytes { at: |it| &mut it.max_partition_fetch_bytes, range: 1..=I32_MAX_BYTES },
        what: "The most bytes of records of one partition in an answer, but for a first batch that is larger.",
        why: "Java's and librdkafka's: one partition does not fill the answer.",
    },
    Setting {
        name: "offset_reset",
        java: Some("auto.offset.reset"),
        librdkafka: &[],
        field: Field::Word {
            read: |it, text| it.offset_reset.read(text),
            show: |it| it.offset_reset.word(),
            words: super::OffsetReset::words,
        },
        what: "Where reading goes on when there is no position, or it is not in the log, or no longer; with none, the \
               caller gets an error. Java's and librdkafka's default is `latest`.",
        why: "The others skip records, or read them twice, without a word.",
    },
    Setting {
        name: "check_crcs",
        java: Some("check.crcs"),
        librdkafka: &[],
        field: Field::Flag { at: |it| &mut it.check_crcs },
        what: "Whether the CRC of each batch is checked. librdkafka's default is `false`.",
        why: "Java's: it finds what a disk or a network card did to records.",
    },
];
