"""The first layer of the pendulum's image encoder in one pass: 5 x 5 convolution, 2 x 2 max pool and ReLU of bytes.

One input channel makes this a layer of much memory and little arithmetic, which took nine tenths of a training step as
three operators: 11 million values between them for a batch of 1,600 images. Here they stay in the cache, and only the
place of each maximum is kept for the backward pass.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor, nn

SIZE, KERNEL, POOLED = 24, 5, 12
MARGIN = KERNEL // 2
PADDED = SIZE + 2 * MARGIN
NOWHERE = 4  # the maximum is negative: no gradient


@numba.njit(nogil=True, fastmath=True, cache=True)
def _pad(image, padded):
    for y in range(SIZE):
        for x in range(SIZE):
            padded[y + MARGIN, x + MARGIN] = image[y, x] * np.float32(1 / 255)


@numba.njit(nogil=True, fastmath=True, cache=True)
def _convolve_row(padded, y, weight, row):
    for x in range(SIZE):
        total = np.float32(0.0)
        for i in range(KERNEL):
            for j in range(KERNEL):
                total += weight[i, j] * padded[y + i, x + j]
        row[x] = total


@numba.njit(nogil=True, fastmath=True, cache=True)
def _forward(images, weight, bias, out, place):
    padded = np.zeros((PADDED, PADDED), np.float32)
    above, below = np.empty(SIZE, np.float32), np.empty(SIZE, np.float32)
    for n in range(images.shape[0]):
        _pad(images[n], padded)
        for c in range(weight.shape[0]):
            for y in range(POOLED):
                _convolve_row(padded, 2 * y, weight[c], above)
                _convolve_row(padded, 2 * y + 1, weight[c], below)
                for x in range(POOLED):
                    left = max(above[2 * x], below[2 * x])
                    right = max(above[2 * x + 1], below[2 * x + 1])
                    largest = max(left, right) + bias[c]
                    lower = below[2 * x] > above[2 * x] if left >= right else below[2 * x + 1] > above[2 * x + 1]
                    out[n, y, x, c] = max(largest, np.float32(0.0))
                    place[n, y, x, c] = 2 * lower + (right > left) if largest > 0 else NOWHERE


@numba.njit(nogil=True, fastmath=True, cache=True)
def _backward(images, place, upstream, weight, bias):
    padded = np.zeros((PADDED, PADDED), np.float32)
    spread = np.zeros((SIZE, PADDED), np.float32)  # rows as wide as those of the image, so that both are one sequence
    for n in range(images.shape[0]):
        _pad(images[n], padded)
        pixels = padded.reshape(-1)
        for c in range(weight.shape[0]):
            spread[:] = 0
            for y in range(POOLED):
                for x in range(POOLED):
                    where = place[n, y, x, c]
                    if where != NOWHERE:
                        spread[2 * y + where // 2, 2 * x + where % 2] = upstream[n, y, x, c]
                        bias[c] += upstream[n, y, x, c]
            gradient = spread.reshape(-1)[: SIZE * PADDED - 2 * MARGIN]
            for i in range(KERNEL):
                for j in range(KERNEL):
                    total = np.float32(0.0)
                    shift = i * PADDED + j
                    for k in range(gradient.shape[0]):
                        total += gradient[k] * pixels[shift + k]
                    weight[c, i, j] += total


class _ConvolvePool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        shape = (len(images), POOLED, POOLED, len(weight))
        out, place = torch.empty(shape), torch.empty(shape, dtype=torch.uint8)
        _forward(*(t.detach().numpy() for t in (images, weight, bias, out, place)))
        ctx.save_for_backward(images, place)
        return out

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[None, Tensor, Tensor]:
        images, place = ctx.saved_tensors
        channels = upstream.shape[-1]
        weight, bias = torch.zeros(channels, KERNEL, KERNEL), torch.zeros(channels)
        _backward(*(t.numpy() for t in (images, place, upstream.contiguous(), weight, bias)))
        return None, weight, bias


class ConvolvePool(nn.Module):
    """``relu(max_pool(conv(image / 255)))`` of bytes ``[N, 24, 24]`` to float32 ``[N, 12, 12, channels]``, on a CPU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, KERNEL, KERNEL))
        self.bias = nn.Parameter(torch.zeros(channels))
        nn.init.trunc_normal_(self.weight, std=1 / KERNEL, a=-2 / KERNEL, b=2 / KERNEL)

    def forward(self, images: Tensor) -> Tensor:
        return _ConvolvePool.apply(images, self.weight, self.bias)
