//! Threads for what must not run in the event loop: reading files, scanning all keys, operations that wait for the disk before they
//! can decide. Their number and the queue before them are bounded.

use std::sync::Arc;

use flint_core::Engine;
use tokio::sync::Semaphore;

use crate::problem::{Code, Problem};

/// Calls that may wait for each thread.
const QUEUE_PER_THREAD: usize = 4;
/// A scan of all keys, or of the log, takes a core, and memory for its result: more in parallel would not finish sooner.
const SCANS: usize = 2;
const SCAN_QUEUE: usize = 64;

/// The threads.
#[derive(Debug)]
pub(crate) struct BlockingPool {
    places: Arc<Semaphore>,
    threads: Arc<Semaphore>,
    scan_places: Arc<Semaphore>,
    scans: Arc<Semaphore>,
}

impl BlockingPool {
    /// With at most `threads` at work.
    pub(crate) fn new(threads: usize) -> Self {
        let scans = SCANS.min(threads);
        Self {
            places: Arc::new(Semaphore::new(threads * (1 + QUEUE_PER_THREAD))),
            threads: Arc::new(Semaphore::new(threads)),
            scan_places: Arc::new(Semaphore::new(scans + SCAN_QUEUE)),
            scans: Arc::new(Semaphore::new(scans)),
        }
    }

    /// Runs `work` in a thread.
    ///
    /// # Errors
    /// `busy` when the queue is full, and what `work` returns.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        engine: &Arc<Engine>,
        work: impl FnOnce(&Engine) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        Self::queued(&self.places, &self.threads, engine, work).await
    }

    /// The same for `work` that scans all keys or reads the files.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub(crate) async fn scan<T: Send + 'static>(
        &self,
        engine: &Arc<Engine>,
        work: impl FnOnce(&Engine) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        Self::queued(&self.scan_places, &self.scans, engine, work).await
    }

    async fn queued<T: Send + 'static>(
        places: &Arc<Semaphore>,
        threads: &Arc<Semaphore>,
        engine: &Arc<Engine>,
        work: impl FnOnce(&Engine) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let busy = || Problem::new(Code::Busy, "too many calls wait for the disk; try again in a second");
        let place = places.clone().try_acquire_owned().map_err(|_| busy())?;
        let thread = threads.clone().acquire_owned().await.map_err(|_| busy())?;
        let engine = engine.clone();
        // The permits go with the work, which may outlive the request.
        let task = tokio::task::spawn_blocking(move || {
            let _permits = (place, thread);
            work(&engine)
        });
        match task.await {
            Ok(result) => result,
            Err(_) => Err(Problem::new(Code::Internal, "the call failed unexpectedly; please report it")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use flint_core::engine::Options;

    use super::*;

    #[test]
    fn four_calls_wait_for_a_thread_and_the_next_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let engine = Arc::new(Engine::open(&dir.path().join("data"), Options::default()).unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let pool = Arc::new(BlockingPool::new(1));
            let (go_on, held) = channel::<()>();
            let held = Arc::new(std::sync::Mutex::new(held));
            let mut calls = Vec::new();
            for number in 0..5 {
                let (pool, engine, held) = (pool.clone(), engine.clone(), held.clone());
                calls.push(tokio::spawn(async move {
                    pool.run(&engine, move |_| {
                        held.lock().unwrap().recv().unwrap();
                        Ok(number)
                    })
                    .await
                }));
                tokio::task::yield_now().await;
            }
            let sixth = tokio::time::timeout(Duration::from_secs(60), pool.run(&engine, |_| Ok(())));
            assert_eq!(
                sixth.await.map(|answer| answer.unwrap_err().code()).ok(),
                Some(Code::Busy),
                "the queue is longer"
            );
            for _ in 0..5 {
                go_on.send(()).unwrap();
            }
            for (number, call) in calls.into_iter().enumerate() {
                assert_eq!(call.await.unwrap().unwrap(), number);
            }
            pool.run(&engine, |_| Ok(())).await.unwrap();
        });
        drop(runtime);
        engine.close().unwrap();
    }
}
