"""Occlusion: the output without a part of the input."""

from __future__ import annotations

from typing import Any

import numpy as np

from innvestigate.analyzer.perturbation import Game, GroupsAnalyzer
from innvestigate.engine.batch import Batch, expand, fold
from innvestigate.engine.references import References
from innvestigate.engine.warn import warn
from innvestigate.graph.task import input_name
from innvestigate.utils.windows import Windows


class Occlusion(GroupsAnalyzer):
    """Occlusion: how much the output drops when a window of the input is replaced.

    R_i = mean over the windows that cover feature i of (f(x) - f(x, window replaced)) / (features
    in the window), f being the explained output. Windows lie where `view_as_windows` of
    scikit-image puts them: the first at the origin, the next ones `step` further along an axis, as
    long as they fit. Features that no window covers get NaN, with one warning. Of several inputs
    one at a time is occluded. Instead of windows there may be groups: parts of any form, such as
    superpixels, words or columns of a table, which cover everything once.

    Args:
        model: See `Analyzer`. Only its forward pass is needed.
        window_shape: Features along each axis of a sample: an int for all axes or a tuple, such
            as `(8, 8, 3)` for images with 3 channels; axes that it leaves out at the end are
            covered as a whole, so `(8, 8)` is the same. For several inputs it holds for each of
            them, or a list or dict has one for each.
        step: How far windows are apart, in the same forms.
        reference_inputs: What features are replaced by, in any form of `References`: a number, a
            mean image, ...; of several for a sample the mean is taken. A token input's is a token.
        groups: Instead of windows: what is replaced together. Integer labels that broadcast to a
            sample's shape, or a function that maps a batch to labels for each of its samples, see
            `Groups`. What shares a label, also across inputs, is replaced at once, and shares the
            drop evenly.
        value: Another name of `reference_inputs`; counts where both are given.
        **kwargs: See `Analyzer`.

    Raises:
        ValueError: If a window is larger than the input, a step < 1, an argument does not fit the
            input, both windows and groups are given, or hidden layers are asked for.

    Reference: Zeiler & Fergus 2014, "Visualizing and Understanding Convolutional Networks",
    section 4.2.
    """

    def __init__(
        self,
        model,
        window_shape=1,
        step=1,
        reference_inputs=0,
        groups=None,
        *,
        value=None,
        **kwargs,
    ):
        super().__init__(model, reference_inputs, groups, **kwargs)
        if value is not None:
            self.references = References(value, self.input_spec, "value")
        self._window_shapes = self.input_spec.each(window_shape, "window_shape")
        self._steps = self.input_spec.each(step, "step")
        windows = self._windows([tuple(t.shape[1:]) for t in self.input_spec.tensors])
        if self.groups.given and any(n != 1 for w in windows for n in (*w.window, *w.step)):
            raise ValueError(
                "groups take the place of windows: pass either groups, or window_shape and step. "
                f"Received: window_shape={window_shape}, step={step} and groups."
            )

    def _windows(self, shapes: list[tuple]) -> list[Windows]:
        given = zip(self.input_spec.names, shapes, self._window_shapes, self._steps, strict=True)
        return [Windows.fitting(*one) for one in given]

    def explain(self, batch: Batch) -> dict[str, np.ndarray]:
        return super().explain(batch) if self.groups.given else self._explain_windows(batch)

    def worths(self, game: Game) -> dict[str, np.ndarray]:
        features = np.arange(len(game.features))
        without = game.means(len(features), lambda numbers: numbers[:, None] != features)
        return {"": (game.whole() - without).T}

    def _explain_windows(self, batch: Batch) -> dict[str, np.ndarray]:
        values = self.references.of(batch)
        count = values[0].shape[1]
        windows = self._windows([x.shape[1:] for x in batch.inputs])
        starts = np.cumsum([0, *map(len, windows)])
        whole = self.explained(batch.inputs, batch.weights)
        totals = [np.zeros(x.shape) for x in batch.inputs]
        for variants, rows in expand(batch, starts[-1] * count):
            inputs = [x.copy() for x in rows.inputs]
            replaced = []
            for k, (place, which) in enumerate(zip(*np.divmod(variants, count), strict=True)):
                i = np.searchsorted(starts, place, side="right") - 1
                window = (slice(None), *windows[i].at(place - starts[i]))
                fold(inputs[i], len(variants))[k][window] = values[i][:, which][window]
                replaced.append((i, window))
            drops = whole - fold(self.explained(inputs, rows.weights), len(variants))
            for drop, (i, window) in zip(drops, replaced, strict=True):
                part = totals[i][window]
                part += (drop / (count * part[0].size)).reshape(-1, *[1] * (part.ndim - 1))
        with np.errstate(invalid="ignore"):
            means = [total / w.coverage() for total, w in zip(totals, windows, strict=True)]
        self._covered = [w.coverage().reshape(-1) > 0 for w in windows]
        return {input_name(i): mean.astype(self.float) for i, mean in enumerate(means)}

    def finished(self, result: Any, offset: int = 0) -> Any:
        if self.groups.given:
            return super().finished(result, offset)
        leaves = self.input_spec.flattened(result["input"] if self.by_layer else result)
        flat = [y.reshape(len(y), -1, c.size) for y, c in zip(leaves, self._covered, strict=True)]
        known = [np.where(c, y, 0) for c, y in zip(self._covered, flat, strict=True)]
        super().finished(known, offset)
        missing = sum(int((~c).sum()) for c in self._covered)
        if missing:
            warn(
                f"No window covers {missing} features of the input; their result is NaN. Choose a "
                "window_shape and step that end at the input's last feature, or a smaller step."
            )
        return result
