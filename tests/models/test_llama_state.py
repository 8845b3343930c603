"""What copies and saves a program that holds a local engine: no weights are loaded here."""

from __future__ import annotations

import copy
import pickle

from optimizers.models.llama import LlamaEngine, shared_engine


def test_copies_of_an_engine_are_the_engine_so_that_weights_load_once() -> None:
    engine = shared_engine("local//some/file.gguf", 1024)
    assert copy.deepcopy(engine) is engine
    assert pickle.loads(pickle.dumps(engine)) is engine
    assert LlamaEngine.load_state(engine.dump_state()) is engine
    assert shared_engine("local//some/file.gguf", 2048) is not engine
