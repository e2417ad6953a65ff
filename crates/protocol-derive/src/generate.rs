//! From a parsed struct to its code.
//!
//! The generated functions are straight lines: one step a field, behind a test of the version only where
//! some version lacks the field. Names that start with two underscores cannot meet a field's.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};

use crate::spec::{Field, Role, Struct, Tagged, UNKNOWN, Versions};

/// The implementations for one struct.
pub(crate) fn code(parsed: &Struct) -> TokenStream {
    let default = default_impl(parsed);
    let wire = wire_impl(parsed);
    let message = message_impl(parsed);
    quote! { #default #wire #message }
}

fn default_impl(Struct { name, fields, .. }: &Struct) -> TokenStream {
    let unknown = format_ident!("{UNKNOWN}");
    let names = fields.iter().map(|field| &field.name);
    let values = fields.iter().map(default_of);
    quote! {
        #[automatically_derived]
        impl ::core::default::Default for #name {
            fn default() -> Self {
                Self { #(#names: #values,)* #unknown: ::core::default::Default::default() }
            }
        }
    }
}

fn wire_impl(parsed: &Struct) -> TokenStream {
    let name = &parsed.name;
    let min_size = min_size(parsed);
    let read = read(parsed);
    let write = write(parsed);
    let size = size(parsed);
    quote! {
        #[automatically_derived]
        impl ::ottla_protocol::wire::Wire for #name {
            #[inline]
            fn min_size(__version: ::ottla_protocol::wire::Version) -> usize {
                #min_size
            }

            fn read(
                __reader: &mut ::ottla_protocol::Reader<'_>,
                __version: ::ottla_protocol::wire::Version,
            ) -> ::core::result::Result<Self, ::ottla_protocol::DecodeError> {
                #read
            }

            fn write(
                &self,
                __out: &mut ::ottla_protocol::Encoder,
                __version: ::ottla_protocol::wire::Version,
            ) -> ::core::result::Result<(), ::ottla_protocol::EncodeError> {
                #write
            }

            fn size(&self, __version: ::ottla_protocol::wire::Version) -> usize {
                #size
            }
        }

        #[automatically_derived]
        impl ::ottla_protocol::wire::NullableStruct for #name {}
    }
}

fn message_impl(Struct { name, role, .. }: &Struct) -> TokenStream {
    let text = name.to_string();
    let message = |versions: TokenStream, flexible: TokenStream| {
        quote! {
            #[automatically_derived]
            impl ::ottla_protocol::Message for #name {
                const NAME: &'static str = #text;
                const VERSIONS: ::core::ops::RangeInclusive<i16> = #versions;
                const FLEXIBLE_FROM: i16 = #flexible;
            }
        }
    };
    match role {
        Role::Part => TokenStream::new(),
        Role::Request { key, response, versions: Versions { first, last } } => {
            let message =
                message(quote!(#first..=#last), quote!(::ottla_protocol::ApiKey::#key.flexible_from()));
            quote! {
                #message

                #[automatically_derived]
                impl ::ottla_protocol::Request for #name {
                    const API_KEY: ::ottla_protocol::ApiKey = ::ottla_protocol::ApiKey::#key;
                    type Response = #response;
                }
            }
        }
        Role::Response { request } => {
            let message = message(
                quote!(<#request as ::ottla_protocol::Message>::VERSIONS),
                quote!(<#request as ::ottla_protocol::Message>::FLEXIBLE_FROM),
            );
            quote! {
                #message

                #[automatically_derived]
                impl ::ottla_protocol::Response for #name {
                    const API_KEY: ::ottla_protocol::ApiKey =
                        <#request as ::ottla_protocol::Request>::API_KEY;
                }
            }
        }
        Role::Data { versions: Versions { first, last }, flexible } => {
            let flexible = flexible.map_or(i16::MAX, |versions| versions.first);
            message(quote!(#first..=#last), quote!(#flexible))
        }
    }
}

fn min_size(Struct { fields, .. }: &Struct) -> TokenStream {
    let steps = fields.iter().filter(|field| in_order(field).is_some()).map(|field| {
        let ty = &field.ty;
        let version = version_for(field);
        when(in_order(field), quote! { __size += <#ty as ::ottla_protocol::wire::Wire>::min_size(#version); })
    });
    quote! {
        let mut __size = usize::from(__version.flexible);
        #(#steps)*
        __size
    }
}

fn read(Struct { fields, .. }: &Struct) -> TokenStream {
    let unknown = format_ident!("{UNKNOWN}");
    let names: Vec<_> = fields.iter().map(|field| &field.name).collect();
    let steps = fields.iter().map(|field| {
        let (name, ty) = (&field.name, &field.ty);
        let mutable = field.tagged.as_ref().map(|_| quote!(mut));
        let default = default_of(field);
        let value = match in_order(field) {
            Some(condition) => {
                let read = read_value(field);
                match condition {
                    Condition::Always => read,
                    Condition::If(test) => quote! { if #test { #read } else { #default } },
                }
            }
            None => default,
        };
        quote! { let #mutable #name: #ty = #value; }
    });
    let known = tagged(fields).map(|(field, Tagged { versions, tag })| {
        let name = &field.name;
        let test = contains(*versions).test();
        let read = read_value(field);
        quote! { #tag if #test => { #name = #read; ::core::result::Result::Ok(true) } }
    });
    quote! {
        #(#steps)*
        let #unknown = if __version.flexible {
            __reader.tagged_fields(|__reader, __tag| match __tag {
                #(#known)*
                _ => ::core::result::Result::Ok(false),
            })?
        } else {
            ::core::default::Default::default()
        };
        ::core::result::Result::Ok(Self { #(#names,)* #unknown })
    }
}

fn write(Struct { fields, .. }: &Struct) -> TokenStream {
    let unknown = format_ident!("{UNKNOWN}");
    let steps = fields.iter().map(|field| {
        let write = in_order(field).map(|condition| when(Some(condition), write_value(field)));
        let refuse = refuse_where_absent(field);
        quote! { #write #refuse }
    });
    let flags: Vec<_> = tagged(fields).map(|(_, tagged)| format_ident!("__has_tag_{}", tagged.tag)).collect();
    let tests = tagged(fields).map(|(field, tagged)| {
        let name = &field.name;
        let default = default_of(field);
        let present = contains(tagged.versions).test();
        quote! { #present && self.#name != #default }
    });
    let known = tagged(fields).zip(&flags).map(|((field, Tagged { versions, tag }), flag)| {
        let size = size_value(field);
        let write = write_value(field);
        let present = contains(*versions).test();
        quote! {
            if #present {
                __unknown.write_below(#tag, __out)?;
            }
            if #flag {
                __out.put_unsigned_varint(#tag);
                __out.put_length(#size)?;
                #write
            }
        }
    });
    quote! {
        #(#steps)*
        if __version.flexible {
            #(let #flags = #tests;)*
            __out.put_length(self.#unknown.len() #(+ usize::from(#flags))*)?;
            let mut __unknown = self.#unknown.in_order();
            #(#known)*
            __unknown.write_rest(__out)
        } else {
            self.#unknown.refuse_unless_empty()
        }
    }
}

fn size(Struct { fields, .. }: &Struct) -> TokenStream {
    let unknown = format_ident!("{UNKNOWN}");
    let steps = fields.iter().filter_map(|field| {
        let size = size_value(field);
        in_order(field).map(|condition| when(Some(condition), quote! { __size += #size; }))
    });
    let known = tagged(fields).map(|(field, Tagged { versions, tag })| {
        let name = &field.name;
        let default = default_of(field);
        let present = contains(*versions).test();
        let size = size_value(field);
        quote! {
            if #present && self.#name != #default {
                __count += 1;
                __size += ::ottla_protocol::wire::tagged_size(#tag, #size);
            }
        }
    });
    let mutable = tagged(fields).next().map(|_| quote!(mut));
    quote! {
        let mut __size = 0usize;
        #(#steps)*
        if __version.flexible {
            let #mutable __count = self.#unknown.len();
            __size += self.#unknown.size();
            #(#known)*
            __size += ::ottla_protocol::wire::length_size(__count);
        }
        __size
    }
}

fn tagged(fields: &[Field]) -> impl Iterator<Item = (&Field, &Tagged)> {
    fields.iter().filter_map(|field| field.tagged.as_ref().map(|tagged| (field, tagged)))
}

/// The value of a field, read from where the reader stands.
fn read_value(field: &Field) -> TokenStream {
    let text = field.name.to_string();
    let version = version_for(field);
    let plain = quote! { ::ottla_protocol::wire::Wire::read(__reader, #version) };
    let read = match field.nullable {
        None => plain,
        Some(nullable) => {
            let test = contains(nullable).test();
            quote! {
                if #test { #plain } else { ::ottla_protocol::wire::read_present(__reader, #version) }
            }
        }
    };
    // Parentheses and not braces: at the start of a statement a block would end there.
    quote! { (#read).map_err(|__error| __error.in_field(#text))? }
}

fn write_value(field: &Field) -> TokenStream {
    let name = &field.name;
    let text = name.to_string();
    let version = version_for(field);
    let plain = quote! { ::ottla_protocol::wire::Wire::write(&self.#name, __out, #version) };
    let write = match field.nullable {
        None => plain,
        Some(nullable) => {
            let test = contains(nullable).test();
            quote! {
                if #test {
                    #plain
                } else {
                    ::ottla_protocol::wire::write_present(&self.#name, __out, #version)
                }
            }
        }
    };
    quote! { (#write).map_err(|__error| __error.in_field(#text))?; }
}

fn size_value(field: &Field) -> TokenStream {
    let name = &field.name;
    let version = version_for(field);
    let plain = quote! { ::ottla_protocol::wire::Wire::size(&self.#name, #version) };
    match field.nullable {
        None => plain,
        Some(nullable) => {
            let test = contains(nullable).test();
            quote! {
                (if #test { #plain } else { ::ottla_protocol::wire::present_size(&self.#name, #version) })
            }
        }
    }
}

/// Refuses a value that a version without the field would lose.
fn refuse_where_absent(field: &Field) -> Option<TokenStream> {
    if field.ignorable || field.versions == Versions::ALL {
        return None;
    }
    let name = &field.name;
    let text = name.to_string();
    let default = default_of(field);
    let test = contains(field.versions).test();
    Some(quote! {
        if !(#test) && self.#name != #default {
            return ::core::result::Result::Err(::ottla_protocol::EncodeError::not_in_version().in_field(#text));
        }
    })
}

fn default_of(field: &Field) -> TokenStream {
    let ty = &field.ty;
    match &field.default {
        Some(value) => quote!(#value),
        None => quote!(<#ty as ::core::default::Default>::default()),
    }
}

fn version_for(field: &Field) -> TokenStream {
    if field.never_flexible { quote!(__version.inflexible()) } else { quote!(__version) }
}

enum Condition {
    Always,
    If(TokenStream),
}

impl Condition {
    fn test(self) -> TokenStream {
        match self {
            Self::Always => quote!(true),
            Self::If(test) => test,
        }
    }
}

fn contains(Versions { first, last }: Versions) -> Condition {
    match (first, last) {
        (0, i16::MAX) => Condition::Always,
        (first, i16::MAX) => Condition::If(quote!(__version.number >= #first)),
        (0, last) => Condition::If(quote!(__version.number <= #last)),
        (first, last) => Condition::If(quote!((#first..=#last).contains(&__version.number))),
    }
}

/// Whether a field stands in the order of the fields, before the tagged ones. `None`: in no version.
fn in_order(field: &Field) -> Option<Condition> {
    let present = contains(field.versions);
    match &field.tagged {
        None => Some(present),
        Some(tagged) if tagged.versions == field.versions => None,
        Some(tagged) => {
            let (present, tagged) = (present.test(), contains(tagged.versions).test());
            Some(Condition::If(quote!((#present) && !(#tagged))))
        }
    }
}

fn when(condition: Option<Condition>, step: TokenStream) -> TokenStream {
    match condition {
        None | Some(Condition::Always) => step,
        Some(Condition::If(test)) => quote! { if #test { #step } },
    }
}
