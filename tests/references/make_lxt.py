"""Writes the reference values of LXT, `lxt/<network>.npz`: AttnLRP by its explicit functions.

    pip install torch==2.14.1 lxt==2.1
    python tests/references/make_lxt.py

CPU, float64. LXT adds its stabilisers without a sign; they are 1e-12 here where they can be chosen.
"""

from pathlib import Path

import numpy as np
import torch
import transformer_cases as cases
from lxt.explicit import functional as lxt
from lxt.explicit.rules import identity
from torch.nn import functional

TINY = 1e-12
FOLDER = Path(__file__).parent / "lxt"


def linear(x, w, name):
    """A dense layer whose kernel's first axis are the inputs."""
    kernel, bias = w[name], w.get(f"{name}.bias")
    flat = kernel.reshape(x.shape[-1], -1).T
    return lxt.linear_epsilon(x, flat, None if bias is None else bias.reshape(-1), TINY)


def add(a, b):
    return lxt.add2(a, b, epsilon=TINY)


def heads(x):
    """(samples, tokens, numbers) -> (samples, heads, tokens, numbers of a head)"""
    return x.reshape(*x.shape[:2], -1, cases.SIZE).transpose(1, 2)


def rotated(x):
    """x with rotary positions."""
    cos, sin = (torch.tensor(a).double() for a in cases.rotation())
    first, second = x.chunk(2, dim=-1)
    turned = torch.cat([lxt.mul2(second, -1), first], dim=-1)
    return add(lxt.mul2(x, cos), lxt.mul2(turned, sin))


def attention(query, key, value, allowed):
    groups = query.shape[1] // key.shape[1]
    key, value = (x.repeat_interleave(groups, dim=1) for x in (key, value))
    logits = lxt.mul2(lxt.matmul(query, key.transpose(-1, -2), epsilon=TINY), cases.SIZE**-0.5)
    logits = logits + torch.where(allowed, 0.0, -torch.inf)
    attended = lxt.matmul(lxt.softmax(logits, -1), value, epsilon=TINY)
    return attended.transpose(1, 2).flatten(2)


def encoder(x, mask, w):
    norm = lambda x, n: lxt.layer_norm(x, w[n], w[f"{n}.bias"], cases.EPSILON)  # noqa: E731
    h = norm(x, "norm.1")
    query, key, value = (heads(linear(h, w, name)) for name in ("query", "key", "value"))
    x = add(x, linear(attention(query, key, value, mask[:, None, None]), w, "out"))
    hidden = identity(functional.gelu, linear(norm(x, "norm.2"), w, "up"))
    x = add(x, linear(hidden, w, "down"))
    return linear(x[:, 0], w, "head")


def llama(x, mask, w):
    norm = lambda x, n: lxt.rms_norm_identity(x, w[n], cases.EPSILON).double()  # noqa: E731
    h = norm(x, "norm.1")
    query, key, value = (heads(linear(h, w, name)) for name in ("query", "key", "value"))
    causal = torch.ones(cases.TOKENS, cases.TOKENS).tril().bool()
    attended = attention(rotated(query), rotated(key), value, causal)
    x = add(x, linear(attended, w, "out"))
    h = norm(x, "norm.2")
    gate = identity(functional.silu, linear(h, w, "gate"))
    x = add(x, linear(lxt.mul2(gate, linear(h, w, "up")), w, "down"))
    return linear(norm(x, "norm.3")[:, -1], w, "head")


def main():
    FOLDER.mkdir(exist_ok=True)
    for name, network in {"encoder": encoder, "llama": llama}.items():
        w = {key: torch.tensor(array).double() for key, array in cases.weights(name).items()}
        x, mask = (torch.tensor(array) for array in cases.inputs())
        x = x.double().requires_grad_()
        output = network(x, mask, w)
        chosen = output[:, cases.INDEX]
        (relevance,) = torch.autograd.grad(chosen, x, chosen.detach())
        np.savez_compressed(
            FOLDER / f"{name}.npz",
            output=output.detach().numpy().astype("float32"),
            relevance=relevance.numpy().astype("float32"),
        )
        print(name, output.detach().numpy().round(4).tolist(), relevance.sum((1, 2)).tolist())


if __name__ == "__main__":
    main()
