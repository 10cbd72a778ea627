"""Backward rules for rectifiers: what sets DeconvNet and Guided Backprop apart."""

from __future__ import annotations

from keras import ops

from innvestigate.rules.base import Gradient, Rule


class Deconvolution(Rule):
    """The signal itself is rectified, whatever the forward pass was: s_x = max(s_y, 0).

    Reference: Zeiler & Fergus 2014, "Visualizing and Understanding Convolutional Networks",
    section 2.1.
    """

    def __call__(self, at, signals) -> list:
        return [ops.maximum(signals[0], 0.0) for _ in at.inputs]


class Guided(Rule):
    """The rectified signal passes where the forward pass was positive: s_x = 1[x > 0] max(s_y, 0).

    Reference: Springenberg et al. 2015, "Striving for Simplicity: The All Convolutional Net",
    section 3.4.
    """

    def __call__(self, at, signals) -> list:
        return Gradient()(at, [ops.maximum(signals[0], 0.0)])
