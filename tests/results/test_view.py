"""What the end of a run says: the answer, the scores, what each price buys, and commands that run."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from fakes import LARGE, SMALL, candidate, manifest, rollouts
from rich.console import Console

from optimizers.models.model import Price
from optimizers.records.candidate import Candidate, PredictorPrompt
from optimizers.records.prediction import Amount, Spend
from optimizers.records.report import Estimate, FrontierReport, Point, Role
from optimizers.results.frontier import build_report
from optimizers.results.headline import headline
from optimizers.results.render.terminal import show_result
from optimizers.results.view import NOTHING_GAINED, ResultView, result_view
from optimizers.results.wording import briefs_of, examples_in, labels_of, money, to_settle

MINE, BEST, PLAIN = (
    candidate(SMALL.name, "found"),
    candidate(LARGE.name, "found"),
    candidate(SMALL.name, "own"),
)


def right(share: float, n: int = 400) -> list[float]:
    good = round(share * n)
    return [1.0] * good + [0.0] * (n - good)


def made(
    scores: list[tuple[Candidate, list[float]]],
    roles: dict[str, tuple[Role, ...]],
    unread: bool = False,
    **changes: Any,
) -> FrontierReport:
    rows = []
    for of, known in scores:
        cost = 1e-6 if of.model == SMALL.name else 1e-5
        rows += [row for split in ("dev", "test") for row in rollouts(of, known, cost=cost, split=split)]
    if unread:
        rows = [row.model_copy(update={"parsed": row.candidate != PLAIN.id}) for row in rows]
    found = {of.id: of for of, _ in scores}
    return build_report(manifest(**changes), found, rows, roles=roles, trials=2, seconds=1.0)


def study(small: float, large: float = 0.95, plain: float = 0.0, **how: Any) -> FrontierReport:
    """Two models; the small one's plain prompt too."""
    scores = [(MINE, right(small)), (BEST, right(large)), (PLAIN, right(plain, 100))]
    roles: dict[str, tuple[Role, ...]] = {
        MINE.id: ("frontier", "best"),
        BEST.id: ("frontier", "best", "reference", "default"),
        PLAIN.id: ("default",),
    }
    return made(scores, roles, **how)


def shown(view: ResultView, width: int = 80) -> str:
    written = StringIO()
    show_result(view, Console(file=written, width=width, color_system=None))
    return written.getvalue()


@pytest.mark.parametrize(("small", "answer"), [(0.96, "YES"), (0.8, "NO"), (0.95, "NOT SETTLED")])
def test_the_answer_is_one_word_to_a_question_that_names_both_models(small: float, answer: str) -> None:
    report = study(small, large=0.95)
    if answer == "NOT SETTLED":
        report = made(
            [(MINE, right(0.95, 60)), (BEST, right(0.95, 60))],
            {MINE.id: ("frontier", "best"), BEST.id: ("frontier", "best", "reference")},
        )
    first = shown(result_view(report)).splitlines()[0]
    assert first == f"reviews: can small replace large?   {answer}"
    assert report.answer == headline(report).sentence


def test_a_match_of_another_point_answers_yes_where_the_nominee_does_not_match() -> None:
    cheap = candidate(SMALL.name, "cheap")
    report = made(
        [(MINE, right(0.7)), (BEST, right(0.95)), (cheap, right(0.96))],
        {MINE.id: ("best",), BEST.id: ("frontier", "best", "reference"), cheap.id: ("frontier",)},
    )
    assert report.matched()
    found = headline(report)
    assert (found.answer, found.point) == ("YES", cheap.id)


def test_counts_stand_for_scores_of_0_and_1_and_means_for_graded_ones() -> None:
    said = shown(result_view(study(0.8)))
    assert "320 right (76 to 84%)" in said
    assert "0% -> 80%" in said
    graded = made(
        [(MINE, [0.25, 0.75, 0.5] * 40), (BEST, [0.9] * 120)],
        {MINE.id: ("frontier", "best"), BEST.id: ("frontier", "best", "reference")},
    )
    said = shown(result_view(graded))
    assert "0.500 (0." in said
    assert "right" not in said
    assert "gap    40.0 points" in said


def test_records_that_do_not_say_are_taken_for_0_and_1_where_every_sum_is_whole() -> None:
    old = study(0.8).model_copy(update={"binary": None})
    assert "320 right" in shown(result_view(old))
    odd = Estimate(mean=0.123, low=0.1, high=0.2, n=400)
    points = tuple(p.model_copy(update={"test": odd}) if p.candidate == MINE else p for p in old.points)
    assert "320 right" not in shown(result_view(old.model_copy(update={"points": points})))


def test_a_plain_prompt_whose_replies_could_not_be_read_says_so() -> None:
    assert "no plain reply kept the output format" in shown(result_view(study(0.8, unread=True)))
    assert "output format" not in shown(result_view(study(0.8)))


def test_that_prompting_gained_nothing_is_said_only_where_it_was_measured() -> None:
    report = study(0.8, plain=1.0)  # the best is right on all that the plain prompt ran
    assert NOTHING_GAINED in shown(result_view(report))
    assert NOTHING_GAINED not in shown(result_view(study(0.8)))
    old = tuple(point.model_copy(update={"gain": None}) for point in report.points)
    assert NOTHING_GAINED not in shown(result_view(report.model_copy(update={"points": old})))


def test_a_study_of_one_model_asks_how_good_it_is() -> None:
    report = made([(BEST, right(0.9))], {BEST.id: ("frontier", "best", "reference", "default")})
    said = shown(result_view(report, manifest()))
    assert said.startswith("reviews: how good is large with the best prompt?\n")
    assert "The best prompt of large: 360 of 400 (87 to 93%) right on the sealed test." in said
    assert "gap" not in said
    assert "Do:" not in said


def test_without_a_tested_reference_nothing_is_compared() -> None:
    report = made([(MINE, right(0.9))], {MINE.id: ("frontier", "best")})
    assert "large was not tested, so nothing is compared" in shown(result_view(report))


def test_a_best_that_is_not_on_the_frontier_has_a_row_without_a_number() -> None:
    report = made(
        [(MINE, right(0.8)), (BEST, right(0.95))],
        {MINE.id: ("best",), BEST.id: ("frontier", "best", "reference")},
        objectives=("quality",),
    )
    rows = result_view(report).prices.table
    assert rows is not None
    assert [row[0] for row in rows.rows] == ["-", "1"]


def test_several_models_each_have_their_gap_and_verdict() -> None:
    third = candidate("local/tiny", "found")
    tiny = SMALL.model_copy(update={"name": "local/tiny"})
    report = made(
        [(MINE, right(0.96)), (BEST, right(0.95)), (third, right(0.5))],
        {
            MINE.id: ("frontier", "best"),
            BEST.id: ("frontier", "best", "reference"),
            third.id: ("frontier", "best"),
        },
        models=(SMALL, LARGE, tiny),
    )
    said = shown(result_view(report), width=120)
    assert "gap of small" in said
    assert "you allowed 2: matches" in said
    assert "you allowed 2: worse by more than 2 points" in said


@pytest.mark.parametrize(
    ("program", "commands"),
    [("programs/a.py", ["export", "report", "advise"]), ("a.py::R", ["report", "advise"])],
)
def test_only_commands_that_run_are_named(program: str, commands: list[str]) -> None:
    view = result_view(study(0.8), manifest(program=program), runs="/my runs")
    named = [said for name, said in view.closing if name == "Next"]
    assert [command.split()[1] for command in named] == commands
    assert all("--runs '/my runs'" in command for command in named)


def test_a_price_that_is_assumed_is_marked_and_another_is_not() -> None:
    assumed = SMALL.model_copy(update={"price": Price(input=1, output=2, source="by size: 1 in, 2 out")})
    said = shown(result_view(study(0.8), manifest(models=(assumed, LARGE))))
    assert "price assumed from model size" in said
    assert "per 1,000 *" in said
    declared = SMALL.model_copy(update={"price": Price(input=1, output=2, source="declared")})
    priced = LARGE.model_copy(update={"price": Price(input=1, output=2, source="declared")})
    assert "*" not in shown(result_view(study(0.8), manifest(models=(declared, priced))))


def test_what_was_spent_is_one_fact_with_its_phases_and_what_failed() -> None:
    spend = Spend(
        total=Amount(calls=1200, tokens=9, dollars=0.5, seconds=65),
        by_phase={"test": 700, "search": 500},
        by_state={"finished": 1198, "failed": 2},
    )
    (said,) = [
        said
        for name, said in result_view(study(0.8).model_copy(update={"spend": spend})).closing
        if name == "Spent"
    ]
    assert said == "1,200 calls, $0.50, 1m05s: search 500, sealed test 700; 2 failed without an answer"


def test_names_and_prompts_are_short_and_still_told_apart() -> None:
    names = labels_of(["a/smollm2-135m-instruct", "b/gemma-3-270m", "b/gemma-3-1b", "c/x", "d/x"])
    assert names["c/x"] == "c/x"
    briefs = briefs_of(names)
    assert briefs["a/smollm2-135m-instruct"] == "smollm2"
    assert briefs["b/gemma-3-270m"] == "gemma-3-270m"
    assert briefs_of(labels_of(["gpt-4o", "gpt-4o-mini"])) == {
        "gpt-4o": "gpt-4o",
        "gpt-4o-mini": "gpt-4o-mini",
    }
    assert briefs_of({"only-one": "only-one"}) == {"only-one": "only-one"}
    prompt = PredictorPrompt(instruction="Do.", demos=({"a": 1},))
    two = MINE.model_copy(update={"predictors": {"q": PredictorPrompt(instruction="Do."), "r": prompt}})
    assert examples_in(two) == "0 + 1 examples"
    assert two.summary == "completion, direct; q: instruction own, demos none; r: instruction own, demos none"


def test_numbers_that_cannot_be_reached_are_not_asked_for() -> None:
    found = next(point.comparison for point in study(0.8).points if point.comparison)
    assert to_settle(found.model_copy(update={"more": 800})) == "About 800 more test rows would settle it."
    assert "widen the margin" in to_settle(found.model_copy(update={"more": 23_083}))


@pytest.mark.parametrize(
    ("dollars", "said"), [(0, "0.00"), (0.00048, "0.00048"), (0.0000887, "0.000089"), (12.3, "12.30")]
)
def test_small_amounts_keep_two_digits(dollars: float, said: str) -> None:
    assert money(dollars) == said


@pytest.mark.parametrize("width", [80, 120])
def test_names_are_whole_and_hostile_text_tells_the_terminal_nothing(width: int) -> None:
    report = study(0.8).model_copy(update={"task": "\x1b]0;title\x07[red]x"})
    said = shown(result_view(report, manifest()), width)
    assert "\x1b" not in said
    assert "[red]x" in said
    assert "…" not in said
    assert max(len(line.rstrip()) for line in said.splitlines() if not line.startswith(" " * 7)) <= width


def test_an_untested_study_says_so() -> None:
    report = study(0.8)
    untested: tuple[Point, ...] = tuple(p.model_copy(update={"test": None}) for p in report.points)
    said = shown(result_view(report.model_copy(update={"points": untested}), manifest()))
    assert "Nothing has been measured on the sealed test." in said
    assert "advise" not in said
