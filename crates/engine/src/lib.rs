//! See the package description.

pub mod settings;
