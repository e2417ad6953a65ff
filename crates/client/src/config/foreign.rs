//! Properties of Java's and librdkafka's that set nothing here, and what becomes of them.
//!
//! What is harmless is ignored, and the caller is told. Where ignoring it would change what the client does, it is
//! refused, with what to set instead.

/// Properties with the same fate.
pub(super) struct Foreign {
    /// Their names. One that ends in `*` stands for all that begin so.
    pub(super) names: &'static [&'static str],
    pub(super) fate: Fate,
}

/// What becomes of a property.
#[derive(Clone, Copy)]
pub(super) enum Fate {
    /// It is accepted, and the caller is told why it does nothing.
    Ignored(&'static str),
    /// It is ignored for this reason. But without idempotence, this value of it is refused, as records could come to be
    /// this.
    IgnoredUnless { value: &'static str, reason: &'static str, danger: &'static str },
    /// It can only be one of these, which is how it is anyway, for this reason.
    Only(&'static [&'static str], &'static str),
    /// It is refused, for this reason.
    Refused(&'static str),
}

use Fate::{Ignored, IgnoredUnless, Only, Refused};

/// Finds what becomes of a property.
pub(super) fn find(property: &str) -> Option<Fate> {
    let has = |name: &&str| match name.strip_suffix('*') {
        Some(beginning) => property.starts_with(beginning),
        None => *name == property,
    };
    FOREIGN.iter().find(|foreign| foreign.names.iter().any(has)).map(|foreign| foreign.fate)
}

const NO_SECURITY: &str =
    "this version has neither TLS nor SASL, connect to a listener that asks for neither";
const NO_GROUPS: &str = "this version has no consumer groups, leave it out and assign partitions";
const NO_TRANSACTIONS: &str = "this version has no transactions, leave it out";

pub(super) static FOREIGN: &[Foreign] = &[
    Foreign { names: &["security.protocol"], fate: Only(&["PLAINTEXT"], NO_SECURITY) },
    Foreign {
        names: &[
            "ssl.*",
            "sasl.*",
            "https.*",
            "security.providers",
            "enable.ssl.certificate.verification",
            "enable.sasl.oauthbearer.unsecure.jwt",
        ],
        fate: Refused(NO_SECURITY),
    },
    Foreign { names: &["enable.auto.commit", "auto.commit.enable"], fate: Only(&["false"], NO_GROUPS) },
    Foreign {
        names: &[
            "group.*",
            "partition.assignment.strategy",
            "session.timeout.ms",
            "heartbeat.interval.ms",
            "max.poll.interval.ms",
            "coordinator.query.interval.ms",
            "auto.commit.interval.ms",
            "enable.auto.offset.store",
            "offset.store.*",
            "share.*",
        ],
        fate: Refused(NO_GROUPS),
    },
    Foreign { names: &["transactional.id"], fate: Refused(NO_TRANSACTIONS) },
    Foreign { names: &["transaction.two.phase.commit.enable"], fate: Only(&["false"], NO_TRANSACTIONS) },
    Foreign { names: &["transaction.timeout.ms"], fate: Ignored("this version has no transactions") },
    Foreign {
        names: &["retries", "message.send.max.retries"],
        fate: IgnoredUnless {
            value: "0",
            reason: "nothing counts retries, delivery.timeout.ms ends them",
            danger: "written twice",
        },
    },
    Foreign {
        names: &["max.in.flight.requests.per.connection", "max.in.flight"],
        fate: IgnoredUnless {
            value: "1",
            reason: "the client chooses how many requests are under way",
            danger: "written in another order",
        },
    },
    Foreign {
        names: &["compression.level"],
        fate: Refused(
            "it means another thing for each codec, set compression.gzip.level, compression.lz4.level or \
             compression.zstd.level instead",
        ),
    },
    Foreign {
        names: &["partitioner.ignore.keys"],
        fate: Only(&["false"], "set partitioner to sticky instead"),
    },
    Foreign {
        names: &["partitioner.adaptive.partitioning.enable", "partitioner.availability.timeout.ms"],
        fate: Ignored(
            "records without a key avoid leaders that cannot be reached; how fast brokers answer plays no part",
        ),
    },
    Foreign {
        names: &["sticky.partitioning.linger.ms"],
        fate: Ignored("records without a key go to one partition until its batch is complete"),
    },
    Foreign {
        names: &["queuing.strategy"],
        fate: Only(&["fifo"], "records of a partition are sent in the order in which they came"),
    },
    Foreign {
        names: &["enable.gapless.guarantee"],
        fate: Only(&["false"], "records that fail do not stop the producer, look at what each send returns"),
    },
    Foreign {
        names: &["enable.partition.eof"],
        fate: Only(&["false"], "the end of a partition is no event"),
    },
    Foreign {
        names: &["interceptor.classes", "plugin.library.paths"],
        fate: Refused("foreign code cannot be loaded, call what it did around sending and receiving"),
    },
    Foreign {
        names: &["config.providers*"],
        fate: Refused("values are taken as they are, resolve them before"),
    },
    Foreign {
        names: &["topic.blacklist"],
        fate: Refused("topics cannot be hidden, leave them out where you name topics"),
    },
    Foreign {
        names: &["client.dns.lookup"],
        fate: Only(&["use_all_dns_ips"], "each address behind a name is tried, leave it out"),
    },
    Foreign {
        names: &["broker.address.family"],
        fate: Only(&["any"], "addresses of both families are tried, leave it out"),
    },
    Foreign {
        names: &["metadata.recovery.strategy"],
        fate: Only(
            &["rebootstrap"],
            "the brokers of bootstrap.servers are asked when no other answers, leave it out",
        ),
    },
    Foreign {
        names: &["api.version.request"],
        fate: Only(&["true"], "brokers are asked for their versions, leave it out"),
    },
    Foreign {
        names: &[
            "api.version.request.timeout.ms",
            "api.version.fallback.ms",
            "broker.version.fallback",
            "builtin.features",
        ],
        fate: Ignored("brokers are asked for their versions, and all of them tell"),
    },
    Foreign {
        names: &["key.serializer", "value.serializer", "key.deserializer", "value.deserializer"],
        fate: Ignored("keys and values are bytes"),
    },
    Foreign {
        names: &[
            "queue.buffering.max.messages",
            "batch.num.messages",
            "queued.min.messages",
            "queue.buffering.backpressure.threshold",
            "message.copy.max.bytes",
            "receive.message.max.bytes",
        ],
        fate: Ignored("memory is bounded in bytes: memory_budget, batch_size and fetch_max_bytes"),
    },
    Foreign {
        names: &["max.poll.records", "consume.callback.max.messages"],
        fate: Ignored("how many records are handed over at a time is no setting"),
    },
    Foreign {
        names: &[
            "send.buffer.bytes",
            "receive.buffer.bytes",
            "socket.send.buffer.bytes",
            "socket.receive.buffer.bytes",
            "socket.keepalive.enable",
            "socket.nagle.disable",
            "socket.blocking.max.ms",
            "socket.max.fails",
        ],
        fate: Ignored("the system sizes socket buffers, and requests have deadlines"),
    },
    Foreign {
        names: &[
            "reconnect.backoff.ms",
            "reconnect.backoff.max.ms",
            "reconnect.backoff.jitter.ms",
            "socket.connection.setup.timeout.max.ms",
            "fetch.error.backoff.ms",
            "fetch.queue.backoff.ms",
            "topic.metadata.refresh.fast.interval.ms",
            "topic.metadata.refresh.fast.cnt",
        ],
        fate: Ignored("every attempt waits by retry.backoff.ms and retry.backoff.max.ms"),
    },
    Foreign {
        names: &[
            "metadata.max.idle.ms",
            "metadata.recovery.rebootstrap.trigger.ms",
            "topic.metadata.refresh.sparse",
            "topic.metadata.propagation.max.ms",
            "broker.address.ttl",
        ],
        fate: Ignored(
            "the client asks for the metadata of topics in use, and for addresses when it connects",
        ),
    },
    Foreign { names: &["exclude.internal.topics"], fate: Ignored("topics are read by name") },
    Foreign {
        names: &["internal.throw.on.fetch.stable.offset.unsupported", "internal.termination.signal"],
        fate: Ignored("it is internal to another library"),
    },
    Foreign {
        names: &["delivery.report.only.error", "produce.offset.report"],
        fate: Ignored("each send returns what became of its record"),
    },
    Foreign {
        names: &["metric.reporters", "metrics.*", "enable.metrics.push", "statistics.interval.ms"],
        fate: Ignored("the client pushes no metrics"),
    },
    Foreign {
        names: &["debug", "log_level", "log.queue", "log.thread.name", "log.connection.close"],
        fate: Ignored("logs are events of the crate tracing, whose subscriber says what is logged"),
    },
    Foreign {
        names: &["enable.random.seed", "enabled_events"],
        fate: Ignored("there is nothing like it here"),
    },
];
