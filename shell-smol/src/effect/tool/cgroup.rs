//! A cgroup that bounds how many processes and threads there are in it, root's included.
//!
//! It is made below the daemon's own, so that whatever bounds the daemon bounds what is in it too.
//! In version 2 it is a threaded one: only these may be below one that has processes itself.
//! It is named by the process that made it, and removed with the value; what a process that was
//! killed has left is removed by the next.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const NAME: &str = "openpista-";

/// Where the system has its cgroups.
const TOP: &str = "/sys/fs/cgroup";

/// A cgroup. Dropping it removes it, once it is empty.
pub(super) struct Cgroup {
    dir: PathBuf,
    door: PathBuf,
}

/// The daemon's own.
struct Own {
    dir: PathBuf,
    /// Of version 2.
    unified: bool,
}

impl Cgroup {
    /// Makes one for so many processes, and the one that starts them.
    ///
    /// # Errors
    /// There are none for processes here, or this user may not make one.
    pub(super) fn make(processes: u64) -> io::Result<Cgroup> {
        if !rustix::process::geteuid().is_root() {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let table = fs::read_to_string("/proc/self/cgroup")?;
        let own = Own::find(&table).ok_or(io::ErrorKind::NotFound)?;
        own.sweep();
        if own.unified {
            fs::write(own.dir.join("cgroup.subtree_control"), "+pids")?;
        }
        let dir = own.dir.join(format!("{NAME}{}", std::process::id()));
        fs::create_dir(&dir)?;
        // The files by which one thread comes in: to ask for a whole process costs milliseconds.
        let door = dir.join(match own.unified {
            true => "cgroup.threads",
            false => "tasks",
        });
        let cgroup = Cgroup { dir, door };
        if own.unified {
            fs::write(cgroup.dir.join("cgroup.type"), "threaded")?;
        }
        let most = processes.saturating_add(1).to_string();
        fs::write(cgroup.dir.join("pids.max"), most)?;
        Ok(cgroup)
    }

    /// Whoever writes a 0 to this file is in.
    pub(super) fn door(&self) -> &Path {
        &self.door
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.dir);
    }
}

impl Own {
    /// Finds it in the kernel's table for this process: `NUMBER:CONTROLLERS:PATH`, a line for each
    /// tree; version 2 has number 0.
    fn find(table: &str) -> Option<Own> {
        let of = |unified: bool| {
            table.lines().find_map(|line| {
                let mut fields = line.splitn(3, ':');
                let (number, controllers) = (fields.next()?, fields.next()?);
                let path = fields.next()?.trim_start_matches('/');
                let (is, top) = match unified {
                    true => (number == "0", Path::new(TOP).to_owned()),
                    false => (
                        controllers.split(',').any(|name| name == "pids"),
                        Path::new(TOP).join(controllers),
                    ),
                };
                let dir = top.join(path);
                is.then_some(Own { dir, unified })
            })
        };
        of(false).or_else(|| of(true))
    }

    /// Removes what those left who are gone. What is not empty cannot be removed.
    fn sweep(&self) {
        let entries = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        for entry in entries {
            let name = entry.file_name();
            let maker = name.to_str().and_then(|name| name.strip_prefix(NAME));
            if maker.is_some_and(|maker| !Path::new("/proc").join(maker).exists()) {
                let _ = fs::remove_dir(entry.path());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_own_place_is_found_in_both_versions() {
        let table = [
            ("8:pids:/\n0::/x\n", "/sys/fs/cgroup/pids/", false),
            (
                "4:cpu,pids:/a/b\n0::/\n",
                "/sys/fs/cgroup/cpu,pids/a/b",
                false,
            ),
            (
                "0::/system.slice/a:b.service\n",
                "/sys/fs/cgroup/system.slice/a:b.service",
                true,
            ),
        ];
        for (text, dir, unified) in table {
            let own = Own::find(text).unwrap();
            assert_eq!((own.dir.as_path(), own.unified), (Path::new(dir), unified));
        }
        assert!(Own::find("1:cpu:/\n").is_none());
    }
}
