//! Containers on a real Docker daemon. Where there is none, each test says that it was skipped; in
//! CI that is an error.

#[path = "docker/broken.rs"]
mod broken;
#[path = "docker/escape.rs"]
mod escape;
#[path = "docker/kill.rs"]
mod kill;
#[path = "docker/life.rs"]
mod life;
#[path = "docker/rig.rs"]
mod rig;
