"""Protection against saved models that ask for networks of absurd size."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_parameter_registration_hook,
)


@contextmanager
def limit_to_weights(path: Path) -> Iterator[None]:
    """Limit the networks built in this context to the size of a weights file.

    Parameters count when a module registers them, which is before it initializes them: their memory is reserved, but
    not used yet.

    Args:
        path: ``prediction-net-state.pt``.

    Raises:
        ValueError: as soon as the parameters and buffers have more bytes than the file.
    """
    size, registered = path.stat().st_size, {}

    def count(module: nn.Module, name: str, tensor: Tensor | None) -> None:
        if tensor is None:
            return
        registered[id(tensor)] = tensor.numel() * tensor.element_size()
        if sum(registered.values()) > size:
            raise ValueError(
                f"{path.parent / 'predictor.json'} describes a network larger than its weights, {path.name} of "
                f"{size:,} bytes; the model is damaged, or not to be trusted"
            )

    hooks = (register_module_parameter_registration_hook(count), register_module_buffer_registration_hook(count))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
