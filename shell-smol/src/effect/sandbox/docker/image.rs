//! Images: whether one is here, and fetching it where that is allowed.

use super::daemon::{ANSWER, Daemon, Kind, Trouble};
use super::{Shared, Shown};
use bollard::Docker as Client;
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_lite::StreamExt;
use openpista_core::effect::sandbox::SandboxFault;
use std::time::Duration;
use tokio::time::Instant;

/// The shortest time between two words about a download.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);

/// Where an image wants a volume of its own.
#[derive(Debug, Default)]
pub(super) struct Image {
    pub(super) volumes: Vec<String>,
}

/// Looks for the image, and fetches it if it is not here and may be fetched.
pub(super) async fn find(
    shared: &Shared,
    client: &Client,
    name: &str,
    shown: &Shown,
) -> Result<Image, SandboxFault> {
    let daemon = &shared.daemon;
    match look(daemon, client, name).await {
        Ok(image) => return Ok(image),
        Err(trouble) if trouble.kind != Kind::Absent => return Err(nothing_made(trouble)),
        Err(_) => {}
    }
    if !shared.config.pull {
        let message = format!(
            "the image {name} is not on this computer: fetch it with `docker pull {name}`, or set \
             `sandbox.pull = true` to have images fetched when they are asked for"
        );
        return Err(SandboxFault::Failed { message });
    }
    pull(daemon, client, name, shown).await?;
    look(daemon, client, name).await.map_err(nothing_made)
}

async fn look(daemon: &Daemon, client: &Client, name: &str) -> Result<Image, Trouble> {
    let image = daemon.ask(ANSWER, client.inspect_image(name)).await?;
    let volumes = image.config.and_then(|config| config.volumes);
    Ok(Image {
        volumes: volumes.unwrap_or_default(),
    })
}

fn nothing_made(trouble: Trouble) -> SandboxFault {
    SandboxFault::Unavailable {
        message: trouble.message,
    }
}

/// Fetches an image. Whoever waits decides for how long.
async fn pull(
    daemon: &Daemon,
    client: &Client,
    name: &str,
    shown: &Shown,
) -> Result<(), SandboxFault> {
    let mut options = CreateImageOptionsBuilder::default().from_image(name);
    if !is_exact(name) {
        // Without one, all that there are would be fetched.
        options = options.tag("latest");
    }
    shown.show(format!("fetching the image {name}\n"));
    let mut show_at = Instant::now();
    let mut news = client.create_image(Some(options.build()), None, None);
    while let Some(item) = news.next().await {
        let info = item.map_err(|error| SandboxFault::Failed {
            message: format!(
                "the image {name} could not be fetched. {}",
                daemon.trouble(error).message
            ),
        })?;
        if let Some(status) = info.status
            && Instant::now() >= show_at
        {
            let part = info.id.map(|id| format!("{id}: ")).unwrap_or_default();
            let done = info.progress_detail.and_then(|detail| {
                let (current, total) = (detail.current?, detail.total?);
                (total > 0).then(|| format!(" {}%", current * 100 / total))
            });
            shown.show(format!("{part}{status}{}\n", done.unwrap_or_default()));
            show_at = Instant::now() + PROGRESS_EVERY;
        }
    }
    Ok(())
}

/// The name says which of an image's versions.
fn is_exact(name: &str) -> bool {
    let last = name.rsplit('/').next().unwrap_or(name);
    last.contains([':', '@'])
}

#[cfg(test)]
mod tests {
    use super::is_exact;

    #[test]
    fn a_port_is_no_tag() {
        for name in ["debian:12", "host:5000/a/b:c", "debian@sha256:0123"] {
            assert!(is_exact(name), "{name}");
        }
        for name in ["debian", "host:5000/debian", "a/b"] {
            assert!(!is_exact(name), "{name}");
        }
    }
}
