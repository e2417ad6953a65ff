//! Random values of a schema, and their bytes by Kafka's rules: the oracle.

use crate::schema::{Field, Schema, Type, Versions};

/// A value of any type.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Float(u64),
    Uuid([u8; 16]),
    /// A string, bytes or records.
    Bytes(Vec<u8>),
    Array(Vec<Value>),
    /// The fields in the order of the schema, and the unknown tagged ones by tag.
    Struct(Vec<Value>, Vec<(u32, Vec<u8>)>),
}

/// Why a value has no bytes in a version.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Inexpressible;

/// A sequence of numbers that its seed decides (splitmix64).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    fn bytes(&mut self, length: u64) -> Vec<u8> {
        (0..length).map(|_| self.next() as u8).collect()
    }
}

/// A random value of a message in a version, whose bytes are those that Kafka itself would write.
pub fn random(schema: &Schema, version: i16, random: &mut Random) -> Value {
    let flexible = schema.flexible.is_some_and(|versions| versions.contains(version));
    random_struct(&schema.fields, version, flexible, random)
}

/// The value of a message of which nothing was set.
pub fn unset(schema: &Schema) -> Value {
    default_struct(&schema.fields)
}

/// The bytes of a value of a message in a version.
pub fn encode(schema: &Schema, value: &Value, version: i16) -> Result<Vec<u8>, Inexpressible> {
    let flexible = schema.flexible.is_some_and(|versions| versions.contains(version));
    let mut out = Vec::new();
    encode_struct(&schema.fields, value, version, flexible, &mut out)?;
    Ok(out)
}

fn random_struct(fields: &[Field], version: i16, flexible: bool, random: &mut Random) -> Value {
    let values = fields
        .iter()
        .map(|field| {
            if !field.versions.contains(version) {
                default(field)
            } else if contains(field.nullable, version) && random.one_in(4) {
                Value::Null
            } else if random.one_in(8) && default(field) != Value::Null {
                default(field)
            } else {
                random_value(&field.ty, version, flexible, random)
            }
        })
        .collect();
    let mut unknown = Vec::new();
    if flexible && random.one_in(6) {
        let mut tag = 20 + random.below(200) as u32;
        for _ in 0..random.below(4) {
            let length = if random.one_in(9) { 700 } else { random.below(9) };
            unknown.push((tag, random.bytes(length)));
            tag += 1 + random.below(100_000) as u32;
        }
    }
    Value::Struct(values, unknown)
}

fn random_value(ty: &Type, version: i16, flexible: bool, random: &mut Random) -> Value {
    match ty {
        Type::Bool => Value::Bool(random.one_in(2)),
        Type::Int(size) => {
            let number = match random.below(4) {
                0 => random.below(100) as i64,
                1 => -1,
                _ => random.next() as i64,
            };
            // Keeps the lowest bytes, with their sign.
            let shift = 64 - 8 * size;
            Value::Int(number << shift >> shift)
        }
        Type::Float => Value::Float(f64::to_bits(random.next() as f64 / 7.0)),
        Type::Uuid => Value::Uuid(std::array::from_fn(|_| random.next() as u8)),
        Type::String => {
            let length = if random.one_in(12) { 130 + random.below(300) } else { random.below(12) };
            let text: String = (0..length)
                .map(|_| ['a', 'Z', '0', '-', '.', 'é', '本', '🦀'][random.below(8) as usize])
                .collect();
            Value::Bytes(text.into_bytes())
        }
        Type::Bytes | Type::Records => {
            let length = if random.one_in(4) { 400 + random.below(300) } else { random.below(40) };
            Value::Bytes(random.bytes(length))
        }
        Type::Array(element) => {
            let count = if random.one_in(40) { 128 } else { random.below(4) };
            // Many large elements would only take time.
            let count = if matches!(**element, Type::Struct(_)) { count.min(5) } else { count };
            Value::Array((0..count).map(|_| random_value(element, version, flexible, random)).collect())
        }
        Type::Struct(fields) => random_struct(fields, version, flexible, random),
    }
}

fn default(field: &Field) -> Value {
    let text = field.default.as_deref().unwrap_or_default();
    if text == "null" {
        return Value::Null;
    }
    match &field.ty {
        Type::Bool => Value::Bool(text.eq_ignore_ascii_case("true")),
        Type::Int(_) => Value::Int(match text.strip_prefix("0x") {
            Some(digits) => i64::from_str_radix(digits, 16).unwrap(),
            None if text.is_empty() => 0,
            None => text.parse().unwrap(),
        }),
        Type::Float => Value::Float(0),
        Type::Uuid => Value::Uuid([0; 16]),
        Type::String | Type::Bytes => Value::Bytes(text.as_bytes().to_vec()),
        Type::Records => Value::Null,
        Type::Array(_) => Value::Array(Vec::new()),
        Type::Struct(fields) => default_struct(fields),
    }
}

fn default_struct(fields: &[Field]) -> Value {
    Value::Struct(fields.iter().map(default).collect(), Vec::new())
}

fn encode_struct(
    fields: &[Field],
    value: &Value,
    version: i16,
    flexible: bool,
    out: &mut Vec<u8>,
) -> Result<(), Inexpressible> {
    let Value::Struct(values, unknown) = value else { panic!("no struct: {value:?}") };
    let mut tagged = Vec::new();
    for (field, value) in fields.iter().zip(values) {
        let nullable = contains(field.nullable, version);
        if !field.versions.contains(version) {
            if !field.ignorable && *value != default(field) {
                return Err(Inexpressible);
            }
        } else if let Some((_, tag)) = field.tagged.filter(|(versions, _)| versions.contains(version)) {
            if *value != default(field) {
                let mut bytes = Vec::new();
                encode_value(&field.ty, value, nullable, version, flexible, &mut bytes)?;
                tagged.push((tag, bytes));
            }
        } else {
            encode_value(&field.ty, value, nullable, version, flexible && !field.never_flexible, out)?;
        }
    }
    if flexible {
        tagged.extend_from_slice(unknown);
        tagged.sort();
        varint(tagged.len(), out);
        for (tag, bytes) in tagged {
            varint(tag as usize, out);
            varint(bytes.len(), out);
            out.extend_from_slice(&bytes);
        }
    } else if !unknown.is_empty() {
        return Err(Inexpressible);
    }
    Ok(())
}

fn encode_value(
    ty: &Type,
    value: &Value,
    nullable: bool,
    version: i16,
    flexible: bool,
    out: &mut Vec<u8>,
) -> Result<(), Inexpressible> {
    if *value == Value::Null {
        if !nullable {
            return Err(Inexpressible);
        }
        match (ty, flexible) {
            (Type::Struct(_), _) => out.push(0xff),
            (_, true) => out.push(0),
            (Type::String, false) => out.extend([0xff; 2]),
            (_, false) => out.extend([0xff; 4]),
        }
        return Ok(());
    }
    match (ty, value) {
        (Type::Bool, Value::Bool(value)) => out.push(u8::from(*value)),
        (Type::Int(size), Value::Int(value)) => out.extend(&value.to_be_bytes()[8 - size..]),
        (Type::Float, Value::Float(bits)) => out.extend(bits.to_be_bytes()),
        (Type::Uuid, Value::Uuid(bytes)) => out.extend(bytes),
        (Type::String | Type::Bytes | Type::Records, Value::Bytes(bytes)) => {
            match (ty, flexible) {
                (_, true) => varint(bytes.len() + 1, out),
                (Type::String, false) => out.extend((bytes.len() as u16).to_be_bytes()),
                (_, false) => out.extend((bytes.len() as u32).to_be_bytes()),
            }
            out.extend(bytes);
        }
        (Type::Array(element), Value::Array(values)) => {
            if flexible {
                varint(values.len() + 1, out);
            } else {
                out.extend((values.len() as u32).to_be_bytes());
            }
            for value in values {
                encode_value(element, value, false, version, flexible, out)?;
            }
        }
        (Type::Struct(fields), Value::Struct(..)) => {
            if nullable {
                out.push(1);
            }
            encode_struct(fields, value, version, flexible, out)?;
        }
        _ => panic!("{value:?} is no {ty:?}"),
    }
    Ok(())
}

fn varint(mut number: usize, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn contains(versions: Option<Versions>, version: i16) -> bool {
    versions.is_some_and(|versions| versions.contains(version))
}
