//! What has settings: topics and brokers, as the APIs name them that describe and alter settings.

use std::collections::{HashMap, HashSet};

use ottla_protocol::{ErrorCode, Str};

use super::Call;
use crate::{
    faults::Asked,
    settings::{BROKER, Given, Kind, TOPIC, Table},
    state::{Refusal, State},
};

const OF_TOPIC: i8 = 2;
const OF_BROKER: i8 = 4;

/// A resource as a request names it: Kafka's number for what it is, and its name.
pub(super) type Named<'a> = (i8, &'a Str);

/// A resource that is there.
#[derive(Clone, Copy, Debug)]
pub(super) enum Resource<'a> {
    Topic(&'a str),
    /// The broker that was asked.
    Broker,
    /// What all brokers share.
    AllBrokers,
}

/// The topics among resources.
pub(super) fn topics<'a>(resources: impl Iterator<Item = Named<'a>>) -> Vec<Asked> {
    let topics = resources.filter(|(of, _)| *of == OF_TOPIC);
    topics.map(|(_, name)| Asked { topic: name.to_string(), partition: None }).collect()
}

/// Does something with a resource, unless a fault says otherwise.
pub(super) fn with<T>(
    state: &mut State,
    call: &Call,
    (of, name): Named<'_>,
    act: impl FnOnce(&mut State, Resource<'_>) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    let act = || {
        let resource = find(state, call, (of, name))?;
        act(state, resource)
    };
    if of == OF_TOPIC { call.on_topic(name, act) } else { call.on_broker(act) }
}

fn find<'a>(state: &State, call: &Call, (of, name): Named<'a>) -> Result<Resource<'a>, Refusal> {
    match of {
        OF_TOPIC if state.topics.contains_key(&**name) => Ok(Resource::Topic(name)),
        OF_TOPIC => Err(Refusal::new(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, "there is no such topic")),
        OF_BROKER if name.is_empty() => Ok(Resource::AllBrokers),
        OF_BROKER if **name == call.node.to_string() => Ok(Resource::Broker),
        OF_BROKER => {
            let why = format!("this is broker {}, and it knows its own settings alone", call.node);
            Err(Refusal::new(ErrorCode::INVALID_REQUEST, why))
        }
        other => {
            let why =
                format!("resource type {other} is not known: there are topics (2) and brokers (4) here");
            Err(Refusal::new(ErrorCode::INVALID_REQUEST, why))
        }
    }
}

/// Alters the settings that are given for resources, each as a whole or not at all: what became of them, with the reason,
/// in their order. One that is named more than once is not altered.
pub(super) fn alter<'a, R>(
    state: &mut State,
    call: &Call,
    resources: &'a [R],
    named: fn(&'a R) -> Named<'a>,
    validate_only: bool,
    change: impl Fn(&R, &Table, &mut Given) -> Result<(), Refusal>,
) -> Vec<(ErrorCode, Option<Str>)> {
    let mut times: HashMap<Named<'_>, usize> = HashMap::new();
    for resource in resources {
        *times.entry(named(resource)).or_default() += 1;
    }
    let alter = |asked: &'a R| {
        if times[&named(asked)] > 1 {
            return Err(Refusal::new(ErrorCode::INVALID_REQUEST, "the resource is named more than once"));
        }
        with(state, call, named(asked), |state, resource| {
            let mut given = resource.given(state, call).cloned().unwrap_or_default();
            change(asked, resource.table(), &mut given)?;
            resource.check(&given)?;
            if let Some(place) = resource.given_mut(state, call).filter(|_| !validate_only) {
                *place = given;
            }
            Ok(())
        })
    };
    let told = |altered: Result<(), Refusal>| match altered {
        Ok(()) => (ErrorCode::NONE, None),
        Err(Refusal { code, why }) => (code, Some(why.into())),
    };
    resources.iter().map(alter).map(told).collect()
}

/// Checks the settings that a request names for one resource, with whether each lacks a value that it needs.
pub(super) fn check_named<'a>(settings: impl Iterator<Item = (&'a Str, bool)>) -> Result<(), Refusal> {
    let refuse = |why| Err(Refusal::new(ErrorCode::INVALID_REQUEST, why));
    let mut names = HashSet::new();
    for (name, lacks_value) in settings {
        if lacks_value {
            return refuse(format!("the setting '{name}' has no value"));
        }
        if !names.insert(name) {
            return refuse(format!("the setting '{name}' is named more than once"));
        }
    }
    Ok(())
}

impl Resource<'_> {
    pub(super) fn table(self) -> &'static Table {
        match self {
            Self::Topic(_) => &TOPIC,
            Self::Broker | Self::AllBrokers => &BROKER,
        }
    }

    /// What is given for it.
    fn given<'a>(self, state: &'a State, call: &Call) -> Option<&'a Given> {
        match self {
            Self::Topic(name) => state.topics.get(name).map(|topic| &topic.configs),
            Self::Broker => state.node(call.node).map(|node| &node.configs),
            Self::AllBrokers => Some(&state.default_configs),
        }
    }

    fn given_mut<'a>(self, state: &'a mut State, call: &Call) -> Option<&'a mut Given> {
        match self {
            Self::Topic(name) => state.topics.get_mut(name).map(|topic| &mut topic.configs),
            Self::Broker => state.node_mut(call.node).map(|node| &mut node.configs),
            Self::AllBrokers => Some(&mut state.default_configs),
        }
    }

    /// Refuses a secret that all brokers would share.
    fn check(self, given: &Given) -> Result<(), Refusal> {
        let secret = |name: &&String| {
            let mut settings = self.table().settings.iter();
            settings.any(|setting| setting.name == **name && setting.kind == Kind::Password)
        };
        match (self, given.keys().find(secret)) {
            (Self::AllBrokers, Some(name)) => {
                let why = format!("the setting '{name}' is one of single brokers: tell the broker's id");
                Err(Refusal::new(ErrorCode::INVALID_REQUEST, why))
            }
            _ => Ok(()),
        }
    }
}
