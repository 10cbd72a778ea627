"""Hostile values of arguments, and hostile forms of data."""

import array
import datetime
import decimal
import fractions
from collections import UserDict, namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import pandas as pd
from keras import layers


@dataclass(frozen=True)
class Value:
    """One value, made anew for each case.

    Attributes:
        name: What it is.
        make: Makes it.
        plain: Makes the same in its plainest form, where it is a form of something plain: what
            is taken in one form means the same in the other.
    """

    name: str
    make: Callable[[], Any]
    plain: Callable[[], Any] | None = None


class Unprintable:
    """An object that cannot even be shown."""

    def __repr__(self):
        raise RuntimeError("no repr")


class ManyLines:
    """An object that is shown in many lines."""

    def __repr__(self):
        return "many\n" * 50


class ArrayLike:
    """An object that says it is an array, and fails to become one."""

    shape, dtype = (2, 3), np.dtype("float32")

    def __array__(self, *args, **kwargs):
        raise RuntimeError("no array")


def _generator():
    yield from (1, 2, 3)


def _same(value):
    return lambda: value


def _odd(*values):
    return [Value(repr(v)[:40], _same(v)) for v in values]


def _forms(plain, **forms):
    return [Value(f"{name}({plain!r})", make, _same(plain)) for name, make in forms.items()]


HUGE = 10**18
VALUES = [
    *_odd(None, True, False, 0, 1, -1, 2, 0.5, 2.5, -0.5, HUGE, -HUGE, 10**400, 1e300, 1e-300),
    *_odd(float("nan"), float("inf"), -float("inf"), 1j, "", "nonsense", "1", "a\nb", "\ud800"),
    *_odd(b"x", object, (), (1, 2), (1, 1, 1), ("a", "b"), range(3), slice(2), ..., int, len),
    *_odd(decimal.Decimal("0.5"), fractions.Fraction(1, 2), datetime.date(2020, 1, 1)),
    *_forms(1, int64=lambda: np.int64(1), uint8=lambda: np.uint8(1), array=lambda: np.array(1)),
    *_forms(2, int8=lambda: np.int8(2), uint64=lambda: np.uint64(2)),
    *_forms(True, bool_=lambda: np.bool_(True), array=lambda: np.array(True)),
    *_forms(False, bool_=lambda: np.bool_(False)),
    *_forms(0.5, float32=lambda: np.float32(0.5), float16=lambda: np.float16(0.5)),
    *_forms(0.5, float64=lambda: np.float64(0.5), longdouble=lambda: np.longdouble(0.5)),
    *_forms(0.5, array=lambda: np.array(0.5), tensor=lambda: keras.ops.convert_to_tensor(0.5)),
    *_forms("1", str_=lambda: np.str_("1")),
    Value("float64(nan)", lambda: np.float64("nan")),
    Value("float16(inf)", lambda: np.float16("inf")),
    Value("complex64", lambda: np.complex64(1)),
    Value("datetime64", lambda: np.datetime64("2020-01-01")),
    Value("object()", object),
    Value("no repr", Unprintable),
    Value("many lines", ManyLines),
    Value("no array", ArrayLike),
    Value("a long text", lambda: "x" * 100_000),
    Value("a long list", lambda: [0] * 100_000),
    Value("a large array", lambda: np.zeros(100_000)),
    Value("[]", list),
    Value("[1]", lambda: [1]),
    Value("[nan]", lambda: [float("nan")]),
    Value("[[]]", lambda: [[]]),
    Value("ragged", lambda: [[1], [2, 3]]),
    Value("deep", lambda: [[[[[[[1]]]]]]]),
    Value("['a', 1]", lambda: ["a", 1]),
    Value("[None]", lambda: [None]),
    Value("{}", dict),
    Value("{'a': 1}", lambda: {"a": 1}),
    Value("{1: 'a', 'b': 2}", lambda: {1: "a", "b": 2}),
    Value("set()", set),
    Value("{1, 'a'}", lambda: {1, "a"}),
    Value("a generator", _generator),
    Value("a lambda", lambda: lambda *args: None),
    Value("empty array", lambda: np.zeros(0)),
    Value("(0, 3) array", lambda: np.zeros((0, 3))),
    Value("(2, 3) array", lambda: np.ones((2, 3))),
    Value("(2, 3) integers", lambda: np.ones((2, 3), int)),
    Value("(2, 9) array", lambda: np.zeros((2, 9))),
    Value("NaN array", lambda: np.full((2, 3), np.nan)),
    Value("objects", lambda: np.array([object(), None])),
    Value("complex array", lambda: np.ones((2, 3), complex)),
    Value("array of dates", lambda: np.array(["2020-01-01"] * 3, "datetime64[D]")),
    Value("array of texts", lambda: np.array(["a", "b"])),
    Value("structured array", lambda: np.zeros(2, [("a", "f4"), ("b", "i4")])),
    Value("masked array", lambda: np.ma.masked_equal([1.0, 2.0, 3.0], 2)),
    Value("longdouble array", lambda: np.ones((2, 3), np.longdouble)),
    Value("memoryview", lambda: memoryview(b"abc")),
    Value("bytearray", lambda: bytearray(b"abc")),
    Value("Series", lambda: pd.Series([1.0, 2.0, 3.0])),
    Value("DataFrame", lambda: pd.DataFrame({"a": [1, 2]})),
    Value("pandas.NA", lambda: pd.NA),
    Value("tensor", lambda: keras.ops.ones((2, 3))),
    Value("a layer", lambda: layers.Dense(2)),
    Value("a symbolic tensor", lambda: layers.Input((3,))),
]


# --- Data -----------------------------------------------------------------------------------------

MUST, SAME, WRONG = "must", "same", "wrong"
"""Of a form of data: gives the plain result; does so or is refused; is refused."""


class Batches(keras.utils.PyDataset):
    """Batches in one of the two ways in which Keras lets their number be said."""

    def __init__(self, items, **kwargs):
        super().__init__(**kwargs)
        self.items = items

    def __getitem__(self, i):
        return self.items[i]

    @property
    def num_batches(self):
        return len(self.items)


class Sized(Batches):
    """The other way."""

    def __len__(self):
        return len(self.items)


def _dataset(x, *batches):
    import tensorflow as tf  # one kind of data among others

    found = tf.data.Dataset.from_tensor_slices(x)
    return found.batch(batches[0]) if batches else found


Pair = namedtuple("Pair", "x y")


def _edge(x, value):
    found = np.array(x, "float64")
    found.reshape(-1)[-1] = value
    return found


def _sticky(x):
    found = np.array(x)
    found.flags.writeable = False
    return found


class Subclass(np.ndarray):
    """An array of another class."""


FORMS: dict[str, tuple[str, Callable]] = {
    "an array": (MUST, lambda x: x),
    "float64": (MUST, lambda x: x.astype("float64")),
    "longdouble": (MUST, lambda x: x.astype(np.longdouble)),
    "big-endian": (MUST, lambda x: x.astype(">f8")),
    "Fortran order": (MUST, np.asfortranarray),
    "not contiguous": (MUST, lambda x: np.repeat(x, 2, axis=0)[::2]),
    "negative strides": (MUST, lambda x: x[::-1].copy()[::-1]),
    "read-only": (MUST, _sticky),
    "a subclass": (MUST, lambda x: x.view(Subclass)),
    "unmasked": (MUST, lambda x: np.ma.array(x)),
    "memoryview": (MUST, lambda x: memoryview(np.ascontiguousarray(x))),
    "nested lists": (MUST, lambda x: x.tolist()),
    "tuple of lists": (SAME, lambda x: tuple(x.tolist())),
    "list of rows": (MUST, lambda x: list(x)),
    "tensor": (MUST, keras.ops.convert_to_tensor),
    "variable": (MUST, lambda x: keras.Variable(x)),
    "data frame": (MUST, lambda x: pd.DataFrame(x) if x.ndim == 2 else x),
    "frame of nullable numbers": (
        SAME,
        lambda x: pd.DataFrame(x).convert_dtypes() if x.ndim == 2 else x,
    ),
    "object array of floats": (SAME, lambda x: x.astype(object)),
    "list of one": (MUST, lambda x: [x]),
    "tuple of one": (MUST, lambda x: (x,)),
    "list of tensors": (SAME, lambda x: [keras.ops.convert_to_tensor(row) for row in x]),
    "dict by name": (SAME, lambda x: {"input": x}),
    "dict of another name": (WRONG, lambda x: {"nonsense": x}),
    "dict of mixed keys": (WRONG, lambda x: {"input": x, 3: x}),
    "empty dict": (WRONG, lambda x: {}),
    "a dict like object": (WRONG, lambda x: UserDict(nonsense=x)),
    "list of two": (WRONG, lambda x: [x, x]),
    "pair": (WRONG, lambda x: Pair(x, x)),
    "empty list": (WRONG, lambda x: []),
    "empty tuple": (WRONG, lambda x: ()),
    "no samples": (WRONG, lambda x: x[:0]),
    "one axis too few": (WRONG, lambda x: x[0]),
    "one axis too many": (WRONG, lambda x: np.stack([x, x], -1)),
    "two axes too many": (WRONG, lambda x: x[..., None, None]),
    "other size": (WRONG, lambda x: np.concatenate([x, x], -1)),
    "a scalar": (WRONG, lambda x: 1.0),
    "None": (WRONG, lambda x: None),
    "text": (WRONG, lambda x: "nonsense"),
    "list of texts": (WRONG, lambda x: ["a", "b"]),
    "array of texts": (WRONG, lambda x: x.astype(str)),
    "bytes": (WRONG, lambda x: x.tobytes()),
    "complex": (WRONG, lambda x: x.astype(complex)),
    "dates": (WRONG, lambda x: np.full(x.shape, "2020-01-01", "datetime64[D]")),
    "time spans": (WRONG, lambda x: np.ones(x.shape, "timedelta64[s]")),
    "objects": (WRONG, lambda x: np.full(x.shape, object())),
    "array of None": (WRONG, lambda x: np.full(x.shape, None)),
    "structured": (WRONG, lambda x: np.zeros(x.shape, [("a", "f4")])),
    "ragged": (WRONG, lambda x: [[1.0], [2.0, 3.0]]),
    "deep": (WRONG, lambda x: [[[[[[1.0]]]]]]),
    "masked": (WRONG, lambda x: np.ma.masked_less(x, np.inf)),
    "NaN": (WRONG, lambda x: _edge(x, np.nan)),
    "infinite": (WRONG, lambda x: _edge(x, -np.inf)),
    "beyond float32": (WRONG, lambda x: _edge(x, 1e39)),
    "a set": (WRONG, lambda x: {1.0, 2.0}),
    "a function": (WRONG, lambda x: lambda: x),
    "a class": (WRONG, lambda x: np.ndarray),
    "a model": (WRONG, lambda x: keras.Sequential([layers.Input((3,)), layers.Dense(1)])),
    "a symbolic tensor": (WRONG, lambda x: layers.Input(x.shape[1:])),
    "array.array": (WRONG, lambda x: array.array("f", x[0].reshape(-1).tolist())),
    "no array": (WRONG, lambda x: ArrayLike()),
    "generator": (MUST, lambda x: (part for part in (x[:2], x[2:]))),
    "generator of pairs": (MUST, lambda x: ((part, 0) for part in (x[:2], x[2:]))),
    "generator with an empty batch": (MUST, lambda x: (p for p in (x[:1], x[:0], x[1:], x[:0]))),
    "generator that is empty first": (MUST, lambda x: (p for p in (x[:0], x))),
    "generator of nothing": (WRONG, lambda x: (p for p in ())),
    "generator of empty batches": (WRONG, lambda x: (p for p in (x[:0], x[:0]))),
    "generator of None": (WRONG, lambda x: (p for p in (None, None))),
    "generator of scalars": (WRONG, lambda x: (p for p in (1.0, 2.0))),
    "generator of texts": (WRONG, lambda x: (p for p in ("a", "b"))),
    "generator of unlike batches": (WRONG, lambda x: (p for p in (x, {"nonsense": x}))),
    "generator of empty tuples": (WRONG, lambda x: (p for p in ((), ()))),
    "iterator of a list": (MUST, lambda x: iter([x])),
    "tf.data": (MUST, lambda x: _dataset(x, 2)),
    "tf.data of pairs": (MUST, lambda x: _dataset((x, np.zeros(len(x))), 2)),
    "tf.data of single samples": (WRONG, lambda x: _dataset(x)),
    "tf.data of nothing": (WRONG, lambda x: _dataset(x[:0], 2)),
    "PyDataset with num_batches": (MUST, lambda x: Batches([(x[:2],), (x[2:],)])),
    "PyDataset with a length": (MUST, lambda x: Sized([(x[:2], 0), (x[2:], 0)])),
    "PyDataset with an empty batch": (MUST, lambda x: Batches([(x[:0],), (x,)])),
    "PyDataset of nothing": (WRONG, lambda x: Batches([])),
}
