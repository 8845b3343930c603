from __future__ import annotations

from fakes import FakeEngine

from optimizers.budget import Budget, Use
from optimizers.search.estimate import held_back, predict
from optimizers.space import search_space
from optimizers.task import LoadedTask


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
    foretold = predict(task, space, ample)
    assert held_back(foretold, ample).calls > foretold.test.calls
    assert held_back(foretold, tight).calls == 50
    assert held_back(foretold, Budget(trials=10)) == Use()
