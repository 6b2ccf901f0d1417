"""A small tokenizer with the structure of Gemma 4's: byte-pair merges over whole text, spaces as U+2581, bytes for what
the vocabulary lacks, and the same special tokens under other ids, so that an engine which assumes an id is found out.

The merges are learned here in plain Python with a fixed tie-break, so the result is the same on every machine.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

VOCAB_SIZE = 641  # a multiple of nothing: the last rows of the output head are where a vector kernel goes wrong

CONTROL = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
STRUCTURE = ["<|tool>", "<tool|>", "<|tool_call>", "<tool_call|>", "<|tool_response>", "<tool_response|>", '<|"|>',
             "<|think|>", "<|channel>", "<channel|>", "<|turn>", "<turn|>"]
MEDIA = ["<|image>", "<|audio>", "<|image|>", "<|audio|>", "<image|>", "<audio|>", "<|video|>"]
# How tokenizer_config.json calls them.
NAMES = {
    "std_token": "<|tool>", "etd_token": "<tool|>", "stc_token": "<|tool_call>", "etc_token": "<tool_call|>",
    "str_token": "<|tool_response>", "etr_token": "<tool_response|>", "escape_token": '<|"|>',
    "think_token": "<|think|>", "soc_token": "<|channel>", "eoc_token": "<channel|>", "sot_token": "<|turn>",
    "eot_token": "<turn|>", "image_token": "<|image|>", "audio_token": "<|audio|>", "boi_token": "<|image>",
    "eoi_token": "<image|>", "boa_token": "<|audio>", "eoa_token": "<audio|>",
}
RUN_LONGEST = 8  # tokens for two to eight line feeds or spaces in a row

CORPUS = """\
user
model
system
thought
call:get_weather{city:,unit:} response:get_weather{value:} declaration:
description: parameters: properties: required: type:STRING type:OBJECT type:NUMBER type:INTEGER type:ARRAY
The picture shows a red circle above a blue square, and the word on the sign is written in green letters.
What do you see in this picture? I see three small boats on the lake and a mountain behind them.
Hello, how are you? Hello there, I am well, thank you. What is the weather like today in the city?
The train leaves the station at seven in the morning and arrives at noon. The ticket costs twelve francs.
She sells sea shells on the sea shore; the shells that she sells are sea shells for sure.
There was once a stone cutter who wished for nothing more than a stone that held the light of the evening.
He turned the stone in his hand, and each face that he cut let a little more of the light through.
Please read the text aloud, then say which of the words you heard first, and which of them came last.
What did the speaker say? The speaker said: one, two, three, four, five, six, seven, eight, nine, ten.
In the first frame the ball is on the left; in the last frame the ball is on the right, so it moves to the right.
An answer should be short when the question is short, and it should be honest when the answer is not known.
Der Zug nach Zürich fährt um sieben Uhr ab, und die Reise dauert eine Stunde. Schöne Grüße aus Köln!
Le chat dort sur le canapé; l'été, il préfère la fenêtre. Où est passé le garçon? Voilà, ça suffit.
El niño comió una manzana y después salió a jugar en la plaza. ¿Qué hora es? ¡Qué día más bonito!
def main(argument):
    for index in range(argument):
        print(index, argument * index)
    return {'value': argument, "items": [index for index in range(argument)]}
int main(int argc, char** argv) { std::vector<float> values; return values.empty() ? 1 : 0; }
if (x < y && y > z || !(a == b)) { x += y / z % w; } // comment #1 @home ~$5 ^caret \\ `code` | pipe
"""


def _learn(count: int, taken: set[str]) -> list[tuple[str, str]]:
    """The `count` most frequent merges of the corpus: most frequent pair first, the smaller pair among equals. Digits
    and line feeds stay single, as in the released vocabulary."""
    lines = [list(line.replace(" ", "▁")) for line in CORPUS.splitlines()]
    merges: list[tuple[str, str]] = []
    pieces = set(taken)
    while len(merges) < count:
        pairs = Counter(pair for line in lines for pair in zip(line, line[1:]))
        usable = [(-n, pair) for pair, n in pairs.items()
                  if not any(c.isdigit() for c in pair[0] + pair[1]) and pair[0] + pair[1] not in pieces]
        best = min(usable)[1]
        merges.append(best)
        pieces.add(best[0] + best[1])
        for line in lines:
            i = 0
            while i + 1 < len(line):
                if (line[i], line[i + 1]) == best:
                    line[i:i + 2] = [best[0] + best[1]]
                i += 1
    return merges


def build() -> dict:
    """The contents of tokenizer.json."""
    runs = [c * n for c in ("\n", "▁") for n in range(2, RUN_LONGEST + 1)]
    characters = sorted(set(CORPUS.replace(" ", "▁").replace("\n", "")) | set("0123456789"))
    first = CONTROL + STRUCTURE + ["\n"] + runs + [f"<0x{byte:02X}>" for byte in range(256)] + characters
    learned = _learn(VOCAB_SIZE - len(first) - len(MEDIA), set(first))
    pieces = first + ["".join(pair) for pair in learned] + MEDIA
    assert len(pieces) == len(set(pieces)) == VOCAB_SIZE
    vocab = {piece: index for index, piece in enumerate(pieces)}

    # As in the released file, a piece can be reached from every pair of pieces that make it; the rank is the piece's.
    merges = []
    for piece in runs + ["".join(pair) for pair in learned]:
        splits = [(piece[:i], piece[i:]) for i in range(1, len(piece)) if piece[:i] in vocab and piece[i:] in vocab]
        merges += [list(split) for split in sorted(splits, key=lambda s: (vocab[s[0]], vocab[s[1]]))]

    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": vocab[piece], "content": piece, "single_word": False, "lstrip": False, "rstrip": False,
             "normalized": False, "special": True}
            for piece in CONTROL + STRUCTURE + MEDIA
        ],
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        "pre_tokenizer": {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False},
        "post_processor": None,
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
            {"type": "ByteFallback"},
            {"type": "Fuse"},
        ]},
        "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": True, "ignore_merges": False,
                  "vocab": vocab, "merges": merges},
    }


def small_template(template: str) -> str:
    """The template of E2B and E4B: no empty thought channel in the generation prompt."""
    empty_channel = "    {{- '<|channel>thought\\n<channel|>' if not thinking -}}\n"
    assert template.count(empty_channel) == 1
    return template.replace(empty_channel, "")


def write(folder: Path) -> dict[str, int]:
    """Writes tokenizer.json and tokenizer_config.json; returns the ids of the special tokens."""
    tokenizer = build()
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False, indent=1) + "\n")
    config = {
        "tokenizer_class": "GemmaTokenizer",
        "processor_class": "Gemma4UnifiedProcessor",
        "padding_side": "left",
        "pad_token": "<pad>", "eos_token": "<eos>", "bos_token": "<bos>", "unk_token": "<unk>", "mask_token": "<mask>",
        "extra_special_tokens": ["<|video|>"],
        "model_specific_special_tokens": NAMES,
        **NAMES,
        "model_max_length": 1000000000000000019884624838656,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, ensure_ascii=False, indent=2) + "\n")
    vocab = tokenizer["model"]["vocab"]
    return {piece: vocab[piece] for piece in CONTROL + STRUCTURE + MEDIA}
