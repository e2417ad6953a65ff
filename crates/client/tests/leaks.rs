//! Many clients, made and dropped in every state: nothing of them stays.

use std::{fs, net::TcpListener, thread, time::Duration};

use ottla_client::{Kafka, block_on};
use ottla_testing::{Broker, Proxy};

/// Clients of each kind.
const CLIENTS: usize = 100;

fn entries(dir: &str) -> usize {
    fs::read_dir(dir).unwrap().count()
}

#[test]
fn nothing_of_a_client_that_is_dropped_stays() {
    let broker = Broker::start();
    let proxy = Proxy::to(broker.address(1));
    proxy.swallow(true);
    let refused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let one_of_each = || {
        // Not used, connected, refused, and dropped while it connects to somebody who never answers.
        drop(Kafka::builder([refused.to_string()]).build().unwrap());
        block_on(Kafka::builder([broker.bootstrap_servers()]).connect()).unwrap();
        let hurried = Kafka::builder([refused.to_string()]).call_timeout(Duration::from_millis(1));
        block_on(hurried.connect()).unwrap_err();
        let silent = Kafka::builder([proxy.address().to_string()]).call_timeout(Duration::from_millis(1));
        block_on(silent.connect()).unwrap_err();
    };
    let settled = |wanted: (usize, usize)| {
        for _ in 0..1000 {
            let now = (entries("/proc/self/task"), entries("/proc/self/fd"));
            if now <= wanted {
                return;
            }
            thread::park_timeout(Duration::from_millis(10));
        }
        panic!(
            "{} threads and {} descriptors, {wanted:?} before",
            entries("/proc/self/task"),
            entries("/proc/self/fd")
        );
    };
    one_of_each();
    thread::park_timeout(Duration::from_millis(200));
    let before = (entries("/proc/self/task"), entries("/proc/self/fd"));
    (0..CLIENTS).for_each(|_| one_of_each());
    settled(before);
    assert!(broker.counts().connections_open <= 1, "{:?}", broker.counts());
}

#[tokio::test]
async fn who_gives_up_waiting_leaves_no_task_behind() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_address = silent.local_addr().unwrap();
    let refused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let alive = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    for address in [refused, silent_address] {
        let hour = Duration::from_secs(3600);
        let kafka = Kafka::builder([address.to_string()]).call_timeout(hour).on_current_runtime();
        let kafka = kafka.build().unwrap();
        tokio::time::timeout(Duration::from_millis(20), kafka.connect()).await.unwrap_err();
        assert!(alive() >= 2, "it did not begin");
        drop(kafka);
        let gone = async {
            while alive() > 0 {
                tokio::task::yield_now().await;
            }
        };
        // Long before the deadline, and before any time-out of a connection.
        tokio::time::timeout(Duration::from_secs(5), gone).await.unwrap();
    }
}
