"""Golden values of the tokenizer and of the chat template."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tokenizers import Tokenizer
from transformers import AutoTokenizer

import conversations as talk
import talks
import tiny_tokenizer

TEXTS = [
    "", " ", "  ", "a", " a", "a ", "Hello", " Hello", "Hello there", "hello  there", "Hello, how are you?",
    "The stone cutter turned the stone in his hand.", "the the the the", "aaaaaaaaaaaaaaaaaaaa", "abababababababab",
    "\n", "\n\n", "\n\n\n", "\n" * 8, "\n" * 9, "\n" * 17, "a\nb", "a\n\nb", "a \n b", " \n", "\n ", "\r\n", "\r\n\r\n", "\t",
    "\t\t\tx", " " * 7, " " * 8, " " * 9, " " * 33, "x" + " " * 12 + "y", "\n \n \n", "    indented\n        more",
    "0", "1234567890", "3.14159", "1,000,000", "2026-11-23T00:15:00Z", "0x1F", "-7e-05", "½ ² ①",
    "é", "e\u0301", "naïve café déjà vu", "Zürich fährt Grüße Köln ß ẞ", "¿Qué? ¡Sí!", "Ωμέγα", "Привет, мир", "שלום עולם",
    "مرحبا بالعالم", "नमस्ते", "你好，世界。", "こんにちは世界", "한국어", "ไทย", "🙂", "🙂🙂", "👩‍👩‍👧‍👦", "🇨🇭🇫🇷", "👍🏽", "a🙂b",
    "\u200b", "\ufeffBOM", "\u00a0", "\u2003", "\u2028", "▁", "▁▁a", "a▁b", " ▁ ", "\x00", "\x01\x7f", "\u0085", "\ufffd", "\U0010ffff",
    "<0x41>", "<0x0A>", "<0xE2><0x96><0x81>", "</s>", "<s>", "<unused0>", "[INST]", "<|", "|>", "<|turn", "<turn|", "<|turn |>",
    "<bos>", "<eos>", "<pad>", "<unk>", "<mask>", "<bos><bos>", "<|turn>", "<turn|>", "<|turn><turn|>", "x<|turn>y", " <|turn> ",
    "<|image>", "<|image|>", "<image|>", "<|image><|image|><|image|><image|>", "<|audio><|audio|><audio|>", "<|video|>",
    "<|tool><tool|>", "<|tool_call><tool_call|>", "<|tool_response><tool_response|>", '<|"|>', '<|"|><|"|>', "<|think|>",
    "<|channel>thought\n<channel|>", "<<|turn>>", "<|<|turn>", "<|image|image|>", "<|audio|video|>", "<|tool_", "<|tool_callx>",
    "<bos><|turn>user\nHello there<turn|>\n<|turn>model\n", "user", "model", "system", "thought",
    "def f(x):\n    return [x, x * 2]  # twice\n", "int main() { return 0; }", "{\"a\": [1, 2, {\"b\": null}]}", "a\\b\\n", "`code` $x$ ~/.x",
    "https://example.org/a?b=c&d=%20e#f", "user@example.org", "C:\\Users\\x", "#1 @home ~$5 ^ & * ( ) _ + = | ; : ' \" , . / < > ?",
    "ALL CAPS AND MiXeD", "don't can't I'll", "“quotes” ‘single’ – — …", "x" * 300, "stone " * 60, ("a" * 7 + " ") * 40,
    "The light of the evening.\n\n" * 12, "🙂 " * 25, "日本語" * 30, "".join(chr(c) for c in range(32, 127)), "".join(chr(c) for c in range(160, 384)),
]

# Ids that no text encodes to: byte tokens that are no UTF-8, runs cut in the middle, special tokens between.
DECODED = [
    ["<0xF0>", "<0x9F>", "<0x99>", "<0x82>"], ["<0xF0>", "<0x9F>"], ["<0xFF>"], ["<0xC3>", "<0x28>"], ["<0x80>", "a"],
    ["<0xE6>", "<0x97>", "<0xA5>", "<0xE6>"], ["a", "<0xE6>", "b"], ["<0x0A>", "<0x20>"], ["▁▁", "a"], ["▁", "▁", "\n"],
    ["<bos>", "a", "<eos>"], ["<|turn>", "a", "<turn|>", "\n"], ["<0xF0>", "<|turn>", "<0x9F>"], ["<unk>", "<mask>", "<pad>"],
    ["<0xC3>", "<0xA9>", "é"], ["<0xED>", "<0xA0>", "<0x80>"], ["<0xC0>", "<0x80>"], ["<0xF4>", "<0x90>", "<0x80>", "<0x80>"],
]


def special_as_text(text: str, model_folder: Path) -> list[int]:
    """Ids of `text` when special-token text in it is ordinary text: the same merges without the added tokens."""
    tokenizer = json.loads((model_folder / "tokenizer.json").read_text())
    tokenizer["added_tokens"] = []
    for piece in tiny_tokenizer.CONTROL + tiny_tokenizer.STRUCTURE + tiny_tokenizer.MEDIA:
        assert piece in tokenizer["model"]["vocab"]
    return Tokenizer.from_str(json.dumps(tokenizer)).encode(text, add_special_tokens=False).ids


def write(model_folder: Path, out: Path) -> None:
    """encode.json, decode.json and the chats, made with the tokenizer in `model_folder`."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    plain = Tokenizer.from_file(str(model_folder / "tokenizer.json"))
    full = AutoTokenizer.from_pretrained(model_folder)

    def encode(text: str) -> list[int]:
        ids = plain.encode(text, add_special_tokens=False).ids
        assert ids == full(text, add_special_tokens=False)["input_ids"], text
        return ids

    entries = []
    for text in TEXTS:
        ids = encode(text)
        entries.append({"text": text, "ids": ids, "decoded": plain.decode(ids, skip_special_tokens=False),
                        "decoded_without_special": plain.decode(ids, skip_special_tokens=True),
                        "ids_as_text": special_as_text(text, model_folder)})
    _write_lines(out / "encode.json", entries)

    decoded = []
    for pieces in DECODED:
        ids = [plain.token_to_id(piece) for piece in pieces]
        assert None not in ids, pieces
        decoded.append({"ids": ids, "decoded": plain.decode(ids, skip_special_tokens=False)})
    _write_lines(out / "decode.json", decoded)

    small = tiny_tokenizer.small_template(full.chat_template)
    small_ids = []

    def chat(conversation: dict) -> dict:
        """One entry as the large models have it; the small ones' goes into small_ids, by what it shares with it."""
        options = {"enable_thinking": False, "preserve_thinking": False, "add_generation_prompt": True}
        options |= {key: conversation[key] for key in options if key in conversation}
        arguments = {"tools": conversation.get("tools"), "tokenize": False, **options}
        rendered = full.apply_chat_template(conversation["messages"], **arguments)
        if "expected" in conversation:
            assert rendered == conversation["expected"], conversation["name"]
        ids = encode(rendered)
        others = encode(full.apply_chat_template(conversation["messages"], chat_template=small, **arguments))
        shared = next((i for i, (a, b) in enumerate(zip(ids, others)) if a != b), min(len(ids), len(others)))
        small_ids.append({"name": conversation["name"], "shared": shared, "rest": others[shared:]})
        return {"name": conversation["name"], **options, "messages": conversation["messages"],
                "tools": conversation.get("tools"), "rendered": rendered, "ids": ids,
                "worked_example": "expected" in conversation}

    _write_lines(out / "chat.json", [chat(conversation) for conversation in talk.WORKED + talk.OTHERS])
    _write_lines(out / "talks.json", [chat(conversation) for conversation in talks.DRAWN])
    _write_lines(out / "small.json", small_ids)


def _write_lines(path: Path, entries: list) -> None:
    """A JSON array with one entry a line. Escaped to ASCII: the texts hold line separators and control characters."""
    path.write_text("[\n" + ",\n".join(json.dumps(entry) for entry in entries) + "\n]\n")
