"""What is written: a folder of shards, each with the rows of some photos in their order, whole or not there.

``settings.json`` says what the rows depend on, ``summary.json``, written last, what came of it. The content depends on
photos, model and settings alone: there are no times, names of machines or numbers of workers in it.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from evsam.distributed.packages import needed
from evsam.distributed.tasks import Embed, Everything, PhotoTask, Predict, Row, embedding_columns
from evsam.embedding import embedding_shapes
from evsam.errors import EvsamError
from evsam.evaluation.runner import flat
from evsam.writing import replaced

if TYPE_CHECKING:
    import numpy.typing as npt

Container: TypeAlias = Literal["parquet", "webdataset"]

SUFFIXES: dict[Container, str] = {"parquet": ".parquet", "webdataset": ".tar"}
SETTINGS, SUMMARY = "settings.json", "summary.json"

_ARROW = "writing parquet"


def shard_path(folder: Path, number: int, container: Container) -> Path:
    """The file of a shard."""
    return folder / f"shard-{number:06d}{SUFFIXES[container]}"


def settle(folder: Path, settings: Mapping[str, Any]) -> None:
    """Keep the settings of a run, or make sure that what is there has the same ones.

    Raises:
        EvsamError: the folder has results of something else; the message says what differs.
        OSError: it cannot be written to.
    """
    path = folder / SETTINGS
    wanted = flat(json.loads(json.dumps(settings)))
    if not path.exists():
        write_json(path, settings)
    try:
        there = flat(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise EvsamError(f"{path}: expected json, got a damaged file ({error})") from error
    for name in [*wanted, *there]:
        if there.get(name) != wanted.get(name):
            raise EvsamError(
                f"--out: expected a folder whose {name} is {json.dumps(wanted.get(name))}, got {folder}, where it is "
                f"{json.dumps(there.get(name))}; choose another folder, or remove this one"
            )


def write_json(path: Path, document: Any) -> None:
    """A json file, whole or not at all."""
    with replaced(path) as temporary:
        temporary.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def write_shard(path: Path, task: PhotoTask, rows: Sequence[Row], container: Container) -> None:
    """Write rows, whole or not at all.

    Raises:
        BackendUnavailable: parquet without pyarrow.
        OSError: it cannot be written.
    """
    if container == "parquet":
        parquet = needed("pyarrow.parquet", _ARROW)
        table = make_table(task, rows)
        with replaced(path) as temporary:
            parquet.write_table(table, temporary, compression="zstd")
        return
    with replaced(path) as temporary, tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as tar:
        for number, row in enumerate(rows):
            for suffix, content in _files(row):
                # keys may have dots and slashes, by which WebDataset tells samples and folders apart: a number instead
                member = tarfile.TarInfo(f"{number:06d}.{suffix}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))


def read_shard(path: Path) -> list[Row]:
    """The rows of a shard, as they were given to :func:`write_shard`.

    Raises:
        BackendUnavailable: parquet without pyarrow.
        OSError: it cannot be read.
    """
    if path.suffix == SUFFIXES["webdataset"]:
        return _read_tar(path)
    # as a file: a path would be read as a data set, by which parts of it become columns
    with path.open("rb") as file:
        table = needed("pyarrow.parquet", "reading parquet").ParquetFile(file).read()
    columns: dict[str, Sequence[Any]] = {}
    for name in table.column_names:
        column = table.column(name)
        columns[name] = _tensors(column) if hasattr(column.type, "shape") else column.to_pylist()
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def read_rows(folder: str | Path) -> Iterator[Row]:
    """The rows of all photos of a finished run, in their order.

    Yields:
        Dicts: ``key``, ``error`` (None, or why there is nothing else), ``height``, ``width``, and the columns of
        :class:`evsam.distributed.Embed` (arrays), ``Predict`` or ``Everything`` (lists of dicts).

    Raises:
        EvsamError: the run is not finished.
        BackendUnavailable: parquet without pyarrow.
    """
    root = Path(folder)
    settings, summary = (_document(root / name) for name in (SETTINGS, SUMMARY))
    for number in range(summary["shards"]):
        yield from read_shard(shard_path(root, number, settings["container"]))


def _document(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise EvsamError(f"folder: expected that of a finished run, got {path.parent} without {path.name}") from error
    return found


def make_table(task: PhotoTask, rows: Sequence[Row]) -> Any:
    """Rows as a pyarrow table.

    Args:
        task: that they are of.
        rows: of photos.

    Raises:
        BackendUnavailable: pyarrow is not installed.
    """
    arrow = needed("pyarrow", _ARROW)
    names = ("key", "error", "height", "width")
    kinds = (arrow.string(), arrow.string(), arrow.int32(), arrow.int32())
    columns = {name: arrow.array([row[name] for row in rows], kind) for name, kind in zip(names, kinds, strict=True)}
    if isinstance(task, Embed):
        shapes = embedding_shapes(task.sam.variant)
        for name, shape in zip(embedding_columns(len(shapes)), shapes, strict=True):
            columns[name] = _tensor_column(arrow, [row.get(name) for row in rows], shape)
    else:
        columns["masks"] = arrow.array([row.get("masks") for row in rows], _mask_type(arrow, task))
    return arrow.table(columns)


def _mask_type(arrow: Any, task: PhotoTask) -> Any:
    box, real = arrow.list_(arrow.int32()), arrow.float64()
    shared = [("area", arrow.int64()), ("bbox", box)]
    if isinstance(task, Predict):
        fields = [("prompt", arrow.int32()), ("score", real), *shared]
    elif isinstance(task, Everything):
        scores = [("predicted_iou", real), ("stability_score", real)]
        fields = [*scores, *shared, ("point", arrow.list_(real)), ("crop_box", box)]
    else:
        raise EvsamError(f"task: expected Embed, Predict or Everything, got {type(task).__name__}")
    return arrow.list_(arrow.struct([*fields, ("counts", arrow.string())]))


def _tensor_column(arrow: Any, arrays: Sequence[npt.NDArray[np.float16] | None], shape: tuple[int, ...]) -> Any:
    """A column of tensors of one shape, null for None."""
    zero = np.zeros(shape, np.float16)
    values = np.stack([zero if array is None else array for array in arrays]) if arrays else np.zeros((0, *shape))
    missing = arrow.array([array is None for array in arrays], arrow.bool_())
    flat_values = arrow.array(values.astype(np.float16).reshape(-1))
    storage = arrow.FixedSizeListArray.from_arrays(flat_values, zero.size, mask=missing)
    return arrow.ExtensionArray.from_storage(arrow.fixed_shape_tensor(arrow.float16(), shape), storage)


def _tensors(column: Any) -> list[npt.NDArray[np.float16] | None]:
    return [np.array(value.to_numpy()) if value.is_valid else None for value in column]


def _files(row: Row) -> Iterator[tuple[str, bytes]]:
    """Files of a row in a tar: json, and an npy file for each array."""
    plain = {name: value for name, value in row.items() if not isinstance(value, np.ndarray)}
    yield "json", json.dumps(plain, separators=(",", ":")).encode()
    for name, value in row.items():
        if isinstance(value, np.ndarray):
            content = io.BytesIO()
            np.lib.format.write_array(content, value, allow_pickle=False)
            yield f"{name}.npy", content.getvalue()


def _read_tar(path: Path) -> list[Row]:
    rows: dict[str, Row] = {}
    with tarfile.open(path, "r:") as tar:
        for member in tar:
            number, _, suffix = member.name.partition(".")
            file = tar.extractfile(member)
            content = file.read() if file is not None else b""
            row = rows.setdefault(number, {})
            if suffix == "json":
                row.update(json.loads(content))
            else:
                row[suffix.removesuffix(".npy")] = np.load(io.BytesIO(content), allow_pickle=False)
    return list(rows.values())
