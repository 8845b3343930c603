"""Run by exports.py where a model's own requirements are installed: MLflow formats the registered prompts."""

import json
import sys
from pathlib import Path

import mlflow

folder, questions, answers = map(Path, sys.argv[1:])
record = json.loads((folder / "mlflow.json").read_text(encoding="utf-8"))
prompts = {each["predictor"]: mlflow.genai.load_prompt(each["alias"]) for each in record["prompts"]}
rows = []
for row in json.loads(questions.read_text(encoding="utf-8"))["rows"]:
    known = [step for step in row["steps"] if step["predictor"] in prompts]
    rows.append({"prompts": [prompts[step["predictor"]].format(**step["inputs"]) for step in known]})
answers.write_text(json.dumps({"rows": rows}), encoding="utf-8")
