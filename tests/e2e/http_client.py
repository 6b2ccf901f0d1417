"""Raw HTTP for the tests of surfaces: what a client library would smooth over shows here."""
import base64
import json
import urllib.error
import urllib.request


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def lines(self):
        """Of newline-delimited JSON: each line is an object, none is empty."""
        assert self.body.endswith(b"\n")
        return [json.loads(line) for line in self.body.decode().split("\n")[:-1]]

    @property
    def events(self):
        """Of a stream of named events: (name, data) pairs; comments are not expected."""
        blocks = self.body.decode().split("\n\n")
        assert blocks.pop() == ""
        events = []
        for block in blocks:
            name, data = block.split("\n")
            assert name.startswith("event: ") and data.startswith("data: "), block
            events.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
        return events


def ask(url, body=None, method=None, headers=None):
    """One request. body: an object, sent as JSON without a word about its type, or bytes as they are."""
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers=headers or {}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=300) as answer:
            return Answer(answer.status, answer.headers, answer.read())
    except urllib.error.HTTPError as error:
        return Answer(error.code, error.headers, error.read())


def base64_of(path):
    return base64.b64encode(path.read_bytes()).decode()
