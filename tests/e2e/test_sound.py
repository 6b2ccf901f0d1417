"""Hearing: transcribe with the shipped model, the models with a conformer, and the sound of videos."""
import array
import json
import re
import wave

import pytest

RATE = 16000
SPOKEN = "Transcribe the recording."


def samples_of(path):
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (RATE, 1, 2)
        return array.array("h", file.readframes(file.getnframes()))


def write_wave(path, samples):
    with wave.open(str(path), "wb") as file:
        file.setframerate(RATE)
        file.setnchannels(1)
        file.setsampwidth(2)
        file.writeframes(array.array("h", samples).tobytes())
    return path


@pytest.fixture(scope="module")
def recording(tree):
    return tree / "examples/recording.wav"


@pytest.fixture(scope="module")
def said(lapidary, recording):
    """What the shipped model hears in the example, through the ordinary command."""
    answer = lapidary.json("run", "--temperature", 0, "--max-tokens", 40, "--audio", recording, SPOKEN)
    assert answer["text"].strip()
    return answer["text"].strip()


@pytest.fixture(scope="module")
def long_file(recording, tmp_path_factory):
    """The example six times, two seconds of silence between."""
    silence = array.array("h", [0] * (2 * RATE))
    samples = array.array("h")
    for _ in range(6):
        samples += silence + samples_of(recording)
    return write_wave(tmp_path_factory.mktemp("sound") / "long.wav", samples + silence)


def test_transcribe_prints_what_run_hears(lapidary, recording, said):
    done = lapidary("transcribe", recording)
    assert done.returncode == 0, done.stderr
    assert done.stdout == said + "\n"


def test_a_long_file_is_heard_window_by_window(lapidary, long_file, recording, said):
    done = lapidary.json("transcribe", long_file)
    seconds = len(samples_of(recording)) / RATE
    assert done["complete"] and abs(done["seconds"] - (6 * (seconds + 2) + 2)) < 1e-6
    assert len(done["windows"]) == 6
    for index, window in enumerate(done["windows"]):
        start = 2 + index * (seconds + 2)
        assert start - 0.3 <= window["start"] < window["end"] <= start + seconds + 0.3
        assert window["end"] - window["start"] > 0.5 * seconds
    # A window begins at another fraction of a 40 ms frame than the file did, which a very small model may trip over.
    heard = [window["text"].split() for window in done["windows"]]
    right = sum(word in words for words in heard for word in said.split())
    assert right >= 0.6 * 6 * len(said.split()), heard
    assert done["text"] == "\n".join(window["text"] for window in done["windows"])
    assert done["usage"]["audio_tokens"] >= 6 * 25 * 0.5 * seconds
    assert lapidary("transcribe", long_file).stdout == done["text"] + "\n"


def test_subtitles(lapidary, long_file):
    windows = lapidary.json("transcribe", long_file)["windows"]
    srt = lapidary("transcribe", long_file, "--format", "srt").stdout
    cues = re.findall(r"(\d+)\n(\d\d):(\d\d):(\d\d),(\d\d\d) --> (\d\d):(\d\d):(\d\d),(\d\d\d)\n([^\n]+)\n\n", srt)
    assert [int(cue[0]) for cue in cues] == list(range(1, len(windows) + 1))
    for cue, window in zip(cues, windows):
        h, m, s, ms = map(int, cue[1:5])
        assert abs(3600 * h + 60 * m + s + ms / 1000 - window["start"]) < 1e-3
        assert cue[9] == window["text"]
    vtt = lapidary("transcribe", long_file, "--format", "vtt").stdout
    assert vtt.startswith("WEBVTT\n\n") and vtt.count(" --> ") == len(windows)


def test_a_window_is_never_longer_than_asked(lapidary, recording, tmp_path):
    samples = samples_of(recording) * 8  # without a pause that counts
    done = lapidary.json("transcribe", write_wave(tmp_path / "run.wav", samples), "--window", 3, "--pause", 30)
    assert len(done["windows"]) >= len(samples) / RATE / 3 - 1
    assert all(window["end"] - window["start"] <= 3.0001 for window in done["windows"])


def test_silence_says_nothing(lapidary, tmp_path):
    path = write_wave(tmp_path / "silence.wav", [0] * RATE)
    done = lapidary("transcribe", path)
    assert done.returncode == 0 and done.stdout == "" and "nothing but silence" in done.stderr
    assert lapidary.json("transcribe", path)["windows"] == []


def test_the_sound_track_of_a_video(lapidary, tree):
    done = lapidary.json("transcribe", tree / "tests/media/data/clips/with_sound.mp4")
    assert 0.1 < done["seconds"] < 0.4


def test_transcribe_errors(lapidary, tree, tmp_path):
    assert "no/such.wav" in lapidary.error("transcribe", "no/such.wav")
    text = tmp_path / "text.wav"
    text.write_text("no sound")
    assert "text.wav" in lapidary.error("transcribe", text)
    deaf = tree / "tests/golden/models/d31b"
    assert "does not hear" in lapidary.error("transcribe", "--model", deaf, tree / "examples/recording.wav")
    assert lapidary("transcribe").returncode == 2
    assert lapidary("transcribe", "x.wav", "--window", "31").returncode == 2


@pytest.mark.parametrize("model", ["e2b-audio", "e4b-audio"])
def test_conformers_answer_as_the_reference(lapidary, tree, model):
    folder, media = tree / "tests/golden/models" / model, tree / "tests/golden/media/sounds"
    checked = 0
    for path in sorted((tree / "tests/golden/cases" / model).glob("*.json")):
        case = json.loads(path.read_text())
        if len(case["messages"][0]["content"]) != 1 + len(case["sounds"]) or case["name"] == "audio-three":
            continue  # the command puts media before the text
        audio = [part for name in case["sounds"] for part in ("--audio", media / name)]
        answer = lapidary.json("run", "--model", folder, "--precision", "full", "--kv", "f32", "--temperature", 0,
                               "--max-tokens", 16, "--ignore-eos", *audio, case["messages"][0]["content"][-1]["text"])
        assert answer["prompt_tokens"] == case["prompt_tokens"], path.name
        steps = case["greedy"]["comparable_steps"]
        assert answer["tokens"][:steps] == case["greedy"]["tokens"][:steps], path.name
        assert answer["usage"]["audio_tokens"] == sum(kind == 3 for kind in case["token_types"])
        checked += 1
    assert checked >= 6


def test_conformers_score_transcribe_and_inspect(lapidary, tree):
    folder, sounds = tree / "tests/golden/models/e2b-audio", tree / "tests/golden/media/sounds"
    case = json.loads((tree / "tests/golden/cases/e2b-audio/audio-second.json").read_text())
    score = lapidary.json("score", "--model", folder, "--precision", "full", "--kv", "f32", "--audio",
                          sounds / "voice-16001.wav", case["messages"][0]["content"][-1]["text"])
    assert score["prompt_tokens"] == case["prompt_tokens"]
    worst = max(abs(ours["logprob"] - theirs)
                for ours, theirs in zip(score["logprobs"][1:], case["prompt_logprobs"][1:]))
    assert worst < 4e-3
    pieces = lapidary.json("score", "--model", folder, "--precision", "full", "--kv", "f32", "--batch-tokens", 7, "--audio",
                           sounds / "voice-16001.wav", case["messages"][0]["content"][-1]["text"])
    assert pieces["logprobs"] == score["logprobs"]
    assert len(lapidary.json("transcribe", "--model", folder, sounds / "voice-16001.wav")["windows"]) == 1
    assert "161" not in lapidary.error("run", "--model", folder, "--audio", sounds / "one-sample.wav", "?")
    inspected = lapidary.json("inspect", folder)
    assert "audio" in inspected["inputs"] and inspected["audio_tower"]["layers"] == 3
    assert "conformer of 3 layers" in lapidary("inspect", folder).stdout


def test_the_sound_of_a_video_goes_through_the_conformer(lapidary, tree):
    folder, clip = tree / "tests/golden/models/e2b-vision", tree / "tests/media/data/clips/with_sound.mp4"
    heard = lapidary.json("run", "--model", folder, "--video", clip, "--video-fps", 5, "--video-sound", "--max-tokens", 1, "?")
    assert heard["usage"]["audio_tokens"] in (5, 6) and heard["usage"]["video_tokens"] > 0


def test_video_sound_stands_between_the_frames(lapidary, tree):
    model, clip = tree / "tests/golden/models/unified-a", tree / "tests/media/data/clips/with_sound.mp4"
    arguments = ("run", "--model", model, "--video", clip, "--video-fps", 5, "--temperature", 0, "--max-tokens", 2, "?")
    silent, heard = lapidary.json(*arguments), lapidary.json(*arguments, "--video-sound")
    assert silent["usage"]["audio_tokens"] == 0 < heard["usage"]["audio_tokens"]
    assert heard["usage"]["video_tokens"] == silent["usage"]["video_tokens"]
    text = lapidary("detokenize", "--model", model, ",".join(map(str, heard["prompt_tokens"]))).stdout
    assert re.search(r"00:00 <\|image>(<\|video\|>)+<image\|><\|audio>(<\|audio\|>){5}<audio\|> 00:00 <\|image>", text)
    # The track is 0.2 s long: the frames after it are followed by nothing.
    assert text.count("<|audio>") in (1, 2) and heard["usage"]["audio_tokens"] in (5, 6)
    deaf = tree / "tests/golden/models/d31b"
    assert "does not hear" in lapidary.error("run", "--model", deaf, "--video", clip, "--video-sound", "?")
