"""ConformalCalibrator: a scikit-learn transformer that corrects frames of forecasts."""

from __future__ import annotations

import json
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from s5forecast.choices import choose
from s5forecast.data.frame_kinds import Frame, takes_frames
from s5forecast.evaluation.arrays import ForecastArrays, rounded_counts
from s5forecast.evaluation.conformal import (
    CONFORMAL_METHODS,
    Following,
    Method,
    corrections,
    in_order,
    needed_scores,
    outward,
    rows_of,
    spreads,
)
from s5forecast.levels import level_name, quantile_columns

ALL_ITEMS, ALL_STEPS = "all", 0
CALIBRATION_FORMAT = 1


class ConformalCalibrator(TransformerMixin, BaseEstimator):
    """Correct the quantiles of any forecaster by its errors on past windows that it had not seen.

    Frames are long, like ``Backtest.forecasts``: item_id, cutoff, timestamp, target and quantile columns such as "0.1".
    A frame without item_id is one series, a frame without cutoff has one window for each series. The mean is unchanged.
    Counts stay counts: if all quantiles and targets of a series in ``fit`` are non-negative whole numbers, corrected
    quantiles of its windows are rounded, provided that the uncorrected ones are whole numbers. Series that are not in
    ``fit`` are rounded if all series in ``fit`` are counts.

    Args:
        method: a key of ``CONFORMAL_METHODS``: "cqr" corrects each level separately, "cqr_symmetric" moves both ends
            of an interval by the same amount, "split" puts symmetric intervals around the median. "adaptive" and
            "adaptive_cqr" are cqr_symmetric and cqr with corrections that are updated window by window.
        scale: unit of the scores, which makes series comparable: "width" is that of the outermost interval of each
            step, "item" the mean absolute error of the median of each series over the calibration windows. Rows with a
            scale of 0 are ignored in ``fit`` and not changed.
        per_item: whether to learn a correction for each series; series that are not in ``fit`` then raise an error.
        per_step: whether to learn a correction for each step of the horizon.
        learning_rate: step size eta in (0, 1] of adaptive methods. A window entirely outside an interval of share p
            widens it by eta p mean absolute deviations of the scores.
        item_share: step size of the correction of each series relative to the common one, in [0, 1], for adaptive
            methods; 0 corrects all series equally. Ignored with per_item.

    Attributes:
        levels_: quantile levels.
        corrections_: corrections in units of the scale, a row for each group and a column for each level; item "all"
            and step 0 stand for all series and all steps.
        item_corrections_: additional correction of each series by adaptive methods, a row for each series.

    Raises:
        ValueError: an unknown choice; too few windows for a level (the message has the number required); levels that
            differ from those in ``fit``; a series or step without a correction; a missing median or level 1 - tau that
            the method or the scale requires; a frame without timestamp or quantiles, with a missing item_id, a NaN
            quantile or an infinite target.
    """

    def __init__(
        self,
        method: str = "adaptive",
        *,
        scale: str = "item",
        per_item: bool = False,
        per_step: bool = False,
        learning_rate: float = 0.5,
        item_share: float = 0.2,
    ) -> None:
        self.method = method
        self.scale = scale
        self.per_item = per_item
        self.per_step = per_step
        self.learning_rate = learning_rate
        self.item_share = item_share

    @takes_frames("forecasts")
    def fit(self, forecasts: Any, y: None = None) -> ConformalCalibrator:
        """Learn the corrections from a ``Backtest``, or its frame of forecasts with the targets; y is ignored."""
        method = self._checked_method()
        arrays = ForecastArrays.from_frame(forecasts)
        self.levels_ = arrays.levels.tolist()
        self.item_scales_ = _median_errors(arrays) if self.scale == "item" else None
        self.counts_ = arrays.count_series
        scores = self._scores(arrays, method)
        seen = np.isfinite(scores[:, 0])
        if not seen.any():
            raise ValueError("cannot calibrate: no row has both a target and a scale above 0")
        rows = pd.Series(np.flatnonzero(seen)).groupby(self._keys(arrays)[seen]).agg(list)
        for key, index in zip(rows.index, rows, strict=True):
            _check_count(key, self._needed(method), len(index), len(set(arrays.cutoff[index])))
        found = np.array([corrections(scores[index], arrays.levels, method) for index in rows])
        groups = pd.MultiIndex.from_tuples(rows.index, names=["item_id", "step"])
        columns = [level_name(level) for level in self.levels_]
        self.corrections_ = pd.DataFrame(found, groups, columns)
        if method.follows:
            found = np.array([spreads(scores[index], arrays.levels, method) for index in rows])
            self.spreads_ = pd.DataFrame(found, groups, columns)
            self.item_corrections_ = pd.DataFrame(columns=columns, index=pd.Index([], dtype=object), dtype=float)
            self.partial_fit(forecasts)
        return self

    @takes_frames("forecasts")
    def partial_fit(self, forecasts: Frame, y: None = None) -> ConformalCalibrator:
        """Update adaptive corrections by further windows with their targets, in the order of their cutoffs."""
        check_is_fitted(self, "corrections_")
        if not CONFORMAL_METHODS[self.method].follows:
            raise ValueError(f"method {self.method!r} cannot be updated; fit again, or use 'adaptive'")
        _, self.corrections_, self.item_corrections_ = self._follow(self._checked_arrays(forecasts))
        return self

    @takes_frames("forecasts")
    def transform(self, forecasts: Frame) -> pd.DataFrame:
        """The frame with corrected quantiles, in ascending order.

        Adaptive methods use the targets in the frame: the correction of a window depends on the targets known at its
        cutoff, never on later ones. The updates are not stored; use ``partial_fit`` to store them.
        """
        check_is_fitted(self, "corrections_")
        method, arrays = CONFORMAL_METHODS[self.method], self._checked_arrays(forecasts)
        if method.follows and np.isfinite(arrays.target).any():
            moved, *_ = self._follow(arrays)
        else:
            corrections = self.corrections_.to_numpy()[self._groups(arrays)]
            if method.follows:
                corrections = corrections + self.item_corrections_.reindex(arrays.item, fill_value=0.0).to_numpy()
            moved = self._base(arrays, method) + self._scale(arrays) * corrections
        moved = np.where(self._scale(arrays) > 0, moved, arrays.quantiles)
        moved = np.where(self._counts(arrays)[:, None], rounded_counts(moved, arrays.levels), moved)
        columns = quantile_columns(forecasts).values()
        dtypes = [_float_dtype(forecasts[column].dtype) for column in columns]
        found = forecasts.copy()
        for column, values, dtype in zip(columns, in_order(moved, arrays.levels).T, dtypes, strict=True):
            found[column] = values.astype(dtype)
        return found

    def to_json(self) -> str:
        """The fitted calibrator as text for ``from_json``.

        Raises:
            ValueError: an item_id is neither text nor a number.
        """
        check_is_fitted(self, "corrections_")
        odd = [item for item in self.counts_.index if not isinstance(item, str | Real)]
        if odd:
            raise ValueError(f"the item_id {odd[0]!r} cannot be written; use text or numbers for item_id")
        state = {
            "format_version": CALIBRATION_FORMAT,
            "parameters": self.get_params(),
            "levels": self.levels_,
            "groups": [list(key) for key in self.corrections_.index],
            "corrections": self.corrections_.to_numpy().tolist(),
            "counts": [self.counts_.index.tolist(), self.counts_.tolist()],
        }
        if CONFORMAL_METHODS[self.method].follows:
            state["spreads"] = self.spreads_.to_numpy().tolist()
            state["items"] = self.item_corrections_.index.tolist()
            state["item_corrections"] = self.item_corrections_.to_numpy().tolist()
        if self.item_scales_ is not None:
            state["item_scales"] = [self.item_scales_.index.tolist(), self.item_scales_.tolist()]
        return json.dumps(state, default=np.generic.item)

    @classmethod
    def from_json(cls, text: str) -> ConformalCalibrator:
        """Read what ``to_json`` wrote; raises ValueError for other text, or text of a later version."""
        state = json.loads(text)
        if "format_version" not in state:
            raise ValueError("the text is not a calibration: it has no format_version")
        if state["format_version"] > CALIBRATION_FORMAT:
            raise ValueError("the calibration was written by a later version; update s5forecast")
        calibrator = cls(**state["parameters"])
        calibrator.levels_ = state["levels"]
        columns = [level_name(level) for level in state["levels"]]
        groups = pd.MultiIndex.from_tuples(map(tuple, state["groups"]), names=["item_id", "step"])
        calibrator.corrections_ = pd.DataFrame(state["corrections"], groups, columns)
        if "spreads" in state:
            calibrator.spreads_ = pd.DataFrame(state["spreads"], groups, columns)
            known = pd.Index(state["items"], dtype=object)
            calibrator.item_corrections_ = pd.DataFrame(state["item_corrections"], known, columns)
        items, values = state.get("counts", ([], []))
        calibrator.counts_ = pd.Series(values, pd.Index(items, dtype=object), dtype=bool)
        items, values = state.get("item_scales", ([], []))
        calibrator.item_scales_ = pd.Series(values, pd.Index(items, dtype=object)) if items else None
        return calibrator

    def _follow(self, arrays: ForecastArrays) -> tuple[np.ndarray, pd.DataFrame, pd.DataFrame]:
        """Quantiles ``[M, Q]``, each window corrected by the targets known at its cutoff, and the final corrections."""
        method, scale = CONFORMAL_METHODS[self.method], self._scale(arrays)
        items = pd.Index(pd.unique(np.concatenate([self.item_corrections_.index, arrays.item])))
        groups, item = self._groups(arrays), items.get_indexer(arrays.item)
        theta, delta = self.corrections_, self.item_corrections_.reindex(items, fill_value=0.0)
        unit = self.learning_rate * outward(arrays.levels) * self.spreads_.to_numpy()
        item_rate = 0.0 if self.per_item else self.item_share
        state = Following(theta.to_numpy(copy=True), delta.to_numpy(copy=True), unit, item_rate)
        shares, inside = method.shares(arrays.levels), arrays.inside if method.symmetric else arrays.within

        cutoffs, window = np.unique(arrays.cutoff, return_inverse=True)
        known = np.maximum(window + 1, np.searchsorted(cutoffs, arrays.timestamp))  # number of the cutoff
        known[~(np.isfinite(arrays.target) & (scale[:, 0] > 0))] = len(cutoffs) + 1  # never known
        issued_at, known_at = (rows_of(when, len(cutoffs) + 1) for when in (window, known))
        moved = np.empty_like(arrays.quantiles)
        for now, (issued, happened) in enumerate(zip(issued_at, known_at, strict=True)):
            if len(happened):
                waited = (now - window[happened]).mean()
                gaps = (shares - inside(moved[happened], happened)) / waited
                state.observe(groups[happened], item[happened], gaps)
            moved[issued] = arrays.quantiles[issued] + scale[issued] * state.correction(groups[issued], item[issued])
        together = pd.DataFrame(state.theta, theta.index, theta.columns)
        return moved, together, pd.DataFrame(state.delta, delta.index, theta.columns)

    def _counts(self, arrays: ForecastArrays) -> np.ndarray:
        """Whether each row belongs to a window of counts, ``[M]``."""
        place = self.counts_.index.get_indexer(pd.Index(arrays.item))
        counts = np.append(self.counts_.to_numpy(), self.counts_.all())[place]  # place -1: not in fit
        return counts & arrays.count_windows & ~arrays.seen_fractional

    def _scores(self, arrays: ForecastArrays, method: Method) -> np.ndarray:
        """Distance of the target outside of each quantile, ``[M, Q]`` in units of the scale; NaN if unknown."""
        scale = self._scale(arrays)
        known = np.where(scale > 0, scale, np.nan)
        away = outward(arrays.levels) * (arrays.target[:, None] - self._base(arrays, method))
        return (np.maximum(away, away[:, arrays.opposite]) if method.symmetric else away) / known

    def _base(self, arrays: ForecastArrays, method: Method) -> np.ndarray:
        return np.broadcast_to(arrays.median, arrays.quantiles.shape) if method.around_median else arrays.quantiles

    def _scale(self, arrays: ForecastArrays) -> np.ndarray:
        """Unit of the scores, ``[M, 1]``."""
        if self.item_scales_ is None:
            return arrays.width
        place = self.item_scales_.index.get_indexer(pd.Index(arrays.item))
        if (place < 0).any():
            raise ValueError(f"series {arrays.item[place < 0][0]!r} was not calibrated; use scale='width'")
        return self.item_scales_.to_numpy()[place, None]

    def _keys(self, arrays: ForecastArrays) -> pd.Index:
        """The group of each row: its series or all series, and its step or all steps."""
        items = arrays.item if self.per_item else np.full(len(arrays.item), ALL_ITEMS, dtype=object)
        steps = arrays.step if self.per_step else np.full(len(arrays.item), ALL_STEPS)
        return pd.Index(zip(items, steps.tolist(), strict=True), tupleize_cols=False)

    def _groups(self, arrays: ForecastArrays) -> np.ndarray:
        """Position in ``corrections_`` of each row, ``[M]``."""
        keys = self._keys(arrays)
        place = self.corrections_.index.to_flat_index().get_indexer(keys)
        if (place < 0).any():
            item, step = keys[place < 0][0]
            which = f"series {item!r}" + (f", step {step}," if self.per_step else "")
            raise ValueError(f"{which} was not calibrated; calibrate on it, or use per_item=False, per_step=False")
        return place

    def _checked_arrays(self, forecasts: pd.DataFrame) -> ForecastArrays:
        arrays = ForecastArrays.from_frame(forecasts)
        if [*map(level_name, arrays.levels)] != [*map(level_name, self.levels_)]:
            raise ValueError(
                f"the calibrated levels are {self.levels_}, but the forecasts have {arrays.levels.tolist()}"
            )
        return arrays

    def _checked_method(self) -> Method:
        if self.scale not in ("width", "item"):
            raise ValueError(f"unknown scale {self.scale!r}; choose one of 'width', 'item'")
        if not 0 < self.learning_rate <= 1:
            raise ValueError(f"learning_rate must be in (0, 1], got {self.learning_rate!r}")
        if not 0 <= self.item_share <= 1:
            raise ValueError(f"item_share must be in [0, 1], got {self.item_share!r}")
        return choose(CONFORMAL_METHODS, self.method, "method")

    def _needed(self, method: Method) -> tuple[float, int]:
        """The level that requires the most scores, and their number."""
        shares = method.shares(np.array(self.levels_))
        needed = {level: needed_scores(share) for level, share in zip(self.levels_, shares, strict=True)}
        return max(needed.items(), key=lambda pair: pair[1])


def _float_dtype(given: Any) -> np.dtype[Any]:
    """The dtype of corrected values: that of the column, at least single precision; double for nullable numbers."""
    return np.result_type(given, np.float32) if isinstance(given, np.dtype) else np.dtype(np.float64)


def _median_errors(arrays: ForecastArrays) -> pd.Series:
    """Mean absolute error of the median of each series; 0 if its target was never observed."""
    return pd.Series(abs(arrays.target - arrays.median[:, 0])).groupby(arrays.item, sort=False).mean().fillna(0.0)


def _check_count(key: Any, needed: tuple[float, int], count: int, windows: int) -> None:
    level, least = needed
    if count < least:
        item, step = key
        which = "" if item == ALL_ITEMS else f" of series {item!r}"
        which += "" if step == ALL_STEPS else f" at step {step}"
        raise ValueError(
            f"level {level_name(level)} needs {least} calibration scores{which}, {windows} windows give {count}; "
            f"calibrate on at least {-(-least * windows // count)} windows, use per_item=False and "
            "per_step=False, or omit the level"
        )
