"""Importing Parity changes nothing of anyone else's; what a study patches is undone."""

from __future__ import annotations

import subprocess
import sys

from optimizers.models.third_party import litellm_module, unpriced_calls

IMPORT_ALL = """
import importlib, os, pkgutil
from dspy.clients import execution
before, price = dict(os.environ), execution._price_result
import optimizers
skipped = ("ray_workers", "mlflow_served", "__main__")
for module in pkgutil.walk_packages(optimizers.__path__, "optimizers."):
    if not module.name.endswith(skipped):
        importlib.import_module(module.name)
assert dict(os.environ) == before, set(os.environ.items()) ^ set(before.items())
assert execution._price_result is price
"""


def test_importing_every_module_changes_neither_the_environment_nor_dspy() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORT_ALL], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_the_patch_of_a_study_is_undone_when_the_last_of_several_ends() -> None:
    from dspy.clients import execution

    price = execution._price_result
    with unpriced_calls(lambda: True):
        with unpriced_calls(lambda: True):
            assert execution._price_result is not price
        assert execution._price_result is not price
    assert execution._price_result is price


def test_litellm_is_imported_with_its_own_prices_and_the_environment_stays(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    import os

    monkeypatch.delenv("LITELLM_LOCAL_MODEL_COST_MAP", raising=False)
    assert litellm_module().model_cost
    assert "LITELLM_LOCAL_MODEL_COST_MAP" not in os.environ
