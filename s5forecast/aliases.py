"""Classes that saved models may name: their current and former import paths, and checks before a model is loaded.

A saved model is a folder of JSON files, arrays and tensors. Its JSON names classes by import path, which are imported
and called when the model is loaded. :func:`check_folder` refuses a folder that names any class not listed here, before
anything is imported. ``S5Forecaster.load`` and the ``deserialize`` of all predictors call it first.

GluonTS's own ``gluonts.model.predictor.Predictor.deserialize`` imports the class named in ``gluonts-config.json``
before it calls the ``deserialize`` of that class: first call :func:`check_folder` on a folder that you do not trust.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from inspect import signature
from pathlib import Path
from pydoc import locate
from types import ModuleType
from typing import Any

# Class paths written by earlier versions -> current paths.
MOVED = {
    "s5forecast.data.irregular.IrregularSpec": "s5forecast.data.saved_specs.FlatIrregularSpec",
    "s5forecast.data.windows.WindowSpec": "s5forecast.data.saved_specs.FlatWindowSpec",
    "s5forecast.estimators.autoregressive_network.AutoregressiveNetwork": (
        "s5forecast.networks.autoregressive.AutoregressiveNetwork"
    ),
    "s5forecast.estimators.continuous_network.ContinuousNetwork": "s5forecast.networks.continuous.ContinuousNetwork",
    "s5forecast.estimators.continuous_predictor.ContinuousPredictor": (
        "s5forecast.estimators.gluonts_predictor.S5Predictor"
    ),
    "s5forecast.estimators.direct_network.DirectNetwork": "s5forecast.networks.direct.DirectNetwork",
    "s5forecast.estimators.multivariate_network.MultivariateNetwork": (
        "s5forecast.networks.multivariate.MultivariateNetwork"
    ),
    "s5forecast.estimators.recursive_decoder_network.RecursiveDecoderNetwork": (
        "s5forecast.networks.recursive_decoder.RecursiveDecoderNetwork"
    ),
}
CURRENT = {
    f"s5forecast.{path}"
    for path in (
        "data.saved_specs.FlatIrregularSpec",
        "data.saved_specs.FlatWindowSpec",
        "data.spec.FeatureSpec",
        "data.spec.IrregularSpec",
        "data.spec.TypicalWindow",
        "data.spec.WindowSpec",
        "distributions.beta.BetaOutput",
        "distributions.gamma.GammaOutput",
        "distributions.gaussian_copula.GaussianCopulaOutput",
        "distributions.gluonts.GluonTSDistributionOutput",
        "distributions.gluonts.GluonTSQuantileOutput",
        "distributions.laplace.LaplaceOutput",
        "distributions.log_normal.LogNormalOutput",
        "distributions.mixture.MixtureOutput",
        "distributions.multivariate_normal.MultivariateNormalOutput",
        "distributions.negative_binomial.NegativeBinomialOutput",
        "distributions.normal.NormalOutput",
        "distributions.poisson.PoissonOutput",
        "distributions.quantile.QuantileOutput",
        "distributions.student_t.StudentTOutput",
        "distributions.truncated_normal.TruncatedNormalOutput",
        "distributions.zero_inflated.HurdleLogNormalOutput",
        "distributions.zero_inflated.ZeroInflatedNegativeBinomialOutput",
        "distributions.zero_inflated.ZeroInflatedPoissonOutput",
        "estimators.combined.CombinedPredictor",
        "estimators.ensemble.EnsemblePredictor",
        "estimators.ensemble.PooledPredictor",
        "estimators.gluonts_predictor.S5Predictor",
        "estimators.items.ItemsPredictor",
        "estimators.peers.PeerPredictor",
        "estimators.predictor.S5Predictor",
        "estimators.pretrained.PretrainedPredictor",
        "evaluation.baselines.ConstantPredictor",
        "evaluation.baselines.DriftPredictor",
        "evaluation.baselines.NaivePredictor",
        "evaluation.baselines.SeasonalNaivePredictor",
        "evaluation.calibrated.CalibratedPredictor",
        "evaluation.statistical.AutoARIMAPredictor",
        "evaluation.statistical.AutoETSPredictor",
        "evaluation.statistical.ThetaPredictor",
        "networks.autoregressive.AutoregressiveNetwork",
        "networks.continuous.ContinuousNetwork",
        "networks.direct.DirectNetwork",
        "networks.multivariate.MultivariateNetwork",
        "networks.pretrained.PretrainedNetwork",
        "networks.recursive_decoder.RecursiveDecoderNetwork",
    )
}
# Classes of GluonTS in the models of ``estimators.peers``.
GLUONTS = {
    f"gluonts.{path}"
    for path in (
        "model.forecast_generator.DistributionForecastGenerator",
        "model.forecast_generator.QuantileForecastGenerator",
        "model.forecast_generator.SampleForecastGenerator",
        "torch.distributions.distribution_output.BetaOutput",
        "torch.distributions.distribution_output.GammaOutput",
        "torch.distributions.distribution_output.LaplaceOutput",
        "torch.distributions.distribution_output.NormalOutput",
        "torch.distributions.distribution_output.PoissonOutput",
        "torch.distributions.negative_binomial.NegativeBinomialOutput",
        "torch.distributions.quantile_output.QuantileOutput",
        "torch.distributions.studentT.StudentTOutput",
        "torch.model.deepar.lightning_module.DeepARLightningModule",
        "torch.model.patch_tst.lightning_module.PatchTSTLightningModule",
        "torch.model.simple_feedforward.lightning_module.SimpleFeedForwardLightningModule",
        "torch.model.tft.lightning_module.TemporalFusionTransformerLightningModule",
        "torch.model.tide.lightning_module.TiDELightningModule",
        "transform._base.Chain",
        "transform.convert.AsNumpyArray",
        "transform.convert.VstackFeatures",
        "transform.feature.AddAgeFeature",
        "transform.feature.AddObservedValuesIndicator",
        "transform.feature.AddTimeFeatures",
        "transform.feature.CausalMeanValueImputation",
        "transform.feature.DummyValueImputation",
        "transform.feature.LastValueImputation",
        "transform.feature.LeavesMissingValues",
        "transform.feature.MeanValueImputation",
        "transform.field.RemoveFields",
        "transform.field.RenameFields",
        "transform.field.SelectFields",
        "transform.field.SetField",
        "transform.sampler.PredictionSplitSampler",
        "transform.split.InstanceSplitter",
        "transform.split.TFTInstanceSplitter",
    )
}
PLAIN = {"builtins.tuple", "pandas.Period", "pandas.Timestamp"}
# Types and functions that a model may refer to; they are not called when it is loaded.
REFERENCES = {
    "builtins.float",
    "builtins.int",
    "numpy.float32",
    "numpy.float64",
    "numpy.int64",
    *(
        f"gluonts.time_feature._base.{name}"
        for name in (
            "day_of_month",
            "day_of_week",
            "day_of_year",
            "hour_of_day",
            "minute_of_hour",
            "month_of_year",
            "second_of_minute",
            "week_of_year",
        )
    ),
}
INSTANCES = {*MOVED, *CURRENT, *GLUONTS, *PLAIN}
BY_KIND = {"instance": INSTANCES, "type": REFERENCES}
LARGEST_WINDOW = 10**6
WINDOW_SIZES = ("context_length", "prediction_length", "max_queries", "target_dim")
_allowed: set[str] = set()


def allow(*paths: str) -> None:
    """Let saved models name further classes, such as an output of your own, in this process.

    Args:
        paths: import paths, as in ``allow("my_package.outputs.MyOutput")``.
    """
    _allowed.update(paths)


def resolve(path: str) -> type:
    """The class that a saved model names.

    Raises:
        ValueError: for a class that is not allowed, or that cannot be imported.
    """
    if not _is_allowed(path):
        raise ValueError(_refusal(path))
    found = locate(MOVED.get(path, path))
    if not isinstance(found, type):
        raise ValueError(f"class {path} of the saved model cannot be imported")
    return found


def check_folder(path: str | Path) -> None:
    """Check what a folder of a saved model would import, before it is loaded.

    All JSON files are checked, also those in subfolders.

    Raises:
        ValueError: naming the file, for a class that is not allowed, a link to another folder, a missing member, or a
            window of more than a million steps.
    """
    for folder in _folders(Path(path)):
        if (folder / "type.txt").exists():
            raise ValueError(f"{folder / 'type.txt'}: this format of early GluonTS versions is not supported")
        for file in sorted(folder.iterdir()):
            if file.suffix.lower() == ".json":
                _check_file(file)


def check_text(path: str | Path, text: str) -> None:
    """As :func:`check_folder`, for JSON inside the file ``path``."""
    _check_classes(Path(path), json.loads(text))


def load(path: str | Path, device: Any = None, classes: Mapping[str, type] | None = None) -> Any:
    """Read the folder of a predictor, after :func:`check_folder`.

    Args:
        path: folder that ``serialize`` wrote.
        device: of a predictor whose ``deserialize`` takes one; ``None`` for the saved one.
        classes: classes to read with in place of those that the folder names, by import path.

    Raises:
        ValueError: if :func:`check_folder` refuses the folder.
    """
    path = Path(path)
    check_folder(path)
    name = json.loads((path / "gluonts-config.json").read_text())["type"]
    kind: Any = (classes or {}).get(name) or resolve(name)
    takes_device = device is not None and "device" in signature(kind.deserialize).parameters
    return kind.deserialize(path, device=device) if takes_device else kind.deserialize(path)


def serve_old_modules() -> None:
    """Make modules of earlier versions importable by their old names."""
    if not any(isinstance(finder, _OldModules) for finder in sys.meta_path):
        sys.meta_path.append(_OldModules())


class _OldModules(MetaPathFinder, Loader):
    """Former modules with the classes of ``MOVED``, which are imported when they are used."""

    names = frozenset(path.rpartition(".")[0] for path in MOVED)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname in self.names else None

    def exec_module(self, module: ModuleType) -> None:
        def find(name: str) -> Any:
            path = f"{module.__name__}.{name}"
            if path not in MOVED:
                raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")
            return locate(MOVED[path])

        module.__getattr__ = find  # type: ignore[method-assign]


def _folders(path: Path) -> Iterator[Path]:
    yield path
    for child in sorted(path.iterdir()):
        if child.is_dir():
            if child.is_symlink():
                raise ValueError(f"{child} is a link to another folder; copy the linked files into the saved model")
            yield from _folders(child)


def _check_file(file: Path) -> None:
    try:
        content = json.loads(file.read_text())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file} is not valid JSON: {error}") from error
    if file.name == "gluonts-config.json":
        named = content.get("type") if isinstance(content, dict) else None
        if not _is_allowed(named):
            raise ValueError(f"{file}: {_refusal(named)}")
    if file.name == "members.json":
        _check_members(file, content)
    _check_classes(file, content)


def _check_classes(file: Path, content: Any) -> None:
    for node in _nodes(content):
        if "__kind__" in node:
            _check_node(file, node)


def _nodes(content: Any) -> Iterator[dict[str, Any]]:
    """All dicts of decoded JSON, at any depth."""
    remaining = [content]
    while remaining:
        node = remaining.pop()
        if isinstance(node, dict):
            yield node
            remaining.extend(node.values())
        elif isinstance(node, list):
            remaining.extend(node)


def _check_node(file: Path, node: dict[str, Any]) -> None:
    """Check an object in GluonTS's encoding."""
    kind, named = node["__kind__"], node.get("class")
    if not isinstance(named, str) or kind not in tuple(BY_KIND) or named not in BY_KIND[kind] | _allowed:
        raise ValueError(f"{file}: {_refusal(named)}")
    if named.endswith("Spec"):
        _check_spec(file, node)


def _check_spec(file: Path, node: dict[str, Any]) -> None:
    """Check the sizes of windows."""
    arguments = node.get("kwargs")
    if node.get("args") or not isinstance(arguments, dict):
        raise ValueError(f"{file}: the arguments of {node['class']} must be named")
    sizes = {name: arguments[name] for name in WINDOW_SIZES if arguments.get(name) is not None}
    lags = arguments.get("lags") or []
    for name, size in [*sizes.items(), *(("lags", lag) for lag in lags)]:
        if type(size) is not int or not 1 <= size <= LARGEST_WINDOW:
            raise ValueError(f"{file}: {name}={size!r} must be a whole number from 1 to {LARGEST_WINDOW:,}")


def _check_members(file: Path, content: Any) -> None:
    """Check that the members are the folders 0, 1, ... beside the file."""
    weights = content.get("weights") if isinstance(content, dict) else None
    count = len(weights) if isinstance(weights, list) else content
    if type(count) is not int:
        raise ValueError(f"{file} has neither a number of members nor their weights")
    found = sum((child.name.isdigit() and child.is_dir()) for child in file.parent.iterdir())
    if not 0 < count <= found:
        raise ValueError(f"{file} names {count} members, the folder has {found}")


def _is_allowed(path: Any) -> bool:
    return isinstance(path, str) and path in INSTANCES | _allowed


def _refusal(path: Any) -> str:
    return (
        f"the saved model names {path!r}, which is not a class of s5forecast's models. If it is yours and you trust "
        f"the folder, call s5forecast.aliases.allow({path!r}) before loading"
    )
