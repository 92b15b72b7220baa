//! Waiting for a moment without the system's help.
//!
//! The loop's thread waits for others, never for the system itself ([`block_on`]), so it keeps its
//! alarms itself too: it sleeps until the first of them. A timer of the reactor would have the
//! thread that waits for the system woken whenever one is set, and some are set in each turn.
//! Elsewhere an alarm is such a timer.

use async_io::Timer;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

thread_local! {
    /// Those of this thread, while it is in [`block_on`].
    static ALARMS: RefCell<Option<Alarms>> = const { RefCell::new(None) };
}

#[derive(Debug, Default)]
struct Alarms {
    last: u64,
    set: BTreeMap<(Instant, u64), Waker>,
}

/// A future that is done at its moment.
#[derive(Debug)]
#[must_use = "it rings for who awaits it"]
pub(crate) struct Alarm {
    at: Instant,
    set: Set,
}

/// Where an alarm is set.
#[derive(Debug)]
enum Set {
    Nowhere,
    /// Among the thread's own, by this number.
    Here(u64),
    Reactor(Timer),
}

impl Alarm {
    /// Rings at this moment.
    pub(crate) fn at(at: Instant) -> Alarm {
        let set = Set::Nowhere;
        Alarm { at, set }
    }

    /// Rings after this time; one that is longer than clocks reach counts as a year.
    pub(crate) fn after(time: Duration) -> Alarm {
        const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
        let now = Instant::now();
        Alarm::at(now.checked_add(time).unwrap_or(now + YEAR))
    }
}

impl Future for Alarm {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let at = self.at;
        if at <= Instant::now() {
            return Poll::Ready(());
        }
        if let Set::Reactor(timer) = &mut self.set {
            return Pin::new(timer).poll(context).map(drop);
        }
        let number = ALARMS.with_borrow_mut(|alarms| {
            let alarms = alarms.as_mut()?;
            let number = match self.set {
                Set::Here(number) => number,
                _ => {
                    alarms.last += 1;
                    alarms.last
                }
            };
            let waker = context.waker();
            let kept = alarms.set.entry((at, number));
            kept.and_modify(|kept| kept.clone_from(waker))
                .or_insert_with(|| waker.clone());
            Some(number)
        });
        match number {
            Some(number) => {
                self.set = Set::Here(number);
                Poll::Pending
            }
            None => {
                let mut timer = Timer::at(at);
                let polled = Pin::new(&mut timer).poll(context).map(drop);
                self.set = Set::Reactor(timer);
                polled
            }
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if let Set::Here(number) = self.set {
            // On another thread, or at the end of this one, there is nothing to take back.
            let _ = ALARMS.try_with(|alarms| {
                let mut alarms = alarms.borrow_mut();
                alarms.as_mut()?.set.remove(&(self.at, number))
            });
        }
    }
}

/// Runs a future to its end on this thread, which keeps its own alarms meanwhile.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let outer = ALARMS.replace(Some(Alarms::default()));
    let doorbell = Arc::new(Doorbell {
        thread: thread::current(),
        rung: AtomicBool::new(false),
    });
    let waker = Waker::from(Arc::clone(&doorbell));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(done) = future.as_mut().poll(&mut context) {
            ALARMS.set(outer);
            return done;
        }
        let next = ring();
        if doorbell.rung.swap(false, Ordering::AcqRel) {
            continue;
        }
        match next {
            Some(at) => thread::park_timeout(at.saturating_duration_since(Instant::now())),
            None => thread::park(),
        }
        doorbell.rung.swap(false, Ordering::AcqRel);
    }
}

/// Wakes whoever waits for a moment that has come. The next moment.
fn ring() -> Option<Instant> {
    loop {
        let waker = ALARMS.with_borrow_mut(|alarms| {
            let set = &mut alarms.as_mut()?.set;
            let first = set.first_entry()?;
            match first.key().0 <= Instant::now() {
                true => Some(Ok(first.remove())),
                false => Some(Err(first.key().0)),
            }
        });
        match waker? {
            Ok(waker) => waker.wake(),
            Err(next) => return Some(next),
        }
    }
}

/// Ends the thread's sleep.
struct Doorbell {
    thread: Thread,
    rung: AtomicBool,
}

impl Wake for Doorbell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Whoever is awake need not be woken.
        if !self.rung.swap(true, Ordering::AcqRel) && thread::current().id() != self.thread.id() {
            self.thread.unpark();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ALARMS, Alarm, block_on};
    use futures_lite::future::{or, yield_now, zip};
    use std::thread;
    use std::time::{Duration, Instant};

    const SOON: Duration = Duration::from_millis(20);

    fn kept() -> Option<usize> {
        ALARMS.with_borrow(|alarms| alarms.as_ref().map(|alarms| alarms.set.len()))
    }

    #[test]
    fn each_rings_at_its_moment_and_none_is_left() {
        let began = Instant::now();
        block_on(async {
            zip(Alarm::after(2 * SOON), async {
                yield_now().await;
                assert_eq!(kept(), Some(1));
                Alarm::after(SOON).await;
            })
            .await;
            assert_eq!(kept(), Some(0));
        });
        assert!(began.elapsed() >= 2 * SOON);
        assert_eq!(kept(), None);
    }

    #[test]
    fn one_that_is_given_up_is_forgotten() {
        block_on(async {
            let given_up = Alarm::after(Duration::MAX);
            or(given_up, async {
                yield_now().await;
                assert_eq!(kept(), Some(1));
            })
            .await;
            assert_eq!(kept(), Some(0));
        });
    }

    #[test]
    fn another_thread_ends_the_sleep() {
        let (sender, receiver) = async_channel::bounded(1);
        let other = thread::spawn(move || {
            thread::sleep(SOON);
            sender.send_blocking(7)
        });
        let late = async {
            Alarm::after(Duration::from_secs(60)).await;
            0
        };
        let told = async { receiver.recv().await.unwrap_or(1) };
        assert_eq!(block_on(or(told, late)), 7);
        assert!(other.join().is_ok_and(|sent| sent.is_ok()));
    }

    #[test]
    fn elsewhere_it_rings_too() {
        let began = Instant::now();
        futures_lite::future::block_on(Alarm::after(SOON));
        assert!(began.elapsed() >= SOON);
    }
}
