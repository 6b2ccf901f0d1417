"""What the agents' work is, for agent_proxy.py: which tool comes next, with which arguments, and what its result must show
before the work goes on. A script says it in fields that the API has for it, and changes nothing else. Constants of a schema
are no part of a prompt: the model reads what the agent wrote."""
import json
import re

THOUGHT_TOKENS = 8  # enough to see a thought on its way; this model has nothing to think
CLOSING = "add was subtracting; it adds now and all tests pass."


def fixed(schema, arguments):
    """A tool's schema that allows nothing but these arguments. They are those that it requires."""
    assert set(schema["required"]) == set(arguments)
    properties = {name: {**value, "const": arguments[name]} if name in arguments else value
                  for name, value in schema["properties"].items()}
    return {**schema, "properties": properties, "maxProperties": len(arguments)}


def text_format(text):
    """The closing words: a JSON text, for the API has no other fixed ones."""
    return {"type": "json_schema", "name": "text", "schema": {"type": "string", "const": text}}


class CodexScript:
    """Runs the tests, asks the MCP server, edits, runs the tests again, and says what was done."""

    patch = "\n".join(["*** Begin Patch", "*** Update File: calc.py", "@@", " def add(a, b):", "-    return a - b",
                       "+    return a + b", "*** End Patch"])

    def __init__(self, tests):
        self.steps = [("exec_command", {"cmd": tests}, "FAILED (failures="),
                      ("lookup_rule", {"function": "add"}, "add returns the sum of both."),
                      ("apply_patch", None, "Success. Updated the following files"),
                      ("exec_command", {"cmd": tests}, "\\n\\nOK")]

    def __call__(self, path, body):
        if not path.endswith("/responses"):
            return None
        outputs = [item["output"] for item in body["input"] if item["type"].endswith("_output")]
        for (name, _, shown), output in zip(self.steps, outputs):
            assert shown in json.dumps(output), f"{name} answered {output}"
        name, arguments, _ = self.steps[len(outputs)] if len(outputs) < len(self.steps) else (None, None, None)
        changed = {**body, "thinking_token_budget": THOUGHT_TOKENS,
                   "tools": [self.narrowed(tool, name, arguments) for tool in body["tools"]]}
        if name is None:
            return {**changed, "tool_choice": "none", "text": {"format": text_format(CLOSING)}}
        kind = "custom" if arguments is None else "function"
        return {**changed, "tool_choice": {"type": kind, "name": name}, "parallel_tool_calls": False}

    def narrowed(self, tool, name, arguments):
        if tool["type"] == "namespace":
            return {**tool, "tools": [self.narrowed(member, name, arguments) for member in tool["tools"]]}
        if tool["type"] == "custom":
            # A format is told to the model, so it is the same in every request.
            pattern = re.sub(r"[+*().]", r"\\\g<0>", self.patch)
            return {**tool, "format": {"type": "grammar", "syntax": "regex", "definition": pattern}}
        return {**tool, "parameters": fixed(tool["parameters"], arguments)} if tool["name"] == name else tool


class ClaudeScript:
    """Runs the tests, reads, edits, runs the tests again, looks at the difference, and says what was done. Whenever it is
    asked for a summary of the conversation, it gives one."""

    summary = ("<analysis>The tests showed that add subtracts.</analysis>\n<summary>The user wants add in calc.py repaired. "
               "It subtracts where it should add.</summary>")

    def __init__(self, project, tests):
        file = str(project / "calc.py")
        edit = {"file_path": file, "old_string": "a - b", "new_string": "a + b"}
        self.steps = [("Bash", {"command": tests}, "FAILED (failures="),
                      ("Read", {"file_path": file}, "return a - b"),
                      ("Edit", edit, "has been updated successfully"),
                      ("Bash", {"command": tests}, "\\n\\nOK"),
                      ("Bash", {"command": "git diff --stat"}, "calc.py | 2 +-")]
        self.done = 0
        self.summaries = 0

    def __call__(self, path, body):
        if not path.startswith("/v1/messages?"):
            return None
        changed = {**body, "thinking": {"type": "enabled", "budget_tokens": THOUGHT_TOKENS}}
        last = json.dumps(body["messages"][-1])
        if "Your task is to create a detailed summary of the conversation so far" in last:
            self.summaries += 1
            return self.saying(changed, self.summary)
        if self.done > 0:
            name, _, shown = self.steps[self.done - 1]
            assert shown in json.dumps(body["messages"]), f"{name} answered {last[-1000:]}"
        if self.done == len(self.steps):
            return self.saying(changed, CLOSING)
        name, arguments, _ = self.steps[self.done]
        self.done += 1
        tools = [{**tool, "input_schema": fixed(tool["input_schema"], arguments)} if tool["name"] == name else tool
                 for tool in body["tools"]]
        return {**changed, "tools": tools, "tool_choice": {"type": "tool", "name": name, "disable_parallel_tool_use": True}}

    def saying(self, body, text):
        return {**body, "tool_choice": {"type": "none"},
                "output_config": {**body.get("output_config", {}), "format": text_format(text)}}
