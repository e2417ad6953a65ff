//! DescribeConfigs, versions 1 to 4, of topics.

use ottla_engine::settings::TOPIC as SETTINGS;
use ottla_protocol::{
    ErrorCode, Message, Str,
    messages::describe_configs::{
        DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult, DescribeConfigsResult,
    },
};
use ottla_testing_internal::{TestBroker, TestClient};

use crate::support::create_with;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const BROKER_LOGGER: i8 = 8;

fn resource(resource_type: i8, name: &str, keys: Option<&[&str]>) -> DescribeConfigsResource {
    DescribeConfigsResource {
        resource_type,
        resource_name: name.into(),
        configuration_keys: keys.map(|keys| keys.iter().map(|key| Str::from(*key)).collect()),
        ..DescribeConfigsResource::default()
    }
}

fn describe(
    client: &mut TestClient,
    version: i16,
    resources: Vec<DescribeConfigsResource>,
    with_all: bool,
) -> Vec<DescribeConfigsResult> {
    let request = DescribeConfigsRequest {
        resources,
        include_synonyms: with_all,
        include_documentation: with_all && version >= 3,
        ..DescribeConfigsRequest::default()
    };
    let answer = client.call(version, &request);
    assert_eq!(answer.throttle_time_ms, 0);
    answer.results
}

fn named<'a>(result: &'a DescribeConfigsResult, name: &str) -> &'a DescribeConfigsResourceResult {
    result.configs.iter().find(|config| config.name == *name).unwrap_or_else(|| panic!("no {name}"))
}

#[test]
fn every_version_tells_values_sources_and_synonyms() {
    let broker = TestBroker::start(&["log.segment.bytes=2097152", "log.retention.bytes=5000"]);
    let mut client = broker.client();
    create_with(&mut client, "a", 1, &[("segment.bytes", "1048576")]);
    for version in DescribeConfigsRequest::VERSIONS {
        let results = describe(&mut client, version, vec![resource(TOPIC, "a", None)], true);
        let [result] = &results[..] else { panic!("{results:?}") };
        assert_eq!((result.error_code, &result.error_message), (ErrorCode::NONE, &None));
        assert_eq!((result.resource_type, &*result.resource_name), (TOPIC, "a"));
        let names: Vec<_> = result.configs.iter().map(|config| &*config.name).collect();
        let all: Vec<_> = SETTINGS.iter().filter(|it| !it.internal).map(|it| it.name).collect();
        assert_eq!(names, all);

        let of = |name| {
            let config = named(result, name);
            let synonyms: Vec<_> =
                config.synonyms.iter().map(|it| (&*it.name, it.value.as_deref(), it.source)).collect();
            (config.value.as_deref(), config.config_source, synonyms)
        };
        assert_eq!(
            of("segment.bytes"),
            (
                Some("1048576"),
                1,
                vec![
                    ("segment.bytes", Some("1048576"), 1),
                    ("log.segment.bytes", Some("2097152"), 4),
                    ("log.segment.bytes", Some("1073741824"), 5),
                ],
            ),
        );
        assert_eq!(
            of("retention.bytes"),
            (
                Some("5000"),
                4,
                vec![("log.retention.bytes", Some("5000"), 4), ("log.retention.bytes", Some("-1"), 5)],
            ),
        );
        assert_eq!(
            of("cleanup.policy"),
            (Some("delete"), 5, vec![("log.cleanup.policy", Some("delete"), 5)]),
        );
    }
}

#[test]
fn types_and_documentation_come_from_version_3_on() {
    let broker = TestBroker::start(&[]);
    let mut client = broker.client();
    create_with(&mut client, "a", 1, &[]);
    for version in DescribeConfigsRequest::VERSIONS {
        let all = describe(&mut client, version, vec![resource(TOPIC, "a", None)], true);
        for (name, kind) in [
            ("preallocate", 1),
            ("compression.type", 2),
            ("segment.bytes", 3),
            ("retention.ms", 5),
            ("min.cleanable.dirty.ratio", 6),
            ("cleanup.policy", 7),
        ] {
            let config = named(&all[0], name);
            assert_eq!(config.config_type, if version >= 3 { kind } else { 0 }, "{name}");
            let documentation = config.documentation.as_deref().unwrap();
            assert_eq!(documentation.is_empty(), version < 3, "{name}: {documentation}");
        }
        let plain = describe(&mut client, version, vec![resource(TOPIC, "a", None)], false);
        for config in &plain[0].configs {
            assert!(config.synonyms.is_empty());
            assert_eq!(config.documentation.is_none(), version >= 3);
        }
    }
}

#[test]
fn names_select() {
    let broker = TestBroker::start(&[]);
    let mut client = broker.client();
    create_with(&mut client, "a", 1, &[]);
    for version in DescribeConfigsRequest::VERSIONS {
        let mut names = |keys: Option<&[&str]>| -> Vec<String> {
            let results = describe(&mut client, version, vec![resource(TOPIC, "a", keys)], false);
            results[0].configs.iter().map(|config| config.name.to_string()).collect()
        };
        assert_eq!(names(Some(&["segment.ms", "none", "cleanup.policy"])), ["cleanup.policy", "segment.ms"]);
        assert!(names(Some(&["none"])).is_empty());
        assert_eq!(names(Some(&[])), names(None), "no names are all of them, as in Kafka");
    }
}

#[test]
fn each_resource_has_its_error() {
    let broker = TestBroker::start(&[]);
    let mut client = broker.client();
    create_with(&mut client, "a", 1, &[]);
    for version in DescribeConfigsRequest::VERSIONS {
        let resources = vec![
            resource(TOPIC, "none", None),
            resource(TOPIC, "a b", None),
            resource(BROKER, "0", None),
            resource(BROKER_LOGGER, "0", None),
            resource(99, "a", None),
            resource(TOPIC, "a", Some(&["segment.ms"])),
            resource(TOPIC, "a", Some(&["segment.ms"])),
        ];
        let results = describe(&mut client, version, resources, false);
        let outcomes: Vec<_> = results.iter().map(|it| (it.error_code, it.configs.len())).collect();
        assert_eq!(
            outcomes,
            [
                (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, 0),
                (ErrorCode::INVALID_TOPIC_EXCEPTION, 0),
                (ErrorCode::INVALID_REQUEST, 0),
                (ErrorCode::INVALID_REQUEST, 0),
                (ErrorCode::INVALID_REQUEST, 0),
                (ErrorCode::NONE, 1),
            ],
            "a resource that is named twice is answered once",
        );
        assert!(results[..5].iter().all(|it| it.error_message.is_some()));
    }
}
