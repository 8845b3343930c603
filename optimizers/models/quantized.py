"""Other quantizations of a catalogue model: ``local/NAME@q8_0``, made on this machine of the pinned file.

The ``gguf`` package of llama.cpp's authors reads and writes the weights. What the pinned file's own
quantization lost is not brought back: a file quantized from the original weights may do better.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from optimizers.errors import ModelError

BITS = {"q8_0": 8.5, "q5_1": 6.0, "q5_0": 5.5, "q4_1": 5.0, "q4_0": 4.5}
"""Quantization that can be made -> bits per weight, the scales of its blocks included."""

PINNED_BITS = {**BITS, "q4_k_m": 4.85}
"""The same of those that pinned files have."""


def check_quantization(name: str, quantization: str, pinned: str) -> None:
    """Refuse a quantization that cannot be made here.

    Raises:
        ModelError: There is no such one, or the ``gguf`` package is not installed.
    """
    if quantization not in BITS:
        known = ", ".join(dict.fromkeys((pinned, *BITS)))
        raise ModelError(f"There is no quantization {quantization!r}.", where=name, fix=f"one of {known}")
    if find_spec("gguf") is None:
        raise ModelError(
            "Making another quantization takes a package that is not installed.",
            where=name,
            fix='pip install "prompt-parity[quantize]"',
        )


def made_path(source: Path, quantization: str) -> Path:
    """Where :func:`requantized` keeps a file."""
    return source.with_name(f"{source.name.split('.q', 1)[0]}.{quantization}.made.gguf")


def requantized(source: Path, quantization: str) -> Path:
    """A GGUF file with the weights of another one in another quantization, made unless it is there.

    Args:
        source: The file whose weights are taken.
        quantization: One of :data:`BITS`.

    Returns:
        Path of the file, next to the source. Small vectors, and what does not fit the blocks of the
        quantization, stay as they are.
    """
    from filelock import FileLock

    path = made_path(source, quantization)
    with FileLock(path.with_suffix(".lock")):
        if not path.is_file():
            partial = path.with_suffix(f".{os.getpid()}.part")
            try:
                _write(source, partial, quantization)
                partial.replace(path)
            finally:
                partial.unlink(missing_ok=True)
    return path


def _write(source: Path, target: Path, quantization: str) -> None:
    from gguf import GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter

    reader = GGUFReader(source)
    wanted = GGMLQuantizationType[quantization.upper()]
    writer = GGUFWriter(target, reader.fields["general.architecture"].contents())
    for key, field in reader.fields.items():
        if key.startswith("GGUF.") or key == "general.architecture":
            continue  # the writer writes these itself
        kind = field.types[0]
        of = field.types[-1] if kind == GGUFValueType.ARRAY else None
        writer.add_key_value(key, field.contents(), kind, sub_type=of)
    for tensor in reader.tensors:
        data, written = _converted(tensor, wanted)
        writer.add_tensor(tensor.name, data, raw_dtype=written)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _converted(tensor: Any, wanted: Any) -> tuple[Any, Any]:
    """A tensor's data in another quantization, and in which one they are."""
    from gguf import GGMLQuantizationType, quants

    if tensor.tensor_type in (GGMLQuantizationType.F32, GGMLQuantizationType.F16, wanted):
        return tensor.data, tensor.tensor_type
    try:
        return quants.quantize(quants.dequantize(tensor.data, tensor.tensor_type), wanted), wanted
    except quants.QuantError:  # rows that are no multiple of a block
        return tensor.data, tensor.tensor_type
