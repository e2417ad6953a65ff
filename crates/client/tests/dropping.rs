//! Futures that are dropped at every point at which they wait: each does what its documentation says.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::Duration,
};

use ottla_client::{
    Kafka, block_on,
    producer::{Delivery, Producer, Record},
};
use ottla_testing::Cluster;

const MINUTE: Duration = Duration::from_secs(60);

/// Wakes a thread, and counts.
struct Woken {
    thread: Thread,
    times: AtomicUsize,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.times.fetch_add(1, Ordering::SeqCst);
        self.thread.unpark();
    }
}

/// Polls a future so many times, as often as it is woken, and drops it. Returns what it gave, if it was ready by then.
fn drop_after<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let woken = Arc::new(Woken { thread: thread::current(), times: AtomicUsize::new(0) });
    let waker = Waker::from(woken.clone());
    let mut future = Box::pin(future);
    for poll in 1..=polls {
        let before = woken.times.load(Ordering::SeqCst);
        if let Poll::Ready(ready) = Pin::new(&mut future).poll(&mut Context::from_waker(&waker)) {
            return Some(ready);
        }
        if poll < polls {
            while woken.times.load(Ordering::SeqCst) == before {
                thread::park();
            }
        }
    }
    None
}

/// A topic with one partition, whose leader hangs, and a producer that has no room left for it.
fn full() -> (Cluster, Producer, Vec<Delivery>) {
    let cluster = Cluster::builder().nodes(1).topic("orders", 1).start();
    let kafka = Kafka::builder([cluster.bootstrap_servers()]).memory_budget(2 << 20).build().unwrap();
    let producer = kafka.producer().linger(Duration::ZERO).build().unwrap();
    block_on(producer.send(large("first"))).unwrap();
    cluster.freeze(1);
    let mut deliveries = Vec::new();
    while let Ok(delivery) = producer.try_send(large("fills")) {
        deliveries.push(delivery);
    }
    assert!(deliveries.len() > 5);
    (cluster, producer, deliveries)
}

/// A record that takes more than half of a batch.
fn large(value: &str) -> Record {
    Record::new("orders").key(vec![b'x'; 60 << 10]).value(value.to_owned()).partition(0)
}

fn is_written(cluster: &Cluster, value: &str) -> bool {
    cluster.records("orders", 0).iter().any(|record| record.value.as_deref() == Some(value.as_bytes()))
}

#[test]
fn enqueue_has_accepted_a_record_or_never_sends_it() {
    for polls in 0.. {
        let (cluster, producer, deliveries) = full();
        let enqueue = producer.enqueue(large("dropped"));
        // The first poll finds no room; once the broker is back, more are needed.
        let is_ready = if polls <= 1 {
            let ready = drop_after(polls, enqueue);
            cluster.thaw(1);
            ready
        } else {
            cluster.thaw(1);
            drop_after(polls, enqueue)
        };
        for delivery in deliveries {
            block_on(delivery).unwrap();
        }
        // Others go on, whoever gave up its place.
        block_on(producer.send(large("after"))).unwrap();
        let was_accepted = is_ready.is_some();
        drop(is_ready);
        block_on(producer.close(MINUTE));
        assert_eq!(is_written(&cluster, "dropped"), was_accepted, "after {polls} polls");
        if was_accepted {
            return assert!(polls >= 1);
        }
    }
}

#[test]
fn who_waits_behind_one_that_gives_up_is_served() {
    let (cluster, producer, deliveries) = full();
    let mut gives_up = Box::pin(producer.enqueue(large("gives up")));
    let nobody = Waker::noop();
    assert!(gives_up.as_mut().poll(&mut Context::from_waker(nobody)).is_pending());
    let waits = {
        let producer = producer.clone();
        thread::spawn(move || block_on(producer.send(large("waits"))).unwrap())
    };
    cluster.thaw(1);
    for delivery in deliveries {
        block_on(delivery).unwrap();
    }
    // It has been woken, and does not look.
    drop(gives_up);
    waits.join().unwrap();
    block_on(producer.close(MINUTE));
    assert!(!is_written(&cluster, "gives up"));
}

#[test]
fn send_goes_on_with_what_was_accepted() {
    for polls in 1.. {
        let cluster = Cluster::builder().nodes(1).topic("orders", 1).start();
        let kafka = Kafka::builder([cluster.bootstrap_servers()]).build().unwrap();
        let producer = kafka.producer().build().unwrap();
        let sent = drop_after(polls, producer.send(Record::new("orders").value("sent")));
        let report = block_on(producer.close(MINUTE));
        assert!(report.failed + report.unsent == 0, "{report:?}");
        assert!(is_written(&cluster, "sent"), "after {polls} polls");
        if sent.is_some() {
            return;
        }
    }
}

#[test]
fn a_delivery_that_is_dropped_cancels_nothing() {
    for polls in 0.. {
        let cluster = Cluster::builder().nodes(1).topic("orders", 1).start();
        let kafka = Kafka::builder([cluster.bootstrap_servers()]).build().unwrap();
        let producer = kafka.producer().build().unwrap();
        let delivery = producer.try_send(Record::new("orders").value("sent")).unwrap();
        let told = drop_after(polls, delivery);
        block_on(producer.close(MINUTE));
        assert!(is_written(&cluster, "sent"), "after {polls} polls");
        if told.is_some() {
            return;
        }
    }
}

#[test]
fn flush_and_close_go_on_when_nobody_waits_for_them() {
    for polls in 0..3 {
        let (cluster, producer, deliveries) = full();
        assert!(drop_after(polls.min(1), producer.flush(MINUTE)).is_none());
        if polls > 0 {
            assert!(drop_after(1, producer.close(MINUTE)).is_none());
            let error = producer.try_send(large("late")).unwrap_err();
            assert_eq!(error.kind(), ottla_client::ErrorKind::Closed);
        }
        cluster.thaw(1);
        for delivery in deliveries {
            block_on(delivery).unwrap();
        }
        block_on(producer.close(MINUTE));
    }
}
