//! Reading settings by the names that Java's and librdkafka's users know.

use super::{
    ClientConfig, Config, ConsumerConfig, Fault, Ignored, ProducerConfig,
    foreign::{self, FOREIGN, Fate},
    nearest::nearest,
    table::{Section, Setting},
};
use crate::error::Error;

/// What was read so far.
#[derive(Default)]
pub(super) struct Reader {
    config: Config,
    /// The properties that set something: the setting, the property and the value that it came to.
    given: Vec<(&'static str, &'static str, String)>,
    /// What is wrong if idempotence is off in the end.
    without_idempotence: Vec<Fault>,
    faults: Vec<Fault>,
    /// Whether a setting has a value that is not the one that was meant, so that it cannot be compared with others.
    misread: bool,
}

impl Reader {
    /// One for properties that change these settings.
    pub(super) fn over(config: Config) -> Self {
        Self { config, ..Self::default() }
    }

    /// Reads a property.
    pub(super) fn read(&mut self, property: &str, value: &str) {
        let (property, value) = (property.trim(), value.trim());
        let config = &mut self.config;
        let set = set(&mut config.client, property, value)
            .or_else(|| set(&mut config.producer, property, value))
            .or_else(|| set(&mut config.consumer, property, value));
        match (set, foreign::find(property)) {
            (Some(Ok(given)), _) => self.note(given),
            (Some(Err(fault)), _) => {
                self.faults.push(fault);
                self.misread = true;
            }
            (None, Some(fate)) => self.judge(property, value, fate),
            (None, None) => self.faults.push(unknown(property)),
        }
    }

    /// What all of it comes to.
    pub(super) fn finish(mut self) -> Result<Config, Error> {
        if !self.config.producer.idempotence {
            self.faults.append(&mut self.without_idempotence);
        }
        if !self.misread {
            self.faults.extend(self.config.faults());
        }
        Fault::all(self.faults)?;
        Ok(self.config)
    }

    /// Remembers what was set by which property. Two properties for one setting have to agree.
    fn note(&mut self, given: (&'static str, &'static str, String)) {
        let (setting, property, value) = &given;
        if let Some((_, before, _)) =
            self.given.iter().find(|(it, _, earlier)| it == setting && earlier != value)
        {
            self.faults.push(Fault(format!(
                "{before} and {property} both set {setting}, to different values: leave one of them out"
            )));
            self.misread = true;
        }
        self.given.push(given);
    }

    fn judge(&mut self, property: &str, value: &str, fate: Fate) {
        match fate {
            // What has no value asks for nothing.
            Fate::Refused(_) | Fate::Only(..) if value.is_empty() => {}
            Fate::Only(values, _) if values.iter().any(|it| it.eq_ignore_ascii_case(value)) => {}
            Fate::Only(values, reason) => {
                let values = values.join(" or ");
                self.faults.push(Fault(format!("{property} can only be {values}: {reason}")));
            }
            Fate::Refused(reason) => self.faults.push(Fault(format!("{property} is refused: {reason}"))),
            Fate::Ignored(reason) => self.ignore(property, reason),
            Fate::IgnoredUnless { value: refused, reason, danger } => {
                self.ignore(property, reason);
                if value == refused {
                    self.without_idempotence.push(Fault(format!(
                        "{property} of {value} is refused without idempotence: {reason}, and records could be {danger}; \
                         set enable.idempotence to true"
                    )));
                }
            }
        }
    }

    fn ignore(&mut self, property: &str, reason: &'static str) {
        self.config.ignored.push(Ignored { property: property.to_owned(), reason });
    }
}

/// Sets what the property stands for, if it stands for something in `C`.
fn set<C: Section>(
    config: &mut C,
    property: &str,
    value: &str,
) -> Option<Result<(&'static str, &'static str, String), Fault>> {
    let mut names = C::settings().iter().flat_map(|it| it.properties().map(move |name| (it, name)));
    let (setting, name) = names.find(|(_, name)| *name == property)?;
    let read = setting.field.read(config, name, value);
    Some(match read {
        Ok(()) => Ok((setting.name, name, setting.field.show(config))),
        Err(demand) => Err(Fault(format!("{name} is {}: it must be {demand}", shown(value)))),
    })
}

/// The fault of a name that is known nowhere. Its value is not shown: it may be a password.
fn unknown(property: &str) -> Fault {
    let foreign = FOREIGN.iter().flat_map(|foreign| foreign.names).copied();
    let known = properties::<ClientConfig>()
        .chain(properties::<ProducerConfig>())
        .chain(properties::<ConsumerConfig>())
        .chain(foreign.filter(|name| !name.ends_with('*')));
    let hint = match nearest(property, known) {
        Some(name) => format!("did you mean {name}?"),
        None => "leave it out".to_owned(),
    };
    Fault(format!("{} is no setting: {hint}", shown(property)))
}

fn properties<C: Section>() -> impl Iterator<Item = &'static str> {
    C::settings().iter().flat_map(Setting::properties)
}

/// Text that somebody gave, quoted, escaped and cut off.
fn shown(text: &str) -> String {
    const SHOWN_CHARS_MAX: usize = 100;
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((cut, _)) => format!("{:?}...", &text[..cut]),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, time::Duration};

    use super::super::{Acks, Compression, OffsetReset};
    use super::*;
    use crate::{error::ErrorKind, producer::partitioner::Partitioning};

    fn read(properties: &[(&str, &str)]) -> Config {
        Config::from_properties(properties.iter().copied()).unwrap()
    }

    /// Checks what is wrong with these properties.
    fn check(properties: &[(&str, &str)], expected: &str) {
        let error = Config::from_properties(properties.iter().copied()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn properties_are_read_over_what_is_set() {
        let before = read(&[("linger.ms", "20"), ("buffer.memory", "16777216"), ("acks", "all")]);
        let after = before.with_properties([("linger.ms", "7"), ("client.id", "orders")]).unwrap();
        assert_eq!(after.producer.linger, Duration::from_millis(7));
        assert_eq!(after.client.memory_budget, 16 << 20);
        assert_eq!(after.client.client_id, "orders");
        assert!(after.with_properties([("lingr.ms", "7")]).is_err());
    }

    #[test]
    fn the_names_of_java_are_read() {
        let config = read(&[
            ("bootstrap.servers", "one:9092, two:9092,"),
            ("client.id", " orders "),
            ("client.rack", ""),
            ("buffer.memory", "33554432"),
            ("acks", "ALL"),
            ("linger.ms", "20"),
            ("compression.type", "zstd"),
            ("compression.zstd.level", "-5"),
            ("partitioner.class", "org.apache.kafka.clients.producer.RoundRobinPartitioner"),
            ("auto.offset.reset", "earliest"),
            ("check.crcs", "False"),
            ("security.protocol", "plaintext"),
            ("enable.auto.commit", "false"),
            ("transactional.id", ""),
        ]);
        let Config { client, producer, consumer, ignored } = &config;
        assert_eq!(client.seeds, ["one:9092", "two:9092"]);
        assert_eq!((client.client_id.as_str(), &client.client_rack), ("orders", &None));
        assert_eq!(client.memory_budget, 32 << 20);
        assert_eq!((producer.acks, producer.linger), (Acks::All, Duration::from_millis(20)));
        assert_eq!((producer.compression, producer.compression_level()), (Compression::Zstd, Some(-5)));
        assert_eq!(producer.partitioner, Partitioning::RoundRobin);
        assert_eq!((consumer.offset_reset, consumer.check_crcs), (OffsetReset::Earliest, false));
        assert!(ignored.is_empty(), "{ignored:?}");
    }

    #[test]
    fn the_names_of_librdkafka_are_read_in_their_units() {
        let config = read(&[
            ("metadata.broker.list", "one:9092"),
            ("queue.buffering.max.kbytes", "2048"),
            ("queue.buffering.max.ms", "0.5"),
            ("message.timeout.ms", "60000"),
            ("socket.timeout.ms", "20000"),
            ("compression.codec", "lz4"),
            ("request.required.acks", "-1"),
            ("partitioner", "consistent_random"),
            ("auto.offset.reset", "smallest"),
            ("fetch.max.bytes", "1048576"),
        ]);
        assert_eq!(config.client.seeds, ["one:9092"]);
        assert_eq!(config.client.memory_budget, 2 << 20);
        assert_eq!(config.client.request_timeout, Duration::from_secs(20));
        assert_eq!(config.producer.linger, Duration::from_micros(500));
        assert_eq!(config.producer.delivery_timeout, Duration::from_secs(60));
        assert_eq!((config.producer.compression, config.producer.acks), (Compression::Lz4, Acks::All));
        assert_eq!(config.producer.partitioner, Partitioning::librdkafka());
        assert_eq!(config.consumer.offset_reset, OffsetReset::Earliest);
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        check(
            &[
                ("lingr.ms", "5"),
                ("batch.size", "-1"),
                ("group.id", "readers"),
                ("acks", "2"),
                ("client.id", "me"),
            ],
            "4 settings are wrong: \"lingr.ms\" is no setting: did you mean linger.ms?; \
             batch.size is \"-1\": it must be a number of bytes from 0 to 2147483647; \
             group.id is refused: this version has no consumer groups, leave it out and assign partitions; \
             acks is \"2\": it must be one of all, -1, 1, 0",
        );
    }

    #[test]
    fn a_wrong_value_is_told_with_its_range_and_unit() {
        check(
            &[("queue.buffering.max.kbytes", "1")],
            "queue.buffering.max.kbytes is \"1\": it must be a number of KiB from 1024 on",
        );
        check(
            &[("message.timeout.ms", "0")],
            "message.timeout.ms is \"0\": it must be a number of milliseconds from 1 to 2147483647",
        );
        check(&[("enable.idempotence", "yes")], "enable.idempotence is \"yes\": it must be true or false");
        check(&[("client.id", "")], "client.id is \"\": it must be a text");
        check(
            &[("compression.gzip.level", "10")],
            "compression.gzip.level is \"10\": it must be a number from 1 to 9, or -1",
        );
        check(
            &[("buffer.memory", "99999999999999999999")],
            "buffer.memory is \"99999999999999999999\": it must be a number of bytes from 1048576 on",
        );
    }

    #[test]
    fn the_nearest_name_is_told() {
        for (given, meant) in [
            ("bootstrap.server", "bootstrap.servers"),
            ("Linger.MS", "linger.ms"),
            ("enable_idempotence", "enable.idempotence"),
            ("fetch.min.byte", "fetch.min.bytes"),
            ("metadata.brokers.list", "metadata.broker.list"),
            ("max.inflight", "max.in.flight"),
        ] {
            check(&[(given, "x")], &format!("{given:?} is no setting: did you mean {meant}?"));
        }
        check(&[("jaas.secret", "hunter2")], "\"jaas.secret\" is no setting: leave it out");
        let hostile = format!("a\n{}", "é".repeat(5000));
        let error = Config::from_properties([(&*hostile, &*hostile), ("linger.ms", &*hostile)]).unwrap_err();
        assert!(error.to_string().len() < 700 && !error.to_string().contains('\n'), "{error}");
    }

    #[test]
    fn acks_are_never_changed_silently() {
        check(
            &[("acks", "1")],
            "acks of 1 do not go with idempotence: set idempotence (enable.idempotence) to false, and what is sent \
             again may be written twice, or acks to all",
        );
        let config = read(&[("acks", "1"), ("enable.idempotence", "false")]);
        assert_eq!((config.producer.acks, config.producer.idempotence), (Acks::Leader, false));
    }

    #[test]
    fn values_that_were_misread_are_not_compared() {
        check(
            &[("delivery.timeout.ms", "ten"), ("linger.ms", "900000")],
            "delivery.timeout.ms is \"ten\": it must be a number of milliseconds from 1 to 2147483647",
        );
    }

    #[test]
    fn one_setting_has_one_value() {
        check(
            &[("linger.ms", "5"), ("queue.buffering.max.ms", "6")],
            "linger.ms and queue.buffering.max.ms both set linger, to different values: leave one of them out",
        );
        let config = read(&[("linger.ms", "6"), ("queue.buffering.max.ms", "6.0")]);
        assert_eq!(config.producer.linger, Duration::from_millis(6));
    }

    #[test]
    fn what_is_harmless_is_ignored_and_told() {
        let config =
            read(&[("key.serializer", "StringSerializer"), ("retries", "0"), ("send.buffer.bytes", "-1")]);
        let told: Vec<String> = config.ignored().iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "key.serializer does nothing: keys and values are bytes",
                "retries does nothing: nothing counts retries, delivery.timeout.ms ends them",
                "send.buffer.bytes does nothing: the system sizes socket buffers, and requests have deadlines",
            ]
        );
    }

    #[test]
    fn what_would_change_is_refused() {
        check(
            &[("retries", "0"), ("max.in.flight", "1"), ("enable.idempotence", "false")],
            "2 settings are wrong: retries of 0 is refused without idempotence: nothing counts retries, \
             delivery.timeout.ms ends them, and records could be written twice; set enable.idempotence to true; \
             max.in.flight of 1 is refused without idempotence: the client chooses how many requests are under way, \
             and records could be written in another order; set enable.idempotence to true",
        );
        assert_eq!(read(&[("retries", "3"), ("enable.idempotence", "false")]).ignored().len(), 1);
        check(
            &[("sasl.password", "hunter2")],
            "sasl.password is refused: this version has neither TLS nor SASL, connect to a listener that asks for \
             neither",
        );
        check(
            &[("security.protocol", "SASL_SSL")],
            "security.protocol can only be PLAINTEXT: this version has neither TLS nor SASL, connect to a listener that \
             asks for neither",
        );
        check(
            &[("partitioner.ignore.keys", "true")],
            "partitioner.ignore.keys can only be false: set partitioner to \
             sticky instead",
        );
    }

    /// What each property comes to, without regard to its value.
    fn is_known(property: &str) -> bool {
        properties::<ClientConfig>()
            .chain(properties::<ProducerConfig>())
            .chain(properties::<ConsumerConfig>())
            .any(|name| name == property)
            || foreign::find(property).is_some()
    }

    #[test]
    fn every_property_of_java_and_librdkafka_is_known() {
        for file in [include_str!("names-of-java.txt"), include_str!("names-of-librdkafka.txt")] {
            let names: Vec<&str> = file.lines().filter(|line| !line.starts_with('#')).collect();
            assert!(names.len() > 100);
            for name in names {
                assert!(is_known(name), "{name}");
            }
        }
        assert!(!is_known("lingr.ms"));
    }

    #[test]
    fn every_property_stands_for_one_thing() {
        let java = include_str!("names-of-java.txt").lines().collect::<HashSet<_>>();
        let librdkafka = include_str!("names-of-librdkafka.txt").lines().collect::<HashSet<_>>();
        let foreign = FOREIGN.iter().flat_map(|foreign| foreign.names).copied();
        let mut seen = HashSet::new();
        let own = properties::<ClientConfig>()
            .chain(properties::<ProducerConfig>())
            .chain(properties::<ConsumerConfig>());
        for name in own {
            assert!(foreign::find(name).is_none() && seen.insert(name), "{name}");
            assert!(java.contains(name) || librdkafka.contains(name), "{name}");
        }
        for name in foreign {
            let is_theirs = |theirs: &str| match name.strip_suffix('*') {
                Some(beginning) => theirs.starts_with(beginning),
                None => theirs == name,
            };
            assert!(seen.insert(name), "{name}");
            assert!(java.iter().chain(&librdkafka).any(|theirs| is_theirs(theirs)), "{name}");
        }
    }
}
