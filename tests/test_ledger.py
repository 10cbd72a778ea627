"""The books of an analysis: they balance where rules do what they say, and show where one does not.

What rules keep is derived once more unit by unit, from the weights (`tests.test_properties.lost`)
and by hand for networks of a few numbers.
"""

import keras
import numpy as np
import pytest
from hypothesis import given
from keras import layers, ops

import innvestigate
from innvestigate.engine.ledger import Entry
from innvestigate.rules import Epsilon, KernelRule, Rule, Share, Softmax
from tests.frameworks import examples
from tests.models import MODELS, build
from tests.test_properties import RULES, construct, lost, networks, samples
from tests.test_table import EXPECTED, analyzer, slow_but

pytestmark = pytest.mark.usefixtures("step_by_step")

KEEPING = [
    "lrp.z",
    "lrp.epsilon",
    "lrp.epsilon_IB",
    "lrp.gamma",
    "lrp.alpha_2_beta_1",
    "lrp.alpha_1_beta_0",
    "lrp.z_plus",
    "lrp.flat",
    "lrp.w_square",
    "lrp.sequential_preset_a_flat",
    "lrp.sequential_preset_b_flat_until_idx",
    "lrp.attn",
    "deep_taylor",
]
CHANGES = ("deeplift", "integrated_gradients", "expected_gradients", "shapley_sampling")


def creates(method, model):
    """Whether the table of tests says that a method takes a model."""
    refusals = [methods for methods, how in EXPECTED.get(model, []) if how.func is pytest.raises]
    return not any(method in methods for methods in refusals)


PAIRS = [(method, model) for method in KEEPING for model in MODELS if creates(method, model)]


def kept(entry):
    return entry.bias + entry.stabiliser + entry.dropped


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("method", "model"), PAIRS)
def test_the_books_balance(method, model):
    """At every step, and in all: what is explained = what the input gets + what steps keep."""
    x = build(model)[1]
    ledger = analyzer(method, model).audit(x, batch_size=2)
    for entry in ledger.entries:
        assert abs(entry.gap) <= 1e-4 * entry.size, entry
    size = max(entry.size for entry in ledger.entries)
    assert abs(ledger.gap.sum() - sum(map(kept, ledger.entries))) <= 1e-4 * size
    ledger.check()


@pytest.mark.parametrize("method", slow_but("lrp.epsilon", RULES))
@examples(10)
@given(network=networks())
def test_what_rules_keep_is_what_their_formula_says(method, network):
    model, x = construct(network, bias=True), samples(network)
    options = {**RULES[method], "layers": [layer.name for layer in model.layers[1:]]}
    ledger = innvestigate.create_analyzer(method, model, **RULES[method]).audit(x)
    found = innvestigate.create_analyzer(method, model, **options).analyze(x)
    inside = keras.Model(model.input, [[layer.input, layer.output] for layer in model.layers[1:]])
    for layer, (into, out) in zip(model.layers[1:], inside(x), strict=True):
        r = found[layer.name]
        expected = np.sum(lost(method, layer, np.array(into), np.array(out), r))
        entries = [e for e in ledger.entries if e.step.split(".")[0] == layer.name]
        np.testing.assert_allclose(sum(map(kept, entries)), expected, atol=1e-6 * np.abs(r).sum())


def test_each_column_by_hand():
    """z = 3 x₁ + x₂ + 5 and z = x₁ - x₁ = 0, from which 1 and 2 times z are summed up."""
    into = keras.Input((2,))
    model = keras.Model(into, layers.Dense(1)(layers.Dense(2, name="hidden")(into)))
    model.set_weights(
        [np.array([[3.0, 2], [1, -1]]), np.array([5.0, 0]), np.array([[1.0], [2]]), np.array([0.5])]
    )
    ledger = innvestigate.create_analyzer("lrp.z", model).audit(np.array([[1.0, 2.0]]))
    top, hidden = ledger.entries
    assert (top.arrived, top.sent, top.bias) == pytest.approx((10.5, 10, 0.5))
    assert (hidden.arrived, hidden.sent, hidden.bias, hidden.dropped) == pytest.approx(
        (10, 5, 5, 0)
    )
    assert hidden.amplification == pytest.approx(0.5)
    assert ledger.accounted == pytest.approx([5 / 10.5])
    flat = innvestigate.create_analyzer("lrp.epsilon", model, epsilon=1.0).audit(
        np.array([[1.0, 2.0]])
    )
    assert flat.entries[0].stabiliser == pytest.approx(10.5 / 11.5)
    assert flat.entries[0].bias == pytest.approx(0.5 * 10.5 / 11.5)


def test_what_arrives_at_an_exact_zero_is_dropped():
    """A hidden unit that is 2 - 2 = 0 gets a third of an output of 3, and cannot share it."""
    into = keras.Input((2,))
    hidden = layers.Dense(1, use_bias=False, name="hidden")(into)
    model = keras.Model(into, layers.Dense(1, name="top")(ops.concatenate([hidden, into], axis=-1)))
    model.set_weights([np.array([[2.0], [-1]]), np.array([[1.0], [1], [1]]), np.zeros(1)])
    rules = [(lambda layer: layer.name == "top", "Flat"), (lambda layer: True, "Z")]
    created = innvestigate.create_analyzer("lrp", model, rule=rules)
    entries = {entry.step: entry for entry in created.audit(np.array([[1.0, 2.0]])).entries}
    assert entries["hidden"].dropped == pytest.approx(1.0)
    assert entries["hidden"].sent == 0


class Lossy(KernelRule):
    """Loses a tenth and does not say so."""

    def relevance(self, linear, x, z, r):
        return 0.9 * Share([(x, linear.kernel)], r).relevance(linear)


class Doubled(Epsilon):
    """Sends twice what its formula says."""

    def relevance(self, *given):
        return 2 * super().relevance(*given)


class Forgetful(Softmax):
    """The softmax rule without the part that the other logits take."""

    def __call__(self, at, signals):
        return [at.inputs[0] * signals[0]]


class Broken(Rule):
    def __call__(self, at, signals):
        return [x * np.inf for x in at.inputs]


@pytest.mark.filterwarnings("ignore:The relevance of sample")
@pytest.mark.parametrize("wrong", [Lossy(), Doubled(), Broken()], ids=repr)
def test_a_wrong_rule_is_found_and_named(wrong):
    model, x = build("cnn")
    name = next(layer.name for layer in model.layers[1:] if layer.weights)
    rules = [(lambda layer: layer.name == name, wrong), (lambda layer: True, "Epsilon")]
    planted = innvestigate.create_analyzer("lrp", model, rule=rules)
    faults = [e.step for e in planted.audit(x).entries if not e.balances()]
    assert faults[0].split(".")[0] == name
    assert isinstance(wrong, Broken) or len(faults) == 1
    with pytest.raises(
        innvestigate.LedgerError, match=f"step '{faults[0]}'.*{type(wrong).__name__}"
    ):
        planted.analyze(x, check=True)


def test_a_wrong_rule_of_attention_is_found():
    model, x = build("attention")
    right = innvestigate.create_analyzer("lrp.attn", model)
    right.audit(x).check()
    is_softmax = lambda line: isinstance(line.rule, Softmax)  # noqa: E731

    class Planted(type(right)):
        def composite(self, task):
            found = super().composite(task)
            lines = [
                innvestigate.rules.Line(Forgetful(), line.condition, line.why)
                if is_softmax(line)
                else line
                for line in found.lines
            ]
            return innvestigate.rules.Composite(tuple(lines))

    class Opened(Planted):
        """Attention in its parts, the softmax among them."""

    into = keras.Input((6, 4))
    scores = ops.matmul(into, ops.swapaxes(into, 1, 2))
    y = layers.Dense(3)(layers.Flatten()(ops.matmul(ops.softmax(scores), into)))
    small = keras.Model(into, y)
    x = np.random.default_rng(0).normal(size=(4, 6, 4))
    innvestigate.create_analyzer("lrp.attn", small).audit(x).check()
    faults = [e.rule for e in Opened(small, "Epsilon").audit(x).entries if not e.balances()]
    assert faults == ["Forgetful()"]


@pytest.mark.parametrize("method", CHANGES)
@pytest.mark.parametrize("model", ["cnn", "two_inputs", "embedding", "lstm"])
def test_the_gap_is_what_is_missing_from_the_change(method, model):
    network, x = build(model)
    options = {} if method == "deeplift" else {"seed": 0}
    options = {"steps": 4} if method == "integrated_gradients" else options
    options |= {"samples": 2} if "seed" in options else {}
    created = innvestigate.create_analyzer(
        method, network, neuron_selection_mode="index", keep_output_activation=True, **options
    )
    ledger = created.audit(x, 1)
    at = lambda x: network.predict(x, verbose=0)[:, 1]  # noqa: E731
    zero = keras.tree.map_structure(np.zeros_like, x)
    results = keras.tree.flatten(created.analyze(x, 1))
    received = sum(r.reshape(len(r), -1).sum(axis=1, dtype="float64") for r in results)
    np.testing.assert_allclose(ledger.explained, at(x) - at(zero), atol=1e-5)
    np.testing.assert_allclose(ledger.received, received, atol=1e-6)
    np.testing.assert_allclose(ledger.gap, ledger.explained - received, atol=1e-6)
    if method in ("deeplift", "shapley_sampling"):
        created.analyze(x, 1, check=True)


def test_a_gap_is_an_error_where_it_is_asked_for():
    model, x = build("cnn")
    rough = innvestigate.create_analyzer("integrated_gradients", model, steps=1)
    assert np.abs(rough.audit(x).gap).max() > 0.01
    with pytest.raises(innvestigate.LedgerError, match=r"sample .* missing.*steps"):
        rough.analyze(x, check=True)


@pytest.mark.parametrize(
    ("arrived", "sent", "bias", "balances"),
    [
        (1.0, 0.99995, 0.0, True),
        (1e-20, 9e-21, 0.0, False),
        (1e-35, 9e-36, 0.0, True),  # float32 holds 1e-38, and no parts of it
        (0.0, 0.0, 1.0, False),
        (np.nan, np.nan, 0.0, False),
    ],
)
def test_a_gap_is_measured_by_what_the_step_handles(arrived, sent, bias, balances):
    entry = Entry("step", "rule", arrived, sent, bias, 0.0, 0.0, 1.0, True, abs(arrived))
    assert entry.balances() == balances
    if arrived == 1:
        assert entry.relative_gap == pytest.approx(5e-5)


@pytest.mark.parametrize("tolerance", [-1, "little", None, float("nan"), True, np.ones(2)])
def test_what_is_no_tolerance(tolerance):
    books = analyzer("lrp.z", "mlp").audit(build("mlp")[1])
    for check in (books.check, books.entries[0].balances):
        with pytest.raises(ValueError, match="tolerance must be a finite number >= 0"):
            check(tolerance)


def test_checking_changes_no_number():
    model, x = build("lstm")
    checked = innvestigate.create_analyzer("lrp.epsilon", model)
    plain = checked.analyze(x)
    np.testing.assert_allclose(checked.analyze(x, check=True), plain, rtol=0, atol=1e-6)


@pytest.mark.parametrize("method", ["lrp.epsilon", "deeplift"])
def test_accounted_is_the_share_of_each_sample(method):
    model, x = build("cnn")
    mode = {"neuron_selection_mode": "index", "keep_output_activation": True}
    created = innvestigate.create_analyzer(method, model, **mode)
    several = np.array([[[0], [2]]])
    found = created.accounted(x, several, batch_size=2)
    y = model.predict(x, verbose=0)[:, [0, 2]]
    y0 = model.predict(np.zeros_like(x), verbose=0)[:, [0, 2]] if method == "deeplift" else 0
    sums = created.analyze(x, several).sum(axis=(2, 3, 4), dtype="float64")
    np.testing.assert_allclose(found, sums / (y - y0), rtol=1e-3)
    audited = created.audit(x, several, batch_size=2)
    np.testing.assert_allclose(audited.accounted, found, rtol=1e-3)


class Shifted(layers.Layer):
    """Shows what is inside for a known number of rows only."""

    def build(self, shape):
        self.w = self.add_weight(shape=(3, 3))

    def call(self, x):
        rows = ops.shape(x)[0]
        return ops.matmul(x, self.w) + 0.0 * ops.cast(ops.arange(rows), x.dtype)[:, None]


def test_rows_that_only_fill_up_a_batch_are_in_no_book():
    into = keras.Input((3,))
    model = keras.Model(into, layers.Dense(2)(Shifted()(into)))
    x = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    created = innvestigate.create_analyzer("lrp.epsilon", model)
    ledger = created.audit(x, batch_size=3)  # a second batch of two rows
    explained = model.predict(x, verbose=0).max(axis=1)
    np.testing.assert_allclose(ledger.explained, explained, rtol=1e-5)
    assert ledger.entries[0].arrived == pytest.approx(explained.sum(), rel=1e-4)
    ledger.check()


@pytest.mark.parametrize("method", ["gradient", "pattern.net", "occlusion", "smoothgrad"])
def test_methods_that_add_up_to_nothing_keep_no_books(method):
    created, x = analyzer(method, "mlp"), build("mlp")[1]
    for ask in (created.audit, created.accounted, lambda x: created.analyze(x, check=True)):
        with pytest.raises(ValueError, match=r"add up to nothing.*'lrp"):
            ask(x)


def test_books_are_read_as_a_table():
    model, x = build("cnn")
    ledger = innvestigate.create_analyzer("lrp.epsilon", model).audit(x)
    frame = ledger.to_frame()
    columns = ["step", "rule", "arrived", "sent", "bias", "stabiliser", "dropped"]
    columns += ["amplification", "finite"]
    assert list(frame.columns) == columns
    kept = frame[["sent", "bias", "stabiliser", "dropped"]].sum(axis=1)
    np.testing.assert_allclose(frame.arrived, kept, rtol=1e-4)
    told = str(ledger)
    assert all(name in told for name in (*columns, *frame.step))
    assert f"({ledger.received.sum() / ledger.explained.sum():.2%})" in told
    gaps = innvestigate.create_analyzer("deeplift", model).audit(x).to_frame()
    assert list(gaps.columns) == ["explained", "received", "gap"]
    assert len(gaps) == len(x)


def test_sums_without_a_second_derivative_balance():
    image = layers.Input((6, 6, 3))
    larger = layers.UpSampling2D(2, interpolation="bilinear")(layers.Conv2D(2, 3)(image))
    model = keras.Model(image, layers.Dense(2)(layers.Flatten()(larger)))
    x = np.random.default_rng(0).normal(size=(2, 6, 6, 3)).astype("float32")
    innvestigate.create_analyzer("lrp.epsilon", model).audit(x).check()
