//! Ways out of a container, tried from inside and refused.

use super::rig::{Rig, rig};
use openpista_core::effect::tool::Ran;
use std::fs;
use std::os::unix::fs::symlink;

/// Each command must fail in these words.
fn assert_refused(rig: &Rig, table: &[(&str, &str)]) {
    // All of them in one container: each prints its line's number and how it ended.
    let script: String = table
        .iter()
        .enumerate()
        .map(|(index, (line, _))| format!("({line}) 2>&1 | sed 's/^/{index}: /'\n"))
        .collect();
    let ran = rig.sh(1, &script).ran;
    for (index, (line, words)) in table.iter().enumerate() {
        let mark = format!("{index}: ");
        let said: Vec<_> = ran
            .stdout
            .text
            .lines()
            .filter(|said| said.starts_with(&mark))
            .collect();
        assert!(
            said.iter().any(|said| said.contains(words)),
            "{line}: {said:?} of {ran:?}"
        );
    }
}

fn sh(rig: &Rig, line: &str) -> Ran {
    rig.sh(1, line).ran
}

#[test]
fn there_is_no_network() {
    let Some(rig) = rig() else { return };
    let ran = sh(&rig, "ls /sys/class/net; tail -n +2 /proc/net/route");
    assert_eq!(ran.stdout.text, "lo\n", "{ran:?}");
    assert_refused(
        &rig,
        &[
            ("nc -w 3 1.1.1.1 80", "unreachable"),
            ("nc -w 3 172.17.0.1 80", "unreachable"),
            ("traceroute -n 1.1.1.1", "not permitted"),
            ("ip link add x type dummy", "not permitted"),
        ],
    );
}

#[test]
fn there_is_no_privilege() {
    let Some(rig) = rig() else { return };
    let ran = sh(
        &rig,
        "id -u; id -g; grep -E 'Cap|NoNewPrivs|Seccomp:' /proc/self/status",
    );
    let expected = "65534\n65534\n\
        CapInh:\t0000000000000000\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n\
        CapBnd:\t0000000000000000\nCapAmb:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\n";
    assert_eq!(ran.stdout.text, expected, "{ran:?}");
    assert_refused(
        &rig,
        &[
            ("su -c id", "su: must be suid"),
            ("mknod /tmp/disk b 8 0", "not permitted"),
            ("chroot /tmp /bin/true", "not permitted"),
            ("unshare -Ur true", "not permitted"),
            ("unshare -m true", "not permitted"),
            ("nsenter -t 1 -m true", "not permitted"),
            ("hostname other", "not permitted"),
            ("kill -9 1; sleep 0.2; echo lives", "lives"),
        ],
    );
}

#[test]
fn nothing_can_be_changed_but_tmp() {
    let Some(rig) = rig() else { return };
    fs::write(rig.config.workspace.join("file"), "mine").unwrap();
    assert_refused(
        &rig,
        &[
            ("touch /x", "Read-only file system"),
            ("touch /etc/x", "Read-only file system"),
            ("touch /workspace/x", "Read-only file system"),
            ("echo x > /workspace/file", "Read-only file system"),
            ("rm -f /workspace/file", "Read-only file system"),
            ("chmod 777 /workspace/file", "Read-only file system"),
            ("mount -o remount,rw /", "denied"),
            ("mount -o remount,rw /workspace", "denied"),
            ("mount -t tmpfs none /tmp", "denied"),
            ("mount --bind /tmp /workspace", "denied"),
            ("umount /workspace", "not permitted"),
            (
                "echo '#!/bin/sh' > /tmp/x; echo 'echo runs' >> /tmp/x; chmod +x /tmp/x; /tmp/x",
                "runs",
            ),
        ],
    );
    assert_eq!(
        fs::read_to_string(rig.config.workspace.join("file")).unwrap(),
        "mine"
    );
    assert_eq!(fs::read_dir(&rig.config.workspace).unwrap().count(), 1);
}

#[test]
fn the_host_cannot_be_seen() {
    let Some(rig) = rig() else { return };
    let secret = rig.dir.path().join("secret");
    fs::write(&secret, "a secret of the host").unwrap();
    symlink(&secret, rig.config.workspace.join("absolute")).unwrap();
    symlink("../secret", rig.config.workspace.join("relative")).unwrap();
    symlink("/proc/1/root", rig.config.workspace.join("root")).unwrap();
    assert_refused(
        &rig,
        &[
            ("cat /workspace/absolute", "No such file"),
            ("cat /workspace/relative", "No such file"),
            ("cat /workspace/../secret", "No such file"),
            (
                &format!("cat /workspace/root{}", secret.display()),
                "No such file",
            ),
            ("ls /var/run/docker.sock", "No such file"),
            ("ls /run/docker.sock", "No such file"),
            ("echo x > /proc/sys/kernel/core_pattern", "Read-only"),
            (
                "echo 1 > /sys/fs/cgroup/memory/notify_on_release || \
              echo 1 > /sys/fs/cgroup/cgroup.procs",
                "ead-only",
            ),
            ("echo $(cat /proc/1/comm)", "docker-init"),
        ],
    );
    let ran = sh(&rig, "ls -d /proc/[0-9]* | wc -l; ls /dev");
    let count: u32 = ran.stdout.text.lines().next().unwrap().parse().unwrap();
    assert!(count < 6, "it sees its own processes only: {ran:?}");
    assert!(
        !ran.stdout.text.contains("vda") && !ran.stdout.text.contains("sda"),
        "{ran:?}"
    );
}
