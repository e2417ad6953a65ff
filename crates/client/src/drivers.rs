//! The one task that does what producers and consumers do in time: each has a future here that drives it. So a client has as
//! many tasks as it has connections, and two: this one and that of metadata.

use std::pin::Pin;

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::{runtime::Handle, sync::mpsc};

use crate::error::{Error, ErrorKind};

/// What drives a producer or a consumer until its end.
type Driver = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The way to the task.
#[derive(Debug)]
pub(crate) struct Drivers {
    newcomers: mpsc::UnboundedSender<Driver>,
}

impl Drivers {
    /// Begins the task, which ends when nothing is left to drive and nothing can come any more.
    pub(crate) fn start(runtime: &Handle) -> Self {
        let (newcomers, taken) = mpsc::unbounded_channel();
        runtime.spawn(drive(taken));
        Self { newcomers }
    }

    /// Drives one more. Where the runtime ends, it is dropped.
    ///
    /// # Errors
    /// `Closed`: the runtime has ended.
    pub(crate) fn add(&self, driver: impl Future<Output = ()> + Send + 'static) -> Result<(), Error> {
        let closed = |_| Error::new(ErrorKind::Closed, "the runtime that the client ran on has ended");
        self.newcomers.send(Box::pin(driver)).map_err(closed)
    }
}

async fn drive(mut newcomers: mpsc::UnboundedReceiver<Driver>) {
    let mut drivers = FuturesUnordered::new();
    loop {
        tokio::select! {
            newcomer = newcomers.recv() => match newcomer {
                Some(driver) => drivers.push(driver),
                None => break,
            },
            Some(()) = drivers.next() => {}
        }
    }
    while drivers.next().await.is_some() {}
}
