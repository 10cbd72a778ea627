"""Our numbers against those of the original programs.

`make_innvestigate.py` and `make_zennit.py` wrote the references; `docs/differences.md` says where
the programs differ, and why.
"""

import itertools
from functools import cache
from pathlib import Path

import keras
import numpy as np
import pytest

import innvestigate
from innvestigate.rules import Pass
from tests.references import cases, networks

pytestmark = pytest.mark.usefixtures("step_by_step")

FOLDER = Path(__file__).parent
DOCS = FOLDER.parents[1] / "docs" / "differences.md"
TOLERANCE, ROUNDING = 2e-5, 1e-7  # backends and processors take sums in another order
QUICK = {
    *(("cnn_bn", label) for label in ("gradient", "lrp.alpha_2_beta_1", "deep_taylor.bounded")),
    *(("residual", label) for label in ("lrp.z", "lrp.sequential_preset_b_flat_until_idx, 3")),
    *(("separable", "lrp.sequential_preset_a"), ("embedding", "lrp, mixed")),
    *(("cnn_bn", "lrp.epsilon_gamma_box"), ("residual", "lrp.gamma, 0.25")),
}

GAMMA = {"fold_batch_norm": True, "bn_layer_rule": Pass()}
ZENNIT = {
    **{f"lrp.gamma, {g}": ("lrp.gamma", {"gamma": g, **GAMMA}) for g in (0, 0.25, 1, 100)},
    "lrp.epsilon_plus": ("lrp.epsilon_plus", {}),
    "lrp.epsilon_plus_flat": ("lrp.epsilon_plus_flat", {}),
    "lrp.epsilon_gamma_box": ("lrp.epsilon_gamma_box", cases.BOX),
    "lrp.epsilon_gamma_box, 1": ("lrp.epsilon_gamma_box", {**cases.BOX, "gamma": 1}),
    "lrp.epsilon_alpha_2_beta_1": ("lrp.epsilon_alpha_2_beta_1", {}),
    "lrp.excitation_backprop": ("lrp.excitation_backprop", {}),
}
ZENNIT_NETWORKS = ("mlp", "cnn", "cnn_bn", "residual")


@cache
def reference(program, network):
    """The arrays stored for a network: `labels`, and `values` by label, mode and sample."""
    with np.load(FOLDER / program / f"{network}.npz") as stored:
        return dict(stored)


@cache
def built(network):
    """A network, its samples, its output."""
    model, x = networks.build(network, keras), networks.inputs(network)
    return model, x, np.array(model(x))


def selected(y, mode):
    """The weights of the output that a mode stands for."""
    if mode == "all":
        return np.ones_like(y)
    chosen = y.argmax(-1) if mode == "max_activation" else np.full(len(y), cases.INDEX)
    return np.eye(y.shape[-1], dtype="float32")[chosen]


def explain(network, name, arguments):
    """The values of all modes, from one analyzer: modes are weights of the output."""
    model, x, y = built(network)
    weights = np.concatenate([selected(y, mode) for mode in cases.MODES])
    analyzer = innvestigate.create_analyzer(
        name, model, neuron_selection_mode="weights", **arguments
    )
    return np.split(analyzer.analyze(np.concatenate([x] * 3), weights), 3)


def explain_by_mode(network, name, arguments):
    """The values of all modes, from one analyzer for each."""
    model, x, _ = built(network)
    for mode in cases.MODES:
        analyzer = innvestigate.create_analyzer(
            name, model, neuron_selection_mode=mode, **arguments
        )
        yield analyzer.analyze(x, cases.INDEX if mode == "index" else None)


def check(program, network, label, found):
    """Every mode is equal to the stored value, up to a fraction of its largest number."""
    stored = reference(program, network)
    expected = stored["values"][list(stored["labels"]).index(label)]
    for mode, a, b in zip(cases.MODES, found, expected, strict=True):
        error, largest = np.abs(a - b).max(), np.abs(b).max()
        assert error <= TOLERANCE * largest + ROUNDING, f"{mode}: {error / largest:.1e}"


def marked(pairs):
    """Pairs of a network and a label, slow but for a sample."""
    return [pytest.param(*pair, marks=[] if pair in QUICK else pytest.mark.slow) for pair in pairs]


@pytest.mark.filterwarnings("ignore:ZBox.* applies to no layer")  # behind an embedding
@pytest.mark.parametrize(("network", "label"), marked(cases.table()))
def test_innvestigate(network, label):
    found = explain(network, cases.CASES[label][0], cases.arguments(label))
    check("innvestigate", network, label, found)


@pytest.mark.parametrize(("network", "label"), [p for p in cases.table() if p in QUICK])
def test_innvestigate_by_mode(network, label):
    found = explain_by_mode(network, cases.CASES[label][0], cases.arguments(label))
    check("innvestigate", network, label, found)


@pytest.mark.parametrize(("network", "label"), marked(itertools.product(ZENNIT_NETWORKS, ZENNIT)))
def test_zennit(network, label):
    check("zennit", network, label, explain(network, *ZENNIT[label]))


@pytest.mark.parametrize("network", ZENNIT_NETWORKS)
def test_zennit_ran_the_same_network(network):
    np.testing.assert_allclose(reference("zennit", network)["output"], built(network)[2], atol=1e-6)


@pytest.mark.parametrize("network", cases.COMPARED)
def test_every_case_is_stored_or_left_out(network):
    stored = reference("innvestigate", network)
    left_out = {label for other, label in cases.LEFT_OUT if other == network}
    assert {*stored["labels"], *left_out} == set(cases.CASES)
    assert not left_out & {*stored["labels"]}
    assert stored["values"].shape[:2] == (len(stored["labels"]), len(cases.MODES))
    assert np.isfinite(stored["values"]).all()
    assert all(values.any() for values in stored["values"])


@pytest.mark.parametrize("network", ZENNIT_NETWORKS)
def test_every_composite_of_zennit_is_stored(network):
    assert list(reference("zennit", network)["labels"]) == list(ZENNIT)


def test_every_analyzer_is_compared():
    compared = {name for name, _ in (*cases.CASES.values(), *ZENNIT.values())}
    assert not compared & {*cases.NOT_COMPARED}
    assert {*innvestigate.analyzers} <= compared | {*cases.NOT_COMPARED}


@pytest.mark.parametrize("reason", sorted({*cases.LEFT_OUT.values()}))
def test_the_docs_give_the_reason_of_every_case_left_out(reason):
    assert reason in " ".join(DOCS.read_text().split())
