"""Which examples demos show, where a predictor reads a part of the program's inputs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import dspy
from fakes import candidate, fill

from optimizers.evaluation.measure import Measurer
from optimizers.records.candidate import Candidate, Nearest, PredictorPrompt
from optimizers.records.ledger import Ledger
from optimizers.search.bootstrap_proposals import BootstrapProposals, teachers
from optimizers.search.demo_leakage import shown
from optimizers.search.model.observations import ObservationStore
from optimizers.search.warm_start import pools_of
from optimizers.task.task import LoadedTask


class Route(dspy.Signature):
    message: str = dspy.InputField()
    team: str = dspy.OutputField()


class Reply(dspy.Signature):
    team: str = dspy.InputField()
    draft: str = dspy.InputField()
    reply: str = dspy.OutputField()


class Polish(dspy.Signature):
    draft: str = dspy.InputField()
    polished: str = dspy.OutputField()


class Desk(dspy.Module):
    def __init__(self) -> None:
        super().__init__()
        self.route, self.reply, self.polish = dspy.Predict(Route), dspy.Predict(Reply), dspy.Predict(Polish)

    def forward(self, message: str, customer: str) -> dspy.Prediction:
        team = self.route(message=message).team
        return self.polish(draft=self.reply(team=team, draft=customer).reply)


SIGNATURES = {"route": Route, "reply": Reply}


def examples(first: int, count: int) -> list[dspy.Example]:
    return [
        dspy.Example(message=f"message {n}", customer=f"customer {n}", team=f"team {n % 2}").with_inputs(
            "message", "customer"
        )
        for n in range(first, first + count)
    ]


def prompted(**demos: list[dict[str, str]]) -> Candidate:
    prompts = {name: PredictorPrompt(instruction="Do.", demos=tuple(own)) for name, own in demos.items()}
    return candidate("local/small", "x").model_copy(update={"predictors": prompts})


def routed(number: int) -> dict[str, str]:
    return {"message": f"message {number}", "team": "whatever"}


def test_an_example_is_shown_by_a_demo_of_a_predictor_that_reads_a_part_of_it() -> None:
    found = shown(SIGNATURES, examples(0, 6), [prompted(route=[routed(2)]), prompted(route=[routed(5)])])
    assert found == [False, False, True, False, False, True]


def test_inputs_that_many_examples_share_do_not_tell() -> None:
    demo = {"team": "team 0", "draft": "d", "reply": "r"}
    assert not any(shown(SIGNATURES, examples(0, 6), [prompted(reply=[demo])]))


def test_no_demo_of_dev_or_test_comes_along_from_another_study(task: LoadedTask) -> None:
    data = replace(task.dataset, train=examples(0, 4), dev=examples(4, 4), test=examples(8, 4))
    desk = replace(task, program=Desk(), dataset=data)
    draft = {"draft": "d", "polished": "p"}
    pools = pools_of([prompted(route=[routed(1), routed(5), routed(9), routed(99)], polish=[draft])], desk)
    assert [demo["message"] for demo in next(iter(pools["route"].demos.values()))] == [
        "message 1",
        "message 99",
    ]
    # Whose it is cannot be told of a demo that holds nothing of the data.
    assert not pools["polish"].demos


def test_who_may_copy_the_answer_of_a_train_example_does_not_teach(task: LoadedTask, tmp_path: Path) -> None:
    near = Nearest(count=2, pool=({"team": "team 0", "draft": "d", "reply": "r"},))
    copying = prompted(reply=[]).model_copy(
        update={"predictors": {"reply": PredictorPrompt(instruction="Do.", nearest=near)}}
    )
    reading = prompted(route=[]).model_copy(
        update={"predictors": {"route": PredictorPrompt(instruction="Do.", nearest=near)}}
    )
    parts = replace(task.dataset, train=examples(0, 4), dev=examples(4, 4), test=examples(8, 4))
    desk = replace(task, program=Desk(), dataset=parts)
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        bootstrap = BootstrapProposals(desk, Measurer(desk, ledger), 0)
        assert bootstrap._may_copy(copying)
        assert not bootstrap._may_copy(reading)
        observations = ObservationStore()
        fill(observations, copying, [1.0] * 10, 1.0)
        fill(observations, reading, [0.5] * 10, 2.0)
        assert [stats.candidate for stats in teachers(observations, bootstrap._may_copy)] == [reading]
        assert teachers(observations)[0].candidate == copying
