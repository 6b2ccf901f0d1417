"""Configuration, initial weights and packed forward pass of the demo model, on the reference's own classes.

The packed pass puts many samples of different lengths behind each other in one row without padding. All that is done
position by position is the reference's code, unchanged; only attention is replaced, through the interface that
transformers has for it, by one that keeps the samples apart and applies the same masks as the reference.
"""

import math

import torch
import torchvision_cpu  # noqa: F401  (before transformers)
from transformers import AttentionInterface
from transformers.models.gemma4_unified.configuration_gemma4_unified import Gemma4UnifiedConfig
from transformers.models.gemma4_unified.modeling_gemma4_unified import Gemma4UnifiedForConditionalGeneration

HIDDEN = 256
FFN = 768
HEADS = 4
LAYER_TYPES = ["sliding_attention", "sliding_attention", "full_attention"] * 2
WINDOW = 256


def make_config(tokenizer):
    """The architecture: every feature of the 12B release at a small size."""
    token = tokenizer.token_to_id
    text = {
        "model_type": "gemma4_unified_text", "vocab_size": tokenizer.get_vocab_size(), "hidden_size": HIDDEN,
        "intermediate_size": FFN, "num_hidden_layers": len(LAYER_TYPES), "layer_types": LAYER_TYPES,
        "num_attention_heads": HEADS, "num_key_value_heads": 2, "num_global_key_value_heads": 1, "head_dim": 64,
        "global_head_dim": 128, "attention_k_eq_v": True, "sliding_window": WINDOW, "final_logit_softcapping": 30.0,
        "max_position_embeddings": 8192, "tie_word_embeddings": True, "use_bidirectional_attention": "vision",
        "rope_parameters": {
            "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
            "full_attention": {"rope_type": "proportional", "rope_theta": 1000000.0, "partial_rotary_factor": 0.25}},
        "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2}
    return Gemma4UnifiedConfig(
        text_config=text,
        vision_config={"model_type": "gemma4_unified_vision", "patch_size": 16, "pooling_kernel_size": 3,
                       "mm_embed_dim": HIDDEN, "mm_posemb_size": 1120, "output_proj_dims": HIDDEN},
        audio_config={"model_type": "gemma4_unified_audio", "audio_embed_dim": 640},
        boi_token_id=token("<|image>"), eoi_token_id=token("<image|>"), image_token_id=token("<|image|>"),
        video_token_id=token("<|video|>"), boa_token_id=token("<|audio>"), eoa_token_index=token("<audio|>"),
        audio_token_id=token("<|audio|>"), tie_word_embeddings=True,
        eos_token_id=[token("<eos>"), token("<turn|>"), token("<|tool_response>")])


def gabor_filters(rows, samples=640, rate=16_000):
    """Unit-norm windowed cosine/sine pairs [rows, samples] on a mel scale, centred at 10 and 30 ms of the 40 ms frame."""
    pairs = rows // 4
    mel = torch.linspace(2595 * math.log10(1 + 90 / 700), 2595 * math.log10(1 + 6500 / 700), pairs)
    frequency = 700 * (10 ** (mel / 2595) - 1)
    time = torch.arange(samples) / rate
    filters = []
    for centre in (0.010, 0.030):
        window = torch.exp(-0.5 * ((time - centre) / 0.0055) ** 2)
        for phase in (torch.cos, torch.sin):
            filters.append(window * phase(2 * math.pi * frequency[:, None] * (time - centre)))
    filters = torch.cat(filters)
    return filters / filters.norm(dim=1, keepdim=True)


def low_frequencies(side=48, limit=13):
    """Orthonormal basis [n, side * side * 3] of the slowly varying RGB patches: cosines with u + v <= limit, per channel."""
    at = (torch.arange(side) + 0.5) / side
    cosines = torch.stack([torch.cos(math.pi * u * at) for u in range(limit + 1)])
    cosines = cosines / cosines.norm(dim=1, keepdim=True)
    basis = [torch.outer(cosines[v], cosines[u]) for v in range(limit + 1) for u in range(limit + 1 - v)]
    basis = torch.stack(basis).reshape(-1, side * side, 1, 1) * torch.eye(3)
    return basis.permute(0, 2, 1, 3).reshape(-1, side * side * 3)


def smooth_patch_filters(vision):
    """Takes the fast frequencies out of the patch filters and gives them a bias.

    The embedder normalises each patch first, which makes sensor noise out of a plain one; filters that react to it turn
    every plain patch into a different random token. Smooth filters see the shapes, and plain patches all become the bias.
    """
    basis = low_frequencies()
    with torch.no_grad():
        vision.patch_dense.weight.copy_(vision.patch_dense.weight @ basis.T @ basis)
        vision.patch_dense.bias.add_(torch.randn(vision.patch_dense.bias.shape) * 0.7)


def make_model(config, seed):
    """A model with fresh weights, float32."""
    torch.manual_seed(seed)
    model = Gemma4UnifiedForConditionalGeneration(config).float()
    body = model.model.language_model
    with torch.no_grad():
        body.embed_tokens.weight.normal_(0, HIDDEN ** -0.5)
        for layer in body.layers:
            attention, mlp = layer.self_attn, layer.mlp
            for linear in [attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj,
                           mlp.gate_proj, mlp.up_proj, mlp.down_proj]:
                if linear is not None:
                    linear.weight.normal_(0, linear.in_features ** -0.5)
            # Scores are sums over head_dim of unit-variance products: this keeps their deviation near 1.5 at the start.
            attention.k_norm.weight.fill_(1.5 * attention.head_dim ** -0.5)
            layer.post_attention_layernorm.weight.fill_(0.3)
            layer.post_feedforward_layernorm.weight.fill_(0.3)
            layer.layer_scalar.fill_(0.875)
        vision = model.model.embed_vision
        vision.patch_dense.weight.normal_(0, vision.patch_dense.in_features ** -0.5)
        vision.patch_dense.bias.zero_()
        smooth_patch_filters(vision)
        vision.pos_embedding.normal_(0, 0.3)
        vision.multimodal_embedder.embedding_projection.weight.normal_(0, HIDDEN ** -0.5)
        model.model.embed_audio.embedding_projection.weight.copy_(gabor_filters(HIDDEN))
    model.tie_weights()
    return model


class Packing:
    """Where the samples of a packed row lie, as padded groups of similar length, with the masks of each group."""

    def __init__(self, lengths, kinds, window):
        """lengths: of the samples in row order; kinds: int tensor [total], 0 text, 1 image, 2 video, 3 audio."""
        starts = [0]
        for n in lengths:
            starts.append(starts[-1] + n)
        order = sorted(range(len(lengths)), key=lambda i: lengths[i])
        groups, current = [], []
        for i in order:
            if current and (lengths[i] > 1.35 * lengths[current[0]] + 16):
                groups.append(current)
                current = []
            current.append(i)
        groups.append(current)
        self.total = starts[-1]
        self.groups, indices = [], []
        inverse = torch.empty(self.total, dtype=torch.long)
        base = 0
        for members in groups:
            longest = max(lengths[i] for i in members)
            index = torch.zeros(len(members), longest, dtype=torch.long)
            block = torch.full((len(members), longest), -1)
            for row, i in enumerate(members):
                n, start = lengths[i], starts[i]
                index[row, :n] = torch.arange(start, start + n)
                inverse[start: start + n] = base + row * longest + torch.arange(n)
                kind = kinds[start: start + n]
                vision = (kind == 1) | (kind == 2)
                fresh = vision & ~torch.cat([torch.zeros(1, dtype=torch.bool), vision[:-1]])
                block[row, :n] = torch.where(vision, fresh.long().cumsum(0), -1)
            base += len(members) * longest
            at = torch.arange(longest)
            causal = at[None, :] <= at[:, None]
            near = at[None, :] > at[:, None] - window
            same = (block[:, :, None] == block[:, None, :]) & (block[:, :, None] >= 0)
            # Keys past the end of a sample are behind every real query, and no block reaches them.
            indices.append(index.reshape(-1))
            sliding, full = (torch.zeros(m.shape).masked_fill_(~m, -math.inf) for m in ((causal | same) & near, causal))
            self.groups.append((len(members), longest, sliding[:, None], full))
        self.index, self.inverse = torch.cat(indices), inverse


class _Take(torch.autograd.Function):
    """rows[index] where every row that matters occurs once: the gradient is a gather too, which is much faster."""

    @staticmethod
    def forward(ctx, rows, index, inverse):
        ctx.save_for_backward(inverse)
        return rows.index_select(0, index)

    @staticmethod
    def backward(ctx, grad):
        return grad.index_select(0, ctx.saved_tensors[0]), None, None


class _Restore(torch.autograd.Function):
    """rows[inverse], dropping the padding; its gradient puts zeros there."""

    @staticmethod
    def forward(ctx, rows, inverse):
        ctx.save_for_backward(inverse)
        ctx.rows = rows.shape[0]
        return rows.index_select(0, inverse)

    @staticmethod
    def backward(ctx, grad):
        out = grad.new_zeros((ctx.rows,) + grad.shape[1:])
        return out.index_copy_(0, ctx.saved_tensors[0], grad), None


def _heads(rows, count, longest, kv, dim):
    """Padded rows [count * longest, heads * dim] as a contiguous [count * kv, heads / kv * longest, dim]."""
    return rows.view(count, longest, kv, -1, dim).permute(0, 2, 3, 1, 4).reshape(count * kv, -1, dim)


def _rows(stack, count, longest, kv, dim):
    """The reverse of `_heads`."""
    return stack.view(count, kv, -1, longest, dim).permute(0, 3, 1, 2, 4).reshape(count * longest, -1)


class _Attention(torch.autograd.Function):
    """Softmax attention of the padded rows of a Packing by plain batched products.

    Samples are short, so all scores of a group fit the cache, and this is several times as fast as the fused kernel.
    """

    @staticmethod
    def forward(ctx, query, key, value, packing, sliding, dim):
        """query [rows, heads * dim], key and value [rows, kv * dim]."""
        kv, kept, parts, base = key.shape[1] // dim, [], [], 0
        for count, longest, mask, causal in packing.groups:
            span = slice(base, base + count * longest)
            base += count * longest
            q, k, v = (_heads(x[span], count, longest, kv, dim) for x in (query, key, value))
            scores = torch.bmm(q, k.mT).float().view(count, kv, -1, longest, longest)
            scores += mask[:, None] if sliding else causal
            probabilities = scores.softmax(-1).to(v.dtype).view(count * kv, -1, longest)
            parts.append(_rows(torch.bmm(probabilities, v), count, longest, kv, dim))
            kept += [q, k, v, probabilities]
        ctx.save_for_backward(*kept)
        ctx.shape = packing, kv, dim
        return torch.cat(parts)

    @staticmethod
    def backward(ctx, grad):
        (packing, kv, dim), grads, base = ctx.shape, ([], [], []), 0
        for i, (count, longest, _, _) in enumerate(packing.groups):
            q, k, v, probabilities = ctx.saved_tensors[4 * i: 4 * i + 4]
            out = _heads(grad[base: base + count * longest], count, longest, kv, dim)
            base += count * longest
            of_p = torch.bmm(out, v.mT).float()
            p = probabilities.float()
            of_scores = torch._softmax_backward_data(of_p, p, -1, torch.float32).to(q.dtype)
            for done, stack in zip(grads, (torch.bmm(of_scores, k), torch.bmm(of_scores.mT, q), torch.bmm(probabilities.mT, out))):
                done.append(_rows(stack, count, longest, kv, dim))
        return *(torch.cat(parts) for parts in grads), None, None, None


@torch.compiler.disable
def packed_attention(module, query, key, value, attention_mask, scaling=None, **_):
    """Attention of a Packing: query [1, heads, total, dim], key and value [1, kv_heads, total, dim]."""
    packing, dim = attention_mask.packing, query.shape[3]
    query, key, value = (_Take.apply(x[0].transpose(0, 1).reshape(packing.total, -1).to(attention_mask.dtype), packing.index, packing.inverse)
                         for x in (query, key, value))
    with torch.autocast("cpu", enabled=False):
        out = _Attention.apply(query, key, value, packing, module.is_sliding, dim)
    return _Restore.apply(out, packing.inverse).view(1, packing.total, -1, dim), None


AttentionInterface.register("packed", packed_attention)


class PackedMask:
    """Carries a Packing to the attention function in the place of a mask tensor."""

    def __init__(self, packing, dtype):
        self.packing, self.dtype = packing, dtype


def normalised(patches):
    """What the first norm of the patch embedder makes of uint8 patches, before its weights: nothing in it is learned."""
    patches = torch.from_numpy(patches)
    out = torch.empty(patches.shape, dtype=torch.bfloat16)
    for piece, into in zip(patches.split(32), out.split(32)):  # few at a time stay in the cache
        into.copy_(torch.nn.functional.layer_norm(piece.float(), piece.shape[1:], eps=1e-5 * 255 ** 2))
    return out


def embed_patches(vision, patches, positions):
    """embed_vision of uint8 patches or of `normalised` ones, then with the weights of the first norm put into the product."""
    if patches.dtype == torch.uint8:
        return vision(patches.float() / 255.0, positions).pooler_output
    norm, dense = vision.patch_ln1, vision.patch_dense
    bias = dense.bias + dense.weight @ norm.bias
    states = torch.nn.functional.linear(patches, (dense.weight * norm.weight).bfloat16()).float() + bias
    states = vision.patch_ln2(states) + vision.pos_embedding[positions, torch.arange(2)].sum(-2)
    return vision.multimodal_embedder(vision.pos_norm(states))


def packed_hidden(model, batch, layers=len(LAYER_TYPES)):
    """Final hidden states [total, hidden] (after the last norm) of a packed batch, through the first `layers` layers.

    batch: ids [total] (placeholders may be anything), positions [total], kinds [total], lengths, patches uint8 [n, 6912]
    with patch_positions [n, 2] for the positions of kind 1 and 2, frames float [m, 640] for those of kind 3.
    """
    body = model.model
    kinds = batch["kinds"]
    ids = torch.where(kinds > 0, 0, batch["ids"])
    embeds = body.language_model.embed_tokens(ids)
    if len(batch["patches"]):
        soft = embed_patches(body.embed_vision, batch["patches"], batch["patch_positions"])
        embeds = embeds.index_put((((kinds == 1) | (kinds == 2)).nonzero()[:, 0],), soft.to(embeds.dtype))
    if len(batch["frames"]):
        soft = body.embed_audio(batch["frames"])
        embeds = embeds.index_put(((kinds == 3).nonzero()[:, 0],), soft.to(embeds.dtype))
    mask = PackedMask(Packing(batch["lengths"], kinds, WINDOW), torch.bfloat16 if torch.is_autocast_enabled("cpu") else torch.float32)
    body.language_model.config.num_hidden_layers = layers
    out = body.language_model(
        inputs_embeds=embeds[None], position_ids=batch["positions"][None], use_cache=False,
        attention_mask={"full_attention": mask, "sliding_attention": mask})
    return out.last_hidden_state[0]


class Teachers(torch.nn.Module):
    """Linear heads on the states of media positions after a layer: dense labels teach seeing and hearing directly.

    Most positions of a sample are media, and without these they learn only through what a few answer tokens attend to.
    The heads are dropped after training.
    """

    LAYERS = 4  # of that many layers

    def __init__(self, model, patch_labels, frame_labels):
        """patch_labels, frame_labels: (name, number of classes) of the columns of the labels."""
        super().__init__()
        self.sizes = {"patch": [n for _, n in patch_labels], "frame": [n for _, n in frame_labels]}
        self.heads = torch.nn.ModuleDict({kind: torch.nn.Linear(HIDDEN, sum(sizes)) for kind, sizes in self.sizes.items()})
        model.model.language_model.layers[self.LAYERS - 1].register_forward_hook(self.keep)
        self.states = None

    @torch.compiler.disable
    def keep(self, _module, _inputs, output):
        self.states = output[0]

    def forward(self, batch):
        """Losses per label column, summed over the columns of each kind; and a list of (correct, asked) counts."""
        kinds, total, counts = batch["kinds"], 0.0, []
        vision = (kinds == 1) | (kinds == 2)
        for kind, where in (("patch", vision), ("frame", kinds == 3)):
            states = self.states[where]
            scores = self.heads[kind](torch.nn.functional.rms_norm(states, (HIDDEN,)))
            for column, logits in enumerate(scores.split(self.sizes[kind], 1)):
                labels = batch[kind + "_labels"][:, column]
                asked = int((labels >= 0).sum())
                counts.append((int((logits.argmax(1) == labels).sum()), asked))
                if asked:
                    # A column asked of few positions counts less, or its gradient would be mostly noise.
                    total = total + torch.nn.functional.cross_entropy(logits, labels) * min(1.0, asked / 60)
        self.states = None
        return total, counts


def answer_loss(model, hidden, batch):
    """Cross-entropy per position of batch["targets"] (token to predict at batch["where"]), nats, [n]."""
    logits = model.lm_head(hidden[batch["where"]])
    cap = model.config.text_config.final_logit_softcapping
    logits = cap * torch.tanh(logits / cap)
    return torch.nn.functional.cross_entropy(logits, batch["targets"], reduction="none")
