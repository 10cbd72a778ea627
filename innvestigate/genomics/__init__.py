"""Sequences of letters: one-hot encoding, shuffles, effects of variants, files for MoDISco."""

from innvestigate.genomics.letters import one_hot_decode, one_hot_encode
from innvestigate.genomics.modisco import save_modisco
from innvestigate.genomics.shuffles import ShuffledReferences, dinucleotide_shuffle
from innvestigate.genomics.variants import variant_effects

__all__ = [
    "ShuffledReferences",
    "dinucleotide_shuffle",
    "one_hot_decode",
    "one_hot_encode",
    "save_modisco",
    "variant_effects",
]
