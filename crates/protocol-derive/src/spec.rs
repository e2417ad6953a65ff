//! What the attributes of a struct say, parsed and checked.
//!
//! Everything that can be wrong in an attribute is refused here, at its place in the source, so that
//! [`crate::generate`] has no errors.

use proc_macro2::Span;
use syn::{
    Attribute, Data, DeriveInput, Error, Expr, Fields, Ident, LitInt, LitStr, Path, Result, Type,
    meta::ParseNestedMeta, spanned::Spanned,
};

/// The field that keeps what a newer peer said.
pub(crate) const UNKNOWN: &str = "unknown_tagged_fields";

/// A struct of the protocol.
pub(crate) struct Struct {
    pub(crate) name: Ident,
    pub(crate) role: Role,
    /// All fields but `unknown_tagged_fields`, in the order of the wire.
    pub(crate) fields: Vec<Field>,
}

/// What a struct is in the protocol.
pub(crate) enum Role {
    Part,
    Request { key: Ident, response: Path, versions: Versions },
    Response { request: Path },
    Data { versions: Versions, flexible: Option<Versions> },
}

/// One field.
pub(crate) struct Field {
    pub(crate) name: Ident,
    pub(crate) ty: Type,
    pub(crate) versions: Versions,
    /// `None`: nullable in every version, or not an `Option` at all.
    pub(crate) nullable: Option<Versions>,
    pub(crate) tagged: Option<Tagged>,
    pub(crate) default: Option<Expr>,
    pub(crate) ignorable: bool,
    pub(crate) never_flexible: bool,
}

/// Where a field is a tagged one.
pub(crate) struct Tagged {
    pub(crate) versions: Versions,
    pub(crate) tag: u32,
}

/// A range of versions; `last` is `i16::MAX` for `"3+"`.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) struct Versions {
    pub(crate) first: i16,
    pub(crate) last: i16,
}

impl Versions {
    pub(crate) const ALL: Self = Self { first: 0, last: i16::MAX };

    fn parse(text: &LitStr) -> Result<Self> {
        let malformed =
            |_| Error::new(text.span(), "versions are written \"3+\", \"3-12\" or \"3\", as Kafka does");
        let value = text.value();
        let (first, last) = if let Some(first) = value.strip_suffix('+') {
            (first.parse().map_err(malformed)?, i16::MAX)
        } else if let Some((first, last)) = value.split_once('-') {
            (first.parse().map_err(malformed)?, last.parse().map_err(malformed)?)
        } else {
            let only = value.parse().map_err(malformed)?;
            (only, only)
        };
        if first < 0 || last < first {
            return Err(Error::new(text.span(), "this range holds no version"));
        }
        Ok(Self { first, last })
    }
}

impl Struct {
    pub(crate) fn parse(input: &DeriveInput) -> Result<Self> {
        let Data::Struct(data) = &input.data else {
            return Err(Error::new(input.span(), "only a struct can be a message"));
        };
        let Fields::Named(named) = &data.fields else {
            return Err(Error::new(input.span(), "a message has named fields"));
        };
        if !input.generics.params.is_empty() {
            return Err(Error::new(input.generics.span(), "a message has no parameters"));
        }
        let mut fields = Vec::with_capacity(named.named.len());
        for field in &named.named {
            fields.push(Field::parse(field)?);
        }
        if fields.pop().is_none_or(|last| last.name != UNKNOWN) {
            return Err(Error::new(
                input.ident.span(),
                "the last field must be `unknown_tagged_fields: TaggedFields`",
            ));
        }
        check_tags(&fields)?;
        Ok(Self { name: input.ident.clone(), role: Role::parse(&input.attrs, input.ident.span())?, fields })
    }
}

impl Role {
    fn parse(attributes: &[Attribute], span: Span) -> Result<Self> {
        let (mut request, mut response, mut response_to) = (None::<Ident>, None::<Path>, None::<Path>);
        let (mut versions, mut flexible, mut data) = (None, None, false);
        each_option(attributes, |option| {
            match name_of(&option)?.as_str() {
                "request" => request = Some(option.value()?.parse()?),
                "response" => response = Some(option.value()?.parse()?),
                "response_to" => response_to = Some(option.value()?.parse()?),
                "versions" => versions = Some(versions_of(&option)?),
                "flexible" => flexible = Some(versions_of(&option)?),
                "data" => data = true,
                _ => return Err(option.error("unknown option of a message")),
            }
            Ok(())
        })?;
        match (request, response, response_to, versions, flexible, data) {
            (None, None, None, None, None, false) => Ok(Self::Part),
            (Some(key), Some(response), None, Some(versions), None, false) => {
                Ok(Self::Request { key, response, versions })
            }
            (None, None, Some(request), None, None, false) => Ok(Self::Response { request }),
            (None, None, None, Some(versions), flexible, true) => Ok(Self::Data { versions, flexible }),
            _ => Err(Error::new(
                span,
                "a message is `request`, `response` and `versions`, or `response_to`, or `data`, `versions` and `flexible`",
            )),
        }
    }
}

impl Field {
    fn parse(field: &syn::Field) -> Result<Self> {
        let name = field.ident.clone().expect("a named field has a name");
        let mut parsed = Self {
            name,
            ty: field.ty.clone(),
            versions: Versions::ALL,
            nullable: None,
            tagged: None,
            default: None,
            ignorable: false,
            never_flexible: false,
        };
        let (mut tagged, mut tag) = (None, None);
        each_option(&field.attrs, |option| {
            match name_of(&option)?.as_str() {
                "versions" => parsed.versions = versions_of(&option)?,
                "nullable" => parsed.nullable = Some(versions_of(&option)?),
                "tagged" => tagged = Some(versions_of(&option)?),
                "tag" => tag = Some(option.value()?.parse::<LitInt>()?.base10_parse()?),
                "default" => parsed.default = Some(option.value()?.parse()?),
                "ignorable" => parsed.ignorable = true,
                "never_flexible" => parsed.never_flexible = true,
                _ => return Err(option.error("unknown option of a field")),
            }
            Ok(())
        })?;
        parsed.tagged = match (tagged, tag) {
            (None, None) => None,
            (Some(versions), Some(tag)) => Some(Tagged { versions, tag }),
            _ => return Err(Error::new(field.span(), "`tagged` and `tag` go together")),
        };
        if parsed.nullable.is_some() && parsed.tagged.is_some() {
            return Err(Error::new(field.span(), "a tagged field is nullable in every version or in none"));
        }
        Ok(parsed)
    }
}

fn each_option(
    attributes: &[Attribute],
    mut parse: impl FnMut(ParseNestedMeta<'_>) -> Result<()>,
) -> Result<()> {
    attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("kafka"))
        .try_for_each(|attribute| attribute.parse_nested_meta(&mut parse))
}

fn name_of(option: &ParseNestedMeta<'_>) -> Result<String> {
    option.path.get_ident().map(Ident::to_string).ok_or_else(|| option.error("expected a name"))
}

fn versions_of(option: &ParseNestedMeta<'_>) -> Result<Versions> {
    Versions::parse(&option.value()?.parse::<LitStr>()?)
}

/// Tags are written in ascending order, so the generated code relies on their order here.
fn check_tags(fields: &[Field]) -> Result<()> {
    let mut last = None;
    for field in fields {
        let Some(tagged) = &field.tagged else { continue };
        if last >= Some(tagged.tag) {
            return Err(Error::new(field.name.span(), "tagged fields stand in the order of their tags"));
        }
        last = Some(tagged.tag);
    }
    Ok(())
}
