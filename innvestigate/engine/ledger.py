"""The books of an analysis: what arrived at each step, what it sent and what it kept."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from innvestigate.graph.ledger import COLUMNS
from innvestigate.utils.arguments import check_flags, check_number

TOLERANCE = 1e-4
"""By how much of what a step handles its books may be off, where nothing else is asked for."""

_LOST = float(np.finfo("float32").tiny / np.finfo("float32").eps)
"""Sums of numbers below it miss some that float32 cannot hold."""

_FACTS = {"output": "the explained output", "change": "the change of the output"}


_ADVICE = {
    "output": "",
    "change": " More `steps` or `samples` come nearer; so may another `reference_inputs`.",
}


class LedgerError(RuntimeError):
    """The books of an analysis do not balance, or a number in them is not finite."""


@dataclass(frozen=True)
class Entry:
    """What became of the relevance in one step, summed over all samples.

    arrived = sent + bias + stabiliser + dropped, where the rule does what it says.

    Attributes:
        step: The step's name.
        rule: Its rule.
        arrived: Relevance at its outputs.
        sent: Relevance that it sent to its inputs.
        bias: What biases, constants and other summands that are no input took.
        stabiliser: What the stabiliser of denominators took.
        dropped: What arrived where a denominator is exactly zero.
        amplification: Σ|sent| / Σ|arrived|, of all batches the largest.
        finite: Whether all that it sent is finite.
        size: Σ|arrived| or Σ|sent|, the larger: what a gap is measured by.
    """

    step: str
    rule: str
    arrived: float
    sent: float
    bias: float
    stabiliser: float
    dropped: float
    amplification: float
    finite: bool
    size: float = field(repr=False)

    @property
    def gap(self) -> float:
        """What the books do not explain, arrived - sent - bias - stabiliser - dropped."""
        return self.arrived - self.sent - self.bias - self.stabiliser - self.dropped

    @property
    def relative_gap(self) -> float:
        """|gap| / size; 0 where the gap is below 1e-31, of numbers too small for float32."""
        gap = abs(self.gap)
        if gap <= _LOST:
            return 0.0
        return gap / self.size if self.size else np.inf

    def balances(self, tolerance: float = TOLERANCE) -> bool:
        """Whether `relative_gap` is at most the tolerance, and all is finite.

        Raises:
            ValueError: If the fraction is no number >= 0.
        """
        tolerance = check_number("tolerance", tolerance, least=0)
        return self.finite and bool(self.relative_gap <= tolerance)


@dataclass(frozen=True)
class Ledger:
    """The books of an analysis, as `analyzer.audit` returns them; prints as a table.

    Attributes:
        entries: One `Entry` for each step, in the order of the way back. None (an empty tuple) for
            methods that send no relevance from step to step.
        explained: For each sample what its results may add up to.
        received: For each sample the sum of its results.
        of: What is explained: `"output"`, or its `"change"` from a reference.
        results: What `analyze` returns.
    """

    entries: tuple[Entry, ...]
    explained: np.ndarray
    received: np.ndarray
    of: str
    results: Any = field(repr=False)

    @property
    def gap(self) -> np.ndarray:
        """For each sample what is explained and missing from the sum of its results."""
        return self.explained - self.received

    @property
    def accounted(self) -> np.ndarray:
        """For each sample the share of what is explained that its results add up to."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.explained != 0, self.received / self.explained, np.nan)

    def check(self, tolerance: float = TOLERANCE) -> None:
        """Ask that the books balance.

        Args:
            tolerance: By how much of what a step handles its books may be off; of the change of
                the output, where a method sends nothing from step to step, hundred times as much.

        Raises:
            LedgerError: If they do not, or a number is not finite; names the first step at fault.
            ValueError: If the tolerance is no number >= 0.
        """
        tolerance = check_number("tolerance", tolerance, least=0)
        for entry in self.entries:
            if not entry.balances(tolerance):
                raise LedgerError(_at_fault(entry))
        kept = sum(e.bias + e.stabiliser + e.dropped for e in self.entries)
        gap = self.gap if not self.entries else np.array([self.gap.sum() - kept])
        sizes = np.abs(self.explained) + np.abs(self.received)
        if self.entries:
            sizes = np.array([max(e.size for e in self.entries)])
        allowed = (1 if self.entries else 100) * tolerance
        wrong = np.flatnonzero(~(np.abs(gap) <= allowed * sizes))
        if len(wrong):
            where = "" if self.entries else f" of sample {wrong[0]}"
            raise LedgerError(
                f"The results{where} do not add up to {_FACTS[self.of]}: "
                f"{np.ravel(gap)[wrong[0]]:.6g} is missing, of {np.sum(self.explained):.6g} in all."
                f"{_ADVICE[self.of]}"
            )

    def to_frame(self):
        """The entries as a `pandas.DataFrame`.

        The columns are `step`, `rule`, `arrived`, `sent`, `bias`, `stabiliser`, `dropped`,
        `amplification`, `finite`; without entries, for each sample `explained`, `received`, `gap`.
        """
        import pandas

        if self.entries:
            return pandas.DataFrame([asdict(entry) for entry in self.entries]).drop(columns="size")
        names = ("explained", "received", "gap")
        return pandas.DataFrame({name: np.ravel(getattr(self, name)) for name in names})

    def __str__(self) -> str:
        frame = self.to_frame()
        told = frame.to_string(index=not self.entries, float_format=lambda x: f"{x:.4g}")
        share = np.sum(self.received) / (np.sum(self.explained) or np.nan)
        return (
            f"{told}\n\n{_FACTS[self.of]}: {np.sum(self.explained):.6g}, results: "
            f"{np.sum(self.received):.6g} ({share:.2%})"
        )


class Books:
    """Keeps the books while an analysis runs.

    Args:
        of: See `Ledger`.

    Attributes:
        in_detail: Whether there is to be an entry for each step.
    """

    def __init__(self, of: str, in_detail: bool = True):
        self.of, self.in_detail = of, in_detail
        self._rows: dict[tuple[str, str], np.ndarray] = {}
        self._gains: dict[tuple[str, str], float] = {}
        self._samples: list[tuple[np.ndarray, np.ndarray]] = []

    def note(self, steps: list[tuple[str, str]], parts: np.ndarray) -> None:
        """Add what was noted of steps, `(name, rule)`, in one batch: `COLUMNS`, of each part."""
        for step, row in zip(steps, np.sum(parts, axis=0, dtype="float64"), strict=True):
            noted = dict(zip(COLUMNS, row, strict=True))
            gain = noted["sent_size"] / noted["arrived_size"] if noted["arrived_size"] else 0.0
            self._rows[step] = self._rows.get(step, 0.0) + row
            self._gains[step] = max(self._gains.get(step, 0.0), gain)

    def add(self, explained: np.ndarray, received: np.ndarray) -> None:
        """Add what samples have to add up to, and what they do."""
        self._samples.append((np.asarray(explained, "float64"), np.asarray(received, "float64")))

    def closed(self, results: Any) -> Ledger:
        """The books of an analysis that returned some results."""
        entries = (self._entry(step, row) for step, row in self._rows.items())
        nothing = [(np.zeros(0), np.zeros(0))]  # is left to do in a job that was done before
        pairs = zip(*(self._samples or nothing), strict=True)
        explained, received = (np.concatenate(arrays) for arrays in pairs)
        return Ledger(tuple(entries), explained, received, self.of, results)

    def _entry(self, step: tuple[str, str], row: np.ndarray) -> Entry:
        noted = dict(zip(COLUMNS, row.tolist(), strict=True))
        size, bad = max(noted.pop("arrived_size"), noted.pop("sent_size")), noted.pop("bad")
        gain = self._gains[step]
        return Entry(*step, **noted, amplification=gain, finite=bad == 0, size=size)


def _at_fault(entry: Entry) -> str:
    if not entry.finite:
        return f"What the step {entry.step!r} sends by {entry.rule} is not finite."
    return (
        f"The books of the step {entry.step!r} do not balance: {entry.arrived:.6g} arrived, "
        f"{entry.rule} sent {entry.sent:.6g}, and by its formula {entry.bias:.6g} went to biases "
        f"and constants, {entry.stabiliser:.6g} to the stabiliser and {entry.dropped:.6g} was "
        f"dropped at zeros; {entry.gap:.6g} is missing. A rule that keeps relevance on purpose "
        "says so in its `absorbed`."
    )


class Audited:
    """What keeps books: that part of every analyzer.

    Attributes:
        adds_up_to: What the results of a sample add up to, in words: the `"output"`, or the
            `"change"` of it from a reference; None for nothing.
    """

    adds_up_to: str | None = None

    def audit(
        self,
        x: Any,
        neuron_selection: Any = None,
        *,
        in_detail: bool = True,
        batch_size: int = 32,
        verbose: int = 0,
    ) -> Ledger:
        """The books of an analysis: what became of the relevance in each step.

        For methods that share out the output's value (LRP, deep Taylor, patterns) a row for each
        step; for those that share out its change from a reference (DeepLIFT, integrated and
        expected gradients, Shapley sampling) what is missing from the sum for each sample.

        Args:
            x: See `analyze`.
            neuron_selection: See `analyze`.
            in_detail: Whether there is a row for each step, or sums of samples only.
            batch_size: See `analyze`.
            verbose: See `analyze`.

        Returns:
            A `Ledger`, which prints as a table; `results` is what `analyze` returns.

        Raises:
            ValueError: As `analyze` does, or if the method's results add up to nothing.
        """
        check_flags(in_detail=in_detail)
        books = self._open_books(in_detail)
        return books.closed(self._answer(books, x, neuron_selection, batch_size, verbose))

    def accounted(
        self, x: Any, neuron_selection: Any = None, *, batch_size=32, verbose=0
    ) -> np.ndarray:
        """For each sample the share of what is explained that the result accounts for.

        1 where the result adds up to it; the rest went to biases, stabilisers and zeros. `x` and
        all others are as for `analyze`.

        Returns:
            float64 of shape `(samples,)`, with several selections `(samples, n)`. NaN where what is
            explained is 0.

        Raises:
            ValueError: See `audit`.
        """
        options: dict[str, Any] = {"batch_size": batch_size, "verbose": verbose}
        return self.audit(x, neuron_selection, in_detail=False, **options).accounted

    def _answer(self, books: Books | None, x, neuron_selection, batch_size, verbose) -> Any:
        """What `analyze` returns, for samples whose books are kept."""
        raise NotImplementedError

    def _open_books(self, in_detail: bool) -> Books:
        if self.adds_up_to is None:
            raise ValueError(
                f"The results of {type(self).__name__} add up to nothing that is known, so there "
                "are no books to keep. Methods that share out the output: 'lrp.*', 'deep_taylor'; "
                "its change from a reference: 'deeplift', 'integrated_gradients', "
                "'shapley_sampling'."
            )
        return Books(self.adds_up_to, in_detail)
