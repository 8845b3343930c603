"""Run by exports.py where what reads fine-tuning files is installed: how many rows does each of them take?

TRL: `datasets` loads the file, and TRL tells the format and renders each row. Mistral: the validator of
mistral-common, in its mode for fine-tuning. OpenAI: the rules of its guide and cookbook, written out here.
"""

import json
import sys
from pathlib import Path

from datasets import load_dataset
from mistral_common.exceptions import MistralCommonException
from mistral_common.protocol.instruct.request import ChatCompletionRequest
from mistral_common.protocol.instruct.validator import ValidationMode, get_validator
from mistral_common.tokens.tokenizers.base import TokenizerVersion
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast
from trl.data_utils import apply_chat_template, is_conversational

ROLES = ("system", "user", "assistant")
TEMPLATE = "{% for message in messages %}<{{ message.role }}>{{ message.content }}{% endfor %}"


def trl_takes(row):
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()))
    tokenizer.chat_template = TEMPLATE
    if "messages" not in row:
        return not is_conversational(row) and set(row) == {"prompt", "completion"} and all(row.values())
    text = apply_chat_template(row, tokenizer)["text"] if is_conversational(row) else ""
    return text == "".join(f"<{turn['role']}>{turn['content']}" for turn in row["messages"])


def mistral_takes(row):
    validator = get_validator(TokenizerVersion.v13, ValidationMode.finetuning)
    try:
        validator.validate_request(ChatCompletionRequest(**row))
    except (MistralCommonException, ValueError):
        return False
    return True


def openai_takes(row):
    if set(row) == {"prompt", "completion"}:
        return bool(row["prompt"]) and row["completion"].startswith(" ") and bool(row["completion"].strip())
    turns = row.get("messages", [])
    plain = all(set(turn) == {"role", "content"} and turn["role"] in ROLES for turn in turns)
    return (
        set(row) == {"messages"}
        and plain
        and turns[-1]["role"] == "assistant"
        and all(isinstance(turn["content"], str) and turn["content"].strip() for turn in turns)
    )


folder, _, answers = map(Path, sys.argv[1:])
taken, count = {}, 0
for path in sorted(folder.glob("*.jsonl")):
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    loaded = load_dataset(
        "json", data_files=str(path), split="train", cache_dir=str(answers.parent / "cache")
    )
    readers = {"TRL": (trl_takes, loaded), "OpenAI": (openai_takes, rows if len(rows) > 9 else [])}
    if "messages" in rows[0]:
        readers["Mistral"] = (mistral_takes, rows)
    count += len(rows)
    for name, (takes, held) in readers.items():
        taken[name] = taken.get(name, 0) + sum(map(takes, held))
answers.write_text(json.dumps({"rows": [], "files": count, "taken": taken}), encoding="utf-8")
