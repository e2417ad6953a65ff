//! A sink before, inside and after runtimes of the program, and without one.

mod support;

use std::{sync::Arc, thread, time::Duration};

use ottla_tracing::Fallback;
use tracing::{Instrument, dispatcher, info, info_span};
use tracing_subscriber::{Registry, filter::LevelFilter, prelude::*};

use support::{LONG, TOPIC, cluster, lines, sink, until};

#[test]
fn events_before_inside_and_after_runtimes_arrive() {
    let cluster = cluster();
    let (sink, guard) = sink(&cluster).build().unwrap();
    let dispatch = Registry::default().with(sink.layer()).into();
    dispatcher::with_default(&dispatch, || {
        info!("before");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(
            async {
                info!("inside");
                tokio::task::yield_now().await;
                info!("inside again");
            }
            .instrument(info_span!("task", number = 7)),
        );
        drop(runtime);
        info!("after");
    });
    sink.flush(LONG).unwrap();
    let lines = lines(&cluster.records(TOPIC, 0));
    for (line, message) in lines.iter().zip(["before", "inside", "inside again", "after"]) {
        assert!(line.contains(&format!(r#""message":"{message}""#)), "{line}");
    }
    assert!(lines[1].contains(r#""spans":[{"name":"task","number":7}]"#), "{}", lines[1]);
    drop(guard);
}

#[test]
fn a_sink_can_be_made_used_and_dropped_inside_a_runtime() {
    let cluster = cluster();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let (sink, guard) = sink(&cluster).build().unwrap();
        let dispatch = Registry::default().with(sink.layer()).into();
        dispatcher::with_default(&dispatch, || info!("inside"));
        // A sink that cannot be made does not harm the runtime either.
        assert!(support::nowhere().property("lingr.ms", "1").build().is_err());
        assert!(support::nowhere().property("linger.ms", "-1").build().is_err());
        drop(guard);
    });
    assert_eq!(cluster.records(TOPIC, 0).len(), 1);
}

/// The client logs each step at TRACE; were that sent as well, it would never end.
#[test]
fn logging_everything_does_not_log_about_logging() {
    let cluster = cluster();
    let (sink, guard) = sink(&cluster).build().unwrap();
    let others = Arc::new(parking_lot::Mutex::new(Vec::new()));
    // Another layer sees what the client says, and logs by way of the sink what it sees.
    let seen = others.clone();
    let writer = sink.clone();
    let other = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(move || {
        let (seen, mut writer) = (seen.clone(), writer.writer(tracing::Level::INFO));
        Both(move |bytes: &[u8]| {
            std::io::Write::write_all(&mut writer, bytes).unwrap();
            seen.lock().extend_from_slice(bytes);
        })
    });
    tracing_subscriber::registry()
        .with(other.with_filter(LevelFilter::TRACE))
        .with(sink.layer().with_filter(LevelFilter::TRACE))
        .init();
    for number in 0..100 {
        info!(number, "tea");
    }
    // The cluster in this process logs at its own threads; what is about the client is not sent.
    until("the sink is at rest", || {
        sink.flush(LONG).unwrap();
        let before = sink.counters().accepted.total();
        support::pause(Duration::from_millis(300));
        sink.counters().accepted.total() == before
    });
    let lines = lines(&cluster.records(TOPIC, 0));
    let own = |line: &&String| line.contains("ottla_client") || line.contains("ottla_tracing");
    assert_eq!(lines.iter().find(own), None);
    assert!(lines.iter().filter(|line| line.contains(r#""message":"tea""#)).count() == 100);
    let said = String::from_utf8(others.lock().clone()).unwrap();
    assert!(said.contains("ottla_client"), "the client says something: {said}");
    drop(guard);
}

struct Both<F>(F);

impl<F: FnMut(&[u8])> std::io::Write for Both<F> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        (self.0)(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Two sinks in one registry, with fields of spans for each in its own way.
#[test]
fn two_sinks_of_one_registry_do_not_mix() {
    let (one, two) = (cluster(), cluster());
    let (first, first_guard) = sink(&one).build().unwrap();
    let (second, second_guard) = sink(&two)
        .format(ottla_tracing::Format::Ecs)
        .redact(["secret"])
        .fallback(Fallback::Nowhere)
        .build()
        .unwrap();
    let dispatch = Registry::default().with(first.layer()).with(second.layer()).into();
    dispatcher::with_default(&dispatch, || {
        let span = info_span!("request", secret = "tea", path = "/");
        let _span = span.enter();
        info!("served");
        thread::scope(|scope| {
            scope.spawn(|| dispatcher::with_default(&dispatch, || span.in_scope(|| info!("elsewhere"))));
        });
    });
    drop((first_guard, second_guard));
    let (one, two) = (lines(&one.records(TOPIC, 0)), lines(&two.records(TOPIC, 0)));
    assert_eq!((one.len(), two.len()), (2, 2));
    assert!(one[1].contains(r#""spans":[{"name":"request","secret":"tea","path":"/"}]"#), "{}", one[1]);
    assert!(two[1].contains(r#""labels":{"secret":"[redacted]","path":"/"}"#), "{}", two[1]);
}
