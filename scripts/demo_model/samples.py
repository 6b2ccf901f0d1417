"""Training samples: conversations with media as token ids, kinds, soft-token inputs and the positions that carry a loss."""

import dataclasses
import itertools
import pathlib

import numpy as np
from tokenizers import Tokenizer

import dialogues
import pictures
import questions
import speech

MODEL_DIR = pathlib.Path(__file__).resolve().parents[2] / "models/demo"
FRAME = 640            # samples of one audio soft token
VIDEO_FRAMES = 4
IMAGE, VIDEO, AUDIO = 1, 2, 3

# Skill, its share of the samples, weight of one answer token in the loss.
SKILLS = {
    "scene": (5.2, 3.0), "word": (0.3, 2.0), "digit": (0.6, 4.0), "speech": (10.0, 2.0), "voices": (1.5, 2.0),
    "clip": (0.7, 3.0), "tools": (1.1, 1.5), "talk": (0.5, 0.5), "copying": (1.0, 1.0)}


@dataclasses.dataclass
class Sample:
    skill: str
    ids: np.ndarray            # int64 [n]
    kinds: np.ndarray          # int64 [n]: 0 text, 1 image, 2 video, 3 audio
    where: np.ndarray          # positions whose next token is predicted
    weight: float
    patches: np.ndarray        # uint8 [p, 6912]
    patch_positions: np.ndarray  # int64 [p, 2] (x, y)
    frames: np.ndarray         # float32 [f, 640]
    prompt_length: int = 0


class Builder:
    """Turns messages and media into samples with the shipped tokenizer and chat template."""

    def __init__(self, model_dir=MODEL_DIR):
        import torchvision_cpu  # noqa: F401  (before transformers)
        from transformers.utils.chat_template_utils import _compile_jinja_template

        self.tokenizer = Tokenizer.from_file(str(model_dir / "tokenizer.json"))
        self.template = _compile_jinja_template((model_dir / "chat_template.jinja").read_text())
        token = self.tokenizer.token_to_id
        self.image, self.video, self.audio = token("<|image|>"), token("<|video|>"), token("<|audio|>")
        self.turn, self.end_turn, self.response = token("<|turn>"), token("<turn|>"), token("<|tool_response>")
        self.model_role = self.encode("model\n")

    def encode(self, text):
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def prompt(self, messages, **options):
        return self.template.render(messages=messages, bos_token="<bos>", add_generation_prompt=True, **options)

    def completion(self, message, thinking, after_result):
        """What the model has to write for its last message, from the end of the generation prompt on."""
        text = ""
        if thinking:
            text = message["reasoning"] + "\n<channel|>"
            if not after_result:
                text = "<|channel>thought\n" + text
        if message.get("tool_calls"):
            call = self.template.render(messages=[{"role": "user", "content": ""}, {**message, "reasoning": None}], bos_token="")
            return text + call[call.index("<|tool_call>"):]   # ends in <|tool_response>, where generation stops
        return text + message["content"] + "<turn|>"

    def build(self, skill, messages, options=None, images=(), frames=None, clip=None):
        """images: list of uint8 pictures; frames: float32 samples of a recording; clip: (pictures, time stamps)."""
        options = options or {}
        patches, positions = [], []

        def soft(picture):
            patches.append(pictures.patches(picture))
            rows, columns = picture.shape[0] // 48, picture.shape[1] // 48
            y, x = np.divmod(np.arange(rows * columns), columns)
            positions.append(np.stack([x, y], 1))
            return rows * columns

        text = self.prompt(messages[:-1], **options)
        for picture in images:
            text = text.replace("<|image|>", "<|image>" + "\0" * soft(picture) + "<image|>", 1)
        text = text.replace("\0", "<|image|>")
        audio = np.zeros((0, FRAME), np.float32)
        if frames is not None:
            audio = np.pad(frames, (0, -len(frames) % FRAME)).astype(np.float32).reshape(-1, FRAME)
            text = text.replace("<|audio|>", "<|audio>" + "\0" * len(audio) + "<audio|>", 1).replace("\0", "<|audio|>")
        if clip is not None:
            parts = [f"{stamp} <|image>" + "\0" * soft(picture) + "<image|>" for picture, stamp in zip(*clip)]
            text = text.replace("<|video|>", " ".join(parts), 1).replace("\0", "<|video|>")
        ids = self.encode(text)
        prompt_length = len(ids)
        after_result = messages[-2]["role"] == "tool"
        thinking = options.get("enable_thinking", False)
        ids = np.array(ids + self.encode(self.completion(messages[-1], thinking, after_result)))
        kinds = np.zeros(len(ids), np.int64)
        for token, kind in ((self.image, IMAGE), (self.video, VIDEO), (self.audio, AUDIO)):
            kinds[ids == token] = kind
        spans = [(prompt_length, len(ids))]
        if not thinking:
            spans += self.earlier_answers(ids[:prompt_length])
        where = np.concatenate([np.arange(a - 1, b - 1) for a, b in spans])
        return Sample(skill, ids, kinds, where, SKILLS[skill][1],
                      np.concatenate(patches) if patches else np.zeros((0, 6912), np.uint8),
                      np.concatenate(positions) if positions else np.zeros((0, 2), np.int64), audio, prompt_length)

    def earlier_answers(self, ids):
        """Spans [begin, end) of the model turns in a prompt that are plain text."""
        spans, begins = [], np.flatnonzero(ids == self.turn)
        for begin in begins[:-1]:
            start = begin + 1 + len(self.model_role)
            if list(ids[begin + 1: start]) != self.model_role:
                continue
            end = start + int(np.flatnonzero(ids[start:] == self.end_turn)[0]) + 1
            if self.response not in ids[start:end]:
                spans.append((start, end))
        return spans


def media_turns(media_type, pairs, rng):
    """Messages with the medium before the first question."""
    messages = dialogues.system(rng)
    for i, (question, answer) in enumerate(pairs):
        content = [{"type": media_type}, {"type": "text", "text": question}] if i == 0 else question
        messages += [{"role": "user", "content": content}, {"role": "assistant", "content": answer}]
    return messages


def any_size(rng, picture):
    """Some pictures arrive at another size and go through the resize that the processor does."""
    if rng.random() < 0.85:
        return picture
    height, width = picture.shape[:2]
    scale = rng.uniform(0.7, 1.6)
    other = pictures.resized(picture, (int(width * scale), int(height * scale)))
    return pictures.resized(other, (width, height))


def augment(rng, wave, strength=1.0):
    """Room around the words, tempo, colouring, level and noise; float32 in [-1, 1]."""
    if rng.random() < 0.5 * strength:
        factor = rng.uniform(0.93, 1.07)
        wave = np.interp(np.arange(0, len(wave) - 1, factor), np.arange(len(wave)), wave).astype(np.float32)
    wave = np.pad(wave, (int(rng.integers(0, 5000)), int(rng.integers(0, 4000))))
    if rng.random() < 0.4 * strength:
        wave[1:] += np.float32(rng.uniform(-0.5, 0.5)) * wave[:-1].copy()
    wave *= np.float32(10 ** rng.uniform(-0.9, 0.0) * 0.9 / max(np.abs(wave).max(), 1e-3))
    if rng.random() < 0.65 * strength:
        noise = rng.standard_normal(len(wave)).astype(np.float32)
        if rng.random() < 0.5:
            noise = np.convolve(noise, np.float32([0.25, 0.25, 0.25, 0.25]), "same")
        level = np.sqrt((wave ** 2).mean()) * 10 ** (-rng.uniform(10, 40) / 20) / np.sqrt((noise ** 2).mean())
        wave = wave + noise * np.float32(level)
    return np.round(np.clip(wave, -1, 32767 / 32768) * 32768) / np.float32(32768)


class Skills:
    """Makes samples of every skill. `test` selects the held-out fonts, digits, names and values.

    `ease` (1 at the start of training, 0 later) asks for more big single things and single words: attention finds what it
    has to look at much sooner where there is little else.
    """

    ease = 0.0

    def __init__(self, banks, test=False, sentences="sentences", words="words", model_dir=MODEL_DIR):
        banks = pathlib.Path(banks)
        self.builder = Builder(model_dir)
        self.test = test
        self.sentences, self.words = (speech.Bank(banks / name, speech.ACCENTS_USED) for name in (sentences, words))
        self.men = np.flatnonzero(~self.words.woman)
        self.women = np.flatnonzero(self.words.woman)

    def scene(self, rng):
        big = rng.random() < 0.15 + 0.5 * self.ease
        picture, things = pictures.big_thing(rng) if big else pictures.scene(rng)
        pairs = []
        for i in range(rng.choice([1, 2, 3], p=[0.35, 0.3, 0.35])):
            if big and rng.random() < 0.5:
                pairs.append(questions.shape_question(rng, things[0]))
            elif rng.random() < (0.6 if i == 0 else 0.1):
                pairs.append((dialogues.pick(rng, questions.DESCRIBE), questions.describe_scene(things)))
            elif rng.random() < 0.12:
                pairs.append((questions.count_question(rng), questions.counted(len(things))))
            else:
                pairs.append(questions.scene_question(rng, things))
        messages = media_turns("image", pairs, rng)
        options = {}
        if rng.random() < 0.06:
            options["enable_thinking"] = True
            messages[-1]["reasoning"] = questions.scene_thought(things)
        return self.builder.build("scene", messages, options, images=[any_size(rng, picture)])

    def word(self, rng):
        picture, word = pictures.printed_word(rng, test=self.test)
        return self.builder.build("word", media_turns("image", [questions.word_question(rng, word)], rng),
                                  images=[any_size(rng, picture)])

    def digit(self, rng):
        picture, digit = pictures.handwritten_digit(rng, test=self.test)
        return self.builder.build("digit", media_turns("image", [questions.digit_question(rng, digit)], rng),
                                  images=[any_size(rng, picture)])

    def speech(self, rng):
        bank = self.words if rng.random() < 0.08 + 0.5 * self.ease else self.sentences
        wave, text, woman = bank[int(rng.integers(len(bank)))]
        while rng.random() < self.ease and len(text.split()) > 3:
            wave, text, woman = bank[int(rng.integers(len(bank)))]
        pair = questions.speech_question(rng, text, woman)
        return self.builder.build("speech", media_turns("audio", [pair], rng), frames=augment(rng, wave, 1 - 0.6 * self.ease))

    def voices(self, rng):
        man, woman = (self.words[int(dialogues.pick(rng, group))] for group in (self.men, self.women))
        first, second = (man, woman) if rng.random() < 0.5 else (woman, man)
        levels = rng.uniform(0.6, 1.0, 2) / [max(np.abs(w[0]).max(), 1e-3) for w in (first, second)]
        gap = np.zeros(int(rng.integers(2400, 8000)), np.float32)
        wave = np.concatenate([first[0] * np.float32(levels[0]), gap, second[0] * np.float32(levels[1])])
        pair = questions.voices_question(rng, first[1:], second[1:])
        return self.builder.build("voices", media_turns("audio", [pair], rng), frames=augment(rng, wave))

    def clip(self, rng):
        total, rate = int(rng.integers(20, 180)), dialogues.pick(rng, [10, 12, 15, 24, 25, 30])
        chosen = [i * total // VIDEO_FRAMES for i in range(VIDEO_FRAMES)]
        shown, mover, direction, still = pictures.clip(rng, total, frames=chosen)
        stamps = ["%02d:%02d" % divmod(int(i / rate), 60) for i in chosen]
        pair = questions.clip_question(rng, mover, direction, still)
        return self.builder.build("clip", media_turns("video", [pair], rng), clip=(shown, stamps))

    def tools(self, rng):
        return self.builder.build("tools", *dialogues.tools(rng, self.test))

    def talk(self, rng):
        return self.builder.build("talk", *dialogues.talk(rng))

    def copying(self, rng):
        return self.builder.build("copying", *dialogues.copying(rng))


def batches(skills, seed, total, easy=0, ease=1.0):
    """Endless packed batches of exactly `total` positions; the rest of the last row is a filler without a loss.

    Over the first `easy` batches the samples go from easy (as easy as `ease`) to ordinary, and the long ones (clips, tools) come in.
    """
    import torch

    rng = np.random.default_rng(seed)
    names = list(SKILLS)
    waiting = []
    for step in itertools.count():
        skills.ease = ease * max(0.0, 1 - step / easy) if easy else 0.0
        shares = np.array([SKILLS[n][0] * (1 - 0.8 * skills.ease * (n in ("clip", "tools", "word"))) for n in names])
        shares /= shares.sum()
        chosen, used = [], 0
        for sample in waiting:
            chosen.append(sample)
            used += len(sample.ids)
        waiting = []
        while total - used > 60 and len(waiting) < 3:
            sample = getattr(skills, names[rng.choice(len(names), p=shares)])(rng)
            if used + len(sample.ids) <= total:
                chosen.append(sample)
                used += len(sample.ids)
            else:
                waiting.append(sample)
        lengths = [len(s.ids) for s in chosen]
        filler = total - used
        starts = np.cumsum([0] + lengths)
        if filler:
            lengths.append(filler)
        ids = np.concatenate([s.ids for s in chosen] + [np.zeros(filler, np.int64)])
        where = np.concatenate([s.where + a for s, a in zip(chosen, starts)])
        yield {
            "ids": torch.from_numpy(ids),
            "positions": torch.from_numpy(np.concatenate([np.arange(n) for n in lengths])),
            "kinds": torch.from_numpy(np.concatenate([s.kinds for s in chosen] + [np.zeros(filler, np.int64)])),
            "lengths": lengths,
            "where": torch.from_numpy(where),
            "targets": torch.from_numpy(ids[where + 1]),
            "weights": torch.from_numpy(np.concatenate([np.full(len(s.where), s.weight, np.float32) for s in chosen])),
            "skill": torch.from_numpy(np.concatenate([np.full(len(s.where), names.index(s.skill)) for s in chosen])),
            "patches": torch.from_numpy(np.concatenate([s.patches for s in chosen])),
            "patch_positions": torch.from_numpy(np.concatenate([s.patch_positions for s in chosen])),
            "frames": torch.from_numpy(np.concatenate([s.frames for s in chosen]))}
