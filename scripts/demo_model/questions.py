"""Questions about pictures, recordings and clips, and the answers the model is to give."""

from dialogues import NUMBERS, pick
from pictures import COLOURS, PLACES, SHAPES

DESCRIBE = [
    "Describe the picture.", "Describe this picture.", "What is in this picture?", "What do you see?", "What is in the picture?",
    "Describe the image.", "What is in this image?", "What can you see in this picture?", "Describe what you see.",
    "What does the picture show?", "What does this image show?", "Please describe this picture.", "What's in this picture?",
    "Tell me what is in the picture.", "Describe this image.", "What can you see?", "What is shown in the image?",
    "Describe this image in detail.", "What's in the image?"]
TRANSCRIBE = [
    "Transcribe the recording.", "Transcribe this recording.", "Transcribe the audio.", "What is said?", "Write down what is said.",
    "What does the voice say?", "Transcribe.", "Transcribe the following speech segment.", "Transcribe this audio.",
    "What are the words?", "Write down the words.", "Transcribe the speech.", "What is being said?", "What was said?"]
HEAR = ["What do you hear?", "Describe the recording.", "What is in this recording?", "What can you hear?",
        "Describe the audio.", "Who speaks and what is said?"]
WHO = ["Who said what?", "Which voice said which word?", "Who says what?", "What does each voice say?"]
WATCH = [
    "What happens in the video?", "What happens in this video?", "Describe the video.", "What moves in the video?",
    "What do you see in the video?", "Describe this video.", "What is happening in the video?", "What happens in the clip?",
    "What moves where?", "What does the video show?", "What happens?", "Describe what happens in the video."]


def article(word):
    return "an" if word[0] in "aeiou" else "a"


def name(thing):
    size = "large" if thing.large else "small"
    return f"a {size} {thing.colour} {thing.shape}"


def joined(parts):
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def counted(count, noun="object"):
    if count == 0:
        return f"There are no {noun}s." if noun != "cross" else "There are no crosses."
    if count == 1:
        return f"There is one {noun}."
    plural = noun + ("es" if noun == "cross" else "s")
    return f"There are {NUMBERS[count]} {plural}."


def describe_scene(things):
    head = "There is one object: " if len(things) == 1 else f"There are {NUMBERS[len(things)]} objects: "
    return head + joined([f"{name(t)} {PLACES[t.cell]}" for t in things]) + "."


def count_question(rng):
    return pick(rng, ["How many objects are there?", "How many objects are in the picture?", "How many objects do you see?",
                      "How many things are there?", "Count the objects.", "How many shapes are there?",
                      "How many objects are in this picture?", "How many objects can you see?"])


def scene_question(rng, things):
    """(question, answer) about one fact of a picture."""
    shapes = [t.shape for t in things]
    unique = [t for t in things if shapes.count(t.shape) == 1]
    kind = rng.integers(8)
    if kind == 0 or (not unique and kind in (1, 2, 3)):
        return count_question(rng), counted(len(things))
    if kind == 1:
        t = pick(rng, unique)
        colour = pick(rng, ["colour", "color"])
        return (pick(rng, [f"What {colour} is the {t.shape}?", f"Which {colour} has the {t.shape}?",
                           f"What is the {colour} of the {t.shape}?"]), f"The {t.shape} is {t.colour}.")
    if kind == 2:
        t = pick(rng, unique)
        return (pick(rng, [f"Where is the {t.shape}?", f"Where is the {t.colour} {t.shape}?"]),
                f"The {t.shape} is {PLACES[t.cell]}.")
    if kind == 3:
        t = pick(rng, unique)
        return (pick(rng, [f"How big is the {t.shape}?", f"Is the {t.shape} large or small?"]),
                f"The {t.shape} is {'large' if t.large else 'small'}.")
    if kind == 4:
        at = pick(rng, things).cell if rng.random() < 0.75 else int(rng.integers(9))
        found = [t for t in things if t.cell == at]
        return (pick(rng, [f"What is {PLACES[at]}?", f"What do you see {PLACES[at]}?"]),
                (name(found[0]).capitalize() + ".") if found else f"There is nothing {PLACES[at]}.")
    if kind == 5:
        t = pick(rng, things)
        shape, colour = (t.shape, t.colour) if rng.random() < 0.5 else (pick(rng, SHAPES), pick(rng, COLOURS))
        present = any((u.shape, u.colour) == (shape, colour) for u in things)
        what = f"{article(colour)} {colour} {shape}"
        return (pick(rng, [f"Is there {what}?", f"Do you see {what}?", f"Is there {what} in the picture?"]),
                f"Yes, there is {what}." if present else f"No, there is no {colour} {shape}.")
    if kind == 6:
        t = pick(rng, things)
        shape = t.shape if rng.random() < 0.7 else pick(rng, SHAPES)
        plural = shape + ("es" if shape == "cross" else "s")
        return f"How many {plural} are there?", counted(shapes.count(shape), shape)
    t = pick(rng, things)
    colour = t.colour if rng.random() < 0.8 else pick(rng, COLOURS)
    found = [u for u in things if u.colour == colour]
    return (pick(rng, [f"What is {colour}?", f"Which objects are {colour}?"]),
            ("The " + joined([u.shape for u in found]).replace(" and ", " and the ").replace(", ", ", the ")
             + (" is " if len(found) == 1 else " are ") + colour + ".") if found else f"Nothing is {colour}.")


def shape_question(rng, thing):
    """About the only thing in a picture."""
    return pick(rng, ["What shape is it?", "Which shape is this?", "What shape do you see?", "What is it?", "What is this?"]), (
        f"It is a {thing.shape}.")


def scene_thought(things):
    return "I see " + joined([f"{article(t.colour)} {t.colour} {t.shape}" for t in things]) + "."


def word_question(rng, word):
    if rng.random() < 0.25:
        return pick(rng, DESCRIBE), f'There is a printed word: "{word}".'
    return pick(rng, ["What does it say?", "Read the word.", "What is written here?", "Which word is this?",
                      "What does the picture say?", "Read the text.", "What does the text say?", "What word do you see?",
                      "What is written in the picture?", "Read this."]), f'It says "{word}".'


def digit_question(rng, digit):
    if rng.random() < 0.25:
        return pick(rng, DESCRIBE), f"There is a handwritten digit: {digit}."
    return pick(rng, ["Which digit is this?", "What digit is this?", "What number is this?", "Which number do you see?",
                      "Read the digit.", "Which digit do you see?", "What is the digit?"]), f"It is the digit {digit}."


def speech_question(rng, text, woman):
    if rng.random() < 0.14:
        return pick(rng, HEAR), f'A {"woman" if woman else "man"} says "{text}".'
    return pick(rng, TRANSCRIBE), text


def voices_question(rng, first, second):
    """first, second: (word, is_woman) in the order of the recording; one is a woman and one a man."""
    man, woman = (second, first) if first[1] else (first, second)
    kind = rng.random()
    if kind < 0.4:
        parts = [f'the {"woman" if w else "man"} says "{t}"' for t, w in (first, second)]
        return pick(rng, WHO + HEAR), (parts[0] + " and " + parts[1]).capitalize() + "."
    who, word = ("woman", woman[0]) if rng.random() < 0.5 else ("man", man[0])
    if kind < 0.75:
        voice = who if rng.random() < 0.7 else {"woman": "high voice", "man": "low voice"}[who]
        return (pick(rng, [f"What does the {voice} say?", f"What did the {voice} say?", f"Which word did the {voice} say?"]),
                f'The {who} says "{word}".')
    return (pick(rng, [f'Who says "{word}"?', f'Who said "{word}"?', f'Which voice said "{word}"?']),
            f'The {who} says "{word}".' if man[0] != woman[0] else f'Both say "{word}".')


def clip_question(rng, mover, direction, still):
    where = {"right": "to the right", "left": "to the left"}.get(direction, direction)
    what = f"{mover.colour} {mover.shape}"
    kind = rng.random()
    if kind < 0.75:
        answer = f"{article(what).capitalize()} {what} moves {where}."
        if still:
            other = f"{still.colour} {still.shape}"
            answer += f" {article(other).capitalize()} {other} stands still."
        return pick(rng, WATCH), answer
    if kind < 0.9 or not still:
        return (pick(rng, [f"Where does the {mover.shape} move?" if not still or still.shape != mover.shape
                           else f"Where does the {what} move?", "In which direction does it move?"]),
                f"The {what} moves {where}.")
    return pick(rng, ["What does not move?", "What stands still?"]), f"The {still.colour} {still.shape} stands still."
