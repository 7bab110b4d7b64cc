//! Catching the panics of a request.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

/// Runs `work` and catches its panics: they end this request and nothing else.
pub(super) async fn catching<T>(work: impl Future<Output = T>) -> Result<T, Box<dyn Any + Send>> {
    let mut work = pin!(work);
    std::future::poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))) {
        Ok(Poll::Ready(done)) => Poll::Ready(Ok(done)),
        Ok(Poll::Pending) => Poll::Pending,
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_ends_its_own_work() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let panicked = runtime.block_on(catching(async {
            tokio::task::yield_now().await;
            panic!("deliberate");
        }));
        std::panic::set_hook(hook);
        let panicked: Result<(), _> = panicked;
        assert_eq!(panicked.unwrap_err().downcast_ref::<&str>(), Some(&"deliberate"));
        assert_eq!(runtime.block_on(catching(async { 5 })).unwrap(), 5);
    }
}
