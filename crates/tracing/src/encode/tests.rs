//! Events as they come out of a real subscriber.

use std::{cell::Cell, collections::BTreeMap, fmt, sync::Arc, time::Duration};

use proptest::prelude::*;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::{Value as Json, json};
use tracing::{dispatcher, error, field, info, info_span, trace, warn};
use tracing_subscriber::{Registry, prelude::*};

use super::*;
use crate::{
    layer::SinkLayer,
    logger::Logger,
    queue::{Overflow, Queue, Taken},
    shared::Shared,
};

fn encoding() -> Encoding {
    Encoding { max_event_bytes: 64 << 10, ..Encoding::default() }
}

fn shared(encoding: Encoding) -> Arc<Shared> {
    let (encoder, queue) = (Encoder::new(encoding), Queue::new(1 << 20, Overflow::DropNewest));
    Arc::new(Shared { encoder, queue, flush_within: Duration::ZERO })
}

fn taken(shared: &Shared) -> Vec<Taken> {
    let mut all = Vec::new();
    while let Some(chunk) = shared.queue.take() {
        all.extend(chunk.events().map(|event| event.of_its_own()));
        shared.queue.done(chunk);
    }
    all
}

/// What comes of the events that `log` logs.
fn logged(encoding: Encoding, log: impl FnOnce()) -> Vec<Taken> {
    let shared = shared(encoding);
    dispatcher::with_default(&Registry::default().with(SinkLayer::new(shared.clone())).into(), log);
    taken(&shared)
}

fn text(event: &Taken) -> &str {
    std::str::from_utf8(&event.value).unwrap()
}

/// The event, with its time left out.
fn timeless(event: &Taken) -> String {
    let text = text(event);
    let time = text.find("timestamp\":\"").unwrap() + 12;
    assert_eq!(&text[time + 26..time + 28], "Z\"", "{text}");
    format!("{}TIME{}", &text[..time], &text[time + 27..])
}

/// JSON in which no name stands twice in one object.
struct Once(Json);

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Look;
        impl<'de> Visitor<'de> for Look {
            type Value = Once;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Once, A::Error> {
                let mut all = serde_json::Map::new();
                while let Some((name, Once(value))) = map.next_entry::<String, Once>()? {
                    if all.insert(name.clone(), value).is_some() {
                        return Err(A::Error::custom(format!("{name} stands twice")));
                    }
                }
                Ok(Once(all.into()))
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<Once, A::Error> {
                let mut all = Vec::new();
                while let Some(Once(value)) = list.next_element()? {
                    all.push(value);
                }
                Ok(Once(all.into()))
            }

            fn visit_bool<E>(self, value: bool) -> Result<Once, E> {
                Ok(Once(value.into()))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Once, E> {
                Ok(Once(value.into()))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Once, E> {
                Ok(Once(value.into()))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Once, E> {
                Ok(Once(value.into()))
            }

            fn visit_str<E>(self, value: &str) -> Result<Once, E> {
                Ok(Once(value.into()))
            }

            fn visit_unit<E>(self) -> Result<Once, E> {
                Ok(Once(Json::Null))
            }
        }
        deserializer.deserialize_any(Look)
    }
}

fn parsed(event: &Taken) -> Json {
    let Once(json) =
        serde_json::from_slice(&event.value).unwrap_or_else(|error| panic!("{error}: {}", text(event)));
    json
}

/// What the events of these tests have as their target: those of the crate itself are not taken.
const TEA: &str = "tea::pot";

fn in_spans() {
    let outer = info_span!(target: TEA, "request", method = "GET", path = "/\"tea\"", size = field::Empty);
    outer.record("size", 7);
    outer.record("size", 8);
    let _outer = outer.enter();
    let inner = info_span!(target: TEA, "order", table = 3, name = "tea", http.status = 200, path = "inner");
    let _inner = inner.enter();
    warn!(target: TEA, table = 4, late = true, http.status = 503, price = 3.5, "tea is {}", "late");
}

#[test]
fn an_event_in_spans_is_plain() {
    let events = logged(encoding(), in_spans);
    assert_eq!(
        timeless(&events[0]),
        concat!(
            r#"{"timestamp":"TIME","level":"WARN","target":"tea::pot","message":"tea is late","#,
            r#""fields":{"table":4,"late":true,"http.status":503,"price":3.5},"#,
            r#""spans":[{"name":"request","method":"GET","path":"/\"tea\"","size":8},"#,
            r#"{"name":"order","table":3,"field.name":"tea","http.status":200,"path":"inner"}]}"#
        )
    );
    assert_eq!((events[0].level, &events[0].key, &events[0].target), (Level::WARN, &None, &None));
    assert!(events[0].timestamp > 1_700_000_000_000);
}

#[test]
fn an_event_in_spans_is_ecs() {
    let fields = vec![("service.name".into(), "tea".into()), ("http.status".into(), "fixed".into())];
    let encoding = Encoding { format: Format::Ecs, location: true, fields, ..encoding() };
    let events = logged(encoding, in_spans);
    let line = json!(parsed(&events[0])["log.origin.file.line"]);
    assert_eq!(
        timeless(&events[0]),
        concat!(
            r#"{"@timestamp":"TIME","log.level":"WARN","message":"tea is late","ecs.version":"8.11.0","#,
            r#""log.logger":"tea::pot","service.name":"tea","http.status":"fixed","#,
            r#""log.origin.file.name":"crates/tracing/src/encode/tests.rs","log.origin.file.line":LINE,"#,
            r#""labels":{"table":4,"late":true,"price":3.5,"name":"tea","path":"inner","method":"GET","size":8}}"#
        )
        .replace("LINE", &line.to_string())
    );
}

#[test]
fn an_event_may_have_nothing() {
    let events = logged(encoding(), || {
        info!(target: TEA, alone = 1);
        trace!(target: TEA, "");
        info_span!(target: TEA, "alone").in_scope(|| error!(target: TEA, "x"));
    });
    let text: Vec<_> = events.iter().map(timeless).collect();
    let expected = |level, message, rest| {
        format!(r#"{{"timestamp":"TIME","level":"{level}","target":"tea::pot","message":"{message}"{rest}}}"#)
    };
    assert_eq!(
        text,
        [
            expected("INFO", "", r#","fields":{"alone":1}"#),
            expected("TRACE", "", ""),
            expected("ERROR", "x", r#","spans":[{"name":"alone"}]"#)
        ]
    );
}

#[test]
fn values_of_every_kind_are_json() {
    let events = logged(encoding(), || {
        let fault: Box<dyn std::error::Error + 'static> = "x".parse::<u8>().unwrap_err().into();
        info!(
            target: TEA,
            text = "a\n\"b\"",
            big = u128::MAX,
            small = i64::MIN,
            nan = f64::NAN,
            list = ?[1, 2],
            shown = %"as it is",
            error = &*fault,
            "all"
        );
    });
    assert_eq!(
        parsed(&events[0])["fields"],
        json!({
            "text": "a\n\"b\"",
            "big": u128::MAX.to_string(),
            "small": i64::MIN,
            "nan": "NaN",
            "list": "[1, 2]",
            "shown": "as it is",
            "error": "invalid digit found in string",
        })
    );
}

#[test]
fn what_is_redacted_is_not_even_formatted() {
    struct Secret;
    impl fmt::Debug for Secret {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            panic!("the secret was looked at");
        }
    }
    for format in [Format::Plain, Format::Ecs] {
        let redacted = vec!["password".into(), "user.token".into()];
        let key = Key::Field("password".into());
        let events = logged(Encoding { format, redacted, key, ..encoding() }, || {
            let span = info_span!(target: TEA, "request", password = ?Secret, user.token = field::Empty);
            span.record("user.token", field::debug(Secret));
            span.in_scope(|| info!(target: TEA, password = ?Secret, passwords = 2, "who"));
        });
        let text = text(&events[0]);
        assert!(text.matches(r#""[redacted]""#).count() >= 2 && text.contains(r#""passwords":2"#), "{text}");
        assert_eq!(events[0].key, None);
        parsed(&events[0]);
    }
}

#[test]
fn messages_and_raw_names_can_be_redacted() {
    let redacted = || vec!["message".to_owned(), "type".to_owned()];
    let events = logged(Encoding { redacted: redacted(), ..encoding() }, || {
        info!(target: TEA, r#type = "secret", r#match = 1, "secret");
    });
    let event = parsed(&events[0]);
    assert_eq!(event["message"], "[redacted]");
    assert_eq!(event["fields"], json!({"type": "[redacted]", "match": 1}));
    let shared = shared(Encoding { redacted: redacted(), ..encoding() });
    log::Log::log(&Logger::new(shared.clone()), &log::Record::builder().args(format_args!("secret")).build());
    assert_eq!(parsed(&taken(&shared)[0])["message"], "[redacted]");
}

#[test]
fn what_is_shed_is_not_formatted() {
    struct Costly;
    impl fmt::Debug for Costly {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            panic!("it was formatted");
        }
    }
    let shared = shared(encoding());
    let filler = Entry { level: Level::WARN, timestamp: 0, key: None, target: None, value: &[b'.'; 10_000] };
    while !shared.queue.is_half_full() {
        shared.take(filler);
    }
    dispatcher::with_default(&Registry::default().with(SinkLayer::new(shared.clone())).into(), || {
        trace!(target: TEA, value = ?Costly, "shed");
        info!(target: TEA, "taken");
    });
    let mut record = log::Record::builder();
    record.level(log::Level::Trace).target(TEA);
    log::Log::log(&Logger::new(shared.clone()), &record.args(format_args!("{Costly:?}")).build());
    let counts = shared.queue.counts();
    assert_eq!((counts.dropped.trace, counts.dropped.total(), counts.accepted.info), (2, 2, 1));
    // There is room again.
    taken(&shared);
    assert!(!shared.queue.sheds(Level::TRACE));
}

#[test]
fn keys_are_found() {
    let key_of = |key: Key| -> Vec<Option<String>> {
        let events = logged(Encoding { key, target_header: true, ..encoding() }, || {
            info!(target: TEA, "without");
            let outer = info_span!(target: TEA, "outer", trace_id = "the \"outer\"", order = 1);
            let _outer = outer.enter();
            let inner = info_span!(target: TEA, "inner", order = 2);
            let _inner = inner.enter();
            info!(target: TEA, "inherited");
            info!(target: TEA, { trace.id = %"of its own", order = true }, "own");
        });
        assert!(events.iter().all(|event| event.target.as_deref() == Some(TEA.as_bytes())));
        let text = |key: &bytes::Bytes| String::from_utf8(key.to_vec()).unwrap();
        events.iter().map(|event| event.key.as_ref().map(text)).collect()
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(key_of(Key::None), [None, None, None]);
    assert_eq!(key_of(Key::Target), [some(TEA), some(TEA), some(TEA)]);
    assert_eq!(key_of(Key::TraceId), [None, some("the \"outer\""), some("of its own")]);
    assert_eq!(key_of(Key::Field("order".into())), [None, some("2"), some("true")]);
}

#[test]
fn an_event_inside_an_event_is_another() {
    struct Talks(Logger);
    impl fmt::Debug for Talks {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let record = |text| log::Record::builder().target(TEA).args(text).build();
            log::Log::log(&self.0, &record(format_args!("inner")));
            f.write_str("talks")
        }
    }
    let shared = shared(encoding());
    let talks = Talks(Logger::new(shared.clone()));
    dispatcher::with_default(&Registry::default().with(SinkLayer::new(shared.clone())).into(), || {
        let span = info_span!(target: TEA, "request", value = ?talks);
        span.in_scope(|| info!(target: TEA, first = 0, value = ?talks, last = 2, "outer"));
    });
    let all: Vec<_> = taken(&shared).iter().map(parsed).collect();
    let messages: Vec<_> = all.iter().map(|event| event["message"].as_str().unwrap()).collect();
    assert_eq!(messages, ["inner", "inner", "outer"]);
    assert_eq!(all[1].get("fields"), None);
    assert_eq!(all[2]["fields"], json!({"first": 0, "value": "talks", "last": 2}));
    assert_eq!(all[2]["spans"], json!([{"name": "request", "value": "talks"}]));
}

#[test]
fn events_of_log_by_way_of_tracing_have_their_own_place() {
    let encoding = Encoding { location: true, target_header: true, ..encoding() };
    let events = logged(encoding, || {
        info!(
            target: "log",
            { log.target = "shop", log.module_path = "shop::m", log.file = "shop.rs", log.line = 7_u64 },
            "sold"
        );
        info!(target: "log", { log.target = "ottla_client::net" }, "not for a sink");
        info!(target: TEA, { log.target = "mine" }, "tea");
    });
    let first = parsed(&events[0]);
    assert_eq!(
        (&first["target"], &first["file"], &first["line"]),
        (&json!("shop"), &json!("shop.rs"), &json!(7))
    );
    assert_eq!((first.get("fields"), &events[0].target), (None, &Some("shop".into())));
    assert_eq!(parsed(&events[1])["fields"], json!({"log.target": "mine"}));
}

#[test]
fn records_of_log_have_their_key_values() {
    let shared = shared(Encoding { format: Format::Ecs, location: true, ..encoding() });
    let logger: &dyn log::Log = &Logger::new(shared.clone());
    let values: &[(&str, log::kv::Value<'_>)] =
        &[("order", 7.into()), ("message", "of its own".into()), ("user.name", "nobody".into())];
    let mut builder = log::Record::builder();
    builder.level(log::Level::Warn).target("shop").file(Some("shop.rs")).line(Some(3)).key_values(&values);
    logger.log(&builder.args(format_args!("{} sold", "tea")).build());
    logger.log(&log::Record::builder().target("ottla_client::net").args(format_args!("no")).build());
    let events = taken(&shared);
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].level, Level::WARN);
    assert_eq!(
        timeless(&events[0]),
        concat!(
            r#"{"@timestamp":"TIME","log.level":"WARN","message":"tea sold","ecs.version":"8.11.0","log.logger":"shop","#,
            r#""log.origin.file.name":"shop.rs","log.origin.file.line":3,"user.name":"nobody","#,
            r#""labels":{"order":7,"message":"of its own"}}"#
        )
    );
}

#[test]
fn a_debug_without_an_end_is_stopped() {
    struct Endless<'a>(&'a Cell<u64>);
    impl fmt::Debug for Endless<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            loop {
                self.0.set(self.0.get() + 1);
                f.write_str("endless ")?;
            }
        }
    }
    let count = Cell::new(0);
    let events = logged(Encoding { max_event_bytes: 2048, ..encoding() }, || {
        info!(target: TEA, small = 1, value = ?Endless(&count), "so");
    });
    let event = parsed(&events[0]);
    assert!(events[0].value.len() <= 2048 && count.get() < 300);
    assert_eq!((&event["truncated"], &event["fields"]["small"]), (&json!(true), &json!(1)));
}

#[test]
fn faults_of_fixed_fields_are_told() {
    let fault = |fields: &[(&str, &str)], format| {
        let fields = fields.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        Encoding { fields, format, max_event_bytes: 1024, ..Encoding::default() }.fault()
    };
    assert_eq!(fault(&[("service.name", "tea"), ("level", "x")], Format::Ecs), None);
    for (fields, format, expected) in [
        (&[("a", "1"), ("a", "2")][..], Format::Plain, "the field a is given twice"),
        (&[("level", "1")], Format::Plain, "a field cannot be called level"),
        (&[("log.level", "1")], Format::Ecs, "a field cannot be called log.level"),
        (&[("a", &*"x".repeat(300))], Format::Plain, "take 307 bytes"),
    ] {
        let fault = fault(fields, format).unwrap();
        assert!(fault.contains(expected), "{fault}");
    }
}

/// Values of `log` fields.
fn value() -> impl Strategy<Value = Json> {
    prop_oneof![
        any::<u64>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<bool>().prop_map(Json::from),
        "\\PC{0,40}".prop_map(Json::from),
        any::<String>().prop_map(Json::from),
        (0..3000_usize).prop_map(|length| "tea\n".repeat(length / 4).into()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    /// Whatever is logged, an event is JSON within its limit, and says exactly when something of it is missing.
    #[test]
    fn an_event_is_whole_or_says_that_it_is_not(
        message in prop_oneof![any::<String>(), "[a-z]{0,3000}"],
        target in prop_oneof![any::<String>(), "[a-z:]{0,400}"],
        span in prop_oneof!["[a-z]{0,20}", "[a-z\"]{0,2000}"],
        values in prop::collection::vec(("[a-z.\"]{0,12}", value()), 0..12),
        max_event_bytes in prop_oneof![Just(1024_usize), 1024..6000_usize, Just(100_000)],
        is_ecs: bool,
        location: bool,
    ) {
        let format = if is_ecs { Format::Ecs } else { Format::Plain };
        let fields = vec![("service.name".to_owned(), "tea".to_owned())];
        let encoding = |max_event_bytes| Encoding {
            format, max_event_bytes, location, fields: fields.clone(), ..Encoding::default()
        };
        let log = |encoding: Encoding| {
            let shared = shared(encoding);
            let dispatch = Registry::default().with(SinkLayer::new(shared.clone())).into();
            dispatcher::with_default(&dispatch, || {
                // A span with a long field, and the record of `log` beside.
                let request = info_span!(target: TEA, "request", span);
                request.in_scope(|| info!(target: TEA, message = &*message, number = 7, text = &*target));
            });
            let values: Vec<(String, log::kv::Value<'_>)> = values
                .iter()
                .map(|(name, value)| {
                    let value = match value {
                        Json::Bool(value) => (*value).into(),
                        Json::String(value) => value.as_str().into(),
                        Json::Number(value) if value.is_u64() => value.as_u64().unwrap().into(),
                        value => value.as_i64().unwrap().into(),
                    };
                    (name.clone(), value)
                })
                .collect();
            let values = values.as_slice();
            let mut record = log::Record::builder();
            record.target(&target).file(Some(&target)).line(Some(7)).key_values(&values);
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
            shared.encoder.log(&record.args(format_args!("{message}")).build(), now, |entry| shared.take(entry));
            taken(&shared)
        };
        let (whole, events) = (log(encoding(1 << 20)), log(encoding(max_event_bytes)));
        prop_assert_eq!(whole.len(), events.len());
        for (whole, event) in whole.iter().zip(&events) {
            prop_assert!(event.value.len() <= max_event_bytes);
            let (whole, event) = (parsed(whole), parsed(event));
            let marked = event.get("truncated").is_some();
            if !marked {
                let without_time = |json: Json| -> BTreeMap<String, Json> {
                    json.as_object().unwrap().iter().filter(|(name, _)| !name.contains("timestamp")).map(|(name, value)| (name.clone(), value.clone())).collect()
                };
                prop_assert_eq!(without_time(whole), without_time(event));
            } else {
                // What was cut may have been replaced by something shorter of the same name.
                let given: usize = values.iter().map(|(_, value)| value.to_string().len()).sum();
                let is_long = whole.to_string().len() + given + 1200 > max_event_bytes || target.len() > 40;
                prop_assert!(is_long, "{event}");
            }
        }
    }
}
