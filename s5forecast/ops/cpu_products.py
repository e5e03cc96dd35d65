"""Products of a few hundred rows with a matrix that stays in the cache.

They keep up with a BLAS at the shapes of a layer, and start no threads inside those of cpu_pool.py.
"""

from typing import Any

import numba

from s5forecast.ops.cpu_rows import ANY, GROUPS, INNER, Array, row

ROWS = 32  # of the result, which stay in the cache next to the core while terms are added
PANEL = 64  # columns for which the innermost loop is unrolled
OUT, OTHER_OUT, MATRIX = (GROUPS + group for group in range(3))  # a domain of their own


@numba.njit(**INNER, forceinline=True)
def add_terms(o: Any, p: Any, l: Any, i: int, j: int, c: int, w: Any, columns: int) -> None:
    """Eight terms to each of the rows `o` and `p`: as many factors as registers hold, and more products than loads."""
    w0, w1, w2, w3, w4, w5, w6, w7 = w
    a0, a1, a2, a3 = l[i], l[i + c], l[i + 2 * c], l[i + 3 * c]
    a4, a5, a6, a7 = l[i + 4 * c], l[i + 5 * c], l[i + 6 * c], l[i + 7 * c]
    b0, b1, b2, b3 = l[j], l[j + c], l[j + 2 * c], l[j + 3 * c]
    b4, b5, b6, b7 = l[j + 4 * c], l[j + 5 * c], l[j + 6 * c], l[j + 7 * c]
    for n in range(columns):
        s0, s1, s2, s3, s4, s5, s6, s7 = w0[n], w1[n], w2[n], w3[n], w4[n], w5[n], w6[n], w7[n]
        o[n] = o[n] + a0 * s0 + a1 * s1 + a2 * s2 + a3 * s3 + a4 * s4 + a5 * s5 + a6 * s6 + a7 * s7
        p[n] = p[n] + b0 * s0 + b1 * s1 + b2 * s2 + b3 * s3 + b4 * s4 + b5 * s5 + b6 * s6 + b7 * s7


@numba.njit(**INNER)
def add_product(out: Array, left: Array, right: Array, across: int, down: int) -> None:
    """`out [M, N] += left [M, K] right [K, N]`, all contiguous.

    From one row of `left` to the next it is `across` numbers, `down` along a row: `K` and 1, or 1 and `M` for `left.T`.
    """
    rows, columns, inner = out.shape[0], out.shape[1], right.shape[0]
    l, whole = row(left, ANY, 0), inner - inner % 8
    for top in range(0, rows, ROWS):
        bottom = min(top + ROWS, rows)
        for k in range(0, whole, 8):
            for panel in range(0, columns, PANEL):
                at = k * columns + panel
                w0, w1 = row(right, MATRIX, at), row(right, MATRIX, at + columns)
                w2, w3 = row(right, MATRIX, at + 2 * columns), row(right, MATRIX, at + 3 * columns)
                w4, w5 = row(right, MATRIX, at + 4 * columns), row(right, MATRIX, at + 5 * columns)
                w6, w7 = row(right, MATRIX, at + 6 * columns), row(right, MATRIX, at + 7 * columns)
                w = w0, w1, w2, w3, w4, w5, w6, w7
                for m in range(top, bottom - 1, 2):
                    first = m * columns + panel
                    o, p = row(out, OUT, first), row(out, OTHER_OUT, first + columns)
                    i = m * across + k * down
                    if columns - panel >= PANEL:
                        add_terms(o, p, l, i, i + across, down, w, PANEL)
                    else:
                        add_terms(o, p, l, i, i + across, down, w, columns - panel)
        for m in range(top, bottom):
            o = row(out, OUT, m * columns)
            for k in range(0 if m == bottom - 1 and (bottom - top) % 2 else whole, inner):
                factor, w0 = l[m * across + k * down], row(right, MATRIX, k * columns)
                for n in range(columns):
                    o[n] += factor * w0[n]


@numba.njit(**INNER)
def clear(values: Array) -> None:
    for m in range(values.shape[0]):
        for n in range(values.shape[1]):
            values[m, n] = 0
