//! Brokers are killed, frozen and cut off again and again while a program logs: nothing changes but counters.

mod support;

use std::{collections::HashMap, env, io::Write, time::Duration};

use ottla_testing::{Cluster, Proxy};
use ottla_tracing::Fallback;
use tracing::Level;

use support::{LONG, TOPIC, lines, pause, sink};

/// Faults of a run, one after the other.
const FAULTS: usize = 40;
const EVENTS_BETWEEN: usize = 100;

#[test]
fn each_event_has_one_end_whatever_dies() {
    let seed = env::var("OTTLA_CHAOS_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(rand_seed);
    println!("OTTLA_CHAOS_SEED={seed}");
    let mut random = Random(seed);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fallback.log");
    let cluster = Cluster::builder().nodes(3).auto_create_topics(false).topic(TOPIC, 1).start();
    let proxies: HashMap<i32, Proxy> = (1..=3).map(|node| (node, Proxy::to(cluster.address(node)))).collect();
    for (node, proxy) in &proxies {
        cluster.advertise(*node, proxy.address());
    }
    let builder = sink(&cluster)
        .property("request.timeout.ms", "200")
        .property("delivery.timeout.ms", "400")
        .property("max.block.ms", "200")
        .fallback(Fallback::file(&path));
    let (sink, guard) = builder.build().unwrap();
    let mut writer = sink.writer(Level::INFO);
    let mut logged = 0;
    for _ in 0..FAULTS {
        let node = 1 + random.below(3) as i32;
        let proxy = &proxies[&node];
        match random.below(8) {
            0 => cluster.kill(node),
            1 => cluster.freeze(node),
            2 => proxy.cut(),
            3 => proxy.swallow(true),
            4 => proxy.refuse(),
            5 => cluster.move_leader(TOPIC, 0, node),
            _ => mend(&cluster, &proxies),
        }
        for _ in 0..EVENTS_BETWEEN {
            writeln!(writer, "{logged}").unwrap();
            logged += 1;
        }
        pause(Duration::from_millis(random.below(150)));
    }
    mend(&cluster, &proxies);
    sink.flush(LONG).unwrap();
    let counters = guard.close(LONG);
    let in_kafka = numbers(&lines(&cluster.records(TOPIC, 0)));
    let text = support::text(&path);
    let in_fallback = numbers(&text.lines().map(str::to_owned).collect::<Vec<_>>());

    assert_eq!(counters.accepted.info, logged);
    assert_eq!(
        (counters.dropped.total(), counters.lost.total(), counters.waiting),
        (0, 0, 0),
        "{counters:?}"
    );
    assert!(in_kafka.is_sorted_by(|one, next| one < next), "twice, or out of order: {in_kafka:?}");
    assert_eq!(counters.fallback.info, in_fallback.len() as u64);
    // What may have been written is in the fallback as well.
    let missing =
        (0..logged).find(|number| in_kafka.binary_search(number).is_err() && !in_fallback.contains(number));
    assert_eq!(missing, None);
    assert!(counters.delivered <= in_kafka.len() as u64);
}

fn mend(cluster: &Cluster, proxies: &HashMap<i32, Proxy>) {
    for (node, proxy) in proxies {
        cluster.revive(*node);
        cluster.thaw(*node);
        proxy.swallow(false);
        proxy.accept();
    }
}

/// The numbers among lines, which the sink's own are not.
fn numbers(lines: &[String]) -> Vec<u64> {
    lines.iter().filter_map(|line| line.parse().ok()).collect()
}

/// Numbers that look random (Marsaglia's xorshift of 64 bits).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// Another one each time.
fn rand_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0) | 1
}
