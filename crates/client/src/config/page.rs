//! The tables of `settings.md`, made from the tables of settings, and the test that they are up to date. `UPDATE_DOCS=1
//! cargo test -p ottla-client config` writes them.

use std::{env, fs, path::Path};

use super::{
    field::Field,
    foreign::{FOREIGN, Fate},
    table::{CLIENT, CONSUMER, PRODUCER, Section, Setting},
};

const FOREIGN_HEAD: &str = "
# Properties that set nothing

What is harmless is ignored, and [`Config::ignored`] tells. Where ignoring a property would change what the client does,
it is an error that says what to do instead. A name that ends in `*` stands for all that begin so.

| property | what becomes of it |
|---|---|
";

/// The whole page.
fn page() -> String {
    let mut page = String::from(
        "<!-- Made from the tables of settings by `UPDATE_DOCS=1 cargo test -p ottla-client config`. -->\n",
    );
    page.push_str(&table("The client", CLIENT));
    page.push_str(&table("Producers", PRODUCER));
    page.push_str(&table("Consumers", CONSUMER));
    page.push_str(FOREIGN_HEAD);
    for foreign in FOREIGN {
        let fate = match foreign.fate {
            Fate::Ignored(reason) => format!("ignored: {reason}"),
            Fate::IgnoredUnless { value, reason, danger } => format!(
                "ignored: {reason}; but without idempotence {value} is refused, as records could be {danger}"
            ),
            Fate::Only(values, reason) => format!("refused unless it is {}: {reason}", values.join(" or ")),
            Fate::Refused(reason) => format!("refused: {reason}"),
        };
        page.push_str(&format!("| {} | {fate} |\n", code(foreign.names)));
    }
    page
}

fn table<C: Section>(title: &str, settings: &[Setting<C>]) -> String {
    let mut table = format!(
        "\n# {title}\n\n| setting | Java | librdkafka has also | value | default | what it is | why that default \
         |\n|---|---|---|---|---|---|---|\n"
    );
    let mut defaults = C::default();
    for setting in settings {
        let java: Vec<&str> = setting.java.into_iter().collect();
        let default = default(&setting.field, &mut defaults);
        table.push_str(&format!(
            "| `{}` | {} | {} | {} | {} | {} | {} |\n",
            setting.name,
            code(&java),
            code(setting.librdkafka),
            setting.field.demand(1),
            default,
            setting.what,
            setting.why,
        ));
    }
    table
}

/// The default as a reader takes it in: bytes by their largest whole unit.
fn default<C>(field: &Field<C>, defaults: &mut C) -> String {
    let plain = match field {
        Field::Bytes { at, .. } => match *at(defaults) {
            bytes if bytes > 0 && bytes % (1 << 20) == 0 => format!("{} MiB", bytes >> 20),
            bytes if bytes > 0 && bytes % (1 << 10) == 0 => format!("{} KiB", bytes >> 10),
            bytes => bytes.to_string(),
        },
        _ => field.show(defaults),
    };
    if plain.is_empty() { plain } else { format!("`{plain}`") }
}

fn code(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[test]
fn the_page_is_what_the_tables_give() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config/settings.md");
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, page()).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == page(),
        "src/config/settings.md is out of date: run UPDATE_DOCS=1 cargo test -p ottla-client config",
    );
}

#[test]
fn every_default_is_valid() {
    fn check<C: Section>() {
        for setting in C::settings() {
            let mut defaults = C::default();
            let valid = setting.field.is_valid(&mut defaults);
            assert!(valid, "{} is {}", setting.name, setting.field.show(&mut defaults));
        }
    }
    check::<super::ClientConfig>();
    check::<super::ProducerConfig>();
    check::<super::ConsumerConfig>();
    assert!(super::Config::default().faults().is_empty());
}
