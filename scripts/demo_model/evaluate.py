"""Measures the demo model on held-out data: media files are written, the program (or the reference) answers, a table results.

    python speech.py --out BANKS
    python evaluate.py --banks BANKS --work DIR                    # build/release/bin/lapidary
    python evaluate.py --banks BANKS --work DIR --engine torch     # the reference in float32

Held out are: the seeds of all pictures, clips and recordings, two fonts, the test split of the digits, whole voices, the
names of tools and the values of their arguments. Greedy decoding throughout.
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import wave

import numpy as np
from PIL import Image

import dialogues
import pictures
import questions
import samples

ROOT = pathlib.Path(__file__).resolve().parents[2]
PLACE_PATTERN = "|".join(sorted(map(re.escape, pictures.PLACES), key=len, reverse=True))
THING = re.compile(r"an? (large|small) (\w+) (\w+) (" + PLACE_PATTERN + ")")


def write_picture(path, picture, rng):
    """PNG or JPEG, a third of them at another size. Returns the path."""
    if rng.random() < 0.33:
        scale = rng.uniform(0.7, 1.8)
        picture = pictures.resized(picture, (int(picture.shape[1] * scale), int(picture.shape[0] * scale)))
    if rng.random() < 0.5:
        path = path.with_suffix(".jpg")
        Image.fromarray(picture).save(path, quality=int(rng.integers(60, 96)))
    else:
        path = path.with_suffix(".png")
        Image.fromarray(picture).save(path)
    return path


def write_wave(path, samples_):
    path = path.with_suffix(".wav")
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(16_000)
        out.writeframes(np.round(samples_ * 32768).clip(-32768, 32767).astype(np.int16).tobytes())
    return path


def write_clip(path, frames, rate, crf=20):
    import av

    path = path.with_suffix(".mp4")
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264" if "libx264" in av.codecs_available else "mpeg4", rate=rate)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": str(crf)}
        for frame in frames:
            for packet in stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")):
                out.mux(packet)
        for packet in stream.encode():
            out.mux(packet)
    return path


class Item(dict):
    """One task: kind, prompt, media (option, path) or None, score (function of the engine's answer giving points, possible)."""


def fact_score(things):
    """Facts of a description: the number of things, and size, colour, shape and place of each."""
    def score(answer):
        found = [m.groups() for m in THING.finditer(answer["text"])]
        head = questions.describe_scene(things).split(":")[0]
        points = float(answer["text"].startswith(head + ":"))
        by_place = {f[3]: f for f in found}
        for i, t in enumerate(things):
            place = pictures.PLACES[t.cell]
            guess = by_place.get(place) or (found[i] if len(found) == len(things) else None)
            truth = ("large" if t.large else "small", t.colour, t.shape, place)
            points += sum(a == b for a, b in zip(guess, truth)) if guess else 0
        return points, 1 + 4 * len(things)
    return score


def exact(expected):
    return lambda answer: (float(answer["text"].strip() == expected), 1)


def edit_distance(a, b):
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        previous, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (x != y))
    return row[-1]


def word_errors(text):
    """Points are errors here, the possible ones the words of the reference."""
    return lambda answer: (edit_distance(text.split(), answer["text"].split()), len(text.split()))


def voice_score(words):
    def score(answer):
        said = dict(re.findall(r'the (man|woman) says "(\w+)"', answer["text"].lower()))
        return sum(said.get("woman" if woman else "man") == word for word, woman in words), 2
    return score


def call_score(name, arguments, thinking):
    def score(answer):
        calls = answer["tool_calls"]
        right = len(calls) == 1 and calls[0]["name"] == name and calls[0]["arguments"] == arguments
        return float(right and bool(answer["thought"].strip()) == thinking), 1
    return score


def make_items(options, skills, unseen):
    """Yields the tasks; files go to options.work."""
    work, count = options.work, options.count
    work.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(options.seed)
    pick = dialogues.pick
    for i in range(count):
        picture, things = pictures.scene(rng)
        path = write_picture(work / f"scene{i}", picture, rng)
        yield Item(kind="picture, facts of a description", prompt=pick(rng, questions.DESCRIBE[:3]), image=path,
                   score=fact_score(things))
        question, answer = questions.scene_question(rng, things)
        yield Item(kind="picture, one question", prompt=question, image=path, score=exact(answer))
        yield Item(kind="picture, number of objects", prompt=questions.count_question(rng), image=path,
                   score=exact(questions.counted(len(things))))
        picture, word, _ = pictures.printed_word(rng, test=True)
        yield Item(kind="printed word, held-out fonts", prompt="What does it say?",
                   image=write_picture(work / f"word{i}", picture, rng), score=exact(f'It says "{word}".'))
        picture, digit, _ = pictures.handwritten_digit(rng, test=True)
        yield Item(kind="handwritten digit, test split", prompt="Which digit is this?",
                   image=write_picture(work / f"digit{i}", picture, rng), score=exact(f"It is the digit {digit}."))
        for label, source in (("voices of training", skills), ("held-out voices", unseen)):
            heard, text, _ = source.sentences[i % len(source.sentences)]
            name = f"{source is unseen:d}_{i}"
            yield Item(kind=f"speech, word errors, {label}", prompt="Transcribe the recording.",
                       audio=write_wave(work / f"speech{name}", samples.augment(rng, heard)[0]), score=word_errors(text))
            man, woman = (source.words[int(pick(rng, g))] for g in (source.men, source.women))
            first, second = (man, woman) if rng.random() < 0.5 else (woman, man)
            gap = np.zeros(int(rng.integers(2400, 8000)), np.float32)
            joined = np.concatenate([first[0] / np.abs(first[0]).max(), gap, second[0] / np.abs(second[0]).max()])
            yield Item(kind=f"two voices, {label}", prompt="Who said what?",
                       audio=write_wave(work / f"voices{name}", samples.augment(rng, joined)[0]),
                       score=voice_score([first[1:], second[1:]]))
        if i < options.clips:
            total, rate = int(rng.integers(20, 60)), int(pick(rng, [10, 12, 15]))
            shown, mover, direction, still, _ = pictures.clip(rng, total)
            where = {"right": "to the right", "left": "to the left"}.get(direction, direction)
            what = f"{questions.article(mover.colour).capitalize()} {mover.colour} {mover.shape} moves {where}."
            if still:
                what += f" {questions.article(still.colour).capitalize()} {still.colour} {still.shape} stands still."
            yield Item(kind="video, whole answer", prompt="What happens in the video?",
                       video=write_clip(work / f"clip{i}", shown, rate), score=exact(what))
        messages, settings = dialogues.tools(rng, test=True)
        while not messages[-1].get("tool_calls"):
            messages, settings = dialogues.tools(rng, test=True)
        function = messages[-1]["tool_calls"][0]["function"]
        (work / f"tools{i}.json").write_text(json.dumps(settings["tools"]))
        thinking = settings["enable_thinking"]
        yield Item(kind="tool call, held-out names and values" + (", thinking" if thinking else ""),
                   prompt=messages[-2]["content"], tools=work / f"tools{i}.json", think=thinking,
                   system=messages[0]["content"] if messages[0]["role"] == "system" else None,
                   score=call_score(function["name"], function["arguments"], thinking))
        while messages[-1].get("tool_calls") or settings["enable_thinking"]:
            messages, settings = dialogues.tools(rng, test=True)
        builder = skills.builder
        yield Item(kind="answer from a tool's result", score=exact(messages[-1]["content"]),
                   tokens=builder.encode(builder.prompt(messages[:-1], **settings)))
        question, answer, _ = dialogues.one_talk(rng)
        yield Item(kind="small talk, made-up names", prompt=question, score=exact(answer))
        question, answer, _ = dialogues.one_sum(rng)
        yield Item(kind="sums of two digits", prompt=question, score=exact(answer))


class Program:
    """Answers through the command line."""

    def __init__(self, options):
        self.base = [str(options.program), "run", "--model", str(options.model), "--format", "json", "--temperature", "0",
                     "--max-tokens", "96"] + options.extra.split()

    def __call__(self, item):
        command = list(self.base)
        for name in ("image", "audio", "video", "tools"):
            if item.get(name):
                command += [f"--{name}", str(item[name])]
        if item.get("system"):
            command += ["--system", item["system"]]
        if item.get("think"):
            command += ["--think"]
        command += ["--prompt-tokens", ",".join(map(str, item["tokens"]))] if item.get("tokens") else [item["prompt"]]
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command[:-1])}: status {done.returncode}: {done.stderr.strip()[-400:]}")
        return json.loads(done.stdout)


class Reference:
    """Answers through transformers, float32."""

    def __init__(self, options, builder):
        import torch
        from transformers import AutoModelForMultimodalLM, AutoProcessor

        self.torch, self.builder = torch, builder
        self.processor = AutoProcessor.from_pretrained(options.model)
        self.model = AutoModelForMultimodalLM.from_pretrained(options.model, dtype=torch.float32).eval()

    def __call__(self, item):
        given = {}
        content = []
        if item.get("image"):
            given["images"] = [np.asarray(Image.open(item["image"]).convert("RGB"))]
            content.append({"type": "image"})
        if item.get("audio"):
            with wave.open(str(item["audio"])) as source:
                given["audio"] = [np.frombuffer(source.readframes(source.getnframes()), np.int16).astype(np.float32) / 32768]
            content.append({"type": "audio"})
        if item.get("video"):
            import av

            with av.open(str(item["video"])) as source:
                rate = float(source.streams.video[0].average_rate)
                frames = [f.to_ndarray(format="rgb24") for f in source.decode(video=0)]
            chosen = [i * len(frames) // samples.VIDEO_FRAMES for i in range(samples.VIDEO_FRAMES)]
            given |= {"videos": [np.stack([frames[i] for i in chosen])], "do_sample_frames": False, "video_metadata": [
                {"total_num_frames": len(frames), "fps": rate, "frames_indices": chosen}]}
            content.append({"type": "video"})
        if item.get("tokens"):
            inputs = {"input_ids": self.torch.tensor([item["tokens"]])}
        else:
            messages = [{"role": "system", "content": item["system"]}] if item.get("system") else []
            messages.append({"role": "user", "content": content + [{"type": "text", "text": item["prompt"]}]})
            settings = {"enable_thinking": bool(item.get("think"))}
            if item.get("tools"):
                settings["tools"] = json.loads(item["tools"].read_text())
            inputs = self.processor(text=[self.builder.prompt(messages, **settings)], return_tensors="pt",
                                    add_special_tokens=False, **given)
        with self.torch.no_grad():
            out = self.model.generate(**inputs, do_sample=False, max_new_tokens=96)[0, inputs["input_ids"].shape[1]:]
        return parsed(self.builder.tokenizer.decode(out.tolist(), skip_special_tokens=False))


def parsed(text):
    """Splits what the model wrote into thought, calls and text."""
    thought = "".join(re.findall(r"<\|channel>thought\n(.*?)<channel\|>", text, re.S))
    text = re.sub(r"<\|channel>.*?<channel\|>", "", text, flags=re.S)
    calls = []
    for name, body in re.findall(r"<\|tool_call>call:(.*?)\{(.*?)\}<tool_call\|>", text):
        arguments = {}
        for key, string, number in re.findall(r'([^,:]+):(?:<\|"\|>(.*?)<\|"\|>|(-?\d+))', body):
            arguments[key] = int(number) if number else string
        calls.append({"name": name, "arguments": arguments})
    text = re.sub(r"<\|tool_call>.*?<tool_call\|>", "", text, flags=re.S)
    return {"text": re.sub(r"<turn\|>|<\|tool_response>|<eos>", "", text), "thought": thought, "tool_calls": calls}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--banks", required=True, type=pathlib.Path)
    parser.add_argument("--work", required=True, type=pathlib.Path, help="where the media files are written")
    parser.add_argument("--model", default=samples.MODEL_DIR, type=pathlib.Path)
    parser.add_argument("--engine", choices=["program", "torch"], default="program")
    parser.add_argument("--program", default=ROOT / "build/release/bin/lapidary", type=pathlib.Path)
    parser.add_argument("--extra", default="", help="more options for the program, in one string")
    parser.add_argument("--count", type=int, default=100, help="tasks of each kind")
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--seed", type=int, default=20_261_123)
    parser.add_argument("--show", type=int, default=0, help="print this many answers of each kind")
    options = parser.parse_args()
    skills = samples.Skills(options.banks, True, "test_seen", "test_words", options.model)
    unseen = samples.Skills(options.banks, True, "test_unseen", "test_words_unseen", options.model)
    engine = Program(options) if options.engine == "program" else Reference(options, skills.builder)
    totals, shown = {}, {}
    for item in make_items(options, skills, unseen):
        answer = engine(item)
        points, possible = item["score"](answer)
        sums = totals.setdefault(item["kind"], [0.0, 0, 0])
        sums[0] += points
        sums[1] += possible
        sums[2] += 1
        if shown.get(item["kind"], 0) < options.show:
            shown[item["kind"]] = shown.get(item["kind"], 0) + 1
            media = next((os.path.basename(item[m]) for m in ("image", "audio", "video") if item.get(m)), "")
            print(f"{item['kind']} | {media} | {item.get('prompt', '')} | {answer['text']!r} {answer['tool_calls'] or ''} "
                  f"{answer['thought']!r} | {points:g}/{possible}", flush=True)
    print("| skill | tasks | result |\n|---|---|---|")
    for kind, (points, possible, tasks) in totals.items():
        print(f"| {kind} | {tasks} | {100 * points / possible:.1f} % |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
