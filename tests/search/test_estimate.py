from __future__ import annotations

from pathlib import Path

import pytest
from fakes import FakeEngine

from optimizers.cli.live import run_in_view
from optimizers.records.budget import Budget, Use, parse_budget
from optimizers.search.estimate import held_back, predict, shortage_note
from optimizers.search.manifest import open_folder
from optimizers.search.space.search_space import search_space
from optimizers.task.task import LoadedTask


def test_where_quality_alone_is_sought_only_each_models_best_is_tested(task: LoadedTask) -> None:
    space, limits = search_space(task), Budget(calls=4000)
    both, alone = (
        predict(task, space, limits, objectives=sought) for sought in (("quality", "cost"), ("quality",))
    )
    assert alone.test.calls < 0.7 * both.test.calls
    assert held_back(alone, limits).calls < held_back(both, limits).calls
    assert alone.trials > both.trials


def test_a_prediction_grows_with_the_budget_and_calls_no_model(
    task: LoadedTask, engines: dict[str, FakeEngine]
) -> None:
    space = search_space(task)
    few, many = (predict(task, space, Budget(trials=trials)) for trials in (10, 100))
    assert few.trials == 10
    assert 0 < few.total.calls < many.total.calls
    assert few.total.dollars < many.total.dollars
    assert few.test == many.test
    assert not any(engine.requests for engine in engines.values())


def test_a_prediction_stays_within_every_limit(task: LoadedTask, engines: dict[str, FakeEngine]) -> None:
    limits = Budget(calls=900, tokens=50_000, dollars=0.002, seconds=60)
    prediction = predict(task, search_space(task), limits)
    total = prediction.total
    assert Use(total.calls, total.tokens, total.dollars, total.seconds).beyond(limits.most) is None
    assert prediction.trials > 0


def test_a_budget_too_small_for_the_whole_test_says_how_much_of_it_fits(
    task: LoadedTask, engines: dict[str, FakeEngine]
) -> None:
    space = search_space(task)
    whole = predict(task, space, Budget(trials=20))
    assert whole.tested == whole.test_rows
    tight = predict(task, space, Budget(calls=round(whole.test.calls)))
    assert tight.test.calls < tight.total.calls
    assert 0.4 * whole.test_rows < (tight.tested or 0) < 0.6 * whole.test_rows
    assert tight.detectable > whole.detectable


def test_the_test_gets_what_it_needs_and_never_more_than_half(
    task: LoadedTask, engines: dict[str, FakeEngine]
) -> None:
    space = search_space(task)
    ample, tight = Budget(calls=1_000_000, dollars=5), Budget(calls=100)
    predicted = predict(task, space, ample)
    assert held_back(predicted, ample).calls > predicted.test.calls
    assert held_back(predicted, tight).calls == 50
    assert held_back(predicted, Budget(trials=10)) == Use()


@pytest.mark.parametrize("budget", ["1calls", "300calls", "0.0001usd", "20ktok", "200,300calls"])
def test_a_budget_too_small_to_search_says_what_it_leaves_and_what_is_enough(
    task: LoadedTask, engines: dict[str, FakeEngine], budget: str
) -> None:
    space, limits = search_space(task), parse_budget([budget])
    short = predict(task, space, limits).shortage
    assert short is not None
    assert short.left <= getattr(limits, short.unit)
    said = shortage_note(predict(task, space, limits))
    assert said is not None
    enough = said.partition("About ")[2].partition(" in all")[0].replace(" ", "").replace(",", "")
    for ample in (enough, f"200,{enough}"):
        assert shortage_note(predict(task, space, parse_budget([ample]))) is None


@pytest.mark.parametrize("budget", ["10", "3000calls", "10,400calls", "5usd"])
def test_a_budget_that_suffices_is_not_warned_of(
    task: LoadedTask, engines: dict[str, FakeEngine], budget: str
) -> None:
    assert shortage_note(predict(task, search_space(task), parse_budget([budget]))) is None


def test_the_budget_of_a_study_is_warned_of_once(
    task: LoadedTask,
    engines: dict[str, FakeEngine],
    quick: None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for _ in range(2):
        folder = open_folder(task, tmp_path, "s", 0, Budget(calls=300))
        run_in_view(task, folder, interrupted="")
    assert capsys.readouterr().err.count("warning: besides the sealed test") == 1
