"""What a study is predicted to use (``estimate.json``), and what it used."""

from __future__ import annotations

from pydantic import Field

from optimizers.records.budget import Unit
from optimizers.records.record import Record


class Amount(Record):
    """What a study used, or will use.

    Attributes:
        calls: Requests sent to models, retries included.
        tokens: Tokens read and generated.
        dollars: US dollars billed.
        seconds: Wall-clock seconds, over all its processes.
    """

    calls: float = Field(ge=0)
    tokens: float = Field(ge=0)
    dollars: float = Field(ge=0)
    seconds: float = Field(ge=0)


class Shortage(Record):
    """A limit of a budget that leaves too little for searching.

    Attributes:
        unit: What it limits.
        left: About what is left of it for searching, after the sealed test.
        enough: The least limit that would be enough, about.
    """

    unit: Unit
    left: float = Field(ge=0)
    enough: float = Field(gt=0)


class Prediction(Record):
    """What a study was predicted to use before it began (``estimate.json``).

    Attributes:
        trials: Trials that fit the budget.
        total: What the whole study uses, its test included.
        test: Of that, what the sealed test uses.
        robustness: Of that, what perturbed examples use; None where none are run.
        test_rows: Test examples there are.
        tested: Test examples that the budget leaves room for; None in records that do not say.
        detectable: The smallest difference in quality that the tested examples show.
        shortage: The limit that leaves too little for searching, if one does.
    """

    trials: int
    total: Amount
    test: Amount
    robustness: Amount | None = None
    test_rows: int
    tested: int | None = None
    detectable: float
    shortage: Shortage | None = None


class Spend(Record):
    """What a study really used, which is not the serving cost of its points.

    Attributes:
        total: Everything, over all processes that worked on it.
        by_phase: Phase -> calls.
        by_state: State -> calls; ``failed`` ones got no answer, ``lost`` ones were under way when
            their process died. Both count at the most they may have used.
    """

    total: Amount
    by_phase: dict[str, int]
    by_state: dict[str, int]
