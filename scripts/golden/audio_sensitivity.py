#!/usr/bin/env python3
"""As sensitivity.py, for the models with a conformer: spoils the reference in the ways the sound encoder invites, one at
a time, and fails if a mistake moves the logits of no golden case by more than a tolerance could hide.

    python scripts/golden/audio_sensitivity.py
"""

from __future__ import annotations

import contextlib
import math
import sys
from pathlib import Path

import audio_cases
import mistakes
import numpy as np
import reference  # noqa: F401  (makes torchvision importable)
import tiny_audio
import torch
import variant_cases
from safetensors.numpy import load_file
from transformers.audio_utils import mel_filter_bank
from transformers.models.gemma4 import Gemma4Processor
from transformers.models.gemma4 import modeling_gemma4 as modeling

GOLDEN = Path(__file__).resolve().parents[2] / "tests" / "golden"
SEEN = 0.05  # logits; honest float32 engines differ by less than 1e-3
# Long enough for blocks and the reach of attention; short; with silence; several clips.
CASES = ("audio-second", "audio-641", "audio-silence", "audio-three")


def tower(model):
    return model.model.audio_tower


def attentions(model):
    return [layer.self_attn for layer in tower(model).layers]


def clipped(model):
    return [module for module in tower(model).modules() if isinstance(module, modeling.Gemma4ClippableLinear)]


# ---------------------------------------------------------------------------- sound to log-mel rows
# Another base of the logarithm is not among them: the layer norm after the first convolution removes a factor. The mel
# rows themselves are compared with the reference's (media/sounds/mel.safetensors).


def extractor(change):
    """A mistake of the feature extractor: `change` gets it, and may replace what numpy does meanwhile."""
    def spoil(model, processor):
        change(processor.feature_extractor)
    spoil.__name__ = change.__name__
    return spoil


@extractor
def power_instead_of_magnitude(features):
    features._spoil = ("abs", lambda original: lambda x: original(x)**2)


@extractor
def floor_as_maximum(features):
    floor = float(features.mel_floor)
    features._spoil = ("log", lambda original: lambda x: original(np.maximum(x - floor, floor)))


def filters(**changes):
    def change(features):
        settings = dict(num_frequency_bins=257, num_mel_filters=features.feature_size, min_frequency=0.0,
                        max_frequency=8000.0, sampling_rate=16000, norm=None, mel_scale="htk") | changes
        features.mel_filters = mel_filter_bank(**settings)
    change.__name__ = "filters_" + "_".join(f"{key}_{value}" for key, value in changes.items())
    return extractor(change)


@extractor
def window_shifted_by_half(features):
    n = np.arange(320) + 0.5
    features.window = (0.5 - 0.5 * np.cos(2 * np.pi * n / 320)).astype(np.float32)


@extractor
def no_left_padding(features):
    padding = (((0, 0), (160, 0)), (160, 0))
    features._spoil = ("pad", lambda original: lambda x, widths, *rest, **more: x if widths in padding else original(
        x, widths, *rest, **more))


@extractor
def frames_begin_too_late(features):
    kept = features._extract_spectrogram

    def shifted(wave, mask):
        rows, valid = kept(wave, mask)
        return np.concatenate([rows[1:], rows[-1:]]), valid
    features._extract_spectrogram = shifted


# ---------------------------------------------------------------------------- convolutions


def kernels_turned(model, processor):
    for part in (tower(model).subsample_conv_projection.layer0, tower(model).subsample_conv_projection.layer1):
        part.conv.weight.data = part.conv.weight.data.transpose(2, 3).contiguous()


def channels_first_when_flattened(model, processor):
    linear, config = tower(model).subsample_conv_projection.input_proj_linear, tower(model).config
    channels = config.subsampling_conv_channels[1]
    weight = linear.weight.data  # columns: band, then channel
    linear.weight.data = weight.reshape(len(weight), -1, channels).transpose(1, 2).reshape(len(weight), -1).contiguous()


def rms_instead_of_layer_norm(model, processor):
    for part in (tower(model).subsample_conv_projection.layer0, tower(model).subsample_conv_projection.layer1):
        norm, weight = part.norm, part.norm.weight
        norm.forward = lambda x, weight=weight: x * (x.pow(2).mean(-1, keepdim=True) + 1e-6)**-0.5 * weight


def no_relu(model, processor):
    tower(model).subsample_conv_projection.layer1.act = torch.nn.Identity()


def mask_forgotten_between_convolutions(model, processor):
    """Frames that only fill up the clip are not zeroed."""
    for part in (tower(model).subsample_conv_projection.layer0, tower(model).subsample_conv_projection.layer1):
        kept = part.forward
        part.forward = lambda x, mask=None, kept=kept: (kept(x + 1e-9)[0] if mask is None else kept(
            torch.where(mask[:, None, :, None], x, x + 1.0))[0], None if mask is None else mask[:, ::2])


# ---------------------------------------------------------------------------- attention


def query_scale_without_log2(model, processor):
    for attention in attentions(model):
        attention.q_scale *= math.log(2)


def no_key_scale(model, processor):
    for attention in attentions(model):
        attention.k_scale = 1.0


def distances_scaled_like_keys(model, processor):
    for attention in attentions(model):
        attention.relative_k_proj.weight.data *= attention.k_scale


def scale_without_softplus(model, processor):
    for attention in attentions(model):
        raw = attention.per_dim_scale.data
        attention.per_dim_scale.data = torch.log(torch.expm1(raw.abs() + 1e-3))


def scale_by_head(model, processor):
    for attention in attentions(model):
        attention.per_dim_scale.data = attention.per_dim_scale.data.roll(1)


def cap_after_mask(model, processor):
    for attention in attentions(model):
        attention.config.attention_invalid_logits_value = -attention.attention_logits_soft_cap


def no_cap(model, processor):
    for attention in attentions(model):
        attention.softcap.fill_(1e4)


def waves(change):
    def spoil(model, processor):
        encoding = tower(model).rel_pos_enc
        kept = encoding.forward
        encoding.forward = lambda x: change(encoding, kept(x))
    spoil.__name__ = change.__name__
    return spoil


@waves
def sines_and_cosines_interleaved(encoding, values):
    half = values.shape[-1] // 2
    return torch.stack([values[..., :half], values[..., half:]], -1).flatten(-2)


@waves
def cosines_first(encoding, values):
    half = values.shape[-1] // 2
    return torch.cat([values[..., half:], values[..., :half]], -1)


@waves
def divisor_without_minus_one(encoding, values):
    half = values.shape[-1] // 2
    positions = torch.arange(encoding.context_size // 2, -1, -1)[:, None]
    angle = positions * torch.exp(torch.arange(half) * -(math.log(10000.0) / half))
    return torch.cat([angle.sin(), angle.cos()], -1)


@waves
def distances_reversed(encoding, values):
    return values.flip(-2)


def reach(by):
    def spoil(model, processor):
        kept = modeling.sliding_window_mask_function
        modeling.sliding_window_mask_function = lambda window: kept((window[0] + by, window[1]))
    spoil.__name__ = f"reach_{by:+d}"
    return spoil


# ---------------------------------------------------------------------------- the rest of a layer


def gate_before_value(model, processor):
    for layer in tower(model).layers:
        layer.lconv1d.linear_start.linear.weight.data = layer.lconv1d.linear_start.linear.weight.data.roll(
            tower(model).config.hidden_size, 0)


def convolution_centred(model, processor):
    for layer in tower(model).layers:
        conv = layer.lconv1d.depthwise_conv1d
        half = conv.kernel_size[0] // 2
        conv.forward = lambda x, conv=conv, half=half: torch.nn.functional.conv1d(
            torch.nn.functional.pad(x, (half, half)), conv.weight, groups=conv.groups)


def convolution_turned(model, processor):
    for layer in tower(model).layers:
        conv = layer.lconv1d.depthwise_conv1d
        conv.weight.data = conv.weight.data.flip(-1)


def residual_around_last_norm(model, processor):
    for layer in tower(model).layers:
        kept = layer.norm_out.forward
        layer.norm_out.forward = lambda x, kept=kept: x + kept(x)


def full_step_feed_forward(model, processor):
    for layer in tower(model).layers:
        for part in (layer.feed_forward1, layer.feed_forward2):
            part.post_layer_scale = 1.0


def norm_plus_one(model, processor):
    mistakes.add_one_to_norms(tower(model), modeling.Gemma4RMSNorm)


def gelu_instead_of_silu(model, processor):
    for layer in tower(model).layers:
        layer.feed_forward1.act_fn = torch.nn.GELU()


def ranges_forgotten(side):
    def spoil(model, processor):
        for linear in clipped(model):
            getattr(linear, side + "_min").fill_(-math.inf)
            getattr(linear, side + "_max").fill_(math.inf)
    spoil.__name__ = side + "_ranges_forgotten"
    return spoil


def ranges_of_q_for_all(model, processor):
    """Only where q, k and v have ranges of their own."""
    for attention in attentions(model):
        for other in (attention.k_proj, attention.v_proj):
            for name in ("input_min", "input_max", "output_min", "output_max"):
                getattr(other, name).copy_(getattr(attention.q_proj, name))


def stream_not_clamped(model, processor):
    for module in tower(model).modules():
        if hasattr(module, "gradient_clipping"):
            module.gradient_clipping = 1e10


# ---------------------------------------------------------------------------- into the decoder


def no_output_bias(model, processor):
    tower(model).output_proj.bias.data.zero_()


def no_norm_before_projection(model, processor):
    model.model.embed_audio.embedding_pre_projection_norm = torch.nn.Identity()


def soft_tokens_scaled(model, processor):
    model.model.embed_audio.embedding_projection.weight.data *= model.config.text_config.hidden_size**0.5


def per_layer_rows_of_the_placeholder(model, processor):
    """Per-layer inputs looked up under the placeholder instead of the padding token."""
    text = model.model.language_model
    table, kept = text.embed_tokens_per_layer, text.embed_tokens_per_layer.forward
    pad, placeholder = model.config.text_config.pad_token_id, model.config.audio_token_id
    table.forward = lambda ids: kept(torch.where(ids == pad, placeholder, ids))


MISTAKES = [
    power_instead_of_magnitude, floor_as_maximum, filters(mel_scale="slaney"), filters(norm="slaney"),
    filters(triangularize_in_mel_space=True), window_shifted_by_half, no_left_padding, frames_begin_too_late,
    kernels_turned, channels_first_when_flattened, rms_instead_of_layer_norm, no_relu, mask_forgotten_between_convolutions,
    query_scale_without_log2, no_key_scale, distances_scaled_like_keys, scale_without_softplus, scale_by_head,
    cap_after_mask, no_cap, sines_and_cosines_interleaved, cosines_first, divisor_without_minus_one, distances_reversed,
    reach(1), reach(-1), gate_before_value, convolution_centred, convolution_turned, residual_around_last_norm,
    full_step_feed_forward, norm_plus_one, gelu_instead_of_silu, ranges_forgotten("input"), ranges_forgotten("output"),
    ranges_of_q_for_all, stream_not_clamped, no_output_bias, no_norm_before_projection, soft_tokens_scaled,
    per_layer_rows_of_the_placeholder,
]


@contextlib.contextmanager
def numpy_spoiled(features):
    """What a mistake of the extractor put in the place of a numpy function; and modules as they were afterwards."""
    name, make = getattr(features, "_spoil", (None, None))
    mask_function = modeling.sliding_window_mask_function
    original = getattr(np, name) if name else None
    if name:
        setattr(np, name, make(original))
    try:
        yield
    finally:
        if name:
            setattr(np, name, original)
        modeling.sliding_window_mask_function = mask_function


def moved(name: str, spoil) -> dict[str, float]:
    """By case: the largest change of a kept logit; infinite where the number of soft tokens changed. `spoil` None: what a
    repeated honest run changes."""
    model = variant_cases.load_model(GOLDEN / "models" / name)
    processor = Gemma4Processor.from_pretrained(GOLDEN / "models" / name)
    found = {}
    kept_mask = modeling.sliding_window_mask_function
    try:
        if spoil:
            spoil(model, processor)
        for case in audio_cases.CASES:
            if case.name not in CASES:
                continue
            golden = load_file(GOLDEN / "cases" / name / f"{case.name}.safetensors")
            mask_function = modeling.sliding_window_mask_function
            with numpy_spoiled(processor.feature_extractor):
                _, inputs = audio_cases.processor_inputs(case, processor, GOLDEN / "media")
            modeling.sliding_window_mask_function = mask_function
            logits = audio_cases.forward(model, inputs, trace_all=False).logits
            same = int(inputs["mm_token_type_ids"].count_nonzero()) == len(golden["soft_positions"])
            found[case.name] = float(np.abs(logits[golden["rows"]] - golden["logits"]).max()) if same else math.inf
    finally:
        modeling.sliding_window_mask_function = kept_mask
    return found


def main() -> int:
    torch.set_num_threads(1)
    unseen = []
    for spoil in [None, *MISTAKES]:
        found = {spec.name: moved(spec.name, spoil) for spec, _ in tiny_audio.MODELS}
        largest = max(value for values in found.values() for value in values.values())
        label = spoil.__name__ if spoil else "(honest)"
        print(f"{label:38} {largest:9.4f}  " + "  ".join(
            f"{name} {max(values.values()):.4f}" for name, values in found.items()), flush=True)
        if spoil and largest < SEEN or not spoil and largest > 1e-3:
            unseen.append(label)
    return mistakes.conclude(unseen, len(MISTAKES))


if __name__ == "__main__":
    sys.exit(main())
