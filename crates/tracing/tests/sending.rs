//! What becomes of events while brokers come, go, refuse and are silent.

mod support;

use std::{io::Write, time::Duration};

use ottla_testing::{Action, ApiKey, Cluster, ErrorCode, Filter};
use ottla_tracing::{Fallback, FlushError, Overflow, Sink};
use tracing::Level;

use support::{LONG, TOPIC, cluster, lines, sink, until};

#[test]
fn lines_arrive_in_order_with_their_level() {
    let cluster = cluster();
    let (sink, guard) = sink(&cluster).header("service", "shop").build().unwrap();
    let (mut info, mut error) = (sink.writer(Level::INFO), sink.writer(Level::ERROR));
    for number in 0..1000 {
        write!(info, "tea ").unwrap();
        writeln!(info, "{number}").unwrap();
    }
    write!(error, "no more tea\r\n\nhalf a line").unwrap();
    drop(error);
    sink.flush(LONG).unwrap();
    let records = cluster.records(TOPIC, 0);
    let values: Vec<_> = lines(&records);
    assert_eq!(values.len(), 1002);
    assert!(values[..1000].iter().zip(0..).all(|(value, number)| *value == format!("tea {number}")));
    assert_eq!(values[1000..], ["no more tea", "half a line"]);
    let headers = |record: &ottla_testing::Record| -> Vec<String> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        record
            .headers
            .iter()
            .map(|(name, value)| format!("{}={}", text(name), text(value.as_deref().unwrap())))
            .collect()
    };
    assert_eq!(headers(&records[0]), ["level=INFO", "service=shop"]);
    assert_eq!(headers(&records[1000]), ["level=ERROR", "service=shop"]);
    assert!(records[0].timestamp_ms > 1_700_000_000_000);
    let counters = guard.close(LONG);
    assert_eq!((counters.accepted.info, counters.accepted.error), (1000, 2));
    assert_eq!((counters.delivered, counters.waiting, counters.dropped.total()), (1002, 0, 0));
    assert_eq!(counters.queue_bytes, 0);
}

#[test]
fn closing_sends_what_there_is_and_later_events_are_counted() {
    let cluster = cluster();
    let (sink, guard) = sink(&cluster).linger(LONG).build().unwrap();
    let mut writer = sink.writer(Level::INFO);
    for number in 0..100 {
        writeln!(writer, "{number}").unwrap();
    }
    drop(guard);
    assert_eq!(cluster.records(TOPIC, 0).len(), 100);
    writeln!(writer, "too late").unwrap();
    assert_eq!(sink.flush(LONG), Err(FlushError::Closed));
    let error = writer.flush().unwrap_err();
    assert_eq!(error.to_string(), "the sink for logs was closed");
    let counters = sink.counters();
    assert_eq!((counters.delivered, counters.dropped.info, counters.waiting), (100, 1, 0));
}

#[test]
fn a_broker_that_comes_late_gets_all() {
    let cluster = cluster();
    cluster.kill(1);
    let (sink, guard) = sink(&cluster).build().unwrap();
    let mut writer = sink.writer(Level::DEBUG);
    for number in 0..2000 {
        writeln!(writer, "{number}").unwrap();
    }
    let late = sink.flush(Duration::from_millis(300)).unwrap_err();
    assert!(matches!(late, FlushError::Timeout { waiting: 2000, .. }), "{late}");
    cluster.revive(1);
    sink.flush(LONG).unwrap();
    let records = cluster.records(TOPIC, 0);
    assert_eq!(lines(&records), (0..2000).map(|number| number.to_string()).collect::<Vec<_>>());
    assert_eq!(guard.close(LONG).delivered, 2000);
}

/// As one that comes after an hour does: many attempts have failed before.
#[test]
fn a_broker_that_comes_after_many_attempts_gets_all_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fallback.log");
    let cluster = cluster();
    cluster.kill(1);
    let builder = sink(&cluster).property("max.block.ms", "20").fallback(Fallback::file(&path));
    let (sink, guard) = builder.build().unwrap();
    let mut writer = sink.writer(Level::TRACE);
    for number in 0..2000 {
        writeln!(writer, "{number}").unwrap();
    }
    let late = sink.flush(Duration::from_millis(1200)).unwrap_err();
    assert!(matches!(late, FlushError::Timeout { waiting: 2000, .. }), "{late}");
    let said = support::text(&path);
    assert!(said.contains("logs wait: Kafka does not take them for the topic logs"), "{said}");
    cluster.revive(1);
    sink.flush(LONG).unwrap();
    assert_eq!(
        lines(&cluster.records(TOPIC, 0)),
        (0..2000).map(|number| number.to_string()).collect::<Vec<_>>()
    );
    let counters = guard.close(LONG);
    assert_eq!((counters.delivered, counters.fallback.total(), counters.waiting), (2000, 0, 0));
    assert_eq!(support::text(&path).lines().count(), 1);
}

/// What was handed to the client before the broker died fails in the end, and is in the fallback then.
#[test]
fn what_cannot_be_delivered_in_time_is_in_the_fallback() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fallback.log");
    let cluster = cluster();
    let builder = sink(&cluster).property("request.timeout.ms", "200").property("delivery.timeout.ms", "400");
    let (sink, guard) = builder.fallback(Fallback::file(&path)).build().unwrap();
    let mut writer = sink.writer(Level::INFO);
    writeln!(writer, "before").unwrap();
    sink.flush(LONG).unwrap();
    cluster.kill(1);
    for number in 0..500 {
        writeln!(writer, "{number}").unwrap();
    }
    // They have had their end, which is not in Kafka.
    until("they are in the fallback", || sink.counters().fallback.info == 500);
    // These wait for Kafka to come back.
    for number in 500..600 {
        writeln!(writer, "{number}").unwrap();
    }
    assert!(sink.flush(Duration::from_millis(100)).is_err());
    cluster.revive(1);
    sink.flush(LONG).unwrap();
    let counters = guard.close(LONG);
    assert_eq!((counters.delivered, counters.fallback.info, counters.lost.total()), (101, 500, 0));
    let text = support::text(&path);
    let diverted: Vec<u32> = text.lines().filter_map(|line| line.parse().ok()).collect();
    assert_eq!(diverted, (0..500).collect::<Vec<_>>());
}

#[test]
fn a_broker_that_is_silent_for_a_while_loses_nothing() {
    let cluster = cluster();
    let (sink, _guard) = sink(&cluster).build().unwrap();
    let mut writer = sink.writer(Level::INFO);
    writeln!(writer, "before").unwrap();
    sink.flush(LONG).unwrap();
    cluster.freeze(1);
    for number in 0..100 {
        writeln!(writer, "{number}").unwrap();
    }
    assert!(matches!(sink.flush(Duration::from_millis(200)), Err(FlushError::Timeout { waiting: 100, .. })));
    cluster.thaw(1);
    sink.flush(LONG).unwrap();
    assert_eq!(cluster.records(TOPIC, 0).len(), 101);
}

#[test]
fn a_missing_topic_is_told_once_and_is_used_as_soon_as_it_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fallback.log");
    let cluster = Cluster::builder().auto_create_topics(true).start();
    let builder = sink(&cluster).property("max.block.ms", "100");
    let (sink, guard) = builder.fallback(Fallback::file(&path)).build().unwrap();
    let mut writer = sink.writer(Level::INFO);
    for number in 0..500 {
        writeln!(writer, "{number}").unwrap();
    }
    until("the topic is missed", || support::text(&path).contains("does not exist"));
    // Some more attempts say nothing more.
    assert!(sink.flush(Duration::from_millis(1500)).is_err());
    let said = support::text(&path);
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("the topic logs does not exist"), "{said}");
    assert!(cluster.topic_id(TOPIC).is_none());
    cluster.create_topic(TOPIC, 1);
    sink.flush(LONG).unwrap();
    assert_eq!(cluster.records(TOPIC, 0).len(), 500);
    let counters = guard.close(LONG);
    assert_eq!((counters.delivered, counters.fallback.total(), counters.lost.total()), (500, 0, 0));
}

#[test]
fn who_may_not_write_is_told_and_goes_on_once_it_may() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fallback.log");
    let cluster = cluster();
    let refuses =
        cluster.on_request(Filter::api(ApiKey::PRODUCE), Action::Fail(ErrorCode::TOPIC_AUTHORIZATION_FAILED));
    let (sink, guard) = sink(&cluster).fallback(Fallback::file(&path)).build().unwrap();
    let mut writer = sink.writer(Level::ERROR);
    for number in 0..500 {
        writeln!(writer, "{number}").unwrap();
    }
    until("it is told", || support::text(&path).contains("may not write to the topic logs"));
    refuses.remove();
    sink.flush(LONG).unwrap();
    assert_eq!(cluster.records(TOPIC, 0).len(), 500);
    assert_eq!(guard.close(LONG).delivered, 500);
    assert_eq!(support::text(&path).lines().count(), 1);
}

/// An event that Kafka will never take, and that is the first one at that, holds up no other.
#[test]
fn an_event_that_is_refused_goes_to_the_fallback_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fallback.log");
    let cluster = Cluster::builder().auto_create_topics(false).start();
    cluster.create_topic_with(TOPIC, 1, &[("max.message.bytes", "2000")]);
    let (sink, guard) = sink(&cluster).fallback(Fallback::file(&path)).build().unwrap();
    let mut writer = sink.writer(Level::INFO);
    let large = "x".repeat(5000);
    for number in 0..10 {
        writeln!(writer, "{large}\n{number}").unwrap();
    }
    sink.flush(LONG).unwrap();
    assert_eq!(
        lines(&cluster.records(TOPIC, 0)),
        (0..10).map(|number| number.to_string()).collect::<Vec<_>>()
    );
    let counters = guard.close(LONG);
    assert_eq!((counters.delivered, counters.fallback.info, counters.lost.total()), (10, 10, 0));
    assert_eq!(support::text(&path), format!("{large}\n").repeat(10));
}

#[test]
fn where_nobody_comes_the_fallback_has_all_at_the_end_and_in_time() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fallback.log");
    let (sink, guard) = support::nowhere().fallback(Fallback::file(&path)).build().unwrap();
    let mut writer = sink.writer(Level::INFO);
    for number in 0..5000 {
        writeln!(writer, "line {number}").unwrap();
    }
    let counters = guard.close(Duration::from_secs(3));
    assert_eq!((counters.fallback.info, counters.waiting, counters.lost.total()), (5000, 0, 0));
    let text = support::text(&path);
    let mut numbers: Vec<u32> =
        text.lines().filter_map(|line| line.strip_prefix("line ")?.parse().ok()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..5000).collect::<Vec<_>>());
}

/// What is accepted faster than Kafka comes back makes room for what is worth more.
#[test]
fn under_pressure_no_warning_is_lost_that_the_fallback_can_take() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fallback.log");
    let builder = support::nowhere().fallback(Fallback::file(&path)).fallback_level(Level::WARN);
    let (sink, guard) = builder.queue_bytes(1 << 20).build().unwrap();
    let (mut info, mut warn) = (sink.writer(Level::INFO), sink.writer(Level::WARN));
    let padding = "x".repeat(200);
    for number in 0..2000 {
        for _ in 0..20 {
            writeln!(info, "{padding}").unwrap();
        }
        writeln!(warn, "warning {number}").unwrap();
        if number % 20 == 0 {
            support::pause(Duration::from_millis(10));
        }
    }
    let counters = guard.close(Duration::from_secs(3));
    // The one that tells what is missing is counted as well.
    assert_eq!((counters.accepted.warn, counters.fallback.warn), (2001, 2001), "{counters:?}");
    assert_eq!((counters.lost.warn, counters.waiting), (0, 0));
    assert!(counters.dropped.info > 0 && counters.lost.info > 0, "{counters:?}");
    assert_eq!(counters.lost.info, counters.accepted.info);
    let text = support::text(&path);
    assert_eq!(text.lines().filter(|line| line.starts_with("warning ")).count(), 2000);
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_of_the_fallback_holds_nobody_up() {
    let fallback = Fallback::file("/dev/full");
    let (sink, guard) = support::nowhere().fallback(fallback).queue_bytes(1 << 20).build().unwrap();
    let mut writer = sink.writer(Level::ERROR);
    let line = "x".repeat(1000);
    for _ in 0..3000 {
        writeln!(writer, "{line}").unwrap();
    }
    let counters = guard.close(Duration::from_secs(2));
    assert_eq!(counters.fallback.total(), 0);
    assert_eq!(counters.lost.error, counters.accepted.error);
    assert_eq!(counters.accepted.error + counters.dropped.error, 3000);
    assert_eq!(counters.waiting, 0);
}

#[test]
fn what_is_missing_is_told_once_it_can_be() {
    let cluster = cluster();
    cluster.kill(1);
    let builder = sink(&cluster).queue_bytes(1 << 20).fallback(Fallback::Nowhere);
    let (sink, guard) = builder.overflow(Overflow::DropOldest).build().unwrap();
    let (mut info, mut error) = (sink.writer(Level::INFO), sink.writer(Level::ERROR));
    let line = "x".repeat(1000);
    for _ in 0..2000 {
        writeln!(info, "{line}").unwrap();
    }
    for _ in 0..2000 {
        writeln!(error, "{line}").unwrap();
    }
    let dropped = sink.counters().dropped;
    assert!(dropped.info > 1000 && dropped.error > 500, "{dropped}");
    cluster.revive(1);
    sink.flush(LONG).unwrap();
    let missing = |records: &[ottla_testing::Record]| -> Vec<String> {
        lines(records).into_iter().filter(|line| line.contains("log events are missing")).collect()
    };
    until("it is told", || !missing(&cluster.records(TOPIC, 0)).is_empty());
    let counters = guard.close(LONG);
    let told = missing(&cluster.records(TOPIC, 0));
    assert_eq!(told.len(), 1);
    assert!(told[0].contains(&format!("the queue was full: {dropped}")), "{} of {dropped}", told[0]);
    assert!(told[0].contains(&format!(r#""dropped":{}"#, dropped.total())), "{} of {dropped}", told[0]);
    assert_eq!((counters.lost.total(), counters.waiting), (0, 0));
    // The one that tells of it is counted as well.
    assert_eq!(
        counters.accepted.total() - counters.delivered,
        counters.dropped.total() - (4000 - counters.accepted.total() + 1)
    );
}

#[test]
fn lines_that_are_too_long_are_cut() {
    let cluster = cluster();
    let (sink, guard) = sink(&cluster).max_event_bytes(1024).build().unwrap();
    let mut writer = sink.writer(Level::INFO);
    for part in ["ü".repeat(800), "more".into(), "\nshort\n".into(), "y".repeat(1012), "\n".into()] {
        writer.write_all(part.as_bytes()).unwrap();
    }
    sink.flush(LONG).unwrap();
    let values = lines(&cluster.records(TOPIC, 0));
    assert_eq!(values, [format!("{} [truncated]", "ü".repeat(506)), "short".into(), "y".repeat(1012)]);
    assert_eq!(guard.close(LONG).truncated, 1);
}

#[test]
fn wrong_settings_are_told() {
    let wrong = [
        (Sink::builder(["localhost:9092"], ""), "the topic has no name"),
        (
            Sink::builder(["localhost:9092"], TOPIC).max_event_bytes(100),
            "max_event_bytes is 100, and must be",
        ),
        (
            Sink::builder(["localhost:9092"], TOPIC).queue_bytes(100),
            "queue_bytes is 100, and must be at least 262144",
        ),
        (Sink::builder(["localhost:9092"], TOPIC).property("lingr.ms", "1"), "did you mean linger.ms?"),
        (Sink::builder(Vec::<String>::new(), TOPIC), "needs the address of at least one broker"),
        (
            Sink::builder(["localhost:9092"], TOPIC).property("allow.auto.create.topics", "TRUE"),
            "never creates topics",
        ),
        (
            Sink::builder(["localhost:9092"], TOPIC).fallback(Fallback::file("/")),
            "the fallback for logs, /, cannot be opened",
        ),
    ];
    for (builder, expected) in wrong {
        let error = builder.build().map(drop).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
