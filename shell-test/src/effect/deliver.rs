//! Pretends `core/src/effect/deliver.rs`: a person's screen, and a channel that may fail before or
//! after something appears on it.

use super::Course;
use crate::fault::DeliverTrouble;
use crate::seed::Rng;
use openpista_core::effect::Outcome;
use openpista_core::effect::deliver::{Deliver, DeliverFault, Delivered};

/// What a delivery comes to.
pub fn pretend(delivery: &Deliver, trouble: Option<DeliverTrouble>, luck: &mut Rng) -> Course {
    let took = luck.between(2, 800);
    let unreachable = || DeliverFault::Unreachable {
        message: "connection reset".into(),
    };
    let (shown, result) = match trouble {
        None => (true, Some(Ok(Delivered))),
        Some(DeliverTrouble::RateLimited) => {
            let retry_after_ms = luck.chance(50).then_some(3_000);
            (
                false,
                Some(Err(DeliverFault::RateLimited { retry_after_ms })),
            )
        }
        // A channel that has shown a text once does not refuse its formatting later.
        Some(DeliverTrouble::Unformatted) if delivery.rich && !delivery.repeated => {
            (false, Some(Err(DeliverFault::Unformatted)))
        }
        Some(DeliverTrouble::Unformatted) => (true, Some(Ok(Delivered))),
        Some(DeliverTrouble::Unreachable) => (false, Some(Err(unreachable()))),
        Some(DeliverTrouble::ShownUnreachable) => (true, Some(Err(unreachable()))),
        Some(DeliverTrouble::Absent) => (false, Some(Err(DeliverFault::Absent))),
        Some(DeliverTrouble::Gone) => {
            let message = "the chat was deleted".into();
            (false, Some(Err(DeliverFault::Gone { message })))
        }
        Some(DeliverTrouble::Hang) => (false, None),
        Some(DeliverTrouble::ShownHang) => (true, None),
    };
    Course {
        report: result.map(|result| (took, Outcome::Deliver(result))),
        shown_ms: shown.then_some(took / 2),
        ..Course::default()
    }
}
