"""How much one interpreter may use; who enforces each bound is said where it is enforced."""

from dataclasses import dataclass

MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of one interpreter and of one cell."""

    wall_seconds: float = 120.0
    """Of a cell; the models were told so."""
    cpu_seconds: float = 60.0
    """Of a cell, all its processes together."""
    address_bytes: int = 2048 * MIB
    """Address space of each process."""
    rss_bytes: int = 1024 * MIB
    """Memory of all processes together, looked at five times a second."""
    processes: int = 32
    descriptors: int = 128
    file_bytes: int = 64 * MIB
    data_bytes: int = 256 * MIB
    """Of /mnt/data."""
    temporary_bytes: int = 64 * MIB
    """Of the folder for temporary files, and as much again of shared memory."""
    files: int = 65_536
    """Of one folder: an empty file costs memory too."""
    code_bytes: int = 256 << 10
    output_bytes: int = 1 * MIB
    """A cell that writes more is stopped."""
    grace_seconds: float = 2.0
    """Between the interrupt and the end."""
    niceness: int = 10
    """How far cells stand back behind the engine, from 0 to 19."""
