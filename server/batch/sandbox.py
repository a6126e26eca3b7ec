"""What a process that decodes may do: compute, read its file, write its sound. All else is taken away where it can be.

Resource limits are POSIX's. The list of system calls is seccomp's (Linux, `prctl(2)`): no file is opened, no socket,
no process or signal, whatever a damaged file makes the decoder do. What a system lacks is passed over.
"""

import ctypes
import os
import platform
import struct
from contextlib import suppress

MEMORY = 640 * 2**20  # bytes of address space: the libraries are mapped into 200 MB of it
NICE = 10  # live captions come first

# read, write, close, fstat, lseek; mmap, mprotect, munmap, brk, mremap, madvise; rt_sigaction, rt_sigprocmask,
# rt_sigreturn, restart_syscall; exit, exit_group; futex, sched_yield, sched_getaffinity, getpid, gettid;
# clock_gettime, getrandom
CALLS = {  # by machine: its name in the audit subsystem, and the numbers of these system calls
    "x86_64": (
        0xC000003E,
        (0, 1, 3, 5, 8, 9, 10, 11, 12, 25, 28, 13, 14, 15, 219, 60, 231, 202, 24, 204, 39, 186, 228, 318),
    ),
    "aarch64": (
        0xC00000B7,
        (63, 64, 57, 80, 62, 222, 226, 215, 214, 216, 233, 134, 135, 139, 128)
        + (93, 94, 98, 124, 123, 172, 178, 113, 278),
    ),
}

# linux/prctl.h, linux/seccomp.h, linux/bpf_common.h
NO_NEW_PRIVS, SET_SECCOMP, FILTER = 38, 22, 2
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, REFUSE = 0x7FFF0000, 0x00050000 | 1  # EPERM
NUMBER, MACHINE = 0, 4  # offsets in what the filter sees of a call


def enter(cpu_s: float) -> None:
    """From now on, for ever: `cpu_s` seconds of CPU, MEMORY, no descriptor, file, thread or process more."""
    limit("RLIMIT_CPU", round(cpu_s))
    limit("RLIMIT_AS", MEMORY)
    for none in ("RLIMIT_FSIZE", "RLIMIT_CORE", "RLIMIT_NPROC"):
        limit(none, 0)
    limit("RLIMIT_NOFILE", 3)  # stdin, stdout, stderr
    with suppress(AttributeError, OSError):
        os.nice(NICE)
    with suppress(AttributeError, OSError, KeyError):
        allow(*CALLS[platform.machine()])


def limit(name: str, most: int) -> None:
    with suppress(ImportError, AttributeError, ValueError, OSError):
        import resource

        resource.setrlimit(getattr(resource, name), (most, most))


def allow(machine: int, calls: tuple[int, ...]) -> None:
    """Let the kernel refuse all other system calls, and those that come under another machine's numbers."""
    last = len(calls)
    rules = [(LOAD, 0, 0, MACHINE), (EQUAL, 0, last + 1, machine), (LOAD, 0, 0, NUMBER)]
    rules += [(EQUAL, last - i, 0, call) for i, call in enumerate(calls)]
    rules += [(RETURN, 0, 0, REFUSE), (RETURN, 0, 0, ALLOW)]
    program = b"".join(struct.pack("=HBBI", *rule) for rule in rules)
    buffer = ctypes.create_string_buffer(program)
    about = ctypes.create_string_buffer(struct.pack("@HP", len(rules), ctypes.addressof(buffer)))
    prctl = ctypes.CDLL(None).prctl
    prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]
    prctl(NO_NEW_PRIVS, 1, 0, 0, 0)
    prctl(SET_SECCOMP, FILTER, ctypes.addressof(about), 0, 0)
