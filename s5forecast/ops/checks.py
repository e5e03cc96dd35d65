"""Checks of the arguments of the operators; the kernels do not check bounds."""

import torch
from torch import Tensor
from torch.autograd import forward_ad

from s5forecast.ops import backends


def fuses(backend: str, *tensors: Tensor | None) -> bool:
    """Whether the fused operators accept these tensors: all float32 or all float64, on the CPU, outside autocast."""
    given = [tensor for tensor in tensors if tensor is not None]
    dtype = given[0].dtype
    return (
        backends.HAS_NUMBA
        and backend in ("auto", "cpu")
        and dtype in (torch.float32, torch.float64)
        and all(tensor.dtype == dtype and tensor.device.type == "cpu" for tensor in given)
        and not torch.is_autocast_enabled("cpu")
    )


def check_fused(operator: str, *tensors: Tensor | None) -> None:
    if not fuses("cpu", *tensors):
        raise ValueError(
            f"{operator} requires tensors on the CPU, all float32 or all float64, outside autocast; check with fuses"
        )


def check_shape(name: str, tensor: Tensor, expected: tuple[int, ...]) -> None:
    if tuple(tensor.shape) != expected:
        raise ValueError(f"'{name}' has shape {shape(tensor)}, expected {list(expected)}.")


def refuse_forward_mode(*tensors: Tensor | None) -> None:
    """Raise NotImplementedError for a tensor with a tangent, which a custom operator would silently drop."""
    if forward_ad._current_level < 0:
        return
    if any(v is not None and forward_ad.unpack_dual(v).tangent is not None for v in tensors):
        raise NotImplementedError("the scans have no forward-mode derivatives; use torch.autograd.grad or backward()")


def shape(tensor: Tensor) -> list[int]:
    return list(tensor.shape)
