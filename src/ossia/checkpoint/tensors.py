"""The weights of an open checkpoint under the house's names, as views of the mapped files.

It does not know how the files were found, nor what the weights are used for.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from ossia.checkpoint.config import ModelConfig
from ossia.checkpoint.files import some
from ossia.checkpoint.layouts import Layout, StoredTensor, is_packed, our_shapes, stored_tensors
from ossia.checkpoint.safetensors import Array, SafetensorsFile
from ossia.checkpoint.values import check_finite, check_scales
from ossia.errors import CheckpointError


@dataclass(frozen=True, slots=True)
class Place:
    """Where one of our tensors lies."""

    file: SafetensorsFile
    stored: str
    rows: slice
    transposed: bool


class Tensors(Mapping[str, Array]):
    """Our names, in layer order, to read-only arrays that cost nothing until they are touched.

    Every access makes a new view. The dense layout's `gate_up_weight` and `down_weight` are
    transposed views and not contiguous; all others are.
    """

    def __init__(self, places: Mapping[str, Place]) -> None:
        self._places = places

    def __getitem__(self, name: str) -> Array:
        """The view; raises CheckpointError if its file was cut short since it was opened."""
        place = self._places[name]
        view = place.file.view(place.stored)[place.rows]
        return view.swapaxes(-1, -2) if place.transposed else view

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def source(self, name: str) -> str:
        """The file and the stored name behind one of our names, for messages."""
        place = self._places[name]
        return f"{place.file.path}: {place.stored}"

    def verify(self, name: str) -> None:
        """Read every value of the tensor and refuse what no weight may be.

        Raises:
            CheckpointError: NaN, infinity or a scale byte 255; MXFP4 blocks cannot be wrong.
        """
        if name.endswith("_scales"):
            check_scales(self[name], where=self.source(name))
        elif not name.endswith("_blocks"):
            check_finite(self[name], where=self.source(name))

    def verify_scales(self) -> None:
        """Look at every MXFP4 scale byte: 600 MB of a 20b, less than a twentieth of its bytes.

        Raises:
            CheckpointError: one is 255, which is not a number.
        """
        for name in self:
            if name.endswith("_scales"):
                self.verify(name)

    def release(self, name: str) -> None:
        """Give the tensor's resident pages back; a later access reads them again."""
        place = self._places[name]
        place.file.release(place.stored)

    def expect(self, names: Iterable[str]) -> None:
        """Have the system read these small ones into its cache, all at once, without waiting."""
        wanted: dict[SafetensorsFile, dict[str, list[slice]]] = {}
        for place in map(self._places.__getitem__, names):
            entry = place.file.entries[place.stored]
            whole = [slice(0, entry.end - entry.begin)]
            wanted.setdefault(place.file, {})[place.stored] = whole
        for file, pieces in wanted.items():
            file.expect(pieces)

    def evict(self, name: str) -> None:
        """Also ask the system to forget them: for what is not going to be read again soon."""
        place = self._places[name]
        place.file.evict(place.stored)


def place_tensors(
    files: Mapping[str, SafetensorsFile], config: ModelConfig, layout: Layout, where: str
) -> Tensors:
    """Hold what is stored against what the configuration asks for, and name it our way.

    Args:
        files: for every stored tensor, the file it lies in.
        config: says which tensors there must be, and their shapes.
        layout: says how they are named and cut.
        where: the folder or index, for the message.

    Raises:
        CheckpointError: a tensor is missing or unknown, or has another shape or type.
    """
    expected = {stored.name: stored for stored in stored_tensors(config, layout)}
    missing, unknown = expected.keys() - files.keys(), files.keys() - expected.keys()
    problems = [f"lacks {some(missing)}"] if missing else []
    problems += [f"has {some(unknown)}, unknown for gpt-oss"] if unknown else []
    if problems:
        raise CheckpointError(
            f"{where} {' and '.join(problems)}; config.json asks for exactly {len(expected)} "
            "tensors: fetch the whole checkpoint again, or correct config.json"
        )
    places = {}
    for stored in expected.values():
        file = files[stored.name]
        _check_entry(file, stored)
        first = 0
        for part in stored.parts:
            rows = slice(first, first + part.rows)
            places[part.name] = Place(file, stored.name, rows, stored.transposed)
            first += part.rows
    return Tensors({name: places[name] for name in our_shapes(config, packed=is_packed(layout))})


def _check_entry(file: SafetensorsFile, stored: StoredTensor) -> None:
    entry = file.entries[stored.name]
    if entry.shape != stored.shape:
        raise CheckpointError(
            f"{file.path}: {stored.name} has the shape {list(entry.shape)}, but config.json makes "
            f"it {list(stored.shape)}; the two do not belong together"
        )
    if entry.dtype not in stored.dtypes:
        raise CheckpointError(
            f"{file.path}: {stored.name} is of {entry.dtype}, not {' or '.join(stored.dtypes)}; "
            "save the model in one of these"
        )
