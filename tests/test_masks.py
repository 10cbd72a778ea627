"""Masks of sequences: what is explained is what the model does, wherever its masks go."""

from contextlib import suppress
from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import innvestigate
from tests.frameworks import NAME, examples, on_tensorflow
from tests.masked import (
    FLOAT,
    GAPS,
    HEADS,
    MASKED,
    MERGES,
    MODELS,
    PLAIN,
    RECURRENT,
    SCORES,
    STEPS,
    build,
    explain,
    grows,
    is_proof,
)
from tests.test_table import assert_close, slow, slow_but

pytestmark = [
    pytest.mark.filterwarnings("ignore:Layer .* does not support masking"),
    pytest.mark.filterwarnings("ignore:.* was passed an input with a mask"),
    pytest.mark.usefixtures("step_by_step"),
]

# --- Random models --------------------------------------------------------------------------------


def part(kinds, **options):
    """A strategy for the description of one part of a model."""
    return st.fixed_dictionaries({"kind": st.sampled_from(list(kinds)), **options})


def nested(form, inner):
    """A strategy for a model inside."""
    chosen = st.lists(inner, min_size=1, max_size=2)
    return part(["nested"], form=st.just(form), parts=chosen)


def parts_of(alone, attending):
    """A strategy for parts of these kinds, on their own, merged and in models inside of models."""
    one = part(alone)
    attention = part(attending, causal=st.booleans(), cross=st.booleans())
    straight = nested("sequential", one | nested("sequential", one))
    found = one | attention
    for _ in range(2):
        found = found | part([*MERGES, "plus"], inner=found)
        found = one | attention | found | straight | nested("functional", found)
    return found


ANY = parts_of([*PLAIN, *MASKED], [*HEADS, *SCORES])
WITH_RULES = parts_of([*PLAIN, *RECURRENT, "centre", "padding_block"], [*HEADS, "attention"])
ELEMENTARY = parts_of(["dense", "norm", "dropout", "behead", "centre", *RECURRENT], ["attention"])


@st.composite
def descriptions(draw, heads=("average", "memory", "flatten"), parts=ANY, free=True):
    """The description of a random model, see `tests.masked`; `free` allows open lengths."""
    head = draw(st.sampled_from(heads))
    longest = draw(st.integers(3, 5))
    others = st.tuples(*[st.integers(2, longest - 1)] * 2)
    return {
        "source": draw(st.sampled_from(["tokens", "masking", "attached", "given"])),
        "parts": draw(st.lists(parts, min_size=1, max_size=3)),
        "head": head,
        "lengths": (longest, *draw(others)),
        "side": draw(st.sampled_from(["end", "end", "start"])),
        "free": free and head != "flatten" and draw(st.booleans()),
        "seed": draw(st.integers(0, 99)),
    }


SINGLE = {**dict.fromkeys(GAPS, 1e-4), "oracles": 1e-2}
LIMITS = {**dict.fromkeys(GAPS, 1e-6), "deeplift": 1e-5} if FLOAT == "float64" else SINGLE


# --- What holds for all of them -------------------------------------------------------------------


@on_tensorflow  # differences of random models need float64
@examples(15)
@given(description=descriptions())
def test_the_tape_says_what_central_differences_say(description):
    """The oracles of this file among themselves; the twin is the model."""
    case = build(description)
    np.testing.assert_array_equal(case.outputs(case.vectors), np.array(case.model(case.inputs)))
    assert GAPS["oracles"](case) < LIMITS["oracles"]


@examples(10)
@given(description=descriptions())
def test_the_gradient_is_that_of_the_model(description):
    assert GAPS["gradient"](build(description)) < LIMITS["gradient"]


@slow
@examples(10)
@given(description=descriptions())
def test_integrated_gradients_are_those_of_the_model(description):
    """With the same points on the path, and the masks of the sample."""
    assert GAPS["integrated_gradients"](build(description)) < LIMITS["integrated_gradients"]


@slow
@examples(12)
@given(description=descriptions(["average", "flatten"], WITH_RULES))
def test_contributions_add_up(description):
    """Those of DeepLIFT, to the difference from the reference under the mask of the sample."""
    assert GAPS["deeplift"](build(description)) < LIMITS["deeplift"]


@pytest.mark.parametrize(
    "method",
    slow_but("input_t_gradient", ["gradient", "input_t_gradient", "integrated_gradients"]),
)
@examples(4)
@given(description=descriptions(["average", "memory"]))
def test_padding_gets_nothing_and_changes_nothing(method, description):
    """Of models of which both is true."""
    check_padding(method, description)


@slow
@examples(6)
@given(description=descriptions(["average"], WITH_RULES))
def test_padding_contributes_nothing_and_changes_nothing(description):
    check_padding("deeplift", description)


@slow
@examples(10)
@given(description=descriptions(["average"], ELEMENTARY))
def test_padding_gets_no_relevance_and_changes_none(description):
    """Where there are rules for all steps."""
    with suppress(innvestigate.NoRuleError):
        check_padding("lrp.epsilon", description)


def check_padding(method, description):
    """Padding gets exactly zero, and more of it changes no number, if that holds for the model."""
    case, longer = build(description), build(description, 2)
    assume(is_proof(case))
    arguments = STEPS if method == "integrated_gradients" else {}
    found = explain(method, case, **arguments)
    assert not found[~case.counts].any()
    if grows(case, longer):
        others = explain(method, longer, **arguments)
        assert not others[~longer.counts].any()
        assert_close(others[longer.counts], found[case.counts], 1e-6)


# --- Some of them, one by one ---------------------------------------------------------------------

# Keras adds a large number to what it masks on torch. Where all places are masked, nothing of their
# differences is left in the sum, which differentiation does not see.
OF_KERAS = ("nested transformer", "flattened", "blocks") if NAME == "torch" else ()


def _gaps():
    for of, model in product(GAPS, MODELS):
        if of != "oracles" or model not in OF_KERAS:
            yield pytest.param(of, model, marks=[] if of == "gradient" else slow)


@pytest.mark.parametrize(("of", "model"), list(_gaps()))
def test_models_with_masks(of, model):
    assert GAPS[of](build(MODELS[model])) < LIMITS[of]
