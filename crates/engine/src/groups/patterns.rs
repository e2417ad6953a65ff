//! Regular expressions in subscriptions, and which topics they stand for.
//!
//! The engine takes time in proportion to the text, whatever the expression: no pattern can make it backtrack. What
//! an expression compiles to is bounded, and so is how deep it nests. As Kafka does, the whole name of a topic is
//! matched (KIP-848). The syntax is nearly RE2's, which Kafka has; `\Q…\E` and `\C` are not known.

use std::{collections::HashMap, sync::Arc};

use ottla_coordinator::consumer::Pattern;
use ottla_storage::Storage;
use regex_automata::{Anchored, Input, meta};
use regex_syntax::{
    ParserBuilder,
    hir::{Hir, Look},
};
use tokio::{sync::Semaphore, task::spawn_blocking};

use crate::broker::{Broker, Topics};

/// The most bytes that an expression may compile to.
const COMPILED_BYTES_MAX: usize = 1 << 20;
/// The longest expression, in bytes; compiling takes time by the length.
const TEXT_BYTES_MAX: usize = 64 << 10;
/// How deep groups and repetitions may nest.
const NESTING_MAX: u32 = 100;

/// The names that regular expressions stand for.
pub(super) type Resolved = HashMap<Arc<str>, Vec<Arc<str>>>;

/// Resolves regular expressions beside the threads that serve clients, one call at a time.
#[derive(Clone, Debug)]
pub(super) struct Resolver {
    turn: Arc<Semaphore>,
}

impl Resolver {
    pub(super) fn new() -> Self {
        Self { turn: Arc::new(Semaphore::new(1)) }
    }

    /// Which of the broker's topics an expression stands for; the empty one is none.
    pub(super) async fn resolve<S: Storage>(&self, broker: &Arc<Broker<S>>, text: &str) -> Pattern {
        if text.is_empty() {
            return Pattern::None;
        }
        let text: Arc<str> = text.into();
        let refused = |reason: Arc<str>| Pattern::Refused { text: text.clone(), reason };
        let Ok(_turn) = self.turn.acquire().await else { return refused("the broker is stopping".into()) };
        let (topics, asked) = (broker.topics(), text.clone());
        match spawn_blocking(move || names(&asked, &topics)).await {
            Ok(Ok(topics)) => Pattern::Resolved { text, topics },
            Ok(Err(reason)) => refused(reason),
            Err(_) => refused("the broker is stopping".into()),
        }
    }

    /// Which of the broker's topics these expressions stand for now. One that does not compile, which one that was
    /// taken cannot be, is left out.
    pub(super) async fn resolve_all<S: Storage>(
        &self,
        broker: &Arc<Broker<S>>,
        texts: Vec<Arc<str>>,
    ) -> Resolved {
        let Ok(_turn) = self.turn.acquire().await else { return Resolved::new() };
        let topics = broker.topics();
        let resolve = move || {
            let resolved = texts.into_iter().filter_map(|text| {
                let names = names(&text, &topics).ok()?;
                Some((text, names))
            });
            resolved.collect()
        };
        spawn_blocking(resolve).await.unwrap_or_default()
    }
}

/// The names of the topics that an expression stands for, in order.
fn names<S: Storage>(text: &str, topics: &Topics<S>) -> Result<Vec<Arc<str>>, Arc<str>> {
    let pattern = compile(text)?;
    let all = topics.all().map(|topic| &topic.name);
    Ok(all.filter(|name| is_match(&pattern, name)).cloned().collect())
}

/// An expression for whole names.
///
/// # Errors
/// What is wrong with it, for its author.
fn compile(text: &str) -> Result<meta::Regex, Arc<str>> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(format!("it has more than {TEXT_BYTES_MAX} bytes").into());
    }
    // Names of topics are ASCII, and classes of Unicode are large: they are taken only where they are asked for.
    let parsed = parse(text, false).or_else(|_| parse(text, true))?;
    let whole = Hir::concat(vec![Hir::look(Look::Start), parsed, Hir::look(Look::End)]);
    let config = meta::Config::new()
        .nfa_size_limit(Some(COMPILED_BYTES_MAX))
        .onepass_size_limit(Some(COMPILED_BYTES_MAX))
        .utf8_empty(false);
    meta::Builder::new().configure(config).build_from_hir(&whole).map_err(|error| match error.size_limit() {
        Some(_) => "it is too large".into(),
        None => one_line(&error),
    })
}

fn parse(text: &str, unicode: bool) -> Result<Hir, Arc<str>> {
    let mut parser = ParserBuilder::new().unicode(unicode).utf8(false).nest_limit(NESTING_MAX).build();
    parser.parse(text).map_err(|error| one_line(&error))
}

/// Errors of the parser draw the place under the expression; clients get the last line, which says what is wrong.
fn one_line(error: &impl ToString) -> Arc<str> {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.strip_prefix("error: ").unwrap_or(last).into()
}

fn is_match(pattern: &meta::Regex, name: &str) -> bool {
    pattern.is_match(Input::new(name).anchored(Anchored::Yes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stands_for(pattern: &str, name: &str) -> bool {
        is_match(&compile(pattern).unwrap(), name)
    }

    #[test]
    fn the_whole_name_is_matched() {
        assert!(stands_for("orders", "orders"));
        assert!(!stands_for("orders", "orders-eu") && !stands_for("orders", "my-orders"));
        // The first alternative must not hide the second.
        assert!(stands_for("a|ab", "ab") && stands_for("a|ab", "a"));
        assert!(stands_for("orders-.*|^clicks$", "clicks"));
        assert!(stands_for("(?x) orders # of all countries", "orders"));
        assert!(stands_for(r"\d+\w", "17_") && stands_for(r"\p{L}+", "orders"));
    }

    #[test]
    fn what_cannot_be_compiled_says_why() {
        let wrong = |pattern: &str| compile(pattern).unwrap_err();
        assert_eq!(&*wrong("orders("), "unclosed group");
        // Harmless on both sides of what a prefix and a suffix would make of it.
        assert_eq!(&*wrong("a)|(b"), "unopened group");
        assert_eq!(&*wrong("(a{1000}){1000}"), "it is too large");
        assert_eq!(&*wrong(&"a".repeat(TEXT_BYTES_MAX + 1)), "it has more than 65536 bytes");
        let nested = format!("{}{}", "(".repeat(2000), ")".repeat(2000));
        assert!(wrong(&nested).contains("nest"), "{}", wrong(&nested));
        assert!(wrong(r"(a)\1").contains("backreference"), "{}", wrong(r"(a)\1"));
    }

    #[test]
    fn no_pattern_backtracks() {
        let name = "a".repeat(249);
        assert!(!stands_for("(a*)*b", &name) && !stands_for("(a|aa)+c", &name));
    }
}
