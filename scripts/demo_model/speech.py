"""Spoken words for the demo model: the vocabulary, the sentences and a bank of synthetic recordings.

The voices are those of espeak-ng (Debian package `libespeak-ng1`), called through ctypes. A bank is one file of 16 kHz
mono 16-bit samples and one `.npz` with an entry per utterance, which also says when each phoneme and each word begins;
`python speech.py --out DIR` writes a bank for training (seen voices) and one for testing (seen and held-out voices, other
seeds).
"""

import argparse
import ctypes
import itertools
import multiprocessing
import pathlib

import numpy as np

SAMPLE_RATE = 16_000
ESPEAK_RATE = 22_050

DIGITS = "zero one two three four five six seven eight nine".split()
ROOMS = "kitchen bedroom garden".split()
COLOURS = "red green blue yellow".split()
DIRECTIONS = "left right up down forward back".split()
WORDS = (
    DIGITS + ROOMS + COLOURS + DIRECTIONS
    + "turn open close start stop play pause go set on off light lamp door window music radio timer".split()
    + "the in please minutes yes no".split()
)

ACCENTS = "en-us en en-gb-x-rp en-us-nyc".split()
# Classes of the sounds that espeak names for these accents, 0 for silence; variants of one sound share a class.
PHONEMES = {name: i for i, names in enumerate(
    "_ _:|@ @2 a#|I I2|i: i|E|a aa|V|0|O2 O@ o@ O:|A@ A:|U u:|3 3: @r|eI|aI|aI@|aU|oU @U|OI|i@ i@3|e@|"
    "p|t t2 t#|k|b|d|g|tS|dZ|f|v|T|D|s|z|S|Z|h|m|n|N|l|r r-|w|j|;".split("|")) for name in names.split()}
MEN = "m1 m2 m3 m4 m6 m7 m8 Alex Andy Lee max john paul adam david ed edward travis benjamin".split()
WOMEN = "f1 f2 f3 f5 Annie linda belinda steph shelby Andrea aunty".split()
UNSEEN_MEN = "m5 Mike".split()
UNSEEN_WOMEN = "f4 Alicia anika".split()
# How the waveform is stretched when it is brought to 16 kHz: changes pitch, formants and tempo together, which gives a
# few synthesiser voices the spread of many speakers. 320/441 is the exact ratio of the two rates.
STRETCHES = [(320, 441), (300, 441), (310, 441), (332, 441), (345, 441)]


def sentence(rng):
    """One utterance of 1 to 6 vocabulary words: a command, a number read digit by digit, or words in no order."""
    def pick(words):
        return words[rng.integers(len(words))]

    kind = rng.random()
    if kind < 0.36:
        form = rng.integers(9)
        room = [pick(ROOMS)] if rng.random() < 0.4 else []
        if form <= 1:
            words = ["turn", pick(["on", "off"]), "the"] + room + [pick(["light", "lamp", "radio", "music"])]
        elif form == 2:
            words = [pick(["open", "close"]), "the"] + room + [pick(["door", "window"])]
        elif form == 3:
            words = [pick(["play", "pause", "start", "stop"]), "the", pick(["music", "radio", "timer"])]
        elif form == 4:
            words = ["go", pick(DIRECTIONS)] + ([pick(DIGITS)] if rng.random() < 0.5 else [])
        elif form == 5:
            words = ["set", "the", "timer", pick(DIGITS), "minutes"]
        elif form == 6:
            words = ["set", "the"] + room + [pick(["light", "lamp"]), pick(COLOURS)]
        elif form == 7:
            words = [pick(["yes", "no"])] + ([pick(["please", "stop", "go"])] if rng.random() < 0.5 else [])
        else:
            words = [pick(["light", "lamp", "radio", "music"]), pick(["on", "off"]), "in", "the", pick(ROOMS)]
        if len(words) < 6 and rng.random() < 0.15:
            words.append("please")
        return words
    if kind < 0.60:
        return [pick(DIGITS) for _ in range(rng.integers(1, 7))]
    return [pick(WORDS) for _ in range(rng.choice([1, 2, 3, 4, 5, 6], p=[0.12, 0.22, 0.26, 0.2, 0.12, 0.08]))]


class _Event(ctypes.Structure):
    """espeak_EVENT of speak_lib.h."""

    _fields_ = [("type", ctypes.c_int), ("identifier", ctypes.c_uint), ("text_position", ctypes.c_int),
                ("length", ctypes.c_int), ("audio_position", ctypes.c_int), ("sample", ctypes.c_int),
                ("user_data", ctypes.c_void_p), ("name", ctypes.c_char * 8)]


END_OF_LIST, WORD, PHONEME = 0, 1, 7


class Espeak:
    """libespeak-ng in synchronous mode: text and voice in; 22.05 kHz samples and what is said when out."""

    def __init__(self):
        self.lib = ctypes.CDLL("libespeak-ng.so.1")
        rate = self.lib.espeak_Initialize(2, 500, None, 1)  # synchronous, with phoneme events
        if rate != ESPEAK_RATE:
            raise RuntimeError(f"espeak-ng: expected a rate of {ESPEAK_RATE} Hz, found {rate}")
        self.pieces, self.events = [], []
        kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))

        def keep(wave, count, events):
            if wave and count > 0:
                self.pieces.append(np.ctypeslib.as_array(wave, (count,)).copy())
            for i in itertools.count():
                event = events[i]
                if event.type == END_OF_LIST:
                    return 0
                if event.type in (WORD, PHONEME):
                    name = event.name.decode("ascii", "replace") if event.type == PHONEME else ""
                    self.events.append((event.type, event.sample, event.text_position, name))

        self.callback = kind(keep)  # kept alive: the library holds the pointer
        self.lib.espeak_SetSynthCallback(self.callback)

    def say(self, text, voice, speed, pitch, word_gap):
        """Returns (int16 samples at 22.05 kHz, events). speed: words a minute; pitch: 0..99; word_gap: units of 10 ms.

        An event is (WORD or PHONEME, first sample, position in the text from 1, name of the phoneme).
        """
        if self.lib.espeak_SetVoiceByName(voice.encode()) != 0:
            raise RuntimeError(f"espeak-ng has no voice {voice!r}")
        for parameter, value in ((1, speed), (3, pitch), (7, word_gap)):
            self.lib.espeak_SetParameter(parameter, int(value), 0)
        self.pieces, self.events = [], []
        data = text.encode()
        self.lib.espeak_Synth(data, ctypes.c_size_t(len(data) + 1), 0, 0, 0, 1, None, None)
        self.lib.espeak_Synchronize()
        return (np.concatenate(self.pieces) if self.pieces else np.zeros(0, np.int16)), self.events


def word_spans(words, events, end):
    """First samples of `words` and `end` after them, from the events of an utterance.

    espeak joins some words ("on the") and reports them as one: those share its time evenly.
    """
    begins, at = {}, 1
    places = {}
    for i, word in enumerate(words):
        places[at] = i
        at += len(word) + 1
    for kind, sample, position, _ in events:
        if kind == WORD and position in places:
            begins.setdefault(places[position], sample)
    begins.setdefault(0, 0)
    known = sorted(begins) + [len(words)]
    begins[len(words)] = end
    spans = []
    for a, b in zip(known, known[1:]):
        spans += [begins[a] + (begins[b] - begins[a]) * i / (b - a) for i in range(b - a)]
    return spans + [end]


def trim(wave, threshold=150):
    """Cuts what is quieter than `threshold` off both ends; returns the rest and how much was cut off before it."""
    loud = np.flatnonzero(np.abs(wave.astype(np.int32)) > threshold)
    return (wave[loud[0]: loud[-1] + 1], int(loud[0])) if loud.size else (wave[:0], 0)


def utterance(engine, rng, words, men, women, woman=None):
    """Synthesises `words` by a voice of the lists.

    Returns (16 kHz int16 samples, voice, is_woman, [(first sample, phoneme)], first samples of the words and the end).
    """
    from scipy.signal import resample_poly

    if woman is None:
        woman = bool(rng.random() < 0.5)
    variants = women if woman else men
    voice = f"{ACCENTS[rng.integers(len(ACCENTS))]}+{variants[rng.integers(len(variants))]}"
    pitch = rng.integers(48, 72) if woman else rng.integers(28, 52)
    gap = rng.choice([0, 0, 0, 1, 3, 6])
    wave, events = engine.say(" ".join(words), voice, rng.integers(125, 200), pitch, gap)
    up, down = STRETCHES[rng.integers(len(STRETCHES))]
    end = max([sample for _, sample, _, _ in events], default=0)
    spans = word_spans(words, events, end)
    wave = resample_poly(wave.astype(np.float32), up, down)
    wave, cut = trim(np.clip(wave, -32767, 32767).astype(np.int16))

    def moved(sample):
        return int(min(max(sample * up / down - cut, 0), len(wave)))

    phonemes = [(moved(sample), name) for kind, sample, _, name in events if kind == PHONEME]
    return wave, voice, woman, phonemes, [moved(s) for s in spans]


def _produce(arguments):
    seed, count, words_only, men, women = arguments
    rng = np.random.default_rng(seed)
    engine = Espeak()
    result = []
    while len(result) < count:
        words = [WORDS[rng.integers(len(WORDS))]] if words_only else sentence(rng)
        wave, voice, woman, phonemes, spans = utterance(engine, rng, words, men, women)
        if 1600 <= wave.size <= 6 * SAMPLE_RATE:
            result.append((wave, " ".join(words), voice, woman, phonemes, spans))
    return result


def write_bank(path, jobs, workers):
    """Runs `jobs` (arguments of _produce) and writes path.pcm and path.npz."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    offsets, lengths, texts, voices, women = [], [], [], [], []
    phoneme_at, phoneme_name, phoneme_offset, word_at = [], [], [0], []
    position = 0
    with open(path.with_suffix(".pcm"), "wb") as out, multiprocessing.Pool(workers) as pool:
        for batch in pool.imap(_produce, jobs):
            for wave, text, voice, woman, phonemes, spans in batch:
                out.write(wave.tobytes())
                offsets.append(position)
                lengths.append(wave.size)
                texts.append(text)
                voices.append(voice)
                women.append(woman)
                phoneme_at += [at for at, _ in phonemes]
                phoneme_name += [PHONEMES.get(name, 0) for _, name in phonemes]
                phoneme_offset.append(len(phoneme_at))
                word_at.append((spans + [0] * 7)[:7])
                position += wave.size
    np.savez(path.with_suffix(".npz"), offset=np.array(offsets), length=np.array(lengths), text=np.array(texts),
             voice=np.array(voices), woman=np.array(women), phoneme_at=np.array(phoneme_at),
             phoneme_name=np.array(phoneme_name), phoneme_offset=np.array(phoneme_offset), word_at=np.array(word_at))
    print(f"{path}: {len(texts)} utterances, {position / SAMPLE_RATE / 3600:.2f} hours")


class Bank:
    """A bank on disk; `bank[i]` is (float32 samples in [-1, 1), text, is_woman)."""

    def __init__(self, path):
        path = pathlib.Path(path)
        table = np.load(path.with_suffix(".npz"))
        for name in table.files:
            setattr(self, name, table[name])
        self.samples = np.memmap(path.with_suffix(".pcm"), dtype=np.int16, mode="r")

    def __len__(self):
        return len(self.offset)

    def __getitem__(self, index):
        start = self.offset[index]
        wave = np.asarray(self.samples[start: start + self.length[index]], dtype=np.float32) / 32768.0
        return wave, str(self.text[index]), bool(self.woman[index])

    def said(self, index):
        """What is said when: (phoneme classes, their first samples, word classes, their first samples and the end)."""
        span = slice(self.phoneme_offset[index], self.phoneme_offset[index + 1])
        words = [WORDS.index(w) for w in str(self.text[index]).split()]
        return self.phoneme_name[span], self.phoneme_at[span], words, self.word_at[index][: len(words) + 1]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", required=True, help="directory of the banks")
    parser.add_argument("--sentences", type=int, default=40_000)
    parser.add_argument("--words", type=int, default=8_000, help="single words, for the clips with two voices")
    parser.add_argument("--test", type=int, default=800, help="utterances of each test bank")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    out = pathlib.Path(options.out)

    def jobs(seed, count, words_only, men, women, size=500):
        return [(seed * 100_000 + i, min(size, count - i * size), words_only, men, women)
                for i in range(-(-count // size))]

    unseen = (UNSEEN_MEN, UNSEEN_WOMEN)
    write_bank(out / "test_seen", jobs(11, options.test, False, MEN, WOMEN), options.workers)
    write_bank(out / "test_unseen", jobs(12, options.test, False, *unseen), options.workers)
    write_bank(out / "test_words", jobs(13, options.test, True, MEN, WOMEN), options.workers)
    write_bank(out / "test_words_unseen", jobs(14, options.test, True, *unseen), options.workers)
    write_bank(out / "words", jobs(2, options.words, True, MEN, WOMEN), options.workers)
    write_bank(out / "sentences", jobs(1, options.sentences, False, MEN, WOMEN), options.workers)


if __name__ == "__main__":
    main()
