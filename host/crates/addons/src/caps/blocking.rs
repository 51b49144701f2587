//! What blocks a thread on behalf of one addon: at most a few such threads at once. A call that is given up leaves its thread behind until
//! the system answers, and one addon's dead server must not take the threads of the others.

use crate::limits;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// The threads of one addon. Cheap to clone; all clones count together.
#[derive(Clone, Debug)]
pub struct Blocking(Arc<Semaphore>);

/// All threads of the addon hang in earlier calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("earlier calls still hang (a dead server, a name service that does not answer): try again later")]
pub struct Hanging;

impl Default for Blocking {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(limits::BLOCKING_PER_ADDON)))
    }
}

impl Blocking {
    /// Runs this on a thread where it may block, and waits for it. Needs a tokio runtime.
    ///
    /// # Errors
    /// When all of the addon's threads hang, or the daemon is stopping.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Hanging> {
        let permit = Arc::clone(&self.0).try_acquire_owned().map_err(|_| Hanging)?;
        let done = tokio::task::spawn_blocking(move || {
            let result = work();
            // Given back when the thread is free, not when the caller has given up.
            drop(permit);
            result
        });
        done.await.map_err(|_| Hanging)
    }

    /// The addresses of `host:port`.
    ///
    /// # Errors
    /// When there are none, or see [`run`](Self::run).
    pub async fn resolve(&self, address: String) -> std::io::Result<Vec<std::net::SocketAddr>> {
        use std::net::ToSocketAddrs as _;
        let found = self.run(move || address.to_socket_addrs().map(Iterator::collect)).await;
        found.unwrap_or_else(|hanging| Err(std::io::Error::other(hanging)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::sync_channel;

    #[test]
    fn who_hangs_has_no_further_threads_until_one_comes_back() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let blocking = Blocking::default();
            let mut hanging = Vec::new();
            for _ in 0..limits::BLOCKING_PER_ADDON {
                let (release, wait) = sync_channel::<()>(0);
                let mut call = Box::pin(blocking.run(move || wait.recv().is_ok()));
                std::future::poll_fn(|context| {
                    assert!(call.as_mut().poll(context).is_pending());
                    std::task::Poll::Ready(())
                })
                .await;
                // Given up, as a call is whose time is over.
                drop(call);
                hanging.push(release);
            }
            assert_eq!(blocking.run(|| 7).await, Err(Hanging));
            assert_eq!(Blocking::default().run(|| 7).await, Ok(7), "others have their own");
            drop(hanging);
            while blocking.run(|| 7).await == Err(Hanging) {
                tokio::task::yield_now().await;
            }
        });
    }
}
