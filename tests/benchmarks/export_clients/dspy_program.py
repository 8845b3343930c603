"""Run by exports.py where the wheel alone is installed: load the export as the manual says, run each row."""

import json
import sys
from pathlib import Path
from unittest.mock import patch

from dspy.adapters.utils import serialize_for_json
from dspy.utils.exceptions import AdapterParseError

from optimizers.export import load_program
from optimizers.models import llama

folder, questions, answers = map(Path, sys.argv[1:])
asked = json.loads(questions.read_text(encoding="utf-8"))
program = load_program(folder)
send, bodies, rows = llama._send, [], []
with patch.object(llama, "_send", lambda server, body: bodies.append(body) or send(server, body)):
    for row in asked["rows"]:
        bodies.clear()
        try:
            found = program(**row["inputs"])
            answer = {name: serialize_for_json(found.get(name)) for name in asked["outputs"]}
        except AdapterParseError:
            answer = None
        rows.append({"answer": answer, "bodies": list(bodies)})
answers.write_text(json.dumps({"rows": rows}), encoding="utf-8")
