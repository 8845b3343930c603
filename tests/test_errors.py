from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizers.errors import ParityError, scrubbed


@given(secret=st.text("abcXYZ0123456789_-", min_size=8, max_size=60), before=st.text(max_size=20))
def test_whole_secrets_and_long_pieces_of_them_never_pass(secret: str, before: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOME_PROVIDER_API_KEY", secret)
        for piece in (secret, secret[:8], secret[-8:]):
            assert piece not in scrubbed(f"{before}{piece} and {piece}...")


def test_text_without_secrets_is_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path))
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    for text in (
        f"it is false at {tmp_path}/runs",
        "nonetheless a basic task",
        "http://127.0.0.1:80/v1 answers @ once",
    ):
        assert scrubbed(text) == text


@given(secret=st.text(st.characters(codec="ascii", exclude_categories=["Cc", "Zs"]), min_size=20))
def test_a_secret_is_found_as_json_python_and_addresses_write_it(secret: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATABASE_PASSWORD", secret)
        for form in (json.dumps(secret)[1:-1], repr(secret)[1:-1], quote(secret, safe="")):
            assert scrubbed(f"it was '{form}'.") == "it was '[hidden]'."


def test_an_error_says_no_key_wherever_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "anything-but-this")
    error = ParityError("anything-but-this", where="at anything-but-this", fix="unset anything-but-this")
    assert "but-this" not in f"{error} {error!r} {error.what} {error.where} {error.fix}"


def test_a_word_that_stands_for_no_key_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    assert scrubbed("there are none of them") == "there are none of them"
