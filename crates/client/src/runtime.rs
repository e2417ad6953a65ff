//! Where the client's I/O runs: on a thread of its own, so that a caller that blocks its runtime costs nothing, or on a
//! runtime that the caller has.

use std::{sync::Arc, thread};

use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
    time::{Instant, Sleep, sleep_until},
};

use crate::error::{Error, ErrorKind};

/// Where tasks run.
#[derive(Clone)]
pub(crate) struct Runtime {
    handle: Handle,
    /// Its thread ends when the last one lets go.
    _thread: Option<Arc<oneshot::Sender<()>>>,
}

impl Runtime {
    /// A thread of the client's own.
    ///
    /// # Errors
    /// The system gives none.
    pub(crate) fn own() -> Result<Self, Error> {
        let failed =
            |error| Error::because(ErrorKind::Retriable, "the system gives no thread to the client", error);
        let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let handle = runtime.handle().clone();
        let (alive, gone) = oneshot::channel::<()>();
        let run = move || {
            let _ = runtime.block_on(gone);
            // Names may be being resolved, for which the system has no end: that thread is not waited for.
            runtime.shutdown_background();
        };
        thread::Builder::new().name("ottla-client".into()).spawn(run).map_err(failed)?;
        Ok(Self { handle, _thread: Some(Arc::new(alive)) })
    }

    /// That of the caller.
    pub(crate) fn on(handle: Handle) -> Self {
        Self { handle, _thread: None }
    }

    /// A future that ends at this time, wherever it is awaited: what runs here wakes it.
    pub(crate) fn sleep_until(&self, deadline: Instant) -> Sleep {
        let _inside = self.handle.enter();
        sleep_until(deadline)
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }
}
