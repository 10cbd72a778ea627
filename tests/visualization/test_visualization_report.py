"""A page from analyzers: its words, numbers and pictures are those of the model and the methods."""

import base64
import io
import re
from html import unescape

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

import innvestigate
from innvestigate.visualization import Overlay, report
from tests.frameworks import on_tensorflow

CLASSES = ["cat", "dog", "owl"]
RANDOM = np.random.default_rng(0)
X = RANDOM.uniform(size=(2, 4, 5, 1)).astype("float32")
KERNEL = RANDOM.normal(size=(20, 3)).astype("float32")


def linear(activation="softmax", kernel=KERNEL):
    """A model whose relevance is x ⊙ w."""
    model = keras.Sequential(
        [layers.Input((4, 5, 1)), layers.Flatten(), layers.Dense(3, activation=activation)]
    )
    model.set_weights([kernel, np.zeros(3, "float32")])
    return model


def create(name="lrp.z", model=None, **more):
    return innvestigate.create_analyzer(name, model or linear(), **more)


@pytest.fixture
def told(tmp_path):
    """Writes a page and returns it."""

    def write(analyzers, x=X, **more):
        path = report(analyzers, x, tmp_path / "page.html", **more)
        assert path == tmp_path / "page.html" and list(tmp_path.iterdir()) == [path]
        return unescape(path.read_text("utf-8"))

    return write


def words(page):
    return re.findall(r"</h2>\n<p>(.*?)</p>", page)


def titles(page):
    return re.findall(r"<strong>(.*?)</strong>", page)


def pictures(page, kind):
    found = re.findall(rf'<img class="{kind}"[^>]*base64,([^"]*)"', page)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(one)))) for one in found]


def logits(x=X, kernel=KERNEL):
    return x.reshape(len(x), -1).astype("float64") @ kernel


def probabilities():
    powers = np.exp(logits())
    return powers / powers.sum(axis=1, keepdims=True)


def relevance(i, neuron):
    """x ⊙ w of one sample, as a heatmap."""
    return (X[i].ravel().astype("float64") * KERNEL[:, neuron]).reshape(4, 5)


def test_images_with_their_predictions_and_heatmaps(told):
    page = told({"LRP": create()}, class_names=CLASSES, names=["a.png", "b.png"], title="For you")
    winners = probabilities().argmax(axis=1)
    assert words(page) == [
        f"{CLASSES[k]} ({k}), probability {probabilities()[i, k]:.3g}"
        for i, k in enumerate(winners)
    ]
    assert "<h1>For you</h1>" in page and ">a.png<" in page and ">b.png<" in page
    assert titles(page) == ["input", "LRP"] * 2
    assert page.count("adds up to 100.00% of the explained output") == 2
    for i, heat in enumerate(pictures(page, "heat")):
        expected = Overlay(relevance(i, winners[i]), X[i]).heat
        np.testing.assert_allclose(heat.astype(int), expected, atol=2)
    for i, image in enumerate(pictures(page, "image")):
        np.testing.assert_array_equal(image, np.round(X[i, ..., 0] * 255))
    assert "before its final activation" in page and keras.__version__ in page
    assert "<td>dense" in page  # the plan


def test_sums_are_of_what_a_method_shares_out(told):
    """DeepLIFT shares out a change, of which there is none at the reference."""
    at_reference = create("deeplift", reference_inputs=X[0])
    page = told({"LRP": create(), "DeepLIFT": at_reference})
    assert re.findall(r'note">((?:adds|nothing).*?)<', page) == [
        "adds up to 100.00% of the explained output",
        "nothing to add up to: the output's change from the reference is zero",
        "adds up to 100.00% of the explained output",
        "adds up to 100.00% of the output's change from the reference",
    ]


def test_the_largest_logit_is_named_where_probabilities_are_saturated(told):
    """Two sigmoids are 1 in single precision; the explained one is that of the larger logit."""
    kernel = np.zeros((20, 3), "float32")
    kernel[:, 1], kernel[:, 2] = 30, 40
    page = told(create(model=linear("sigmoid", kernel)), class_names=CLASSES)
    assert words(page) == ["owl (2), output 1"] * 2


def test_chosen_neurons(told):
    page = told(create(neuron_selection_mode="index"), neuron_selection=[2, 0], class_names=CLASSES)
    p, largest = probabilities(), probabilities().argmax(axis=1)
    for i, k in enumerate((2, 0)):
        said = f"{CLASSES[largest[i]]} ({largest[i]}), probability {p[i, largest[i]]:.3g}"
        assert words(page)[i] == (
            f"Explained: {CLASSES[k]} ({k}), probability {p[i, k]:.3g}. Largest output: {said}."
        )
        expected = Overlay(relevance(i, k), X[i]).heat
        np.testing.assert_allclose(pictures(page, "heat")[i].astype(int), expected, atol=2)


@pytest.mark.parametrize("selection", [1, (1,), np.array([[1], [1]]), ((1,), (1,))])
def test_one_neuron_in_every_form(told, selection):
    page = told(create(neuron_selection_mode="index"), neuron_selection=selection)
    assert all(text.startswith("Explained: neuron 1, prob") for text in words(page))


def test_several_neurons_of_each_sample_get_a_picture_each(told):
    analyzers = {"z": create(neuron_selection_mode="index")}
    page = told(analyzers, neuron_selection=np.array([[[2], [1]]]), class_names=CLASSES)
    assert titles(page) == ["input", "z: owl (2)", "z: dog (1)"] * 2
    for heat, (i, k) in zip(pictures(page, "heat"), [(0, 2), (0, 1), (1, 2), (1, 1)], strict=True):
        np.testing.assert_allclose(heat.astype(int), Overlay(relevance(i, k), X[i]).heat, atol=2)
    assert page.count("adds up to 100.00%") == 4


def test_other_questions(told):
    page = told(
        create(neuron_selection_mode="contrast"), neuron_selection=(2, [0, 1]), class_names=CLASSES
    )
    assert "Explained: owl (2) rather than cat (0)." in words(page)[0]
    assert "Explained: owl (2) rather than dog (1)." in words(page)[1]
    page = told(create(neuron_selection_mode="all"))
    assert words(page)[0].startswith("Explained: the sum of all outputs. Largest output: neuron")
    page = told(create(neuron_selection_mode="weights"), neuron_selection=np.eye(3)[None, :2])
    assert titles(page) == ["input", "LRP: weights 0", "LRP: weights 1"] * 2
    assert "a weighted sum of outputs" in words(page)[0]


@pytest.mark.parametrize("swapped", [False, True])
def test_several_contrasts_with_one_neuron(told, swapped):
    """Both sides of a contrast are matched as `analyze` matches them."""
    several, order = (np.array([[[0], [1]]]), 2), slice(None, None, -1 if swapped else 1)
    analyzer = create(neuron_selection_mode="contrast")
    page = told({"z": analyzer}, neuron_selection=several[order], class_names=CLASSES)
    named = [("cat (0)", "owl (2)"), ("dog (1)", "owl (2)")]
    pairs = [" rather than ".join(pair[order]) for pair in named]
    assert titles(page) == ["input", *(f"z: {pair}" for pair in pairs)] * 2
    assert words(page)[0].startswith(f"Explained: {'; '.join(pairs)}. Largest")
    sign = -1 if swapped else 1
    for heat, (i, k) in zip(pictures(page, "heat"), [(0, 0), (0, 1), (1, 0), (1, 1)], strict=True):
        expected = Overlay(sign * (relevance(i, k) - relevance(i, 2)), X[i]).heat
        np.testing.assert_allclose(heat.astype(int), expected, atol=2)


def test_a_neuron_of_an_output_with_axes(told):
    model = keras.Sequential([layers.Input((4, 5, 1)), layers.Conv2D(2, 1)])
    analyzer = create("gradient", model, neuron_selection_mode="index")
    page = told(analyzer, neuron_selection=(-1, 2, 1), class_names=["ground", "cell"])
    value = model.predict(X, verbose=0)[0, 3, 2, 1]
    assert words(page)[0].startswith(f"Explained: cell (3,2,1), output {value:.3g}. ")


def test_photographs_in_place_of_what_the_model_takes(told):
    photographs = RANDOM.integers(0, 255, (2, 4, 5, 3)).astype("uint8")
    page = told(create("gradient"), images=photographs)
    np.testing.assert_array_equal(pictures(page, "image"), photographs)
    assert "adds up" not in page


def test_tables(told):
    model = keras.Sequential([layers.Input((3,)), layers.Dense(1)])
    x = np.ones((2, 3), "float32")
    lrp = create(model=model)
    page = told([lrp, lrp], x, features=["age", "size", "<dose>"])
    assert titles(page) == ["LRP", "LRP 2"] * 2
    assert page.count("data:image/png") == 4 and "the output</dd>" in page
    assert 'type="range"' not in page


def test_series(told):
    model = keras.Sequential(
        [layers.Input((6, 2)), layers.Conv1D(3, 3), layers.Flatten(), layers.Dense(2)]
    )
    page = told(create("gradient", model), RANDOM.normal(size=(1, 6, 2)))
    assert titles(page) == ["GradientAnalyzer"] and page.count("data:image/png") == 1


def tokens_model():
    keras.utils.set_random_seed(0)
    embedded = [layers.Input((4,), dtype="int32"), layers.Embedding(9, 3), layers.Flatten()]
    return keras.Sequential([*embedded, layers.Dense(1)])


def without_padding(model):
    """The model, whose vector of token 0 is zero, so that padding has no relevance."""
    (embedding,) = (layer for layer in model.layers if isinstance(layer, layers.Embedding))
    vectors = embedding.get_weights()[0]
    vectors[0] = 0
    embedding.set_weights([vectors])
    return model


def test_relevance_behind_the_tokens_is_not_left_out(told):
    analyzer, x = create("lrp.epsilon", tokens_model()), np.array([[1, 2, 3, 0], [4, 5, 0, 0]])
    words = [["a", "fine", "film", "[PAD]"], ["dull", "one", "[PAD]", "[PAD]"]]
    page = told(analyzer, x, tokens=words)
    assert re.findall(r">([^<]*)</span>", page) == words[0] + words[1]
    match = r"tokens\[1\] has 1 words, but there is relevance at the places up to 3"
    with pytest.raises(ValueError, match=match):
        told(analyzer, x, tokens=[words[0], ["dull"]])


def test_tokens(told):
    analyzer = create("lrp.epsilon", without_padding(tokens_model()))
    x = np.array([[1, 2, 3, 0], [4, 0, 0, 0]])
    page = told(analyzer, x, tokens=[["a", "fine", "<film>"], ["dull"]])
    said = re.findall(r'<span title="([^"]*)"[^>]*>(.*?)</span>', page)
    expected = analyzer.analyze(x)
    assert said == [
        (f"{expected[i, j]:+.4g}", token)
        for i, j, token in [(0, 0, "a"), (0, 1, "fine"), (0, 2, "<film>"), (1, 0, "dull")]
    ]


def test_vectors_of_tokens_are_summed(told):
    model = keras.Sequential([layers.Input((3, 2)), layers.Flatten(), layers.Dense(1)])
    analyzer, x = create("gradient", model), np.ones((1, 3, 2))
    page = told(analyzer, x, tokens=[["a", "b", "c"]])
    expected = analyzer.analyze(x)[0].sum(axis=1)
    assert re.findall(r'title="([^"]*)"', page) == [f"{value:+.4g}" for value in expected]


@on_tensorflow
def test_strings_bring_their_tokens(told):
    reading = layers.TextVectorization(output_sequence_length=5, vocabulary=["good", "film"])
    text = layers.Input((), dtype="string")
    hidden = layers.Flatten()(layers.Embedding(4, 3)(reading(text)))
    model = keras.Model(text, layers.Dense(1, activation="sigmoid")(hidden))
    page = told(create("lrp.epsilon", model), np.array(["a good film", "film"]))
    padded = ["[UNK]", "good", "film", "[PAD]", "[PAD]", "film", *["[PAD]"] * 4]
    assert re.findall(r">([^<]*)</span>", page) == padded
    page = told(create("lrp.epsilon", without_padding(model)), np.array(["a good film", "film"]))
    assert re.findall(r">([^<]*)</span>", page) == ["[UNK]", "good", "film", "film"]
    with pytest.raises(ValueError, match=r"not both.*images= and strings"):
        told(create("lrp.epsilon", model), np.array(["a good film", "film"]), images=X)


def test_many_batches(told):
    model = linear()
    x = RANDOM.uniform(size=(5, 4, 5, 1)).astype("float32")
    page = told(create(model=model), x, batch_size=2)
    expected = model.predict(x, verbose=0)
    assert [float(text.rsplit(" ")[-1]) for text in words(page)] == pytest.approx(
        expected.max(axis=1), rel=5e-3
    )


def test_a_page_that_fails_leaves_the_old_one(tmp_path):
    path = tmp_path / "page.html"
    path.write_text("old")
    for analyzers, more in [
        (create(), {"neuron_selection": 3}),
        (create(), {"class_names": ["a"]}),
        (create(), {"images": np.zeros((2, 3, 3))}),
    ]:
        with pytest.raises(ValueError):
            report(analyzers, X, path, **more)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("names", [["lrp.z", "random", "input"], ["random", "lrp.z"]])
def test_what_explains_nothing_stands_beside_what_does(names, told):
    page = told({name: create(name) for name in names}, class_names=CLASSES)
    assert titles(page)[: len(names) + 1] == ["input", *names]
    winners, before = probabilities().argmax(axis=1), "the output before its final activation"
    assert [one.split(" ")[0] for one in words(page)] == [CLASSES[k] for k in winners]
    assert before in page


def other_kernel():
    return create(model=linear(kernel=-KERNEL))


@pytest.mark.parametrize(
    ("arguments", "error", "why"),
    [
        ({"analyzers": []}, ValueError, "at least one analyzer"),
        ({"analyzers": linear()}, TypeError, "must be a list"),
        ({"analyzers": {"a": linear()}}, TypeError, "Received as 'a': <Sequential"),
        ({"analyzers": [create(), other_kernel()]}, ValueError, "that differ"),
        (
            {"analyzers": [create(), create(neuron_selection_mode="all")]},
            ValueError,
            "the modes 'max_activation' and 'all'",
        ),
        ({"analyzers": create(layers=["input"])}, ValueError, "hidden layers"),
        ({"out": "page.pdf"}, ValueError, "out must be a page"),
        ({"out": 3}, TypeError, "path"),
        ({"out": "nowhere/page.html"}, FileNotFoundError, "no folder"),
        ({"x": X[:0]}, ValueError, "from 1 to 1000 samples. Received: 0"),
        ({"x": np.zeros((1001, 4, 5, 1))}, ValueError, "Received: 1001"),
        ({"x": {"input": X}}, ValueError, "one input"),
        ({"names": ["a"]}, ValueError, "names must be 2"),
        ({"features": ["a"]}, ValueError, r"columns of a table.* of the shape \(4, 5, 1\)"),
        (
            {"features": ["a"], "tokens": [["a"]] * 2},
            ValueError,
            "of a table.* and tokens=",
        ),
        ({"names": [1, 2]}, TypeError, "names must be a list of strings"),
        ({"images": 3}, ValueError, "images must be 2"),
        ({"images": X[:1]}, ValueError, "images must be 2"),
        ({"tokens": [["a"]]}, ValueError, "tokens must be 2"),
        ({"tokens": [["a"]] * 2, "images": X}, ValueError, "not both.*images= and tokens="),
        ({"tokens": ["a", "b"]}, TypeError, "Each of tokens"),
        ({"class_names": ["a", "b"]}, ValueError, "class_names must be as many .* 3"),
        ({"neuron_selection": 1}, ValueError, "neuron_selection must be None"),
    ],
)
def test_what_is_refused(arguments, error, why, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=why):
        report(**{"analyzers": create(), "x": X, "out": "page.html", **arguments})
    assert list(tmp_path.iterdir()) == []


def test_data_without_a_picture(tmp_path):
    model = keras.Sequential([layers.Input((2, 2, 2, 2)), layers.Flatten(), layers.Dense(1)])
    with pytest.raises(ValueError, match="no picture for samples of the shape"):
        report(create("gradient", model), np.zeros((1, 2, 2, 2, 2)), tmp_path / "a.html")


def test_a_model_with_several_inputs(tmp_path):
    inputs = [layers.Input((2,)), layers.Input((2,))]
    model = keras.Model(inputs, layers.Dense(1)(layers.Add()(inputs)))
    with pytest.raises(ValueError, match="models with one input"):
        report(create("gradient", model), [np.zeros((1, 2))] * 2, tmp_path / "a.html")
