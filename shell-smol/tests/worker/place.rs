//! A home with the real program in it, whose model is this test: what a person says is a list of
//! calls in JSON, which the model makes, and its answer is what came of them.

use crate::containers::program;
use crate::rig::{IMAGE, bare, rig};
use crate::support::program::Home;
use crate::support::server::{Answer, Request, Server};
use bollard::models::ContainerSummary;
use bollard::query_parameters::{
    InspectContainerOptions, InspectNetworkOptions, ListContainersOptionsBuilder,
    RemoveContainerOptionsBuilder,
};
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};
use std::process::Child;
use std::time::{Duration, Instant};

/// How long a test waits for something that is certain to come.
const PATIENCE: Duration = Duration::from_secs(150);

/// A home, its model, and what is its own in Docker.
pub(crate) struct Place {
    pub(crate) home: Home,
    pub(crate) server: Server,
    workspace: String,
}

impl Place {
    /// With these lines in `[sandbox]`; none, which is said, where there is no Docker or no static
    /// worker.
    pub(crate) fn with(sandbox: &str) -> Option<Place> {
        // Makes the image, too.
        rig()?;
        let program = program()?;
        let server = Server::start(answer);
        let home = Home::with(&format!(
            "[agent]\nprovider = \"custom\"\nmodel = \"test\"\nbase_url = \"{}\"\n\
             [gateway]\nlisten = \"127.0.0.1:0\"\n[policy]\nmode = \"full\"\n\
             [sandbox]\nimage = \"{IMAGE}\"\nworker = \"{}\"\n{sandbox}\n",
            server.base_url(),
            program.display(),
        ));
        let workspace = home.file("").canonicalize().unwrap();
        Some(Place {
            workspace: workspace.to_str().unwrap().to_owned(),
            home,
            server,
        })
    }

    /// A person has these tools called at once, over the daemon.
    pub(crate) fn start(&self, session: &str, calls: &[(&str, &str)]) -> Child {
        let calls = calls.iter().map(|(tool, line)| {
            let arguments = json!({ "command": line });
            json!([tool, arguments])
        });
        let said = Value::from_iter(calls).to_string();
        self.home.start(&["run", "--session", session, "-e", &said])
    }

    /// The containers that there are of this home's daemons.
    pub(crate) fn containers(&self) -> Vec<ContainerSummary> {
        let options = ListContainersOptionsBuilder::default()
            .all(true)
            .filters(&HashMap::from([("label", vec!["openpista.owner"])]))
            .build();
        let all = bare(async |client| client.list_containers(Some(options)).await).unwrap();
        let ours = |one: &ContainerSummary| {
            let mut mounts = one.mounts.iter().flatten();
            mounts.any(|mount| mount.source.as_ref() == Some(&self.workspace))
        };
        all.into_iter().filter(ours).collect()
    }

    /// The volumes of the containers that there are now: each is a place for a token.
    pub(crate) fn volumes(&self) -> BTreeSet<String> {
        let of = |one: ContainerSummary| {
            let id = one.id.unwrap_or_default();
            let found = bare(async |client| {
                let look = client.inspect_container(&id, None::<InspectContainerOptions>);
                look.await
            });
            // It may be gone by now.
            let mounts = found.ok().and_then(|found| found.mounts);
            mounts.into_iter().flatten().filter_map(|mount| mount.name)
        };
        self.containers().into_iter().flat_map(of).collect()
    }
}

impl Drop for Place {
    /// What a failed test leaves must not stay.
    fn drop(&mut self) {
        for one in self.containers() {
            let owner = owner(&one);
            let options = RemoveContainerOptionsBuilder::default()
                .force(true)
                .v(true)
                .build();
            let id = one.id.unwrap_or_default();
            bare(async |client| {
                let _ = client.remove_container(&id, Some(options)).await;
                let _ = client.remove_network(&network(&owner)).await;
            });
        }
    }
}

/// To whose journal a container belongs.
pub(crate) fn owner(container: &ContainerSummary) -> String {
    let labels = container.labels.as_ref().unwrap();
    labels["openpista.owner"].clone()
}

/// The name of the network of a journal's workers.
pub(crate) fn network(owner: &str) -> String {
    format!("openpista-{}-workers", &owner[..8])
}

/// Docker has a network of this name.
pub(crate) fn is_network(name: &str) -> bool {
    let look = async |client: bollard::Docker| {
        let look = client.inspect_network(name, None::<InspectNetworkOptions>);
        look.await.is_ok()
    };
    bare(look)
}

/// The processes of this machine with this in their command line, containers' included.
pub(crate) fn processes(with: &str) -> usize {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    // Shells have it among what they are to do.
    lines.filter(|line| line.starts_with(with)).count()
}

/// Waits for something that is certain to come.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut is: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is() {
        assert!(began.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn answer(request: &Request) -> Answer {
    if let Some(said) = request.last("user") {
        let calls: Vec<(String, Value)> = serde_json::from_str(&said).unwrap_or_default();
        let calls: Vec<(String, String)> = calls
            .into_iter()
            .map(|(tool, arguments)| (tool, arguments.to_string()))
            .collect();
        if calls.is_empty() {
            return Answer::text("heard");
        }
        return Answer::calls(calls.iter().map(|(t, a)| (t.as_str(), a.as_str())));
    }
    let mut messages = request.messages();
    let mut results = Vec::new();
    while let Some(message) = messages.pop_if(|message| message["role"] == "tool") {
        results.push(message["content"].as_str().unwrap_or_default().to_owned());
    }
    results.reverse();
    Answer::text(results.join("\n----\n"))
}
