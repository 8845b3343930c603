"""The collector is kept from what was there before, and takes up its work again."""

from __future__ import annotations

import gc

import pytest

from optimizers.search.gc_control import uncollected, uninterrupted


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


def test_it_is_off_while_trials_are_read_and_as_it_was_after() -> None:
    with uninterrupted():
        assert not gc.isenabled()
        with uninterrupted():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(KeyError), uninterrupted():
        raise KeyError
    assert gc.isenabled()
