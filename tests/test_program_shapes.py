"""Any DSPy module is optimized as it is: agents, loops, retrieval, lists of predictors, parallel calls."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import dspy
import pytest
from dspy.lm15 import Message, Request, Response, TransportError, Usage
from fakes import LARGE, SMALL, FakeEngine, Untracked

from optimizers import Parity
from optimizers.evaluation.rollouts import run_rollouts
from optimizers.export.targets.dspy_program import load_program
from optimizers.models.sampling import Sampling
from optimizers.prompting.compile import CompiledProgram, compile_candidate
from optimizers.prompting.proposals.bootstrap import bootstrapped
from optimizers.prompting.renderings import RENDERINGS, rendering
from optimizers.prompting.renderings.constraints import text_grammar
from optimizers.records.candidate import Candidate, PredictorPrompt
from optimizers.records.rows import Rollout
from optimizers.task.signature_fields import fields_of

AGES = {f"person{index}": str(20 + index) for index in range(90)}
ROWS = [dspy.Example(question=f"How old is {n}?", answer=a).with_inputs("question") for n, a in AGES.items()]
LABELS = {
    "Reasoning": "reasoning",
    "Rationale": "rationale",
    "Next thought": "next_thought",
    "Next tool name": "next_tool_name",
    "Next tool args": "next_tool_args",
    "Search query": "search_query",
    "Answer": "answer",
}


def age_of(name: str) -> str:
    """Looks up how old someone is."""
    return f"{name} is {AGES[name]}"


pytestmark = pytest.mark.filterwarnings("ignore:The 'prefix' argument:DeprecationWarning")
"""MultiChainComparison's own."""


class Agent(FakeEngine):
    """Looks a person up, then answers with the age that its prompt holds; unread where told so.

    It continues text, and writes the fields that the cue and the grammar ask for.
    """

    def __init__(self, skill: float = 1.0, per_demo: float = 0.0) -> None:
        super().__init__(skill, per_demo)
        self.unread: Callable[[str], bool] = lambda text: False

    def __deepcopy__(self, known: dict[int, Any]) -> Agent:
        return self  # a copy is the same engine, as with weights in the process

    def complete(self, request: Request) -> Response:
        self.requests.append(request)
        self.fail(request)
        text = "\n".join(message.text or "" for message in request.messages)
        last = text.rsplit("\n\n", 1)[-1]
        reply = "" if self.unread(last) else self.lines(request, last)
        usage = Usage(input_tokens=len(text) // 4, output_tokens=4, cache_read_tokens=0)
        message = Message.assistant(reply)
        return Response(id=None, model=request.model, message=message, finish_reason="stop", usage=usage)

    def lines(self, request: Request, last: str) -> str:
        cue = last.rsplit("\n", 1)[-1].removesuffix(":")
        grammar = (request.config.extensions or {}).get("grammar") or ""
        values, asked = self.values(last), re.findall(r'"\\n([A-Z][a-z ]+): "', grammar)
        if cue == "Reasoning" and not asked:
            asked = ["Search query"] if "Trajectory:" not in last and "Context:" in last else ["Answer"]
        return "\n".join([values.get(cue, "fine"), *(f"{a}: {values.get(a, 'fine')}" for a in asked)])

    def values(self, last: str) -> dict[str, str]:
        who = re.findall(r"person\d+", last)[0]
        known = f"{who} is {AGES[who]}" in last
        said = {"next_tool_name": "finish" if known else "age_of", "search_query": who}
        said |= {"next_tool_args": "{}" if known else json.dumps({"name": who})}
        said |= {"answer": AGES[who] if known else "unknown"}
        return {label: said.get(field, "fine") for label, field in LABELS.items()}


class Hops(dspy.Module):
    """Retrieves up to a number of times, then answers; its last predictor is not the one that answers."""

    def __init__(self) -> None:
        super().__init__()
        self.answer = dspy.Predict("context: list[str], question -> answer")
        self.query = dspy.Predict("context: list[str], question -> search_query")

    def forward(self, question: str, hops: int = 2) -> dspy.Prediction:
        found: list[str] = []
        for _ in range(hops):
            found.append(age_of(self.query(context=found, question=question).search_query))
        return self.answer(context=found, question=question)


class Listed(dspy.Module):
    def __init__(self) -> None:
        super().__init__()
        self.ask = [dspy.Predict("question -> search_query"), dspy.Predict("question -> search_query")]
        self.say = {"the answer": dspy.Predict("context, question -> answer")}

    def queries(self, question: str) -> list[str]:
        return [ask(question=question).search_query for ask in self.ask]

    def forward(self, question: str) -> dspy.Prediction:
        found = "; ".join(map(age_of, self.queries(question)))
        return self.say["the answer"](context=found, question=question)


class SideBySide(Listed):
    def queries(self, question: str) -> list[str]:
        several = dspy.Parallel(num_threads=2, disable_progress_bar=True)
        return [found.search_query for found in several([(ask, {"question": question}) for ask in self.ask])]


class Awaited(Listed):
    def queries(self, question: str) -> list[str]:
        async def every() -> list[Any]:
            return await asyncio.gather(*(ask.acall(question=question) for ask in self.ask))

        return [found.search_query for found in asyncio.run(every())]


class MadeOnTheWay(Listed):
    """Makes a predictor as it runs, which nobody can prepare."""

    def queries(self, question: str) -> list[str]:
        return [dspy.Predict("question -> search_query")(question=question).search_query]


class Compared(dspy.Module):
    def __init__(self) -> None:
        super().__init__()
        self.draft = dspy.ChainOfThought("context, question -> answer")
        self.compare = dspy.MultiChainComparison("context, question -> answer", M=2)

    def forward(self, question: str) -> dspy.Prediction:
        context = age_of(re.findall(r"person\d+", question)[0])
        drafts = [self.draft(context=context, question=question) for _ in range(2)]
        return self.compare(drafts, context=context, question=question)


def agent() -> dspy.Module:
    return dspy.ReAct("question -> answer", tools=[age_of], max_iters=3)


def is_number(inputs: dict[str, Any], prediction: dspy.Prediction) -> float:
    return float(prediction.answer.isdigit())


SHAPES: dict[str, Callable[[], dspy.Module]] = {
    "ReAct": agent,
    "loop": Hops,
    "list and dict": Listed,
    "Parallel": SideBySide,
    "asyncio": Awaited,
    "made on the way": MadeOnTheWay,
    "MultiChainComparison": Compared,
    "BestOfN of an agent": lambda: dspy.BestOfN(agent(), N=2, reward_fn=is_number, threshold=1.0),
    "Refine": lambda: dspy.Refine(Listed(), N=2, reward_fn=is_number, threshold=1.0),
}
CALLS = {"ReAct": 3, "loop": 3, "made on the way": 2, "BestOfN of an agent": 3}


def right(example: dspy.Example, prediction: Any, trace: Any = None) -> float:
    return float(example.answer == prediction.answer)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Agent:
    made = Agent()
    monkeypatch.setattr("optimizers.models.lm.llama_engine", lambda model: made)
    monkeypatch.setattr("optimizers.search.study.llama_engine", lambda model: made)
    return made


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Studies without MLflow, pictures and drawn starts, which have tests of their own."""

    monkeypatch.setattr("optimizers.search.study.StudyRun.open", lambda manifest, folder: Untracked())
    monkeypatch.setattr("optimizers.search.outcome.draw_frontier", lambda report, path: None)
    monkeypatch.setattr("optimizers.search.space.initial_design.DESIGN", 0)


def compiled(program: dspy.Module, technique: str = "direct", tokens: int = 64) -> CompiledProgram:
    """A program on plain prompts, each predictor with a reply limit of its own."""
    names = [name for name, _ in program.named_predictors()]
    plain = Candidate(
        model=SMALL.name,
        rendering="completion",
        technique=technique,
        sampling=Sampling(max_tokens=tokens),
        predictors={name: PredictorPrompt(instruction="Do it.") for name in names},
    )
    serving = plain.serving(names[0])
    apart = serving.model_copy(update={"sampling": Sampling(max_tokens=tokens + 1)})
    first = plain.predictors[names[0]].model_copy(update={"serving": apart})
    changed = plain.model_copy(update={"predictors": {**plain.predictors, names[0]: first}})
    candidate = Candidate.model_validate(changed.model_dump()) if len(names) > 1 else plain
    return compile_candidate(program, candidate, (SMALL, LARGE))


def run(program: dspy.Module, rows: list[dspy.Example], split: Any = "dev") -> list[Rollout]:
    return run_rollouts(compiled(program), rows, model=SMALL, metric=right, split=split)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_program_runs_as_compiled_and_all_its_calls_count(shape: str, engine: Agent) -> None:
    for rollout in run(SHAPES[shape](), ROWS[:2]):
        assert (rollout.score, rollout.failure) == (1.0, None), rollout.error
        assert rollout.calls == CALLS.get(shape, 3)
    assert len(engine.requests) == 2 * CALLS.get(shape, 3)


@pytest.mark.parametrize("shape", ["ReAct", "list and dict"])
def test_a_study_ends_and_its_export_answers_the_same(
    shape: str, engine: Agent, bare: None, tmp_path: Path
) -> None:
    parity = Parity(right, models=[SMALL], budget=4, runs=tmp_path / "runs", quiet=True)
    best = parity.compile(SHAPES[shape](), trainset=ROWS)
    assert best.point.test is not None
    assert best.point.test.mean == 1.0
    best.export(tmp_path / "out")
    again = load_program(tmp_path / "out", SHAPES[shape]())
    assert again(question=ROWS[5].question).answer == ROWS[5].answer


def test_an_exported_program_may_await_its_predictors(engine: Agent) -> None:
    module = compile_candidate(Awaited(), compiled(Awaited()).candidate, (SMALL, LARGE), measured=False)
    assert module(ROWS[3].inputs().toDict()).answer == ROWS[3].answer


@pytest.mark.parametrize(
    ("program", "inputs", "outputs"),
    [
        (agent, ("question",), ("answer",)),
        (SHAPES["BestOfN of an agent"], ("question",), ("answer",)),
        (Hops, ("question",), ("answer",)),
        (Compared, ("question",), ("answer",)),
        (lambda: dspy.ChainOfThought("question -> answer"), ("question",), ("answer",)),
    ],
)
def test_the_data_needs_what_the_program_reads_and_answers(
    program: Callable[[], dspy.Module], inputs: tuple[str, ...], outputs: tuple[str, ...]
) -> None:
    assert fields_of(program(), ROWS)[:2] == (inputs, outputs)


def test_a_parameter_with_a_default_is_an_input_where_the_data_has_it() -> None:
    rows = [{"question": "q", "answer": "a", "hops": 1}]
    assert fields_of(Hops(), rows)[0] == ("question", "hops")


def test_what_the_data_lacks_is_asked_for_by_name() -> None:
    assert fields_of(Listed(), [{"question": "q"}])[1] == ("answer",)


@pytest.mark.parametrize("name", RENDERINGS)
def test_every_rendering_writes_a_trajectory_and_reads_a_tool_call(name: str) -> None:
    program = agent()
    with dspy.context(adapter=rendering(name)):
        told = program._format_trajectory({"thought_0": "look", "tool_args_0": {"name": "person1"}})
    assert "look" in told
    assert '"person1"' in told
    signature = program.react.signature
    inputs = {"question": "How old is person1?", "trajectory": told}
    demo = {"next_thought": "look", "next_tool_name": "age_of", "next_tool_args": {"name": "person1"}}
    prompt = rendering(name).prompt(signature, [inputs | demo], inputs)
    assert told.split("\n", 1)[0] in prompt.messages[-1][1]
    replies = {
        "json_object": json.dumps(demo),
        "dspy_chat": "\n".join(
            f"[[ ## {field} ## ]]\n{value if isinstance(value, str) else json.dumps(value)}"
            for field, value in demo.items()
        ),
    }
    lines = 'Next thought: look\nNext tool name: age_of\nNext tool args: {"name": "person1"}'
    assert rendering(name).parse(signature, replies.get(name, lines)) == demo


def test_a_tool_call_is_held_to_a_tool_and_an_object() -> None:
    grammar = text_grammar(agent().react.signature, cued=True)
    assert grammar is not None
    assert 'value1 ::= "age_of" | "finish"' in grammar
    assert "value2 ::= object" in grammar
    assert text_grammar(dspy.Signature("question -> answer: dict[str, int]"), cued=True) is None


def test_a_demo_of_an_agent_holds_its_trajectory(engine: Agent) -> None:
    rows = run(agent(), ROWS[:8], "train")
    demos = bootstrapped(rows, "react", threshold=1.0, seed=0)
    assert len(demos) == 8
    assert {demo["next_tool_name"] for demo in demos} == {"age_of", "finish"}
    assert all((demo["next_tool_name"] == "finish") == bool(demo["trajectory"]) for demo in demos)


def test_the_call_whose_reply_was_not_read_is_the_one_that_failed(engine: Agent) -> None:
    engine.unread = lambda last: "Next thought:" in last and "Observation" in last
    (row,) = run(agent(), ROWS[:1], "train")
    assert (row.score, row.parsed, row.calls) == (0.0, False, 2)
    assert row.trace is not None
    assert [(step.predictor, bool(step.outputs)) for step in row.trace.steps] == [
        ("react", True),
        ("react", False),
    ]
    assert "person0 is 20" in row.trace.steps[-1].inputs["trajectory"]


def test_a_tool_that_raises_is_for_the_agent_to_read(engine: Agent) -> None:
    def broken(name: str) -> str:
        raise OSError("no such shelf")

    program = dspy.ReAct("question -> answer", tools=[dspy.Tool(broken, name="age_of")], max_iters=2)
    (row,) = run(program, ROWS[:1])
    assert (row.score, row.failure, row.calls) == (0.0, None, 3)
    assert "no such shelf" in str(engine.requests[-1].messages)


@pytest.mark.parametrize("shape", ["Parallel", "Refine", "BestOfN of an agent"])
def test_replies_that_nobody_could_read_are_wrong_answers_though_the_program_caught_that(
    shape: str, engine: Agent
) -> None:
    engine.unread = lambda last: True
    (row,) = run(SHAPES[shape](), ROWS[:1])
    assert (row.score, row.failure, row.parsed) == (0.0, None, False)


@pytest.mark.parametrize("shape", ["Parallel", "BestOfN of an agent"])
def test_a_server_that_is_down_is_no_wrong_answer_though_the_program_caught_that(
    shape: str, engine: Agent
) -> None:
    def down(request: Request) -> None:
        raise TransportError("connection refused")

    engine.fail = down
    (row,) = run(SHAPES[shape](), ROWS[:1])
    assert (row.score, row.failure) == (None, "server")


class Route(dspy.Signature):
    """Say who answers."""

    question: str = dspy.InputField()
    team: Literal["sales", "support"] = dspy.OutputField()


def test_the_labels_are_those_of_the_part_that_answers() -> None:
    class Late(dspy.Module):
        def __init__(self) -> None:
            super().__init__()
            self.route = dspy.ChainOfThought(Route)
            self.explain = dspy.Predict("question, team -> explanation")

        def forward(self, **inputs: Any) -> dspy.Prediction:
            return self.route(**inputs)

    rows = [{"question": "q", "team": "sales"}]
    assert fields_of(Late(), rows) == (("question",), ("team",), {"team": ("sales", "support")})
