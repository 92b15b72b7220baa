//! Walls around a process: what it may touch, kept by the kernel, for good and for all that it
//! starts. Landlock keeps its files and its signals, [seccomp](super::filter) everything else.
//!
//! What may be read and run is what an interpreter needs ([`SYSTEM`], [`SETTINGS`]), some devices
//! that hold nothing, and what the caller names. What may be written is only what the caller names
//! and `/dev/null`. So there is no home directory, no data directory, no `/tmp`, and no `/proc`,
//! whose files tell the environment of other processes. A path is judged by where it ends, so
//! neither `..` nor a link leads out.
//!
//! A program of ours that starts no other, and has loaded what it needs, is enclosed closer
//! ([`Walls::close_alone`]): nothing of the system is open to it, and nothing can be started.
//!
//! All capabilities go too: a daemon of root's must not have a sandbox that reboots the machine.
//! What Landlock does not keep, and seccomp cannot tell by path, is looking at the names, sizes
//! and times of files elsewhere, where their directories can be guessed.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::thread;

/// What a process may touch beside the system's programs.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Walls {
    /// May be read, and run.
    pub(crate) read: Vec<PathBuf>,
    /// May be read, written and run.
    pub(crate) write: Vec<PathBuf>,
}

/// How walls are kept on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confinement {
    /// The version of Landlock's interface that the kernel has.
    pub landlock: i32,
}

impl fmt::Display for Confinement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Landlock (ABI {}) and seccomp", self.landlock)
    }
}

/// Whether the kernel can confine a process, and how. It is really tried, on a thread that then
/// ends.
///
/// # Errors
/// What is missing.
pub(super) fn probe() -> Result<Confinement, String> {
    let trying = thread::Builder::new().spawn(|| Walls::default().close());
    trying
        .and_then(|trying| {
            let broken = |_| Err(io::Error::other("trying it failed"));
            trying.join().unwrap_or_else(broken)
        })
        .map_err(|error| error.to_string())
}

#[cfg(not(target_os = "linux"))]
impl Walls {
    /// # Errors
    /// Always.
    pub(crate) fn close(&self) -> io::Result<Confinement> {
        Err(io::Error::other("only Linux can confine a process"))
    }

    /// # Errors
    /// Always.
    pub(crate) fn close_alone(&self) -> io::Result<Confinement> {
        self.close()
    }
}

/// # Errors
/// Always.
#[cfg(not(target_os = "linux"))]
pub(crate) fn close_to_writing() -> io::Result<()> {
    Walls::default().close().map(drop)
}

#[cfg(target_os = "linux")]
pub(crate) use linux::close_to_writing;

#[cfg(target_os = "linux")]
mod linux {
    use super::{Confinement, Walls};
    use crate::effect::sandbox::subprocess::filter;
    use landlock::{
        ABI, Access, AccessFs, BitFlags, LandlockStatus, PathBeneath, PathFd, Ruleset, RulesetAttr,
        RulesetCreated, RulesetCreatedAttr, RulesetError, Scope, make_bitflags,
    };
    use rustix::thread::{CapabilitySet, CapabilitySets};
    use std::fs;
    use std::io;
    use std::path::{Path, PathBuf};

    /// Programs, and the libraries that they load.
    const SYSTEM: [&str; 8] = [
        "/usr",
        "/bin",
        "/sbin",
        "/lib",
        "/lib32",
        "/lib64",
        "/libx32",
        "/nix/store",
    ];

    /// What programs and libraries read to find each other, and names and times: no secret is
    /// among it. Python's start reads files of its own there, see [`settings`].
    const SETTINGS: [&str; 7] = [
        "/etc/ld.so.cache",
        "/etc/alternatives",
        "/etc/localtime",
        "/etc/nsswitch.conf",
        "/etc/passwd",
        "/etc/group",
        "/etc/mime.types",
    ];

    /// Devices that hold nothing and change nothing.
    const DEVICES: [&str; 5] = [
        "/dev/null",
        "/dev/zero",
        "/dev/full",
        "/dev/random",
        "/dev/urandom",
    ];

    /// The newest rights over files that are asked for; an older kernel knows fewer.
    const FILES: ABI = ABI::V5;

    /// The first that keeps `truncate` from files that may only be read.
    const LEAST: ABI = ABI::V3;

    /// The first that keeps signals inside.
    const SIGNALS: ABI = ABI::V6;

    const READ: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ReadFile | ReadDir | Execute});

    /// Neither devices nor sockets can be made.
    const WRITE: BitFlags<AccessFs> = make_bitflags!(AccessFs::{
        ReadFile | ReadDir | Execute | WriteFile | Truncate | RemoveDir | RemoveFile | MakeDir
            | MakeReg | MakeFifo | MakeSym | Refer
    });

    /// What a program of ours may do with files that it keeps.
    const KEEP: BitFlags<AccessFs> = make_bitflags!(AccessFs::{
        ReadFile | ReadDir | WriteFile | Truncate | RemoveFile | MakeReg
    });

    const DEVICE: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ReadFile | WriteFile | Truncate});

    impl Walls {
        /// Closes them around the calling thread and what it starts from now on. There is no way
        /// back; after an error the thread is good for nothing.
        ///
        /// # Errors
        /// What is missing.
        pub(crate) fn close(&self) -> io::Result<Confinement> {
            drop_capabilities()?;
            let status = self.enclose().map_err(io::Error::other)?;
            let (abi, confinement) = enough(status).map_err(io::Error::other)?;
            filter::close(abi >= SIGNALS).map_err(io::Error::other)?;
            Ok(confinement)
        }

        /// The same around a program of ours that is alone: it starts no other, and may read and
        /// write only what is named, without running it. Where the kernel has only a part of it,
        /// that part is closed all the same.
        ///
        /// # Errors
        /// What is missing.
        pub(crate) fn close_alone(&self) -> io::Result<Confinement> {
            let dropped = drop_capabilities();
            let enclosed = self.enclose_alone();
            let enough = enclosed.map_err(|e| e.to_string()).and_then(enough);
            let signals = enough.as_ref().is_ok_and(|(abi, _)| *abi >= SIGNALS);
            let filtered = filter::close(signals).and_then(|()| filter::close_alone());
            dropped?;
            filtered.map_err(io::Error::other)?;
            let (_, confinement) = enough.map_err(io::Error::other)?;
            Ok(confinement)
        }

        fn enclose_alone(&self) -> Result<LandlockStatus, RulesetError> {
            let mut rules = Ruleset::default()
                .handle_access(AccessFs::from_all(FILES))?
                .scope(Scope::from_all(SIGNALS))?
                .create()?;
            for path in &self.read {
                rules = open(rules, path, READ & KEEP)?;
            }
            for path in &self.write {
                rules = open(rules, path, KEEP)?;
            }
            Ok(rules.restrict_self()?.landlock)
        }

        fn enclose(&self) -> Result<LandlockStatus, RulesetError> {
            let mut rules = Ruleset::default()
                .handle_access(AccessFs::from_all(FILES))?
                .scope(Scope::from_all(SIGNALS))?
                .create()?;
            for dir in SYSTEM.iter().chain(&SETTINGS) {
                rules = open(rules, dir.as_ref(), READ)?;
            }
            for path in settings().iter().chain(&self.read) {
                rules = open(rules, path, READ)?;
            }
            for path in DEVICES {
                rules = open(rules, path.as_ref(), DEVICE)?;
            }
            for path in &self.write {
                rules = open(rules, path, WRITE)?;
            }
            Ok(rules.restrict_self()?.landlock)
        }
    }

    /// Takes from the calling thread, and from what it starts, the right to write anywhere.
    ///
    /// # Errors
    /// What is missing.
    pub(crate) fn close_to_writing() -> io::Result<()> {
        let closed = Ruleset::default()
            .handle_access(AccessFs::from_write(FILES))
            .and_then(|rules| rules.create())
            .and_then(|rules| rules.restrict_self());
        let status = closed.map_err(io::Error::other)?.landlock;
        enough(status).map(drop).map_err(io::Error::other)
    }

    /// Grants rights over what is at a path, and beneath it. Nothing there is nothing granted.
    fn open(
        rules: RulesetCreated,
        path: &Path,
        rights: BitFlags<AccessFs>,
    ) -> Result<RulesetCreated, RulesetError> {
        let Ok(place) = PathFd::new(path) else {
            return Ok(rules);
        };
        let rights = match path.is_dir() {
            true => rights,
            false => rights & AccessFs::from_file(FILES),
        };
        rules.add_rule(PathBeneath::new(place, rights))
    }

    /// The directories of Python's settings, such as `/etc/python3.11`.
    fn settings() -> Vec<PathBuf> {
        let entries = fs::read_dir("/etc").into_iter().flatten().flatten();
        let ours =
            entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("python3"));
        ours.map(|entry| entry.path()).collect()
    }

    /// Nothing regains them: Landlock has taken the right to new privileges.
    fn drop_capabilities() -> io::Result<()> {
        let none = CapabilitySets {
            effective: CapabilitySet::empty(),
            permitted: CapabilitySet::empty(),
            inheritable: CapabilitySet::empty(),
        };
        Ok(rustix::thread::set_capabilities(None, none)?)
    }

    /// Whether what a kernel has of Landlock is enough.
    fn enough(status: LandlockStatus) -> Result<(ABI, Confinement), String> {
        match status {
            LandlockStatus::Available {
                effective_abi,
                kernel_abi,
            } if effective_abi >= LEAST => {
                let landlock = kernel_abi.unwrap_or(effective_abi as i32);
                Ok((effective_abi, Confinement { landlock }))
            }
            LandlockStatus::Available { .. } => {
                Err("this kernel's Landlock is older than that of \
                                                     Linux 6.2"
                    .to_owned())
            }
            LandlockStatus::NotEnabled => {
                Err("Landlock is not enabled: boot the kernel with `lsm=landlock,…`".to_owned())
            }
            _ => Err("this kernel has no Landlock: Linux 6.2 or newer has it".to_owned()),
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn an_old_kernel_is_told_from_one_without() {
            let available = |effective_abi, kernel_abi| LandlockStatus::Available {
                effective_abi,
                kernel_abi,
            };
            let refused = [
                (LandlockStatus::NotImplemented, "no Landlock"),
                (LandlockStatus::NotEnabled, "not enabled"),
                (available(ABI::V2, None), "older"),
            ];
            for (status, why) in refused {
                let message = enough(status).unwrap_err();
                assert!(message.contains(why), "{message}");
            }
            for (status, abi) in [
                (available(ABI::V3, None), 3),
                (available(ABI::V10, Some(12)), 12),
            ] {
                assert_eq!(enough(status).unwrap().1, Confinement { landlock: abi });
            }
        }
    }
}
