"""Constructor arguments that estimators share, written once and spread into each signature.

An estimator's constructor takes a group of arguments as one parameter, such as ``training: TrainingArguments``.
:func:`spread_arguments` replaces it by the arguments in the group, at the same position, so that users and GluonTS's
``validated`` see a plain signature: ``lr``, ``ssm_lr`` and so on.
"""

from collections.abc import Callable
from functools import wraps
from inspect import Parameter, signature
from typing import Any, NamedTuple, get_type_hints

import numpy as np

from s5forecast.choices import choose
from s5forecast.data.spec import FeatureSpec
from s5forecast.nn import ACTIVATIONS
from s5forecast.ssm.layers import check_names, layer_arguments
from s5forecast.windows.batches import SAMPLINGS


class NetworkArguments(NamedTuple):
    """Arguments for the size and the layers of the network."""

    width: int = 64
    num_layers: int = 2
    state_size: int = 64
    layer: list[str] | str = "s5"
    layer_kwargs: dict[str, Any] | None = None
    activation: str = "half_glu2"
    dropout: float = 0.1

    def for_network(self, **layer_defaults: Any) -> dict[str, Any]:
        """Arguments of a network.

        Args:
            layer_defaults: generic arguments of the layer, used if it takes them and they are not given.

        Raises:
            ValueError: if a size is not positive, a name is unknown, or the layer lacks an argument in
                ``layer_kwargs``.
        """
        check_positive(width=self.width, num_layers=self.num_layers, state_size=self.state_size)
        check_names(self.layer, self.num_layers)
        choose(ACTIVATIONS, self.activation, "activation")
        preferred = {"state_size": self.state_size, **layer_defaults}
        return {
            "width": self.width,
            "num_layers": self.num_layers,
            "layer": self.layer,
            "layer_kwargs": layer_arguments(self.layer, self.layer_kwargs, preferred=preferred),
            "activation": self.activation,
            "dropout": self.dropout,
        }


class FeatureArguments(NamedTuple):
    """Arguments for the number of features of each kind, of categories of each categorical feature, and for weights."""

    num_feat_dynamic_real: int = 0
    num_past_feat_dynamic_real: int = 0
    num_feat_static_real: int = 0
    num_feat_static_cat: int = 0
    cardinality: list[int] | None = None
    dynamic_cardinalities: list[int] | None = None
    past_dynamic_cardinalities: list[int] | None = None
    weighted: bool = False

    def spec(self) -> FeatureSpec:
        return FeatureSpec(
            self.num_feat_dynamic_real,
            self.num_past_feat_dynamic_real,
            self.num_feat_static_real,
            self.num_feat_static_cat,
            tuple(self.dynamic_cardinalities or ()),
            tuple(self.past_dynamic_cardinalities or ()),
            self.weighted,
            tuple(self.cardinality or ()),
        )

    def categories(self) -> list[int]:
        """Number of categories of each categorical feature.

        Raises:
            ValueError: if ``cardinality`` has another length than ``num_feat_static_cat``.
        """
        cardinality = self.cardinality or []
        if len(cardinality) != self.num_feat_static_cat:
            raise ValueError(
                "cardinality must give the number of categories of each of the "
                f"num_feat_static_cat={self.num_feat_static_cat} features, got {cardinality}"
            )
        return cardinality


class TrainingArguments(NamedTuple):
    """Arguments for optimization, batches and device."""

    lr: float = 3e-3
    ssm_lr: float = 1e-3
    weight_decay: float = 0.01
    warmup: float = 0.1
    patience: int = 10
    batch_size: int = 32
    num_batches_per_epoch: int = 50
    sampling: str = "series"
    max_epochs: int | None = None
    predict_batch_size: int = 256
    trainer_kwargs: dict[str, Any] | None = None
    seed: int | None = 0
    device: str = "auto"

    def check(self) -> None:
        """Raise ValueError for a number out of range, an unknown name, or a device that cannot be used."""
        choose(SAMPLINGS, self.sampling, "sampling")
        check_positive(
            patience=self.patience,
            batch_size=self.batch_size,
            num_batches_per_epoch=self.num_batches_per_epoch,
            predict_batch_size=self.predict_batch_size,
        )
        for name in ("lr", "ssm_lr", "weight_decay", "warmup"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if self.device.startswith("mps"):
            raise ValueError(
                "device='mps' does not support float64, which is needed to compute forecasts; use 'cpu' or 'cuda'"
            )

    def for_trainer(self) -> dict[str, Any]:
        """Arguments of Lightning's ``Trainer``, with ``max_epochs`` if it is given; NumPy's numbers become Python's."""
        epochs = {} if self.max_epochs is None else {"max_epochs": self.max_epochs}
        given = {**epochs, **(self.trainer_kwargs or {})}
        return {name: value.item() if isinstance(value, np.generic) else value for name, value in given.items()}


NETWORK = NetworkArguments()
FEATURES = FeatureArguments()
TRAINING = TrainingArguments()
# For entries of several series or variables: smaller batches in prediction, and a fixed number of epochs.
TRAINING_OF_LARGE_ENTRIES = TrainingArguments(max_epochs=20, predict_batch_size=64)
GROUPS = (NetworkArguments, FeatureArguments, TrainingArguments)


def spread_arguments(init: Callable[..., None]) -> Callable[..., None]:
    """Replace each parameter that is a group of arguments by the arguments in it.

    Names, types and order are those of the group; defaults are the values in the default of the parameter.

    Args:
        init: a constructor; the decorated one is called with keywords, as ``validated`` does.
    """
    own = signature(init)
    groups = {name: type(one.default) for name, one in own.parameters.items() if isinstance(one.default, GROUPS)}
    parameters = [one for parameter in own.parameters.values() for one in _spread(parameter)]

    @wraps(init)
    def spread(self: Any, **arguments: Any) -> None:
        for name, group in groups.items():
            given = {field: arguments.pop(field) for field in group._fields if field in arguments}
            arguments[name] = own.parameters[name].default._replace(**given)
        init(self, **arguments)

    spread.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    return spread


def _spread(parameter: Parameter) -> list[Parameter]:
    if not isinstance(parameter.default, GROUPS):
        return [parameter]
    types = get_type_hints(type(parameter.default))
    return [
        Parameter(name, Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=types[name])
        for name, default in parameter.default._asdict().items()
    ]


def check_positive(**arguments: int) -> None:
    """Raise ValueError, naming the argument, for a number below 1."""
    for name, value in arguments.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")


def check_share(synthetic_share: float | None) -> None:
    """Raise ValueError for a share outside of [0, 1]."""
    if synthetic_share is not None and not 0 <= synthetic_share <= 1:
        raise ValueError(f"synthetic_share must lie in [0, 1], got {synthetic_share}")
