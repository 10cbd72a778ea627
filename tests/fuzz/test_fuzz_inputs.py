"""A tenth of the hostile arguments and data; `make fuzz` tries all of them."""

import fnmatch
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pytest

import innvestigate
from innvestigate.utils.arguments import check_whole
from innvestigate.utils.words import one_line
from tests.frameworks import on_tensorflow
from tests.fuzz import inputs, surface
from tests.fuzz.documented import NOT_CALLED, why_not_called
from tests.fuzz.values import VALUES


@pytest.mark.slow
@on_tensorflow
def test_calls_are_refused_or_right():
    found = inputs.outcomes(step=10)
    assert len(found) >= 500
    assert {outcome["became"] for outcome in found} >= {"refused", "right"}
    wrong = {outcome["name"]: inputs.faults(outcome) for outcome in found}
    assert {name: faults for name, faults in wrong.items() if faults} == {}


def test_everything_public_is_called():
    assert len(inputs.cases()) >= 5000
    calls = inputs.calls()
    called = {call.name for call in calls}
    for name in ("create_analyzer", "rules.Epsilon", "visualization.plot_text", "analyzer 'lrp'"):
        assert name in called
    assert {"x", "neuron_selection", "batch_size", "verbose", "check"} <= {
        argument
        for call in calls
        if call.name == "gradient .analyze"
        for argument in surface.arguments_of(call)
    }


def test_what_is_not_called_has_a_reason():
    left = surface.left_out(inputs.calls())
    assert {name for name in left if why_not_called(name) is None} == set()
    patterns = [pattern for group in NOT_CALLED.values() for pattern in group]
    assert [p for p in patterns if not fnmatch.filter(left, p)] == []  # or it is called by now


@pytest.mark.slow
@on_tensorflow
@pytest.mark.usefixtures("folder")
@pytest.mark.filterwarnings("ignore")
def test_what_fits_is_taken():
    """Or nothing would be said of the arguments of a call that is refused anyway."""
    assert {c.name: why for c in inputs.calls() if (why := _refusal(c))} == {}
    plt.close("all")


def _refusal(call):
    try:
        call() if surface.arguments_of(call) else None
    except Exception as error:
        return repr(error)


def test_what_would_be_left_out_is_found():
    assert surface.left_out([]) >= {"stores.open_store", "analyzer.Analyzer.export", "rules.Z"}


def case(call, **more):
    """A case that is not one of those that are run."""
    return inputs.Case("planted", "planted", lambda: call, **more)


def refuse(message, error=ValueError):
    """What a function of the library would raise."""
    return lambda: check_whole(message, None, 0) if error is ValueError else _raise(error(message))


def _raise(error):
    raise error


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where a case may write."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("planted", "fault"),
    [
        (case(lambda: _raise(ValueError("of somebody else"))), "ValueError below nowhere"),
        (case(lambda: np.linalg.inv("x")), "below nowhere"),
        (case(lambda: one_line(5)), "TypeError below utils/words.py"),  # by Python itself
        (case(refuse("a\nb")), "not one readable line"),
        (case(refuse("n"), must="must"), "what fits was refused"),
        (case(lambda: surface.X, must="wrong"), "what is wrong was taken"),
        (case(lambda: np.array([np.nan])), "not finite"),
        (case(lambda: surface.X, expected=lambda: surface.X + 1), "differs"),
        (case(lambda: np.float32([1e30]).astype("float16"), expected=lambda: 1), "overflow"),
        (case(lambda: np.random.seed(7)), "numpy's random state changed"),  # noqa: NPY002
        (case(lambda: warnings.warn("old", DeprecationWarning, stacklevel=2)), "Deprecation"),
    ],
)
def test_planted_faults_are_found(planted, fault):
    assert any(fault in found for found in inputs.faults(inputs.outcome(planted)))


@pytest.mark.usefixtures("folder")
def test_what_is_refused_or_right_is_no_fault():
    for good in (case(refuse("n")), case(lambda: surface.X, expected=lambda: surface.X)):
        assert inputs.faults(inputs.outcome(good)) == []


@pytest.mark.parametrize("value", VALUES, ids=lambda value: value.name[:30])
def test_whatever_it_is_can_be_shown(value):
    with pytest.raises(KeyError) as caught:
        innvestigate.create_analyzer(value.make(), surface.mlp())
    assert "\n" not in caught.value.args[0]
    assert len(caught.value.args[0]) < inputs.LONGEST
