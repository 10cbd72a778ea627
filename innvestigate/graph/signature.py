"""What a subclassed model is called on, and what it writes, as far as Keras keeps it."""

from __future__ import annotations

import inspect
from typing import Any

import keras
from keras import KerasTensor, ops, tree

from innvestigate.graph.scopes import FrozenState
from innvestigate.utils.words import shown

KERAS_2 = "tf_keras"
"""The package that Keras 2 lives on in."""


def signature(model: keras.Model) -> tuple[tuple, Any, bool]:
    """Symbolic arguments of a subclassed model, its outputs, and whether it decides by values.

    Keras keeps the shapes that a model was built with, and forgets the types: numbers, or the
    whole numbers of tokens where those are refused.

    Raises:
        ValueError: If Keras does not know the shapes; says how to tell them.
    """
    config = keras.Model.get_build_config(model) or {}  # of one shape, or of several by name
    shapes = list(config.get("shapes_dict", config).values())
    if not model.built:
        raise not_built(model)
    if not shapes:
        raise _only_by_value(model)
    missing = _required(model)[len(shapes) :]
    if missing:
        raise _several_arguments(model, missing)
    for dtype in ("float32", "int32"):
        args = _tensors(shapes, None, dtype)
        try:
            return args, model.compute_output_spec(*args), False
        except Exception:  # whatever a model raises that cannot run on such symbolic tensors
            continue
    args = _tensors(shapes, None, "float32")
    return args, _written(model, shapes), True


def _tensors(shapes: list, rows: int | None, dtype: str) -> tuple:
    tensor = lambda shape: KerasTensor((rows, *shape[1:]), dtype)  # noqa: E731
    return tuple(tree.map_shape_structure(tensor, shape) for shape in shapes)


def _written(model: keras.Model, shapes: list) -> Any:
    """Tensors like those that a model writes for real numbers."""
    ones = tree.map_structure(lambda t: ops.ones(t.shape, t.dtype), _tensors(shapes, 1, "float32"))
    try:
        with FrozenState():
            outputs = model(*ones, training=False)
    except Exception as error:
        raise ValueError(
            f"The model {model.name!r} cannot be called on what Keras says that it was built for "
            f"({', '.join(map(str, shapes))}). Give it inputs of the right shapes and types, and "
            "explain that model: x = keras.Input(...); model = keras.Model(x, model(x))."
        ) from error
    dtype = lambda y: keras.utils.standardize_dtype(y.dtype)  # noqa: E731
    return tree.map_structure(lambda y: KerasTensor((None, *y.shape[1:]), dtype(y)), outputs)


def _required(model: keras.Model) -> list[str]:
    """Names of the arguments that a model's `call` needs, those that Keras fills in left out."""
    parameters = list(inspect.signature(model.call).parameters.values())
    return [
        p.name
        for p in parameters
        if p.default is p.empty
        and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        and p.name not in ("training", "mask")
    ]


def not_built(model: keras.Model) -> ValueError:
    """The error that a model which has never been called is met with."""
    return ValueError(
        f"The model {model.name!r} is not built, so its graph is unknown. Expected: a model that "
        "knows its input shape. Call it once on data, call model.build(input_shape), or start it "
        "with keras.Input(shape)."
    )


def _several_arguments(model: keras.Model, missing: list[str]) -> ValueError:
    names = ", ".join(_required(model))
    return ValueError(
        f"The call of the model {model.name!r} takes several arguments ({names}), and Keras keeps "
        f"the shape of the first only. Give it inputs, and explain that model: {names} = "
        f"{', '.join('keras.Input(...)' for _ in _required(model))}; "
        f"model = keras.Model([{names}], model({names}))."
    )


def _only_by_value(model: keras.Model) -> ValueError:
    return ValueError(
        f"The model {model.name!r} was called, and Keras does not know the shapes of its inputs: "
        "its call decides by the values of its data (if, while, numpy, ...), so it cannot be run "
        "symbolically. Decide by keras.ops.where or keras.ops.cond, or call "
        "model.build(input_shape) before it is called."
    )


def no_model(given: Any) -> TypeError:
    """The error for what is no model of Keras 3; one of Keras 2 is known by where it comes from."""
    if any(cls.__module__.partition(".")[0] == KERAS_2 for cls in type(given).__mro__):
        return TypeError(
            f"This is a Keras 2 model, of {KERAS_2}. Received: {shown(given)}; expected: a Keras 3 "
            "model. Save it by old.save('model.h5') and load that with "
            "keras.models.load_model('model.h5', compile=False); or build the same layers in "
            "Keras 3 and copy the weights: new.set_weights(old.get_weights())."
        )
    return TypeError(
        f"innvestigate explains Keras models. Received: {shown(given)} (of type "
        f"{type(given).__name__}); expected: a keras.Model (Sequential, functional or "
        "subclassed). Wrap other callables in a keras.Model first."
    )
