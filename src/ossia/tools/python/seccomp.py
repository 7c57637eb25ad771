"""A filter of system calls, written as BPF for the Linux kernel by an assembler of one page.

Knows which calls are refused, and their numbers; who loads it is not its affair.
"""

import errno
import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""What the kernel calls each machine in a filter: linux/audit.h."""
X32_BIT = 0x40000000
NEW_NAMESPACES = 0x7E020000
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET: linux/sched.h."""

ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
LOAD, EQUAL, ANY_BIT, AT_LEAST, RETURN = 0x20, 0x15, 0x45, 0x35, 0x06
NUMBER, ARCH = 0, 4
"""Offsets in struct seccomp_data: linux/seccomp.h."""

Step = tuple[int, int, int, int]
"""One struct sock_filter: code, steps to skip if true, if false, constant."""


@dataclass(frozen=True, slots=True)
class RefusedCall:
    """A call that is refused, always or with certain arguments."""

    name: str
    argument: int = 0
    when: Callable[[Step], list[Step]] | None = None
    """Tests on the low half of the argument, the refusal given behind them."""
    with_high_half: bool = False
    """Whether any bit in the argument's high half is refused too."""


def equal_to(*values: int) -> Callable[[Step], list[Step]]:
    """Refuse these values."""

    def tests(refusal: Step) -> list[Step]:
        return [step for value in values for step in ((EQUAL, 0, 1, value), refusal)]

    return tests


def other_than(value: int) -> Callable[[Step], list[Step]]:
    """Refuse all values but one."""
    return lambda refusal: [(EQUAL, 1, 0, value), refusal]


def with_bits(mask: int) -> Callable[[Step], list[Step]]:
    """Refuse a value with any of these bits."""
    return lambda refusal: [(ANY_BIT, 0, 1, mask), refusal]


ALWAYS = (
    # No way out by a socket: a pair of them stays, between processes of the sandbox.
    *("socket", "connect", "bind", "listen", "accept", "accept4", "sendmsg", "sendmmsg"),
    # Other processes, and what the kernel does in our name.
    *("ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "process_mrelease"),
    *("kcmp", "pidfd_getfd", "pidfd_send_signal", "migrate_pages", "move_pages"),
    *("io_uring_setup", "io_uring_enter", "io_uring_register", "userfaultfd", "bpf"),
    *("perf_event_open", "keyctl", "add_key", "request_key", "lookup_dcookie"),
    # File systems and namespaces.
    *("mount", "umount2", "pivot_root", "chroot", "move_mount", "open_tree", "open_tree_attr"),
    *("fsopen", "fsconfig", "fsmount", "fspick", "mount_setattr", "unshare", "setns"),
    *("open_by_handle_at", "name_to_handle_at", "fanotify_init", "quotactl", "quotactl_fd"),
    # The machine itself.
    *("init_module", "finit_module", "delete_module", "create_module", "kexec_load"),
    *("kexec_file_load", "reboot", "swapon", "swapoff", "acct", "settimeofday", "clock_settime"),
    *("clock_adjtime", "adjtimex", "syslog", "sethostname", "setdomainname", "iopl", "ioperm"),
    *("vhangup", "modify_ldt", "personality", "uselib", "_sysctl", "nfsservctl"),
    # Memory that no limit of a process counts, or that outlives it.
    *("shmget", "shmat", "shmctl", "shmdt", "semget", "semop", "semctl", "semtimedop"),
    *("msgget", "msgsnd", "msgrcv", "msgctl", "mq_open", "mq_unlink"),
    *("memfd_create", "memfd_secret", "inotify_init", "inotify_init1"),
    # All processes stay in one group, so that one signal ends them all.
    *("setsid", "setpgid", "ioprio_set"),
)

WITH_ARGUMENTS = (
    RefusedCall("socketpair", 0, other_than(1)),  # AF_UNIX
    RefusedCall("sendto", 4, other_than(0), with_high_half=True),  # an address: not its own pair
    RefusedCall("clone", 0, with_bits(NEW_NAMESPACES)),
    # Only for itself: the user's other processes are not the sandbox's to slow down or starve.
    RefusedCall("prlimit64", 0, other_than(0)),
    RefusedCall("sched_setaffinity", 0, other_than(0)),
    RefusedCall("sched_setscheduler", 0, other_than(0)),
    RefusedCall("sched_setparam", 0, other_than(0)),
    RefusedCall("sched_setattr", 0, other_than(0)),
    RefusedCall("setpriority", 1, other_than(0)),
    # TIOCSTI and TIOCLINUX type for the user; FIOSETOWN and SIOCSPGRP send signals, as do
    # F_SETOWN, F_SETSIG and F_SETOWN_EX; F_SETLEASE holds up whoever opens the file.
    RefusedCall("ioctl", 1, equal_to(0x5412, 0x541C, 0x8901, 0x8902)),
    RefusedCall("fcntl", 1, equal_to(8, 10, 15, 1024)),
    RefusedCall("prctl", 0, equal_to(4)),  # PR_SET_DUMPABLE: would hide what it uses
)

METADATA = (
    *("chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "lchown", "fchown", "fchownat"),
    *("utime", "utimes", "futimesat", "utimensat", "setxattr", "lsetxattr", "fsetxattr"),
    *("removexattr", "lremovexattr", "fremovexattr", "setxattrat", "removexattrat"),
    "file_setattr",
)
"""Changes to files that Landlock does not see; refused where the host's files are in view."""

SIGNALS = ("tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo")
"""Beside kill; refused where nothing else keeps signals inside."""


def filter_for(machine: str, *, host_files: bool = False, host_signals: bool = False) -> bytes:
    """The filter, as the kernel reads it: an array of struct sock_filter.

    Args:
        machine: as `platform.machine()` names it.
        host_files: refuse changes to a file's mode, owner, times and attributes too.
        host_signals: refuse signals beyond the own process group too.

    Raises:
        KeyError: there are no numbers for this machine.
    """
    refused = [RefusedCall(name) for name in ALWAYS]
    refused.extend(WITH_ARGUMENTS)
    if host_files:
        refused.extend(map(RefusedCall, METADATA))
    if host_signals:
        refused.extend(map(RefusedCall, SIGNALS))
        refused.append(RefusedCall("kill", 0, other_than(0)))
    kill = (RETURN, 0, 0, KILL)
    steps: list[Step] = [(LOAD, 0, 0, ARCH), (EQUAL, 1, 0, AUDIT_ARCH[machine]), kill]
    steps.append((LOAD, 0, 0, NUMBER))
    if machine == "x86_64":
        steps += [(AT_LEAST, 0, 1, X32_BIT), kill]
    steps += _refuse("clone3", machine, errno.ENOSYS)  # so that libc falls back to clone
    for each in refused:
        steps += _guard(each, machine)
    steps.append((RETURN, 0, 0, ALLOW))
    return _written(steps)


def _refuse(name: str, machine: str, number: int = errno.EPERM) -> list[Step]:
    here = NUMBERS[name][machine == "aarch64"]
    return [] if here is None else [(EQUAL, 0, 1, here), (RETURN, 0, 0, ERRNO | number)]


def _guard(refused: RefusedCall, machine: str) -> list[Step]:
    if refused.when is None:
        return _refuse(refused.name, machine)
    here = NUMBERS[refused.name][machine == "aarch64"]
    assert here is not None, "calls told apart by arguments exist on every machine"
    refusal = (RETURN, 0, 0, ERRNO | errno.EPERM)
    low = 16 + 8 * refused.argument
    inside: list[Step] = [(LOAD, 0, 0, low), *refused.when(refusal)]
    if refused.with_high_half:
        inside += [(LOAD, 0, 0, low + 4), *other_than(0)(refusal)]
    inside.append((LOAD, 0, 0, NUMBER))
    return [(EQUAL, 0, len(inside), here), *inside]


def _written(steps: Iterable[Step]) -> bytes:
    return b"".join(struct.pack("=HBBI", *step) for step in steps)


# Source: arch/x86/entry/syscalls/syscall_64.tbl and scripts/syscall.tbl of Linux 6.18.
NUMBERS: Mapping[str, tuple[int | None, int | None]] = MappingProxyType(
    {
        "_sysctl": (156, None),
        "accept": (43, 202),
        "accept4": (288, 242),
        "acct": (163, 89),
        "add_key": (248, 217),
        "adjtimex": (159, 171),
        "bind": (49, 200),
        "bpf": (321, 280),
        "chmod": (90, None),
        "chown": (92, None),
        "chroot": (161, 51),
        "clock_adjtime": (305, 266),
        "clock_settime": (227, 112),
        "clone": (56, 220),
        "clone3": (435, 435),
        "connect": (42, 203),
        "create_module": (174, None),
        "delete_module": (176, 106),
        "fanotify_init": (300, 262),
        "fchmod": (91, 52),
        "fchmodat": (268, 53),
        "fchmodat2": (452, 452),
        "fchown": (93, 55),
        "fchownat": (260, 54),
        "fcntl": (72, 25),
        "file_setattr": (469, 469),
        "finit_module": (313, 273),
        "fremovexattr": (199, 16),
        "fsconfig": (431, 431),
        "fsetxattr": (190, 7),
        "fsmount": (432, 432),
        "fsopen": (430, 430),
        "fspick": (433, 433),
        "futimesat": (261, None),
        "init_module": (175, 105),
        "inotify_init": (253, None),
        "inotify_init1": (294, 26),
        "io_uring_enter": (426, 426),
        "io_uring_register": (427, 427),
        "io_uring_setup": (425, 425),
        "ioctl": (16, 29),
        "ioperm": (173, None),
        "iopl": (172, None),
        "ioprio_set": (251, 30),
        "kcmp": (312, 272),
        "kexec_file_load": (320, 294),
        "kexec_load": (246, 104),
        "keyctl": (250, 219),
        "kill": (62, 129),
        "lchown": (94, None),
        "listen": (50, 201),
        "lookup_dcookie": (212, 18),
        "lremovexattr": (198, 15),
        "lsetxattr": (189, 6),
        "memfd_create": (319, 279),
        "memfd_secret": (447, 447),
        "migrate_pages": (256, 238),
        "modify_ldt": (154, None),
        "mount": (165, 40),
        "mount_setattr": (442, 442),
        "move_mount": (429, 429),
        "move_pages": (279, 239),
        "mq_open": (240, 180),
        "mq_unlink": (241, 181),
        "msgctl": (71, 187),
        "msgget": (68, 186),
        "msgrcv": (70, 188),
        "msgsnd": (69, 189),
        "name_to_handle_at": (303, 264),
        "nfsservctl": (180, 42),
        "open_by_handle_at": (304, 265),
        "open_tree": (428, 428),
        "open_tree_attr": (467, 467),
        "perf_event_open": (298, 241),
        "personality": (135, 92),
        "pidfd_getfd": (438, 438),
        "pidfd_send_signal": (424, 424),
        "pivot_root": (155, 41),
        "prctl": (157, 167),
        "prlimit64": (302, 261),
        "process_madvise": (440, 440),
        "process_mrelease": (448, 448),
        "process_vm_readv": (310, 270),
        "process_vm_writev": (311, 271),
        "ptrace": (101, 117),
        "quotactl": (179, 60),
        "quotactl_fd": (443, 443),
        "reboot": (169, 142),
        "removexattr": (197, 14),
        "removexattrat": (466, 466),
        "request_key": (249, 218),
        "rt_sigqueueinfo": (129, 138),
        "rt_tgsigqueueinfo": (297, 240),
        "sched_setaffinity": (203, 122),
        "sched_setattr": (314, 274),
        "sched_setparam": (142, 118),
        "sched_setscheduler": (144, 119),
        "semctl": (66, 191),
        "semget": (64, 190),
        "semop": (65, 193),
        "semtimedop": (220, 192),
        "sendmmsg": (307, 269),
        "sendmsg": (46, 211),
        "sendto": (44, 206),
        "setdomainname": (171, 162),
        "sethostname": (170, 161),
        "setns": (308, 268),
        "setpgid": (109, 154),
        "setpriority": (141, 140),
        "setsid": (112, 157),
        "settimeofday": (164, 170),
        "setxattr": (188, 5),
        "setxattrat": (463, 463),
        "shmat": (30, 196),
        "shmctl": (31, 195),
        "shmdt": (67, 197),
        "shmget": (29, 194),
        "socket": (41, 198),
        "socketpair": (53, 199),
        "swapoff": (168, 225),
        "swapon": (167, 224),
        "syslog": (103, 116),
        "tgkill": (234, 131),
        "tkill": (200, 130),
        "umount2": (166, 39),
        "unshare": (272, 97),
        "uselib": (134, None),
        "userfaultfd": (323, 282),
        "utime": (132, None),
        "utimensat": (280, 88),
        "utimes": (235, None),
        "vhangup": (153, 58),
    }
)
"""Call numbers by name, on x86-64 and 64-bit ARM; None: the call does not exist there."""
