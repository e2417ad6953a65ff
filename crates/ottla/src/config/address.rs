//! `HOST:PORT`, as flags and file give it and clients are told it.

use std::{fmt, net::IpAddr, str::FromStr};

use thiserror::Error;

/// A host, by name or address, and a port.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HostPort {
    /// The name or address, without the brackets of IPv6.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// Why a text is not an address to use.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum AddressError {
    /// It has no port.
    #[error("{0:?} has no port: write HOST:PORT, as in 127.0.0.1:9092")]
    NoPort(String),
    /// It has no host.
    #[error("{0:?} has no host: write HOST:PORT; 0.0.0.0 or [::] as the host means every interface")]
    NoHost(String),
    /// The port is none.
    #[error("{0:?} has no valid port: it must be a number from 0 to 65535")]
    WrongPort(String),
    /// An IPv6 address is not in brackets.
    #[error("{0:?} has more than one colon: write an IPv6 address in brackets, as in [::1]:9092")]
    Unbracketed(String),
    /// Clients could not connect to it.
    #[error("clients cannot connect to {0}: advertise an address and port that they can reach")]
    Unreachable(HostPort),
}

impl HostPort {
    /// Checks that clients could connect to it: that it is neither every interface nor any free port.
    pub fn check_reachable(&self) -> Result<(), AddressError> {
        let every_interface = self.host.parse().is_ok_and(|address: IpAddr| address.is_unspecified());
        match every_interface || self.port == 0 {
            true => Err(AddressError::Unreachable(self.clone())),
            false => Ok(()),
        }
    }
}

impl FromStr for HostPort {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let text = text.trim();
        let (host, port) = text.rsplit_once(':').ok_or_else(|| AddressError::NoPort(text.into()))?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match bracketed {
            Some(host) => host,
            None if text.ends_with(']') => return Err(AddressError::NoPort(text.into())),
            None if host.contains(':') => return Err(AddressError::Unbracketed(text.into())),
            None => host,
        };
        if host.is_empty() {
            return Err(AddressError::NoHost(text.into()));
        }
        let port = port.parse().map_err(|_| AddressError::WrongPort(text.into()))?;
        Ok(Self { host: host.into(), port })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        match host.contains(':') {
            true => write!(f, "[{host}]:{port}"),
            false => write!(f, "{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_shown_as_they_were_given() {
        for text in ["127.0.0.1:9092", "localhost:0", "[::1]:9092", "[fe80::1%eth0]:65535"] {
            assert_eq!(text.parse::<HostPort>().unwrap().to_string(), text);
        }
        assert_eq!("[::1]:9092".parse::<HostPort>().unwrap().host, "::1");
    }

    #[test]
    fn what_is_missing_is_said() {
        let text = String::from;
        for (given, error) in [
            ("localhost", AddressError::NoPort(text("localhost"))),
            ("[::1]", AddressError::NoPort(text("[::1]"))),
            ("", AddressError::NoPort(text(""))),
            (":9092", AddressError::NoHost(text(":9092"))),
            ("[]:9092", AddressError::NoHost(text("[]:9092"))),
            ("localhost:", AddressError::WrongPort(text("localhost:"))),
            ("localhost:65536", AddressError::WrongPort(text("localhost:65536"))),
            ("::1:9092", AddressError::Unbracketed(text("::1:9092"))),
            ("PLAINTEXT://a:9092", AddressError::Unbracketed(text("PLAINTEXT://a:9092"))),
        ] {
            assert_eq!(given.parse::<HostPort>(), Err(error), "{given}");
        }
    }

    #[test]
    fn clients_need_a_host_and_a_port() {
        for (given, reachable) in
            [("broker:9092", true), ("0.0.0.0:9092", false), ("[::]:9092", false), ("broker:0", false)]
        {
            assert_eq!(given.parse::<HostPort>().unwrap().check_reachable().is_ok(), reachable, "{given}");
        }
    }
}
