"""Prepared weights: a backend's repacked arrays in one file, mapped at later starts.

The format is safetensors with checksums and the digest of the source in the header. It
does not know what the arrays mean.
"""

import hashlib
import json
import re
import shutil
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ossia.checkpoint.files import parse_json, short, some, written_atomically
from ossia.checkpoint.safetensors import DTYPES, Array, SafetensorsFile
from ossia.errors import CheckpointError
from ossia.files import file_lock

KIND, VERSION = "ossia prepared weights", "1"
PAGE, ALIGNMENT = 4096, 64
SUFFIX = ".prepared"
_GAP = "gap."
"""Prefix of the names of padding that aligns the next array to `ALIGNMENT`."""
_LINE_BYTES = 320
"""Bytes of header reserved per array: its entry, checksums, and padding."""


def prepared_path(folder: Path, source: Path, layout: str) -> Path:
    """Return the path of the prepared weights of a checkpoint folder in a layout.

    Args:
        folder: of all prepared files.
        source: the checkpoint's folder; the name depends on its path, not its contents.
        layout: see `Ops.layout`.
    """
    return folder / f"{_stem(source)}.{layout}{SUFFIX}"


def source_digest(files: Iterable[Path]) -> str:
    """Digest a checkpoint's headers, sizes, dates and a page of each tensor.

    A fine-tune has the headers and sizes of its origin; a page in the middle of each tensor and
    the date of the file distinguish them without reading all of it.
    """
    digest = hashlib.sha256()
    for path in files:
        file, facts = SafetensorsFile(path), path.stat()
        line = [path.name, facts.st_size, facts.st_mtime_ns, [*file.metadata.items()]]
        digest.update(repr(line).encode())
        middles = {name: _pages(entry.end - entry.begin)[1] for name, entry in file.entries.items()}
        file.prefetch({name: [middle] for name, middle in middles.items()})
        for name, middle in middles.items():
            digest.update(repr((name, file.entries[name])).encode())
            digest.update(_bytes(file.view(name))[middle].data)
    return digest.hexdigest()


class PreparedFile:
    """A checked, mapped, read-only file of prepared weights; its arrays keep the mapping alive."""

    def __init__(self, path: Path, *, layout: str, source: str) -> None:
        """Map the file, check its header and three pages of every array.

        Args:
            path: of the file.
            layout: that the arrays must have.
            source: digest of the checkpoint they must come from.

        Raises:
            CheckpointError: it is damaged, of another version or layout, or of another source.
        """
        self.path = path
        self._file = SafetensorsFile(path)
        found = [self._file.metadata.get(key) for key in ("kind", "version", "layout", "source")]
        for what, is_there, expected in zip(
            ("kind", "version", "layout", "source"),
            found,
            (KIND, VERSION, layout, source),
            strict=True,
        ):
            if is_there != expected:
                raise CheckpointError(
                    f"{path} is out of date: its {what} is {short(is_there)}, now it is "
                    f"{short(expected)}"
                )
        self.names = tuple(name for name in self._file.entries if not name.startswith(_GAP))
        self._checksums = self._read_checksums()
        entries = self._file.entries
        self._file.prefetch({n: _pages(entries[n].end - entries[n].begin) for n in self.names})
        for name in self.names:
            self._compare(name, 1, _sampled_checksum(self._file.view(name)))

    @property
    def num_bytes(self) -> int:
        """Bytes of the arrays."""
        return self._file.tensor_bytes

    def view(self, name: str) -> Array:
        """Return an array, read-only, over the mapped file.

        Raises:
            KeyError: there is no such array.
            CheckpointError: the file was truncated since it was opened.
        """
        return self._file.view(name)

    def verify(self, on_array: Callable[[str], None] = lambda name: None) -> None:
        """Read the whole file and compare every checksum.

        Args:
            on_array: called with the name of each verified array.

        Raises:
            CheckpointError: names the first array that is damaged.
        """
        for name in self.names:
            self._compare(name, 0, zlib.crc32(_bytes(self._file.view(name)).data))
            self._file.release(name)
            on_array(name)

    def _read_checksums(self) -> dict[str, list[int]]:
        text = self._file.metadata.get("checksums", "")
        found = parse_json(text.encode(), f"the list of checksums of {self.path}")
        if found.keys() != set(self.names) or not all(
            isinstance(pair, list) and len(pair) == 2 for pair in found.values()
        ):
            raise CheckpointError(f"{self.path} is damaged: its checksums are not of its arrays")
        return found

    def _compare(self, name: str, place: int, checksum: int) -> None:
        expected = self._checksums[name][place]
        if checksum != expected:
            raise CheckpointError(
                f"{self.path} is damaged: {short(name)} has the checksum {checksum}, not {expected}"
            )


class ArrayWriter:
    """Writes the arrays of a prepared file."""

    def __init__(self, file: BinaryIO, max_arrays: int) -> None:
        self._file = file
        # The header comes last: until then the file begins with zeros.
        self._start = -(-(2 * PAGE + _LINE_BYTES * max_arrays) // PAGE) * PAGE
        self._end = 0
        self._entries: dict[str, object] = {}
        self._checksums: dict[str, tuple[int, int]] = {}
        file.seek(self._start)

    def add(self, name: str, array: Array) -> None:
        """Write one array; it does not stay in memory.

        Raises:
            ValueError: the name is a duplicate, or the format lacks the type.
        """
        if name in self._entries or name.startswith(_GAP):
            raise ValueError(f"the name {name!r} stands twice")
        if gap := -self._end % ALIGNMENT:
            self._put(f"{_GAP}{name}", np.zeros(gap, np.uint8))
        raw = self._put(name, np.ascontiguousarray(array))
        self._checksums[name] = zlib.crc32(raw.data), _sampled_checksum(raw)

    def finish(self, facts: dict[str, str]) -> None:
        """Write the header."""
        checksums = json.dumps(self._checksums, separators=(",", ":"))
        entries = {"__metadata__": facts | {"checksums": checksums}} | self._entries
        header = json.dumps(entries, separators=(",", ":")).encode()
        assert len(header) <= self._start - 8, "more or longer names than there was room for"
        self._file.seek(0)
        self._file.write((self._start - 8).to_bytes(8, "little"))
        self._file.write(header.ljust(self._start - 8))

    def _put(self, name: str, array: Array) -> Array:
        dtype = next((known for known, kind in DTYPES.items() if kind == array.dtype), None)
        if dtype is None:
            raise ValueError(f"{name} is {array.dtype}; expected one of {some(DTYPES)}")
        raw, begin = _bytes(array), self._end
        self._end += self._file.write(raw.data)
        shape, offsets = list(array.shape), [begin, self._end]
        self._entries[name] = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
        return raw


@contextmanager
def prepared_writer(
    path: Path, *, layout: str, source: str, model: Path, max_arrays: int
) -> Iterator[ArrayWriter]:
    """Write a prepared file atomically.

    Args:
        path: of the file; its folder must exist.
        layout: of the arrays.
        source: digest of the checkpoint they come from.
        model: the checkpoint's folder, for information.
        max_arrays: no more may be added.

    Raises:
        CheckpointError: the file cannot be written.
    """
    with written_atomically(path) as file:
        writer = ArrayWriter(file, max_arrays)
        yield writer
        facts = {"kind": KIND, "version": VERSION, "layout": layout, "source": source}
        writer.finish(facts | {"model": str(model)[:PAGE]})


@contextmanager
def exclusive_writer(path: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """Lock a file for writing; wait for another process that writes it.

    Leftovers of killed writers are removed. The lock ends with its process.

    Args:
        path: of the file to write; its folder is created.
        on_wait: called once if another process is writing it.

    Raises:
        OSError: the folder cannot be created or written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with file_lock(_lock_path(path), on_wait, is_private=False):
        for partial in _partials(path):
            partial.unlink(missing_ok=True)
        yield


def check_space(path: Path, num_bytes: int) -> None:
    """Check the free disk space for a prepared file.

    Raises:
        CheckpointError: there is too little space.
    """
    free = shutil.disk_usage(path.parent).free
    if free < num_bytes:
        raise CheckpointError(
            f"{path.parent} has {free / 1e9:.1f} GB free, but the prepared weights need "
            f"{num_bytes / 1e9:.1f}; free some space, choose another folder with "
            "--prepared-folder, or keep them in memory with --no-prepare"
        )


def remove_prepared(folder: Path, source: Path) -> int:
    """Delete the prepared files of one checkpoint, and leftovers of killed writers.

    Waits for a process that is writing one.

    Returns:
        The number of freed bytes.

    Raises:
        OSError: the folder cannot be written.
    """
    partials = folder.glob(f".{_stem(source)}.*.partial")
    begun = [folder / partial.name[1:].rsplit(".", 2)[0] for partial in partials]
    freed = 0
    for path in {*prepared_files(folder, source), *begun}:
        freed += sum(each.stat().st_size for each in [*_partials(path), path] if each.exists())
        with exclusive_writer(path, lambda: None):
            path.unlink(missing_ok=True)
            _lock_path(path).unlink()
    return freed


def prepared_files(folder: Path, source: Path | None = None) -> list[Path]:
    """List the prepared files in a folder, which may be missing; or those of one checkpoint."""
    return sorted(folder.glob(f"{'*' if source is None else _stem(source)}.*{SUFFIX}"))


def _stem(source: Path) -> str:
    real = source.resolve()
    named = real.parent.parent if real.parent.name == "snapshots" else real
    readable = re.sub(r"[^A-Za-z0-9_-]+", "-", named.name)[:60]
    digest = hashlib.sha256(str(real).encode("utf-8", "surrogateescape")).hexdigest()[:12]
    return f"{readable}-{digest}"


def _lock_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


def _partials(path: Path) -> list[Path]:
    return list(path.parent.glob(f".{path.name}.*.partial"))


def _bytes(array: Array) -> Array:
    return array.reshape(-1).view(np.uint8)


def _pages(num_bytes: int) -> list[slice]:
    """Return the first, middle and last page of an array; a small one's overlap."""
    last = max(0, num_bytes - PAGE)
    return [slice(at, min(at + PAGE, num_bytes)) for at in (0, last // 2, last)]


def _sampled_checksum(array: Array) -> int:
    raw, checksum = _bytes(array), 0
    for page in _pages(len(raw)):
        checksum = zlib.crc32(raw[page].data, checksum)
    return checksum
