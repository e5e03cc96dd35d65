"""The dataset of Arrow that a path describes, and checks of the columns of its files."""

from __future__ import annotations

from collections.abc import Sequence
from glob import glob, has_magic
from pathlib import Path
from typing import Any

from s5forecast.data.record_batches import is_filtered


def open_dataset(source: Any) -> Any:
    """The dataset of Arrow that a source describes, whose columns have types for the values of all files.

    Raises:
        ImportError: if pyarrow is not installed.
        ValueError: if there are no files, or others than those of Parquet.
    """
    try:
        import pyarrow.dataset as ds
    except ImportError as error:
        raise ImportError("data on disk require pyarrow: pip install 's5forecast[disk]'") from error
    if not isinstance(source, str | Path):
        return source
    files = _files(str(source))
    paths: Any = files if len(files) > 1 else files[0]
    try:
        found = ds.dataset(paths, format="parquet", partitioning="hive")
        return ds.dataset(paths, format="parquet", partitioning="hive", schema=_common_schema(found))
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{str(source)!r} cannot be read as Parquet ({error}); read other files with pandas, or pass a "
            "pyarrow.dataset.dataset(path, format=...)"
        ) from error


def check_columns(dataset: Any, names: Sequence[str], what: str, *, same_types: bool) -> None:
    """Raise ValueError for a file that lacks a column, whose values Arrow would take as missing.

    Args:
        dataset: dataset of Arrow.
        names: names of the columns.
        what: name of the data in error messages.
        same_types: whether a type that has no common type with those of other files is an error, too.
    """
    for path, types in _types_by_file(dataset):
        for name in names:
            if name not in types:
                raise ValueError(f"{what}: the file {path} has no column {name!r}, unlike others; add it")
            wanted = dataset.schema.field(name).type
            if same_types and types[name] is not None and _common_type([wanted, types[name]]) is None:
                raise ValueError(
                    f"{what}: column {name!r} is {types[name]} in the file {path}, and {wanted} in others; store it "
                    "with the same type in all files"
                )


def _common_schema(dataset: Any) -> Any:
    """The columns of all files, each with the type that holds their values, or its first type if there is none."""
    import pyarrow as pa

    types: dict[str, list[Any]] = {field.name: [] for field in dataset.schema}
    for _, found in _types_by_file(dataset):
        for name, kind in found.items():
            types.setdefault(name, []).append(dataset.schema.field(name).type if kind is None else kind)
    return pa.schema([(name, _common_type(kinds) or kinds[0]) for name, kinds in types.items() if kinds])


def _types_by_file(dataset: Any) -> list[tuple[str, dict[str, Any]]]:
    """Path and types of the columns of each file; ``None`` for a column that the path of the file gives."""
    from pyarrow.dataset import get_partition_keys

    if not hasattr(dataset, "files") or is_filtered(dataset):
        return []
    return [
        (
            fragment.path,
            {field.name: field.type for field in fragment.physical_schema}
            | dict.fromkeys(get_partition_keys(fragment.partition_expression)),
        )
        for fragment in dataset.get_fragments()
    ]


def _common_type(types: Sequence[Any]) -> Any:
    """The type that holds values of all types; ``None`` if there is none."""
    import pyarrow as pa

    found = list(dict.fromkeys(map(_plain, types)))
    if len(found) == 1:
        return types[0] if len(set(types)) == 1 and not _is_view(types[0]) else found[0]
    try:
        schemas = [pa.schema([("column", one)]) for one in found]
        return pa.unify_schemas(schemas, promote_options="permissive").field(0).type
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return None


def _plain(kind: Any) -> Any:
    """The type of the values of a dictionary; text in place of views of text, which few functions of Arrow take."""
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return pa.string() if _is_view(kind) else kind


def _is_view(kind: Any) -> bool:
    import pyarrow as pa

    return bool(kind == pa.string_view())


def _files(path: str) -> list[str]:
    found = sorted(glob(path, recursive=True)) if has_magic(path) and not Path(path).exists() else [path]
    if not found or not Path(found[0]).exists():
        raise ValueError(f"there is no file, folder or pattern of files {path!r}")
    return found
