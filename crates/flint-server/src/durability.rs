//! Waiting for a sync without a thread. The engine wakes one task per sync, which wakes the requests whose records it covered: a
//! wake-up from another thread is a system call, one from a task of the same loop is not.

use std::future::poll_fn;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use flint_core::{Engine, Result};
use tokio::sync::Notify;

/// The requests that wait for a record to be durable.
#[derive(Debug, Default)]
pub(crate) struct DurabilityWaiters {
    waiting: Mutex<Vec<(u64, Waker)>>,
    /// Notified when a request begins to wait.
    arrived: Notify,
}

impl DurabilityWaiters {
    fn waiting(&self) -> MutexGuard<'_, Vec<(u64, Waker)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when record `seq` is durable. [`Self::wake_loop`] has to run.
    ///
    /// # Errors
    /// `Stopped` or `Closed`: it may or may not count after reopening.
    pub(crate) async fn wait(&self, engine: &Engine, seq: u64) -> Result<()> {
        let mut registered: Option<Waker> = None;
        poll_fn(|cx| match engine.poll_durable(seq) {
            Ok(true) => Poll::Ready(Ok(())),
            Ok(false) => {
                if !registered.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                    registered = Some(cx.waker().clone());
                    self.waiting().push((seq, cx.waker().clone()));
                    self.arrived.notify_one();
                }
                Poll::Pending
            }
            Err(error) => Poll::Ready(Err(error)),
        })
        .await
    }

    /// Wakes the waiting requests, until the engine is closed.
    ///
    /// # Errors
    /// Those of [`Engine::wake_when_durable`].
    pub(crate) async fn wake_loop(&self, engine: &Engine) -> Result<()> {
        loop {
            self.arrived.notified().await;
            // A request that begins to wait from here on may be covered by the next sync or not.
            while !self.waiting().is_empty() {
                let mut registered = false;
                poll_fn(|cx| {
                    if registered {
                        return Poll::Ready(Ok(()));
                    }
                    registered = true;
                    match engine.wake_when_durable(cx.waker()) {
                        Ok(()) => Poll::Pending,
                        Err(error) => Poll::Ready(Err(error)),
                    }
                })
                .await?;
                self.waiting().retain(|(seq, waker)| {
                    // An error ends the wait, too: the request gets it from its own poll.
                    let waits = matches!(engine.poll_durable(*seq), Ok(false));
                    if !waits {
                        waker.wake_by_ref();
                    }
                    waits
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use flint_core::engine::{Check, Item, OnChange, Options, WaitPolicy};
    use flint_core::limit::{Algorithm, parse_limit};
    use tokio::time::timeout;

    use super::*;

    #[test]
    fn every_waiter_is_woken_also_when_others_leave_or_come_late() {
        let dir = tempfile::tempdir().unwrap();
        let engine = Arc::new(Engine::open(&dir.path().join("data"), Options::default()).unwrap());
        engine.limit("k", &parse_limit("1000000/day", Algorithm::TokenBucket).unwrap(), OnChange::Keep).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let durable = Arc::new(DurabilityWaiters::default());
            let serving = (durable.clone(), engine.clone());
            tokio::spawn(async move { serving.0.wake_loop(&serving.1).await });
            for _ in 0..20 {
                let mut tasks = Vec::new();
                for number in 0..64 {
                    let item = Item { key: "k", cost: 1, limit: None };
                    let seq = engine.try_run(&Check::new(item), WaitPolicy::Lock).unwrap().unwrap().seq;
                    let (durable, engine) = (durable.clone(), engine.clone());
                    let task = tokio::spawn(async move { durable.wait(&engine, seq).await });
                    if number % 5 == 0 {
                        tokio::task::yield_now().await;
                    }
                    if number % 7 == 0 {
                        task.abort();
                    } else {
                        tasks.push(task);
                    }
                }
                for task in tasks {
                    timeout(Duration::from_secs(60), task).await.expect("woken").unwrap().unwrap();
                }
            }
            timeout(Duration::from_secs(60), async {
                while !durable.waiting().is_empty() {
                    tokio::task::yield_now().await;
                }
            })
            .await
            .expect("aborted waiters are removed");
        });
        drop(runtime);
        engine.close().unwrap();
    }
}
