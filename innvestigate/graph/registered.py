"""Kinds that users have given to layer types of their own."""

from __future__ import annotations

from typing import Any

from innvestigate.graph.names import Kind

_KINDS: dict[type, Kind] = {}


def register_kind(layer_type: type, kind: Kind) -> None:
    """Have all layers of a type, and of types derived from it, be steps of a kind."""
    _KINDS[layer_type] = kind


def registered_kind(operation: Any) -> Kind | None:
    """The kind that a layer's type, or the nearest one it is derived from, was given."""
    return next((_KINDS[cls] for cls in type(operation).__mro__ if cls in _KINDS), None)
