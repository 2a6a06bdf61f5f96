"""Take from this process, for ever, what no answer needs of the kernel: called before any code of a student runs.

The filter is made by libseccomp (https://github.com/seccomp/libseccomp), which Debian and Ubuntu install with apt.
"""

import ctypes
import errno
import os
from contextlib import suppress

# libseccomp's constants (seccomp.h) and those of clone (sched.h).
ALLOW, ERRNO, MASKED_EQUAL = 0x7FFF0000, 0x00050000, 7
NEW_NAMESPACES = (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000)
REFUSED = {
    "keyrings, which outlive a process": "add_key keyctl request_key",
    "other processes": "kcmp pidfd_getfd process_vm_readv process_vm_writev ptrace",
    "memory that counts for no process, and messages": "memfd_create memfd_secret mq_open msgget semget shmget",
    "other cores": "sched_setaffinity sched_setattr sched_setscheduler",
    "file systems": "chroot fsconfig fsmount fsopen fspick mount mount_setattr move_mount open_tree pivot_root umount2",
    "files by other ways than their names": "name_to_handle_at open_by_handle_at quotactl",
    "namespaces": "setns unshare",
    "large and seldom used, so holes were found there": "bpf io_uring_enter io_uring_register io_uring_setup",
    "of use for attacks on the kernel": "fanotify_init lookup_dcookie perf_event_open personality userfaultfd",
}


class Comparison(ctypes.Structure):
    """A condition on an argument of a call: `argument & mask == value` (`scmp_arg_cmp`)."""

    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operation", ctypes.c_int),
        ("mask", ctypes.c_uint64),
        ("value", ctypes.c_uint64),
    )


def confine() -> None:
    """Let the kernel refuse `REFUSED` and new namespaces, to this process and all that it starts.

    Raises `OSError` if that is not to be had.
    """
    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(ALLOW)))

    def refuse(name: str, error: int, *conditions: Comparison) -> None:
        number = library.seccomp_syscall_resolve_name(name.encode())
        # An older library does not know every call, nor does the kernel that it was made for.
        if number >= 0:
            action = ctypes.c_uint32(ERRNO | error)
            array = (Comparison * len(conditions))(*conditions)
            if library.seccomp_rule_add_array(context, action, number, len(conditions), array):
                raise OSError(f"libseccomp cannot refuse {name}")

    for name in " ".join(REFUSED.values()).split():
        refuse(name, errno.EPERM)
    for flag in NEW_NAMESPACES:
        refuse("clone", errno.EPERM, Comparison(0, MASKED_EQUAL, flag, flag))
    # What it is asked for lies in memory, where no filter sees it; the C library then takes clone.
    refuse("clone3", errno.ENOSYS)
    if library.seccomp_load(context):
        raise OSError("libseccomp cannot load its filter")


def is_confined() -> bool:
    """Whether the kernel refuses what it should."""
    with suppress(PermissionError):
        os.close(os.memfd_create("tried"))
        return False
    return True
