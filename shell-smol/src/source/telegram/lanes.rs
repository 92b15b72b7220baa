//! Work in order: jobs of one conversation run one after another, those of different ones at the
//! same time. A lane is there only while it has jobs.

use futures_lite::FutureExt;
use smol::LocalExecutor;
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::rc::Rc;

type Job = Pin<Box<dyn Future<Output = ()>>>;

/// Lanes by their name.
#[derive(Clone)]
pub(super) struct Lanes {
    executor: Rc<LocalExecutor<'static>>,
    waiting: Rc<RefCell<BTreeMap<String, VecDeque<Job>>>>,
}

impl Lanes {
    pub(super) fn new(executor: Rc<LocalExecutor<'static>>) -> Lanes {
        Lanes {
            executor,
            waiting: Rc::default(),
        }
    }

    /// Runs a job after those that its lane has already. One that panics ends alone.
    pub(super) fn push(&self, lane: &str, job: impl Future<Output = ()> + 'static) {
        let job: Job = Box::pin(job);
        let mut waiting = self.waiting.borrow_mut();
        if let Some(jobs) = waiting.get_mut(lane) {
            jobs.push_back(job);
            return;
        }
        waiting.insert(lane.to_owned(), VecDeque::from([job]));
        let (name, waiting) = (lane.to_owned(), Rc::clone(&self.waiting));
        let run = async move {
            while let Some(job) = next(&waiting, &name) {
                let _ = AssertUnwindSafe(job).catch_unwind().await;
            }
        };
        self.executor.spawn(run).detach();
    }

    /// Nothing of that lane runs or waits.
    pub(super) fn is_idle(&self, lane: &str) -> bool {
        !self.waiting.borrow().contains_key(lane)
    }

    /// Nothing runs or waits at all.
    pub(super) fn all_idle(&self) -> bool {
        self.waiting.borrow().is_empty()
    }
}

/// The next job; the lane ends when there is none.
fn next(waiting: &RefCell<BTreeMap<String, VecDeque<Job>>>, lane: &str) -> Option<Job> {
    let mut waiting = waiting.borrow_mut();
    let job = waiting.get_mut(lane).and_then(VecDeque::pop_front);
    if job.is_none() {
        waiting.remove(lane);
    }
    job
}
