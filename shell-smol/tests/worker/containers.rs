//! Workers in real containers: what they reach, what they know, and that their reports land.
//!
//! They need the static worker: `.ci/run` builds it, or `OPENPISTA_WORKER` says where it is.

use crate::daemon::{Daemon, Home, Task};
use crate::place::network;
use crate::rig::{Rig, bare, rig_with};
use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, InspectContainerOptions, InspectNetworkOptions,
    LogsOptionsBuilder, StartContainerOptions,
};
use futures_lite::StreamExt;
use openpista_core::effect::Outcome;
use openpista_core::effect::sandbox::{Action, Done, UseSandbox};
use openpista_core::effect::tool::Exit;
use openpista_core::id::Seq;
use openpista_shell_smol::effect::sandbox::docker::{Docker, WorkerConfig, digest, worker_spec};
use serde_json::json;
use std::io::Write;
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How the static worker is made.
const BUILD: &str = "`cargo rustc -p openpista-shell-smol --bin openpista-worker -- -C \
                     target-feature=+crt-static`, then `install -D target/debug/openpista-worker \
                     target/worker/openpista-worker`";

/// The worker that runs in any image; none, which is said, where nobody has built it.
pub(crate) fn program() -> Option<PathBuf> {
    let named = std::env::var_os("OPENPISTA_WORKER").map(PathBuf::from);
    let usual = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/worker/openpista-worker");
    let program = named.unwrap_or(usual);
    if program.is_file() {
        return Some(program.canonicalize().unwrap());
    }
    let lacking = format!("{} is missing: {BUILD}", program.display());
    assert!(std::env::var_os("CI").is_none(), "{lacking}");
    // Past the harness, which shows only what failing tests print.
    let _ = writeln!(std::io::stderr(), "skipped: {lacking}");
    None
}

/// An engine whose workers report to this daemon.
fn workshop(daemon: &Daemon) -> Option<Rig> {
    let worker = WorkerConfig {
        program: program()?,
        annex: daemon.annex.clone(),
    };
    rig_with(|config| config.worker = Some(worker))
}

/// Performs one action of the core's, as the daemon would.
fn act(
    docker: &Docker,
    used: &UseSandbox,
) -> Result<Done, openpista_core::effect::sandbox::SandboxFault> {
    let (_held, stop) = crate::rig::never();
    smol::block_on(docker.perform(used, &stop, &|_| {}))
}

fn task(started: &openpista_core::effect::Effect) -> Task {
    Task {
        token: String::new(),
        effect: started.id,
    }
}

fn container(rig: &Rig, used: &UseSandbox) -> String {
    let owner = &rig.config.owner[..8];
    format!(
        "openpista-{owner}-{}-{}",
        used.sandbox.seq, used.sandbox.slot
    )
}

fn line(line: &str) -> String {
    json!({ "command": line }).to_string()
}

#[test]
fn several_workers_report_from_their_containers() {
    let home = Home::new();
    let daemon = home.start();
    let Some(rig) = workshop(&daemon) else { return };
    let arguments = line("echo here; id -u; echo there >&2; exit 4");
    let started = daemon.begin_in(3, &arguments, |used| act(&rig.docker, used));
    std::thread::scope(|scope| {
        for (effect, used) in &started {
            let (rig, daemon) = (&rig, &daemon);
            scope.spawn(move || {
                let done = act(&rig.docker, used);
                // The worker itself has ended well, whatever its task came to.
                assert!(
                    matches!(&done, Ok(Done::Ended(ended)) if ended.ran.exit == Exit::Code(0)),
                    "{done:?}"
                );
                daemon.finish(effect, Outcome::Sandbox(done));
            });
        }
    });
    for (effect, used) in &started {
        let ran = daemon.wait_for_end(&task(effect));
        assert_eq!(ran.exit, Exit::Code(4));
        assert_eq!(
            (&*ran.stdout.text, &*ran.stderr.text),
            ("here\n65534\n", "there\n")
        );
        assert_eq!(daemon.ends(&task(effect)), [ran], "once");
        let gone = UseSandbox {
            action: Action::Destroy,
            ..used.clone()
        };
        assert_eq!(act(&rig.docker, &gone), Ok(Done::Destroyed));
    }
    assert!(rig.left().is_empty());
    assert_eq!(worker_spec(&rig.config).name, "worker.run");
}

/// The daemon dies while the task runs in its container, and comes back: the worker finds it.
#[test]
fn a_report_lands_once_though_the_daemon_dies_meanwhile() {
    let home = Home::new();
    let daemon = home.start();
    let Some(rig) = workshop(&daemon) else { return };
    let arguments = line("echo begun; sleep 3; echo done");
    let (effect, used) = daemon
        .begin_in(1, &arguments, |used| act(&rig.docker, used))
        .remove(0);
    let name = container(&rig, &used);
    let (held, stop) = crate::rig::never();
    // The engine dies with its daemon: it leaves the container alone.
    let died = bare(async |client| {
        client
            .start_container(
                &name,
                None::<bollard::query_parameters::StartContainerOptions>,
            )
            .await
    });
    died.unwrap();
    daemon.wait_for_output("begun");
    drop((held, stop));
    daemon.kill();
    let daemon = home.start();
    let mut config = rig.config.clone();
    config.worker.as_mut().unwrap().annex = daemon.annex.clone();
    let docker = Docker::new(config);
    let resumed = daemon
        .wait_for_effects(1, |op| {
            matches!(op, openpista_core::effect::Op::Sandbox(used) if matches!(used.action, Action::Resume(_)))
        })
        .remove(0);
    let openpista_core::effect::Op::Sandbox(resume) = &resumed.op else {
        unreachable!("it was chosen for it");
    };
    let done = act(&docker, resume);
    daemon.finish(&resumed, Outcome::Sandbox(done));
    let ran = daemon.wait_for_end(&task(&effect));
    assert_eq!(
        (ran.exit, &*ran.stdout.text),
        (Exit::Code(0), "begun\ndone\n")
    );
    assert_eq!(daemon.ends(&task(&effect)), [ran], "once");
    let gone = UseSandbox {
        action: Action::Destroy,
        ..used
    };
    assert_eq!(act(&docker, &gone), Ok(Done::Destroyed));
}

/// What a task in a worker's container tries to reach.
#[test]
fn nothing_but_the_gateway_answers() {
    let home = Home::new();
    let daemon = home.start();
    let Some(rig) = workshop(&daemon) else { return };
    // Services of this machine, on all of its addresses.
    let tcp = TcpListener::bind("0.0.0.0:0").unwrap();
    let udp = UdpSocket::bind("0.0.0.0:0").unwrap();
    udp.set_read_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    let (tcp_port, udp_port) = (
        tcp.local_addr().unwrap().port(),
        udp.local_addr().unwrap().port(),
    );
    let script = format!(
        "ip=$(sed -n 's/[0-9]*\tsandbox$/1/p' /etc/hosts); echo \"ip $ip\"; \
         for to in $ip 172.17.0.1 1.1.1.1; do \
           nc -w 2 $to {tcp_port} </dev/null && echo \"tcp $to\"; \
           echo hello | nc -u -w 1 $to {udp_port} && echo \"udp $to\"; \
         done; ping -c 1 -w 1 1.1.1.1 && echo pinged; \
         nslookup example.org && echo resolved; ls /var/run/docker.sock /run/docker.sock; echo over"
    );
    let (effect, used) = daemon
        .begin_in(1, &line(&script), |used| act(&rig.docker, used))
        .remove(0);
    // A sweep leaves the network to one that was not started yet.
    let swept = rig.docker.sweep([used.sandbox].into(), Seq(u64::MAX));
    assert_eq!(smol::block_on(swept), Ok(0));
    let done = act(&rig.docker, &used);
    assert!(done.is_ok(), "{done:?}");
    let ran = daemon.wait_for_end(&task(&effect));
    assert!(ran.stdout.text.ends_with("over\n"), "{ran:?}");
    for reached in ["tcp ", "pinged", "resolved", "docker.sock"] {
        assert!(!ran.stdout.text.contains(reached), "{ran:?}");
    }
    let gateway = gateway_of(&rig);
    let named = ran.stdout.text.starts_with(&format!("ip {gateway}\n"));
    assert!(named, "{gateway}: {ran:?}");
    let mut buffer = [0; 16];
    assert!(udp.recv_from(&mut buffer).is_err(), "a datagram came out");
    let name = format!("openpista-{}-workers", &rig.config.owner[..8]);
    let network = bare(async |client| {
        client
            .inspect_network(&name, None::<InspectNetworkOptions>)
            .await
    });
    assert_eq!(network.unwrap().internal, Some(true));
    let gone = UseSandbox {
        action: Action::Destroy,
        ..used
    };
    assert_eq!(act(&rig.docker, &gone), Ok(Done::Destroyed));
    let network = bare(async |client| {
        client
            .inspect_network(&name, None::<InspectNetworkOptions>)
            .await
    });
    assert!(network.is_err(), "it goes with the last one: {network:?}");
}

/// This machine's address on the workers' network.
fn gateway_of(rig: &Rig) -> String {
    let name = network(&rig.config.owner);
    let found = bare(async |client| {
        let look = client.inspect_network(&name, None::<InspectNetworkOptions>);
        look.await.unwrap()
    });
    let configs = found.ipam.unwrap().config.unwrap();
    configs[0].gateway.clone().unwrap()
}

/// Whoever takes a worker's place in its container, without the walls that it puts around its task.
#[test]
fn the_workers_network_leads_to_this_machine_alone() {
    let home = Home::new();
    let daemon = home.start();
    let Some(rig) = workshop(&daemon) else { return };
    let (_, used) = daemon
        .begin_in(1, &line("true"), |used| act(&rig.docker, used))
        .remove(0);
    let gateway = gateway_of(&rig);
    let listen = |ip: &str| {
        let listener = TcpListener::bind((ip, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let _ = writeln!(stream.unwrap(), "answered");
            }
        });
        port
    };
    let here = listen(&gateway);
    let workers = network(&rig.config.owner);
    let start = |name: &str, on: &str, line: &str| {
        let body = ContainerCreateBody {
            image: Some(crate::rig::IMAGE.to_owned()),
            cmd: Some(["sh", "-c", line].map(str::to_owned).to_vec()),
            labels: Some([("openpista.owner".to_owned(), rig.config.owner.clone())].into()),
            host_config: Some(HostConfig {
                network_mode: Some(on.to_owned()),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        };
        let name = format!("openpista-{}-{name}", rig.config.owner);
        let options = CreateContainerOptionsBuilder::default().name(&name).build();
        bare(async |client| {
            client.create_container(Some(options), body).await.unwrap();
            let none = None::<StartContainerOptions>;
            client.start_container(&name, none).await.unwrap();
            let look = client.inspect_container(&name, None::<InspectContainerOptions>);
            let networks = look.await.unwrap().network_settings.unwrap().networks;
            let mut on = networks.unwrap().into_values();
            (name, on.next().unwrap().ip_address.unwrap())
        })
    };
    let serve = "while :; do echo answered | nc -l -p 9000; done";
    let (_, neighbour) = start("neighbour", &workers, serve);
    let (_, elsewhere) = start("elsewhere", "bridge", serve);
    let (inside, _) = start(
        "inside",
        &workers,
        &format!(
            "for to in '{gateway} {here}' '{elsewhere} 9000' '{neighbour} 9000' '1.1.1.1 80'; do \
               echo \"$to: $(nc -w 2 $to </dev/null)\"; done; \
             ping -c 1 -w 1 1.1.1.1 >/dev/null && echo pinged; \
             nslookup example.org >/dev/null 2>&1 && echo resolved; ls /run/docker.sock; echo over"
        ),
    );
    let printed = bare(async |client| {
        let options = LogsOptionsBuilder::default()
            .stdout(true)
            .follow(true)
            .build();
        let mut log = client.logs(&inside, Some(options));
        let mut printed = String::new();
        while let Some(Ok(part)) = log.next().await {
            printed.push_str(&part.to_string());
        }
        printed
    });
    let expected = format!(
        "{gateway} {here}: answered\n{elsewhere} 9000: \n{neighbour} 9000: \n1.1.1.1 80: \nover\n"
    );
    assert_eq!(printed, expected);
    let gone = UseSandbox {
        action: Action::Destroy,
        ..used
    };
    assert_eq!(act(&rig.docker, &gone), Ok(Done::Destroyed));
}

#[test]
fn a_token_is_known_in_its_container_alone() {
    let home = Home::new();
    let daemon = home.start();
    let Some(rig) = workshop(&daemon) else { return };
    let script = "cd /run/openpista; sha256sum token; ls -ln token; cat token; echo; \
         (chmod 600 token; echo x > token; rm token; touch other) 2>&1 | grep -vc -e 'not permitted' \
         -e 'Read-only' -e 'denied'; env | grep -c -i token; cat /proc/*/mem 2>/dev/null | wc -c; \
         touch /run/openpista-worker 2>&1";
    let tokens = std::cell::RefCell::new(Vec::new());
    let (effect, of) = daemon
        .begin_in(1, &line(script), |used| {
            let made = act(&rig.docker, used);
            if let Ok(Done::Created { token }) = &made {
                tokens.borrow_mut().extend(*token);
            }
            made
        })
        .remove(0);
    let token = tokens.borrow()[0];
    let name = container(&rig, &of);
    let volumes = bare(async |client| {
        let found = client.inspect_container(&name, None::<InspectContainerOptions>);
        let mounts = found.await.unwrap().mounts.unwrap_or_default();
        mounts
            .into_iter()
            .filter_map(|mount| mount.name)
            .collect::<Vec<_>>()
    });
    assert_eq!(volumes.len(), 1);
    // Another one of the same time sees nothing of it.
    let other = rig.sh(900, "ls /run/openpista").ran;
    assert!(other.stderr.text.contains("No such file"), "{other:?}");
    assert!(act(&rig.docker, &of).is_ok());
    let ran = daemon.wait_for_end(&task(&effect));
    let lines: Vec<_> = ran.stdout.text.lines().collect();
    assert_eq!(lines[0], format!("{token}  token"), "{ran:?}");
    assert!(
        lines[1].starts_with("-r--r-----    1 0        65534"),
        "{ran:?}"
    );
    assert_eq!(
        lines[2..5],
        ["[redacted: the token of a task]", "0", "0"],
        "{ran:?}"
    );
    assert!(lines[6].contains("Read-only"), "{ran:?}");
    assert_ne!(digest("x"), token);
    let gone = UseSandbox {
        action: Action::Destroy,
        ..of
    };
    assert_eq!(act(&rig.docker, &gone), Ok(Done::Destroyed));
    let gone = bare(async |client| client.inspect_volume(&volumes[0]).await);
    assert!(
        gone.is_err(),
        "the volume went with its container: {gone:?}"
    );
}

/// The task's time is over: what it printed until then is reported by the worker, not lost.
#[test]
fn what_takes_too_long_is_reported_with_what_it_printed() {
    let home = Home::new();
    let daemon = home.start();
    let Some(rig) = workshop(&daemon) else { return };
    let arguments = json!({ "command": "echo begun; sleep 1000", "timeout_ms": 1_500 }).to_string();
    let (effect, used) = daemon
        .begin_in(1, &arguments, |used| act(&rig.docker, used))
        .remove(0);
    assert!(act(&rig.docker, &used).is_ok());
    let ran = daemon.wait_for_end(&task(&effect));
    assert_eq!((ran.exit, &*ran.stdout.text), (Exit::TimedOut, "begun\n"));
    let gone = UseSandbox {
        action: Action::Destroy,
        ..used
    };
    assert_eq!(act(&rig.docker, &gone), Ok(Done::Destroyed));
}
