//! Flags and file, to what comes out of them or what is said against them.

use super::*;

/// A machine with one file, and one host beside addresses: `both`, which has two.
struct Fake(Option<&'static str>);

impl World for Fake {
    fn read(&self, _: &Path) -> io::Result<String> {
        self.0.map(String::from).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn addresses(&self, host: &HostPort) -> io::Result<Vec<SocketAddr>> {
        if host.host == "both" {
            return Ok(vec![
                (Ipv4Addr::LOCALHOST, host.port).into(),
                (Ipv6Addr::LOCALHOST, host.port).into(),
                (Ipv4Addr::LOCALHOST, host.port).into(),
            ]);
        }
        let address = host.host.parse().map_err(|_| io::Error::other("no such host"))?;
        Ok(vec![SocketAddr::new(address, host.port)])
    }
}

fn flags(change: impl FnOnce(&mut ServeArgs)) -> ServeArgs {
    let mut args = ServeArgs::default();
    change(&mut args);
    args
}

/// Loads `file`, with flags beside it.
fn load_file(file: &'static str, change: impl FnOnce(&mut ServeArgs)) -> Result<Config, ConfigError> {
    let mut args = flags(change);
    args.config = Some("ottla.toml".into());
    load(&args, &Fake(Some(file)))
}

fn fault_of_file(file: &'static str) -> String {
    load_file(file, |_| {}).unwrap_err().to_string()
}

fn fault_of_flags(change: impl FnOnce(&mut ServeArgs)) -> String {
    load(&flags(change), &Fake(None)).unwrap_err().to_string()
}

fn addresses(config: &Config) -> Vec<String> {
    config.listeners.iter().map(|listener| listener.address.to_string()).collect()
}

#[test]
fn nothing_given_is_the_default() {
    let config = load(&ServeArgs::default(), &Fake(None)).unwrap();
    assert_eq!(config.data, Path::new("ottla-data"));
    assert_eq!(addresses(&config), ["127.0.0.1:9092", "[::1]:9092"]);
    assert_eq!(config.listeners.iter().map(|it| it.optional).collect::<Vec<_>>(), [false, true]);
    assert_eq!(config.advertise, None);
    assert_eq!(config.settings, BrokerSettings::default());
}

#[test]
fn the_file_gives_everything() {
    let config = load_file(
        r#"
            data = "/var/lib/ottla"
            listen = ["127.0.0.1:0", "both:9093"]
            advertise = "broker.example.com:9092"
            memory = "64MiB"
            "auto.create.topics.enable" = false
            'num.partitions' = 1_0
            "log.retention.bytes" = 0x10
            "log.message.timestamp.type" = "LogAppendTime"
        "#,
        |_| {},
    )
    .unwrap();
    assert_eq!(config.data, Path::new("/var/lib/ottla"));
    assert_eq!(addresses(&config), ["127.0.0.1:0", "127.0.0.1:9093", "[::1]:9093"]);
    assert_eq!(config.advertise.unwrap().to_string(), "broker.example.com:9092");
    assert_eq!(config.settings.memory_budget, 64 << 20);
    assert!(!config.settings.auto_create_topics);
    assert_eq!(config.settings.num_partitions, 10);
    assert_eq!(config.settings.given("log.retention.bytes").unwrap().to_string(), "16");
    assert_eq!(config.settings.given("log.message.timestamp.type").unwrap().to_string(), "LogAppendTime");
}

#[test]
fn names_without_quotes_are_taken_where_toml_can() {
    let file = "num.partitions = 3\nlog.segment.bytes = 2000000\n\
                [log.retention]\nbytes = 7\ncheck.interval.ms = 8\n";
    let settings = load_file(file, |_| {}).unwrap().settings;
    assert_eq!(settings.num_partitions, 3);
    assert_eq!(settings.given("log.segment.bytes").unwrap().to_string(), "2000000");
    assert_eq!(settings.given("log.retention.bytes").unwrap().to_string(), "7");
    assert_eq!(settings.retention_check_interval.as_millis(), 8);
}

#[test]
fn a_flag_counts_more_than_the_file() {
    let file = r#"
        data = "of-file"
        listen = ["127.0.0.1:1", "127.0.0.1:2"]
        advertise = "file:1"
        memory = "64MiB"
        "num.partitions" = 3
        "broker.id" = 3
    "#;
    let config = load_file(file, |args| {
        args.data = Some("of-flag".into());
        args.listen = vec!["[::1]:0".into()];
        args.advertise = Some("flag:1".into());
        args.memory = Some("1GiB".into());
        args.set = vec!["node.id=4".into()];
    })
    .unwrap();
    assert_eq!(config.data, Path::new("of-flag"));
    assert_eq!(addresses(&config), ["[::1]:0"]);
    assert_eq!(config.advertise.unwrap().to_string(), "flag:1");
    assert_eq!(config.settings.memory_budget, 1 << 30);
    assert_eq!(config.settings.num_partitions, 3);
    assert_eq!(config.settings.node_id, 4);
}

#[test]
fn the_file_says_where_it_is_wrong() {
    for (file, fault) in [
        (
            "data = \"d\"\n\n\"auto.crate.topics.enable\" = true\n",
            "ottla.toml:3: unknown broker setting \"auto.crate.topics.enable\"; did you mean \
             auto.create.topics.enable?",
        ),
        ("lisen = \"a:1\"", "ottla.toml:1: unknown broker setting \"lisen\"; did you mean listen?"),
        (
            "\n\"segment.bytes\" = 1",
            "ottla.toml:2: unknown broker setting \"segment.bytes\"; did you mean log.segment.bytes?",
        ),
        (
            "\"log.retention.hours\" = 1",
            "ottla.toml:1: log.retention.hours cannot be set for the broker yet: set retention.ms on topics \
             instead",
        ),
        (
            "\"num.partitions\" = 0",
            "ottla.toml:1: invalid value \"0\" for num.partitions: must be at least 1",
        ),
        (
            "\"num.partitions\" = 1.5",
            "ottla.toml:1: invalid value \"1.5\" for num.partitions: must be a whole number from -2147483648 to \
             2147483647",
        ),
        (
            "[log]\n\"segment.bytes\" = \"1MiB\"",
            "ottla.toml:2: invalid value \"1MiB\" for log.segment.bytes: must be a whole number from \
             -2147483648 to 2147483647",
        ),
        (
            "\"num.partitions\" = [1]",
            "ottla.toml:1: num.partitions must be one text, number or boolean, not array",
        ),
        (
            "memory = \"16MiB\"",
            "ottla.toml:1: invalid value \"16MiB\" for memory.budget: must be at least 33554432 (32 MiB)",
        ),
        (
            "memory = \"64MiB\"\n\"memory.budget\" = \"64MiB\"",
            "ottla.toml:2: memory.budget is given twice, first by ottla.toml:1; give it once",
        ),
        (
            "listen = [\n  \"127.0.0.1:9092\",\n  \"127.0.0.1\",\n]",
            "ottla.toml:3: \"127.0.0.1\" has no port: write HOST:PORT, as in 127.0.0.1:9092",
        ),
        ("listen = []", "ottla.toml:1: listen names no address: give one, or leave it out for the default"),
        ("data = \"\"", "ottla.toml:1: the data directory has no name"),
    ] {
        assert_eq!(fault_of_file(file), fault, "{file}");
    }
}

#[test]
fn what_is_no_toml_is_shown_by_line() {
    let fault = fault_of_file("data = \"d\"\nmemory = 64MiB\n");
    assert!(fault.starts_with("ottla.toml:2: "), "{fault}");
}

#[test]
fn a_name_that_begins_another_one_has_to_be_quoted() {
    let fault = fault_of_file("max.connections = 1\nmax.connections.per.ip = 2\n");
    assert!(fault.starts_with("ottla.toml:2: "), "{fault}");
    assert!(fault.ends_with("; put the name in quotes: \"max.connections.per.ip\""), "{fault}");
}

#[test]
fn flags_say_which_of_them_is_wrong() {
    let set = |assignment: &str| {
        let assignment = assignment.to_owned();
        fault_of_flags(|args| args.set = vec![assignment])
    };
    assert_eq!(
        set("num.partition=3"),
        "--set: unknown broker setting \"num.partition\"; did you mean num.partitions?"
    );
    assert_eq!(set("num.partitions"), "--set: \"num.partitions\" has no value: write NAME=VALUE");
    assert_eq!(
        set("strict.replication=yes"),
        "--set: invalid value \"yes\" for strict.replication: must be true or false"
    );
    assert_eq!(
        fault_of_flags(|args| args.memory = Some("lots".into())),
        "--memory: invalid value \"lots\" for memory.budget: must be a size, as in 268435456, 256MiB or 1GiB",
    );
    assert_eq!(
        fault_of_flags(|args| {
            args.memory = Some("64MiB".into());
            args.set = vec!["memory.budget=64MiB".into()];
        }),
        "--set: memory.budget is given twice, first by --memory; give it once",
    );
    assert_eq!(
        fault_of_flags(|args| args.listen = vec!["nowhere:9092".into()]),
        "--listen: cannot find an address of nowhere: no such host",
    );
    assert_eq!(
        fault_of_flags(|args| args.advertise = Some("0.0.0.0:9092".into())),
        "--advertise: clients cannot connect to 0.0.0.0:9092: advertise an address and port that they can reach",
    );
    assert_eq!(
        fault_of_flags(|args| args.config = Some("missing.toml".into())),
        "--config: cannot read missing.toml: entity not found",
    );
}

#[test]
fn the_machine_knows_its_own_addresses() {
    let localhost = HostPort { host: "127.0.0.1".into(), port: 0 };
    assert_eq!(Machine.addresses(&localhost).unwrap(), [SocketAddr::from((Ipv4Addr::LOCALHOST, 0))]);
}
