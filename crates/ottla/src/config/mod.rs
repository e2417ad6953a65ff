//! The configuration of `ottla serve`: from flags and file to what the broker is built from.
//!
//! It goes in two steps. [`Layered::parse`] is pure: flags and the text of the file become two layers, in
//! which each value knows its [`Place`]. [`Layered::resolve`] puts them over the defaults, checks the settings
//! and asks the [`World`] for the addresses behind host names. Every error names the place of what is wrong.

mod address;
mod file;
mod layer;

use std::{
    fmt, fs, io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs},
    path::{Path, PathBuf},
};

use ottla_engine::settings::BrokerSettings;
use thiserror::Error;

pub use address::HostPort;

use crate::args::ServeArgs;
use layer::{Layer, Placed};

/// The port that Kafka's clients expect.
const DEFAULT_PORT: u16 = 9092;
const DEFAULT_DATA: &str = "ottla-data";

/// What `ottla serve` is to do.
#[derive(Debug)]
pub struct Config {
    /// The data directory.
    pub data: PathBuf,
    /// Where to listen, at least at one address.
    pub listeners: Vec<Listener>,
    /// The address to advertise; `None` for the one that a client connected to.
    pub advertise: Option<HostPort>,
    /// The broker's settings.
    pub settings: BrokerSettings,
}

/// An address to listen at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Listener {
    /// The address; port 0 takes a free port.
    pub address: SocketAddr,
    /// Whether it is no error if the host does not have this address, as with the default `[::1]:9092` on a
    /// host without IPv6. A port that is taken is an error all the same.
    pub optional: bool,
}

/// Where a value was given.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Place {
    /// In the configuration file.
    File {
        /// The file, as it was named.
        path: PathBuf,
        /// The line, from 1 on.
        line: usize,
    },
    /// By a flag.
    Flag(&'static str),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

/// What is wrong with the configuration, and where. The process ends with [`EXIT_CODE`] over it.
#[derive(Debug, Error)]
#[error("{place}: {fault}")]
pub struct ConfigError {
    place: Place,
    fault: String,
}

impl ConfigError {
    fn new(place: Place, fault: impl fmt::Display) -> Self {
        Self { place, fault: fault.to_string() }
    }
}

/// The exit code for a wrong configuration.
pub const EXIT_CODE: u8 = 2;

/// What the configuration needs of the machine.
pub trait World {
    /// Reads a text file.
    ///
    /// # Errors
    /// Those of the file system.
    fn read(&self, path: &Path) -> io::Result<String>;

    /// Finds the addresses of a host, and gives them the port.
    ///
    /// # Errors
    /// Where the host is not known.
    fn addresses(&self, host: &HostPort) -> io::Result<Vec<SocketAddr>>;
}

/// The machine that we run on.
#[derive(Clone, Copy, Debug)]
pub struct Machine;

impl World for Machine {
    fn read(&self, path: &Path) -> io::Result<String> {
        fs::read_to_string(path)
    }

    fn addresses(&self, host: &HostPort) -> io::Result<Vec<SocketAddr>> {
        Ok((host.host.as_str(), host.port).to_socket_addrs()?.collect())
    }
}

/// Reads the configuration that the flags ask for.
///
/// # Errors
/// [`ConfigError`] for the first thing that is wrong.
pub fn load(args: &ServeArgs, world: &impl World) -> Result<Config, ConfigError> {
    let text = match &args.config {
        Some(path) => Some(world.read(path).map_err(|error| {
            ConfigError::new(Place::Flag("--config"), format!("cannot read {}: {error}", path.display()))
        })?),
        None => None,
    };
    Layered::parse(args, text.as_deref())?.resolve(world)
}

/// All that was given, the lower layer first.
#[derive(Debug)]
pub struct Layered {
    layers: [Layer; 2],
}

impl Layered {
    /// Takes the flags, and the text of the file that they name.
    ///
    /// # Errors
    /// [`ConfigError`] where the file is no TOML, a name is unknown, or one layer gives a thing twice.
    pub fn parse(args: &ServeArgs, text: Option<&str>) -> Result<Self, ConfigError> {
        let file = match (&args.config, text) {
            (Some(path), Some(text)) => file::parse(path, text)?,
            _ => Layer::default(),
        };
        Ok(Self { layers: [file, layer::of_flags(args)?] })
    }

    /// Puts the layers over the defaults and checks what comes out.
    ///
    /// # Errors
    /// [`ConfigError`] where a value does not fit or a host is not known.
    pub fn resolve(self, world: &impl World) -> Result<Config, ConfigError> {
        let mut settings = BrokerSettings::default();
        let mut data = PathBuf::from(DEFAULT_DATA);
        let mut listen = Vec::new();
        let mut advertise = None;
        for layer in self.layers {
            for (name, Placed { value, place }) in layer.settings {
                settings.apply(name, &value).map_err(|error| ConfigError::new(place, error))?;
            }
            if let Some(given) = layer.data {
                data = data_directory(given)?;
            }
            if !layer.listen.is_empty() {
                listen = layer.listen;
            }
            advertise = layer.advertise.or(advertise);
        }
        let listeners = match listen.is_empty() {
            true => default_listeners(),
            false => listeners(listen, world)?,
        };
        Ok(Config { data, listeners, advertise: advertise.map(advertised).transpose()?, settings })
    }
}

fn data_directory(given: Placed<PathBuf>) -> Result<PathBuf, ConfigError> {
    if given.value.as_os_str().is_empty() {
        return Err(ConfigError::new(given.place, "the data directory has no name"));
    }
    Ok(given.value)
}

fn default_listeners() -> Vec<Listener> {
    vec![
        Listener { address: (Ipv4Addr::LOCALHOST, DEFAULT_PORT).into(), optional: false },
        Listener { address: (Ipv6Addr::LOCALHOST, DEFAULT_PORT).into(), optional: true },
    ]
}

fn listeners(listen: Vec<Placed<String>>, world: &impl World) -> Result<Vec<Listener>, ConfigError> {
    let mut listeners: Vec<Listener> = Vec::new();
    for Placed { value, place } in listen {
        let host = value.parse::<HostPort>().map_err(|error| ConfigError::new(place.clone(), error))?;
        let addresses = match world.addresses(&host) {
            Ok(addresses) if addresses.is_empty() => Err("it has none".to_owned()),
            other => other.map_err(|error| error.to_string()),
        }
        .map_err(|error| {
            ConfigError::new(place, format!("cannot find an address of {}: {error}", host.host))
        })?;
        for address in addresses {
            // One name may lead to one address twice; each port 0 is a port of its own.
            if address.port() == 0 || listeners.iter().all(|listener| listener.address != address) {
                listeners.push(Listener { address, optional: false });
            }
        }
    }
    Ok(listeners)
}

fn advertised(given: Placed<String>) -> Result<HostPort, ConfigError> {
    let check = || {
        let address = given.value.parse::<HostPort>()?;
        address.check_reachable()?;
        Ok(address)
    };
    check().map_err(|error: address::AddressError| ConfigError::new(given.place.clone(), error))
}

#[cfg(test)]
mod tests;
