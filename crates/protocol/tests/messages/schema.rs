//! Kafka's schemas, read from `tests/fixtures/schemas.txt`.

use std::{collections::HashMap, sync::LazyLock};

/// All of them by name, such as `ProduceRequest`.
pub static SCHEMAS: LazyLock<HashMap<String, Schema>> =
    LazyLock::new(|| parse(include_str!("../fixtures/schemas.txt")));

/// A message.
#[derive(Debug)]
pub struct Schema {
    pub name: String,
    pub kind: String,
    pub key: Option<i16>,
    /// The versions that are stable.
    pub versions: Versions,
    pub flexible: Option<Versions>,
    pub fields: Vec<Field>,
}

/// A field of a message or of a part of one.
#[derive(Debug)]
pub struct Field {
    pub ty: Type,
    pub versions: Versions,
    pub nullable: Option<Versions>,
    pub tagged: Option<(Versions, u32)>,
    pub ignorable: bool,
    pub never_flexible: bool,
    pub default: Option<String>,
}

#[derive(Debug)]
pub enum Type {
    Bool,
    /// An integer of so many bytes.
    Int(usize),
    Float,
    String,
    Bytes,
    Records,
    Uuid,
    Array(Box<Type>),
    Struct(Vec<Field>),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Versions {
    pub first: i16,
    pub last: i16,
}

impl Schema {
    /// Whether other bytes stand in this version than in the one before.
    pub fn changes_in(&self, version: i16) -> bool {
        self.flexible.is_some_and(|versions| versions.change_at(version))
            || fields_change_in(&self.fields, version)
    }
}

fn fields_change_in(fields: &[Field], version: i16) -> bool {
    fields.iter().any(|field| {
        let tagged = field.tagged.map(|(versions, _)| versions);
        [Some(field.versions), field.nullable, tagged]
            .into_iter()
            .flatten()
            .any(|versions| versions.change_at(version))
            || type_changes_in(&field.ty, version)
    })
}

fn type_changes_in(ty: &Type, version: i16) -> bool {
    match ty {
        Type::Array(element) => type_changes_in(element, version),
        Type::Struct(fields) => fields_change_in(fields, version),
        _ => false,
    }
}

impl Versions {
    /// Whether this version is in and the one before is not, or the other way round.
    fn change_at(self, version: i16) -> bool {
        self.contains(version) != self.contains(version - 1)
    }

    pub fn contains(self, version: i16) -> bool {
        (self.first..=self.last).contains(&version)
    }

    fn parse(text: &str) -> Option<Self> {
        if text == "none" {
            return None;
        }
        let number = |text: &str| text.parse().unwrap_or_else(|_| panic!("no version: {text}"));
        Some(match (text.strip_suffix('+'), text.split_once('-')) {
            (Some(first), _) => Self { first: number(first), last: i16::MAX },
            (None, Some((first, last))) => Self { first: number(first), last: number(last) },
            (None, None) => Self { first: number(text), last: number(text) },
        })
    }
}

fn parse(text: &str) -> HashMap<String, Schema> {
    let mut schemas = HashMap::new();
    let mut lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).peekable();
    while let Some(line) = lines.next() {
        let mut words = line.split_whitespace();
        let kind = words.next().unwrap().to_owned();
        let name = words.next().unwrap().to_owned();
        let options: Vec<_> = words.collect();
        let option = |name: &str| {
            options
                .iter()
                .find_map(|option| option.strip_prefix(name).and_then(|rest| rest.strip_prefix('=')))
        };
        let mut body = Vec::new();
        let mut shared = Shared::new();
        while let Some(line) = lines.next_if(|line| line.starts_with(' ')) {
            let Some(definition) = line.strip_prefix("  struct ") else {
                body.push(line);
                continue;
            };
            let fields = shared.entry(definition.split_whitespace().next().unwrap()).or_default();
            while let Some(line) = lines.next_if(|line| line.starts_with("    ")) {
                fields.push(line);
            }
        }
        // APIs that Kafka has removed have no versions any more.
        let Some(mut versions) = option("versions").and_then(Versions::parse) else { continue };
        versions.last -= i16::from(options.contains(&"latest-unstable"));
        let schema = Schema {
            kind,
            key: option("key").map(|key| key.parse().unwrap()),
            versions,
            flexible: option("flexible").and_then(Versions::parse),
            fields: fields(&mut &body[..], 2, &shared),
            name,
        };
        schemas.insert(schema.name.clone(), schema);
    }
    schemas
}

/// The lines of structs that several fields of a message have as their type.
type Shared<'a> = HashMap<&'a str, Vec<&'a str>>;

/// The fields at this depth of indentation; deeper lines are the parts of the field above them.
fn fields(lines: &mut &[&str], depth: usize, shared: &Shared<'_>) -> Vec<Field> {
    let mut fields = Vec::new();
    while let [line, rest @ ..] = *lines {
        if line.len() - line.trim_start().len() < depth {
            break;
        }
        *lines = rest;
        let (_, description) = line.trim_start().split_once(": ").expect("a field has a type");
        let mut words = description.split_whitespace();
        let ty = words.next().unwrap();
        let versions = words.next().and_then(Versions::parse).expect("a field has versions");
        let options: Vec<_> = words.collect();
        let option = |name: &str| {
            options
                .iter()
                .find_map(|option| option.strip_prefix(name).and_then(|rest| rest.strip_prefix('=')))
        };
        fields.push(Field {
            versions,
            nullable: option("null").and_then(Versions::parse),
            tagged: option("tagged").and_then(Versions::parse).map(|versions| {
                (
                    versions,
                    option("tag").expect("a tagged field has a tag").parse().expect("a tag is a number"),
                )
            }),
            ignorable: options.contains(&"ignorable"),
            never_flexible: option("flex") == Some("none"),
            default: option("default").map(str::to_owned),
            ty: type_of(ty, lines, depth, shared),
        });
    }
    fields
}

fn type_of(name: &str, lines: &mut &[&str], depth: usize, shared: &Shared<'_>) -> Type {
    match name {
        "bool" => Type::Bool,
        "int8" => Type::Int(1),
        "int16" | "uint16" => Type::Int(2),
        "int32" | "uint32" => Type::Int(4),
        "int64" => Type::Int(8),
        "float64" => Type::Float,
        "string" => Type::String,
        "bytes" => Type::Bytes,
        "records" => Type::Records,
        "uuid" => Type::Uuid,
        _ => match name.strip_prefix("[]") {
            Some(element) => Type::Array(Box::new(type_of(element, lines, depth, shared))),
            None => Type::Struct(match shared.get(name) {
                Some(definition) => fields(&mut &definition[..], 4, shared),
                None => fields(lines, depth + 2, shared),
            }),
        },
    }
}
