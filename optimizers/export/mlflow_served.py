"""What MLflow runs to serve an exported program. It is copied into the model and imported nowhere.

See "models from code" in MLflow's documentation: MLflow runs this file and takes what it sets as the model,
so that nothing has to be unpickled. The package is next to it in the model.
"""

import logging
import os
from typing import Any

import pandas as pd  # type: ignore[import-untyped]
from dspy.adapters.utils import serialize_for_json
from dspy.utils.exceptions import AdapterParseError
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel

from optimizers.export.targets.dspy_program import ExportedProgram, load_program

log = logging.getLogger(__name__)


class ServedProgram(PythonModel):
    """An exported program behind MLflow's interface: a row of inputs in, a record of outputs out.

    A reply that does not keep the format gives a record of nulls: when measured, it was a wrong answer and
    no failure. Any other error is raised.

    Attributes:
        program: The loaded program; None until MLflow has loaded its files.
    """

    program: ExportedProgram | None = None

    def load_context(self, context: Any) -> None:
        """Load the program from the model's own files."""
        # Without a network, LiteLLM would wait for its list of prices.
        os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
        self.program = load_program(context.artifacts["program"])
        self._outputs = tuple(context.model_config["outputs"])

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> list[dict[str, Any]]:
        """Run the program on each row."""
        return [self._answer(row) for row in model_input.to_dict(orient="records")]

    def _answer(self, row: dict[str, Any]) -> dict[str, Any]:
        assert self.program is not None
        # pandas has no other mark of an empty cell.
        inputs = {name: None if value != value else value for name, value in row.items()}
        try:
            prediction = self.program(**inputs)
        except AdapterParseError as error:
            log.warning("A reply did not keep the format: %s", error)
            return dict.fromkeys(self._outputs)
        return {name: serialize_for_json(prediction.get(name)) for name in self._outputs}


set_model(ServedProgram())
