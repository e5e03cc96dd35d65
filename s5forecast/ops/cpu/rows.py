"""Building blocks of the CPU kernels: compiler options, the decorator `kernel`, and rows.

A row is a pointer into an array. The compiler is told that rows of different groups never overlap. Without this
information it would check all pairs of rows at every time step before vectorizing, which takes longer than the
arithmetic.

Groups are divided into domains of `GROUPS` groups each, and rows of different domains may overlap. Rows of the group
`ANY` may overlap with all other rows.
"""

import operator
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numba import types
from numba.extending import intrinsic, lower_builtin, models, register_model, type_callable
from numpy.typing import NDArray

Array = NDArray[np.floating]
Part = tuple[int, int, int, int, bool]  # first, last, start, stop, carry_only

# Without "nnan" and "ninf", because NaN must propagate, and without "reassoc", which would undo the rounding tricks.
OPTIONS: Any = {
    "nogil": True,
    "error_model": "numpy",
    "fastmath": {"contract", "nsz", "arcp"},
    "no_cfunc_wrapper": True,
}
INNER: Any = {**OPTIONS, "no_cpython_wrapper": True}  # for functions that only kernels call
FLUSH = 64  # steps summed in the dtype of the input before they are added to the float64 sums
GROUPS = 40
ANY = 1000


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a kernel as :func:`cached` does."""
    return cached(function, **OPTIONS)


def cached(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """Compile a function on its first call; cache the machine code on disk if a directory is writable."""
    try:
        compiled = numba.njit(cache=True, **options)(function)
    except RuntimeError:
        return numba.njit(**options)(function)
    # By default, Numba only detects changes in the file of the function itself.
    compiled._cache._cache_file._source_stamp = source_stamp(Path(function.__code__.co_filename))
    compiled._cache.save_overload = _if_possible(compiled._cache.save_overload)
    return compiled


def _if_possible(save: Callable[..., None]) -> Callable[..., None]:
    """Ignore a disk that is full or read-only: the call succeeds, and the next process compiles again."""

    def attempt(*arguments: Any) -> None:
        with suppress(OSError):
            save(*arguments)

    return attempt


def source_stamp(kernel_file: Path) -> tuple[tuple[str, float, int], ...]:
    """Names, modification times and sizes of the files that a kernel is compiled from."""
    files = sorted({*Path(__file__).parent.glob("*.py"), kernel_file})
    return tuple((file.name, file.stat().st_mtime, file.stat().st_size) for file in files)


class Row(types.Type):
    """The type of a pointer to numbers of `dtype`; rows of different groups never overlap."""

    def __init__(self, dtype: types.Type, group: int) -> None:
        self.dtype = dtype
        self.group = group
        super().__init__(name=f"Row({dtype}, {group})")


register_model(Row)(models.PointerModel)


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, offset: Any) -> Any:
    return builder.gep(context.make_array(array_type)(context, builder, array).data, [offset])


def _row(typingctx: Any, array: Any, group: Any, offset: Any) -> Any:
    """The row that starts at `offset` in a contiguous array."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _pointer(context, builder, signature.args[0], arguments[0], arguments[2])

    return Row(array.dtype, group.literal_value)(array, group, types.intp), generate


def _planes(typingctx: Any, array: Any, group: Any, offset: Any, states: Any) -> Any:
    """The real and the imaginary row of `states` numbers each, starting at `offset`; they use two groups."""
    pair = types.Tuple([Row(array.dtype, group.literal_value + plane) for plane in range(2)])

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, _, offset, states = arguments
        offsets = (offset, builder.add(offset, states))
        rows = [_pointer(context, builder, signature.args[0], array, start) for start in offsets]
        return context.make_tuple(builder, signature.return_type, rows)

    return pair(array, group, types.intp, types.intp), generate


row: Any = intrinsic(prefer_literal=True)(_row)
planes: Any = intrinsic(prefer_literal=True)(_planes)


def _annotate(builder: Any, instruction: Any, group: int) -> None:
    if group == ANY:
        return
    module, (domain_number, group) = builder.module, divmod(group, GROUPS)
    domain = module.add_metadata([f"s5forecast rows {domain_number}"])
    scopes = [module.add_metadata([f"group {k}", domain]) for k in range(GROUPS)]
    instruction.set_metadata("alias.scope", module.add_metadata([scopes.pop(group)]))
    instruction.set_metadata("noalias", module.add_metadata(scopes))


@type_callable(operator.getitem)
def _(context: Any) -> Any:
    return lambda row, index: row.dtype if isinstance(row, Row) else None


@type_callable(operator.setitem)
def _(context: Any) -> Any:
    return lambda row, index, value: types.none if isinstance(row, Row) else None


@lower_builtin(operator.getitem, Row, types.Integer)
def _(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    pointer, index = arguments
    value = builder.load(builder.gep(pointer, [index]))
    _annotate(builder, value, signature.args[0].group)
    return value


@lower_builtin(operator.setitem, Row, types.Integer, types.Float)
def _(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    pointer, index, value = arguments
    value = context.cast(builder, value, signature.args[2], signature.args[0].dtype)
    _annotate(builder, builder.store(value, builder.gep(pointer, [index])), signature.args[0].group)
    return context.get_dummy_value()
