"""Other quantizations of a model: names, prices, sizes, and files that really hold the weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter, quants

from optimizers.errors import ModelError
from optimizers.models import quantized
from optimizers.models.catalogue import entry_of
from optimizers.models.llama import with_real_size
from optimizers.models.quantized import requantized
from optimizers.models.resolve import model


def test_the_pinned_quantization_is_the_model_itself() -> None:
    assert model("local/gemma-3-270m@q4_k_m") == model("local/gemma-3-270m")
    assert model("local/gemma-3-270m").quantization == "q4_k_m"


def test_another_quantization_is_a_model_of_its_own_that_costs_by_its_bytes() -> None:
    small, large = model("local/smollm2-135m-instruct@q4_0"), model("local/smollm2-135m-instruct@q8_0")
    assert (small.label, large.label) == ("smollm2-135m-instruct@q4_0", "smollm2-135m-instruct@q8_0")
    assert small.kind == large.kind == "instruct"
    assert small.weights is not None
    assert large.weights is not None
    assert large.price.input / small.price.input == pytest.approx(large.weights / small.weights, rel=1e-3)
    assert entry_of(large.name) is entry_of("local/smollm2-135m-instruct")


def test_what_cannot_be_made_is_refused_with_what_can(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match="one of q4_k_m, q8_0"):
        model("local/gemma-3-270m@q3_k_s")
    with pytest.raises(ModelError, match="did you mean local/gemma-3-270m"):
        model("local/gemma-3-27m@q8_0")
    monkeypatch.setattr(quantized, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match="quantize"):
        model("local/gemma-3-270m@q8_0")


@pytest.mark.parametrize(
    ("file", "quantization"),
    [
        ("m-1b-instruct.Q4_K_M.gguf", "q4_k_m"),
        ("m-1b-base-IQ4_XS.gguf", "iq4_xs"),
        ("m-1b-chat.f16.gguf", "f16"),
        ("m-1b-chat.gguf", None),
    ],
)
def test_a_file_of_ones_own_says_how_it_is_quantized(
    tmp_path: Path, file: str, quantization: str | None
) -> None:
    (tmp_path / file).write_bytes(b"x" * 2_000_000)
    found = model(f"local/{tmp_path / file}")
    assert (found.quantization, found.weights) == (quantization, 2_000_000)


def test_an_at_sign_in_a_path_is_part_of_it(tmp_path: Path) -> None:
    (tmp_path / "me@home").mkdir()
    path = tmp_path / "me@home" / "m-1b-chat.Q8_0.gguf"
    path.write_bytes(b"x")
    assert (model(f"local/{path}").name, model(f"local/{path}").quantization) == (f"local/{path}", "q8_0")


def test_weights_are_those_of_the_source(tmp_path: Path) -> None:
    weights = np.random.default_rng(0).normal(size=(8, 256)).astype(np.float32)
    bias = np.linspace(0, 1, 8, dtype=np.float32)
    q8 = GGMLQuantizationType.Q8_0
    writer = GGUFWriter(tmp_path / "tiny.q8_0.gguf", "llama")
    writer.add_block_count(1)
    writer.add_array("tokenizer.ggml.tokens", ["a", "é", ""])
    writer.add_tensor("w", quants.quantize(weights, q8), raw_dtype=q8)
    writer.add_tensor("b", bias)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    made = requantized(tmp_path / "tiny.q8_0.gguf", "q4_0")
    assert made.name == "tiny.q4_0.made.gguf"
    reader = GGUFReader(made)
    kinds = {tensor.name: tensor.tensor_type.name for tensor in reader.tensors}
    assert kinds == {"w": "Q4_0", "b": "F32"}
    found = {t.name: quants.dequantize(t.data, t.tensor_type) for t in reader.tensors}
    assert np.abs(found["w"] - weights).mean() < 0.1
    assert np.array_equal(found["b"], bias)
    assert reader.fields["llama.block_count"].contents() == 1
    assert reader.fields["tokenizer.ggml.tokens"].contents() == ["a", "é", ""]
    assert not list(tmp_path.glob("*.part"))
    written = made.stat().st_mtime_ns
    assert requantized(tmp_path / "tiny.q8_0.gguf", "q4_0").stat().st_mtime_ns == written


def test_a_study_records_the_size_of_what_was_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = tmp_path / "made.gguf"
    made.write_bytes(b"x" * 1234)
    monkeypatch.setattr("optimizers.models.llama.weights", lambda name: made)
    assert with_real_size(model("local/smollm2-135m-instruct@q4_0")).weights == 1234
    assert with_real_size(model("local/smollm2-135m-instruct")).weights == 98_362_432
