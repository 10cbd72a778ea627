"""Strings: what is explained are the tokens that the model's own layers make of them."""

from functools import cache

import keras
import numpy as np
import pytest
from keras import layers

import innvestigate
from innvestigate.engine.guard import ForwardDiffersError
from tests.frameworks import on_tensorflow

SENTENCES = ["a good film", "a bad bad plot", "words that nobody knows"]
WORDS = ["", "[UNK]", "film", "a", "good", "bad", "plot"]
METHODS = {
    "gradient": {},
    "input_t_gradient": {},
    "lrp.epsilon": {},
    "integrated_gradients": {"reference_inputs": 1, "steps": 8},
    "smoothgrad": {"augment_by_n": 4, "seed": 0},
    "deeplift": {"reference_inputs": 1},
    "occlusion": {"reference_inputs": 1},
    "shapley_sampling": {"reference_inputs": 1, "samples": 4, "seed": 0},
}


def head(tokens, masked=True):
    vectors = layers.Embedding(len(WORDS), 3, mask_zero=masked, name="vectors")(tokens)
    hidden = layers.Dense(4, "tanh", name="hidden")(vectors)
    return layers.Dense(2, name="logits")(layers.GlobalAveragePooling1D()(hidden))


def vectorizer(length=5, **arguments):
    return layers.TextVectorization(
        vocabulary=WORDS[2:], output_sequence_length=length, name="words", **arguments
    )


@cache
def reader(length=5, masked=True):
    """A model that reads sentences, and its twin that reads tokens, on the same weights."""
    keras.utils.set_random_seed(0)
    text = layers.Input((), dtype="string", name="text")
    model = keras.Model(text, head(vectorizer(length)(text), masked))
    tokens = layers.Input((length,), dtype="int32", name="text")
    twin = keras.Model(tokens, head(tokens, masked))
    random = np.random.default_rng(0)
    values = [random.normal(size=w.shape) for w in twin.get_weights()]
    twin.set_weights(values)
    for layer in twin.layers:
        if layer.weights:
            model.get_layer(layer.name).set_weights(layer.get_weights())
    return model, twin


def encoded(sentences, length):
    """Tokens by hand."""
    known = [[WORDS.index(w) if w in WORDS else 1 for w in s.split()] for s in sentences]
    return np.array([(row + [0] * length)[:length] for row in known])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("mode", ["max_activation", "index"])
def test_sentences_get_what_their_tokens_get(method, mode):
    model, twin = reader()
    explain = [
        innvestigate.create_analyzer(method, m, neuron_selection_mode=mode, **METHODS[method])
        for m in (model, twin)
    ]
    selection = [1, 0, 1] if mode == "index" else None
    found = explain[0].analyze(SENTENCES, selection)
    expected = explain[1].analyze(encoded(SENTENCES, 5), selection)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert np.abs(found).max() > 0.01
    again = explain[0].analyze(SENTENCES, selection, batch_size=1)
    np.testing.assert_allclose(again, found, rtol=1e-4, atol=1e-6)


def test_the_gradient_by_hand():
    model, _ = reader()
    table, w, b, v, _ = (np.float64(x) for x in model.get_weights()[-5:])
    tokens = encoded(SENTENCES, 5)
    counts = (tokens != 0) / (tokens != 0).sum(axis=1, keepdims=True)
    slope = 1 - np.tanh(table[tokens] @ w + b) ** 2
    expected = counts * ((slope * v[:, 1]) @ w.T * table[tokens]).sum(axis=-1)
    analyzer = innvestigate.create_analyzer("input_t_gradient", model, neuron_selection_mode="all")
    both = analyzer.analyze(SENTENCES)
    of_second = analyzer.rebuilt(neuron_selection_mode="index").analyze(SENTENCES, 1)
    np.testing.assert_allclose(of_second, expected, rtol=1e-4, atol=1e-6)
    assert not np.allclose(both, expected, atol=1e-3)


@pytest.mark.parametrize(
    "form",
    [list, np.array, lambda x: np.array(x, object), lambda x: np.array(x, "S"), np.atleast_2d],
    ids=["list", "str", "object", "bytes", "column"],
)
def test_every_form_of_strings(form):
    analyzer = innvestigate.create_analyzer("lrp.epsilon", reader()[0])
    x = form(SENTENCES)
    x = x.T if getattr(x, "ndim", 1) == 2 else x
    found = analyzer.analyze(x)
    assert found.shape == (3, 5)
    np.testing.assert_array_equal(found, analyzer.analyze(encoded(SENTENCES, 5)))
    assert analyzer.tokens(x).tolist() == [
        ["a", "good", "film", "", ""],
        ["a", "bad", "bad", "plot", ""],
        ["[UNK]", "[UNK]", "[UNK]", "[UNK]", ""],
    ]


def test_tensors_and_data_sets_of_strings():
    import tensorflow as tf

    analyzer = innvestigate.create_analyzer("gradient", reader()[0])
    expected = analyzer.analyze(SENTENCES)
    np.testing.assert_array_equal(analyzer.analyze(tf.constant(SENTENCES)), expected)
    data = tf.data.Dataset.from_tensor_slices(SENTENCES).batch(2)
    np.testing.assert_allclose(analyzer.analyze(data), expected, rtol=1e-5, atol=1e-7)


def test_sentences_of_any_length():
    """As many places as the longest of all sentences has, whatever the batch size."""
    model, _ = reader(None)
    analyzer = innvestigate.create_analyzer("deeplift", model, reference_inputs=1)
    found = analyzer.analyze(SENTENCES, batch_size=1)
    assert found.shape == analyzer.tokens(SENTENCES).shape == (3, 4)
    assert (found[0, 3] == 0).all() and (found[0, :3] != 0).all()
    np.testing.assert_allclose(found, analyzer.analyze(SENTENCES), rtol=1e-4, atol=1e-6)


def test_padding_changes_nothing():
    short, long = (
        innvestigate.create_analyzer("lrp.epsilon", reader(n)[0]).analyze(SENTENCES) for n in (4, 9)
    )
    np.testing.assert_allclose(long[:, :4], short, rtol=1e-5, atol=1e-7)
    assert not long[:, 4:].any()


def test_hidden_layers_and_the_tokens():
    names = ("words", "hidden", "input")
    found = innvestigate.create_analyzer("gradient", reader()[0], layers=names).analyze(SENTENCES)
    assert {name: y.shape for name, y in found.items()} == {
        "words": (3, 5),
        "hidden": (3, 5, 4),
        "input": (3, 5),
    }
    np.testing.assert_array_equal(found["words"], found["input"])


def lookup(**arguments):
    return layers.StringLookup(vocabulary=["rome", "oslo"], **arguments)


def vectors(cities):
    return layers.Flatten()(layers.Embedding(3, 2)(cities))


def person(encode, as_dict):
    """A model of an age and a city."""
    age, city = layers.Input((1,), name="age"), layers.Input((1,), dtype="string", name="city")
    features = layers.Concatenate()([age, encode(city)])
    inputs = {"age": age, "city": city} if as_dict else [age, city]
    return keras.Model(inputs, layers.Dense(1)(features))


@pytest.mark.parametrize("as_dict", [False, True])
@pytest.mark.parametrize(
    ("encode", "words"),
    [
        (lambda x: vectors(lookup()(x)), [["oslo"], ["[UNK]"]]),
        (lambda x: vectors(layers.Hashing(3)(x)), [["oslo"], ["x"]]),
        (lambda x: lookup(output_mode="one_hot")(x), [["[UNK]", "rome", "oslo"]] * 2),
    ],
    ids=["lookup", "hashing", "one_hot"],
)
def test_strings_beside_numbers(encode, words, as_dict):
    """Of a linear model: input times gradient adds up to the output but for its bias."""
    model = person(encode, as_dict)
    given = [np.array([[0.5], [2.0]], "float32"), np.array([["oslo"], ["x"]])]
    x = dict(zip(("age", "city"), given, strict=True)) if as_dict else given
    analyzer = innvestigate.create_analyzer("input_t_gradient", model)
    found, told = analyzer.analyze(x), analyzer.tokens(x)
    assert type(found) is type(x)
    age, city = found.values() if as_dict else found
    assert (told["city"] if as_dict else told[1]).tolist() == words
    assert (told["age"] if as_dict else told[0]).tolist() == [["0.5"], ["2.0"]]
    assert city.shape == np.shape(words)
    output = analyzer.outputs(tree_of_tokens(analyzer, x))
    np.testing.assert_allclose(age[:, 0] + city.sum(axis=1), output[:, 0], rtol=1e-5, atol=1e-6)
    assert (city != 0).any()


def tree_of_tokens(analyzer, x):
    spec = analyzer.input_spec
    return spec.flat(spec.check(analyzer.text.to_tokens(x))[0], 0)


@pytest.mark.parametrize("mode", ["multi_hot", "count", "tf_idf"])
def test_bags_of_words(mode):
    """One number for each word of the vocabulary; those that are not there get nothing."""
    weights = {"idf_weights": [1.0, 0.5, 2.0, 3.0, 1.0]} if mode == "tf_idf" else {}
    words = layers.TextVectorization(
        vocabulary=WORDS[2:], output_mode=mode, pad_to_max_tokens=True, max_tokens=8, **weights
    )
    text = layers.Input((), dtype="string")
    dense = layers.Dense(1)
    model = keras.Model(text, dense(words(text)))
    analyzer = innvestigate.create_analyzer("integrated_gradients", model)
    found = analyzer.analyze(SENTENCES)
    names = analyzer.tokens(SENTENCES)
    assert found.shape == names.shape == (3, 8)
    assert names[0].tolist() == [*WORDS[1:], "", ""]
    times = np.array([[s.split().count(w) for w in WORDS[1:]] for s in SENTENCES])
    times[2, 0] = 4  # unknown words
    times = np.minimum(times, 1) if mode == "multi_hot" else times
    idf = np.array([np.mean(weights["idf_weights"]), *weights["idf_weights"]]) if weights else 1
    kernel = np.array(dense.kernel)[:6, 0]
    np.testing.assert_allclose(found[:, :6], times * idf * kernel, rtol=1e-4, atol=1e-6)
    assert not found[:, 6:].any()


def test_two_layers_that_read_the_same_strings():
    """Results and tokens are a dict by the names of the layers."""
    text = layers.Input((), dtype="string", name="text")
    age = layers.Input((1,), name="age")
    letters = layers.TextVectorization(
        split="character", vocabulary=list("abcdefg"), output_sequence_length=8, name="letters"
    )(text)
    pooled = [
        layers.GlobalAveragePooling1D()(layers.Embedding(9, 2)(tokens))
        for tokens in (vectorizer()(text), letters)
    ]
    model = keras.Model([text, age], layers.Dense(1)(layers.Concatenate()([*pooled, age])))
    x = [SENTENCES, np.ones((3, 1), "float32")]
    analyzer = innvestigate.create_analyzer("input_t_gradient", model)
    found, told = analyzer.analyze(x), analyzer.tokens(x)
    assert {name: y.shape for name, y in found.items()} == {
        "age": (3, 1),
        "letters": (3, 8),
        "words": (3, 5),
    }
    assert told["words"][0].tolist() == ["a", "good", "film", "", ""]
    assert told["letters"][0, 0] == "a"
    total = sum(y.sum(axis=1) for y in found.values())
    output = analyzer.outputs(tree_of_tokens(analyzer, x))
    np.testing.assert_allclose(total, output[:, 0], rtol=1e-4, atol=1e-6)


def test_a_saved_analyzer_reads_strings(tmp_path):
    analyzer = innvestigate.create_analyzer("occlusion", reader()[0], reference_inputs=1)
    analyzer.save(tmp_path / "analyzer")
    again = innvestigate.load_analyzer(tmp_path / "analyzer")
    np.testing.assert_array_equal(again.analyze(SENTENCES), analyzer.analyze(SENTENCES))
    np.testing.assert_array_equal(again.tokens(SENTENCES), analyzer.tokens(SENTENCES))


@pytest.mark.filterwarnings("ignore:PatternNet is made for rectifiers")
def test_patterns_are_fitted_on_strings():
    model, twin = reader()
    found, expected = (
        innvestigate.create_analyzer("pattern.net", m, layers=("vectors",)).fit(x).analyze(x)
        for m, x in ((model, SENTENCES), (twin, encoded(SENTENCES, 5)))
    )
    np.testing.assert_allclose(found["vectors"], expected["vectors"], rtol=1e-4, atol=1e-6)
    assert found["vectors"].any()


def test_what_is_adapted_later_is_seen():
    model = keras.models.clone_model(reader()[0])
    analyzer = innvestigate.create_analyzer("gradient", model)
    model.get_layer("words").set_vocabulary(["nobody", "film"])
    assert analyzer.tokens(SENTENCES)[2].tolist() == ["[UNK]"] * 2 + ["nobody", "[UNK]", ""]


def test_numbers_that_are_no_tokens_stand_for_themselves():
    _, twin = reader()
    analyzer = innvestigate.create_analyzer("gradient", twin)
    assert analyzer.tokens(encoded(SENTENCES[:1], 5)).tolist() == [["3", "4", "2", "0", "0"]]


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.array(["a", None, "b"], object), "takes strings. Received: None .* NoneType"),
        (np.array([0.5, 1.5]), "wrong shape|whole numbers"),
        (np.full((2, 5), 99), "holds the token 99 in sample 0, 1, and its embedding"),
        (np.array([["a", "b"]]), "wrong shape. Received: \\(1, 2\\)"),
    ],
)
def test_what_is_no_text(x, message):
    analyzer = innvestigate.create_analyzer("gradient", reader()[0])
    with pytest.raises(ValueError, match=message):
        analyzer.analyze(x)


@on_tensorflow  # elsewhere no model is run on strings
def test_the_rest_is_compared_with_the_model(monkeypatch):
    """A vocabulary that changes between the model's run and ours is a difference, too."""
    model, _ = reader()
    analyzer = innvestigate.create_analyzer("gradient", model)
    tokens = encoded(SENTENCES, 5)
    monkeypatch.setattr(model, "call", lambda inputs, **_: model.get_layer("logits")(tokens[:, :4]))
    with pytest.raises(ForwardDiffersError, match="computes something else"):
        analyzer.analyze(SENTENCES)
    innvestigate.create_analyzer("gradient", reader(9)[0], check=False).analyze(SENTENCES)
