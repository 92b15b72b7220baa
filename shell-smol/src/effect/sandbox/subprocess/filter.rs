//! The system calls that a confined process cannot make, kept by seccomp.
//!
//! It is a list of what is refused, because what runs may be any program. What needs a capability
//! is not on it (there is none left), nor what Landlock keeps. Refused is what reaches out of the
//! sandbox otherwise: sockets of every family (also those of the own machine: Docker's is one),
//! other processes of the same user, memory and queues that outlive their maker, and the doors
//! by which sandboxes have been left before, namespaces, io_uring and their kin. A call newer
//! than this list does not exist.
//!
//! The mode and the times of a file cannot be changed: neither Landlock nor seccomp can tell a
//! file in the sandbox from one outside. Programs set them so often, and need it so rarely, that
//! they are told that it was done.

use libc as c;
use seccompiler::{
    BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch, sock_filter,
};
use std::collections::BTreeMap;

/// The newest call that the lists below were made with, `mseal` of Linux 6.10. From 424 on the
/// numbers are the same on every processor.
const NEWEST: u32 = 462;

/// `fchmodat2`, which has no name yet for every processor.
const FCHMODAT2: c::c_long = 452;

/// Refused with "operation not permitted".
const REFUSED: &[c::c_long] = &[
    // The network, and the sockets of other programs.
    c::SYS_socket,
    c::SYS_connect,
    c::SYS_bind,
    c::SYS_listen,
    c::SYS_accept,
    c::SYS_accept4,
    // Other processes.
    c::SYS_ptrace,
    c::SYS_process_vm_readv,
    c::SYS_process_vm_writev,
    c::SYS_process_madvise,
    c::SYS_process_mrelease,
    c::SYS_pidfd_getfd,
    c::SYS_kcmp,
    c::SYS_move_pages,
    c::SYS_migrate_pages,
    // What outlives its maker, or is found by name without being a file.
    c::SYS_shmget,
    c::SYS_shmat,
    c::SYS_shmctl,
    c::SYS_semget,
    c::SYS_semop,
    c::SYS_semtimedop,
    c::SYS_semctl,
    c::SYS_msgget,
    c::SYS_msgsnd,
    c::SYS_msgrcv,
    c::SYS_msgctl,
    c::SYS_mq_open,
    c::SYS_mq_unlink,
    c::SYS_add_key,
    c::SYS_request_key,
    c::SYS_keyctl,
    // Memory that no process seems to hold.
    c::SYS_memfd_create,
    c::SYS_memfd_secret,
    // Who owns a file, and what happens to files elsewhere.
    c::SYS_fchown,
    c::SYS_fchownat,
    c::SYS_inotify_add_watch,
    c::SYS_fanotify_init,
    c::SYS_fanotify_mark,
    c::SYS_name_to_handle_at,
    c::SYS_open_by_handle_at,
    // The ways that others left by.
    c::SYS_unshare,
    c::SYS_setns,
    c::SYS_mount,
    c::SYS_umount2,
    c::SYS_pivot_root,
    c::SYS_chroot,
    c::SYS_move_mount,
    c::SYS_open_tree,
    c::SYS_fsopen,
    c::SYS_fsconfig,
    c::SYS_fsmount,
    c::SYS_fspick,
    c::SYS_mount_setattr,
    c::SYS_bpf,
    c::SYS_perf_event_open,
    c::SYS_userfaultfd,
    c::SYS_io_uring_setup,
    c::SYS_io_uring_enter,
    c::SYS_io_uring_register,
    c::SYS_quotactl,
    c::SYS_quotactl_fd,
    c::SYS_syslog,
    c::SYS_acct,
];

/// The same, of old, where there still are these.
#[cfg(target_arch = "x86_64")]
const REFUSED_OLD: &[c::c_long] = &[c::SYS_chown, c::SYS_lchown, c::SYS_modify_ldt];
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_OLD: &[c::c_long] = &[];

/// Signals to other processes, where the kernel does not keep them inside.
const SIGNALS: &[c::c_long] = &[
    c::SYS_kill,
    c::SYS_tkill,
    c::SYS_tgkill,
    c::SYS_rt_sigqueueinfo,
    c::SYS_rt_tgsigqueueinfo,
    c::SYS_pidfd_send_signal,
];

/// Refused as a file system does that has no such thing, which is no cause for alarm.
const UNSUPPORTED: &[c::c_long] = &[
    c::SYS_setxattr,
    c::SYS_lsetxattr,
    c::SYS_fsetxattr,
    c::SYS_removexattr,
    c::SYS_lremovexattr,
    c::SYS_fremovexattr,
];

/// Not done, and said to be.
const PRETENDED: &[c::c_long] = &[c::SYS_fchmod, c::SYS_fchmodat, FCHMODAT2, c::SYS_utimensat];

/// The same, of old, where there still are these.
#[cfg(target_arch = "x86_64")]
const PRETENDED_OLD: &[c::c_long] = &[c::SYS_chmod, c::SYS_utime, c::SYS_utimes, c::SYS_futimesat];
#[cfg(not(target_arch = "x86_64"))]
const PRETENDED_OLD: &[c::c_long] = &[];

/// The kinds of namespace that `clone` can make.
const NAMESPACES: [c::c_int; 7] = [
    c::CLONE_NEWNS,
    c::CLONE_NEWCGROUP,
    c::CLONE_NEWUTS,
    c::CLONE_NEWIPC,
    c::CLONE_NEWUSER,
    c::CLONE_NEWPID,
    c::CLONE_NEWNET,
];

/// Closes the filter around the calling thread and what it starts from now on. `signals` are
/// left alone when something else keeps them inside.
///
/// # Errors
/// The kernel has no seccomp, or this list is not for this processor.
pub(super) fn close(signals: bool) -> Result<(), String> {
    let missing = |error: Error| format!("seccomp is not to be had: {error}");
    let refused = compile(refused(signals), c::EPERM).map_err(missing)?;
    let pretended = [PRETENDED, PRETENDED_OLD].concat();
    let pretended = compile(always(&pretended), 0).map_err(missing)?;
    let unsupported = compile(always(UNSUPPORTED), c::ENOTSUP).map_err(missing)?;
    let mut unknown = compile(always(&[c::SYS_clone3]), c::ENOSYS).map_err(missing)?;
    unknown.splice(..0, no_newer());
    for filter in [unknown, unsupported, pretended, refused] {
        seccompiler::apply_filter(&filter).map_err(missing)?;
    }
    Ok(())
}

/// What a program of ours refuses itself besides, when it is to stay alone: to start another, to
/// become another, and to tell a device what to do.
const ALONE: &[c::c_long] = &[c::SYS_execve, c::SYS_execveat, c::SYS_ioctl];

/// The same, of old, where there still are these.
#[cfg(target_arch = "x86_64")]
const ALONE_OLD: &[c::c_long] = &[c::SYS_fork, c::SYS_vfork];
#[cfg(not(target_arch = "x86_64"))]
const ALONE_OLD: &[c::c_long] = &[];

/// Closes a second filter around the calling thread, behind which it can start threads alone.
///
/// # Errors
/// As [`close`].
pub(super) fn close_alone() -> Result<(), String> {
    let missing = |error: Error| format!("seccomp is not to be had: {error}");
    let mut rules = always(&[ALONE, ALONE_OLD].concat());
    let no_thread = SeccompCmpOp::MaskedEq(c::CLONE_THREAD.unsigned_abs().into());
    rules.insert(c::SYS_clone, vec![when(0, no_thread, 0)]);
    let refused = compile(rules, c::EPERM).map_err(missing)?;
    seccompiler::apply_filter(&refused).map_err(missing)
}

/// What comes of matching calls. An error of 0 is no error.
fn compile(calls: Rules, error: c::c_int) -> Result<BpfProgram, Error> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let instead = SeccompAction::Errno(error.unsigned_abs());
    let filter = SeccompFilter::new(calls, SeccompAction::Allow, instead, arch)?;
    Ok(filter.try_into()?)
}

/// Calls by number, each with the cases in which it matches; without any it always does.
type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn always(calls: &[c::c_long]) -> Rules {
    calls.iter().map(|call| (*call, Vec::new())).collect()
}

/// An instruction of the filter's machine.
fn instruction(code: c::c_uint, jt: u8, jf: u8, k: u32) -> sock_filter {
    let code = code as u16;
    sock_filter { code, jt, jf, k }
}

/// Newer calls do not exist, nor do those of the x32 interface, whose numbers are above all others.
fn no_newer() -> [sock_filter; 3] {
    let refuse = c::SECCOMP_RET_ERRNO | c::ENOSYS.unsigned_abs();
    [
        instruction(c::BPF_LD | c::BPF_W | c::BPF_ABS, 0, 0, 0),
        instruction(c::BPF_JMP | c::BPF_JGT | c::BPF_K, 0, 1, NEWEST),
        instruction(c::BPF_RET | c::BPF_K, 0, 0, refuse),
    ]
}

/// What is refused, some of it only with certain arguments.
fn refused(signals: bool) -> Rules {
    use SeccompCmpOp::{Eq, MaskedEq, Ne};
    let mut rules = always(REFUSED);
    rules.extend(always(REFUSED_OLD));
    if !signals {
        rules.extend(always(SIGNALS));
        let owner = [c::F_SETOWN, F_SETOWN_EX].map(|command| when(1, Eq, command));
        rules.insert(c::SYS_fcntl, owner.into());
    }
    // A pair that is not connected for good can be sent elsewhere by name.
    let mut pairs = vec![when(0, Ne, c::AF_UNIX)];
    let kinds = [c::SOCK_DGRAM, c::SOCK_RAW];
    pairs.extend(kinds.map(|kind| when(1, MaskedEq(0xf), kind)));
    rules.insert(c::SYS_socketpair, pairs);
    let spaces = NAMESPACES.map(|space| when(0, MaskedEq(space.unsigned_abs().into()), space));
    rules.insert(c::SYS_clone, spaces.into());
    // One may limit and slow down oneself, nobody else.
    for call in [
        c::SYS_prlimit64,
        c::SYS_sched_setaffinity,
        c::SYS_sched_setparam,
        c::SYS_sched_setscheduler,
        c::SYS_sched_setattr,
    ] {
        rules.insert(call, vec![when(0, Ne, 0)]);
    }
    let itself = |which| vec![when(0, Ne, which), when(1, Ne, 0)];
    rules.insert(c::SYS_setpriority, itself(c::PRIO_PROCESS as c::c_int));
    rules.insert(c::SYS_ioprio_set, itself(IOPRIO_WHO_PROCESS));
    rules
}

/// Commands that libc has no name for.
const F_SETOWN_EX: c::c_int = 15;
const IOPRIO_WHO_PROCESS: c::c_int = 1;

/// The case that an argument is so.
fn when(argument: u8, is: SeccompCmpOp, value: c::c_int) -> SeccompRule {
    let value = value.unsigned_abs().into();
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, is, value)
        .and_then(|condition| SeccompRule::new(vec![condition]))
        .expect("there are six arguments")
}
