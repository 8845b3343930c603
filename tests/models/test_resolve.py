"""Models as users write them: kinds, sizes, paths, settings on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from optimizers.errors import ModelError, PriceError
from optimizers.models.resolve import model, parse_model


def test_a_catalogue_model_needs_nothing_but_its_name() -> None:
    found = model("local/gemma-3-270m")
    assert (found.kind, found.size, found.engine) == ("base", 0.27, "llama")
    assert found.price.input == pytest.approx(0.0027)


def test_a_misspelt_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(ModelError, match="did you mean local/gemma-3-270m"):
        model("local/gemma-3-270")


@pytest.mark.parametrize(
    ("file", "kind", "size"),
    [
        ("Qwen2.5-0.5B-Instruct-Q4.gguf", "instruct", 0.5),
        ("gemma-270m-it.gguf", "chat", 0.27),
        ("x-1.5b-base.gguf", "base", 1.5),
    ],
)
def test_a_file_of_weights_says_much_by_its_name(tmp_path: Path, file: str, kind: str, size: float) -> None:
    (tmp_path / file).touch()
    found = model(f"local/{tmp_path / file}")
    assert (found.kind, found.size) == (kind, size)


def test_a_file_that_does_not_say_its_kind_must_be_told(tmp_path: Path) -> None:
    (tmp_path / "weights-1b.gguf").touch()
    with pytest.raises(ModelError, match="kind="):
        model(f"local/{tmp_path}/weights-1b.gguf")
    assert model(f"local/{tmp_path}/weights-1b.gguf", kind="base").kind == "base"


def test_a_missing_file_is_named() -> None:
    with pytest.raises(ModelError, match=r"nowhere\.gguf"):
        model("local//nowhere.gguf", kind="base")


def test_a_name_without_a_provider_is_refused() -> None:
    with pytest.raises(ModelError, match=r"provider(.|\n)*for example openai/gpt-4o-mini"):
        model("gpt-4o-mini")


def test_a_catalogue_model_without_its_prefix_is_told_it() -> None:
    with pytest.raises(ModelError, match=r"write local/gemma-3-270m$"):
        model("gemma-3-270m")


def test_settings_on_the_command_line() -> None:
    found = parse_model(
        "openai/mine,price=0.1/0.4,kind=instruct,size=7,api_base=http://127.0.0.1:1/v1,concurrency=3"
    )
    assert (found.kind, found.size, found.concurrency) == ("instruct", 7.0, 3)
    assert (found.price.input, found.price.output) == (0.1, 0.4)
    assert found.api_base == "http://127.0.0.1:1/v1"


@pytest.mark.parametrize(
    "text",
    [
        "openai/x,colour=red", "openai/x,size=big", "openai/x,price=a/b", "openai/x,kind=odd,price=1/1",
        "openai/x,price=1/1,context=100", "openai/x,price=1/1,size=-1", "openai/x,price=1/1,timeout=0",
        "openai/x,price=1/1,concurrency=-1", "openai/x,price=1/1,size=nan", "openai/x,price=nan/1",
    ],
)  # fmt: skip
def test_a_setting_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises((ModelError, PriceError)):
        parse_model(text)
