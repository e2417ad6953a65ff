//! The brokers of the outage program, a process of their own: a fake cluster of three nodes, each behind a proxy that
//! lets so many bytes through in a second. What was written stays when they go.
//!
//! Lines of its standard input: `kill`, `revive`, `swallow`, `pass`, and `judge MILLISECONDS FILE`. Each is answered with
//! a line of JSON. It prints its addresses first.

use std::{io::BufRead, path::Path};

use ottla_testing::{Cluster, Direction, Proxy};
use serde_json::{Value, json};

use super::{NODES, TOPIC, judge};
use crate::{
    failure::{Doing, Result},
    load::PARTITIONS,
};

/// Serves until the standard input ends.
pub fn run(node_bytes_per_s: u64) -> Result<()> {
    let nodes = Cluster::builder().nodes(NODES).auto_create_topics(false).topic(TOPIC, PARTITIONS).start();
    let proxies: Vec<Proxy> = (1..=i32::from(NODES))
        .map(|node| {
            let proxy = Proxy::to(nodes.address(node));
            proxy.limit(Direction::ToServer, Some(node_bytes_per_s));
            nodes.advertise(node, proxy.address());
            proxy
        })
        .collect();
    println!("{}", nodes.bootstrap_servers());
    for line in std::io::stdin().lock().lines() {
        let line = line.doing("read the standard input")?;
        let answer =
            obey(&nodes, &proxies, &line).unwrap_or_else(|failure| json!({ "error": failure.to_string() }));
        println!("{answer}");
    }
    Ok(())
}

fn obey(nodes: &Cluster, proxies: &[Proxy], line: &str) -> Result<Value> {
    let all = (1..=i32::from(NODES)).zip(proxies);
    match line.split_once(' ').map_or((line, ""), |(word, rest)| (word, rest)) {
        ("kill", _) => all.for_each(|(node, proxy)| {
            proxy.refuse();
            proxy.cut();
            nodes.kill(node);
        }),
        ("revive", _) => all.for_each(|(node, proxy)| {
            nodes.revive(node);
            proxy.accept();
        }),
        ("swallow", _) => all.for_each(|(_, proxy)| proxy.swallow(true)),
        ("pass", _) => all.for_each(|(_, proxy)| proxy.swallow(false)),
        ("judge", rest) => {
            let (back_ms, path) = rest.split_once(' ').ok_or("judge takes milliseconds and a file")?;
            let back_ms = back_ms.parse().doing("judge")?;
            return judge::judge(&judge::Log::of(nodes)?, Path::new(path), back_ms);
        }
        _ => return Err(format!("{line}: unknown").into()),
    }
    Ok(json!({}))
}
