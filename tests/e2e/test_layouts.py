"""Model directories as they are found: other prefixes, shards, f32, tensors and keys nobody asked for, and contradictions."""
import json
import shutil
import struct

import pytest

MODELS = ["e2b-mtp", "a26b", "d31b"]
ARGUMENTS = ("--precision", "full", "--temperature", 0, "--ignore-eos", "--max-tokens", 10, "--logprobs", 2, "--draft", "none", "hello")


def read_tensors(folder):
    """name -> (dtype, shape, bytes), of every shard."""
    tensors = {}
    for path in sorted(folder.glob("*.safetensors")):
        data = path.read_bytes()
        size = struct.unpack("<Q", data[:8])[0]
        for name, entry in json.loads(data[8:8 + size]).items():
            if name != "__metadata__":
                begin, end = entry["data_offsets"]
                tensors[name] = entry["dtype"], entry["shape"], data[8 + size + begin:8 + size + end]
    return tensors


def write_tensors(path, tensors):
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(data for _, _, data in tensors.values()))


def as_f32(tensor):
    dtype, shape, data = tensor
    assert dtype == "BF16"
    wide = bytearray(2 * len(data))
    wide[2::4], wide[3::4] = data[0::2], data[1::2]
    return "F32", shape, bytes(wide)


@pytest.fixture
def copy(tree, tmp_path):
    """A copy of a model without its weights, and the weights."""
    def make(name):
        source, folder = tree / "tests/golden/models" / name, tmp_path / name
        shutil.copytree(source, folder, ignore=shutil.ignore_patterns("*.safetensors", "*.index.json", "drafter"))
        return folder, read_tensors(source)
    return make


def change_config(folder, change):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    changed = change(config)
    path.write_text(json.dumps(config if changed is None else changed))


def answer(lapidary, folder):
    result = lapidary.json("run", "--model", folder, *ARGUMENTS)
    return result["tokens"], result["logprobs"]


def bare(name):
    for prefix in ("model.language_model.", "model."):
        if name.startswith(prefix):
            return name[len(prefix):]
    raise AssertionError(name)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("prefix", ["model.language_model.", "language_model.model.", "model."])
def test_every_prefix_is_the_same_model(lapidary, tree, copy, model, prefix):
    folder, tensors = copy(model)
    write_tensors(folder / "model.safetensors", {prefix + bare(name): tensor for name, tensor in tensors.items()})
    assert answer(lapidary, folder) == answer(lapidary, tree / "tests/golden/models" / model)


@pytest.mark.parametrize("model", MODELS)
def test_a_text_decoder_alone_and_inside_a_wrapper(lapidary, tree, copy, model):
    folder, tensors = copy(model)
    write_tensors(folder / "model.safetensors", tensors)

    def other_way(config):
        if config["model_type"] == "gemma4":
            return {**config["text_config"], "eos_token_id": config["eos_token_id"]}
        return {"model_type": "gemma4", "text_config": config, "eos_token_id": config["eos_token_id"], "vision_config": None}

    change_config(folder, other_way)
    assert answer(lapidary, folder) == answer(lapidary, tree / "tests/golden/models" / model)


@pytest.mark.parametrize("model", MODELS)
def test_f32_weights_of_the_same_values(lapidary, tree, copy, model):
    folder, tensors = copy(model)
    write_tensors(folder / "model.safetensors", {name: as_f32(tensor) for name, tensor in tensors.items()})
    change_config(folder, lambda config: config.update(dtype="float32"))
    tokens, logprobs = answer(lapidary, folder)
    expected_tokens, expected = answer(lapidary, tree / "tests/golden/models" / model)
    assert tokens == expected_tokens
    assert max(abs(a["logprob"] - b["logprob"]) for a, b in zip(logprobs, expected)) < 1e-4


@pytest.mark.parametrize("model", MODELS)
def test_shards_of_any_cut(lapidary, tree, copy, model):
    folder, tensors = copy(model)
    names, shards, weight_map = list(tensors), 5, {}
    for shard in range(shards):
        file = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        part = {name: tensors[name] for name in names[shard::shards]}
        write_tensors(folder / file, part)
        weight_map |= dict.fromkeys(part, file)
    index = {"metadata": {"total_size": sum(len(data) for _, _, data in tensors.values())}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert answer(lapidary, folder) == answer(lapidary, tree / "tests/golden/models" / model)
    # The index wins over a stray file, and a shard that is not there is missed by name.
    (folder / "model.safetensors").write_bytes(b"stray")
    assert answer(lapidary, folder) == answer(lapidary, tree / "tests/golden/models" / model)
    (folder / "model-00003-of-00005.safetensors").unlink()
    assert "model-00003-of-00005.safetensors" in lapidary.error("run", "--model", folder, "hello")


@pytest.mark.parametrize("model", MODELS)
def test_what_nobody_asked_for_is_passed_over(lapidary, tree, copy, model):
    folder, tensors = copy(model)
    head = next(tensor for name, tensor in tensors.items() if name.endswith("embed_tokens.weight"))
    extra = {"lm_head.weight": head, "model.some_tower.weight": ("I64", [1], bytes(8)), "x": ("F8_E4M3", [3], b"abc")}
    write_tensors(folder / "model.safetensors", {**extra, **tensors})

    def grow(config):
        config["a_key_of_the_future"] = {"deep": [1, {"er": None}]}
        config.get("text_config", config)["another_one"] = "x"

    change_config(folder, grow)
    assert answer(lapidary, folder) == answer(lapidary, tree / "tests/golden/models" / model)


def test_sizes_by_layer_as_the_reference_saves_them(lapidary, tree, copy):
    folder, tensors = copy("d31b")
    write_tensors(folder / "model.safetensors", tensors)

    def by_layer(config):
        sizes = {"head_dim": config.pop("global_head_dim"), "num_key_value_heads": config.pop("num_global_key_value_heads")}
        full = [i for i, kind in enumerate(config["layer_types"]) if kind == "full_attention"]
        config["per_layer_config"] = {f"{layer:02}": sizes for layer in full}

    change_config(folder, by_layer)
    assert answer(lapidary, folder) == answer(lapidary, tree / "tests/golden/models/d31b")


@pytest.mark.parametrize("change, message", [
    (lambda text: text.update(num_hidden_layers=7), '"layer_types": expected one entry for each of 7 layers'),
    (lambda text: text.update(hidden_size=72), "embed_tokens.weight is [641, 64], expected [641, 72]"),
    (lambda text: text.update(vocab_size=640), "embed_tokens.weight is [641, 64], expected [640, 64]"),
    (lambda text: text.update(head_dim=24), "expected [192, 64]"),
    (lambda text: text.update(num_key_value_heads=3), "8 query heads cannot share 3 key/value heads evenly"),
    (lambda text: text.update(attention_k_eq_v=False), "self_attn.v_proj.weight is missing"),
    (lambda text: text.update(enable_moe_block=True, num_experts=4, top_k_experts=5, moe_intermediate_size=8), '"top_k_experts"'),
    (lambda text: text.update(hidden_size_per_layer_input=8), "embed_tokens_per_layer.weight is missing"),
    (lambda text: text.update(use_bidirectional_attention="all"), "use_bidirectional_attention"),
    (lambda text: text.update(hidden_activation="silu"), "hidden_activation"),
    (lambda text: text.update(tie_word_embeddings=False), "tie_word_embeddings"),
    (lambda text: text["rope_parameters"]["full_attention"].update(rope_type="yarn"), "rope_type: expected default or proportional, found yarn"),
])
def test_contradictions_are_refused_by_name(lapidary, copy, change, message):
    folder, tensors = copy("d31b")
    write_tensors(folder / "model.safetensors", tensors)
    change_config(folder, lambda config: change(config))
    assert message in lapidary.error("run", "--model", folder, "hello")
