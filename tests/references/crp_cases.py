"""What is compared with zennit-crp: channels of layers, by their position in the Keras model.

Imports nothing, so that every Python that runs one of the programs can read it.
"""

CONDITIONS = {
    "cnn": [
        *({0: [c]} for c in range(4)),
        *({2: [c]} for c in range(5)),
        {2: [0, 3]},
        {2: [1, 4], 0: [0, 2]},
    ],
    "residual": [
        *({0: [c]} for c in range(4)),
        *({2: [c]} for c in range(4)),
        {2: [1], 0: [0, 3]},
    ],
}
"""For each network some conditions: channels by the number of the layer, from the output on."""

_MODULES = {
    "cnn": {0: "2", 2: "5"},  # the rectifiers
    "residual": {0: "stem.2", 2: "block.2"},
}


def in_torch(conditions, network):
    """Conditions by the name of the module in `make_zennit.NETWORKS`."""
    return {_MODULES[network][layer]: channels for layer, channels in conditions.items()}
