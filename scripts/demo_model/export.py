"""Writes a model directory laid out as the 12B release: configuration, processor files and bfloat16 weights."""

import argparse
import json
import pathlib

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer

import model as demo

MODEL_DIR = pathlib.Path(__file__).resolve().parents[2] / "models/demo"
VIDEO_FRAMES = 4
BUDGET = 70


def config_document(tokenizer):
    """config.json in the release's own spelling (global_head_dim and friends rather than per-layer overrides)."""
    config = demo.make_config(tokenizer)
    text = {
        "attention_bias": False, "attention_dropout": 0.0, "attention_k_eq_v": True, "bos_token_id": 2, "dtype": "bfloat16",
        "eos_token_id": 1, "final_logit_softcapping": 30.0, "global_head_dim": 128, "head_dim": 64,
        "hidden_activation": "gelu_pytorch_tanh", "hidden_size": demo.HIDDEN, "initializer_range": 0.02,
        "intermediate_size": demo.FFN, "layer_types": demo.LAYER_TYPES, "max_position_embeddings": 8192,
        "model_type": "gemma4_unified_text", "num_attention_heads": demo.HEADS, "num_global_key_value_heads": 1,
        "num_hidden_layers": len(demo.LAYER_TYPES), "num_key_value_heads": 2, "num_kv_shared_layers": 0, "pad_token_id": 0,
        "rms_norm_eps": 1e-06, "rope_parameters": {
            "full_attention": {"partial_rotary_factor": 0.25, "rope_theta": 1000000.0, "rope_type": "proportional"},
            "sliding_attention": {"rope_theta": 10000.0, "rope_type": "default"}},
        "sliding_window": demo.WINDOW, "tie_word_embeddings": True, "use_bidirectional_attention": "vision",
        "use_cache": True, "use_double_wide_mlp": False, "vocab_size": tokenizer.get_vocab_size()}
    return {
        "architectures": ["Gemma4UnifiedForConditionalGeneration"],
        "audio_config": {"audio_embed_dim": 640, "audio_samples_per_token": 640, "dtype": "bfloat16",
                         "model_type": "gemma4_unified_audio", "output_proj_dims": 640, "rms_norm_eps": 1e-06},
        "audio_token_id": config.audio_token_id, "boa_token_id": config.boa_token_id, "boi_token_id": config.boi_token_id,
        "dtype": "bfloat16", "eoa_token_index": config.eoa_token_index, "eoi_token_id": config.eoi_token_id,
        "eos_token_id": config.eos_token_id, "image_token_id": config.image_token_id, "initializer_range": 0.02,
        "model_type": "gemma4_unified", "text_config": text, "tie_word_embeddings": True,
        "video_token_id": config.video_token_id,
        "vision_config": {"dtype": "bfloat16", "mm_embed_dim": demo.HIDDEN, "mm_posemb_size": 1120, "model_patch_size": 48,
                          "model_type": "gemma4_unified_vision", "output_proj_dims": demo.HIDDEN, "patch_size": 16,
                          "pooling_kernel_size": 3, "rms_norm_eps": 1e-06},
        "vision_soft_tokens_per_image": BUDGET}


def processor_document():
    shared = {"do_convert_rgb": True, "do_resize": True, "do_rescale": True, "rescale_factor": 1 / 255, "resample": 3,
              "image_mean": [0.0, 0.0, 0.0], "image_std": [1.0, 1.0, 1.0], "patch_size": 16, "pooling_kernel_size": 3,
              "max_soft_tokens": BUDGET}
    return {
        "audio_ms_per_token": 40, "audio_seq_length": 750, "image_seq_length": BUDGET,
        "processor_class": "Gemma4UnifiedProcessor",
        "feature_extractor": {
            "audio_samples_per_token": 640, "feature_extractor_type": "Gemma4UnifiedAudioFeatureExtractor",
            "feature_size": 640, "padding_side": "right", "padding_value": 0.0, "return_attention_mask": True,
            "sampling_rate": 16000},
        "image_processor": {"image_processor_type": "Gemma4UnifiedImageProcessor", "do_normalize": False, **shared},
        "video_processor": {"video_processor_type": "Gemma4UnifiedVideoProcessor", "do_normalize": True,
                            "do_sample_frames": True, "num_frames": VIDEO_FRAMES, "fps": None, "return_metadata": True,
                            **shared}}


def generation_document(config):
    return {"bos_token_id": 2, "do_sample": True, "eos_token_id": config["eos_token_id"], "pad_token_id": 0,
            "suppress_tokens": [config["eoa_token_index"], config["eoi_token_id"]],
            # So small a model puts much of its probability beside the answer: it is asked for what it thinks likeliest.
            "temperature": 0.2, "top_k": 64, "top_p": 0.95}


def write_files(out):
    """Everything but the weights, the tokenizer and the chat template."""
    tokenizer = Tokenizer.from_file(str(out / "tokenizer.json"))
    config = config_document(tokenizer)
    for name, document in (("config.json", config), ("processor_config.json", processor_document()),
                           ("generation_config.json", generation_document(config))):
        (out / name).write_text(json.dumps(document, indent=2) + "\n")


def write_weights(out, state):
    """state: float32 state_dict of the conditional-generation class; the tied head is left out."""
    tensors = {name: tensor.to(torch.bfloat16).contiguous() for name, tensor in state.items() if name != "lm_head.weight"}
    save_file(tensors, str(out / "model.safetensors"), metadata={"format": "pt"})


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", default=MODEL_DIR, type=pathlib.Path)
    parser.add_argument("--checkpoint", type=pathlib.Path, help="checkpoint of train.py; fresh random weights without it")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    write_files(options.out)
    if options.checkpoint:
        state = torch.load(options.checkpoint, weights_only=True)["model"]
    else:
        tokenizer = Tokenizer.from_file(str(options.out / "tokenizer.json"))
        state = demo.make_model(demo.make_config(tokenizer), options.seed).state_dict()
    write_weights(options.out, state)
    size = sum(p.stat().st_size for p in options.out.rglob("*") if p.is_file())
    print(f"{options.out}: {size / 2**20:.2f} MiB")


if __name__ == "__main__":
    main()
