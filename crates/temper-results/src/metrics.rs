//! What a results service tells beside the figures of its calls.

use futures::{FutureExt as _, future::BoxFuture};
use temper_service::metrics::{Collect, connections};
use temper_store::Store;

/// The gauges of its connections.
pub struct Gauges(pub Store);

impl Collect for Gauges {
    fn collect(&self) -> BoxFuture<'_, ()> {
        async {
            let pool = self.0.connections();
            connections(pool.used, pool.idle, pool.most);
        }
        .boxed()
    }
}
