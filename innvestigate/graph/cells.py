"""Recurrent layers opened: each becomes a loop over time, see `graph.recurrent`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from keras import KerasTensor, ops, tree

from innvestigate.graph.names import keras_name
from innvestigate.graph.recurrent import CELL, Loop
from innvestigate.graph.step import Graph, Step
from innvestigate.graph.symbolic import layers_within
from innvestigate.graph.trace import open_step


def open_loop(layer, sequences, initial_state=None, mask=None, training=False):
    """A recurrent layer as a loop and what it takes of its outputs."""
    body = _cell(layer, sequences)
    if layer.go_backwards:
        sequences = ops.flip(sequences, axis=1)
        mask = None if mask is None else ops.flip(mask, axis=1)
    output, *states = body.flat_outputs
    apart = mask is not None or output not in states
    loop = Loop(layer, body, mask is not None, apart)
    written = loop(sequences, initial_state=initial_state, mask=mask)
    every = written[0 if apart else states.index(output)]
    found = every if layer.return_sequences else every[:, -1]
    last = [y[:, -1] for y in written[1 if apart else 0 :]]
    return [found, *last] if layer.return_state else found


def open_both_ways(layer, sequences, initial_state=None, mask=None, training=False):
    """Bidirectional as its two layers and what merges them."""
    states = [None, None]
    if initial_state is not None:
        half = len(initial_state) // 2
        states = [initial_state[:half], initial_state[half:]]
    pairs = zip((layer.forward_layer, layer.backward_layer), states, strict=True)
    there, back = (
        tree.flatten(one(sequences, initial_state=given, mask=mask)) for one, given in pairs
    )
    y, z = there[0], back[0]
    z = ops.flip(z, axis=1) if layer.return_sequences else z
    merged = [y, z] if layer.merge_mode is None else [_MERGES[layer.merge_mode](y, z)]
    return [*merged, *there[1:], *back[1:]]


def simple_cell(cell, x, states, training=False):
    """The cell of a SimpleRNN, whose own `call` draws dropout masks that it does not use."""
    (before,) = tree.flatten(states)
    z = ops.matmul(x, cell.kernel)
    if cell.bias is not None:
        z = ops.add(z, cell.bias)
    z = z + ops.matmul(before, cell.recurrent_kernel)
    y = z if cell.activation is None else cell.activation(z)
    return y, [y]


OPENERS: dict[str | None, Callable] = {
    **dict.fromkeys(("LSTM", "GRU", "SimpleRNN", "RNN"), open_loop),
    **dict.fromkeys(("ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"), open_loop),
    "Bidirectional": open_both_ways,
    "SimpleRNNCell": simple_cell,
}
_MERGES: dict[str, Callable] = {
    "concat": lambda y, z: ops.concatenate([y, z], axis=-1),
    "sum": ops.add,
    "ave": lambda y, z: (y + z) / 2,
    "mul": ops.multiply,
}


def _cell(layer, sequences) -> Graph:
    """The graph of a recurrent layer's cell, from `[input, *states]` to `[output, *states]`."""
    dtype = getattr(layer.cell, "compute_dtype", layer.compute_dtype)
    batch, _, *sizes = sequences.shape
    x = KerasTensor((batch, *sizes), sequences.dtype)
    like = lambda state: KerasTensor((batch, *state.shape[1:]), dtype)  # noqa: E731
    states = tree.map_structure(like, layer.get_initial_state(1))
    written = [x, *tree.flatten(states)]  # as many as that
    return open_step(Step(CELL, layer, ((x, states), {}), written, (layer,)), _one_step)


def _one_step(layer, x, states, training=False, mask=None):
    """What a recurrent layer's cell makes of its input and states."""
    opener = OPENERS.get(keras_name(layer.cell))
    try:
        run = layer.cell.call if opener is None else partial(opener, layer.cell)
        output, after = run(x, states)
    finally:
        _forget_dropout(layer)
    return [output, *tree.flatten(after)]


def _forget_dropout(layer) -> None:
    """Have cells forget the dropout that they have drawn for this run, as a layer does at its end.

    Cells of a stack draw it where Keras finds out the shapes of what they write.
    """
    for cell in layers_within(layer):
        if hasattr(cell, "reset_dropout_mask"):
            cell.reset_dropout_mask()
            cell.reset_recurrent_dropout_mask()
