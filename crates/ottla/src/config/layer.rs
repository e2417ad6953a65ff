//! A layer of the configuration: all that one source gives, each value with its place.
//!
//! Invariants: every setting in a layer exists, by its proper name, and is there once.

use std::path::PathBuf;

use ottla_engine::settings::{BROKER, BrokerSettings, Setting, SettingError, nearest};

use super::{ConfigError, Place};
use crate::args::ServeArgs;

/// The names that the file has beside those of settings.
const PLAIN_KEYS: [&str; 4] = ["data", "listen", "advertise", "memory"];

/// A value, and where it was given.
#[derive(Clone, Debug)]
pub struct Placed<T> {
    /// The value.
    pub value: T,
    /// Where it was given.
    pub place: Place,
}

/// What one source gives.
#[derive(Debug, Default)]
pub struct Layer {
    /// The data directory.
    pub data: Option<Placed<PathBuf>>,
    /// Addresses to listen at; none where the source says nothing of them.
    pub listen: Vec<Placed<String>>,
    /// The address to advertise.
    pub advertise: Option<Placed<String>>,
    /// Broker settings, by name.
    pub settings: Vec<(&'static str, Placed<String>)>,
}

/// The layer of the flags.
pub fn of_flags(args: &ServeArgs) -> Result<Layer, ConfigError> {
    let mut layer = Layer::default();
    if let Some(data) = &args.data {
        layer.data = Some(Placed { value: data.clone(), place: Place::Flag("--data") });
    }
    for address in &args.listen {
        layer.listen.push(Placed { value: address.clone(), place: Place::Flag("--listen") });
    }
    if let Some(address) = &args.advertise {
        layer.advertise = Some(Placed { value: address.clone(), place: Place::Flag("--advertise") });
    }
    if let Some(memory) = &args.memory {
        layer.give("memory", memory.clone(), Place::Flag("--memory"))?;
    }
    for assignment in &args.set {
        let place = Place::Flag("--set");
        let Some((name, value)) = assignment.split_once('=') else {
            return Err(ConfigError::new(place, format!("{assignment:?} has no value: write NAME=VALUE")));
        };
        layer.give(name.trim(), value.into(), place)?;
    }
    Ok(layer)
}

impl Layer {
    /// Takes one value by the name it has in the file.
    pub fn give(&mut self, name: &str, value: String, place: Place) -> Result<(), ConfigError> {
        let given = Placed { value, place };
        match name {
            "data" => {
                set_once(&mut self.data, name, Placed { value: given.value.into(), place: given.place })
            }
            "advertise" => set_once(&mut self.advertise, name, given),
            "listen" => {
                self.listen.push(given);
                Ok(())
            }
            "memory" => self.give_setting("memory.budget", given),
            _ => match Setting::find(BROKER, name) {
                Some(setting) => self.give_setting(setting.name, given),
                None => Err(ConfigError::new(given.place, unknown(name))),
            },
        }
    }

    fn give_setting(&mut self, name: &'static str, given: Placed<String>) -> Result<(), ConfigError> {
        match self.settings.iter().find(|(earlier, _)| *earlier == name) {
            Some((_, earlier)) => Err(twice(name, &earlier.place, given.place)),
            None => {
                self.settings.push((name, given));
                Ok(())
            }
        }
    }
}

fn set_once<T>(slot: &mut Option<Placed<T>>, name: &str, given: Placed<T>) -> Result<(), ConfigError> {
    match slot {
        Some(earlier) => Err(twice(name, &earlier.place, given.place)),
        None => {
            *slot = Some(given);
            Ok(())
        }
    }
}

fn twice(name: &str, earlier: &Place, place: Place) -> ConfigError {
    ConfigError::new(place, format!("{name} is given twice, first by {earlier}; give it once"))
}

/// The error for a name that is neither a setting nor a plain key.
fn unknown(name: &str) -> SettingError {
    match BrokerSettings::unknown(name) {
        SettingError::Unknown { name, scope, nearest: None } => {
            let nearest = nearest(&name, PLAIN_KEYS).map(String::from);
            SettingError::Unknown { name, scope, nearest }
        }
        error => error,
    }
}
