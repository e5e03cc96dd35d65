"""Products of matrices that fit in the cache.

They run near the peak of a core for the shapes of a layer, and start no threads of their own.
"""

from collections.abc import Callable
from typing import Any

import numba
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from s5forecast.ops.cpu.rows import ANY, INNER, Array, row

HEIGHT = 6  # rows of a block: the sums fit in 16 registers of half a cache line and are enough to hide the latency
WIDTHS = 64, 16, 4  # bytes of a row of a block


def _add_block(
    typingctx: Any, out: Any, left: Any, right: Any, across: Any, down: Any, shape: Any, width: Any
) -> tuple[Any, Callable[..., Any]]:
    """`out += left right` for up to `HEIGHT` rows of `width` bytes, summed in registers.

    The block is the upper left corner of `out [M, N]`, `right` is `[K, N]`, and `shape` is `M, N, K`, all positive.
    """
    size = out.dtype.bitwidth // 8
    columns = max(1, width.literal_value // size)

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        out, left, right, across, down, shape, _ = arguments
        number, index = context.get_value_type(signature.args[0].dtype), context.get_value_type(types.intp)
        vector, lanes = ir.VectorType(number, columns), ir.VectorType(ir.IntType(32), columns)
        rows, stride, inner = (builder.extract_value(shape, i) for i in range(3))

        def place(pointer: Any) -> Any:
            return builder.bitcast(pointer, vector.as_pointer())

        # Rows beyond the last one repeat the last one, so that all of them store the same sum.
        last = builder.sub(rows, index(1))
        at = [builder.select(builder.icmp_signed("<", index(r), last), index(r), last) for r in range(HEIGHT)]
        outs = [place(builder.gep(out, [builder.mul(r, stride)])) for r in at]
        lefts = [builder.gep(left, [builder.mul(r, across)]) for r in at]
        starts = [builder.load(pointer, align=size) for pointer in outs]

        entry, body, after = builder.block, builder.append_basic_block("terms"), builder.append_basic_block("stores")
        builder.branch(body)
        builder.position_at_end(body)
        k, sums = builder.phi(index), [builder.phi(vector) for _ in at]
        terms = builder.load(place(builder.gep(right, [builder.mul(k, stride)])), align=size)
        added = []
        for total, pointer in zip(sums, lefts, strict=True):
            factor = builder.load(builder.gep(pointer, [builder.mul(k, down)]))
            first = builder.insert_element(vector(ir.Undefined), factor, ir.IntType(32)(0))
            factors = builder.shuffle_vector(first, vector(ir.Undefined), lanes([0] * columns))
            product = builder.fmul(factors, terms, flags=("contract",))
            added.append(builder.fadd(total, product, flags=("contract",)))
        following = builder.add(k, index(1))
        for phi, start, value in zip([k, *sums], [index(0), *starts], [following, *added], strict=True):
            phi.add_incoming(start, entry)
            phi.add_incoming(value, body)
        builder.cbranch(builder.icmp_signed("<", following, inner), body, after)
        builder.position_at_end(after)
        for pointer, total in zip(outs, added, strict=True):
            builder.store(total, pointer, align=size)
        return context.get_dummy_value()

    return types.none(out, left, right, across, down, shape, width), generate


add_block: Any = intrinsic(prefer_literal=True)(_add_block)


def _panels(width: int) -> Callable[..., int]:
    @numba.njit(**INNER)
    def add(out: Array, left: Array, right: Array, across: int, down: int, start: int) -> int:
        rows, columns, inner = out.shape[0], out.shape[1], right.shape[0]
        size = max(1, width // out.itemsize)
        while columns - start >= size:
            for m in range(0, rows, HEIGHT):
                o, l = row(out, ANY, m * columns + start), row(left, ANY, m * across)
                add_block(o, l, row(right, ANY, start), across, down, (rows - m, columns, inner), width)
            start += size
        return start

    return add


add_64, add_16, add_4 = map(_panels, WIDTHS)


@numba.njit(**INNER)
def add_product(out: Array, left: Array, right: Array, across: int, down: int) -> None:
    """`out [M, N] += left [M, K] right [K, N]`, all contiguous.

    The strides of `left` are `across` (between rows) and `down` (along a row): `K` and 1, or 1 and `M` for `left.T`.
    """
    if right.shape[0] == 0:
        return
    start = add_64(out, left, right, across, down, 0)
    start = add_16(out, left, right, across, down, start)
    add_4(out, left, right, across, down, start)


@numba.njit(**INNER)
def clear(values: Array) -> None:
    """Fill a matrix with zeros."""
    for m in range(values.shape[0]):
        for n in range(values.shape[1]):
            values[m, n] = 0
