//! Compiled modules on the disk, so that a new process need not compile again.
//!
//! A compiled module is machine code: to load one is to run it, and wasmtime looks at little more
//! than whether it is of its own version and configuration. So a file is loaded only when nobody
//! but us can have written it, and when it is whole:
//!
//! - The directory and the file are opened without following a link, belong to our user, and are
//!   writable by no other (the directory has no permission at all for others). Whoever gets past
//!   that is our user or root, and can replace this program itself: a signature whose key lay
//!   beside the cache would keep out nobody else. No guest, container or confined process sees
//!   the directory, for it is no part of the workspace, and the process that a guest runs in has
//!   lost the right to write there before the guest began.
//! - The file begins with the digest of its own name and of everything after it. A torn write, a
//!   damaged disk, or a file under another's name is found by that.
//! - It is read into memory first and judged there, so it cannot change after it was judged.
//!
//! The name is the digest of the guest's bytes and of all that shapes its compilation: wasmtime's
//! version, its settings and the processor's features. Files that are not trusted are written
//! anew; where nothing can be kept, everything still works, and is compiled each time.

use openpista_core::digest::Digest;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, fstat, openat, renameat, unlinkat};
use rustix::process::geteuid;
use std::fs::{DirBuilder, File};
use std::hash::{Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::time::SystemTime;
use wasmtime::{Engine, Module};

/// How every file begins.
const MAGIC: &[u8; 16] = b"openpista.wasm1\n";

/// How many files are kept; the ones that were written first go.
const FILES: usize = 64;

/// The largest file that is read, in bytes: far more than any module of a skill comes to.
const FILE_BYTES: u64 = 512 * 1024 * 1024;

/// The directory.
#[derive(Debug)]
pub(super) struct Cache(PathBuf);

impl Cache {
    /// Touches nothing yet.
    pub(super) fn new(dir: PathBuf) -> Cache {
        Cache(dir)
    }

    /// Makes the directory, so that a right to it can be granted.
    pub(super) fn make(&self) -> io::Result<()> {
        let mut dir = DirBuilder::new();
        dir.recursive(true).mode(0o700).create(&self.0)
    }

    /// The module that these bytes compile to, if it is here.
    ///
    /// # Errors
    /// Why what is here is not used.
    pub(super) fn load(&self, engine: &Engine, wasm: &Digest) -> Result<Option<Module>, String> {
        let name = name(engine, wasm);
        let file = match self.read(&name) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                let dir = self.0.display();
                return Err(format!("compiled skills in {dir} are not used: {error}"));
            }
        };
        let code = whole(&name, &file)
            .ok_or_else(|| format!("the compiled skill {name} is damaged: it is compiled again"))?;
        // SAFETY: `code` is what `Module::serialize` gave to `store`: nobody but our user can
        // have written the file, and its digest shows that it is whole and under its own name. It
        // is in memory that nobody else has. Of another version, `deserialize` makes an error.
        #[expect(unsafe_code, reason = "there is no other way to load compiled code")]
        let module = unsafe { Module::deserialize(engine, code) };
        match module {
            Ok(module) => Ok(Some(module)),
            Err(error) => Err(format!("a compiled skill is not used: {error}")),
        }
    }

    /// Keeps a module for the next process. Where that fails, it is compiled again then.
    ///
    /// # Errors
    /// Why it is not kept.
    pub(super) fn store(
        &self,
        engine: &Engine,
        wasm: &Digest,
        module: &Module,
    ) -> Result<(), String> {
        let name = name(engine, wasm);
        let stored = match module.serialize() {
            Ok(code) => self.write(&name, &code),
            Err(error) => Err(io::Error::other(error.to_string())),
        };
        stored.map_err(|error| {
            let dir = self.0.display();
            format!("a compiled skill could not be kept in {dir}: {error}")
        })
    }

    /// The directory, if it is ours alone.
    fn dir(&self) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = rustix::fs::open(&self.0, flags, Mode::empty())?;
        let stat = fstat(&dir)?;
        match is_ours(&stat) && permissions(&stat) & 0o077 == 0 {
            true => Ok(dir),
            false => Err(io::Error::other(
                "others may enter the directory: remove it, or make it yours with mode 0700",
            )),
        }
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        // Not to wait for a FIFO.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = openat(self.dir()?, name, flags, Mode::empty())?;
        let stat = fstat(&file)?;
        let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        if !regular || !is_ours(&stat) || permissions(&stat) & 0o022 != 0 {
            return Err(io::Error::other(format!(
                "others may have written {name}: remove it"
            )));
        }
        let mut bytes = Vec::new();
        File::from(file).take(FILE_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Another process may do the same at this moment: each writes a file of its own, and the
    /// last to give it its name wins.
    fn write(&self, name: &str, code: &[u8]) -> io::Result<()> {
        self.make()?;
        let dir = self.dir()?;
        let new = format!("{name}.{}.new", std::process::id());
        let _ = unlinkat(&dir, &new, AtFlags::empty());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mut file = File::from(openat(&dir, &new, flags, Mode::from_raw_mode(0o600))?);
        let written = file
            .write_all(MAGIC)
            .and_then(|()| file.write_all(&digest(name, code).0))
            .and_then(|()| file.write_all(code));
        let named = written.and_then(|()| Ok(renameat(&dir, &new, &dir, name)?));
        if named.is_err() {
            let _ = unlinkat(&dir, &new, AtFlags::empty());
        }
        self.prune()?;
        named
    }

    /// Removes what was written first, so that skills that change often leave little behind.
    fn prune(&self) -> io::Result<()> {
        let mut files: Vec<(SystemTime, PathBuf)> = std::fs::read_dir(&self.0)?
            .filter_map(|entry| {
                let entry = entry.ok()?;
                Some((entry.metadata().ok()?.modified().ok()?, entry.path()))
            })
            .collect();
        files.sort_unstable();
        let surplus = files.len().saturating_sub(FILES);
        for (_, path) in &files[..surplus] {
            let _ = std::fs::remove_file(path);
        }
        Ok(())
    }
}

fn is_ours(stat: &Stat) -> bool {
    stat.st_uid == geteuid().as_raw()
}

fn permissions(stat: &Stat) -> u32 {
    Mode::from_raw_mode(stat.st_mode).bits()
}

/// What a file with this name and content begins with, behind the magic.
fn digest(name: &str, code: &[u8]) -> Digest {
    Digest::of(&[name.as_bytes(), code])
}

/// The compiled code in a file, if it is all there.
fn whole<'f>(name: &str, file: &'f [u8]) -> Option<&'f [u8]> {
    let (stated, code) = file.strip_prefix(MAGIC)?.split_at_checked(32)?;
    (digest(name, code).0 == stated).then_some(code)
}

/// The name of the file for these bytes.
fn name(engine: &Engine, wasm: &Digest) -> String {
    let mut settings = Bytes::default();
    engine.precompile_compatibility_hash().hash(&mut settings);
    Digest::of(&[&settings.0, &wasm.0]).to_string()
}

/// Collects what a value tells a hasher. Only bytes do: numbers come as theirs.
#[derive(Default)]
struct Bytes(Vec<u8>);

impl Hasher for Bytes {
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;

    /// `(module)`.
    const EMPTY: &[u8] = b"\0asm\x01\0\0\0";

    fn files(dir: &Path) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(dir).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    fn chmod(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    fn loads(cache: &Cache, engine: &Engine, wasm: &Digest) -> bool {
        matches!(cache.load(engine, wasm), Ok(Some(_)))
    }

    /// A cache with one module in it, and the file that holds it.
    fn filled() -> (tempfile::TempDir, Engine, Cache, Digest, PathBuf) {
        let home = tempfile::tempdir().unwrap();
        let cache = Cache::new(home.path().join("a/b"));
        let engine = Engine::default();
        let wasm = Digest::of(&[EMPTY]);
        assert!(!loads(&cache, &engine, &wasm));
        let module = Module::new(&engine, EMPTY).unwrap();
        cache.store(&engine, &wasm, &module).unwrap();
        let mut found = files(&cache.0);
        assert_eq!(found.len(), 1, "{found:?}");
        (home, engine, cache, wasm, found.remove(0))
    }

    #[test]
    fn what_was_stored_is_loaded_and_is_ours_alone() {
        let (_home, engine, cache, wasm, file) = filled();
        assert!(loads(&cache, &engine, &wasm));
        assert!(!loads(&cache, &engine, &Digest::of(&[b"other"])));
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&cache.0), mode(&file)), (0o700, 0o600));
    }

    #[test]
    fn other_settings_are_another_name() {
        let (_home, _, cache, wasm, _) = filled();
        let other = Engine::new(wasmtime::Config::new().consume_fuel(true)).unwrap();
        assert!(!loads(&cache, &other, &wasm));
    }

    #[test]
    fn a_damaged_file_is_not_loaded_and_is_replaced() {
        let (_home, engine, cache, wasm, file) = filled();
        let good = std::fs::read(&file).unwrap();
        let module = Module::new(&engine, EMPTY).unwrap();
        for at in [
            0,
            MAGIC.len(),
            MAGIC.len() + 32,
            good.len() / 2,
            good.len() - 1,
        ] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            std::fs::write(&file, bad).unwrap();
            assert!(!loads(&cache, &engine, &wasm), "byte {at}");
        }
        for len in [0, 7, MAGIC.len() + 31, good.len() - 1] {
            std::fs::write(&file, &good[..len]).unwrap();
            assert!(!loads(&cache, &engine, &wasm), "{len} bytes");
        }
        cache.store(&engine, &wasm, &module).unwrap();
        assert!(loads(&cache, &engine, &wasm));
    }

    #[test]
    fn a_file_under_anothers_name_is_not_loaded() {
        let (_home, engine, cache, _, file) = filled();
        let other = Digest::of(&[b"other"]);
        std::fs::rename(&file, cache.0.join(name(&engine, &other))).unwrap();
        assert!(!loads(&cache, &engine, &other));
    }

    #[test]
    fn what_others_may_write_is_not_loaded() {
        let (_home, engine, cache, wasm, file) = filled();
        chmod(&file, 0o620);
        assert!(!loads(&cache, &engine, &wasm));
        chmod(&file, 0o602);
        assert!(!loads(&cache, &engine, &wasm));
        chmod(&file, 0o600);
        chmod(&cache.0, 0o770);
        assert!(!loads(&cache, &engine, &wasm));
        chmod(&cache.0, 0o700);
        assert!(loads(&cache, &engine, &wasm));
    }

    #[test]
    fn links_are_not_followed() {
        let (home, engine, cache, wasm, file) = filled();
        let aside = home.path().join("aside");
        std::fs::rename(&file, &aside).unwrap();
        symlink(&aside, &file).unwrap();
        assert!(!loads(&cache, &engine, &wasm));

        std::fs::remove_file(&file).unwrap();
        std::fs::rename(&aside, &file).unwrap();
        let linked = home.path().join("linked");
        symlink(&cache.0, &linked).unwrap();
        assert!(!loads(&Cache::new(linked), &engine, &wasm));
    }

    #[test]
    fn old_files_go() {
        let (_home, engine, cache, wasm, file) = filled();
        let long_ago = SystemTime::UNIX_EPOCH;
        for n in 0..FILES {
            let stale = cache.0.join(format!("stale{n}"));
            let stale = File::create(stale).unwrap();
            stale.set_modified(long_ago).unwrap();
        }
        std::fs::remove_file(&file).unwrap();
        let module = Module::new(&engine, EMPTY).unwrap();
        cache.store(&engine, &wasm, &module).unwrap();
        assert_eq!(files(&cache.0).len(), FILES);
        assert!(loads(&cache, &engine, &wasm));
    }
}
