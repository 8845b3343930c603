"""Run by exports.py where Prompty's runtime is installed: it renders, sends and reads each row."""

import json
import sys
from pathlib import Path

import prompty

folder, questions, answers = map(Path, sys.argv[1:])
rows = []
for row in json.loads(questions.read_text(encoding="utf-8"))["rows"]:
    replies = [
        prompty.invoke(str(folder / f"{step['predictor']}.prompty"), inputs=step["inputs"])
        for step in row["steps"]
    ]
    rows.append({"replies": replies})
answers.write_text(json.dumps({"rows": rows}), encoding="utf-8")
