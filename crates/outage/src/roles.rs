//! What the program starts itself as, so that brokers and networks take none of the memory that is measured.

use std::{
    fmt::Display,
    io::{self, BufRead, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
};

use clap::Subcommand;
use ottla_testing::{Cluster, Direction, Proxy};
use ottla_testing_internal::{Setup, TestBroker};

use crate::{
    child::{DONE, LISTENING},
    failure::{Doing, Result},
    load::{PARTITIONS, TOPIC},
};

/// What a process of a run is.
#[derive(Clone, Debug, Subcommand)]
#[command(hide = true)]
pub enum Role {
    /// A broker of Ottla, by the flags of `ottla serve`.
    Serve {
        #[arg(long)]
        data: PathBuf,
        #[arg(long)]
        advertise: SocketAddr,
        #[arg(long)]
        listen: SocketAddr,
    },
    /// A fake cluster with a node behind each of these addresses.
    Cluster {
        /// What clients are told.
        advertise: Vec<SocketAddr>,
    },
    /// So many proxies, which pass so many bytes per second and connection to servers.
    Proxies { count: usize, bytes_per_second: u64 },
}

impl Role {
    /// Plays it until standard input ends.
    ///
    /// # Errors
    /// A command is none of this role's.
    pub fn play(self) -> Result<()> {
        match self {
            Self::Serve { data, advertise, listen } => serve(&data, advertise, listen),
            Self::Cluster { advertise } => cluster(&advertise),
            Self::Proxies { count, bytes_per_second } => proxies(count, bytes_per_second),
        }
    }
}

fn serve(data: &Path, advertise: SocketAddr, listen: SocketAddr) -> Result<()> {
    if listen.port() != 0 {
        return Err("a broker that is built in takes a free port: --listen 127.0.0.1:0".into());
    }
    let (host, port) = (advertise.ip().to_string(), advertise.port());
    let setup = Setup { advertise: Some((&host, port)), ..Setup::default() };
    let broker = TestBroker::in_directory_with(data, &setup);
    obey([broker.address()], |_, _| false)
}

fn cluster(advertise: &[SocketAddr]) -> Result<()> {
    let nodes = u16::try_from(advertise.len()).doing("nodes")?;
    let cluster = Cluster::builder().nodes(nodes).topic(TOPIC, PARTITIONS).start();
    for (node, address) in (1..).zip(advertise) {
        cluster.advertise(node, *address);
    }
    let addresses = (1..=i32::from(nodes)).map(|node| cluster.address(node));
    obey(addresses, |command, node| {
        let Ok(node) = node.parse() else { return false };
        match command {
            "kill" => cluster.kill(node),
            "revive" => cluster.revive(node),
            _ => return false,
        }
        true
    })
}

fn proxies(count: usize, bytes_per_second: u64) -> Result<()> {
    // Until they are told where their servers are, they are before nothing.
    let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
    let proxies: Vec<Proxy> = (0..count).map(|_| Proxy::to(nobody)).collect();
    for proxy in &proxies {
        proxy.limit(Direction::ToServer, Some(bytes_per_second));
    }
    obey(proxies.iter().map(Proxy::address), |command, rest| {
        let (number, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let proxy = number.parse().ok().and_then(|number: usize| proxies.get(number));
        let Some(proxy) = proxy else { return false };
        match command {
            "refuse" => {
                proxy.refuse();
                proxy.cut();
            }
            "accept" => proxy.accept(),
            "swallow" => proxy.swallow(true),
            "pass" => proxy.swallow(false),
            "server" => match rest.parse() {
                Ok(server) => proxy.set_server(server),
                Err(_) => return false,
            },
            _ => return false,
        }
        true
    })
}

/// Says where it listens, and does what it is told, a line at a time, until nobody tells it anything any more.
fn obey<A: Display>(
    addresses: impl IntoIterator<Item = A>,
    mut act: impl FnMut(&str, &str) -> bool,
) -> Result<()> {
    let addresses: Vec<String> = addresses.into_iter().map(|address| address.to_string()).collect();
    say(&format!("{LISTENING}{}", addresses.join(",")))?;
    for line in io::stdin().lock().lines() {
        let line = line.doing("standard input")?;
        let (command, rest) = line.split_once(' ').unwrap_or((&line, ""));
        say(if act(command, rest) { DONE } else { "this is no command" })?;
    }
    Ok(())
}

fn say(line: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).doing("standard output")
}
