//! The derive macro behind `ottla-protocol`: from the attributes of a struct's fields to the code that
//! reads, writes and measures it in every version.
//!
//! What lives where: this file parses nothing and generates nothing; the module `spec` turns a struct into what its
//! attributes say, `generate` turns that into code. The semantics of types (strings, arrays, null) are not
//! here but in the `Wire` trait of `ottla-protocol`.

mod generate;
mod spec;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Makes a struct a part of the Kafka protocol: implements `Wire`, `Nullable` and `Default` for it, and for a
/// whole message also `Message` and `Request` or `Response`.
///
/// The fields stand in the order of the wire. The last one is `unknown_tagged_fields: TaggedFields`.
///
/// Attributes of a struct, all in one `#[kafka(…)]`; a struct that is part of a message has none and takes
/// its version from it:
///
/// * `request = PRODUCE, response = ProduceResponse, versions = "3-13"`: a request, by the constant of its
///   `ApiKey`, from which it also knows its first flexible version.
/// * `response_to = ProduceRequest`: the response to that request, in the same versions.
/// * `data, versions = "0-3", flexible = "2+"`: neither, such as a header. Without `flexible` no version is.
///
/// Attributes of a field, again in one `#[kafka(…)]`. Versions are written as Kafka's own schemas write them:
/// `"3+"`, `"3-12"` or `"3"`.
///
/// * `versions = "…"`: the versions that have the field; every one if it is left out.
/// * `nullable = "…"`: for an `Option`, the versions that allow null; every one if it is left out.
/// * `tagged = "…", tag = 0`: the versions in which it is a tagged field, and its tag.
/// * `default = …`: its value where a version does not have it; `Default::default()` if it is left out.
/// * `ignorable`: versions that do not have it drop it silently. Otherwise a value that is not the default is
///   an error in such a version.
/// * `never_flexible`: keeps its old encoding in flexible versions too.
#[proc_macro_derive(Message, attributes(kafka))]
pub fn derive_message(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    spec::Struct::parse(&input)
        .map(|parsed| generate::code(&parsed))
        .unwrap_or_else(|error| error.to_compile_error())
        .into()
}
