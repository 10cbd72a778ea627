"""LXT 2.1 (efficient mode) and autoLRP 0.2 on the Llama of transformers 4.52 and torch 2.14.

The network has the size of `benchmarks/sequences.py`. Both explain the largest logit of the last
token by AttnLRP, one number for each token. LXT patches the classes of the network, with attention
in one piece; autoLRP writes attention out itself.
"""

from __future__ import annotations

import autolrp
import common
import torch
from lxt.efficient import monkey_patch
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.models.llama import modeling_llama

WIDTH, HIDDEN, LAYERS, HEADS, WORDS = 384, 1024, 6, 6, 2000
SAMPLES, TOKENS = 16, 128
OFFERED = {"LXT": ("lrp.attn",), "autoLRP": ("lrp.attn",)}
PATCHED = (
    (modeling_llama.LlamaMLP, "forward"),
    (modeling_llama.LlamaRMSNorm, "forward"),
    (modeling_llama, "eager_attention_forward"),
    (modeling_llama, "ALL_ATTENTION_FUNCTIONS"),
    (torch.nn.Dropout, "forward"),
)


def build(_name: str, _size: int, _batch: int) -> tuple:
    """A network with random weights and its tokens."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=WORDS,
        hidden_size=WIDTH,
        intermediate_size=HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        max_position_embeddings=TOKENS,
    )
    model = LlamaForCausalLM(config).eval().requires_grad_(False)
    return model, common.tokens(WORDS, (SAMPLES, TOKENS))


def vectors(model, x):
    """What the network looks up for its tokens."""
    return model.get_input_embeddings()(torch.from_numpy(x))


def largest(model, vectors):
    """The largest logits of the last token, added up."""
    logits = model(inputs_embeds=vectors, use_cache=False, logits_to_keep=1).logits
    return logits[:, -1].amax(dim=-1).sum()


def gradient(model):
    """The gradient of the largest logits at the vectors."""

    def function(x):
        e = vectors(model, x).requires_grad_()
        return torch.autograd.grad(largest(model, e), e)[0].numpy()

    return function


def with_lxt(model):
    """Gradient x input, with the classes of the network patched for as long as it takes."""
    plain = [getattr(*place) for place in PATCHED]
    monkey_patch(modeling_llama)
    patched = [getattr(*place) for place in PATCHED]
    put(plain)

    def function(x):
        put(patched)
        e = vectors(model, x).requires_grad_()
        (found,) = torch.autograd.grad(largest(model, e), e)
        put(plain)
        return (found * e).sum(dim=-1).detach().numpy()

    return function


def put(values: list) -> None:
    """Put values in the places that LXT patches."""
    for place, value in zip(PATCHED, values, strict=True):
        setattr(*place, value)


def with_autolrp(model):
    """Relevance of the wrapped vectors."""
    config = autolrp.LRPConfig.attnlrp()

    def function(x):
        e = autolrp.tensor(vectors(model, x))
        largest(model, e).lrp(config=config)
        return e.relevance.sum(dim=-1).detach().numpy()

    return function


def explainer(peer: str, _method: str, _name: str, model):
    return {"LXT": with_lxt, "autoLRP": with_autolrp}[peer](model)


if __name__ == "__main__":
    common.main(OFFERED, build, gradient, explainer)
