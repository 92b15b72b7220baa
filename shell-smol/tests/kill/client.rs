//! A client of the gateway that comes back at once, with the same ids.

use crate::chance::Chance;
use crate::channels::{Asked, Said, Scene, lock};
use crate::model::TYPED;
use crate::support::conversation::word;
use futures_lite::FutureExt;
use openpista_core::id::ApprovalId;
use openpista_core::wire::frame::{Decision, Progress, ServerFrame};
use openpista_shell_smol::client::{Client, Connected, Exchange};
use smol::{LocalExecutor, Task, Timer};
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// What its token is called.
pub(crate) const NAME: &str = "phone";
/// A session that it names.
const OTHER: &str = "other";

/// The client while one daemon lives.
struct Visit<'s> {
    scene: &'s Scene,
    chance: RefCell<Chance>,
    /// The questions that it has answered, or wants to leave open.
    met: RefCell<BTreeSet<ApprovalId>>,
    messages: Cell<u64>,
}

/// Goes on until it is over.
pub(crate) fn live(scene: &Scene, client: &Client, chance: Chance) {
    let visit = Visit {
        scene,
        chance: RefCell::new(chance),
        met: RefCell::default(),
        messages: Cell::new(0),
    };
    let executor = LocalExecutor::new();
    smol::block_on(executor.run(async {
        while !scene.is_over() {
            match scene.door() {
                Some(address) => visit.pay(client, address, &executor).await,
                None => drop(Timer::after(Duration::from_millis(1)).await),
            }
        }
    }));
}

async fn soon<T>(what: impl Future<Output = Option<T>>) -> Option<T> {
    let late = async {
        Timer::after(Duration::from_secs(3)).await;
        None
    };
    what.or(late).await
}

impl<'s> Visit<'s> {
    fn draw<T>(&self, draw: impl FnOnce(&mut Chance) -> T) -> T {
        draw(&mut self.chance.borrow_mut())
    }

    /// One connection, until the daemon is gone or it leaves by itself; and one more, on which it
    /// hears what belongs to no message.
    async fn pay<'e>(&'e self, client: &Client, address: SocketAddr, executor: &LocalExecutor<'e>)
    where
        's: 'e,
    {
        let gone = async {
            while self.scene.door() == Some(address) && !self.scene.is_over() {
                Timer::after(Duration::from_millis(1)).await;
            }
            None
        };
        let stay = async {
            let hearing = soon(async { client.connect(address).await.ok() }).await?;
            let (main, early) = soon(self.connect(client, address)).await?;
            self.stay(hearing, Rc::new(main), early, executor).await;
            Some(())
        };
        // A daemon that is dead does not say so.
        let _ = stay.or(gone).await;
    }

    async fn stay<'e>(
        &'e self,
        hearing: Connected,
        main: Rc<Connected>,
        early: Vec<(String, Exchange)>,
        executor: &LocalExecutor<'e>,
    ) where
        's: 'e,
    {
        self.met.borrow_mut().clear();
        let mut tasks = vec![executor.spawn(self.hear(hearing))];
        for (id, exchange) in early {
            tasks.push(executor.spawn(self.follow(Rc::clone(&main), exchange, id)));
        }
        for id in self.unanswered() {
            self.send(&main, id, executor, &mut tasks).await;
        }
        let moments = self.draw(|chance| match chance.one_in(3) {
            true => chance.below(20),
            false => u64::MAX,
        });
        for moment in 0.. {
            let open = main.connection().close_reason().is_none();
            if !open || (moment >= moments && self.scene.is_going()) {
                return;
            }
            if self.scene.is_going() {
                self.act(&main, executor, &mut tasks).await;
            }
            Timer::after(self.draw(|c| Duration::from_millis(2) + c.up_to_ms(30))).await;
        }
    }

    /// Connects, with everything that has no answer as early data where that is possible.
    async fn connect(
        &self,
        client: &Client,
        address: SocketAddr,
    ) -> Option<(Connected, Vec<(String, Exchange)>)> {
        if self.draw(|chance| chance.one_in(2))
            && let Ok(Some(mut early)) = client.connect_early(address).await
        {
            let mut open = Vec::new();
            for id in self.unanswered() {
                let Asked { text, session, .. } = lock(&self.scene.asked)[&id].clone();
                if let Ok(exchange) = early.message(&id, &text, session).await {
                    open.push((id, exchange));
                }
            }
            if early.taken_early().await && early.welcomed().await.is_ok() {
                return Some((early, open));
            }
        }
        Some((client.connect(address).await.ok()?, Vec::new()))
    }

    fn unanswered(&self) -> Vec<String> {
        let asked = lock(&self.scene.asked);
        let open = asked.iter().filter(|(_, asked)| asked.responses.is_empty());
        open.map(|(id, _)| id.clone()).collect()
    }

    async fn send<'e>(
        &'e self,
        main: &Rc<Connected>,
        id: String,
        executor: &LocalExecutor<'e>,
        tasks: &mut Vec<Task<()>>,
    ) {
        let Asked { text, session, .. } = lock(&self.scene.asked)[&id].clone();
        self.scene.written.fetch_add(1, Ordering::SeqCst);
        if let Ok(exchange) = main.message(&id, &text, session).await {
            tasks.push(executor.spawn(self.follow(Rc::clone(main), exchange, id)));
        }
    }

    /// Something that a person might do.
    async fn act<'e>(
        &'e self,
        main: &Rc<Connected>,
        executor: &LocalExecutor<'e>,
        tasks: &mut Vec<Task<()>>,
    ) {
        let open = self.unanswered();
        let any = |chance: &mut Chance, ids: &[String]| {
            let at = chance.below(ids.len().max(1) as u64) as usize;
            ids.get(at).cloned()
        };
        match self.draw(|chance| chance.below(20)) {
            0 => {
                if let Some(id) = self.draw(|chance| any(chance, &open)) {
                    let _ = main.cancel(&id).await;
                }
            }
            1 => {
                // Once more, beside the exchange that is open or long after it.
                let all: Vec<String> = lock(&self.scene.asked).keys().cloned().collect();
                if let Some(id) = self.draw(|chance| any(chance, &all)) {
                    self.send(main, id, executor, tasks).await;
                }
            }
            2..=10 if open.len() < 5 => {
                let id = self.message();
                self.send(main, id, executor, tasks).await;
            }
            _ => {}
        }
    }

    /// A new message: its id.
    fn message(&self) -> String {
        let number = self.messages.get() + 1;
        self.messages.set(number);
        let text = self.draw(|chance| match chance.below(24) {
            0 => "/stop".to_owned(),
            1 => "/status".to_owned(),
            2..=6 => format!("{TYPED}echo said-{number} >> ledger"),
            _ => format!("q{number} rounds {}", chance.below(3)),
        });
        let session = self.draw(|chance| chance.one_in(3)).then_some(OTHER);
        let asked = Asked {
            text,
            session,
            responses: Vec::new(),
        };
        let id = format!("id-{number}");
        lock(&self.scene.asked).insert(id.clone(), asked);
        id
    }

    /// Sees what comes of a message, to its response or the end of the connection.
    async fn follow(&self, main: Rc<Connected>, mut exchange: Exchange, id: String) {
        while let Ok(Some(frame)) = exchange.next().await {
            self.scene.frames.fetch_add(1, Ordering::SeqCst);
            match frame {
                ServerFrame::Response {
                    content,
                    is_error,
                    id: of,
                } => {
                    assert_eq!(of, id, "another message's response");
                    let mut asked = lock(&self.scene.asked);
                    let asked = asked.get_mut(&id).expect("it was asked");
                    return asked.responses.push((content, is_error));
                }
                ServerFrame::ApprovalRequest {
                    approval,
                    arguments,
                    ..
                } => self.decide(&main, approval, &arguments).await,
                ServerFrame::Error { message } => {
                    return lock(&self.scene.faults).push(format!("{id}: {message}"));
                }
                _ => {}
            }
        }
    }

    /// Hears what belongs to no message.
    async fn hear(&self, mut hearing: Connected) {
        while let Ok(Some(frame)) = hearing.unasked().await {
            match frame {
                ServerFrame::ApprovalRequest {
                    approval,
                    arguments,
                    ..
                } => self.decide(&hearing, approval, &arguments).await,
                ServerFrame::Progress {
                    progress: Progress::Output { text },
                    ..
                } => lock(&self.scene.noticed).push(text),
                ServerFrame::Response {
                    id,
                    content,
                    is_error,
                } => {
                    if let Some(asked) = lock(&self.scene.asked).get_mut(&id) {
                        asked.responses.push((content, is_error));
                    }
                }
                _ => {}
            }
        }
    }

    /// Answers a question, or leaves it; now and then answers it again, in another way.
    async fn decide(&self, connected: &Connected, approval: ApprovalId, arguments: &str) {
        let again = !self.met.borrow_mut().insert(approval);
        let going = self.scene.is_going();
        let (silent, yes) = self.draw(|chance| {
            let silent = chance.one_in(if again { 2 } else { 6 });
            (silent, chance.below(10) < 6)
        });
        if (again || going) && silent {
            return;
        }
        let word = word(arguments).expect("a question about a command of ours");
        let (said, decision) = match yes {
            true => (Said::Yes, Decision::Allow),
            false => (Said::No, Decision::Deny),
        };
        self.scene.will_say(word, said);
        // When the daemon dies of it, the question comes again.
        let _ = connected.decide(approval, decision).await;
    }
}
