//! A model of partition logs, and the store beside it: whatever happens in whatever order, the store holds
//! exactly the batches that the model holds, and says so at every offset.
//!
//! `OTTLA_MODEL_CASES=10000 cargo test --release -p ottla-storage-local --test model` tries more sequences of
//! events than the ordinary run.

mod events;
#[path = "../harness/mod.rs"]
mod harness;
mod model;
mod run;
mod segments;

use events::{Event, events};
use proptest::{prelude::*, test_runner::TestRunner};

fn check(history: &[Event]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(run::run(history));
}

#[test]
fn the_store_does_what_the_model_does() {
    let cases = std::env::var("OTTLA_MODEL_CASES").map_or(64, |count| count.parse().unwrap());
    let config =
        ProptestConfig { cases, failure_persistence: None, max_shrink_iters: 300, ..Default::default() };
    let run = TestRunner::new(config).run(&events(), |history| {
        check(&history);
        Ok(())
    });
    if let Err(error) = run {
        panic!("{error}");
    }
}
