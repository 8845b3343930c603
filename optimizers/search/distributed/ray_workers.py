"""Workers of a shared study as tasks on a Ray cluster."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optimizers.errors import EngineError, UsageError, scrubbed
from optimizers.search.distributed.shared_study import fetch, help_shared

if TYPE_CHECKING:
    from optimizers.records.rows import StudyManifest

LEFT_HERE = ["/runs", "/.venv", "/.git", "/.nox"]
"""What of the project's folder does not travel to the nodes."""


@contextmanager
def ray_workers(
    address: str,
    manifest: StudyManifest,
    project: Path,
    storage: str,
    count: int,
    tell: Callable[[str], None],
) -> Iterator[None]:
    """Keep workers on a Ray cluster while the block runs; one whose node dies is started on another.

    Each is one task, spread over the nodes, with a GPU of its own where the cluster has one for each and
    a model runs in the process. The cluster's nodes must have Parity installed; the project's folder is sent.

    Args:
        address: The cluster's, as ``ray.init`` takes it.
        manifest: The study.
        project: The project's folder.
        storage: Address of the study's database, as the nodes reach it.
        count: How many.
        tell: Told when a worker ends by an error of its own.

    Raises:
        UsageError: Ray is not installed.
        EngineError: The cluster cannot be reached.
    """
    try:
        import ray
    except ModuleNotFoundError:
        raise UsageError(
            "Ray is not installed.", where="--ray", fix="pip install 'prompt-parity[ray]'"
        ) from None
    try:
        ray.init(
            address=address,
            runtime_env={"working_dir": str(project), "excludes": LEFT_HERE},
            log_to_driver=False,
            logging_level="ERROR",
        )
    except Exception as error:
        raise EngineError(
            f"The Ray cluster cannot be reached: {next(iter(str(error).splitlines()), type(error).__name__)}",
            where=f"--ray {address}",
            fix="start it (ray start --head), and see ray status",
        ) from error
    in_process = any(model.is_local for model in manifest.models)
    gpus = 1 if in_process and ray.cluster_resources().get("GPU", 0) >= count else 0
    task = ray.remote(max_retries=-1, num_cpus=1, num_gpus=gpus, scheduling_strategy="SPREAD")(work_on_node)
    running = [task.remote(manifest.name, storage) for _ in range(count)]
    over = threading.Event()
    watching = threading.Thread(target=_watch, args=(running, over, tell), daemon=True)
    watching.start()
    try:
        yield
    finally:
        over.set()
        watching.join()
        for one in running:
            ray.cancel(one, force=True)
        ray.shutdown()


def _watch(running: list[Any], over: threading.Event, tell: Callable[[str], None]) -> None:
    """Say which workers end before the study does: Ray itself would keep it to itself."""
    import ray

    left = running
    while left and not over.is_set():
        ended, left = ray.wait(left, timeout=1)
        for one in ended:
            try:
                ray.get(one)
            except Exception as error:
                lines = str(getattr(error, "cause", None) or error).strip().splitlines()
                tell(scrubbed(f"warning: a worker on the cluster ended: {' '.join(lines)[-500:]}"))


def work_on_node(study: str, storage: str) -> int:
    """Run rollouts of a study until it is finished; returns how many this node's process ran."""
    from optimizers.task.program_file import find_program
    from optimizers.task.task import load_task

    with tempfile.TemporaryDirectory() as runs:
        known = fetch(Path(runs), study, storage).read_manifest()
    # Ray makes the project's folder, as it was sent, the working folder.
    program = find_program(known.program, Path.cwd())
    task = load_task(
        program,
        models=known.models,
        proposer=known.proposer,
        reference=known.reference,
        margin=known.margin,
    )
    return help_shared(task, study, storage)
