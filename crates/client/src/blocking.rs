//! [`block_on`]: for programs that are not asynchronous.

use std::{
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
};

/// Runs a future of this crate on this thread, which waits for it. Everything that waits here can be called this way, from
/// anywhere: what the client does goes on on a thread of its own.
///
/// ```no_run
/// use ottla_client::{Kafka, Record, block_on};
///
/// let kafka = Kafka::builder(["localhost:9092"]).build()?;
/// let producer = kafka.producer().build()?;
/// let written = block_on(producer.send(Record::new("orders").value("one tea")))?;
/// println!("offset {:?}", written.offset);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Not on a thread of a runtime that a client runs on
/// ([`on_current_runtime`](crate::KafkaBuilder::on_current_runtime)): what is waited for would be done by the thread that
/// waits.
pub fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(ready) => return ready,
            Poll::Pending => thread::park(),
        }
    }
}
