"""The program in CONTRIBUTING.md runs, and its numbers are those of a naive derivation."""

import numpy as np
import pytest

import innvestigate
from tests.docs.pages import ROOT, blocks, run


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """The names of the program after it has run; it leaves no file and no name behind."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("contributing"))
        known = dict(innvestigate.analyzers)
        names = run(blocks(ROOT / "CONTRIBUTING.md", "python"), {"__name__": "contributing"})
        yield names
        innvestigate.analyzers.clear()
        innvestigate.analyzers.update(known)


@pytest.fixture(scope="module")
def network(program):
    """Weights of the program's network, float64, its convolution as one large matrix."""
    model, x = program["model"], np.asarray(program["x"])
    (kernel, bias), *dense = [
        [np.asarray(w, "float64") for w in layer.get_weights()]
        for layer in model.layers
        if layer.get_weights()
    ]
    matrix = np.zeros((8, 8, 3, 6, 6, 4))
    for i, j, p, q in np.ndindex(6, 6, 3, 3):
        matrix[i + p, j + q, :, i, j, :] = kernel[p, q]
    first = (matrix.reshape(8 * 8 * 3, 6 * 6 * 4), np.tile(bias, 36))
    return x.reshape(len(x), -1), [first, *dense]


def forward(x, weights):
    """The input of each layer, and the output of the last one."""
    values = [x]
    for k, (W, b) in enumerate(weights):
        z = values[-1] @ W + b
        values.append(z if k == len(weights) - 1 else np.maximum(z, 0))
    return values


def test_the_rule_shares_by_magnitude(program, network):
    x, weights = network
    *inputs, y = forward(x, weights)
    expected = np.zeros_like(x)
    for n in range(len(x)):
        relevance = np.where(y[n] == y[n].max(), y[n], 0)
        for (W, _), values in zip(weights[::-1], inputs[::-1], strict=True):
            shares = np.abs(values[n][:, None] * W)
            total = shares.sum(axis=0)
            relevance = shares @ np.divide(relevance, total, where=total > 0, out=0 * total)
        expected[n] = relevance
    found = program["relevance"].reshape(len(x), -1)
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=1e-6 * np.abs(expected).max())


def test_the_rule_for_differences_is_the_gradient_halfway(program, network):
    x, weights = network
    *_, y = forward(x, weights)
    expected = np.zeros_like(x)
    for n in range(len(x)):
        multiplier = (y[n] == y[n].max()).astype(float)
        value, reference = forward(x[n : n + 1], weights), forward(0 * x[n : n + 1], weights)
        for k in reversed(range(len(weights))):
            if k < len(weights) - 1:
                (W, b), pair = weights[k], (value[k], reference[k])
                middle = np.mean([t @ W + b for t in pair], axis=0)[0]
                multiplier = np.where(middle > 0, multiplier, 0)
            multiplier = weights[k][0] @ multiplier
        expected[n] = multiplier * x[n]
    found = program["halfway"].reshape(len(x), -1)
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def rectified(x, weights, threshold):
    """The gradient with 1[a s > threshold] at each rectifier, sample by sample."""
    _, *activations, y = forward(x, weights)
    results = []
    for n in range(len(x)):
        signal = (y[n] == y[n].max()).astype(float)
        for k in reversed(range(len(weights))):
            if k < len(activations):
                signal = np.where(activations[k][n] * signal > threshold, signal, 0)
            signal = weights[k][0] @ signal
        results.append(signal)
    return np.stack(results)


@pytest.mark.parametrize("threshold", [0, 0.01, 0.1])
def test_the_analyzer_is_a_rectified_gradient(program, network, threshold):
    x, weights = network
    expected = rectified(x, weights, threshold)
    analyzer = innvestigate.create_analyzer("rect_grad", program["model"], threshold=threshold)
    found = analyzer.analyze(program["x"]).reshape(len(x), -1)
    assert np.abs(expected).max() > 0
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def test_the_threshold_of_the_page_matters(program, network):
    x, weights = network
    shown = program["sparse"].reshape(len(x), -1)
    assert not np.allclose(shown, rectified(x, weights, 0), rtol=1e-3)


def test_without_a_threshold_it_is_guided_backprop(program):
    model, x = program["model"], program["x"]
    guided = innvestigate.create_analyzer("guided_backprop", model).analyze(x)
    found = innvestigate.create_analyzer("rect_grad", model).analyze(x)
    np.testing.assert_allclose(found, guided, atol=1e-6 * np.abs(guided).max())


def test_every_layer_follows_the_new_rule(program):
    plan = innvestigate.create_analyzer("lrp", program["model"], rule=program["Magnitude"]()).plan()
    kernels = [line for line in plan if "kernel" in line.kind and "no kernel" not in line.kind]
    assert len(kernels) == 3
    assert all("Magnitude" in line.rule for line in kernels)
    mixed = {line.step: line.rule for line in program["mixed"].plan()}
    assert sum("Magnitude" in rule for rule in mixed.values()) == 1


def test_a_negative_threshold_is_refused(program):
    with pytest.raises(ValueError, match="threshold must be >= 0"):
        innvestigate.create_analyzer("rect_grad", program["model"], threshold=-1)
