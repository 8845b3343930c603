"""`optimize dashboard`: MLflow's own server on the store that studies are recorded in."""

from __future__ import annotations

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
    try:
        return subprocess.run(command, check=False).returncode
    except KeyboardInterrupt:
        return 0
