//! The daemon, killed in the middle of everything, between a Telegram bot, a schedule, and a client
//! of the gateway that comes back at once.

use crate::bot_user::BotUser;
use crate::chance::{self, Chance};
use crate::client;
use crate::durable::{Process, Remembered, nothing_is_left_running, the_journal_replays};
use crate::jobs;
use crate::model;
use crate::place::{OWNERS, PLACES, Place};
use crate::support::bot_api::{BotApi, TOKEN};
use crate::support::conversation::Model;
use crate::support::history::History;
use crate::support::program::{Home, send};
use crate::support::server::Server;
use crate::verdict::{self, Evidence};
use openpista_shell_smol::client::Client;
use openpista_shell_smol::secret::Secret;
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// How long what must come may take, once nothing goes wrong any more.
const PATIENCE: Duration = Duration::from_secs(45);
/// A life that begins so long before jobs are due ends about then,
const ABOUT_DUE: Duration = Duration::from_millis(900);
/// at the earliest so long before.
const BEFORE_DUE: Duration = Duration::from_millis(150);

/// What everybody in it shares.
pub(crate) struct Scene {
    /// What Telegram is.
    pub(crate) api: BotApi,
    /// Where the daemon listens now.
    door: Mutex<Option<SocketAddr>>,
    phase: AtomicU8,
    /// Messages and answers that people gave so far, and frames that the client saw.
    pub(crate) written: AtomicU64,
    pub(crate) decided: AtomicU64,
    pub(crate) frames: AtomicU64,
    /// The messages to the bot by their update.
    pub(crate) pushed: Mutex<BTreeMap<i64, Written>>,
    /// The latest update.
    pub(crate) updates: AtomicI64,
    /// The messages of the client, by their ids.
    pub(crate) asked: Mutex<BTreeMap<String, Asked>>,
    /// What people said of each command that they were asked about, in order.
    pub(crate) said: Mutex<BTreeMap<String, Vec<Said>>>,
    /// What the client was told beside its messages.
    pub(crate) noticed: Mutex<Vec<String>>,
    /// What the client was told and should not have been.
    pub(crate) faults: Mutex<Vec<String>>,
}

/// A message to the bot.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    pub(crate) place: Place,
    pub(crate) by: i64,
    pub(crate) text: String,
}

/// A message of the client.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    pub(crate) text: String,
    pub(crate) session: Option<&'static str>,
    /// Every response that came, on whichever connection.
    pub(crate) responses: Vec<(String, bool)>,
}

/// What a person said of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Yes,
    No,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// People write, and things go wrong.
    Going = 0,
    /// People answer what they are asked, and nothing goes wrong.
    Healing = 1,
    Over = 2,
}

impl Scene {
    pub(crate) fn door(&self) -> Option<SocketAddr> {
        *lock(&self.door)
    }

    pub(crate) fn is_going(&self) -> bool {
        self.phase.load(Ordering::SeqCst) == Phase::Going as u8
    }

    pub(crate) fn is_over(&self) -> bool {
        self.phase.load(Ordering::SeqCst) == Phase::Over as u8
    }

    fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::SeqCst);
    }

    /// A person is about to say this of a command.
    pub(crate) fn will_say(&self, word: String, said: Said) {
        lock(&self.said).entry(word).or_default().push(said);
        self.decided.fetch_add(1, Ordering::SeqCst);
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// When a life is to end: at what, and how long after.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// At the start: while it restores, recovers and is connected to.
    Start,
    /// When a request reaches the model.
    Request,
    /// When a command has appended its word.
    Command,
    /// When somebody wrote something.
    Written,
    /// When somebody answered a question.
    Decided,
    /// When the client saw a frame.
    Frame,
    /// When the bot polls, says something, or answers a press.
    Call(&'static str),
    /// About when jobs are due.
    Due,
}

struct World {
    scene: Arc<Scene>,
    home: Home,
    server: Server,
    model: Arc<Mutex<Model>>,
    seed: u64,
    chance: Chance,
    kills: u64,
    durable: Remembered,
}

impl Drop for World {
    fn drop(&mut self) {
        self.scene.enter(Phase::Over);
        if std::thread::panicking() {
            let (seed, kills) = (self.seed, self.kills);
            let home = self.home.keep();
            eprintln!(
                "after {kills} kills of OPENPISTA_SEED={seed}; see {}",
                home.display()
            );
        }
    }
}

impl World {
    fn new(seed: u64) -> World {
        let model = Arc::new(Mutex::new(Model::default()));
        let database = Arc::new(OnceLock::<PathBuf>::new());
        let (script, known) = (Arc::clone(&model), Arc::clone(&database));
        let server = Server::start(move |request| model::answer(&script, known.wait(), request));
        let api = BotApi::start();
        let home = Home::with(&configuration(&server, &api));
        let _ = database.set(home.database());
        let scene = Scene {
            api,
            door: Mutex::default(),
            phase: AtomicU8::new(Phase::Going as u8),
            written: AtomicU64::default(),
            decided: AtomicU64::default(),
            frames: AtomicU64::default(),
            pushed: Mutex::default(),
            updates: AtomicI64::default(),
            asked: Mutex::default(),
            said: Mutex::default(),
            noticed: Mutex::default(),
            faults: Mutex::default(),
        };
        World {
            scene: Arc::new(scene),
            home,
            server,
            model,
            seed,
            chance: Chance(seed),
            kills: 0,
            durable: Remembered::default(),
        }
    }

    fn said(&self) -> String {
        fs::read_to_string(self.home.path().join("said")).unwrap_or_default()
    }

    /// What the daemon of this life says after this name.
    fn told(&self, name: &str) -> Option<String> {
        let said = self.said();
        let line = said.lines().find_map(|line| line.strip_prefix(name))?;
        // A line that is being written has no end yet.
        let whole = said.contains(&format!("{name}{line}\n"));
        let first = line.split(' ').next().unwrap_or_default();
        whole.then(|| first.to_owned())
    }

    fn begin_life(&self) -> Process {
        let said = File::create(self.home.path().join("said")).expect("a file for what is said");
        let mut program = self.home.program(&["start"]);
        let err = said.try_clone().expect("one file for both");
        Process(
            program
                .stdout(said)
                .stderr(err)
                .spawn()
                .expect("the program"),
        )
    }

    /// Opens the door to the client as soon as the daemon has said where it is.
    fn look_for_door(&self) -> bool {
        let mut door = lock(&self.scene.door);
        if door.is_none() {
            let address = self.told("gateway: ");
            *door = address.map(|address| address.parse().expect("an address"));
        }
        door.is_some()
    }

    /// What goes wrong with the server in this life.
    fn trouble(&mut self) {
        let api = &self.scene.api;
        let chance = &mut self.chance;
        api.behave(!chance.one_in(3), chance.one_in(8));
        let times = 1 + chance.below(2) as usize;
        match chance.below(10) {
            0 => api.fail("sendMessage", times, 500, "Internal Server Error"),
            1 => api.fail_for("sendMessage", times, 429, "Too Many Requests", Some(0)),
            2 => api.fail(
                "sendMessage",
                times,
                400,
                "Bad Request: can't parse entities: x",
            ),
            3 => api.fail("getUpdates", 1, 502, "Bad Gateway"),
            4 => api.fail_for("getUpdates", 1, 429, "Too Many Requests", Some(0)),
            5 => api.fail(
                "answerCallbackQuery",
                times,
                400,
                "Bad Request: query is too old",
            ),
            _ => {}
        }
    }

    /// One life of the daemon, to its kill.
    fn live(&mut self) {
        let moment = match self.chance.below(40) {
            _ if jobs::to_next() < ABOUT_DUE => Moment::Due,
            0..=6 => Moment::Start,
            7..=11 => Moment::Request,
            12..=16 => Moment::Command,
            17..=19 => Moment::Written,
            20..=24 => Moment::Decided,
            25..=29 => Moment::Frame,
            30..=33 => Moment::Call("getUpdates"),
            34..=37 => Moment::Call("sendMessage"),
            _ => Moment::Call("answerCallbackQuery"),
        };
        self.trouble();
        let mut process = self.begin_life();
        self.wait_for(moment, &mut process);
        process.0.kill().expect("the kill");
        let ended = process.0.wait().expect("the end");
        self.kills += 1;
        *lock(&self.scene.door) = None;
        let said = self.said();
        assert_eq!(ended.code(), None, "it ended by itself: {said}");
        assert!(!said.contains("panicked"), "{said}");
        if self.chance.one_in(2) {
            self.durable.the_last_of(&self.home);
        }
        let to_due = jobs::to_next();
        if to_due < BEFORE_DUE {
            // Nobody is there when they are due, nor soon enough after.
            let late = Duration::from_millis(jobs::LATE_MS) + self.chance.up_to_ms(500);
            std::thread::sleep(to_due + late);
        }
    }

    fn wait_for(&mut self, moment: Moment, process: &mut Process) {
        if matches!(moment, Moment::Due) {
            return self.wait_until_due(process);
        }
        let nth = 1 + self.chance.below(5);
        let away = self.chance.one_in(10).then(|| self.chance.up_to_ms(200));
        let began = Instant::now();
        let before = self.count(moment);
        let wait = self.chance.up_to_ms(match moment {
            Moment::Start => 150,
            _ => 4,
        });
        loop {
            let there = self.look_for_door();
            if self.count(moment) >= before + nth || matches!(moment, Moment::Start) {
                break;
            }
            let ended = process.0.try_wait().expect("its status");
            assert!(ended.is_none(), "it ended by itself: {}", self.said());
            // Whatever it waits for may not come in this life.
            if there && began.elapsed() > Duration::from_millis(700) {
                break;
            }
            self.scene.api.away(away.is_some_and(|at| {
                let since = began.elapsed();
                since > at && since < at + Duration::from_millis(40)
            }));
            std::thread::sleep(Duration::from_micros(500));
        }
        let until = Instant::now() + wait;
        while Instant::now() < until {
            self.look_for_door();
            std::thread::sleep(wait.min(Duration::from_millis(1)));
        }
        self.scene.api.away(false);
    }

    /// Waits until shortly before jobs are due, or after.
    fn wait_until_due(&mut self, process: &mut Process) {
        let wait = match self.chance.one_in(2) {
            true => jobs::to_next().saturating_sub(BEFORE_DUE),
            false => jobs::to_next() + self.chance.up_to_ms(200),
        };
        let until = Instant::now() + wait;
        while Instant::now() < until {
            self.look_for_door();
            let ended = process.0.try_wait().expect("its status");
            assert!(ended.is_none(), "it ended by itself: {}", self.said());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn count(&self, moment: Moment) -> u64 {
        let of = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
        match moment {
            Moment::Start | Moment::Due => 0,
            Moment::Request => self.server.count() as u64,
            // A word has at least seven bytes.
            Moment::Command => fs::metadata(self.home.file("ledger")).map_or(0, |f| f.len() / 7),
            Moment::Written => of(&self.scene.written),
            Moment::Decided => of(&self.scene.decided),
            Moment::Frame => of(&self.scene.frames),
            Moment::Call(method) => self.scene.api.count(method) as u64,
        }
    }

    /// Waits until everybody has what they wait for.
    fn come_to_rest(&self, process: &mut Process) {
        let began = Instant::now();
        loop {
            self.look_for_door();
            let open = verdict::unfinished(&History::read(&self.home.database()), &self.scene);
            // What is due while it ends would not come to an end.
            if open.is_empty() && !jobs::is_near() {
                return;
            }
            let ended = process.0.try_wait().expect("its status");
            assert!(ended.is_none(), "it ended by itself: {}", self.said());
            assert!(
                open.is_empty() || began.elapsed() < PATIENCE,
                "{} things do not come to an end: {:#?}",
                open.len(),
                &open[..open.len().min(20)]
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// People are asked about what they did not type, and however often something fails, it is tried
/// again soon.
fn configuration(server: &Server, api: &BotApi) -> String {
    let (base_url, api_url) = (server.base_url(), api.url());
    format!(
        "[agent]\nprovider = \"custom\"\nmodel = \"test\"\nbase_url = \"{base_url}\"\n\
         max_tool_rounds = 100\n\
         [gateway]\nlisten = \"127.0.0.1:0\"\n\
         [channels.telegram]\nenabled = true\ntoken = \"{TOKEN}\"\napi_url = \"{api_url}\"\n\
         allowed_users = [{}, {}]\n\
         [policy]\nmode = \"ask\"\n\
         [limits]\nmodel_attempts = 100\nbackoff_ms = 20\nbackoff_max_ms = 200\n\
         job_late_ms = {}\n{}",
        OWNERS[0],
        OWNERS[1],
        jobs::LATE_MS,
        jobs::configuration(),
    )
}

#[test]
fn over_telegram_and_quic_nothing_is_lost_or_repeated_however_often_the_daemon_is_killed() {
    let kills = chance::kills(200);
    let (began, first_due) = (Instant::now(), Instant::now() + jobs::to_next());
    let mut world = World::new(chance::seed());
    let token = world.home.run(&["token", "add", client::NAME]);
    assert_eq!(token.code, Some(0), "{token:?}");
    let mut process = world.begin_life();
    while !world.said().contains("ready") {
        let ended = process.0.try_wait().expect("its status");
        assert!(ended.is_none(), "{}", world.said());
        std::thread::sleep(Duration::from_millis(5));
    }
    let pin = world.told("certificate SHA-256: ").expect("a fingerprint");
    drop(process);
    let client = Client::new(
        pin.parse().expect("a fingerprint"),
        Secret::new(token.out.trim()),
        "test",
    );
    let client = client.expect("a client");
    let scene = Arc::clone(&world.scene);
    let (mut user, chance) = (
        BotUser::new(scene, world.chance.clone()),
        Chance(!world.seed),
    );
    let user = std::thread::spawn(move || {
        user.live();
        user
    });
    let scene = Arc::clone(&world.scene);
    let client = std::thread::spawn(move || client::live(&scene, &client, chance));
    while world.kills < kills || Instant::now() < first_due {
        world.live();
        let gone = user.is_finished() || client.is_finished();
        assert!(!gone, "one of the people is gone");
    }
    world.scene.api.heal();
    world.scene.enter(Phase::Healing);
    let mut process = world.begin_life();
    world.come_to_rest(&mut process);
    world.scene.enter(Phase::Over);
    let user = user.join().expect("the user of the bot");
    client.join().expect("the client");
    send(&process.0, Signal::TERM);
    let ended = process.0.wait().expect("its end");
    assert_eq!(ended.code(), Some(0), "{}", world.said());
    nothing_is_left_running(&world.home);
    let history = History::read(&world.home.database());
    let read = |name| fs::read_to_string(world.home.file(name)).unwrap_or_default();
    let evidence = Evidence {
        history: &history,
        scene: &world.scene,
        user: &user,
        model: &lock(&world.model),
        ledger: &read("ledger"),
    };
    let counts = evidence.judge();
    world.durable.stayed(&world.home);
    let group = PLACES[2].origin();
    let sessions = ["telegram:42", &group, "quic:phone"];
    the_journal_replays(&world.home, &sessions, world.seed);
    println!(
        "{} kills of the daemon: {counts}, {} s (OPENPISTA_SEED={})",
        world.kills,
        began.elapsed().as_secs(),
        world.seed
    );
}
