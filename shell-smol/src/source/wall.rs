//! The wall clock, as a source of inputs: it is looked at once a minute, and at once when somebody
//! sets it or the machine wakes up. Whether it has jumped is for the core to say.

use crate::clock::unix_now_ms;
use crate::driver::Handle;
use openpista_core::input::Input;
use std::time::Duration;

/// How often it is looked at.
const LOOK: Duration = Duration::from_secs(60);

/// Tells the loop what the wall clock shows, for as long as the program lives.
pub async fn watch(handle: Handle) {
    let mut alarm = Alarm::new();
    loop {
        alarm.wait().await;
        let unix_ms = unix_now_ms();
        handle.send(Input::Wall { unix_ms }).await;
    }
}

#[cfg(target_os = "linux")]
use linux::Alarm;
#[cfg(not(target_os = "linux"))]
use plain::Alarm;

/// The kernel's timer on the wall clock itself: it ends early when that clock jumps.
#[cfg(target_os = "linux")]
mod linux {
    use super::LOOK;
    use crate::clock::unix_now_ms;
    use async_io::{Async, Timer};
    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };
    use std::io;
    use std::os::fd::OwnedFd;

    pub(super) struct Alarm(Option<Async<OwnedFd>>);

    impl Alarm {
        pub(super) fn new() -> Alarm {
            Alarm(create().ok())
        }

        pub(super) async fn wait(&mut self) {
            let rung = match &self.0 {
                Some(timer) => ring(timer).await.is_ok(),
                None => false,
            };
            if !rung {
                self.0 = None;
                Timer::after(LOOK).await;
            }
        }
    }

    fn create() -> io::Result<Async<OwnedFd>> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        Async::new(timerfd_create(TimerfdClockId::Realtime, flags)?)
    }

    async fn ring(timer: &Async<OwnedFd>) -> io::Result<()> {
        let at = unix_now_ms() / 1_000 + LOOK.as_secs();
        let at = Timespec {
            tv_sec: i64::try_from(at).unwrap_or(i64::MAX),
            tv_nsec: 0,
        };
        let never_again = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let alarm = Itimerspec {
            it_interval: never_again,
            it_value: at,
        };
        let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
        timerfd_settime(timer.get_ref(), flags, &alarm)?;
        let expired = timer.read_with(|timer| match rustix::io::read(timer, &mut [0_u8; 8]) {
            Ok(_) | Err(rustix::io::Errno::CANCELED) => Ok(()),
            Err(error) => Err(error.into()),
        });
        expired.await
    }
}

#[cfg(not(target_os = "linux"))]
mod plain {
    use super::LOOK;
    use async_io::Timer;

    pub(super) struct Alarm;

    impl Alarm {
        pub(super) fn new() -> Alarm {
            Alarm
        }

        pub(super) async fn wait(&mut self) {
            Timer::after(LOOK).await;
        }
    }
}
