//! Changes on their way to the disk, in the order in which they were made, and who is told when they are there.

use std::pin::Pin;

use ottla_storage::StateStoreError;
use tokio::sync::mpsc;

/// The result of a change that was handed to the store.
pub(super) type Stored = Pin<Box<dyn Future<Output = Result<(), StateStoreError>> + Send>>;

/// Tells somebody what came of it.
pub(super) type Told = Box<dyn FnOnce(&Result<(), StateStoreError>) + Send>;

/// A change on its way.
pub(super) struct Settling {
    /// When it is durable, or has failed.
    pub(super) stored: Stored,
    /// Who is told then, in this order.
    pub(super) told: Vec<Told>,
}

/// Waits for the changes, one after the other: the store makes them durable in their order.
pub(super) async fn settle(mut changes: mpsc::UnboundedReceiver<Settling>) {
    while let Some(Settling { stored, told }) = changes.recv().await {
        let result = stored.await;
        for tell in told {
            tell(&result);
        }
    }
}
