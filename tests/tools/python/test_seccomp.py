"""The filter, step by step: what the kernel would answer for a call."""

import struct

import pytest

from ossia.tools.python.seccomp import (
    ALLOW,
    ALWAYS,
    AUDIT_ARCH,
    KILL,
    METADATA,
    NUMBERS,
    filter_for,
)

MACHINES = ("x86_64", "aarch64")
EPERM, ENOSYS = 0x50001, 0x50026
READ = {"x86_64": 0, "aarch64": 63}


def verdict(program, machine, number, *arguments, arch=None):
    """Run a filter as the kernel does: linux/net/core/filter.c, the few codes that it uses."""
    arguments = (*arguments, *(0,) * (6 - len(arguments)))
    called = struct.pack(
        "=IIQ6Q", number, AUDIT_ARCH[machine] if arch is None else arch, 0, *arguments
    )
    steps = list(struct.iter_unpack("=HBBI", program))
    accumulator, at = 0, 0
    while True:
        code, jump_true, jump_false, constant = steps[at]
        at += 1
        match code:
            case 0x20:
                accumulator = struct.unpack_from("=I", called, constant)[0]
            case 0x15:
                at += jump_true if accumulator == constant else jump_false
            case 0x35:
                at += jump_true if accumulator >= constant else jump_false
            case 0x45:
                at += jump_true if accumulator & constant else jump_false
            case 0x06:
                return constant
            case _:
                raise AssertionError(f"code {code:#x}")


@pytest.fixture(params=MACHINES)
def machine(request):
    return request.param


@pytest.fixture
def judge(machine):
    program = filter_for(machine)
    return lambda name, *arguments: verdict(
        program, machine, NUMBERS[name][machine == "aarch64"], *arguments
    )


def test_what_no_cell_needs_is_refused(machine, judge):
    here = [name for name in ALWAYS if NUMBERS[name][machine == "aarch64"] is not None]
    assert len(here) > 70
    assert {name: judge(name) for name in here} == dict.fromkeys(here, EPERM)


def test_ordinary_calls_pass(machine):
    program = filter_for(machine)
    refused = {pair[machine == "aarch64"] for pair in NUMBERS.values()}
    for number in set(range(460)) - refused:
        assert verdict(program, machine, number) == ALLOW


def test_calls_of_foreign_machines_kill(machine):
    program = filter_for(machine)
    for arch in (0x40000003, 0x40000028, 0, *(set(AUDIT_ARCH.values()) - {AUDIT_ARCH[machine]})):
        assert verdict(program, machine, READ[machine], arch=arch) == KILL


def test_x32_calls_kill():
    program = filter_for("x86_64")
    for number in (0x40000000, 0x40000001, 0x400001FF, 0xFFFFFFFF):
        assert verdict(program, "x86_64", number) == KILL
    assert verdict(program, "x86_64", 0x3FFFFFFF) == ALLOW  # no call; the kernel answers ENOSYS


def test_the_new_clone_is_said_not_to_exist(judge):
    assert judge("clone3") == ENOSYS


@pytest.mark.parametrize(
    ("name", "passing", "refused"),
    [
        ("clone", [(0x11,), (0x3D0F00,)], [(0x10000011,), (0x20000,), (0x40000000,), (0x2000000,)]),
        ("socketpair", [(1, 1)], [(2, 1), (16, 3), (0, 0)]),
        ("sendto", [(3, 4, 5, 0, 0)], [(3, 4, 5, 0, 8), (3, 4, 5, 0, 1 << 40)]),
        ("ioctl", [(1, 0x5401), (0, 0x5413)], [(0, 0x5412), (0, 0x541C), (0, 1 << 32 | 0x5412)]),
        ("fcntl", [(1, 1), (1, 4)], [(1, 8), (1, 10), (1, 15)]),
        ("prlimit64", [(0, 7)], [(1, 7), (4000, 0)]),
        ("setpriority", [(0, 0, 5)], [(0, 77, 5)]),
        ("prctl", [(15,), (1,)], [(4, 0)]),
        ("sched_setaffinity", [(0,)], [(1,)]),
    ],
)
def test_some_are_told_apart_by_an_argument(judge, name, passing, refused):
    assert {judge(name, *arguments) for arguments in passing} == {ALLOW}
    assert {judge(name, *arguments) for arguments in refused} == {EPERM}


def test_files_of_the_host_keep_their_modes_where_they_are_in_view(machine):
    strict, mild = filter_for(machine, host_files=True), filter_for(machine)
    for name in METADATA:
        number = NUMBERS[name][machine == "aarch64"]
        if number is not None:
            assert verdict(strict, machine, number) == EPERM
            assert verdict(mild, machine, number) == ALLOW


def test_signals_stay_in_the_group_where_nothing_else_keeps_them(machine):
    strict, mild = filter_for(machine, host_signals=True), filter_for(machine)
    kill = NUMBERS["kill"][machine == "aarch64"]
    assert verdict(strict, machine, kill, 0, 9) == ALLOW
    assert verdict(strict, machine, kill, 1234, 9) == EPERM
    assert verdict(strict, machine, kill, 2**32 - 1, 9) == EPERM
    assert verdict(mild, machine, kill, 1234, 9) == ALLOW
    assert verdict(strict, machine, NUMBERS["tgkill"][machine == "aarch64"]) == EPERM


def test_a_filter_fits_the_kernel(machine):
    assert len(filter_for(machine, host_files=True, host_signals=True)) // 8 <= 4096
    for _, jump_true, jump_false, _ in struct.iter_unpack("=HBBI", filter_for(machine)):
        assert max(jump_true, jump_false) < 256


def test_an_unknown_machine_has_no_filter():
    with pytest.raises(KeyError):
        filter_for("abacus")
