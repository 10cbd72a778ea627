"""Shapley values, estimated from random orders of the features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from innvestigate.analyzer.perturbation import Game, GroupsAnalyzer
from innvestigate.engine.batch import Batch, Moments, expand
from innvestigate.engine.ledger import Books
from innvestigate.graph.task import EXPLAINED
from innvestigate.utils.arguments import check_seed, check_whole, seed_or_fresh


class ShapleyAnalyzer(GroupsAnalyzer):
    """Base of analyzers that find Shapley values, which add up to the change of the output.

    A subclass states `worths`.

    Args:
        model: See `Analyzer`.
        reference_inputs: See `GroupsAnalyzer`.
        groups: See `GroupsAnalyzer`.
        sampling_axes: See `GroupsAnalyzer`.
        **kwargs: See `Analyzer`.
    """

    adds_up_to = "change"

    def booked(self, batch: Batch, books: Books) -> dict[str, np.ndarray]:
        starts = self.at_references(batch, self.references.of(batch)).mean(axis=0)
        return self.explain(batch) | {
            EXPLAINED: self.explained(batch.inputs, batch.weights) - starts
        }

    def starts(self, game: Game) -> np.ndarray:
        """The explained output where all features are missing, at each reference, `(n, rows)`.

        Raises:
            ValueError: If it is not finite.
        """
        starts = self.at_references(game.batch, game.references)
        if not np.all(np.isfinite(starts)):
            raise ValueError(
                "The model's output at reference_inputs is not finite: it has no value when all "
                "features are missing (as where all tokens are masked). Choose another reference."
            )
        return starts


class ShapleySampling(ShapleyAnalyzer):
    """Shapley values, estimated from random orders of the features.

    Features of the reference are replaced by the sample's one by one, in a random order; each is
    credited with the change of the explained output. R_i is the mean credit over all orders.
    Each order is walked in its reverse too, which lowers the variance. For each order the credits
    add up to the difference of the output at the sample and at its reference, so R does. The
    orders are the same for all samples and selections if there is a seed.

    Args:
        model: See `Analyzer`. Only its forward pass is needed, `samples` times the number of
            features times for each sample and reference.
        reference_inputs: What stands for a missing feature, in any form of `References`; of
            several for a sample the mean is taken. A token input's is a token.
        samples: How many orders there are, an even number: each comes with its reverse.
        groups: Integer labels that broadcast to a sample's shape: what shares a label, also
            across inputs, is one feature, and shares its value evenly. A list or dict of these
            for several inputs. Or a function that maps a batch to labels for each of its samples,
            see `Groups`. By default every number is a feature.
        sampling_axes: Instead of groups: the axes of x whose entries are features (0 is the batch
            axis); along the other axes they are grouped. `(1, 2)` makes pixels the features of
            images with channels. For several inputs it holds for each, or a list or dict has one
            for each; features of different inputs are never grouped.
        seed: Seed of the orders; None for other orders each time.
        **kwargs: See `Analyzer`.

    Attributes:
        standard_error: The standard error of the last result, in its structure: the deviation of
            the pairs of an order and its reverse, over the square root of their number. NaN for
            a single pair.

    Raises:
        ValueError: If an argument does not fit the input, both `groups` and `sampling_axes` are
            given, or hidden layers are asked for.

    Reference: Castro et al. 2009, "Polynomial calculation of the Shapley value based on sampling",
    section 3; Mitchell et al. 2022, "Sampling Permutations for Shapley Value Estimation", section
    2.4 (antithetic pairs).
    """

    def __init__(
        self,
        model,
        reference_inputs=0,
        samples: int = 32,
        groups=None,
        sampling_axes=None,
        seed: int | None = None,
        **kwargs,
    ):
        samples = check_whole("samples", samples, 2)
        if samples % 2:
            raise ValueError(
                f"samples must be even, as each order comes with its reverse. Received: {samples}."
            )
        self._pairs, self._seed = samples // 2, check_seed(seed)
        self.standard_error = None
        super().__init__(model, reference_inputs, groups, sampling_axes, **kwargs)

    def worths(self, game: Game) -> dict[str, np.ndarray]:
        size = len(game.features)
        walks = Walks(game.count, size, seed_or_fresh(self._seed))
        starts = self.starts(game)
        moments, credit, last = Moments(), np.zeros((len(game.batch), size)), None
        for numbers, rows in expand(game.batch, self._pairs * walks.pair):
            which, position, feature, present = walks.at(numbers)
            values = game.at(present, which, rows)
            for k, number in enumerate(numbers):
                last = starts[which[k]] if position[k] == 0 else last
                credit[:, feature[k]] += values[k] - last
                last = values[k]
                if (number + 1) % walks.pair == 0:
                    moments.add(credit[None] * (size / walks.pair))
                    credit[:] = 0
        with np.errstate(invalid="ignore"):
            error = np.sqrt(moments.variance / (moments.count - 1))
        return {"": moments.mean, "error of ": error}

    def restore(self, results: dict, batch: Any) -> Any:
        errors = {name: results.pop(f"error of {name}") for name in self.task.targets}
        return [super(ShapleySampling, self).restore(y, batch) for y in (results, errors)]

    def finished(self, result: Any, offset: int = 0) -> Any:
        result, self.standard_error = result
        return super().finished(result, offset)


@dataclass(frozen=True)
class Walks:
    """Steps from references to a sample, by random orders of the features and their reverses.

    Steps are numbered by order, then reference, direction and position.

    Attributes:
        references: The number of references.
        features: The number of features.
        seed: Seed of the orders.
    """

    references: int
    features: int
    seed: int

    @property
    def pair(self) -> int:
        """How many steps an order and its reverse take, over all references."""
        return self.references * 2 * self.features

    def at(self, numbers: np.ndarray) -> tuple[np.ndarray, ...]:
        """Some steps: reference, position, the feature added, and which ones are present then.

        Args:
            numbers: The numbers of k steps.

        Returns:
            Three integer arrays `(k,)` and a boolean one `(k, features)`.
        """
        pairs, steps = np.divmod(numbers, self.pair)
        shape = (self.references, 2, self.features)
        which, backward, position = np.unravel_index(steps, shape)
        orders = {
            pair: np.random.default_rng((self.seed, pair)).permutation(self.features)
            for pair in np.unique(pairs)
        }
        feature = np.empty(len(numbers), int)
        present = np.zeros((len(numbers), self.features), bool)
        for k, (pair, back, end) in enumerate(zip(pairs, backward, position, strict=True)):
            order = orders[pair][::-1] if back else orders[pair]
            feature[k] = order[end]
            present[k, order[: end + 1]] = True
        return which, position, feature, present
