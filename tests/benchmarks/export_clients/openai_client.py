"""Run by exports.py where the `openai` client is installed: fill templates in as the manual says, and send.

Written from the manual alone: `{{field}}` is replaced once, and never inside a replaced value. With a
proxy's templates the same is sent to the proxy.
"""

import json
import re
import sys
from pathlib import Path

from openai import OpenAI

NAMED = "model max_tokens max_completion_tokens temperature top_p stop seed response_format reasoning_effort"


def filled(template, inputs):
    def text(found):
        if found[1] not in template["inputs"]["fields"]:
            return found[0]
        value = inputs[found[1]]
        value = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        keep = template["inputs"]["line_breaks"] == "keep"
        return value if keep else " ".join(line.strip() for line in value.splitlines() if line.strip())

    return [
        {**message, "content": re.sub(r"\{\{(\w+)\}\}", text, message["content"])}
        for message in template["messages"]
    ]


folder, questions, answers = map(Path, sys.argv[1:])
client, rows = OpenAI(max_retries=0), []
for row in json.loads(questions.read_text(encoding="utf-8"))["rows"]:
    replies = []
    for step in row["steps"]:
        template = json.loads((folder / f"{step['predictor']}.json").read_text(encoding="utf-8"))
        messages, settings = filled(template, step["inputs"]), template["parameters"]
        known = {name: value for name, value in settings.items() if name in NAMED.split()}
        known["extra_body"] = {name: value for name, value in settings.items() if name not in known}
        if template["endpoint"] == "/completions":
            reply = client.completions.create(prompt=messages[0]["content"], **known)
            replies.append(reply.choices[0].text)
        else:
            reply = client.chat.completions.create(messages=messages, **known)
            replies.append(reply.choices[0].message.content)
    rows.append({"replies": replies})
answers.write_text(json.dumps({"rows": rows}), encoding="utf-8")
