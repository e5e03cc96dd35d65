"""GluonTS adapter of the predictor."""

from typing import Any

from gluonts.core.component import validated
from gluonts.torch.model.predictor import PyTorchPredictor
from gluonts.transform import Identity
from torch import nn

from s5forecast.estimators.predictor import NetworkPredictor


class S5Predictor(NetworkPredictor, PyTorchPredictor):
    """Predictor that estimators return, and that ``gluonts.model.predictor.Predictor.deserialize`` reads.

    It forecasts as :class:`~s5forecast.estimators.predictor.NetworkPredictor` does, and is a ``PyTorchPredictor`` as
    GluonTS expects it of its estimators.

    Args:
        prediction_net: a :class:`~s5forecast.networks.base.ForecastNetwork`.
        spec: contents of its windows, a ``WindowSpec`` or an ``IrregularSpec``.
        batch_size: series per batch.
        device: ``"auto"`` is CUDA if available, else the CPU.
    """

    @validated()
    def __init__(self, prediction_net: nn.Module, spec: Any, batch_size: int = 256, device: str = "auto") -> None:
        NetworkPredictor.__init__(self, prediction_net, spec, batch_size, device)
        PyTorchPredictor.__init__(
            self,
            input_names=[],
            prediction_net=prediction_net,
            batch_size=batch_size,
            prediction_length=self.prediction_length,
            input_transform=Identity(),
            device=device,
        )
