"""Names that the user may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from innvestigate.utils.words import shown

_ELSEWHERE = {
    "ig": ("integrated_gradients",),
    "lime": ("lime", "shapley_sampling", "occlusion"),
    "shap": ("kernel_shap", "shapley_sampling", "expected_gradients"),
    "kernelshap": ("shapley_sampling",),
    "gradientshap": ("expected_gradients",),
    "deepshap": ("deeplift",),
    "vargrad": ("smoothgrad",),
    "vanillagradient": ("gradient",),
    "nsamples": ("samples", "augment_by_n", "steps"),
    "nsteps": ("steps", "augment_by_n", "samples"),
    "stdevs": ("noise_scale",),
    "baseline": ("reference_inputs",),
    "baselines": ("reference_inputs",),
    "targetlayer": ("layer",),
    "targetlayers": ("layer", "layers"),
}
"""What other programs and papers call it, in plain letters."""


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """A sentence with the known names that are close to a name, and a space; "" if none is."""
    close = _close(shown(name)[:100], list(known))
    return f"Did you mean {' or '.join(map(repr, close))}? " if close else ""


def unknown(kind: str, name: object, known: Iterable[str]) -> str:
    """The message that there is nothing of a name: what is close to it, and all that there is.

    Args:
        kind: What is not known, in a word.
        name: Its name.
        known: All names.
    """
    return (
        f"There is no {kind} called {shown(name)}. {did_you_mean(name, known)}All names: "
        f"{', '.join(known)}."
    )


def _close(name: str, known: list[str]) -> list[str]:
    """The known names that say the same in plain letters; else at most three that come near."""
    said, plain = _plain(name), {other: _plain(other) for other in known}
    same = [other for other in known if said and plain[other] == said]
    same = same or [other for other in _ELSEWHERE.get(said, ()) if other in known]
    if same:
        return same
    near = difflib.get_close_matches(said, plain.values(), n=3, cutoff=0.6)
    found = [other for other in known if len(said) > 2 and said in plain[other]]
    found += [other for one in near for other in known if plain[other] == one]
    return list(dict.fromkeys(found))[:3]


def _plain(name: str) -> str:
    """A name in small letters and digits alone: `Grad-CAM++` as `gradcamplusplus`."""
    return "".join(filter(str.isalnum, name.casefold().replace("+", "plus")))
