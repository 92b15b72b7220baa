//! Packs the list of the addresses that are put right when a program of ours starts.
//!
//! A program that can be placed anywhere in memory has tens of thousands of them, and the plain list is
//! read into memory at each start. glibc reads the packed one since 2.36; with an older one such a
//! program does not start. So it is made where programs are built for the machine that builds them, and
//! its C library is new enough.

use std::env;
use std::process::Command;

/// The first glibc that reads it.
const READS: (u32, u32) = (2, 36);

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|told| told == value);
    let ours = env::var("HOST").is_ok_and(|host| is("TARGET", &host));
    let gnu = is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu");
    if ours && gnu && glibc().is_some_and(|version| version >= READS) {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// The version of this machine's.
fn glibc() -> Option<(u32, u32)> {
    let told = Command::new("getconf").arg("GNU_LIBC_VERSION").output();
    let told = String::from_utf8(told.ok()?.stdout).ok()?;
    let mut parts = told.trim().strip_prefix("glibc ")?.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}
