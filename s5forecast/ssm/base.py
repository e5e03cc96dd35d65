"""The contract of a state-space layer, which blocks, encoders and estimators rely on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn

# The state of a layer: one tensor or several, each with the batch as its first axis.
State = Tensor | tuple[Tensor, ...]

# Constructor arguments with the same name and meaning in all layers that take them.
GENERIC_ARGUMENTS: dict[str, str] = {
    "state_size": "number of states",
    "bidirectional": "whether each output also depends on later inputs",
    "clip_eigs": "whether the dynamics are kept stable, so that no state grows without input",
    "step_scale": "factor of all steps; 0.5 runs a layer trained on hourly steps on half-hourly steps",
    "dt_min": "shortest initial timescale, in unit steps",
    "dt_max": "longest initial timescale, in unit steps",
}


class StepMatrices(NamedTuple):
    """One step of a layer as a dense diagonal system, ``x = Lambda_bar x + B u``, ``y = C x + D u``.

    ``x`` is the state ``[B, 2, N]``, complex numbers as planes, real part first.

    Attributes:
        Lambda_bar: ``[2, N]``, complex.
        B: ``[2N, H]``, the real parts first.
        C: ``[H, 2N]``, real, applied to the flattened state.
        D: ``[H]``.
    """

    Lambda_bar: Tensor
    B: Tensor
    C: Tensor
    D: Tensor


class StateSpaceLayer(nn.Module, ABC):
    """A sequence layer ``[B, T, H] -> [B, T, H]`` with a state that is carried from one call to the next.

    **Constructor.** The first argument is ``width``, H. All other arguments are keywords. Those named in
    ``GENERIC_ARGUMENTS`` are generic: estimators set them, if the class lists them in ``generic_arguments``. All other
    arguments belong to the layer: they have default values, and users set them with ``layer_kwargs``.

    **State.** A tensor or a tuple of tensors, with the batch as the first axis of each. Blocks, encoders, steppers and
    streams only select along this axis and otherwise treat the state as opaque; see :func:`map_state`.

    **Causality.** For a causal layer, :meth:`forward` on two parts of a sequence, the second part from the state that
    the first part returned, equals :meth:`forward` on the whole sequence, and :meth:`step` equals :meth:`forward` with
    one time step.

    **Irregular steps.** If ``supports_dt`` is true, ``dt`` is the time since the previous step, 1 on a regular grid,
    and a step with ``dt = 0`` and an input of 0 must change neither the state nor the outputs of other steps: padding
    and missing steps are passed this way. If it is false, ``dt`` is always None, because
    :class:`~s5forecast.nn.Encoder` refuses other values.

    Attributes:
        supports_dt: whether steps may differ in length.
        supports_advance: whether :meth:`advance` is implemented.
        limits: for abilities that the layer lacks, such as ``"supports_dt"``, the reason, as the end of a sentence that
            begins with "because"; part of the errors.
        generic_arguments: the keys of ``GENERIC_ARGUMENTS`` that the constructor takes.
    """

    supports_dt: bool = True
    supports_advance: bool = False
    limits: Mapping[str, str] = {}
    generic_arguments: ClassVar[frozenset[str]] = frozenset()

    @property
    @abstractmethod
    def supports_step(self) -> bool:
        """Whether the layer is causal, so that it can be advanced one observation at a time."""

    @abstractmethod
    def forward(self, u: Tensor, state: Any = None, dt: Tensor | None = None) -> tuple[Tensor, State]:
        """Run over a sequence.

        Args:
            u: inputs ``[B, T, H]``.
            state: the state before the first step; :meth:`initial_state` if None.
            dt: ``[B, T]``, the time since the previous step; 1 at every step if None.

        Returns:
            Outputs ``[B, T, H]`` and the state after the last step.
        """

    @abstractmethod
    def step(self, u: Tensor, state: Any, dt: Tensor | None = None) -> tuple[Tensor, State]:
        """Advance by one observation.

        Args:
            u: inputs ``[B, H]``.
            state: the state before the step; it is not modified.
            dt: ``[B]``, the time since the previous step; 1 if None.

        Returns:
            Outputs ``[B, H]`` and the new state.

        Raises:
            ValueError: if the layer is not causal.
        """

    @abstractmethod
    def initial_state(self, batch_size: int) -> State:
        """The state before the first observation."""

    @abstractmethod
    def dynamics_parameters(self) -> Iterator[nn.Parameter]:
        """The parameters of the dynamics, which are trained at a separate learning rate without weight decay."""

    @abstractmethod
    def reset_parameters(self) -> None:
        """Draw all parameters anew."""

    def advance(self, state: Any, elapsed: Tensor) -> State:
        """The state at later times without further input.

        Args:
            state: the state of B sequences.
            elapsed: ``[B, Q]``, in units of ``dt``.

        Returns:
            The states ``[B, Q, ...]``.

        Raises:
            NotImplementedError: for a layer whose state has no closed form over time.
        """
        raise NotImplementedError(f"the state of {type(self).__name__} has no closed form over time")

    def step_matrices(self) -> StepMatrices | None:
        """The matrices of :meth:`step`, or None if the layer cannot be stepped by these matrices alone.

        A layer that returns them can be stepped by fused kernels, without calls of :meth:`step`. Its state must be one
        tensor ``[B, 2, N]``.
        """
        return None

    def check_dt(self, dt: Tensor | None) -> None:
        """Raise ValueError if ``dt`` is given and the layer does not support it."""
        if dt is not None and not self.supports_dt:
            reason = self.limits.get("supports_dt", "all of its steps have the same length")
            raise ValueError(
                f"{type(self).__name__} does not support dt, because {reason}; use a layer that supports irregular "
                "steps, such as 's5', or evenly spaced series without skipped steps"
            )


def flatten_state(state: Any) -> list[Tensor]:
    """List all tensors of a state, depth first.

    Args:
        state: a tensor, or an arbitrarily nested tuple of tensors, such as the state of an encoder.
    """
    if isinstance(state, Tensor):
        return [state]
    return [tensor for part in state for tensor in flatten_state(part)]


def restore_state(tensors: Iterable[Tensor], like: Any) -> Any:
    """Rebuild a state from its tensors, the inverse of :func:`flatten_state`.

    Args:
        tensors: as listed by :func:`flatten_state`.
        like: a state of the same structure, such as the initial state.

    Raises:
        ValueError: if the number of tensors differs from that of ``like``.
    """
    remaining = list(tensors)
    expected = len(flatten_state(like))
    if len(remaining) != expected:
        raise ValueError(f"the state consists of {expected} tensors, got {len(remaining)}")
    return _restore(iter(remaining), like)


def map_state(function: Callable[[Tensor], Tensor], state: Any) -> Any:
    """Apply a function to all tensors of a state, such as ``lambda x: x.index_select(0, rows)``."""
    return restore_state(map(function, flatten_state(state)), state)


def _restore(tensors: Iterator[Tensor], like: Any) -> Any:
    if isinstance(like, Tensor):
        return next(tensors)
    return tuple(_restore(tensors, part) for part in like)
