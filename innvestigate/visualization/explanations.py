"""Relevance in the form of the package shap, for its pictures."""

from __future__ import annotations

from typing import Any

from innvestigate.utils.arguments import check_array
from innvestigate.visualization.frames import check_rows, relevance_table, value_table


def to_shap(result: Any, output: Any, data: Any = None, *, names: Any = None) -> Any:
    """The relevance of a table as a `shap.Explanation`, which shap's plots take.

    The base value of a sample is what the relevance leaves of the output, b = f(x) - Σ R, so that
    b + Σ R is the output. Where a method shares out the change from a reference completely
    (`deeplift`, `shapley_sampling`, and in the limit `integrated_gradients`), b is the output at
    the reference, f(x⁰), or its mean over several. For LRP it is what biases, stabilisers and zeros
    kept.

    Args:
        result: What `analyze` returns: a frame; an array `(samples, features)`; or a list or dict
            of these for several inputs, whose columns stand side by side.
        output: The value of the explained neuron for each sample, `(samples,)`, or one for all. Of
            a model with a final softmax or sigmoid that is the logit, which is explained.
        data: The samples, in any form of the result; those of frames are found by their columns.
        names: A name for each feature; by default the columns of the frame.

    Returns:
        A `shap.Explanation` with float64 `values` `(samples, features)`, `base_values`
        `(samples,)`, `data` and `feature_names`; `explanation[i]` is one sample.

    Raises:
        ImportError: If shap is not installed: `pip install 'innvestigate[shap]'`.
        TypeError: If names are no texts.
        ValueError: If the result is no table of finite numbers, or an argument does not fit it; if
            frames and series, of any argument, have not one index.

    `shap.plots.waterfall(to_shap(relevance, output, x)[0])` draws the first sample.
    """
    table = relevance_table(result, names)
    values = table.to_numpy("float64")
    check_rows({"result": result, "output": output, "data": data})
    output = check_array("output", output).astype("float64")
    if output.shape not in ((), (len(table),)):
        raise ValueError(
            f"output must be the value of the explained neuron for each sample, ({len(table)},). "
            f"Received the shape: {output.shape}. Of all neurons, choose it: output[:, neuron]."
        )
    return _explanation()(
        values,
        base_values=output - values.sum(axis=1),
        data=None if data is None else value_table("data", data, result, table).to_numpy(),
        feature_names=list(table),
    )


def _explanation() -> Any:
    """The class of explanations of shap."""
    try:
        from shap import Explanation
    except ImportError as error:
        raise ImportError(
            "to_shap needs the package shap: pip install 'innvestigate[shap]'."
        ) from error
    return Explanation
