//! Where a broker is, and the addresses behind a name.

use std::{fmt, net::SocketAddr, str::FromStr, time::Duration};

use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};

use crate::error::{Error, ErrorKind};

/// A host and a port.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct Address {
    host: String,
    port: u16,
}

impl Address {
    pub(crate) fn new(host: impl Into<String>, port: u16) -> Self {
        Self { host: host.into(), port }
    }

    /// A connection to the first address behind the name that takes one. Each is tried (KIP-602), and has its share
    /// of the time that is left.
    ///
    /// # Errors
    /// `Retriable`: the name is not known, or no address took a connection in time.
    pub(crate) async fn connect(&self, within: Duration) -> Result<TcpStream, Error> {
        let failed =
            |source| Error::because(ErrorKind::Retriable, format!("cannot connect to {self}"), source);
        let connecting = async {
            let behind: Vec<SocketAddr> = lookup_host((&*self.host, self.port)).await?.collect();
            let mut last = std::io::Error::from(std::io::ErrorKind::NotFound);
            for (tried, address) in behind.iter().enumerate() {
                let share = within / u32::try_from(behind.len() - tried).unwrap_or(u32::MAX);
                match timeout(share, TcpStream::connect(address)).await {
                    Ok(Ok(stream)) => {
                        // Requests are written whole: there is nothing to wait for.
                        stream.set_nodelay(true)?;
                        return Ok(stream);
                    }
                    Ok(Err(error)) => last = error,
                    Err(_) => last = std::io::Error::from(std::io::ErrorKind::TimedOut),
                }
            }
            Err(last)
        };
        match timeout(within, connecting).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(failed(error)),
            Err(_) => Err(failed(std::io::Error::from(std::io::ErrorKind::TimedOut))),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl FromStr for Address {
    type Err = Error;

    /// Reads `host:port`, `[::1]:port` or, as Java does, one with a protocol before it (`PLAINTEXT://host:port`).
    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || {
            let what = format!("{text:?} is no address of a broker; give host:port, such as kafka-1:9092");
            Error::new(ErrorKind::Config, what)
        };
        let bare = text.trim();
        let bare = bare.strip_prefix("PLAINTEXT://").unwrap_or(bare);
        let (host, port) = bare.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(wrong)?;
        let in_brackets = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match in_brackets {
            Some(host) => host,
            None if host.contains(':') => return Err(wrong()),
            None => host,
        };
        if host.is_empty() || host.contains(['/', ' ', '[', ']']) {
            return Err(wrong());
        }
        Ok(Self::new(host, port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_users_write_them() {
        for (text, shown) in [
            ("kafka-1:9092", "kafka-1:9092"),
            (" 10.0.0.1:1 ", "10.0.0.1:1"),
            ("[::1]:9092", "[::1]:9092"),
            ("PLAINTEXT://broker:29092", "broker:29092"),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), shown);
        }
        for wrong in [
            "",
            "kafka",
            "kafka:",
            ":9092",
            "kafka:0",
            "kafka:65536",
            "::1:9092",
            "SSL://kafka:9093",
            "a b:1",
        ] {
            let error = wrong.parse::<Address>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains(&format!("{wrong:?}")), "{error}");
        }
    }
}
