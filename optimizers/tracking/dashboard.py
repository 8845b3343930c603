"""`optimize dashboard`: MLflow's own server on the store that studies are recorded in."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from optimizers.tracking.mlflow_store import tracking_uri


def serve(runs: Path, port: int) -> int:
    """Run MLflow's server on this machine until it is interrupted.

    Args:
        runs: Folder of studies, where the store lives unless MLFLOW_TRACKING_URI says otherwise.
        port: Port to listen on, loopback only.

    Returns:
        The server's exit code; 0 when interrupted.
    """
    uri = tracking_uri(runs)
    print(f"MLflow on http://127.0.0.1:{port} over {uri} (Ctrl-C ends it)", file=sys.stderr)
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    # Off line, MLflow's server would wait for ever on LiteLLM fetching its price list.
    environment = os.environ | {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "MLFLOW_DISABLE_TELEMETRY": "true"}
    try:
        return subprocess.run(command, env=environment, check=False).returncode
    except KeyboardInterrupt:
        return 0
