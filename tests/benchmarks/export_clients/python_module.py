"""Run by exports.py in a Python with nothing installed: the exported module, and a client of ten lines."""

import importlib.util
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from urllib.request import Request, urlopen


def client_at(address):
    """What an exported module asks of a client of OpenAI's kind."""

    def create_at(path):
        def create(extra_body=None, **body):
            content = json.dumps({**body, **(extra_body or {})}).encode()
            with urlopen(Request(address + path, content, {"Content-Type": "application/json"})) as reply:
                return json.loads(reply.read(), object_hook=lambda found: SimpleNamespace(**found))

        return SimpleNamespace(create=create)

    chat = SimpleNamespace(completions=create_at("/chat/completions"))
    return SimpleNamespace(completions=create_at("/completions"), chat=chat)


folder, questions, answers = map(Path, sys.argv[1:])
(path,) = folder.glob("*.py")
spec = importlib.util.spec_from_file_location(path.stem, path)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
client, rows = client_at(os.environ["OPENAI_BASE_URL"]), []
for row in json.loads(questions.read_text(encoding="utf-8"))["rows"]:
    values = []
    for step in row["steps"]:
        run = getattr(module, "run", None) or getattr(module, "run_" + step["predictor"])
        try:
            values.append(run(client, step["inputs"]))
        except ValueError:
            values.append(None)
    rows.append({"values": values})
answers.write_text(json.dumps({"rows": rows}), encoding="utf-8")
