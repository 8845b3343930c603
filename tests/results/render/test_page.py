"""The frontier page, as a file: what is embedded, and that nothing embedded can become markup."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from fakes import candidate
from hypothesis import given
from hypothesis import strategies as st

from optimizers.records.candidate import Candidate, Nearest, PredictorPrompt
from optimizers.records.ledger import Ledger
from optimizers.records.prompts import Piece, SentMessage, SentPrompt
from optimizers.records.report import (
    Effect,
    Estimate,
    FrontierReport,
    Importance,
    Point,
    Suspect,
)
from optimizers.records.rows import Call, TrialRow
from optimizers.results.failures import Answer, CandidateErrors, LabelScore, SampleError
from optimizers.results.render.page import Detail, anytime, write_page

HOSTILE = (
    "</script><script>alert(1)</script>",
    "</SCRIPT ><img src=x onerror=alert(1)>",
    "<!--<script>",
    "]]>&lt;&amp;\u2028\u2029\x00\x7f",
    "{{data}}{{policy}}",
    "\\u003cimg\\u003e \" ' ` ${x}",
)
TEXTS = st.one_of(st.sampled_from(HOSTILE), st.text())


class Page(HTMLParser):
    """What an HTML parser makes of a page: its elements, its policy, and the text of its data block."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.policy, self.embedded, self._in_data = "", "", False
        self.text = path.read_bytes().decode("utf-8")
        self.feed(self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes += attrs
        given = dict(attrs)
        self._in_data = given.get("id") == "data"
        if given.get("http-equiv") == "Content-Security-Policy":
            self.policy = given["content"] or ""

    def handle_data(self, data: str) -> None:
        if self._in_data:
            self.embedded += data

    def handle_endtag(self, tag: str) -> None:
        self._in_data = False

    @property
    def data(self) -> dict[str, Any]:
        return json.loads(self.embedded)


def point(text: str = "plain", *, tested: bool = True, cost: float = 1e-6, **changes: Any) -> Point:
    prompt = PredictorPrompt(
        instruction=text, instruction_name=text, demos=({"review": text, text: "x"},), demos_name=text
    )
    made: dict[str, Any] = {
        "candidate": Candidate(model=text, rendering=text, technique=text, predictors={text: prompt}),
        "kind": "base",
        "roles": ("frontier", "best", "default", "reference"),
        "dev": Estimate(mean=0.5, low=0.4, high=0.6, n=20),
        "test": Estimate(mean=0.6, low=0.5, high=0.7, n=100) if tested else None,
        "cost": cost,
        "latency": 0.1,
        "prompt_tokens": 10,
        "completion_tokens": 2,
    }
    return Point(**made | changes)


def report(points: tuple[Point, ...], text: str = "plain", **changes: Any) -> FrontierReport:
    effect = Effect(value=text, effect=0.1, low=0.0, high=0.2, candidates=2)
    made: dict[str, Any] = {
        "study": text,
        "task": text,
        "metric": text,
        "reference": text,
        "margin": 0.02,
        "points": points,
        "hypervolume": 0.5,
        "trials": len(points),
        "rollouts": 10,
        "seconds": 1.0,
        "answer": text,
        "budget": text,
        "notes": (text,),
        "suspects": (
            Suspect(
                example=text,
                inputs={text: text},
                gold={text: text},
                said={text: [text, 1]},
                share=1.0,
                candidates=3,
                models=(text,),
            ),
        ),
        "importance": (
            Importance(
                model=text, dimension=text, share=0.1, low=0.0, high=0.2, baseline=text, effects=(effect,)
            ),
        ),
    }
    return FrontierReport(**made | changes)


def detail(text: str) -> Detail:
    message = SentMessage(role=text, pieces=(Piece(part="input", text=text),))
    return Detail(
        sent=(SentPrompt(predictor=text, messages=(message,)),),
        found=CandidateErrors(
            labels=(LabelScore(field=text, label=text, mean=0.5, n=2),),
            errors=(
                SampleError(
                    inputs={text: text},
                    right={text: text},
                    said=(Answer(by=text, output={text: None}, error=text, score=0),),
                ),
            ),
        ),
    )


def written(tmp_path: Path, *arguments: Any) -> Page:
    path = tmp_path / "frontier.html"
    write_page(arguments[0], path, *arguments[1:])
    return Page(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pages")


@given(text=TEXTS)
def test_any_text_in_any_field_is_data_and_never_markup(text: str, folder: Path) -> None:
    one = point(text)
    plain = written(folder, report((point(),)), {})
    page = written(folder, report((one,), text), {one.candidate.id: detail(text)})

    # The same elements as a page without the text, and the text back unharmed wherever it was put in.
    assert page.elements == plain.elements
    assert page.attributes == plain.attributes
    found = page.data["report"]
    assert [found[name] for name in ("study", "task", "metric", "reference", "answer")] == [text] * 5
    assert found["notes"] == [text]
    assert found["suspects"][0]["said"] == {text: [text, 1]}
    assert found["importance"][0]["effects"][0]["value"] == text
    assert found["points"][0]["candidate"] == json.loads(one.candidate.model_dump_json())
    shown = page.data["details"][one.candidate.id]
    assert shown["sent"] == [{"predictor": text, "messages": [{"role": text, "content": text}]}]
    assert CandidateErrors.model_validate(shown["found"]) == detail(text).found


@pytest.mark.parametrize("text", HOSTILE)
def test_the_embedded_json_has_no_character_that_html_or_a_script_could_read(
    text: str, tmp_path: Path
) -> None:
    page = written(tmp_path, report((point(text),), text), {})
    assert not re.search("[<>&\u2028\u2029]|[^\x20-\x7e]", page.embedded)
    assert page.text.lower().count("</script") == 2
    assert "<img" not in page.text


def test_the_policy_lets_only_the_pages_own_style_and_script_run(tmp_path: Path) -> None:
    page = written(tmp_path, report((point(),)), {})
    rules = dict(rule.split(" ", 1) for rule in page.policy.split("; "))
    assert rules["default-src"] == "'none'"
    for tag, rule in (("style", "style-src"), ("script", "script-src")):
        (content,) = re.findall(f"<{tag}>(.*?)</{tag}>", page.text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"
    # Nothing asks for another file, and no attribute carries style or code that the policy would refuse.
    names = {name for name, _ in page.attributes}
    assert not names & {"src", "href", "srcset", "style"}
    assert not [name for name in names if name.startswith("on")]
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|https?://(?!www\.w3)", page.text
    )


def test_a_page_without_points_without_test_and_with_many_points_is_written(tmp_path: Path) -> None:
    assert written(tmp_path, report(()), {}).data["report"]["points"] == []
    untested = written(tmp_path, report((point(tested=False),)), {}, [(0.0, 0.5), (0.1, 0.6)]).data
    assert untested["report"]["points"][0]["test"] is None
    assert untested["anytime"] == [[0.0, 0.5], [0.1, 0.6]]
    many = tuple(point(f"m{n % 9}", cost=n * 1e-7, latency=n) for n in range(400))
    assert len(written(tmp_path, report(many), {}).data["report"]["points"]) == 400


def test_a_pool_of_demos_is_counted_and_not_repeated_for_every_candidate(tmp_path: Path) -> None:
    pool = tuple({"review": f"row {n}"} for n in range(500))
    prompt = PredictorPrompt(instruction="Decide.", nearest=Nearest(count=4, pool=pool))
    candidate = Candidate(model="m", rendering="r", technique="t", predictors={"p": prompt})
    page = written(tmp_path, report((point(candidate=candidate),)), {})
    near = page.data["report"]["points"][0]["candidate"]["predictors"]["p"]["nearest"]
    assert near == {"count": 4, "pool_size": 500, "pool": [{"review": "row 0"}, {"review": "row 1"}]}
    assert page.data["report"]["points"][0]["id"] == candidate.id


def test_a_number_that_json_lacks_does_not_break_the_page(tmp_path: Path) -> None:
    one = point()
    error = SampleError(inputs={"x": float("nan")}, right={}, said=(Answer(output={}, score=0),))
    unread = Detail(found=CandidateErrors(errors=(error,)))
    page = written(tmp_path, report((one,)), {one.candidate.id: unread, "of no point": unread})
    assert page.data["details"] == {
        one.candidate.id: {
            "sent": [],
            "found": {
                "labels": [],
                "labels_on": "dev",
                "errors": [
                    {
                        "inputs": {"x": None},
                        "right": {},
                        "said": [{"by": "", "output": {}, "error": None, "score": 0.0}],
                    }
                ],
            },
        }
    }


ONE = candidate("local/small", "one")


def trial(number: int, ended: float, quality: float | None) -> TrialRow:
    return TrialRow(
        number=number,
        round=1,
        candidate=ONE.id,
        choices={},
        values=() if quality is None else (quality, 0.001),
        ran=(),
        began=datetime.fromtimestamp(ended - 1),
        ended=datetime.fromtimestamp(ended),
    )


def test_each_rise_of_quality_stands_at_what_was_spent_and_the_curve_ends_at_all_that_was(
    tmp_path: Path,
) -> None:
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        for ended, cost in ((1.0, 0.1), (2.0, 0.2), (5.0, 0.4), (9.0, 0.8)):
            call = Call(
                phase="search",
                candidate=ONE.id,
                model="local/small",
                prompt_tokens=1,
                completion_tokens=1,
                cost=cost,
                started=ended - 0.5,
            )
            ledger.end_call(ledger.start_call(call), ended, state="finished")
        ledger.add_trials(
            [
                trial(0, 1.5, 0.5),
                trial(1, 2.5, 0.4),
                trial(2, 3.0, None),
                trial(3, 6.0, 0.7),
                trial(4, 7.0, 0.7),
            ]
        )
        found = anytime(ledger)
    assert [quality for _, quality in found] == [0.5, 0.7, 0.7]
    assert [round(spent, 9) for spent, _ in found] == [0.1, 0.7, 1.5]
