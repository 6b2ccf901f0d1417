"""Mistakes that every decoder and tower of the family invites, for the scripts that spoil the reference."""

from __future__ import annotations

import contextlib

import torch


@contextlib.contextmanager
def restored(module, *names: str):
    """What was put in the place of the module's names is taken out again."""
    kept = {name: getattr(module, name) for name in names}
    try:
        yield
    finally:
        for name, value in kept.items():
            setattr(module, name, value)


def add_one_to_norms(root, norm_class) -> None:
    for module in root.modules():
        if isinstance(module, norm_class) and module.with_scale:
            module.weight.data += 1


def scale_by_head_dim(attentions) -> None:
    for attention in attentions:
        attention.scaling = attention.head_dim**-0.5


def forget_value_norms(attentions) -> None:
    for attention in attentions:
        attention.v_norm = torch.nn.Identity()


def norm_values_after_keys(attentions) -> None:
    """Values taken from the keys' projection after the keys' norm."""
    for attention in attentions:
        original, weight = attention.v_norm.forward, attention.k_norm.weight
        attention.v_norm.forward = lambda x, original=original, weight=weight: original(x) * weight


def swap_gate_and_up(layers) -> None:
    for layer in layers:
        layer.mlp.gate_proj, layer.mlp.up_proj = layer.mlp.up_proj, layer.mlp.gate_proj


def divide_exponents_by_the_rotary_width(frequencies: torch.Tensor) -> None:
    pairs = int((frequencies > 0).sum())
    frequencies[:pairs] = 1e6 ** (-torch.arange(pairs) / pairs)


def turn_all_pairs(frequencies: torch.Tensor) -> None:
    frequencies.copy_(1e6 ** (-torch.arange(len(frequencies)) / len(frequencies)))


def turn_neighbours(modeling) -> None:
    """Pairs (2 i, 2 i + 1) instead of (i, i + d/2)."""
    def turned(x, cos, sin, unsqueeze_dim=1):
        half = x.shape[-1] // 2
        cos, sin = (t[..., :half].repeat_interleave(2, -1).unsqueeze(unsqueeze_dim) for t in (cos, sin))
        return x * cos + torch.stack((-x[..., 1::2], x[..., ::2]), -1).flatten(-2) * sin
    modeling.apply_rotary_pos_emb = turned


def turn_the_first_dimensions(modeling) -> None:
    """Where only n pairs turn: pairs (i, i + n) of the first 2 n dimensions instead of (i, i + d/2)."""
    def turned(x, cos, sin, unsqueeze_dim=1):
        n = int((sin[..., :sin.shape[-1] // 2].abs().amax(tuple(range(sin.ndim - 1))) > 0).sum())
        cos, sin = (t[..., :n].unsqueeze(unsqueeze_dim) for t in (cos, sin))
        first, second = x[..., :n], x[..., n:2 * n]
        return torch.cat([first * cos - second * sin, second * cos + first * sin, x[..., 2 * n:]], -1)
    modeling.apply_rotary_pos_emb = turned


def conclude(unseen: list[str], total: int, where: str = "") -> int:
    """The last line, and the exit status."""
    print("not noticed: " + ", ".join(unseen) if unseen else f"all {total} mistakes noticed{where}")
    return 1 if unseen else 0
