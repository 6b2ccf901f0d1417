#!/usr/bin/env python3
"""Do the golden drafts notice a wrong drafter? Spoils the reference's in the ways drafters invite, one at a time, and says
how far logits and carried vectors of the first steps move; fails if a mistake moves neither of them in some model.

    python scripts/golden/drafter_sensitivity.py
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file

import drafters
import mistakes

GOLDEN = Path(__file__).resolve().parents[2] / "tests" / "golden"
SEEN = 0.05  # honest engines differ by less than 1e-3
STEPS = 3


class Round:
    """What a round of drafting is made of; mistakes change one thing."""

    def __init__(self, target, drafter, trace, position):
        self.target, self.drafter, self.trace = target, drafter, trace
        self.shared = target.shared_states(trace)
        self.hidden = torch.from_numpy(trace.final_norm[-1])
        self.positions = [position] * STEPS
        self.embed = target.text.embed_tokens
        self.join = lambda embedding, carried: torch.cat([embedding, carried], -1)


def honest(_round):
    pass


def hidden_before_the_norm(r):
    last = max(r.trace.layers)
    r.hidden = torch.from_numpy(r.trace.layers[last][-1])


def carried_first(r):
    r.join = lambda embedding, carried: torch.cat([carried, embedding], -1)


def embedding_not_scaled(r):
    table = r.target.text.embed_tokens
    r.embed = lambda ids: table(ids) / table.embed_scale


def position_moves_on(r):
    r.positions = [r.positions[0] + step for step in range(STEPS)]


def position_of_the_last_key(r):
    r.positions = [position - 1 for position in r.positions]


def window_too_long(r):
    kinds = r.target.config.layer_types
    last = len(kinds) - 1 - kinds[::-1].index("sliding_attention")
    window = r.target.config.sliding_window
    r.shared["sliding_attention"] = tuple(
        torch.from_numpy(value).transpose(0, 1)[None][:, :, -window - 1:] for value in r.trace.attention[last][1:])


def keys_of_another_layer(r):
    kinds = r.target.config.layer_types
    other = kinds.index("sliding_attention")
    r.shared["sliding_attention"] = tuple(
        torch.from_numpy(value).transpose(0, 1)[None][:, :, -r.target.config.sliding_window:]
        for value in r.trace.attention[other][1:])


def no_layer_scalar(r):
    for layer in r.drafter.model.layers:
        layer.layer_scalar.fill_(1.0)


def one_cluster_less(r):
    r.drafter.masked_embedding.centroid_intermediate_top_k -= 1


def clusters_in_columns(r):
    """The order read as [tokens, clusters] instead of [clusters, tokens]."""
    embedder = r.drafter.masked_embedding
    embedder.token_ordering = embedder.token_ordering.view(-1, embedder.num_centroids).T.reshape(-1).contiguous()


def order_permutes_the_table(r):
    embedder = r.drafter.masked_embedding
    r.drafter.lm_head.weight.data = r.drafter.lm_head.weight.data[embedder.token_ordering]


def dense_head(r):
    r.drafter.config.use_ordered_embeddings = False


ALL = [hidden_before_the_norm, carried_first, embedding_not_scaled, position_moves_on, position_of_the_last_key, window_too_long,
       keys_of_another_layer, no_layer_scalar]
CLUSTERED = [one_cluster_less, clusters_in_columns, order_permutes_the_table, dense_head]


@torch.no_grad()
def moved(spec: drafters.Spec, unified: bool, spoil) -> float:
    """The largest change of a logit or a carried value in the first steps of `text-long`, the drafts being the golden ones."""
    folder = GOLDEN / "models" / spec.model
    target = drafters._Target(folder, unified)
    loader = drafters.Gemma4UnifiedAssistantForCausalLM if unified else drafters.Gemma4AssistantForCausalLM
    drafter = loader.from_pretrained(folder / "drafter", dtype=torch.float32, attn_implementation="eager").eval()
    case = next(case for case in target.cases() if case.name == "text-long")
    golden = load_file(GOLDEN / "drafts" / spec.model / "text-long.safetensors")
    known = json.loads((GOLDEN / "drafts" / spec.model / "text-long.json").read_text())
    ids, trace = target.trace(case, GOLDEN / "media")
    r = Round(target, drafter, trace, len(ids))
    spoil(r)
    carried, largest = r.hidden[None, None], 0.0
    for step, token in enumerate([known["newest"], *known["drafts"]][:STEPS]):
        out = r.drafter(inputs_embeds=r.join(r.embed(torch.tensor([[token]])), carried),
                        position_ids=torch.tensor([[r.positions[step]]]), shared_kv_states=r.shared)
        carried = out.last_hidden_state
        largest = max(largest, float(np.abs(out.logits[0, 0].numpy() - golden["logits"][step]).max()),
                      float(np.abs(carried[0, 0].numpy() - golden["carried"][step]).max()))
    return largest


def main() -> int:
    torch.set_num_threads(1)
    targets = drafters._targets()
    unseen = []
    for spoil in [honest, *ALL, *CLUSTERED]:
        found = {spec.model: round(moved(spec, drafters._is_unified(targets[spec.model]), spoil), 5)
                 for spec in drafters.SPECS if spoil not in CLUSTERED or spec.clusters}
        print(f"{spoil.__name__:28} {json.dumps(found)}", flush=True)
        if max(found.values()) > 1e-3 if spoil is honest else min(found.values()) < SEEN:
            unseen.append(spoil.__name__)
    return mistakes.conclude(unseen, len(ALL) + len(CLUSTERED), " in every model")


if __name__ == "__main__":
    sys.exit(main())
