"""A Model Context Protocol server over standard input and output with one tool, and a record of its calls in the file that
is its argument."""
import json
import sys

TOOL = {"name": "lookup_rule", "description": "Says what a function of this project has to do.",
        "inputSchema": {"type": "object", "properties": {"function": {"type": "string"}}, "required": ["function"]}}


def answer(method, params, record):
    if method == "initialize":
        return {"protocolVersion": params["protocolVersion"], "capabilities": {"tools": {}},
                "serverInfo": {"name": "rules", "version": "1"}}
    if method == "tools/list":
        return {"tools": [TOOL]}
    if method == "tools/call":
        with open(record, "a") as file:
            print(json.dumps(params["arguments"]), file=file)
        return {"content": [{"type": "text", "text": f"{params['arguments']['function']} returns the sum of both."}]}
    return {}


for line in sys.stdin:
    message = json.loads(line)
    if "id" in message:
        result = answer(message["method"], message.get("params", {}), sys.argv[1])
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)
