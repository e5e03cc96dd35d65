"""Joint forecasts for a fixed set of univariate series."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from gluonts.core.serde import dump_json, load_json
from gluonts.dataset.common import Dataset
from gluonts.model.forecast import SampleForecast
from gluonts.model.predictor import Predictor

from s5forecast.aliases import check_folder
from s5forecast.data.alignment import common_span
from s5forecast.data.content import by_content
from s5forecast.estimators.predictor import NetworkPredictor, load_predictor
from s5forecast.windows.joint import ABSENT, ITEM_IDS

if TYPE_CHECKING:
    from s5forecast.estimators.multivariate import S5MultivariateEstimator

# Fields of the covariates of an entry.
FEATURES = ("feat_dynamic_real", "past_feat_dynamic_real")
# Names listed in an error.
MAX_LISTED = 5


class ItemsPredictor(Predictor):
    """Joint forecasts of D items, each an entry of its own.

    The n-th samples of all items are one joint sample. A dataset holds all items, in any order, once or several times.

    Args:
        predictor: predictor of entries with a target ``[D, T]``.
        item_ids: names of the D series, in the order of the target.
        complete: whether a dataset holds some of the items, once. The others count as never observed, with the mean
            covariates of those in the dataset.
    """

    def __init__(self, predictor: NetworkPredictor, item_ids: Sequence[Any], complete: bool = False) -> None:
        super().__init__(prediction_length=predictor.prediction_length)
        self.predictor, self.item_ids, self.complete = predictor, list(item_ids), complete

    def __eq__(self, other: object) -> bool:
        """Whether the other predictor has the same network and names."""
        same = isinstance(other, ItemsPredictor) and self.item_ids == other.item_ids
        return same and self.predictor == other.predictor  # type: ignore[attr-defined]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.predictor!r}, {self.item_ids!r})"

    @property
    def output(self) -> Any:
        """Output of the network."""
        return self.predictor.output

    def of_some(self) -> ItemsPredictor:
        """The same predictor for datasets without some of the items."""
        return ItemsPredictor(self.predictor, self.item_ids, complete=True)

    @property
    def choices(self) -> dict[str, Any]:
        """Record of the choices of the predictor of all items."""
        return self.predictor.choices

    def from_checkpoint(self, path: str | Path, device: str | torch.device = "auto") -> ItemsPredictor:
        """As :meth:`~s5forecast.estimators.predictor.NetworkPredictor.from_checkpoint`, for the same items."""
        return ItemsPredictor(type(self.predictor).from_checkpoint(path, device), self.item_ids)

    def stream(self, dataset: Dataset) -> Any:
        """As :meth:`NetworkPredictor.stream`."""
        return self.predictor.stream(dataset)

    def predict(self, dataset: Dataset, num_samples: int | None = None) -> Iterator[SampleForecast]:
        """One forecast for each entry, in order.

        Raises:
            ValueError: naming the items that are missing, unknown or not aligned.
        """
        groups, joint = self._grouped(dataset)
        for group, forecast in zip(groups, self.predictor.predict(joint, num_samples), strict=True):
            for entry, position in zip(group, self._positions(group), strict=True):
                yield SampleForecast(
                    forecast.samples[..., position], forecast.start_date, entry["item_id"], entry.get("info")
                )

    def rescaled(self, step_scale: float) -> ItemsPredictor:
        """As :meth:`~s5forecast.estimators.predictor.NetworkPredictor.rescaled`, for the same items."""
        return ItemsPredictor(self.predictor.rescaled(step_scale), self.item_ids)

    def predict_quantiles(self, dataset: Dataset, levels: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
        """Means ``[S, H]`` and quantiles ``[S, H, Q]`` of all S entries.

        Raises:
            ValueError: as :meth:`predict`.
        """
        groups, joint = self._grouped(dataset)
        order = [self._positions(group) for group in groups]
        found = (x.swapaxes(1, 2) for x in self.predictor.predict_quantiles(joint, levels))
        mean, quantiles = (np.concatenate([x[o] for x, o in zip(one, order, strict=True)]) for one in found)
        return mean, quantiles

    def serialize(self, path: Path) -> None:
        """Write to an existing folder: JSON and tensors, no pickled code."""
        super().serialize(path)
        (path / "items.json").write_text(dump_json(self.item_ids))
        (path / "joint").mkdir(exist_ok=True)
        self.predictor.serialize(path / "joint")

    @classmethod
    def deserialize(cls, path: Path, device: str | None = None) -> ItemsPredictor:
        """Read what :meth:`serialize` wrote; ``device`` is that of the network."""
        check_folder(path)
        predictor = cast(NetworkPredictor, load_predictor(path / "joint", device))
        return cls(predictor, load_json((path / "items.json").read_text()))

    def _positions(self, group: list[dict[str, Any]]) -> list[int]:
        return [self.item_ids.index(entry["item_id"]) for entry in group]

    def _grouped(self, dataset: Iterable[dict[str, Any]]) -> tuple[list[list[dict[str, Any]]], list[dict[str, Any]]]:
        entries = list(dataset)
        D = len(entries) if self.complete else len(self.item_ids)
        groups = [entries[begin : begin + D] for begin in range(0, len(entries), D)]
        return groups, [joint_entry(group, self.item_ids, self.complete) for group in groups]


def train_items(
    estimator: S5MultivariateEstimator,
    entries: Sequence[dict[str, Any]],
    validation: Sequence[dict[str, Any]] | None,
    complete: bool = False,
    **kwargs: Any,
) -> ItemsPredictor:
    """Train an estimator on all items jointly; their order and their names make no difference.

    Args:
        estimator: estimator whose ``target_dim`` is the number of items.
        entries: training data, one entry for each item.
        validation: validation data, one entry for each item.
        complete: whether items may be missing in ``validation``.
        kwargs: further arguments of the training.

    Raises:
        ValueError: naming the items that are not aligned, or missing in ``validation``.
    """
    item_ids = [entry["item_id"] for entry in by_content(entries)]
    held_out = None if validation is None else [joint_entry(validation, item_ids, complete)]
    return ItemsPredictor(estimator.train([joint_entry(entries, item_ids)], held_out, **kwargs), item_ids)


def joint_entry(entries: Sequence[dict[str, Any]], item_ids: Sequence[Any], complete: bool = False) -> dict[str, Any]:
    """One entry with target ``[D, T]`` and the covariates of all series, from aligned entries.

    Args:
        entries: one for each item, in any order.
        item_ids: order of the series in the result.
        complete: whether to add missing items, as series that were never observed.

    Raises:
        ValueError: naming the items that are missing, unknown, repeated or not aligned.
    """
    given = {entry["item_id"]: entry for entry in entries}
    by_id = {**_unobserved(item_ids, entries), **given} if complete else given
    missing = [item for item in item_ids if item not in by_id]
    unknown = [item for item in by_id if item not in item_ids]
    if missing or unknown or len(entries) != len(given):
        raise ValueError(
            "joint forecasts need each series of the training data exactly once: "
            f"missing: {_listed(missing)}; unknown: {_listed(unknown)}"
        )
    _check_aligned(entries)
    ordered = [by_id[item] for item in item_ids]
    first = ordered[0]
    joint: dict[str, Any] = {field: first[field] for field in ("start", "timestamps") if field in first}
    for field in FEATURES:
        if field in first:
            joint[field] = np.concatenate([np.atleast_2d(entry[field]) for entry in ordered])
    absent = [number for number, item in enumerate(item_ids) if item not in given]
    info = {ITEM_IDS: list(item_ids), **({ABSENT: absent} if absent else {})}
    return {**joint, "target": np.stack([entry["target"] for entry in ordered]), "info": info}


def _unobserved(item_ids: Sequence[Any], entries: Sequence[dict[str, Any]]) -> dict[Any, dict[str, Any]]:
    """Entries of items that were never observed, aligned with the given entries."""
    entry = {**entries[0], "target": np.full_like(entries[0]["target"], np.nan, dtype=np.float64)}
    for field in FEATURES:
        if field in entry:
            entry[field] = np.mean([np.atleast_2d(one[field]) for one in entries], axis=0)
    return {item: {**entry, "item_id": item} for item in item_ids}


def _check_aligned(entries: Sequence[dict[str, Any]]) -> None:
    spans = {entry["item_id"]: (entry["start"], len(entry["target"])) for entry in entries}
    start, length = common_span(spans.values())
    differ = [item for item, span in spans.items() if span != (start, length)]
    if differ:
        other, steps = spans[differ[0]]
        raise ValueError(
            f"series that are forecast together need the same timestamps: most have {length} steps from {start}, but "
            f"{_listed(differ)} differ, the first with {steps} steps from {other}; give all series the same rows, with "
            "NaN for missing values"
        )


def _listed(items: Sequence[Any]) -> str:
    names = ", ".join(map(repr, items[:MAX_LISTED])) or "none"
    return names if len(items) <= MAX_LISTED else f"{names} and {len(items) - MAX_LISTED} more"
