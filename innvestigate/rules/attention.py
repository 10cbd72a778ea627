"""Relevance rules for attention: the softmax, and attention that Keras runs in one piece.

Achtibat et al. 2024, "AttnLRP: Attention-Aware Layer-Wise Relevance Propagation for
Transformers" (AttnLRP), and Ali et al. 2022, "XAI for Transformers: Better Explanations through
Conservative Propagation" (CP-LRP), in which attention weights are constants.
"""

from __future__ import annotations

from dataclasses import dataclass

from keras import KerasTensor

from innvestigate.graph.operations import Kind
from innvestigate.rules.base import Linearised
from innvestigate.utils.arguments import check_flags

MASKED = -5e3
"""Logits below count as masked. Masks write -1e9, the least number of their type or -inf."""


class Softmax(Linearised):
    """A softmax s linearised at its input: R_x = x ⊙ Jᵀ (R / s) = x ⊙ (R - s Σ R).

    What is not linear in x absorbs the rest, as a bias would. Masked places get 0. A log-softmax
    and a sparsemax y are linearised alike, R_x = x ⊙ Jᵀ (R / y).

    Reference: Achtibat et al. 2024, eq. 4 and proposition 3.1.
    """

    kinds = (Kind.SOFTMAX,)
    proportional = False  # 0 ⊙ -inf is no number

    def weights(self, at) -> list:
        return [x > MASKED for x in at.inputs]


@dataclass(frozen=True)
class Attention(Linearised):
    """`dot_product_attention`, y = softmax(q kᵀ / √d + b) v: its products and its softmax at once.

    The product of weights and values gives each half by the z-rule, the softmax what `Softmax`
    says, the product of queries and keys each half again. Relevance divided by the tensor that it
    belongs to follows the chain rule in all of these, so that with (g_q, g_k, g_v, g_b) =
    Jᵀ (R / y)

        R_q = ¼ q ⊙ g_q,   R_k = ¼ k ⊙ g_k,   R_v = ½ v ⊙ g_v,   R_b = ½ b ⊙ g_b.

    Args:
        constant_weights: CP-LRP: R_v = v ⊙ g_v, and nothing for the others.

    Reference: Achtibat et al. 2024, propositions 3.1 and 3.3; Ali et al. 2022, section 4 (AH-rule).
    """

    constant_weights: bool = False

    def __post_init__(self):
        check_flags(constant_weights=self.constant_weights)

    kinds = (Kind.ATTENTION,)
    proportional = True

    def weights(self, at) -> list[float]:
        shares = {"value": 1.0} if self.constant_weights else _SHARES
        return [shares.get(role, 0.0) for role in _roles(at)]


_ROLES = ("query", "key", "value", "bias")
_SHARES = {"query": 0.25, "key": 0.25, "value": 0.5, "bias": 0.5}


def _roles(at) -> list[str]:
    """What each active input is to the attention."""
    args, kwargs = at.step.arguments
    given = {**dict(zip(_ROLES, args, strict=False)), **kwargs}
    role = {x: name for name, x in given.items() if isinstance(x, KerasTensor)}
    return [role[at.step.inputs[i]] for i in at.places]
