//! A thread with an asynchronous runtime of its own, so that what runs there is used alike from synchronous and
//! asynchronous tests.

use std::{future::Future, sync::mpsc, thread};

use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
};

/// The thread; it ends when this is dropped, and all that runs on it with it.
#[derive(Debug)]
pub(crate) struct Thread {
    runtime: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Thread {
    pub(crate) fn start(name: &str) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("the system has a poller");
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let run = move || {
            // The sender is dropped, never used.
            let _ = runtime.block_on(stopped);
        };
        let thread = thread::Builder::new().name(name.into()).spawn(run).expect("the system has threads");
        Self { runtime: handle, stop: Some(stop), thread: Some(thread) }
    }

    /// Runs a future on the thread and waits for it.
    pub(crate) fn run<F>(&self, future: F) -> F::Output
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        let (sender, receiver) = mpsc::channel();
        self.runtime.spawn(async move {
            // Whoever waits for it is there until it comes.
            let _ = sender.send(future.await);
        });
        receiver.recv().expect("the thread runs until its owner is gone, and what runs there does not panic")
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().map(thread::JoinHandle::join);
        debug_assert!(!matches!(ended, Some(Err(_))), "only tasks panic there, and those are caught");
    }
}
