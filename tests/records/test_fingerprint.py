"""A fingerprint names what differs between two studies; each caller selects the parts that matter to it."""

from __future__ import annotations

from fakes import LARGE, SMALL, manifest

from optimizers.models.model import Price
from optimizers.records.fingerprint import changes, study_fingerprint

THEN = study_fingerprint(manifest())


def test_equal_studies_differ_in_nothing() -> None:
    assert changes(THEN, study_fingerprint(manifest(name="other"))) == []


def test_each_part_that_differs_is_named_with_both_values() -> None:
    now = study_fingerprint(manifest(margin=0.1, objectives=("quality",), program_hash="9" * 16))
    assert [str(one) for one in changes(THEN, now)] == [
        f"the program file ({'0' * 16} then, {'9' * 16} now)",
        "the margin (0.02 then, 0.1 now)",
        "the objectives (quality,cost then, quality now)",
    ]
    assert [one.part for one in changes(THEN, now, ("margin", "data"))] == ["margin"]


def test_models_count_field_by_field_but_not_the_source_of_a_price_or_a_rate_limit() -> None:
    same = SMALL.model_copy(
        update={"rpm": 7, "price": Price(**SMALL.price.model_dump(exclude={"source"}), source="elsewhere")}
    )
    assert changes(THEN, study_fingerprint(manifest(models=(same, LARGE)))) == []
    slower = SMALL.model_copy(update={"size": 9})
    (change,) = changes(THEN, study_fingerprint(manifest(models=(slower, LARGE))))
    assert (change.part, change.now) == ("models", 9)
    (gone,) = changes(THEN, study_fingerprint(manifest(models=(LARGE,))))
    assert str(gone) == f"the model {SMALL.name} (there then, absent now)"
