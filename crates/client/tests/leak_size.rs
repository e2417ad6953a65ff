//! How much memory, threads and descriptors many clients leave behind that never reached a broker. A process of its own, as
//! what others do would be counted. `OTTLA_CLIENTS` says how many (default: 1,500).

use std::{
    env, fs,
    future::Future,
    net::TcpListener,
    pin::pin,
    task::{Context, Waker},
    thread,
    time::Duration,
};

use ottla_client::{Kafka, Record};

/// Clients after which memory may grow by no more than [`GROWTH_MAX_KIB`].
const FIRST: usize = 1000;
const GROWTH_MAX_KIB: u64 = 1024;

fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Threads and descriptors.
fn open() -> (usize, usize) {
    let entries = |dir| fs::read_dir(dir).unwrap().count();
    (entries("/proc/self/task"), entries("/proc/self/fd"))
}

/// Waits until no more are open than were.
fn settle(before: (usize, usize)) {
    for _ in 0..3000 {
        let now = open();
        if now.0 <= before.0 && now.1 <= before.1 {
            return;
        }
        thread::park_timeout(Duration::from_millis(10));
    }
    panic!("{:?} threads and descriptors are open, {before:?} were", open());
}

#[test]
fn clients_that_never_reached_a_broker_leave_nothing() {
    let clients: usize = env::var("OTTLA_CLIENTS").map_or(1500, |clients| clients.parse().unwrap());
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let refused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let addresses = [silent.local_addr().unwrap().to_string(), refused.to_string()];
    let make = |number: usize| {
        let kafka = Kafka::builder([&*addresses[number / 2 % 2]]).build().unwrap();
        if number % 2 == 0 {
            return;
        }
        let mut connect = pin!(kafka.connect());
        assert!(connect.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        if number % 3 == 0 {
            let producer = kafka.producer().drop_grace(Duration::ZERO).build().unwrap();
            drop(producer.try_send(Record::new("orders").value("lost")).unwrap());
        }
    };
    // What a process opens once for all, it opens with the first.
    let threads = open().0;
    (0..4).for_each(make);
    settle((threads, usize::MAX));
    let before = open();
    let mut after_first = 0;
    for number in 0..clients {
        make(number);
        // As many at a time as a program could have.
        if number % 50 == 49 {
            settle(before);
        }
        if number + 1 == FIRST {
            after_first = resident_kib();
        }
    }
    settle(before);
    let grown = resident_kib().saturating_sub(after_first);
    println!("{clients} clients: {after_first} KiB after {FIRST}, {grown} KiB more at the end");
    assert!(grown <= GROWTH_MAX_KIB, "{grown} KiB more after {clients} clients than after {FIRST}");
}
