//! DescribeConfigs, AlterConfigs and IncrementalAlterConfigs.

use ottla_protocol::{
    ApiKey, ErrorCode,
    messages::{
        alter_configs::{AlterConfigsRequest, AlterConfigsResource, AlterableConfig},
        describe_configs::{DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult},
        incremental_alter_configs::{self as incremental, IncrementalAlterConfigsRequest},
    },
};
use ottla_testing::{Action, Broker, Cluster, Filter, KafkaVersion};

use crate::client::{Client, batch, only, produce};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

fn resource(resource_type: i8, name: &str, keys: Option<&[&str]>) -> DescribeConfigsResource {
    DescribeConfigsResource {
        resource_type,
        resource_name: name.into(),
        configuration_keys: keys.map(|keys| keys.iter().map(|key| (*key).into()).collect()),
        ..Default::default()
    }
}

/// One setting of a resource: its value, and those that it could have with their sources.
fn described(
    client: &mut Client,
    resource_type: i8,
    name: &str,
    setting: &str,
) -> (Option<String>, Vec<(Option<String>, i8)>) {
    let resources = vec![resource(resource_type, name, Some(&[setting]))];
    let request = DescribeConfigsRequest { resources, include_synonyms: true, ..Default::default() };
    let mut result = client.call(4, &request).results.remove(0);
    assert_eq!((result.error_code, result.configs.len()), (ErrorCode::NONE, 1), "{name} {setting}");
    let config = result.configs.remove(0);
    let owned = |value: &Option<ottla_protocol::Str>| value.as_deref().map(str::to_owned);
    assert_eq!(config.config_source, config.synonyms[0].source);
    let synonyms = config.synonyms.iter().map(|synonym| (owned(&synonym.value), synonym.source));
    (owned(&config.value), synonyms.collect())
}

fn replacing(resource_type: i8, name: &str, configs: &[(&str, Option<&str>)]) -> AlterConfigsResource {
    let config = |(name, value): &(&str, Option<&str>)| AlterableConfig {
        name: (*name).into(),
        value: value.map(Into::into),
        ..Default::default()
    };
    AlterConfigsResource {
        resource_type,
        resource_name: name.into(),
        configs: configs.iter().map(config).collect(),
        ..Default::default()
    }
}

fn changing(
    resource_type: i8,
    name: &str,
    configs: &[(&str, i8, Option<&str>)],
) -> incremental::AlterConfigsResource {
    let config = |(name, config_operation, value): &(&str, i8, Option<&str>)| incremental::AlterableConfig {
        name: (*name).into(),
        config_operation: *config_operation,
        value: value.map(Into::into),
        ..Default::default()
    };
    incremental::AlterConfigsResource {
        resource_type,
        resource_name: name.into(),
        configs: configs.iter().map(config).collect(),
        ..Default::default()
    }
}

fn replace(client: &mut Client, version: i16, resource: AlterConfigsResource) -> ErrorCode {
    let request = AlterConfigsRequest { resources: vec![resource], ..Default::default() };
    client.call(version, &request).responses.remove(0).error_code
}

fn change(client: &mut Client, version: i16, resource: incremental::AlterConfigsResource) -> ErrorCode {
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
    client.call(version, &request).responses.remove(0).error_code
}

#[test]
fn settings_are_described() {
    let broker = Broker::start();
    broker.create_topic_with("t", 1, &[("retention.ms", "5")]);
    let mut client = Client::to(&broker, 1);
    for version in 1..=4 {
        let resources = vec![
            resource(TOPIC, "t", Some(&["retention.ms", "segment.ms"])),
            resource(TOPIC, "no", None),
            resource(BROKER, "1", None),
            resource(BROKER, "2", None),
            resource(8, "x", None),
        ];
        let request = DescribeConfigsRequest { resources, include_synonyms: true, ..Default::default() };
        let results = client.call(version, &request).results;
        let told = |config: &DescribeConfigsResourceResult| {
            (config.name.to_string(), config.value.as_deref().map(str::to_owned), config.config_source)
        };
        let topic: Vec<_> = results[0].configs.iter().map(told).collect();
        let expected = [("retention.ms", "5", 1), ("segment.ms", "604800000", 5)];
        assert_eq!(topic, expected.map(|(name, value, source)| (name.into(), Some(value.into()), source)));
        assert_eq!(results[0].configs[0].synonyms.len(), 1);
        let errors: Vec<_> = results.iter().map(|result| result.error_code).collect();
        let (none, unknown, invalid) =
            (ErrorCode::NONE, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, ErrorCode::INVALID_REQUEST);
        assert_eq!(errors, [none, unknown, none, invalid, invalid], "version {version}");
        assert!(results[2].configs.iter().any(|config| &*config.name == "num.partitions"));
    }
}

#[test]
fn all_settings_are_replaced_at_once() {
    let broker = Broker::start();
    broker.create_topic_with("t", 1, &[("retention.ms", "5"), ("segment.ms", "7")]);
    let mut client = Client::to(&broker, 1);
    let value = |client: &mut Client, setting| described(client, TOPIC, "t", setting).0.unwrap();
    for (version, retention) in (0..=2).zip(["6", "7", "8"]) {
        let resource = replacing(TOPIC, "t", &[("retention.ms", Some(retention))]);
        assert_eq!(replace(&mut client, version, resource), ErrorCode::NONE, "version {version}");
        assert_eq!(value(&mut client, "retention.ms"), retention);
        assert_eq!(value(&mut client, "segment.ms"), "604800000", "what is not named has its default");
    }
    for (resource, error) in [
        (replacing(TOPIC, "t", &[("retention.ms", Some("a week"))]), ErrorCode::INVALID_CONFIG),
        (
            replacing(TOPIC, "t", &[("segment.ms", Some("9")), ("no.such", Some("1"))]),
            ErrorCode::INVALID_CONFIG,
        ),
        (replacing(TOPIC, "t", &[("retention.ms", None)]), ErrorCode::INVALID_REQUEST),
        (
            replacing(TOPIC, "t", &[("segment.ms", Some("1")), ("segment.ms", Some("2"))]),
            ErrorCode::INVALID_REQUEST,
        ),
        (replacing(TOPIC, "no", &[]), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        (replacing(8, "1", &[]), ErrorCode::INVALID_REQUEST),
    ] {
        assert_eq!(replace(&mut client, 2, resource.clone()), error, "{resource:?}");
        assert_eq!(value(&mut client, "retention.ms"), "8", "nothing of it was done");
    }
    let all = || vec![replacing(TOPIC, "t", &[])];
    let validate = AlterConfigsRequest { resources: all(), validate_only: true, ..Default::default() };
    assert_eq!(client.call(2, &validate).responses[0].error_code, ErrorCode::NONE);
    assert_eq!(value(&mut client, "retention.ms"), "8");
    let twice = AlterConfigsRequest { resources: [all(), all()].concat(), ..Default::default() };
    let codes: Vec<_> = client.call(2, &twice).responses.iter().map(|response| response.error_code).collect();
    assert_eq!(codes, [ErrorCode::INVALID_REQUEST; 2]);
    assert_eq!(value(&mut client, "retention.ms"), "8");
}

#[test]
fn settings_are_changed_one_by_one() {
    let broker = Broker::start();
    broker.create_topic_with("t", 1, &[("segment.ms", "7"), ("retention.ms", "5")]);
    let mut client = Client::to(&broker, 1);
    for version in 0..=1 {
        let resource = changing(
            TOPIC,
            "t",
            &[
                ("retention.ms", SET, Some("6")),
                ("segment.ms", DELETE, None),
                ("cleanup.policy", APPEND, Some("compact")),
            ],
        );
        assert_eq!(change(&mut client, version, resource), ErrorCode::NONE, "version {version}");
        for (setting, value) in
            [("retention.ms", "6"), ("segment.ms", "604800000"), ("cleanup.policy", "delete,compact")]
        {
            assert_eq!(described(&mut client, TOPIC, "t", setting).0.as_deref(), Some(value), "{setting}");
        }
    }
    // They take effect.
    let keyless = only(client.call(9, &produce("t", 0, batch(&["v"]))));
    assert_eq!(keyless.error_code, ErrorCode::INVALID_RECORD);
    let no_compaction = changing(TOPIC, "t", &[("cleanup.policy", SUBTRACT, Some("compact"))]);
    assert_eq!(change(&mut client, 1, no_compaction), ErrorCode::NONE);
    assert_eq!(only(client.call(9, &produce("t", 0, batch(&["v"])))).error_code, ErrorCode::NONE);

    for (resource, error) in [
        (changing(TOPIC, "t", &[("retention.ms", APPEND, Some("6"))]), ErrorCode::INVALID_CONFIG),
        (changing(TOPIC, "t", &[("retention.ms", SET, None)]), ErrorCode::INVALID_REQUEST),
        (changing(TOPIC, "t", &[("retention.ms", 4, Some("6"))]), ErrorCode::INVALID_REQUEST),
        (
            changing(TOPIC, "t", &[("retention.ms", SET, Some("1")), ("retention.ms", DELETE, None)]),
            ErrorCode::INVALID_REQUEST,
        ),
        (changing(TOPIC, "no", &[]), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
    ] {
        assert_eq!(change(&mut client, 1, resource.clone()), error, "{resource:?}");
        assert_eq!(described(&mut client, TOPIC, "t", "retention.ms").0.as_deref(), Some("6"));
    }
    let resources = vec![changing(TOPIC, "t", &[("retention.ms", SET, Some("1"))])];
    let validate = IncrementalAlterConfigsRequest { resources, validate_only: true, ..Default::default() };
    assert_eq!(client.call(1, &validate).responses[0].error_code, ErrorCode::NONE);
    assert_eq!(described(&mut client, TOPIC, "t", "retention.ms").0.as_deref(), Some("6"));
}

#[test]
fn brokers_have_settings_of_their_own_and_shared_ones() {
    let cluster = Cluster::builder().nodes(2).start();
    let (mut first, mut second) = (Client::to(&cluster, 1), Client::to(&cluster, 2));
    let threads = "num.io.threads";
    let some = |value: &str| Some(value.to_owned());
    let set = |name, value| changing(BROKER, name, &[(threads, SET, Some(value))]);
    assert_eq!(change(&mut first, 1, set("", "10")), ErrorCode::NONE);
    assert_eq!(change(&mut first, 1, set("1", "12")), ErrorCode::NONE);
    assert_eq!(change(&mut first, 1, set("2", "12")), ErrorCode::INVALID_REQUEST, "it is not this one");
    let shared = vec![(some("10"), 3), (some("8"), 5)];
    let own = [vec![(some("12"), 2)], shared.clone()].concat();
    assert_eq!(described(&mut first, BROKER, "1", threads), (some("12"), own));
    assert_eq!(described(&mut second, BROKER, "2", threads), (some("10"), shared));
    assert_eq!(described(&mut second, BROKER, "", threads), (some("10"), vec![(some("10"), 3)]));

    let password = "ssl.keystore.password";
    let secret = |name| changing(BROKER, name, &[(password, SET, Some("secret"))]);
    assert_eq!(change(&mut first, 1, secret("")), ErrorCode::INVALID_REQUEST);
    assert_eq!(change(&mut first, 1, secret("1")), ErrorCode::NONE);
    assert_eq!(described(&mut first, BROKER, "1", password), (None, vec![(None, 2), (None, 5)]));
    for setting in ["num.partitions", "no.such"] {
        let resource = changing(BROKER, "1", &[(setting, SET, Some("1"))]);
        assert_eq!(change(&mut first, 1, resource), ErrorCode::INVALID_REQUEST, "{setting}");
    }
    let appended = changing(BROKER, "1", &[(threads, APPEND, Some("1"))]);
    assert_eq!(change(&mut first, 1, appended), ErrorCode::INVALID_CONFIG);
    assert_eq!(replace(&mut first, 2, replacing(BROKER, "1", &[])), ErrorCode::NONE);
    assert_eq!(described(&mut first, BROKER, "1", threads).0, some("10"));
}

#[test]
fn alterations_fail_on_command() {
    let cluster = Cluster::builder().version(KafkaVersion::V2_4).topic("t", 1).topic("u", 1).start();
    let mut client = Client::to(&cluster, 1);
    let (set, api) = ([("retention.ms", SET, Some("1"))], ApiKey::INCREMENTAL_ALTER_CONFIGS);
    let of_t =
        cluster.on_request(Filter::api(api).topic("t"), Action::FailAfter(ErrorCode::REQUEST_TIMED_OUT));
    let resources = vec![changing(TOPIC, "t", &set), changing(TOPIC, "u", &set), changing(BROKER, "1", &[])];
    let request = IncrementalAlterConfigsRequest { resources, ..Default::default() };
    let codes: Vec<_> =
        client.call(1, &request).responses.iter().map(|response| response.error_code).collect();
    assert_eq!(codes, [ErrorCode::REQUEST_TIMED_OUT, ErrorCode::NONE, ErrorCode::NONE]);
    of_t.remove();
    cluster.on_request(Filter::api(api), Action::Fail(ErrorCode::POLICY_VIOLATION));
    let codes: Vec<_> =
        client.call(1, &request).responses.iter().map(|response| response.error_code).collect();
    assert_eq!(codes, [ErrorCode::POLICY_VIOLATION; 3]);
    let request =
        DescribeConfigsRequest { resources: vec![resource(TOPIC, "t", None)], ..Default::default() };
    let retention = client.call(2, &request).results.remove(0).configs;
    let retention = retention.iter().find(|config| &*config.name == "retention.ms").unwrap();
    assert_eq!(retention.value.as_deref(), Some("1"), "it was done before it failed");

    // A Kafka before 2.3 cannot change one setting.
    cluster.set_version(1, KafkaVersion::V2_1);
    client.send(0, &IncrementalAlterConfigsRequest::default()).unwrap();
    assert_eq!(client.end(), None);
}
