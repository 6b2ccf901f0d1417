#!/usr/bin/env python3
"""Load on a running `lapidary serve`: many connections, mixed requests, streamed answers.

    lapidary serve --port 8080 --sequences-max 64 --queue-max 512 &
    python3 bench/serve_load.py http://127.0.0.1:8080 --connections 1,8,64,256 --requests 4 --pid $!

Prints, for each number of connections: requests, errors by status, tokens a second, time to the first event with text and to
the end (p50, p99), and with --pid the processor time of the server's own threads (sockets, reading, writing; not the engine's)
for each streamed token, and its resident memory.
"""
import argparse
import asyncio
import base64
import collections
import json
import os
import pathlib
import random
import statistics
import time
import urllib.parse

TREE = pathlib.Path(__file__).resolve().parents[1]
TICKS = os.sysconf("SC_CLK_TCK")


def data_url(path, kind):
    return f"data:{kind};base64," + base64.b64encode((TREE / "examples" / path).read_bytes()).decode()


def requests(rng):
    """An endless mixture: text, pictures, sound, tools, structured output."""
    picture = {"type": "image_url", "image_url": {"url": data_url("picture.jpg", "image/jpeg")}}
    sound = {"type": "input_audio", "input_audio": {"data": data_url("recording.wav", "audio/wav"), "format": "wav"}}
    tools = json.loads((TREE / "examples/tools.json").read_text())
    schema = {"type": "object", "properties": {"n": {"type": "integer"}, "s": {"type": "string", "maxLength": 20}},
              "required": ["n", "s"], "additionalProperties": False}

    def user(*parts):
        return {"messages": [{"role": "user", "content": list(parts) if len(parts) > 1 else parts[0]}]}

    def words():
        return " ".join(rng.choice("red blue green stone window light seven circle".split()) for _ in range(rng.randint(3, 60)))

    makers = [
        (6, lambda: user("Repeat: " + words())),
        (3, lambda: user("Who are you?")),
        (2, lambda: user(picture, {"type": "text", "text": "Describe the picture."})),
        (2, lambda: user(sound, {"type": "text", "text": "Transcribe the recording."})),
        (2, lambda: {**user("What is the weather in Paris?"), "tools": tools}),
        (1, lambda: {**user("Who are you?"), "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}}),
    ]
    while True:
        make = rng.choices([maker for _, maker in makers], [weight for weight, _ in makers])[0]
        yield {**make(), "stream": True, "stream_options": {"include_usage": True}, "max_tokens": 120, "seed": rng.randrange(1 << 30)}


async def one(host, port, body, results, leave_after):
    """One request; leave_after: events after which the client goes away, None: never."""
    payload = json.dumps(body).encode()
    begin = time.perf_counter()
    first = None
    try:
        reader, writer = await asyncio.open_connection(host, port, limit=1 << 22)
    except OSError as error:
        results["errors"][type(error).__name__] += 1
        return
    try:
        writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
                     % len(payload) + payload)
        await writer.drain()
        status = int((await reader.readline()).split()[1])
        usage = None
        done = False
        async for line in reader:
            if not line.startswith(b"data: "):
                continue
            if line == b"data: [DONE]\n":
                done = True
                continue
            chunk = json.loads(line[6:])
            if "error" in chunk:
                results["errors"]["in the stream"] += 1
                return
            if first is None and chunk["choices"] and chunk["choices"][0]["delta"].get("content") != "":
                first = time.perf_counter() - begin
            results["events"] += 1
            if leave_after is not None:
                leave_after -= 1
                if leave_after < 0:
                    results["left"] += 1
                    return
            usage = chunk.get("usage") or usage
        if status != 200 or not done:
            results["errors"][status if status != 200 else "no end"] += 1
            return
        results["total"].append(time.perf_counter() - begin)
        results["first"].append(first or results["total"][-1])
        results["tokens"] += usage["completion_tokens"]
    except (OSError, asyncio.IncompleteReadError, ValueError, IndexError) as error:
        results["errors"][type(error).__name__] += 1
    finally:
        writer.close()


def thread_seconds(pid):
    """Processor seconds of the server's threads by their names."""
    seconds = collections.Counter()
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        try:
            text = (task / "stat").read_text()
        except OSError:
            continue
        name, fields = text[text.index("(") + 1:text.rindex(")")], text[text.rindex(")") + 2:].split()
        seconds[name] += (int(fields[11]) + int(fields[12])) / TICKS
    return seconds


def resident_mb(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0


async def level(host, port, connections, rounds, seed, pause, leaving):
    results = {"errors": collections.Counter(), "first": [], "total": [], "tokens": 0, "events": 0, "left": 0}

    async def client(number):
        rng = random.Random(seed * 100_003 + number)
        source = requests(rng)
        for _ in range(rounds):
            await one(host, port, next(source), results, rng.randrange(12) if rng.random() < leaving else None)
            await asyncio.sleep(pause * 2 * rng.random())

    begin = time.perf_counter()
    await asyncio.gather(*(client(number) for number in range(connections)))
    results["seconds"] = time.perf_counter() - begin
    return results


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else float("nan")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--connections", default="1,8,64,256")
    parser.add_argument("--requests", type=int, default=4, help="of each connection")
    parser.add_argument("--minutes", type=float, default=0, help="repeat the last level for that long (a soak)")
    parser.add_argument("--pause", type=float, default=0, help="seconds on average between the requests of a connection")
    parser.add_argument("--leave", type=float, default=0, help="share of the clients that go away in the middle of their answer")
    parser.add_argument("--pid", type=int, help="of the server, for processor time and memory")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    place = urllib.parse.urlsplit(arguments.url)
    levels = [int(number) for number in arguments.connections.split(",")]
    print("| connections | requests | left | errors | tokens/s | first text p50, p99 s | end p50, p99 s | own us/token | resident MB |")
    print("|---|---|---|---|---|---|---|---|---|")
    seed, until = arguments.seed, time.time() + arguments.minutes * 60
    while levels:
        before = thread_seconds(arguments.pid) if arguments.pid else collections.Counter()
        results = asyncio.run(level(place.hostname, place.port, levels[0], arguments.requests, seed,
                                    arguments.pause, arguments.leave))
        own = memory = float("nan")
        if arguments.pid:
            spent = thread_seconds(arguments.pid) - before
            own = sum(seconds for name, seconds in spent.items() if name in ("io", "write")) / max(results["tokens"], 1) * 1e6
            memory = resident_mb(arguments.pid)
        errors = ", ".join(f"{count} x {what}" for what, count in results["errors"].items()) or "0"
        print(f"| {levels[0]} | {len(results['total'])} | {results['left']} | {errors} | {results['tokens'] / results['seconds']:.0f} "
              f"| {statistics.median(results['first'] or [0]):.3f}, {percentile(results['first'], 0.99):.3f} "
              f"| {statistics.median(results['total'] or [0]):.3f}, {percentile(results['total'], 0.99):.3f} | {own:.1f} | {memory:.0f} |",
              flush=True)
        seed += 1
        if len(levels) > 1 or time.time() >= until:
            levels.pop(0)


if __name__ == "__main__":
    main()
