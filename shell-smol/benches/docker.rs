//! What a container costs with us, beside the same container without us.
//! `cargo bench --bench docker`. It needs a Docker daemon.

#[path = "../tests/docker/rig.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod rig;
mod support;

use bollard::Docker as Client;
use bollard::models::{
    ContainerCreateBody, HostConfig, HostConfigLogConfig, Mount, MountBindOptions, MountType,
};
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, CreateContainerOptions, RemoveContainerOptionsBuilder,
    StartContainerOptions, WaitContainerOptionsBuilder,
};
use futures_lite::StreamExt;
use openpista_core::effect::tool::Exit;
use rig::{IMAGE, Rig, command};
use serde_json::json;
use std::path::Path;
use support::{Samples, head, row};

const TIMES: usize = 60;

fn main() {
    let Some(rig) = rig::rig() else { return };
    // On the disk that is built on, not in a memory of `/tmp`.
    let _ = tempfile::env::override_temp_dir(Path::new(env!("CARGO_TARGET_TMPDIR")));
    head("docker");
    support::sync_costs();
    let task = command(&json!({ "command": ["true"] }));
    let runtime = rig::runtime();
    let client = runtime.block_on(async {
        let client = Client::connect_with_defaults().expect("a daemon");
        client.negotiate_version().await.expect("a daemon")
    });
    // By turns, so that both meet the same weather.
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for turn in 0..=TIMES {
        let seq = turn as u64;
        let one = Samples::one(|| assert_eq!(rig.whole(seq, &task).ran.exit, Exit::Code(0)));
        let other = Samples::one(|| runtime.block_on(bare_loop(&client, &rig)));
        if turn > 0 {
            ours.push(one);
            bare.push(other);
        }
    }
    let (ours, bare) = (Samples::new(ours), Samples::new(bare));
    row(
        "container.run of `true`: made, run, removed",
        &ours.text(),
        "",
    );
    row(
        "  the same container by a bare bollard loop",
        &bare.text(),
        "",
    );
    let ratio = ours.median().as_secs_f64() / bare.median().as_secs_f64();
    row(
        "  the one over the other",
        &format!("{ratio:.2} ×"),
        "≤ 1.15 ×",
    );
}

/// The same container, without anything that could go wrong in mind.
async fn bare_loop(client: &Client, rig: &Rig) {
    let made = client
        .create_container(None::<CreateContainerOptions>, body(rig))
        .await
        .expect("it is made");
    let attach = AttachContainerOptionsBuilder::default()
        .stdout(true)
        .stderr(true)
        .stream(true)
        .build();
    let attached = client.attach_container(&made.id, Some(attach)).await;
    let mut output = attached.expect("it prints").output;
    client
        .start_container(&made.id, None::<StartContainerOptions>)
        .await
        .expect("it starts");
    while output.next().await.is_some() {}
    let wait = WaitContainerOptionsBuilder::default()
        .condition("not-running")
        .build();
    let ended = client.wait_container(&made.id, Some(wait)).next().await;
    assert_eq!(ended.expect("an end").expect("an end").status_code, 0);
    let remove = RemoveContainerOptionsBuilder::default()
        .force(true)
        .v(true)
        .build();
    let removed = client.remove_container(&made.id, Some(remove));
    removed.await.expect("it is removed");
}

/// What the engine makes of the same call.
fn body(rig: &Rig) -> ContainerCreateBody {
    let size = rig.config.tmpfs_bytes;
    let memory = rig.config.memory_bytes as i64;
    let tmpfs = format!("rw,exec,nosuid,nodev,mode=1777,size={size}");
    let log = [("max-size", "1m"), ("max-file", "2"), ("compress", "false")];
    ContainerCreateBody {
        image: Some(IMAGE.to_owned()),
        entrypoint: Some(vec!["true".to_owned()]),
        user: Some("65534:65534".to_owned()),
        working_dir: Some("/workspace".to_owned()),
        host_config: Some(HostConfig {
            network_mode: Some("none".to_owned()),
            cap_drop: Some(vec!["ALL".to_owned()]),
            security_opt: Some(vec!["no-new-privileges:true".to_owned()]),
            readonly_rootfs: Some(true),
            tmpfs: Some([("/tmp".to_owned(), tmpfs)].into()),
            mounts: Some(vec![Mount {
                typ: Some(MountType::BIND),
                source: Some(rig.config.workspace.to_string_lossy().into_owned()),
                target: Some("/workspace".to_owned()),
                read_only: Some(true),
                bind_options: Some(MountBindOptions {
                    non_recursive: Some(true),
                    ..MountBindOptions::default()
                }),
                ..Mount::default()
            }]),
            nano_cpus: Some((rig.config.cpus * 1e9) as i64),
            memory: Some(memory),
            memory_swap: Some(memory),
            pids_limit: Some(rig.config.pids as i64),
            init: Some(true),
            log_config: Some(HostConfigLogConfig {
                typ: Some("local".to_owned()),
                config: Some(
                    log.map(|(key, value)| (key.to_owned(), value.to_owned()))
                        .into(),
                ),
            }),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    }
}
