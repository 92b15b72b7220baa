//! The workspace's skills, as a source of inputs: what there is at the start, and every change.
//!
//! It looks, rather than having the system tell it: that works on every system and file system, has
//! no limit on how much can be watched, and misses nothing. A look at a workspace of some dozen
//! folders takes less than a millisecond on a thread that then ends. A look that takes longer is
//! taken less often, so that it never costs more than a small share of one processor.

use crate::alarm::Alarm;
use crate::driver::Handle;
use crate::skill::{Broken, Skills, Tree};
use openpista_core::input::Input;
use openpista_core::skill::Skill;
use std::time::{Duration, Instant};

/// The shortest time between two looks.
const LOOK: Duration = Duration::from_secs(2);
/// How many times as long as a look takes nobody looks.
const REST: u32 = 400;

/// The workspace as it was seen last.
#[derive(Debug)]
pub struct Watch {
    skills: Skills,
    seen: Tree,
    /// What was complained of.
    broken: Vec<Broken>,
}

impl Watch {
    /// Has not looked yet.
    pub fn new(skills: Skills) -> Watch {
        Watch {
            skills,
            seen: Tree::default(),
            broken: Vec::new(),
        }
    }

    /// The skills, if something may have changed since the last look. Says what is newly broken.
    /// Blocks.
    pub fn look(&mut self) -> Option<Vec<Skill>> {
        let tree = self.skills.look();
        if tree == self.seen {
            return None;
        }
        let found = self.skills.read(&tree);
        for broken in &found.broken {
            if !self.broken.contains(broken) {
                tracing::warn!("a skill is left out: {broken}");
            }
        }
        (self.seen, self.broken) = (tree, found.broken);
        Some(found.skills)
    }

    /// Tells the loop of every change, for as long as the program lives.
    pub async fn watch(mut self, handle: Handle) {
        let mut pause = LOOK;
        loop {
            Alarm::after(pause).await;
            let looked = blocking::unblock(move || {
                let began = Instant::now();
                let news = self.look();
                (self, news, began.elapsed())
            });
            let (watch, news, took) = looked.await;
            (self, pause) = (watch, LOOK.max(took * REST));
            if let Some(skills) = news {
                tracing::info!(skills = skills.len(), "the workspace's skills changed");
                handle.send(Input::Learn { skills }).await;
            }
        }
    }
}
