//! The page `docs/settings.md`, made from the tables, and the test that it is up to date. `UPDATE_DOCS=1
//! cargo test -p ottla-engine settings` writes it.

use std::{env, fmt::Write, fs, path::Path};

use super::{
    table::{BROKER, Setting, TOPIC},
    value::Kind,
};

const HEAD: &str = "\
# Settings

<!-- Made from crates/engine/src/settings/table.rs by `UPDATE_DOCS=1 cargo test -p ottla-engine settings`. -->

`ottla serve` takes its settings from a file (`--config ottla.toml`) and from flags; a flag counts more than
the file, and the file more than a default. Names are Kafka's wherever Kafka has the setting.

```toml
data = \"/var/lib/ottla\"
listen = [\"0.0.0.0:9092\", \"[::]:9092\"]
advertise = \"broker.example.com:9092\"
memory = \"512MiB\"
\"auto.create.topics.enable\" = false
\"log.retention.bytes\" = 10_000_000_000
```

| in the file | as a flag | what it is |
|---|---|---|
| `data` | `--data DIR` | The data directory; `ottla-data` in the working directory by default. |
| `listen` | `--listen HOST:PORT` | Where the broker listens; several are possible. `127.0.0.1:9092`, and `[::1]:9092` where the host has IPv6, by default. Port 0 takes a free one. |
| `advertise` | `--advertise HOST:PORT` | The address that clients are told to connect to; by default the one they connected to. |
| `memory` | `--memory SIZE` | Short for `memory.budget`. |
| `\"any.setting\" = value` | `--set any.setting=value` | A broker setting from the table below. |

Names that have dots are quoted in the file, because TOML takes `max.connections` and
`max.connections.per.ip` for a value and a table of one name. A setting that is unknown or has a wrong value
ends `ottla serve` with exit code 2 and a message that says where it stands.

A type of Kafka's takes Kafka's syntax: whole numbers without units, `true` or `false`, lists separated by
commas. A size is a number of bytes, or one with `KiB`, `MiB`, `GiB` or `TiB`.
";

const BROKER_HEAD: &str = "
## Broker settings

They are read when the broker starts. Those marked with * are checked and reported only.

";

const TOPIC_HEAD: &str = "
## Topic settings

A topic is given these when it is created. What it is not given comes from the broker setting in the last
column, where that one is given, else from the default. All of Kafka's topic settings are checked as Kafka
checks them, stored and reported; those marked with * are no more than that, for now or because there is
nothing here for them to do.

";

/// The whole page.
fn page() -> String {
    let mut page = String::from(HEAD);
    page.push_str(BROKER_HEAD);
    page.push_str("| setting | type | default | valid | what it does |\n|---|---|---|---|---|\n");
    for setting in BROKER {
        page.push_str(&row(setting, None));
    }
    page.push_str(TOPIC_HEAD);
    page.push_str(
        "| setting | type | default | valid | what it does | broker setting |\n|---|---|---|---|---|---|\n",
    );
    for setting in TOPIC.iter().filter(|setting| !setting.internal) {
        page.push_str(&row(setting, Some(setting.broker)));
    }
    page
}

fn row(setting: &Setting, broker: Option<&[&str]>) -> String {
    let names: Vec<String> = setting.names().map(|name| format!("`{name}`")).collect();
    let mut row = format!(
        "| {}{} | {} | {} | {} | {} |",
        names.join(", "),
        if setting.acts { "" } else { " *" },
        match setting.kind {
            Kind::Size => "size",
            kind => kind.kafka_name(),
        },
        default(setting),
        setting.valid,
        setting.doc,
    );
    if let Some(broker) = broker {
        let here = broker.iter().filter(|name| Setting::find(BROKER, name).is_some());
        write!(row, " {} |", here.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")).unwrap();
    }
    row + "\n"
}

fn default(setting: &Setting) -> String {
    match (setting.kind, setting.default) {
        (_, None | Some("")) => String::new(),
        (Kind::Size, Some(bytes)) => format!("{} MiB", bytes.parse::<u64>().unwrap() >> 20),
        (_, Some(text)) => format!("`{text}`"),
    }
}

#[test]
fn the_page_is_what_the_tables_give() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/settings.md");
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, page()).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == page(),
        "docs/settings.md is out of date: run UPDATE_DOCS=1 cargo test -p ottla-engine settings",
    );
}
