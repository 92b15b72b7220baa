//! Where tokio lives: one thread with a runtime of its own, for the Docker client alone.
//!
//! The client cannot work without tokio, and nothing else needs it. So what uses the client is
//! sent here whole, and waited for from outside like any other future. The thread starts with the
//! first work and ends with the [`Island`].

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll};
use std::thread;
use tokio::runtime::{Builder, Handle};
use tokio::task::{JoinError, JoinHandle};

/// The thread, once there is one.
#[derive(Debug, Default)]
pub(super) struct Island {
    shore: OnceLock<Result<Shore, String>>,
}

/// What is known of the thread from outside.
#[derive(Debug)]
struct Shore {
    runtime: Handle,
    /// The thread lives as long as this.
    _alive: async_channel::Sender<Infallible>,
}

impl Island {
    /// Does work over there. Dropping the future ends the work.
    ///
    /// # Errors
    /// What the system said when it would not start the thread; the work was not begun.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, String> {
        let shore = self
            .shore
            .get_or_init(|| settle().map_err(|error| error.to_string()));
        match shore {
            Ok(shore) => Ok(AbortOnDrop(shore.runtime.spawn(work)).await),
            Err(error) => Err(error.clone()),
        }
    }
}

fn settle() -> io::Result<Shore> {
    let (alive, over) = async_channel::bounded::<Infallible>(1);
    let runtime = Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()?;
    let handle = runtime.handle().clone();
    thread::Builder::new()
        .name("docker".to_owned())
        .spawn(move || {
            let _ = runtime.block_on(over.recv());
        })?;
    Ok(Shore {
        runtime: handle,
        _alive: alive,
    })
}

/// Work over there, which ends when nobody waits for it any more.
struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<T> Future for AbortOnDrop<T> {
    type Output = T;

    /// A panic over there goes on here.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        Pin::new(&mut self.0).poll(context).map(|ended| {
            ended.unwrap_or_else(|error: JoinError| std::panic::resume_unwind(error.into_panic()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::{block_on, or, pending};
    use std::time::Duration;

    #[test]
    fn work_is_done_on_one_thread_and_waited_for_from_any() {
        let island = Island::default();
        let name = async { thread::current().name().map(str::to_owned) };
        assert_eq!(block_on(island.run(name)), Ok(Some("docker".to_owned())));
        let nap = async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            7
        };
        assert_eq!(block_on(island.run(nap)), Ok(7));
    }

    #[test]
    fn work_that_nobody_waits_for_ends() {
        let island = Island::default();
        let (held, watched) = async_channel::bounded::<Infallible>(1);
        let (began, begun) = async_channel::bounded(1);
        let work = island.run(async move {
            let _ = began.send(()).await;
            pending::<()>().await;
            drop(held);
        });
        let given_up = async {
            let _ = begun.recv().await;
            Ok(())
        };
        assert_eq!(block_on(or(work, given_up)), Ok(()));
        assert!(block_on(watched.recv()).is_err());
    }

    #[test]
    fn a_panic_over_there_is_a_panic_here() {
        let island = Island::default();
        let work = async { panic!("as asked") };
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            block_on(island.run::<()>(work))
        }));
        assert!(ended.is_err());
    }
}
