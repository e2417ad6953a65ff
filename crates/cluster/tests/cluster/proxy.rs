//! The proxy before a server that sends back what it gets.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use ottla_protocol::messages::api_versions::ApiVersionsRequest;
use ottla_testing::{Cluster, Direction, Proxy};

use crate::client::{Client, eventually, metadata};

/// A server that sends back what it gets, on each connection until that ends, and a proxy before it.
fn echo() -> Proxy {
    Proxy::to(serve(|mut stream| {
        let mut buffer = [0; 4096];
        while let Ok(bytes) = stream.read(&mut buffer) {
            if bytes == 0 || stream.write_all(&buffer[..bytes]).is_err() {
                break;
            }
        }
        // The rest has come before the end.
        let _ = stream.write_all(b".");
    }))
}

fn serve(serve: fn(TcpStream)) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve(stream));
        }
    });
    address
}

#[expect(clippy::disallowed_methods, reason = "the proxy's delays are real ones")]
fn now() -> Instant {
    Instant::now()
}

#[test]
fn bytes_pass_and_are_counted() {
    let proxy = echo();
    let mut client = Client::connect(proxy.address());
    client.write(b"hello");
    assert_eq!(client.read(5).unwrap(), b"hello");
    let counts = proxy.counts();
    assert_eq!((counts.bytes_to_server, counts.bytes_to_client), (5, 5));
    assert_eq!((counts.connections_opened, counts.connections_open), (1, 1));
    client.close_write();
    assert_eq!(client.read(1).unwrap(), b".", "the other side goes on");
    assert_eq!(client.end(), None);
    eventually("it is over", || proxy.counts().connections_open == 0);
}

#[test]
fn connections_are_cut_and_refused() {
    let proxy = echo();
    let mut client = Client::connect(proxy.address());
    client.write(b"a");
    client.read(1).unwrap();
    proxy.refuse();
    let refused = TcpStream::connect(proxy.address()).map(|_| ()).map_err(|error| error.kind());
    assert_eq!(refused, Err(ErrorKind::ConnectionRefused));
    client.write(b"b");
    assert_eq!(client.read(1).unwrap(), b"b", "those that are there stay");
    proxy.cut();
    assert_eq!(client.end(), Some(ErrorKind::ConnectionReset));
    assert_eq!(proxy.counts().connections_open, 0);
    proxy.accept();
    let mut client = Client::connect(proxy.address());
    client.write(b"c");
    assert_eq!(client.read(1).unwrap(), b"c");
}

#[test]
fn a_proxy_before_nothing_resets() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let proxy = Proxy::to(nobody);
    // The reset may come before the client knows that it is connected.
    let ended =
        Client::try_connect(proxy.address()).map_or_else(|error| Some(error.kind()), |mut it| it.end());
    assert_eq!(ended, Some(ErrorKind::ConnectionReset));
}

#[test]
fn new_connections_go_where_the_server_is_now() {
    let proxy = echo();
    let mut old = Client::connect(proxy.address());
    old.write(b"a");
    assert_eq!(old.read(1).unwrap(), b"a");
    let greets = serve(|mut stream| drop(stream.write_all(b"hello")));
    proxy.set_server(greets);
    old.write(b"b");
    assert_eq!(old.read(1).unwrap(), b"b", "those that are there stay");
    assert_eq!(Client::connect(proxy.address()).read(5).unwrap(), b"hello");
}

#[test]
fn what_is_swallowed_is_gone() {
    let proxy = echo();
    let mut old = Client::connect(proxy.address());
    old.write(b"a");
    old.read(1).unwrap();
    proxy.swallow(true);
    let mut new = Client::connect(proxy.address());
    old.write(b"b");
    new.write(b"c");
    assert!(old.is_silent() && new.is_silent());
    assert_eq!(proxy.counts().bytes_to_server, 1);
    proxy.swallow(false);
    assert_eq!((old.end(), new.end()), (Some(ErrorKind::ConnectionReset), Some(ErrorKind::ConnectionReset)));
    let mut client = Client::connect(proxy.address());
    client.write(b"d");
    assert_eq!(client.read(1).unwrap(), b"d");
}

#[test]
fn bytes_are_delayed_and_limited() {
    let proxy = echo();
    let mut client = Client::connect(proxy.address());
    proxy.delay(Direction::ToServer, Duration::from_millis(60));
    proxy.delay(Direction::ToClient, Duration::from_millis(40));
    let start = now();
    client.write(b"a");
    client.read(1).unwrap();
    assert!(start.elapsed() >= Duration::from_millis(100), "{:?}", start.elapsed());

    proxy.delay(Direction::ToServer, Duration::ZERO);
    proxy.delay(Direction::ToClient, Duration::ZERO);
    proxy.limit(Direction::ToClient, Some(10_000));
    let start = now();
    client.write(&[7; 2000]);
    assert_eq!(client.read(2000).unwrap(), [7; 2000]);
    // The last piece is there before its time has passed.
    assert!(start.elapsed() >= Duration::from_millis(170), "{:?}", start.elapsed());
}

#[test]
fn one_byte_is_corrupted() {
    let proxy = echo();
    proxy.corrupt(Direction::ToClient, Some(2));
    for _ in 0..2 {
        let mut client = Client::connect(proxy.address());
        client.write(b"ab");
        assert_eq!(client.read(2).unwrap(), b"ab");
        client.write(b"cd");
        assert_eq!(client.read(2).unwrap(), [!b'c', b'd']);
    }
    proxy.corrupt(Direction::ToClient, None);
    let mut client = Client::connect(proxy.address());
    client.write(b"abc");
    assert_eq!(client.read(3).unwrap(), b"abc");
}

#[test]
fn one_side_is_closed() {
    let proxy = echo();
    let mut client = Client::connect(proxy.address());
    client.write(b"a");
    assert_eq!(client.read(1).unwrap(), b"a");
    proxy.half_close(Direction::ToServer);
    // The server has heard the end, and what it says still comes.
    assert_eq!(client.read(1).unwrap(), b".");
    assert_eq!(client.end(), None);
}

#[test]
fn writes_are_chopped() {
    let proxy = Proxy::to(serve(|mut stream| {
        // Tells how many bytes each read brought.
        let mut buffer = [0; 4096];
        let mut reads = Vec::new();
        while let Ok(bytes @ 1..) = stream.read(&mut buffer) {
            reads.push(u8::try_from(bytes).unwrap_or(u8::MAX));
        }
        let _ = stream.write_all(&reads);
    }));
    proxy.chop(Direction::ToServer, Some(1));
    proxy.limit(Direction::ToServer, Some(1000));
    let mut stream = TcpStream::connect(proxy.address()).unwrap();
    stream.write_all(&[1; 20]).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut reads = Vec::new();
    stream.read_to_end(&mut reads).unwrap();
    assert_eq!(reads.iter().map(|bytes| u32::from(*bytes)).sum::<u32>(), 20);
    assert!(reads.len() > 10, "{reads:?}");
}

#[test]
fn a_node_is_reached_through_it() {
    let cluster = Cluster::builder().nodes(2).topic("t", 2).start();
    let proxy = Proxy::to(cluster.address(2));
    cluster.advertise(2, proxy.address());
    let told = metadata(&cluster, 1, "t");
    assert_eq!(told.brokers[1].port, i32::from(proxy.address().port()));
    assert_eq!(cluster.bootstrap_servers(), format!("{},{}", cluster.address(1), proxy.address()));
    assert_ne!(cluster.address(2), proxy.address(), "the node is still where it is");
    Client::connect(proxy.address()).call(0, &ApiVersionsRequest::default());
    assert_eq!(cluster.node_counts(2).connections_opened, 1);
}
