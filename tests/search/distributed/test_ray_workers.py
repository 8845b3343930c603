"""Workers on a real Ray cluster of two nodes. Runs where Ray is installed: `nox -s ray`."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import postgres
import pytest
import sqlalchemy as sa
from benchmarks.torture import write_server_workspace
from faults.evidence import gather
from faults.server import FaultServer

from optimizers.records.storage import schema_of

ray = pytest.importorskip("ray")
# Ray and what it brings leave files and sockets to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore")

WORKERS = "3"


@pytest.fixture
def cluster() -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    made.add_node(num_cpus=2)
    made.wait_for_nodes()
    yield made
    made.shutdown()


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Path]:
    with FaultServer(latency=0.6, log=tmp_path / "requests.jsonl", max_seconds=600) as server:
        folder = tmp_path / "project"
        folder.mkdir()
        write_server_workspace(folder, server.address)
        yield folder


def start(workspace: Path, runs: str, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "optimizers.cli", "sentiment.py", "--study", "s", "--budget", "10"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    return subprocess.Popen(
        [*command, "--workers", WORKERS, "--runs", str(workspace.parent / runs), *options],
        cwd=workspace,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> str:
    said, _ = process.communicate(timeout=400)
    assert process.returncode == 0, said
    return said


def shares(storage: str) -> list[int]:
    """Rollouts that each process ran."""
    engine = sa.create_engine(storage)
    query = f'SELECT COUNT(*) FROM "{schema_of("s")}".jobs GROUP BY worker'
    with engine.connect() as connection:
        found = list(connection.execute(sa.text(query)).scalars())
    engine.dispose()
    return found


@pytest.mark.parametrize("dies", [False, True], ids=["whole", "a node dies"])
def test_a_cluster_finds_what_one_process_finds(
    cluster: Any, workspace: Path, database_server: str, dies: bool
) -> None:
    storage = postgres.new_database(database_server)
    options = ["--storage", storage, "--ray", cluster.address]
    shared = start(workspace, "shared", *options)
    if dies:
        lost = next(iter(cluster.worker_nodes))
        time.sleep(20)
        cluster.remove_node(lost, allow_graceful=False)
        cluster.add_node(num_cpus=2)
    said = ended(shared)
    # Nodes of one machine share a folder that goes with the first of them: a task may not start again here.
    assert dies or "a worker on the cluster ended" not in said
    alone = start(workspace, "alone")
    ended(alone)
    found, expected = (gather(workspace.parent / runs / "s") for runs in ("shared", "alone"))
    assert found.points == expected.points
    assert found.rollouts == expected.rollouts
    assert found.rows == len(found.rollouts)
    ran = shares(storage)
    assert len(ran) >= int(WORKERS)
    assert max(ran) < 0.7 * sum(ran)
