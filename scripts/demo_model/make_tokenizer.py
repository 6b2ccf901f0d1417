"""Trains the demo model's BPE tokenizer and writes models/demo/tokenizer.json and tokenizer_config.json.

Structure as in the Gemma family: spaces become U+2581, no prefix space, no word split at run time, digits stand alone, all
256 bytes are tokens, and the control tokens have Gemma's names. One habit differs: a space joins only words of a closed list,
as the last merges. Every other word has the same tokens wherever it stands, after a space, in quotes or in a call, so that
copying a name is copying tokens, which a small model can learn. BPE training is not repeatable from a seed: the file in the
tree is the tokenizer, this script only records how it came about.
"""

import argparse
import collections
import json
import pathlib
import re

import numpy as np
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

import dialogues
import pictures
import questions
import speech

CONTROL = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<|tool>", "<tool|>", "<|tool_call>", "<tool_call|>", "<|tool_response>",
           "<tool_response|>", '<|"|>', "<|think|>", "<|channel>", "<channel|>", "<|turn>", "<turn|>", "<|image>", "<|audio>",
           "<|image|>", "<|audio|>", "<image|>", "<audio|>", "<|video|>"]
ROLES = "user model system thought declaration description parameters properties type STRING INTEGER OBJECT NUMBER BOOLEAN \
ARRAY required enum call response value items nullable".split()
SIZE = 2300          # before the words that a space may join
JOINED_FREQUENCY = 40


def corpus(rng, template):
    """Lines of text like those the model reads and writes."""
    for _ in range(6000):
        for make in (dialogues.tools, dialogues.talk):
            messages, options = make(rng)
            yield template.render(messages=messages, bos_token="", **options)
        things = [pictures.Thing(dialogues.pick(rng, pictures.SHAPES), dialogues.pick(rng, pictures.COLOURS),
                                 bool(rng.random() < 0.5), int(c)) for c in sorted(rng.choice(9, rng.integers(1, 5), False))]
        yield questions.describe_scene(things)
        yield " ".join(questions.scene_question(rng, things))
        yield " ".join(questions.word_question(rng, dialogues.pick(rng, pictures.WORDS)))
        yield " ".join(questions.digit_question(rng, int(rng.integers(10))))
        text = " ".join(speech.sentence(rng))
        yield text + "\n" + " ".join(questions.speech_question(rng, text, bool(rng.integers(2))))
        a, b = (dialogues.pick(rng, speech.WORDS) for _ in range(2))
        yield " ".join(questions.voices_question(rng, (a, True), (b, False)))
        yield " ".join(questions.clip_question(rng, things[0], dialogues.pick(rng, list(pictures.DIRECTIONS)), things[-1]))
    for path in sorted(pathlib.Path("/usr/share/common-licenses").iterdir()):  # ordinary English, for the long tail
        yield path.read_text(errors="ignore")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", default=pathlib.Path(__file__).resolve().parents[2] / "models/demo", type=pathlib.Path)
    options = parser.parse_args()
    import torchvision_cpu  # noqa: F401  (before transformers)
    from transformers.utils.chat_template_utils import _compile_jinja_template

    template = _compile_jinja_template((options.out / "chat_template.jinja").read_text())
    rng = np.random.default_rng(1)
    splitter = re.compile("|".join(re.escape(t) for t in sorted(CONTROL, key=len, reverse=True)))
    lines = [piece for text in corpus(rng, template) for piece in splitter.split(text) if piece]
    # Words that are always one token: the closed vocabularies of the skills.
    closed = speech.WORDS + pictures.WORDS + pictures.SHAPES + pictures.COLOURS
    whole = closed + ROLES
    lines += whole * 300
    copied = set(dialogues.CITIES + dialogues.TEST_CITIES + dialogues.PEOPLE + dialogues.TEST_PEOPLE + dialogues.ITEMS +
                 dialogues.TEST_ITEMS)
    spaced = collections.Counter(word for line in lines for word in re.findall(r" ([A-Za-z]+)(?![A-Za-z])", line))

    trained = Tokenizer(models.BPE(unk_token="<unk>"))
    trained.normalizer = normalizers.Replace(" ", "▁")
    trained.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(r"\n+|\d|[A-Za-z]+|▁+|[^A-Za-z0-9▁\n]"), "isolated")])
    size = SIZE - len(CONTROL) - 256
    trained.train_from_iterator(lines, trainers.BpeTrainer(vocab_size=size, min_frequency=3, special_tokens=["<unk>"],
                                                           show_progress=False))
    model = json.loads(trained.to_str())["model"]
    pieces = [p for p, _ in sorted(model["vocab"].items(), key=lambda kv: kv[1]) if p != "<unk>"]
    merges = [list(m) for m in model["merges"]]
    pieces_known = set(pieces)
    joined = [w for w, n in spaced.most_common() if n >= JOINED_FREQUENCY and w in pieces_known and w not in copied]
    joined += [w for w in closed if w not in joined and w not in copied]
    merges += [["▁", w] for w in joined]
    pieces += ["▁" + w for w in joined]
    # Runs of newlines and spaces are tokens in the Gemma family; the ASCII characters the corpus lacks are added too.
    extra = [chr(c) for c in range(33, 127)] + ["▁", "\n"]
    for unit in ("\n", "▁"):
        for count in (2, 4, 8):
            merges.append([unit * (count // 2)] * 2)
            extra.append(unit * count)
    vocabulary = CONTROL + [f"<0x{b:02X}>" for b in range(256)]
    known = set(vocabulary)
    for piece in extra[:96] + pieces + extra[96:]:
        if piece not in known:
            known.add(piece)
            vocabulary.append(piece)
    document = {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
                          "special": True} for i, t in enumerate(CONTROL)],
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        "pre_tokenizer": {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False},
        "post_processor": None,
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}]},
        "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": True, "ignore_merges": False,
                  "vocab": {t: i for i, t in enumerate(vocabulary)}, "merges": merges}}
    (options.out / "tokenizer.json").write_text(json.dumps(document, ensure_ascii=False, indent=0) + "\n")
    settings = {
        "tokenizer_class": "GemmaTokenizer", "processor_class": "Gemma4UnifiedProcessor", "padding_side": "left",
        "add_bos_token": False, "add_eos_token": False, "clean_up_tokenization_spaces": False,
        "model_max_length": 8192, "pad_token": "<pad>", "eos_token": "<eos>", "bos_token": "<bos>", "unk_token": "<unk>",
        "mask_token": "<mask>", "image_token": "<|image|>", "boi_token": "<|image>", "eoi_token": "<image|>",
        "audio_token": "<|audio|>", "boa_token": "<|audio>", "eoa_token": "<audio|>", "std_token": "<|tool>",
        "etd_token": "<tool|>", "stc_token": "<|tool_call>", "etc_token": "<tool_call|>", "str_token": "<|tool_response>",
        "etr_token": "<tool_response|>", "escape_token": '<|"|>', "think_token": "<|think|>", "soc_token": "<|channel>",
        "eoc_token": "<channel|>", "sot_token": "<|turn>", "eot_token": "<turn|>",
        "extra_special_tokens": ["<|video|>"],
        "model_specific_special_tokens": {
            "image_token": "<|image|>", "boi_token": "<|image>", "eoi_token": "<image|>", "audio_token": "<|audio|>",
            "boa_token": "<|audio>", "eoa_token": "<audio|>", "std_token": "<|tool>", "etd_token": "<tool|>",
            "stc_token": "<|tool_call>", "etc_token": "<tool_call|>", "str_token": "<|tool_response>",
            "etr_token": "<tool_response|>", "escape_token": '<|"|>', "think_token": "<|think|>", "soc_token": "<|channel>",
            "eoc_token": "<channel|>", "sot_token": "<|turn>", "eot_token": "<turn|>"}}
    (options.out / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")

    check = Tokenizer.from_file(str(options.out / "tokenizer.json"))
    print(f"{check.get_vocab_size()} tokens, {len(merges)} merges, {len(joined)} words joined with a space")
    split = [w for w in whole if len(check.encode(w, add_special_tokens=False).ids) != 1]
    print("not one token:", split)


if __name__ == "__main__":
    main()
