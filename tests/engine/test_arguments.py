"""Whatever is passed for an argument works, or the error names the argument."""

import inspect
from functools import cache

import keras
import numpy as np
import pytest
from keras import layers

import innvestigate
from innvestigate.engine.config import argument_names
from innvestigate.utils.arguments import check_array, check_choice, check_flags, check_number
from tests.models import has_places, makes_map

pytestmark = pytest.mark.usefixtures("step_by_step")

BOX = {"low": -1, "high": 1}
REQUIRED = {
    "lrp": {"rule": "Z"},
    "lrp.alpha_beta": {"alpha": 2},
    "lrp.epsilon_gamma_box": BOX,
    "deep_taylor.bounded": BOX,
}
QUICK = ("gradient", "random", "lrp", "lrp.epsilon_gamma_box", "shapley_sampling", "deeplift")
WRONG = [
    object(),
    "nonsense",
    -1,
    1.5,
    1j,
    np.nan,
    np.inf,
    True,
    None,
    [],
    {},
    [[1], [2, 3]],
    np.zeros(3),
    np.zeros((2, 9)),
    np.ma.masked_equal([1.0, 2.0, 3.0], 2),
    lambda x: x,
]
X = np.eye(3, dtype="float32")[:2]


@cache
def mlp():
    model = keras.Sequential(
        [layers.Input((3,)), layers.Dense(4, activation="relu", name="hidden"), layers.Dense(2)]
    )
    random = np.random.default_rng(0)  # the same on all frameworks
    model.set_weights([random.normal(size=w.shape) for w in model.get_weights()])
    return model


@cache
def convolution():
    return has_places(3)


def every_argument():
    """All pairs of an analyzer and an argument that is listed for it."""
    for name, create in innvestigate.analyzers.items():
        marks = [] if name in QUICK else pytest.mark.slow
        for argument in ("neuron_selection_mode", *argument_names(create)):
            yield pytest.param(name, argument, marks=marks)


def run(name, argument, value):
    """Create an analyzer with an argument, and let it work."""
    model = convolution() if makes_map(name) else mlp()
    made = innvestigate.create_analyzer(name, model, **{**REQUIRED.get(name, {}), argument: value})
    if hasattr(made, "fit"):
        made.fit(np.random.default_rng(0).normal(size=(20, 3)))
    return made.analyze(X, {"index": 0, "weights": 1}.get(made.neuron_selection_mode))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "argument"), list(every_argument()))
def test_what_is_listed_can_be_passed_and_is_named_where_it_does_not_fit(name, argument):
    for value in WRONG:
        try:
            run(name, argument, value)
        except (TypeError, ValueError) as error:
            assert argument in str(error), (value, error)
            assert "multiple values" not in str(error)
            assert "unexpected keyword" not in str(error)


def defaults_of(create):
    """The defaults of a class or function, and of what it passes arguments on to."""
    makers = [base.__init__ for base in create.__mro__] if isinstance(create, type) else [create]
    own = {p.name: p.default for f in makers for p in inspect.signature(f).parameters.values()}
    further = getattr(create, "kwargs_of", None)
    return {**(defaults_of(further) if further else {}), **own}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", innvestigate.analyzers)
def test_the_defaults_of_what_is_listed_can_be_passed(name):
    """Where a default of a class is no value that its setting could have, it is passed over."""
    create = innvestigate.analyzers[name]
    defaults = defaults_of(getattr(create, "func", create))
    for argument in argument_names(create):
        default = {**defaults, **getattr(create, "keywords", {})}[argument]
        if default is not inspect.Parameter.empty and argument not in REQUIRED.get(name, {}):
            assert np.shape(run(name, argument, default)) == X.shape, argument


@pytest.mark.parametrize(
    ("name", "argument"),
    [
        ("lrp.epsilon", "rule"),
        ("lrp.sequential_preset_a", "rule"),
        ("lrp.sequential_preset_b_flat_until_idx", "convolution_rule"),
        ("lrp.epsilon_gamma_box", "convolution_rule"),
        ("deep_taylor.bounded", "input_layer_rule"),
        ("deeplift.wrapper", "rule"),
        ("saliency", "postprocess"),
    ],
)
def test_what_a_method_settles_itself_is_not_listed(name, argument):
    with pytest.raises(TypeError, match=f"{name!r} has no argument {argument!r}"):
        run(name, argument, "Z")


def test_a_setting_can_be_overridden():
    expected = run("lrp", "rule", "Flat")
    np.testing.assert_array_equal(run("lrp.z", "rule", "Flat"), expected)


def test_postprocess_of_input_times_gradient():
    plain, absolute = (run("input_t_gradient", "postprocess", how) for how in (None, "abs"))
    assert plain.min() < 0
    np.testing.assert_array_equal(absolute, np.abs(plain))


def test_two_names_of_what_occlusion_puts_in_place():
    expected = run("occlusion", "value", 0.5)
    np.testing.assert_array_equal(run("occlusion", "reference_inputs", 0.5), expected)
    assert not np.array_equal(run("occlusion", "reference_inputs", 0), expected)
    with pytest.raises(ValueError, match=r"value of input .* has the wrong shape"):
        run("occlusion", "value", np.zeros(7))


@pytest.mark.parametrize("bound", [np.zeros((7,)), np.zeros((2, 3))])
def test_a_box_that_does_not_broadcast_over_the_input(bound):
    with pytest.raises(ValueError, match=r"low of the shape .* does not broadcast"):
        innvestigate.create_analyzer("deep_taylor.bounded", mlp(), low=bound, high=1)


NO_NUMBER = [object(), "nonsense", -1, 1.5, None, [], {}, np.nan, np.zeros(3)]


@pytest.mark.parametrize("value", [*NO_NUMBER, 0, True], ids=lambda value: type(value).__name__)
def test_batch_size_is_named(value):
    with pytest.raises((TypeError, ValueError), match="batch_size"):
        innvestigate.create_analyzer("gradient", mlp()).analyze(X, batch_size=value)


@pytest.mark.parametrize("value", NO_NUMBER, ids=lambda value: type(value).__name__)
def test_verbose_is_named(value):
    with pytest.raises(ValueError, match="verbose"):
        innvestigate.create_analyzer("gradient", mlp()).analyze(X, verbose=value)


@pytest.mark.parametrize("value", [False, True, 0, 1, 2])
def test_what_verbose_can_be(value, capsys):
    innvestigate.create_analyzer("gradient", mlp()).analyze(X, verbose=value)
    assert bool(capsys.readouterr().out) == bool(value)


@pytest.mark.parametrize("name", [None, 1, ["gradient"], np.zeros(2)])
def test_a_name_that_is_no_text(name):
    with pytest.raises(KeyError, match="There is no analyzer called"):
        innvestigate.create_analyzer(name, mlp())


def test_numbers():
    for value in (1, 0.5, np.float32(0.5), np.int64(3), np.array(2.0)):
        found = check_number("n", value, least=0)
        assert found == value
        assert type(found) in (int, float)
    with pytest.raises(ValueError, match=r"^n must be a finite number > 0\. Received: 0\. Hint$"):
        check_number("n", 0, above=0, advice=" Hint")
    with pytest.raises(ValueError, match=r"n must be a finite number\. Received: '1'"):
        check_number("n", "1")


def test_flags_choices_and_arrays():
    check_flags(a=True, b=np.False_)
    with pytest.raises(ValueError, match=r"b must be True or False\. Received: 1"):
        check_flags(a=True, b=1)
    assert check_choice("c", None, ("x", None)) is None
    with pytest.raises(ValueError, match=r"c must be one of 'x', None\. Received: \['x'\]"):
        check_choice("c", ["x"], ("x", None))
    assert check_array("d", np.ma.masked_equal([1, 2], 3)).tolist() == [1, 2]
    with pytest.raises(ValueError, match="d is a masked array"):
        check_array("d", [np.ma.masked_equal([1, 2], 2)])
