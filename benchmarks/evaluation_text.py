"""Compares methods on networks that read: sentences word by word, days hour by hour.

Trained on the spot at the first run, and kept in demo/. Called by benchmarks/evaluation.py.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np
from keras import layers, ops
from measure import markdown, read, write

import innvestigate

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "examples"))

import package_data  # noqa: E402

LENGTH, WORDS, SIZE, HOURS = 32, 5000, 32, 24
SAMPLES, HELD_OUT, DRAWS = 200, 2000, 20
SHARES = (0.05, 0.1, 0.15, 0.2)
METHODS = {
    "gradient": {},
    "saliency": {},
    "input_t_gradient": {},
    "smoothgrad": {"noise_scale": 0.1, "augment_by_n": 16, "seed": 0},
    "integrated_gradients": {"steps": 16},
    "deeplift": {},
    "lrp.epsilon": {},
    "lrp.attn": {},
}
RANDOM = "random order"
INTRODUCTION = f"""## Sentences and days

Networks that read, trained on the spot. Three of them tell praise from complaint in sentences from
film and product reviews (11,628 of the texts that the source distribution of `vaderSentiment`
carries, {HELD_OUT:,} of them held out): a convolution, an LSTM, and a transformer of two blocks. An
LSTM tells winter from summer by the 24 hours of electrical power that Italy drew on a day (1,096
days of the data set ItalyPowerDemand, 500 held out).

In {SAMPLES} held-out sentences of ten words or more the {SHARES[-1]:.0%} of the words that speak
most for the network's verdict are deleted, and the rest moves together. Of {SAMPLES} held-out days
as many hours are replaced by those of the mean day, which is also the reference of the methods that
compare. The number is by how much the probability of the verdict drops, with its standard error
over samples; in brackets the mean drop over shares of {", ".join(f"{s:.0%}" for s in SHARES)}. The
random order is the mean of {DRAWS} draws.
"""


@dataclass
class Reader:
    """A network, what it reads, and how parts of that are taken away.

    Attributes:
        model: The network; above zero its output speaks for the first class.
        x: Held-out samples `(rows, places, ...)`.
        remove: Maps a sample and the places to be removed to the sample without them.
        places: How many places of each sample count.
        accuracy: On all that is held out.
        reference: What the methods that compare take as reference.
    """

    model: keras.Model
    x: np.ndarray
    remove: Callable
    places: np.ndarray
    accuracy: float
    reference: dict = field(default_factory=dict)

    def probability(self, x: np.ndarray) -> np.ndarray:
        """Of the verdict on the samples."""
        return 1 / (1 + np.exp(-self.verdict * self.model.predict(x, 500, verbose=0)[:, 0]))

    @property
    def verdict(self) -> np.ndarray:
        """1 or -1 for each sample."""
        return np.sign(self.model.predict(self.x, 500, verbose=0)[:, 0])

    def drops(self, relevance: np.ndarray) -> np.ndarray:
        """By how much the probability drops, for each share and sample."""
        order = np.argsort(-relevance, axis=1, kind="stable")
        before = self.probability(self.x)
        return np.stack([before - self.probability(self._without(order, s)) for s in SHARES])

    def _without(self, order: np.ndarray, share: float) -> np.ndarray:
        counts = np.round(share * self.places).astype(int)
        rows = zip(self.x, order, self.places, counts, strict=True)
        return np.stack(
            [self.remove(x, [i for i in row if i < n][:count]) for x, row, n, count in rows]
        )


@keras.saving.register_keras_serializable("innvestigate_benchmarks")
class Positions(layers.Layer):
    """Adds a learned vector for each place."""

    def build(self, shape):
        self.table = self.add_weight(shape=shape[1:], name="table")

    def call(self, x):
        return x + self.table


def convolution(tokens):
    """Features of three words each, the largest of each over the sentence."""
    vectors = layers.Dropout(0.3)(layers.Embedding(WORDS, SIZE)(tokens))
    found = layers.Conv1D(64, 3, padding="same", activation="relu")(vectors)
    return layers.GlobalMaxPooling1D()(found)


def lstm(tokens):
    """The last state of an LSTM."""
    vectors = layers.Embedding(WORDS, SIZE, mask_zero=True)(tokens)
    return layers.LSTM(SIZE)(layers.Dropout(0.3)(vectors))


def transformer(tokens):
    """Two blocks of self-attention, and the mean of the words."""
    words = ops.not_equal(tokens, 0)
    hidden = layers.Dropout(0.3)(Positions()(layers.Embedding(WORDS, SIZE)(tokens)))
    for _ in range(2):
        x = layers.LayerNormalization()(hidden)
        hidden = hidden + layers.MultiHeadAttention(4, 8)(x, x, key_mask=words)
        x = layers.Dense(64, "gelu")(layers.LayerNormalization()(hidden))
        hidden = hidden + layers.Dense(SIZE)(x)
    return layers.GlobalAveragePooling1D()(layers.LayerNormalization()(hidden), mask=words)


def trained(name: str, inputs, body: Callable, x, y, epochs: int, rate: float) -> keras.Model:
    """A network with one logit, trained at the first run."""
    path = HERE.parent / "demo" / f"evaluation_{name}.keras"
    if not path.exists():
        keras.utils.set_random_seed(0)
        model = keras.Model(inputs, layers.Dense(1)(layers.Dropout(0.5)(body(inputs))))
        model.compile(keras.optimizers.Adam(rate), keras.losses.BinaryCrossentropy(True))
        model.fit(x, y, batch_size=64, epochs=epochs, verbose=0)
        path.parent.mkdir(exist_ok=True)
        model.save(path)
    return keras.models.load_model(path)


def accuracy(model: keras.Model, x: np.ndarray, y: np.ndarray) -> float:
    """The share of right verdicts."""
    return float(((model.predict(x, 500, verbose=0)[:, 0] > 0) == y).mean())


def sentences() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tokens of all sentences of a clear rating, whether it is praise, and an order of them."""
    texts, ratings = package_data.load_snippets()
    clear = np.abs(ratings) >= 1
    texts, order = np.array(texts, object)[clear], np.random.default_rng(0).permutation(clear.sum())
    words = layers.TextVectorization(max_tokens=WORDS, output_sequence_length=LENGTH)
    words.adapt(list(texts[order[:-HELD_OUT]]))
    return ops.convert_to_numpy(words(list(texts))), ratings[clear] > 0, order


def reader_of_sentences(body: Callable) -> Reader:
    """A network for sentences, and those that it is explained on."""
    x, y, order = sentences()
    train, test = order[:-HELD_OUT], order[-HELD_OUT:]
    tokens = layers.Input((LENGTH,), dtype="int32")
    model = trained(body.__name__, tokens, body, x[train], y[train], 6, 1e-3)
    some = test[(x[test] != 0).sum(axis=1) >= 10][:SAMPLES]

    def remove(row: np.ndarray, places: list) -> np.ndarray:
        kept = np.delete(row, places)
        return np.pad(kept, (0, len(row) - len(kept)))

    places = (x[some] != 0).sum(axis=1)
    return Reader(model, x[some], remove, places, accuracy(model, x[test], y[test]))


def reader_of_days() -> Reader:
    """An LSTM for days."""
    days, winter = package_data.load_power_demand()
    x, order = days[..., None], np.random.default_rng(0).permutation(len(days))
    train, test = order[:596], order[596:]
    hours = layers.Input((HOURS, 1))
    model = trained("days", hours, layers.LSTM(32), x[train], winter[train], 40, 5e-3)
    mean = x[train].mean(axis=0)

    def remove(row: np.ndarray, places: list) -> np.ndarray:
        return np.where(np.isin(np.arange(HOURS), places)[:, None], mean, row)

    some = test[:SAMPLES]
    found = accuracy(model, x[test], winter[test])
    return Reader(
        model, x[some], remove, np.full(SAMPLES, HOURS), found, {"reference_inputs": mean}
    )


READERS = {
    "convolution": lambda: reader_of_sentences(convolution),
    "LSTM": lambda: reader_of_sentences(lstm),
    "transformer": lambda: reader_of_sentences(transformer),
    "LSTM, days": reader_of_days,
}


def measure(reader: Reader) -> dict:
    """The drops of each method and of random orders, of the last share and of all of them."""
    random, found = np.random.default_rng(0), {}
    draws = [reader.drops(random.random(reader.x.shape[:2])) for _ in range(DRAWS)]
    every = {RANDOM: np.mean(draws, axis=0)}
    for method, arguments in METHODS.items():
        compares = method in ("integrated_gradients", "deeplift")
        given = arguments | (reader.reference if compares else {})
        analyzer = innvestigate.create_analyzer(
            method, reader.model, neuron_selection_mode="weights", **given
        )
        relevance = analyzer.analyze(reader.x, reader.verdict[:, None])
        every[method] = reader.drops(relevance.reshape(*reader.x.shape[:2], -1).sum(axis=2))
    for method, drops in every.items():
        against = {other: drops[-1] - every[other][-1] for other in (RANDOM, "gradient")}
        found[method] = {
            "last": _mean_and_error(drops[-1]),
            "all": _mean_and_error(drops.mean(axis=0)),
            "against": {other: _mean_and_error(gain) for other, gain in against.items()},
        }
    return {"accuracy": reader.accuracy, "methods": found}


def _mean_and_error(values: np.ndarray) -> list[float]:
    mean, error = values.mean(), values.std(ddof=1) / np.sqrt(len(values))
    return [round(float(mean), 4), round(float(error), 4)]


def measure_missing(path: Path) -> None:
    """Measure what a file of results does not hold yet, and keep it there."""
    results = read(path)
    for name, make in READERS.items():
        if name not in results:
            results[name] = measure(make())
            write(path, results)
            print(name, *results[name]["methods"].items(), sep="\n", flush=True)


def section(results: dict) -> str:
    """The part of the page, given `measure` of each reader."""
    names = [name for name in READERS if name in results]
    rows = []
    for method in (RANDOM, *METHODS):
        cells = [results[name]["methods"][method] for name in names]
        texts = [f"{c['last'][0]:.3f} ± {c['last'][1]:.3f} ({c['all'][0]:.3f})" for c in cells]
        rows.append([method if method == RANDOM else f"`{method}`", *texts])
    header = [f"{name} ({results[name]['accuracy']:.1%})" for name in names]
    lines = [_finding(name, results[name]["methods"]) for name in names]
    table = markdown(["drop (right verdicts)", *header], rows)
    return "\n\n".join([INTRODUCTION.strip(), table, "\n".join(lines)])


def _finding(name: str, methods: dict) -> str:
    """By how much LRP is ahead, sample by sample."""
    against = methods["lrp.attn"]["against"]
    (first, e1), (second, e2) = against[RANDOM], against["gradient"]
    return (
        f"- {name}: sample by sample `lrp.attn` takes {first:.3f} ± {e1:.3f} more off the "
        f"probability than the random order, and {second:.3f} ± {e2:.3f} more than the gradient."
    )
