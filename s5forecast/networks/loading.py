"""Size limit for the networks of saved models, which protects against damaged or malicious files."""

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

    Parameters are counted when a module registers them. They are not initialized yet then, so that their memory is
    reserved but not used.

    Args:
        path: the weights file, ``prediction-net-state.pt``.

    Raises:
        ValueError: as soon as the parameters and buffers exceed the size of the file.
    """
    size, registered = path.stat().st_size, {}

    def count(module: nn.Module, name: str, tensor: Tensor | None) -> None:
        if tensor is None:
            return
        registered[id(tensor)] = tensor.numel() * tensor.element_size()
        if sum(registered.values()) > size:
            raise ValueError(
                f"{path.parent / 'predictor.json'} describes a network larger than its weights, {path.name} of "
                f"{size:,} bytes; the files are damaged or malicious; save the model again"
            )

    hooks = (register_module_parameter_registration_hook(count), register_module_buffer_registration_hook(count))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
