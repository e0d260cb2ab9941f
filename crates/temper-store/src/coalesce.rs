//! Calls of many workers, made together: what a hundred of them report in the same moment is written by
//! one transaction, which costs little more than one of a single worker.

use std::{collections::HashMap, mem, sync::Arc};

use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::{
    LeaseRef, StoreError,
    lease::{Held, Hold, lease_check, leases_try},
    store::{Base, Tx},
};

/// Most calls of a transaction.
const MOST: usize = 32;
/// Transactions of a kind under way at once: while they are, the next calls gather.
const UNDER_WAY: usize = 2;

/// What a worker writes to a job that it holds.
pub(crate) trait Write: Send + Sync + Sized + 'static {
    /// Under which lease.
    fn lease(&self) -> &LeaseRef;

    /// Locks the jobs of those of the leases that are good and whose job nobody else has locked, and
    /// gives those leases. Waits for no lock.
    fn lock(
        tx: &mut Tx,
        leases: &[LeaseRef],
    ) -> impl Future<Output = Result<HashMap<LeaseRef, Held>, StoreError>> + Send {
        leases_try(tx, leases)
    }

    /// Writes to the jobs, which are locked; all of it or, by an error, nothing.
    fn store(
        tx: &mut Tx,
        writes: &[(Held, Self)],
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// What comes of it after the job's result has been accepted.
    fn repeated(&self) -> Result<(), StoreError>;
}

type Answer = oneshot::Sender<Result<(), StoreError>>;

/// Gathers writes while others are under way, and makes them together. Clones share it; it ends
/// with the last of them.
#[derive(Debug)]
pub(crate) struct Coalescer<W>(mpsc::Sender<(W, Answer)>);

impl<W> Clone for Coalescer<W> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<W: Write> Coalescer<W> {
    /// Begins.
    pub(crate) fn start(base: Base) -> Self {
        let (calls, mut waiting) = mpsc::channel(MOST);
        tokio::spawn(async move {
            let turns = Arc::new(Semaphore::new(UNDER_WAY));
            let mut gathered = Vec::new();
            while let Ok(turn) = turns.clone().acquire_owned().await
                && waiting.recv_many(&mut gathered, MOST).await > 0
            {
                let (base, calls) = (base.clone(), mem::take(&mut gathered));
                tokio::spawn(async move {
                    let left = together(&base, calls).await;
                    drop(turn);
                    for (write, answer) in left {
                        let base = base.clone();
                        tokio::spawn(async move { answer.send(alone(&base, write).await) });
                    }
                });
            }
        });
        Self(calls)
    }

    /// Makes a write, and waits until it is committed.
    pub(crate) async fn call(&self, write: W) -> Result<(), StoreError> {
        let (answer, answered) = oneshot::channel();
        // Nobody takes the call where the runtime is ending.
        if self.0.send((write, answer)).await.is_err() {
            return Err(sqlx::Error::PoolClosed.into());
        }
        answered.await.map_err(|_| sqlx::Error::PoolClosed)?
    }
}

/// Makes what can be made in one transaction without waiting for anybody, and gives back the rest: what is
/// locked by others, what may not be written, and all of it where one of them is refused.
async fn together<W: Write>(base: &Base, calls: Vec<(W, Answer)>) -> Vec<(W, Answer)> {
    let leases: Vec<LeaseRef> = calls.iter().map(|(write, _)| *write.lease()).collect();
    let locked = async {
        let mut tx = base.begin().await?;
        let held = W::lock(&mut tx, &leases).await?;
        Ok::<_, StoreError>((tx, held))
    };
    // Each call alone tells its own error.
    let Ok((mut tx, mut held)) = locked.await else {
        return calls;
    };
    let (mut writes, mut answers, mut left) = (Vec::new(), Vec::new(), Vec::new());
    for (write, answer) in calls {
        // By the whole lease: of two who write to one job the fence tells whose it is. A lease's
        // second write finds it gone from here.
        match held.remove(write.lease()) {
            Some(held) => {
                writes.push((held, write));
                answers.push(answer);
            }
            None => left.push((write, answer)),
        }
    }
    let stored = async {
        W::store(&mut tx, &writes).await?;
        tx.commit().await
    };
    if !writes.is_empty() && stored.await.is_err() {
        let writes = writes.into_iter().map(|(_, write)| write);
        left.extend(writes.zip(answers));
        return left;
    }
    for answer in answers {
        // Whoever asked may have gone.
        let _ = answer.send(Ok(()));
    }
    left
}

/// Makes a write in a transaction of its own.
async fn alone<W: Write>(base: &Base, write: W) -> Result<(), StoreError> {
    let mut tx = base.begin().await?;
    let Hold::Live(held) = lease_check(&mut tx, write.lease()).await? else {
        return write.repeated();
    };
    W::store(&mut tx, &[(held, write)]).await?;
    tx.commit().await
}
