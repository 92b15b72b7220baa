//! What keeps a task from the network that its worker reports over: seccomp around the guard, and
//! so around all that it starts.
//!
//! Docker's network leads to this machine's side of it alone, but there every service answers that
//! listens on all addresses. So a task gets no socket but those of its own container's files, and
//! cannot reach for the worker's: nor at its memory, nor at its open files.

use libc as c;
use seccompiler::{
    BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch, sock_filter,
};
use std::collections::BTreeMap;

/// Refused with "operation not permitted".
const REFUSED: [c::c_long; 7] = [
    c::SYS_ptrace,
    c::SYS_process_vm_readv,
    c::SYS_process_vm_writev,
    c::SYS_pidfd_getfd,
    // It opens sockets by ways that no filter sees.
    c::SYS_io_uring_setup,
    c::SYS_io_uring_enter,
    c::SYS_io_uring_register,
];

/// From here on the numbers are those of the x32 interface, which has all calls once more.
const X32: u32 = 0x4000_0000;

/// Closes them around the calling thread and what it starts from now on.
///
/// # Errors
/// The kernel has no seccomp, or nobody has made the list for this processor.
pub(super) fn close() -> Result<(), String> {
    let filter = filter().map_err(|error| format!("seccomp is not to be had: {error}"))?;
    let closed = seccompiler::apply_filter(&filter);
    closed.map_err(|error| format!("seccomp is not to be had: {error}"))
}

fn filter() -> Result<BpfProgram, Error> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        REFUSED.iter().map(|call| (*call, Vec::new())).collect();
    let elsewhere = SeccompCondition::new(
        0,
        SeccompCmpArgLen::Dword,
        SeccompCmpOp::Ne,
        c::AF_UNIX.unsigned_abs().into(),
    )?;
    rules.insert(c::SYS_socket, vec![SeccompRule::new(vec![elsewhere])?]);
    let refuse = SeccompAction::Errno(c::EPERM.unsigned_abs());
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch)?;
    let mut program: BpfProgram = filter.try_into()?;
    program.splice(..0, no_x32());
    Ok(program)
}

fn no_x32() -> [sock_filter; 3] {
    let instruction = |code: c::c_uint, jt, jf, k| sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    let refuse = c::SECCOMP_RET_ERRNO | c::ENOSYS.unsigned_abs();
    [
        instruction(c::BPF_LD | c::BPF_W | c::BPF_ABS, 0, 0, 0),
        instruction(c::BPF_JMP | c::BPF_JGE | c::BPF_K, 0, 1, X32),
        instruction(c::BPF_RET | c::BPF_K, 0, 0, refuse),
    ]
}
