"""Models of sequences with masks, each described by a plain dict, and what is right for them.

A description can be built again: for longer sequences, in another process, on another backend.
Right is what the user's model does when it is called. Nothing here computes with masks in place of
Keras: `Case.outputs` calls the model, `differences` are the central differences of that, and
`derivative` is the backend's own differentiation of the same call. All of it is float64 with
TensorFlow; elsewhere Keras rounds to float32 inside whatever the policy.

A description holds

- `source`: where masks come from. `tokens`: an embedding; `masking`: a `Masking` layer; `attached`:
  a second input that a layer of the user's own puts on the sequence; `given`: a second input that
  is handed to each layer as an argument;
- `parts`: what follows, see `_Builder`;
- `head`: `average`, `memory` or `flatten`;
- `lengths`: how many places of each sample count; the longest sample has no padding;
- `side`: whether padding is at the `end` or at the `start`;
- `free`: whether the model leaves the number of places open;
- `seed`: of weights and samples.
"""

from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property

import keras
import numpy as np
from keras import layers, ops

import innvestigate
from tests.frameworks import NAME, gradients

FLOAT = "float64" if NAME == "tensorflow" else "float32"
SIZE = 4
TOKENS = 9
NEURON = 1


# --- Layers of the user's own ---------------------------------------------------------------------


class Attach(layers.Layer):
    """Puts the mask that is its second input on its first."""

    def call(self, inputs):
        return inputs[0] * 1

    def compute_mask(self, inputs, previous_mask=None):
        return ops.cast(inputs[1], "bool")


class Shift(layers.Layer):
    """Adds a shift to vectors that wear a mask, and hands the mask on."""

    def call(self, inputs):
        return inputs[0] + inputs[1]

    def compute_mask(self, inputs, previous_mask=None):
        return previous_mask[0]


class Centre(layers.Layer):
    """Subtracts half the mean over the places that count: a layer with a `mask` argument."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, x, mask=None):
        if mask is None:
            return x - 0.5 * ops.mean(x, axis=1, keepdims=True)
        counts = ops.expand_dims(ops.cast(mask, x.dtype), -1)
        total = ops.sum(x * counts, axis=1, keepdims=True)
        return x - 0.5 * total / ops.sum(counts, axis=1, keepdims=True)


class Behead(layers.Layer):
    """Leaves the numbers alone and the first place out of the mask: it computes a mask."""

    def call(self, x):
        return ops.tanh(x)

    def compute_mask(self, x, previous_mask=None):
        counts = ops.cumsum(ops.ones_like(x[:, :, 0], "int32"), axis=1) > 1
        return counts if previous_mask is None else ops.logical_and(previous_mask, counts)


class Block(layers.Layer):
    """A block of a transformer: its attention learns of the mask through the tensor only.

    Args:
        supports_masking: Whether the block hands the mask on.
    """

    def __init__(self, supports_masking, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = supports_masking
        self.attention = layers.MultiHeadAttention(2, 2)
        self.feed = keras.Sequential([layers.Dense(SIZE, "tanh"), layers.Dense(SIZE)])
        self.norms = [layers.LayerNormalization(epsilon=0.1) for _ in range(2)]
        self.dropout = layers.Dropout(0.5)

    def build(self, shape):
        self.attention.build(shape, shape)
        for layer in (self.feed, *self.norms):
            layer.build(shape)

    def call(self, x, training=None):
        attended = self.dropout(self.attention(x, x), training=training)
        y = self.norms[0](x + attended)
        return self.norms[1](y + self.feed(y))


class PaddingBlock(layers.Layer):
    """Attention that takes a `mask` argument and makes an attention mask of it."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.attention = layers.MultiHeadAttention(2, 2)

    def build(self, shape):
        self.attention.build(shape, shape)

    def call(self, x, mask=None):
        allowed = None if mask is None else ops.cast(ops.expand_dims(mask, 1), "int32")
        return x + self.attention(x, x, attention_mask=allowed)


# --- From a description to a model ----------------------------------------------------------------

PLAIN = {
    "dense": lambda: layers.Dense(SIZE, "tanh"),
    "norm": lambda: layers.LayerNormalization(epsilon=0.1),
    "dropout": lambda: layers.Dropout(0.5),
    "behead": lambda: Behead(),
    "block": lambda: Block(True),
    "losing_block": lambda: Block(False),
}
MASKED = {
    "lstm": lambda: layers.LSTM(SIZE, return_sequences=True),
    "gru": lambda: layers.GRU(SIZE, return_sequences=True),
    "bidirectional": lambda: layers.Bidirectional(layers.LSTM(SIZE // 2, return_sequences=True)),
    "time": lambda: layers.TimeDistributed(layers.Dense(SIZE, "tanh")),
    "centre": lambda: Centre(),
    "padding_block": lambda: PaddingBlock(),
}
HEADS = {
    "heads": lambda: layers.MultiHeadAttention(2, 2),
    "grouped": lambda: layers.GroupQueryAttention(2, 2, 1),
}
SCORES = {"attention": lambda: layers.Attention(), "additive": lambda: layers.AdditiveAttention()}
MERGES = {
    "add": lambda: layers.Add(),
    "multiply": lambda: layers.Multiply(),
    "concatenate": lambda: layers.Concatenate(),
}
RECURRENT = ("lstm", "gru", "bidirectional")


@contextmanager
def precise():
    """All layers that are made inside compute in the type of this module."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(FLOAT)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)


class _Builder:
    """Appends the parts of a description to a sequence.

    A part is a dict. `kind` is the name of a layer in the tables above (those that attend to a
    sequence have `causal` and `cross`: whether they attend to the sequence that the model around
    them starts with), `plus` or one of `MERGES` (of the sequence and what `inner` makes of it), or
    `nested`: a model of `parts` in the `form` of `sequential` or `functional`.

    Args:
        length: How many places a sequence has; None leaves it open.
        mask: The mask that each layer is given as an argument, if masks are given so.
    """

    def __init__(self, length, mask=None):
        self.length, self.mask = length, mask

    def append(self, part, x, start):
        kind = part["kind"]
        if kind in PLAIN:
            return PLAIN[kind]()(x)
        if kind in MASKED:
            return MASKED[kind]()(x, **self._given(mask=self.mask))
        if kind == "nested":
            return getattr(self, f"_{part['form']}")(part["parts"], x)
        if kind in HEADS or kind in SCORES:
            return self._attend(kind, x, start if part["cross"] else x, part["causal"])
        other = self.append(part["inner"], x, start)
        if kind == "plus":
            return x + other
        merged = MERGES[kind]()([x, other])
        return layers.Dense(SIZE, "tanh")(merged) if kind == "concatenate" else merged

    def append_all(self, parts, x):
        start = x
        for part in parts:
            x = self.append(part, x, start)
        return x

    def _given(self, **arguments):
        return {} if self.mask is None else arguments

    def _attend(self, kind, x, value, causal):
        if kind in SCORES:
            given = self._given(mask=[self.mask, self.mask])
            return SCORES[kind]()([x, value], use_causal_mask=causal, **given)
        given = self._given(query_mask=self.mask, value_mask=self.mask)
        return HEADS[kind]()(x, value, use_causal_mask=causal, **given)

    def _sequential(self, parts, x):
        inner = keras.Sequential([layers.Input((self.length, SIZE), dtype=FLOAT)])
        for part in parts:
            form = part["kind"] == "nested" and _Builder(self.length)._alone(part["parts"])
            inner.add(form or {**PLAIN, **MASKED}[part["kind"]]())
        return inner(x, **self._given(mask=self.mask))

    def _alone(self, parts):
        """A Sequential model of parts, to stand in another one."""
        x = layers.Input((self.length, SIZE), dtype=FLOAT)
        inner = keras.Sequential([x])
        for part in parts:
            inner.add({**PLAIN, **MASKED}[part["kind"]]())
        return inner

    def _functional(self, parts, x):
        inside = layers.Input((self.length, SIZE), dtype=FLOAT)
        if self.mask is None:
            return keras.Model(inside, self.append_all(parts, inside))(x)
        mask = layers.Input((self.length,), dtype="bool")
        y = _Builder(self.length, mask).append_all(parts, inside)
        return keras.Model([inside, mask], y)([x, self.mask])

    def head(self, kind, x):
        if kind == "average":
            x = layers.GlobalAveragePooling1D()(x, **self._given(mask=self.mask))
        elif kind == "memory":
            x = layers.LSTM(3)(x, **self._given(mask=self.mask))
        else:
            x = layers.Flatten()(x)
        return layers.Dense(2)(x)


@dataclass
class Case:
    """A model, samples for it, and the same model as a function of floating point vectors.

    Attributes:
        description: See the module.
        model: The model to explain.
        inputs: Samples for it, in its own structure.
        twin: The same model; if it looks up tokens, with a shift of their vectors as a further
            input.
        vectors: What the twin computes on: the floats of the samples; for tokens, shifts of zero.
        zero: The same where all vectors are those of the reference 0.
        counts: Which places count, `(batch, length)`.
    """

    description: dict
    model: keras.Model
    inputs: object
    twin: keras.Model
    vectors: np.ndarray
    zero: np.ndarray
    counts: np.ndarray
    _others: list = field(default_factory=list)

    def run(self, vectors):
        """The twin's output as a tensor: several rows of vectors for each sample, in turn."""
        rows = np.arange(len(vectors)) % len(self.counts)
        others = [ops.convert_to_tensor(array[rows]) for array in self._others]
        return self.twin([vectors, *others] if others else vectors)

    def outputs(self, vectors):
        """What the model says of vectors, under the masks of its samples."""
        return ops.convert_to_numpy(self.run(ops.convert_to_tensor(vectors)))

    @cached_property
    def gradient(self):
        return derivative(self)

    def explained(self, vectors):
        return self.outputs(vectors)[:, NEURON]


def build(description, more=0):
    """The case of a description.

    Args:
        description: See the module.
        more: By how many places all samples are padded further.
    """
    longest = max(description["lengths"])
    length = longest + more
    with precise():
        model = _model(description, None if description["free"] else length)
        twin = _model(description, None if description["free"] else length, shifted=True)
    _weigh(model, description["seed"])
    twin.set_weights(model.get_weights())
    x, counts = _samples(description, more)
    kept = np.where(counts[..., None], 1, 0).astype(FLOAT)
    if description["source"] == "tokens":
        table = model.get_weights()[0]
        shift = np.zeros((*x.shape, SIZE), FLOAT)
        return Case(description, model, x, twin, shift, table[0] - table[x] + shift, counts, [x])
    if description["source"] == "masking":
        return Case(description, model, x * kept, twin, x * kept, 1e-9 * x * kept, counts)
    padding = counts.astype("int32")
    return Case(description, model, [x, padding], twin, x, 0 * x, counts, [padding])


def _model(description, length, shifted=False):
    source = description["source"]
    inputs = [layers.Input((length, SIZE), dtype=FLOAT, name="vectors")]
    if source == "tokens":
        tokens = layers.Input((length,), dtype="int32", name="tokens")
        x = layers.Embedding(TOKENS, SIZE, mask_zero=True, name="embedding")(tokens)
        x, inputs = (Shift()([x, inputs[0]]), [*inputs, tokens]) if shifted else (x, [tokens])
    elif source == "masking":
        x = layers.Masking()(inputs[0])
    else:
        inputs.append(layers.Input((length,), dtype="int32", name="padding_mask"))
        x = Attach()(inputs) if source == "attached" else inputs[0]
    builder = _Builder(length, ops.cast(inputs[1], "bool") if source == "given" else None)
    y = builder.head(description["head"], builder.append_all(description["parts"], x))
    return keras.Model(inputs if len(inputs) > 1 else inputs[0], y)


def _weigh(model, seed):
    random = np.random.default_rng(seed)
    model.set_weights([random.normal(0, 0.6, w.shape) for w in model.get_weights()])


def _samples(description, more):
    """Samples, also at places that do not count, and which places count."""
    lengths, end = np.array(description["lengths"])[:, None], description["side"] == "end"
    longest, random = lengths.max(), np.random.default_rng(description["seed"] + 1)
    if description["source"] == "tokens":
        x = random.integers(1, TOKENS, (len(lengths), longest)).astype("int32")
    else:
        x = random.normal(size=(len(lengths), longest, SIZE)).astype(FLOAT)
    place = np.arange(longest) if end else np.arange(longest)[::-1]
    added = ((0, more) if end else (more, 0), *[(0, 0)] * (x.ndim - 2))
    x, counts = np.pad(x, ((0, 0), *added)), np.pad(place < lengths, ((0, 0), added[0]))
    return (np.where(counts, x, 0) if x.ndim == 2 else x), counts


def _described(source, parts, head="average", lengths=(5, 3, 2), side="end", free=False, seed=0):
    keys = ("source", "parts", "head", "lengths", "side", "free", "seed")
    return dict(zip(keys, (source, parts, head, lengths, side, free, seed), strict=True))


def _attend(kind, causal=False, cross=False):
    return {"kind": kind, "causal": causal, "cross": cross}


def _nested(form, *parts):
    return {"kind": "nested", "form": form, "parts": list(parts)}


DENSE, NORM, LSTM, GRU = ({"kind": kind} for kind in ("dense", "norm", "lstm", "gru"))
CROSS = _attend("heads", cross=True)
HEADED = {"kind": "add", "inner": _attend("heads")}
MODELS = {
    "transformer": _described("tokens", [HEADED, NORM]),
    "two blocks": _described("tokens", [HEADED, NORM, HEADED, NORM]),  # the second sees no mask
    "memory read twice": _described("tokens", [DENSE, CROSS, CROSS]),  # the second time without
    "nested transformer": _described("tokens", [_nested("functional", HEADED, NORM)]),
    "nested memory": _described("tokens", [_nested("sequential", DENSE, LSTM)], "memory"),
    "flattened": _described("masking", [_attend("heads", causal=True)], "flatten"),
    "nested twice": _described(
        "masking", [_nested("sequential", _nested("sequential", GRU, {"kind": "time"}), NORM)]
    ),
    "both ways": _described(
        "masking",
        [{"kind": "bidirectional"}, {"kind": "concatenate", "inner": _attend("additive")}],
        side="start",
        free=True,
    ),
    "blocks": _described("attached", [{"kind": "block"}, {"kind": "losing_block"}, DENSE]),
    "own layers": _described(
        "attached",
        [{"kind": "behead"}, {"kind": "add", "inner": _attend("attention")}, {"kind": "centre"}],
    ),
    "given": _described("given", [_attend("heads", causal=True), _attend("grouped", cross=True)]),
    "given inside": _described(
        "given", [_nested("functional", DENSE, _nested("functional", _attend("attention")), GRU)]
    ),
}


# --- What is right --------------------------------------------------------------------------------


def differences(case):
    """Central differences of fourth order of the explained output in each vector's numbers."""
    x, step = case.vectors, 1e-4 if FLOAT == "float64" else 0.03
    basis = (step * np.eye(x[0].size)).reshape(-1, 1, *x.shape[1:]).astype(FLOAT)
    values = [case.explained((x + k * basis).reshape(-1, *x.shape[1:])) for k in (1, -1, 2, -2)]
    up, down, far_up, far_down = (v.reshape(-1, len(x)).T.reshape(x.shape) for v in values)
    return (8 * (up - down) - (far_up - far_down)) / (12 * step)


def derivative(case, vectors=None):
    """The gradient of the explained output in the vectors, by the backend's differentiation."""
    x = case.vectors if vectors is None else vectors
    return gradients(lambda x: case.run(x)[:, NEURON], x)


def integrated(case):
    """Integrated gradients from the reference 0 by two midpoints, under the sample's masks."""
    away = case.vectors - case.zero
    points = np.concatenate([case.zero + position * away for position in (0.25, 0.75)])
    return away * derivative(case, points).reshape(2, *away.shape).mean(axis=0)


def is_proof(case):
    """Whether what stands at places that do not count changes nothing, by trying it.

    A `Masking` layer makes zeros of it; numbers there would be a sample of another mask.
    """
    if case.description["source"] == "masking":
        return True
    noise = np.random.default_rng(0).normal(size=case.vectors.shape) * ~case.counts[..., None]
    moved = case.outputs(case.vectors + 3 * noise.astype(FLOAT))
    return _same(moved, case.outputs(case.vectors))


def grows(case, longer):
    """Whether further padding changes nothing."""
    return _same(case.outputs(case.vectors), longer.outputs(longer.vectors))


def _same(a, b):
    return bool(np.allclose(a, b, rtol=0, atol=1e-9 if FLOAT == "float64" else 1e-5))


# --- How far an analyzer is from it ---------------------------------------------------------------


def explain(method, case, **arguments):
    """What a method finds at the model's first input (at `layers`, a dict), for one neuron.

    Raises:
        AssertionError: If the result does not have the structure of the input, or gives something
            to a mask.
    """
    created = innvestigate.create_analyzer(
        method, case.model, neuron_selection_mode="index", **arguments
    )
    found = created.analyze(case.inputs, NEURON)
    if isinstance(case.inputs, list):
        assert len(found) == 2 and found[1].shape == case.inputs[1].shape
        assert not found[1].any()
        return found[0]
    return found


def _distance(found, right):
    """The largest error as a fraction of the largest right number."""
    assert found.shape == right.shape and np.all(np.isfinite(found))
    largest = np.abs(right).max()
    return np.abs(found - right).max() / (largest if largest > 1e-9 else 1)


def gap_of_oracles(case):
    """How far the backend's differentiation is from central differences."""
    right = case.gradient
    if case.description["source"] == "masking":  # a step away from a zero changes the mask
        return _distance(differences(case) * case.counts[..., None], right)
    return _distance(differences(case), right)


def gap_of_gradient(case):
    """How far the gradient is from that of the model; at tokens and at their vectors."""
    right = case.gradient
    if case.description["source"] != "tokens":
        return _distance(explain("gradient", case), right)
    found = explain("gradient", case, layers=("embedding", "input"))
    at_tokens = _distance(found["input"], np.linalg.norm(right, axis=-1))
    return max(at_tokens, _distance(found["embedding"], right))


STEPS = {"steps": 2, "quadrature": "midpoint"}


def gap_of_integrated_gradients(case):
    """How far integrated gradients are from those of the model, taken with the same points."""
    right = integrated(case)
    if case.description["source"] == "tokens":
        right = right.sum(axis=-1)
    return _distance(explain("integrated_gradients", case, **STEPS), right)


def gap_of_deeplift(case):
    """How far contributions are from adding up, as a fraction of the sum of their sizes."""
    found = explain("deeplift", case)
    assert np.all(np.isfinite(found))
    found = found.reshape(len(found), -1)
    right = case.explained(case.vectors) - case.explained(case.zero)
    sizes = np.abs(found).sum(axis=1)
    return (np.abs(found.sum(axis=1) - right) / np.where(sizes > 1e-9, sizes, 1)).max()


GAPS = {
    "oracles": gap_of_oracles,
    "gradient": gap_of_gradient,
    "integrated_gradients": gap_of_integrated_gradients,
    "deeplift": gap_of_deeplift,
}
