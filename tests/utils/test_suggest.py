"""What is suggested for names that are close to known ones."""

import pytest

import innvestigate
from innvestigate.engine.config import argument_names
from innvestigate.utils.suggest import did_you_mean

METHODS = {
    "gradcam": "grad_cam",
    "GradCAM": "grad_cam",
    "grad-cam": "grad_cam",
    "grad cam": "grad_cam",
    "gradcam++": "grad_cam_plus_plus",
    "Grad-CAM++": "grad_cam_plus_plus",
    "ScoreCAM": "score_cam",
    "integrated-gradients": "integrated_gradients",
    "Integrated Gradients": "integrated_gradients",
    "IG": "integrated_gradients",
    "SmoothGrad": "smoothgrad",
    "smooth_grad": "smoothgrad",
    "deep_lift": "deeplift",
    "DeepLIFT": "deeplift",
    "LRPEpsilon": "lrp.epsilon",
    "occlusoin": "occlusion",
}


def suggested(name, known):
    """The names that are suggested, in their order."""
    return did_you_mean(name, known).split("'")[1::2]


@pytest.mark.parametrize("name", METHODS)
def test_other_spellings_of_a_method_name_it_alone(name):
    assert suggested(name, innvestigate.analyzers) == [METHODS[name]]


@pytest.mark.parametrize("name", ["shap", "SHAP", "lime", "kernel-shap"])
def test_methods_that_others_have_are_answered_with_their_kin(name):
    found = suggested(name, innvestigate.analyzers)
    assert found and set(found) <= {
        *("lime", "kernel_shap", "shapley_sampling", "expected_gradients", "occlusion")
    }


@pytest.mark.parametrize(
    ("method", "name", "meant"),
    [
        ("expected_gradients", "n_samples", "samples"),
        ("smoothgrad", "n_samples", "augment_by_n"),
        ("integrated_gradients", "n_steps", "steps"),
        ("integrated_gradients", "baselines", "reference_inputs"),
        ("grad_cam", "target_layer", "layer"),
        ("smoothgrad", "noise", "noise_scale"),
    ],
)
def test_arguments_by_the_names_that_others_give_them(method, name, meant):
    assert suggested(name, argument_names(innvestigate.analyzers[method]))[0] == meant
    with pytest.raises(TypeError, match=f"has no argument '{name}'. Did you mean '{meant}'"):
        innvestigate.analyzer.find_analyzer(method, [name])


@pytest.mark.parametrize("name", ["", "?", "xyz", 3, None, "é"])
def test_nothing_is_suggested_for_what_is_close_to_nothing(name):
    assert did_you_mean(name, innvestigate.analyzers) == ""


def test_what_is_contained_comes_first_and_at_most_three_are_named():
    assert suggested("shapley", innvestigate.analyzers)[0] == "shapley_sampling"
    assert len(suggested("lrp", innvestigate.analyzers)) <= 3
