"""Trains the demo model's MTP drafter with the target frozen, and measures how many drafted tokens the target accepts.

    python train_drafter.py --banks BANKS --minutes 12

A round starts with P tokens in the target's cache and a newest token b that is not: the drafter sees the embedding of b
(the target's table) next to the target's last hidden state, attends the target's keys and values of its last sliding and
last full layer, and every step of the round has position P. All rounds of a batch are computed side by side; the labels
are the target's own choices.
"""

import argparse
import json
import os
import pathlib
import time

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np  # noqa: E402
import torch  # noqa: E402
import torchvision_cpu  # noqa: F401, E402  (before transformers)
from safetensors.torch import load_file, save_file  # noqa: E402
from transformers import AttentionInterface  # noqa: E402
from transformers.models.gemma4_unified.configuration_gemma4_unified import Gemma4UnifiedTextConfig  # noqa: E402
from transformers.models.gemma4_unified_assistant.configuration_gemma4_unified_assistant import (  # noqa: E402
    Gemma4UnifiedAssistantConfig)
from transformers.models.gemma4_unified_assistant.modeling_gemma4_unified_assistant import (  # noqa: E402
    Gemma4UnifiedAssistantForCausalLM)

import model as demo  # noqa: E402
import samples  # noqa: E402

HIDDEN, FFN = 128, 256
STEPS = 4  # drafted tokens a round in training and measurement

_modes = Gemma4UnifiedTextConfig.kv_sharing_modes.fget


def _all_shared(config):
    """transformers 5.23 refuses a model in which every layer borrows its keys and values; a drafter is one."""
    if config.num_kv_shared_layers == config.num_hidden_layers:
        return ["reuse"] * config.num_hidden_layers
    return _modes(config)


Gemma4UnifiedTextConfig.kv_sharing_modes = property(_all_shared)


def config_document(vocabulary):
    return {
        "architectures": ["Gemma4UnifiedAssistantForCausalLM"], "backbone_hidden_size": demo.HIDDEN,
        "centroid_intermediate_top_k": 32, "dtype": "bfloat16", "model_type": "gemma4_unified_assistant",
        "num_centroids": 2048, "text_config": {
            "attention_bias": False, "attention_dropout": 0.0, "attention_k_eq_v": True, "bos_token_id": 2,
            "dtype": "bfloat16", "eos_token_id": 1, "final_logit_softcapping": None, "global_head_dim": 128, "head_dim": 64,
            "hidden_activation": "gelu_pytorch_tanh", "hidden_size": HIDDEN, "initializer_range": 0.02,
            "intermediate_size": FFN, "layer_types": ["sliding_attention"] * 3 + ["full_attention"],
            "max_position_embeddings": 8192, "model_type": "gemma4_unified_text", "num_attention_heads": demo.HEADS,
            "num_global_key_value_heads": 1, "num_hidden_layers": 4, "num_key_value_heads": 2, "num_kv_shared_layers": 4,
            "pad_token_id": 0, "rms_norm_eps": 1e-06, "rope_parameters": {
                "full_attention": {"partial_rotary_factor": 0.25, "rope_theta": 1000000.0, "rope_type": "proportional"},
                "sliding_attention": {"rope_theta": 10000.0, "rope_type": "default"}},
            "sliding_window": demo.WINDOW, "tie_word_embeddings": True, "use_bidirectional_attention": "vision",
            "use_cache": True, "use_double_wide_mlp": False, "vocab_size": vocabulary},
        "tie_word_embeddings": True, "use_ordered_embeddings": False}


captured = {}


@torch.compiler.disable
def capturing_attention(module, query, key, value, attention_mask, **more):
    """packed_attention that keeps the keys and values of the last layer of each kind."""
    captured["sliding_attention" if module.is_sliding else "full_attention"] = (key, value)
    return demo.packed_attention(module, query, key, value, attention_mask, **more)


AttentionInterface.register("capturing", capturing_attention)


def make_drafter(vocabulary, target, seed):
    torch.manual_seed(seed)
    drafter = Gemma4UnifiedAssistantForCausalLM(Gemma4UnifiedAssistantConfig(**config_document(vocabulary))).float()
    with torch.no_grad():
        for name, weight in drafter.named_parameters():
            if weight.ndim == 2:
                weight.normal_(0, weight.shape[1] ** -0.5)
            elif "post_attention" in name or "post_feedforward" in name:
                weight.fill_(0.3)
        # The head starts as the target's, brought to the drafter's width.
        basis = torch.linalg.svd(target.lm_head.weight, full_matrices=False).Vh[:HIDDEN]
        drafter.model.embed_tokens.weight.copy_(target.lm_head.weight @ basis.T)
    drafter.tie_weights()
    return drafter


class Rounds:
    """What the rounds of a packed batch need from the frozen target."""

    def __init__(self, target, batch):
        """Rounds start at every answer token of the last turn; batch as for packed_hidden, with `where`."""
        with torch.no_grad():
            hidden = demo.packed_hidden(target, batch).float()
            logits = target.lm_head(hidden).float()  # the softcap does not change which is highest
        self.choice = logits.argmax(-1)
        self.keys = {kind: (k.detach().float(), v.detach().float()) for kind, (k, v) in captured.items()}
        self.ids, self.embed = batch["ids"], target.model.language_model.embed_tokens
        starts = torch.tensor([0] + list(np.cumsum(batch["lengths"])))
        sample = torch.repeat_interleave(torch.arange(len(batch["lengths"])), torch.tensor(batch["lengths"]))
        # A round's b is the token that a position of `where` predicts.
        at = batch["where"] + 1
        self.at, self.hidden = at, hidden[at - 1]
        self.end = starts[sample[at] + 1]
        self.position = (at - starts[sample[at]])[None]
        column = torch.arange(len(self.ids))
        before = (column[None] < at[:, None]) & (column[None] >= starts[sample[at]][:, None])
        near = before & (column[None] >= (at - demo.WINDOW)[:, None])
        self.masks = {"full_attention": before[None, None], "sliding_attention": near[None, None]}

    def step(self, drafter, tokens, carried):
        """One drafter step of every round: (logits [n, vocabulary], carried vectors of the next step [n, backbone])."""
        inputs = torch.cat([self.embed(tokens).detach(), carried], -1)[None]
        out = drafter.model(inputs_embeds=drafter.pre_projection(inputs), attention_mask=self.masks,
                            position_ids=self.position, shared_kv_states=self.keys, use_cache=False).last_hidden_state
        return drafter.lm_head(out)[0].float(), drafter.post_projection(out)[0].float()


def loss_of(drafter, rounds):
    """Cross-entropy against the target's choices over the steps that a round reaches when all before were right."""
    carried, alive, total, count = rounds.hidden, torch.ones(len(rounds.at), dtype=torch.bool), 0.0, 0
    for j in range(STEPS):
        index = (rounds.at + j).clamp(max=len(rounds.ids) - 1)
        alive = alive & (rounds.at + j + 1 < rounds.end)
        if not alive.any():
            break
        logits, carried = rounds.step(drafter, rounds.ids[index], carried)
        label = rounds.choice[index]
        losses = torch.nn.functional.cross_entropy(logits, label, reduction="none")
        weight = alive.float() * 0.8 ** j
        total, count = total + (losses * weight).sum(), count + weight.sum()
        following = rounds.ids[(rounds.at + j + 1).clamp(max=len(rounds.ids) - 1)]
        alive = alive & (label == following)  # later steps are only reached on the target's own path
    return total / count


@torch.no_grad()
def accepted(drafter, rounds):
    """Drafted tokens the target accepts per round: walks each answer as greedy decoding would, a list of counts."""
    carried, tokens = rounds.hidden, rounds.ids[rounds.at]
    right = torch.ones(len(rounds.at), dtype=torch.bool)
    length = torch.zeros(len(rounds.at), dtype=torch.long)
    for j in range(STEPS):
        logits, carried = rounds.step(drafter, tokens, carried)
        tokens = logits.argmax(-1)
        index = rounds.at + j + 1
        right &= (index < rounds.end) & (tokens == rounds.ids[index.clamp(max=len(rounds.ids) - 1)])
        length += right
    counts, place = [], {int(p): i for i, p in enumerate(rounds.at)}
    for begin in sorted(place):
        if begin - 1 in place:
            continue
        at = begin
        while at in place and at + 1 < int(rounds.end[place[at]]):
            n = int(length[place[at]])
            counts.append(n)
            at += n + 1
    return counts


def pack(chosen):
    """Batch of samples with the rounds of their last turns."""
    starts = np.cumsum([0] + [len(s.ids) for s in chosen])
    where = np.concatenate([np.arange(s.prompt_length - 1, len(s.ids) - 1) + a for s, a in zip(chosen, starts)])

    def joined(name):
        return torch.from_numpy(np.concatenate([getattr(s, name) for s in chosen]))

    return {"ids": joined("ids"), "kinds": joined("kinds"), "lengths": [len(s.ids) for s in chosen],
            "positions": torch.from_numpy(np.concatenate([np.arange(len(s.ids)) for s in chosen])),
            "where": torch.from_numpy(where), "patches": joined("patches"), "patch_positions": joined("patch_positions"),
            "frames": joined("frames")}


@torch.no_grad()
def greedy(target, sample, limit=60):
    """The sample with the answer replaced by what the target itself writes (without a cache; answers are short)."""
    ids, kinds = list(sample.ids[: sample.prompt_length]), list(sample.kinds[: sample.prompt_length])
    stops = target.config.eos_token_id
    for _ in range(limit):
        sample.ids, sample.kinds = np.array(ids), np.array(kinds)
        batch = pack([sample]) if len(ids) > sample.prompt_length else pack([sample]) | {"where": torch.zeros(0).long()}
        token = int(target.lm_head(demo.packed_hidden(target, batch)[-1]).argmax())
        ids.append(token)
        kinds.append(0)
        if token in stops:
            break
    sample.ids, sample.kinds = np.array(ids), np.array(kinds)
    return sample


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--banks", required=True, type=pathlib.Path)
    parser.add_argument("--model", default=samples.MODEL_DIR, type=pathlib.Path)
    parser.add_argument("--minutes", type=float, default=12)
    parser.add_argument("--peak", type=float, default=2e-3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--float32", dest="bfloat16", action="store_false", help="no matrix products in bfloat16")
    parser.add_argument("--resume", action="store_true", help="go on from the drafter that is there")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--measure", type=int, default=60, help="held-out answers to measure the acceptance on")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    skills = samples.Skills(options.banks, model_dir=options.model)
    tokenizer = skills.builder.tokenizer
    target = demo.make_model(demo.make_config(tokenizer), 0)
    target.load_state_dict(load_file(options.model / "model.safetensors"), strict=False)
    target.tie_weights()
    target.requires_grad_(False)
    target.config._attn_implementation = target.model.language_model.config._attn_implementation = "capturing"
    drafter = make_drafter(tokenizer.get_vocab_size(), target, options.seed)
    out = options.model / "drafter"
    out.mkdir(exist_ok=True)
    if options.resume:
        drafter.load_state_dict({n: t.float() for n, t in load_file(out / "model.safetensors").items()}, strict=False)
        drafter.tie_weights()
    (out / "config.json").write_text(json.dumps(config_document(tokenizer.get_vocab_size()), indent=2) + "\n")

    optimiser = torch.optim.AdamW(drafter.parameters(), lr=options.peak, betas=(0.9, 0.98), weight_decay=0.01)
    rng = np.random.default_rng(options.seed + 77)
    names = [name for name, (share, _) in samples.SKILLS.items() if share > 0]
    shares = np.array([samples.SKILLS[n][0] for n in names])
    begin, step = time.monotonic(), 0
    while (progress := (time.monotonic() - begin) / 60 / options.minutes) < 1:
        chosen = [getattr(skills, names[i])(rng) for i in rng.choice(len(names), 20, p=shares / shares.sum())]
        for group in optimiser.param_groups:
            group["lr"] = options.peak * min((step + 1) / 50, 1.02 - progress)
        batch = pack(chosen)
        if options.bfloat16:
            batch["patches"] = demo.normalised(batch["patches"].numpy())
        with torch.autocast("cpu", torch.bfloat16, enabled=options.bfloat16):
            loss = loss_of(drafter, Rounds(target, batch))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(drafter.parameters(), 1.0)
        optimiser.step()
        step += 1
        if step % 50 == 0:
            print(f"step {step}, {(time.monotonic() - begin) / 60:.1f} min, loss {loss.item():.3f}", flush=True)
    tensors = {n: t.to(torch.bfloat16).contiguous() for n, t in drafter.state_dict().items() if n != "lm_head.weight"}
    save_file(tensors, str(out / "model.safetensors"), metadata={"format": "pt"})
    drafter.load_state_dict({n: t.float() for n, t in tensors.items()}, strict=False)

    test = samples.Skills(options.banks, True, "test_seen", "test_words", options.model)
    rng, counts = np.random.default_rng(options.seed + 9_999), {}
    for i in range(options.measure):
        name = names[i % len(names)]
        sample = greedy(target, getattr(test, name)(rng))
        if len(sample.ids) - sample.prompt_length > 1:
            counts.setdefault(name, []).extend(accepted(drafter, Rounds(target, pack([sample]))))
    for name, list_of in counts.items():
        print(f"{name}: {np.mean(list_of):.2f} of {STEPS} drafted tokens accepted a round ({len(list_of)} rounds)")
    everything = [c for list_of in counts.values() for c in list_of]
    print(f"all: {np.mean(everything):.2f} accepted, {1 + np.mean(everything):.2f} tokens a round")


if __name__ == "__main__":
    main()
