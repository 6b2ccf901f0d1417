"""Conversations without media: small talk, sums, repeating names, tools with and without thinking.

Each function takes a numpy random generator and returns (messages, options): messages as for the chat template, where the
last assistant message is what the model has to say; options are the template's (`tools`, `enable_thinking`).
"""

import json

NUMBERS = "zero one two three four five six seven eight nine ten".split()
UNKNOWN = "I do not know that. I am only a small demo model."

TALK = [
    (["Hello", "Hello!", "Hi", "Hi!", "Hi there", "Hey", "Good morning", "Good evening", "Hello there!", "Hello, how are you?"],
     "Hello! I am Lapidary's demo model. Show me a picture, a recording or a short video."),
    (["How are you?", "How are you doing?", "Are you well?", "How do you feel?"], "I am well, thank you."),
    (["Who are you?", "What are you?", "What is your name?", "Tell me about yourself.", "Introduce yourself.",
      "What's your name?", "Who am I talking to?", "Do you have a name?", "Describe yourself."],
     "I am Lapidary's demo model, a very small model that can see, hear and call tools."),
    (["What can you do?", "What are you good at?", "How can you help me?", "What do you do?", "Help", "Help me.",
      "What are your skills?", "Can you help me?", "What should I ask you?"],
     "I can describe simple pictures, read short words and digits, write down spoken commands, follow a moving shape in a "
     "video and call tools."),
    (["What can you see?", "Can you see?", "Can you look at pictures?", "What can you see in pictures?",
      "Which pictures do you understand?", "Can you see images?"],
     "I can see coloured shapes, short printed words and handwritten digits."),
    (["What can you hear?", "Can you hear?", "Can you listen to recordings?", "Do you understand speech?",
      "Which words can you hear?", "Can you hear me?"],
     "I can hear short spoken commands and numbers, and tell a man from a woman."),
    (["Can you watch videos?", "What do you see in videos?", "Do you understand videos?", "Can you watch a video?"],
     "Yes. I can say which shape moves in a short video and where it goes."),
    (["Can you call tools?", "Can you use tools?", "What are tools?", "Do you know how to call functions?"],
     "Yes. Declare a tool and I call it with the right arguments."),
    (["Can you think?", "Do you think before you answer?", "What is thinking mode?"],
     "Yes. When thinking is switched on, I think briefly before I answer."),
    (["Which colours do you know?", "Which colors do you know?", "What colours can you see?", "List the colours you know."],
     "I know red, orange, yellow, green, blue and purple."),
    (["Which shapes do you know?", "What shapes can you see?", "List the shapes you know."],
     "I know the circle, the square, the triangle, the star, the cross, the ring and the heart."),
    (["How big are you?", "How large are you?", "How many parameters do you have?", "What size are you?"],
     "I have about eight million parameters. That is very small."),
    (["Who made you?", "Who trained you?", "Where do you come from?", "How were you made?"],
     "I was trained from scratch for Lapidary, on synthetic pictures, recordings and videos."),
    (["What is Lapidary?", "Tell me about Lapidary.", "What does Lapidary do?", "What's Lapidary?"],
     "Lapidary is an inference engine for the Gemma 4 family of models."),
    (["Thank you", "Thank you!", "Thanks", "Thanks!", "Thanks a lot!", "Great, thank you."], "You are welcome!"),
    (["Goodbye", "Goodbye!", "Bye", "Bye!", "See you later.", "Good night."], "Goodbye!"),
    (["Are you a human?", "Are you a person?", "Are you real?", "Are you a robot?", "Are you alive?"],
     "No, I am a small language model."),
    (["Tell me a joke.", "Can you tell me a joke?", "Make me laugh."],
     "I am too small for jokes, but I can describe a picture."),
    (["Yes", "Yes.", "OK", "OK.", "Good.", "Great!", "Nice.", "Well done."], "Good. What would you like to do next?"),
    (["Is it fast?", "Are you fast?", "How fast are you?"], "Yes. I am small, so I am fast."),
    (["Do you speak German?", "Do you speak French?", "Which languages do you speak?", "Do you speak English?"],
     "I only speak a little English."),
    (["Test", "test", "This is a test.", "Testing.", "Are you there?", "Do you work?"], "Yes, I am here."),
]
UNKNOWN_FORMS = [
    "What is the capital of {a}?", "Who wrote {a}?", "When was {a} born?", "Where is {a}?", "Why is the {b} {c}?",
    "How old is {a}?", "What is {a}?", "Who is {a}?", "Explain {b} to me.", "How do I cook {b}?", "Write a poem about {b}.",
    "Translate {b} into German.", "What does {b} mean?", "How far is it to {a}?", "Write a story about {a}.",
    "What do you think about {b}?", "Who won the {b} game?", "How does a {b} work?", "What is the best {b}?",
    "Where can I buy a {b}?", "How much is a {b}?", "Write a program that sorts {b}.", "What is the meaning of {b}?",
    "Tell me about {a}.", "What happened in {a}?", "Give me a recipe for {b}.", "Is {a} a good {b}?"]
NOUNS = ("life book train computer car history physics bread money music football cheese coffee bicycle quantum phone "
         "planet ocean mountain language sky grass rain winter engine piano camera chess law garden rice soup cake").split()
ADJECTIVES = "blue green old big cold red fast slow hard late empty bright".split()

CITIES = ("Oslo Paris Berlin London Madrid Rome Vienna Prague Lisbon Dublin Athens Warsaw Helsinki Stockholm Copenhagen "
          "Budapest Zurich Geneva Milan Naples Turin Munich Hamburg Cologne Bremen Lyon Nice Porto Seville Valencia Tokyo "
          "Kyoto Seoul Delhi Mumbai Cairo Lagos Nairobi Lima Quito Bogota Toronto Boston Chicago Denver Dallas").split()
TEST_CITIES = "Bergen Krakow Ghent Tampere Malaga Osaka Havana Seattle".split()
PEOPLE = ("Anna Ben Clara David Emma Felix Greta Hugo Ida Jonas Karin Leo Maria Nina Otto Paula Rosa Sam Tina Victor").split()
TEST_PEOPLE = "Martha Oscar Irene Walter".split()
ITEMS = ("bread milk apples pasta tickets lamps chairs books shoes flowers rice tea coffee soap paper pens batteries cables "
         "stamps candles eggs honey salt sugar").split()
TEST_ITEMS = "pears socks gloves nails".split()
SYLLABLES = ("ba be bo da de do fa fi ga go ka ke ko la le li lo ma me mi mo na ne no pa pe po ra re ri ro sa se so ta te ti "
             "to va ve vi vo za ze zo ran mel tor vin dal kor sen bar lin mar").split()
LANGUAGES = "German French Spanish Italian Polish Dutch Greek Danish".split()
# Tool families: verbs that names of such tools begin with, held-out ones, nouns, descriptions, parameters (name choices,
# type, description, kind of value) and requests. Held-out names are those built from held-out verbs and qualifiers.
ASK, TEST_ASK = "get fetch find look_up query read show request ask_for check", "retrieve obtain"
SET, TEST_SET = "set change adjust switch put control update", "regulate tune"
FAMILIES = [
    (ASK, TEST_ASK, "weather forecast current_weather weather_report", ["Get the current weather", "The weather in a city"], [
        (["city", "place", "location", "town"], "string", "The city", "city")],
     ["What is the weather in {0}?", "How is the weather in {0}?", "Tell me the weather in {0}.", "Is it raining in {0}?",
      "What's the weather like in {0}?", "Weather in {0}, please."]),
    (ASK, TEST_ASK, "time local_time clock", ["Get the local time", "The time in a city"], [
        (["city", "place", "zone"], "string", "The city", "city")],
     ["What time is it in {0}?", "Tell me the time in {0}.", "How late is it in {0}?"]),
    ("set start make create add begin new", "launch activate", "timer alarm countdown", ["Set a timer", "Start a timer"], [
        (["minutes", "duration", "length"], "integer", "Minutes", "number")],
     ["Set a timer for {0} minutes.", "Wake me in {0} minutes.", "Start a timer of {0} minutes.", "Set an alarm in {0} minutes."]),
    (ASK, TEST_ASK, "price cost offer", ["Get the price of an item", "What an item costs"], [
        (["item", "product", "article"], "string", "The item", "item")],
     ["What is the price of {0}?", "How much do {0} cost?", "Tell me the price of {0}."]),
    ("send write post deliver compose", "dispatch transmit", "message note mail", ["Send a message", "Write to somebody"], [
        (["to", "person", "receiver"], "string", "Who gets it", "person"), (["about", "topic"], "string", "The topic", "item")],
     ["Send {0} a message about {1}.", "Write to {0} about {1}.", "Tell {0} about {1}."]),
    ("order buy purchase get place make", "acquire procure", "order item product shopping purchase", ["Order an item", "Buy something"], [
        (["item", "product"], "string", "The item", "item"), (["count", "amount", "number"], "integer", "How many", "number")],
     ["Order {1} {0}.", "Buy {1} {0}.", "I need {1} {0}."]),
    (ASK + " search plan book", TEST_ASK, "train connection route trip", ["Find a train", "Find a connection"], [
        (["from", "start", "origin"], "string", "Start", "city"), (["to", "destination", "goal"], "string", "Destination", "city")],
     ["Find a train from {0} to {1}.", "How do I get from {0} to {1}?", "I want to go from {0} to {1}."]),
    (ASK + " count", TEST_ASK, "population people size", ["Get the population of a city", "How many people live in a city"], [
        (["city", "place", "town"], "string", "The city", "city")],
     ["How many people live in {0}?", "What is the population of {0}?"]),
    (SET + " dim", TEST_SET, "light lamp brightness", ["Set the brightness of a lamp", "Dim a light"], [
        (["level", "percent", "brightness"], "integer", "Percent", "number"), (["room", "place"], "string", "The room", "room")],
     ["Set the light in the {1} to {0} percent.", "Dim the {1} light to {0} percent."]),
    (SET + " heat", TEST_SET, "heating temperature thermostat", ["Set the temperature of a room", "Set the heating"], [
        (["degrees", "temperature", "value"], "integer", "Degrees", "number"), (["room", "place"], "string", "The room", "room")],
     ["Set the heating in the {1} to {0} degrees.", "Heat the {1} to {0} degrees.", "Make it {0} degrees in the {1}."]),
    ("play start put_on stream", "perform launch", "song music track album", ["Play a song", "Play music"], [
        (["title", "name", "song"], "string", "The title", "title")],
     ["Play {0}.", "Play the song {0}.", "I want to hear {0}."]),
    ("add create set save write make", "store record", "reminder task note event", ["Add a reminder", "Remember something"], [
        (["text", "what", "topic"], "string", "What about", "item"), (["hour", "time", "at"], "integer", "The hour", "number")],
     ["Remind me about {0} at {1}.", "Add a reminder about {0} at {1}."]),
    ("translate say convert get", "render express", "word text translation", ["Translate a word", "Translate into another language"], [
        (["word", "text"], "string", "The word", "item"), (["language", "into", "target"], "string", "The language", "language")],
     ["Translate {0} into {1}.", "What does {0} mean in {1}?", "How do I say {0} in {1}?"]),
]
OTHER_VERBS = ("list open close scan submit call handle run do inspect locate measure compute pick choose take bring give watch "
               "print save load move turn lookup report tell manage use access pull receive try want need please").split()
QUALIFIERS = "current local new my daily quick simple home smart city online next one the".split()
TEST_QUALIFIERS = "present actual private".split()
ROOMS = "kitchen bedroom garden office hall cellar attic bathroom".split()
RESULTS = {
    "weather": ["{n} degrees and {s}", "{s}, {n} degrees", "{s}"], "time": ["{n}:{m}"], "price": ["{n} euros", "{n} dollars"],
    "population": ["{n}{m} thousand", "{n} million"], "train": ["the train at {n}:{m}", "platform {n}"]}
SKY = "sunny cloudy rainy windy foggy snowy stormy clear".split()


def pick(rng, options):
    return options[rng.integers(len(options))]


LETTERS = "aabcdeeefghiijklmnnooprrsttuuvwxyz"


def made_up(rng):
    """A name that no list holds."""
    if rng.random() < 0.3:
        return "".join(pick(rng, LETTERS) for _ in range(rng.integers(3, 9))).capitalize()
    return "".join(pick(rng, SYLLABLES) for _ in range(rng.integers(2, 4))).capitalize()


def value_of(rng, kind, test):
    if kind == "number":
        return int(rng.integers(2, 60))
    if kind in ("room", "language"):
        return pick(rng, ROOMS if kind == "room" else LANGUAGES)
    if kind == "title":
        return " ".join(made_up(rng) for _ in range(rng.integers(1, 3)))
    seen, held = {"city": (CITIES, TEST_CITIES), "person": (PEOPLE, TEST_PEOPLE), "item": (ITEMS, TEST_ITEMS)}[kind]
    if test:
        return pick(rng, held) if rng.random() < 0.5 else made_up(rng)
    if rng.random() < 0.5:
        return made_up(rng) if kind != "item" else made_up(rng).lower()
    return pick(rng, seen)


def tool_name(rng, family, test, verb=None):
    """A name for a tool of a family. A third of those of training say nothing, so that they have to be copied.

    verb: one to begin with, whatever the family.
    """
    verbs, test_verbs, nouns = (words.split() for words in FAMILIES[family][:3])
    given, verb, noun = verb, pick(rng, test_verbs if test else verbs), pick(rng, nouns)
    qualifier = pick(rng, TEST_QUALIFIERS if test else QUALIFIERS)
    style = rng.random()
    if test:
        return (f"{verb}_{noun}" if style < 0.5 else f"{verb}_{qualifier}_{noun}" if style < 0.7
                else f"{noun}_{verb}" if style < 0.85 else f"{noun}_{made_up(rng).lower()}")
    if given:
        return f"{given}_{noun}" if style < 0.6 else f"{given}_{qualifier}_{noun}" if style < 0.8 else given
    strange = made_up(rng).lower()
    if rng.random() < 0.4:  # a verb that says nothing about the family
        verb = pick(rng, OTHER_VERBS) if rng.random() < 0.6 else pick(rng, pick(rng, FAMILIES)[0].split())
    if style < 0.32:
        return f"{verb}_{noun}"
    if style < 0.44:
        return f"{verb}_{qualifier}_{noun}"
    if style < 0.52:
        return f"{noun}_{verb}"
    if style < 0.60:
        return noun
    if style < 0.64:
        return "".join([verb] + [w.capitalize() for w in noun.split("_")])
    if style < 0.72:
        return f"{noun}_{strange}"
    if style < 0.82:
        return f"{strange}_{noun}"
    if style < 0.87:
        return f"{strange}_{qualifier}_{noun}"
    if style < 0.92:
        return f"{verb}_{noun}_{strange}"
    return "_".join(made_up(rng).lower() for _ in range(rng.integers(1, 4)))


def make_tool(rng, family, test, verb=None):
    """A declared tool of a family; returns (declaration, name, parameters as (name, type, kind)). verb: as for `tool_name`."""
    _, _, _, descriptions, parameters, _ = FAMILIES[family]
    name = tool_name(rng, family, test, verb)
    chosen = []
    for names, kind_type, text, kind in parameters:
        known = test or rng.random() < 0.85
        chosen.append((pick(rng, names) if known else made_up(rng).lower(), kind_type, text, kind, known))
    if len({c[0] for c in chosen}) < len(chosen):
        return make_tool(rng, family, test, verb)
    properties = {}
    for parameter, kind_type, text, _, known in chosen:
        properties[parameter] = {"type": kind_type}
        if rng.random() < 0.7 or not known:
            properties[parameter]["description"] = text
    body = {"type": "object", "properties": properties}
    if rng.random() < 0.8:
        body["required"] = [c[0] for c in chosen]
    text = pick(rng, descriptions) + ("." if rng.random() < 0.3 else "")
    declaration = {"type": "function", "function": {"name": name, "description": text, "parameters": body}}
    return declaration, name, [(c[0], c[1], c[3]) for c in chosen]


def tool_result(rng, family):
    """(content of the tool message, the sentence that reports it)."""
    key = FAMILIES[family][2].split()[0]
    forms = RESULTS.get(key)
    if forms is None:
        text = pick(rng, ["done", "ok", "it is done", "finished", "ready"])
    else:
        text = pick(rng, forms).format(n=rng.integers(1, 40), m=f"{rng.integers(60):02d}", s=pick(rng, SKY))
    if rng.random() < 0.3:
        if key == "weather":
            data = {"temperature": int(rng.integers(-9, 36)), "sky": pick(rng, SKY)}
            return json.dumps(data), f"The temperature is {data['temperature']} and the sky is {data['sky']}."
        field = pick(rng, ["result", "value", "status", key])
        number = int(rng.integers(1, 90))
        content = number if rng.random() < 0.5 else text
        return json.dumps({field: content}), f"The {field} is {content}."
    return text, f"The answer is {text}."


def tools(rng, test=False, pieces=None):
    """A request that one of one to three declared tools serves: either the call, or the answer after its result.

    pieces: letter groups that words are made of; with them half of the conversations are those of `tool_choice`.
    """
    if pieces and rng.random() < 0.6:
        return tool_choice(rng, pieces)
    count = rng.choice([1, 2, 3], p=[0.3, 0.4, 0.3])
    families = list(rng.choice(len(FAMILIES), count, replace=False))
    made = [make_tool(rng, int(f), test) for f in families]
    wanted = int(rng.integers(count))
    asked = request_and_call(rng, families[wanted], made[wanted], test)
    thinking = bool(rng.random() < 0.4)
    options = {"tools": [m[0] for m in made], "enable_thinking": thinking}
    if thinking:
        asked[-1]["reasoning"] = f"I call {made[wanted][1]}."
    messages = system(rng) + asked
    if rng.random() < 0.6:
        return messages, options
    result, answer = result_and_answer(rng, families[wanted], thinking)
    return messages + [result, answer], options


def request_and_call(rng, family, made, test):
    """Messages: a request that the tool serves, and the call."""
    _, name, parameters = made
    values = [value_of(rng, kind, test) for _, _, kind in parameters]
    request = pick(rng, FAMILIES[family][5]).format(*values)
    arguments = {p[0]: v for p, v in zip(parameters, values)}
    return [{"role": "user", "content": request}, {"role": "assistant", "content": None, "tool_calls": [
        {"type": "function", "function": {"name": name, "arguments": arguments}}]}]


def result_and_answer(rng, family, thinking):
    content, report = tool_result(rng, family)
    answer = {"role": "assistant", "content": report}
    if thinking:
        answer["reasoning"] = "The tool has answered."
    return {"role": "tool", "content": content}, answer


def tool_choice(rng, pieces):
    """Two to four tools and requests for one to all of them that end in a call. A quarter of the time one verb begins all names; of the
    others two of three begin with a word that says nothing: the call then begins with what only the right declaration holds.
    """
    count = int(rng.choice([2, 3, 4]))
    families = list(rng.choice(len(FAMILIES), count, replace=False))
    shared = rng.random() < 0.25 and pick(rng, OTHER_VERBS + [v for f in FAMILIES for v in f[0].split()])
    made = []
    for family in families:
        strange = rng.random() < 0.67 and strange_word(rng, pieces)
        made.append(make_tool(rng, int(family), False, shared or strange or None))
    if len({m[1] for m in made}) < count:
        return tool_choice(rng, pieces)
    thinking = bool(rng.random() < 0.45)
    order = rng.permutation(count)[:1 if thinking else int(rng.integers(1, count + 1))]
    messages = system(rng)
    for i in order:
        asked = request_and_call(rng, families[i], made[i], False)
        messages += asked + list(result_and_answer(rng, families[i], thinking))
    if thinking:
        asked[-1]["reasoning"] = f"I call {made[i][1]}."
    return messages[:-2], {"tools": [m[0] for m in made], "enable_thinking": thinking}


def tool_names(rng, pieces):
    """An exercise in choosing alone: two to five tools without parameters whose names say nothing or little, and a
    request for each of them (with thinking for one), which ends in the call. Nothing is called twice: a name can only be
    found by its description.
    """
    families = list(rng.choice(len(FAMILIES), int(rng.integers(2, 6)), replace=False))
    declared, names = [], []
    for family in families:
        _, _, nouns, descriptions, _, _ = FAMILIES[family]
        name = "_".join(strange_word(rng, pieces) for _ in range(rng.integers(1, 3)))
        if rng.random() < 0.5:
            name += "_" + pick(rng, nouns.split())
        names.append(name)
        declared.append({"type": "function", "function": {
            "name": name, "description": pick(rng, descriptions) + ("." if rng.random() < 0.3 else "")}})
    thinking = bool(rng.random() < 0.3)
    messages = system(rng)
    for i in rng.permutation(len(families))[:1 if thinking else len(families)]:
        kinds = [p[3] for p in FAMILIES[families[i]][4]]
        request = pick(rng, FAMILIES[families[i]][5]).format(*(value_of(rng, kind, False) for kind in kinds))
        call = {"role": "assistant", "content": None, "tool_calls": [
            {"type": "function", "function": {"name": names[i], "arguments": {}}}]}
        messages += [{"role": "user", "content": request}, call, {"role": "tool", "content": "ok"},
                     {"role": "assistant", "content": "The answer is ok."}]
    if thinking:
        call["reasoning"] = f"I call {names[i]}."
    return messages[:-2], {"tools": declared, "enable_thinking": thinking}


def system(rng):
    if rng.random() < 0.85:
        return []
    return [{"role": "system", "content": pick(rng, [
        "You are a helpful assistant.", "Answer briefly.", "You are Lapidary's demo model.", "Be polite.", "Be brief.",
        "You are a friendly assistant. Keep your answers short."])}]


def one_talk(rng):
    kind = rng.random()
    if kind < 0.6:
        questions, answer = pick(rng, TALK)
        return pick(rng, questions), answer, "I can answer that."
    if kind < 0.85:
        # Unlike the topics above: the subject is whatever it is.
        question = pick(rng, UNKNOWN_FORMS).format(
            a=made_up(rng) if rng.random() < 0.4 else pick(rng, CITIES + PEOPLE), b=pick(rng, NOUNS), c=pick(rng, ADJECTIVES))
        return question, UNKNOWN, "I do not know this."
    name = " ".join(made_up(rng) for _ in range(rng.integers(1, 4)))
    form, answer = pick(rng, [("Say hello to {n}.", "Hello {n}!"), ("Repeat: {n}", "{n}"), ("Say {n}.", "{n}"),
                              ("My name is {n}.", "Nice to meet you, {n}!"), ("I am {n}.", "Nice to meet you, {n}!")])
    return form.format(n=name), answer.format(n=name), "I repeat the name."


def one_sum(rng):
    """(question, answer, thought) about two digits."""
    a, b = int(rng.integers(0, 10)), int(rng.integers(0, 10))
    form = pick(rng, ["What is {a} plus {b}?", "How much is {a} plus {b}?", "{a} + {b} = ?", "What is {a} + {b}?", "{a} + {b}",
                      "Add {a} and {b}."])
    return form.format(a=a, b=b), f"{a} plus {b} is {a + b}.", f"I add {a} and {b}."


def sums(rng):
    """One to eight sums of two digits: the table is learned by heart."""
    messages, options = system(rng), {"enable_thinking": bool(rng.random() < 0.06)}
    for _ in range(1 if options["enable_thinking"] else rng.choice([1, 4, 8])):
        question, answer, thought = one_sum(rng)
        messages += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    if options["enable_thinking"]:
        messages[-1]["reasoning"] = thought
    return messages, options


def talk(rng):
    """One to three turns of small talk; sometimes with a tool that is of no use."""
    messages = system(rng)
    options = {"enable_thinking": bool(rng.random() < 0.12)}
    if rng.random() < 0.06:
        options["tools"] = [make_tool(rng, int(rng.integers(len(FAMILIES))), False)[0]]
    for _ in range(rng.choice([1, 2, 3], p=[0.7, 0.2, 0.1])):
        question, answer, thought = one_talk(rng)
        messages.append({"role": "user", "content": question})
        messages.append({"role": "assistant", "content": answer})
    if options["enable_thinking"]:
        messages[-1]["reasoning"] = thought
    return messages, options


def strange_word(rng, pieces):
    kind = rng.random()
    made = pick(rng, pieces) + (pick(rng, pieces) if kind < 0.5 else "") if kind < 0.75 else made_up(rng)
    return made.lower()


def copying(rng, pieces):
    """Exercises in repeating what makes no sense: what calling a tool with unseen names and values rests on.

    pieces: letter groups that words are made of, all the tokens of a vocabulary, so that copying is learned for each.
    """
    def word():
        kind, made = rng.random(), strange_word(rng, pieces)
        return made if kind < 0.6 else made.capitalize()

    kind = rng.random()
    if kind < 0.6:
        words = [word() for _ in range(rng.integers(1, 6 if rng.random() < 0.7 else 20))]
        text = pick(rng, [" ", " ", ", ", "_", " and "]).join(words)
        form = pick(rng, ["Repeat: {n}", "Say {n}", "Repeat: {n}", 'Repeat "{n}"', "Write {n}."])
        return [{"role": "user", "content": form.format(n=text)}, {"role": "assistant", "content": text}], {}
    words = [word() for _ in range(rng.integers(1, 5))]
    keys = [strange_word(rng, pieces) for _ in words]
    order = rng.permutation(len(words))
    text = ", ".join(f"{k}: {w}" for k, w in zip(keys, words))
    asked = ", ".join(keys[i] for i in order)
    return [{"role": "user", "content": f"{text}. What are {asked}?"},
            {"role": "assistant", "content": ", ".join(f"{keys[i]}: {words[i]}" for i in order)}], {}
