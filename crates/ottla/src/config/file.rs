//! The configuration file: TOML to a [`Layer`].
//!
//! Kafka's names have dots, and are quoted keys of one flat table. Where they are written without quotes, TOML
//! makes tables of them, which are flattened back; only a name that is the beginning of another one cannot be
//! written like that.

use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::{ConfigError, Place, layer::Layer};

/// Reads a file's text.
pub fn parse(path: &Path, text: &str) -> Result<Layer, ConfigError> {
    let mut reader = Reader { path, text, layer: Layer::default() };
    let table = DeTable::parse(text).map_err(|error| reader.not_toml(&error))?;
    reader.table("", table.get_ref())?;
    Ok(reader.layer)
}

struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
    layer: Layer,
}

impl Reader<'_> {
    /// Takes all values of a table whose own name is `prefix`, in the order of the file.
    fn table(&mut self, prefix: &str, table: &DeTable<'_>) -> Result<(), ConfigError> {
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        for (key, value) in entries {
            let name = match prefix {
                "" => key.get_ref().to_string(),
                _ => format!("{prefix}.{}", key.get_ref()),
            };
            let place = self.place(key.span().start);
            match value.get_ref() {
                DeValue::Table(table) => self.table(&name, table)?,
                DeValue::Array(values) if name == "listen" => {
                    if values.is_empty() {
                        let fault = "listen names no address: give one, or leave it out for the default";
                        return Err(ConfigError::new(place, fault));
                    }
                    for value in values {
                        let place = self.place(value.span().start);
                        self.value(&name, value.get_ref(), place)?;
                    }
                }
                value => self.value(&name, value, place)?,
            }
        }
        Ok(())
    }

    fn value(&mut self, name: &str, value: &DeValue<'_>, place: Place) -> Result<(), ConfigError> {
        match text_of(value) {
            Some(text) => self.layer.give(name, text, place),
            None => {
                let fault = format!("{name} must be one text, number or boolean, not {}", value.type_str());
                Err(ConfigError::new(place, fault))
            }
        }
    }

    fn place(&self, offset: usize) -> Place {
        let before = self.text.as_bytes().iter().take(offset);
        Place::File { path: self.path.into(), line: 1 + before.filter(|byte| **byte == b'\n').count() }
    }

    /// The error for text that is no TOML. What most often makes it so is a pair of names without quotes.
    fn not_toml(&self, error: &toml::de::Error) -> ConfigError {
        let at = error.span().map_or(0, |span| span.start.min(self.text.len()));
        let line = self.text.bytes().take(at).filter(|byte| *byte == b'\n').count();
        let key = self.text.lines().nth(line).unwrap_or_default().split('=').next().unwrap_or_default();
        let hint = match key.contains('.') && !key.contains(['"', '\'']) {
            true => format!("; put the name in quotes: \"{}\"", key.trim()),
            false => String::new(),
        };
        ConfigError::new(self.place(at), format!("{}{hint}", error.message()))
    }
}

/// A value as the settings read it; `None` for what is no single value of theirs.
fn text_of(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Boolean(value) => Some(value.to_string()),
        // The settings say what they make of a number that is too large.
        DeValue::Integer(number) => Some(
            i64::from_str_radix(number.as_str(), number.radix())
                .map_or_else(|_| number.as_str().to_owned(), |number| number.to_string()),
        ),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}
