"""The collector is kept from what was there before, and takes up its work again."""

from __future__ import annotations

import gc

import pytest

from optimizers.search.garbage import uncollected


def test_what_was_there_is_not_gone_through() -> None:
    kept = [object()]
    with uncollected():
        assert gc.get_freeze_count() > 1_000
        assert all(one is not kept for one in gc.get_objects())
    assert any(one is kept for one in gc.get_objects())


def test_garbage_of_before_is_collected_after_an_error() -> None:
    with pytest.raises(KeyError), uncollected():
        raise KeyError
    assert gc.get_freeze_count() == 0
