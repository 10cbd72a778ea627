"""Writes the reference values of deeplift, `deeplift/<network>.npz`.

    pip install deeplift==0.6.13.0 tensorflow==1.15.5 keras==2.2.4 \\
        "numpy<1.20" "h5py<3" "protobuf<3.21"             # Python 3.7, from PyPI
    python tests/references/make_deeplift.py [network ...]

Stores the weights of each layer, the samples, their references and the output as well, so that
the same network can be built in another Keras. Every sample comes twice: with a reference of zeros,
and with one of its own. Every value comes from a fresh model in a fresh session, and the original
is not mended; where it cannot be followed, no value is stored:

- It keeps two multipliers, for positive and for negative parts, and gives their mean, at inputs
  only. A hidden layer's are stored if the two are equal, which they are wherever a dense or a
  convolutional layer follows.
- It has no positive and negative part of the difference behind a max pooling. Contributions there
  would be zero, so only multipliers are stored.
- RevealCancel divides by a pseudocount of 1e-7 where a unit has no positive or no negative part,
  which in single precision is noise. Networks are drawn until no unit comes near (`is_steady`).
"""

import itertools
import sys
import tempfile
from pathlib import Path

import deeplift_networks as networks
import keras
import numpy as np
from deeplift.conversion import kerasapi_conversion
from deeplift.layers import activations, core
from deeplift.util import compile_func

FOLDER = Path(__file__).parent / "deeplift"
LETTERS = np.eye(4, dtype="float32")
LEAST_PART = 1e-3


def draw_weights(layer, random):
    """Values for the weights of a layer; about a third of all gammas are negative."""
    made = []
    for i, weight in enumerate(layer.get_weights()):
        if type(layer).__name__ == "BatchNormalization":
            low, high = ((0.5, 1.5), (-0.4, 0.4), (-0.3, 0.3), (0.4, 2.0))[i]
            value = random.uniform(low, high, weight.shape)
            if i == 0:
                value[1::3] *= -1
        elif type(layer).__name__ == "PReLU":
            value = random.uniform(0.1, 0.5, weight.shape)
        elif weight.ndim == 1:
            value = random.uniform(-0.3, 0.3, weight.shape)
        else:
            value = random.normal(0.1, 1.5, weight.shape) / np.sqrt(np.prod(weight.shape[:-1]))
        made.append(value.astype("float32"))
    return made


def draw_inputs(shape, random):
    """Samples twice, and references: zeros, then half of shuffled letters or smaller numbers."""
    if shape[-1] == 4:
        letters = random.randint(0, 4, (3, shape[0]))
        shuffled = np.array([random.permutation(row) for row in letters])
        x, given = LETTERS[letters], LETTERS[shuffled]
    else:
        count = 2 if len(shape) == 3 else 3
        x, given = random.uniform(-1, 1, (2, count, *shape)).astype("float32")
    return np.concatenate([x, x]), np.concatenate([np.zeros_like(x), 0.5 * given])


def draw(network):
    """Weights by layer, samples and references of a network, such that RevealCancel is steady."""
    seeds = itertools.count()
    while True:
        keras.backend.clear_session()
        random = np.random.RandomState(next(seeds))
        model = networks.NETWORKS[network](keras)
        drawn = {layer.name: draw_weights(layer, random) for layer in model.layers}
        pairs = [draw_inputs(tuple(x.shape.as_list()[1:]), random) for x in model.inputs]
        feed = [x for x, _ in pairs] + [reference for _, reference in pairs]
        if is_steady(build(network, drawn), feed):
            return drawn, feed


def build(network, drawn):
    """The network in a fresh session."""
    keras.backend.clear_session()
    keras.backend.set_learning_phase(0)
    model = networks.NETWORKS[network](keras)
    for layer in model.layers:
        layer.set_weights(drawn[layer.name])
    return model


def convert(model, mode):
    """The original's copy of a model, and its layer before the output's activation."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "model.h5")
        model.save(path)
        mode = getattr(core.NonlinearMxtsMode, mode)
        converted = kerasapi_conversion.convert_model_from_saved_files(
            path, nonlinear_mxts_mode=mode, verbose=False
        )
    layers = converted.get_name_to_layer()
    target = "logits_0" if "logits_0" in layers else "preact_probabilities_0"
    return converted, target


def run(converted, outputs, feed):
    """Values of the original's tensors for samples and then references of all inputs."""
    inputs = [converted.get_name_to_layer()[name] for name in converted.get_input_layer_names()]
    placeholders = [x.get_activation_vars() for x in inputs]
    return compile_func(placeholders + [x.get_reference_vars() for x in inputs], outputs)(feed)


def is_steady(model, feed):
    """Whether every unit has a positive and a negative part where RevealCancel is in use."""
    converted, _ = convert(model, "RevealCancel")
    units = [
        layer
        for name, layer in converted.get_name_to_layer().items()
        if isinstance(layer, activations.Activation) and name != "probabilities_0"
    ]
    parts = run(converted, [x.get_inputs().get_pos_and_neg_contribs() for x in units], feed)
    return min(np.abs(part).min() for pair in parts for part in pair) > LEAST_PART


def explain(model, mode, layer, index, feed):
    """Contributions and the two multipliers of a layer."""
    converted, target = convert(model, mode)
    count = len(feed) // 2
    contributions = converted.get_target_contribs_func(
        find_scores_layer_name=layer, pre_activation_target_layer_name=target
    )(
        task_idx=index,
        input_data_list=feed[:count],
        input_references_list=feed[count:],
        batch_size=len(feed[0]),
        progress_update=None,
    )
    explained = converted.get_name_to_layer()[layer]
    converted.get_name_to_layer()[target].set_active()
    multipliers = run(converted, [explained.get_pos_mxts(), explained.get_neg_mxts()], feed)
    return np.array(contributions), multipliers


def values(network, drawn, feed):
    """All stored values by `mode/layer/what`."""
    found = {}
    inputs = build(network, drawn).input_names
    for mode, layer in itertools.product(networks.MODES, (*inputs, *networks.HIDDEN[network])):
        contributions, (plus, minus) = explain(
            build(network, drawn), mode, layer + "_0", networks.index(network), feed
        )
        if network + "/" + layer in networks.MAX_POOLED:
            assert not contributions.any()
        else:
            found["/".join((mode, layer, "contributions"))] = contributions
        if layer in inputs or np.array_equal(plus, minus):
            found["/".join((mode, layer, "multipliers"))] = 0.5 * (plus + minus)
    return found


def main(chosen):
    FOLDER.mkdir(exist_ok=True)
    for network in chosen or networks.NETWORKS:
        drawn, feed = draw(network)
        arrays = values(network, drawn, feed)
        count = len(feed) // 2
        arrays["output"] = build(network, drawn).predict(feed[:count])
        for i in range(count):
            arrays[f"samples/{i}"], arrays[f"references/{i}"] = feed[i], feed[count + i]
        for layer, weights in drawn.items():
            arrays.update({f"weights/{layer}/{i}": array for i, array in enumerate(weights)})
        np.savez_compressed(str(FOLDER / f"{network}.npz"), **arrays)
        print(network, len(arrays), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
