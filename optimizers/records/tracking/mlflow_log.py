"""A study in MLflow: a run for the study, a nested run for each trial.

One thread writes in the background, and the search never waits for it. An error of that thread is
raised when the study's record is closed.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from optimizers.records.folder import REPORT_FILE, record_text
from optimizers.records.tracking.mlflow_store import experiment_of, open_store
from optimizers.records.write_behind import WriteBehind

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

    from optimizers.records.candidate import Candidate
    from optimizers.records.folder import StudyFolder
    from optimizers.records.report import Estimate, FrontierReport
    from optimizers.records.rows import StudyManifest

PARENT = "mlflow.parentRunId"
NOTE = "mlflow.note.content"
STUDY = "parity.study"
KIND = "parity.kind"
TRIAL = "parity.trial"
CANDIDATE = "parity.candidate"

RECORDED = "parity.recorded"
"""Tag of a study's run: how many of its trials are recorded in full. Trials are recorded in their order."""

TAG_LIMIT = 7_900
PAGE = 1_000
PARAM_LIMIT = 5_900
NAME_LIMIT = 200


class StudyRun:
    """The study's run and the trials nested in it.

    Args:
        client: The store.
        experiment: Id of the task's experiment.
        run_id: Id of the study's run.
        recorded: How many of its trials were recorded in full when this process began, the first ones.
    """

    def __init__(self, client: MlflowClient, experiment: str, run_id: str, recorded: int = 0) -> None:
        self._client, self._experiment, self.run_id = client, experiment, run_id
        self.recorded = recorded
        self._behind = WriteBehind("mlflow")
        self._status = "KILLED"

    @classmethod
    def open(cls, manifest: StudyManifest, folder: StudyFolder) -> Self:
        """The run of a study, made when it has none yet.

        Raises:
            ParityError: The store cannot be used.
        """
        runs = folder.path.parent
        client = open_store(runs)
        experiment = experiment_of(client, manifest.task, runs)
        known = study_run(client, experiment, manifest)
        if known is not None:
            run_id = known.info.run_id
            client.update_run(run_id, status="RUNNING")
            resumed = cls(client, experiment, run_id, int(known.data.tags.get(RECORDED, 0)))
            resumed._behind(resumed._drop_half_recorded)
            return resumed
        tags = {STUDY: _identity(manifest), KIND: "study", "mlflow.runName": manifest.name}
        run = client.create_run(experiment, tags=tags)
        opened = cls(client, experiment, run.info.run_id)
        opened._behind(lambda: opened._batch(run.info.run_id, {}, _study_parameters(manifest)))
        return opened

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._behind(lambda: self._client.set_terminated(self.run_id, status=self._status))
        self._behind.close(error)

    def trial(
        self,
        number: int,
        candidate: Candidate,
        quality: Estimate,
        *,
        cost: float,
        rollouts: int,
        seconds: float,
    ) -> None:
        """Record a finished trial as a run nested in the study's.

        Args:
            number: Its place among the study's finished trials, from 0.
            candidate: What was measured.
            quality: Its quality on the dev examples it ran.
            cost: Mean serving cost of a rollout, US dollars.
            rollouts: Rollouts this trial ran, a leader's further block included.
            seconds: Wall-clock seconds it took.
        """
        ended = int(time.time() * 1000)
        metrics = _measured(quality, cost) | {"rollouts": float(rollouts), "seconds": round(seconds, 3)}
        tags = {PARENT: self.run_id, KIND: "trial", CANDIDATE: candidate.id}
        tags |= {TRIAL: str(number)}

        def write() -> None:
            run = self._client.create_run(
                self._experiment,
                start_time=ended - int(seconds * 1000),
                tags=tags | {"mlflow.runName": f"trial {number}: {candidate.label}"},
            )
            self._batch(run.info.run_id, metrics, choices_of(candidate))
            self._client.log_text(run.info.run_id, _prompt(candidate), "prompt.txt")
            self._client.log_text(run.info.run_id, candidate.model_dump_json(indent=2), "candidate.json")
            self._client.set_terminated(run.info.run_id, end_time=ended)
            self._client.set_tag(self.run_id, RECORDED, str(number + 1))

        self._behind(write)

    def finish(self, report: FrontierReport, files: Sequence[Path], note: str = "") -> None:
        """Put the result on the study's run: the answer as its note, the frontier as files.

        Trials get what is known of their candidates in the end, and what they scored on the test.

        Args:
            report: The result.
            files: The frontier as a picture and a page; the report itself is logged with them.
            note: The result in Markdown; the answer alone if left out.
        """
        metrics = {
            "hypervolume": report.hypervolume,
            "trials": float(report.trials),
            "rollouts": float(report.rollouts),
            "frontier_points": float(len(report.with_role("frontier"))),
        }
        if report.spend is not None:
            total = report.spend.total
            metrics |= {"calls": total.calls, "tokens": total.tokens, "dollars": total.dollars}
            metrics["seconds"] = total.seconds
        tested = [point.test.mean for point in report.with_role("frontier") if point.test]
        if tested:
            metrics["best_test_quality"] = max(tested)

        def write() -> None:
            self._bring_up_to_date(report)
            self._batch(self.run_id, metrics, {})
            self._client.set_tag(self.run_id, NOTE, (note or report.answer)[:TAG_LIMIT])
            for file in files:
                self._client.log_artifact(self.run_id, str(file))
            self._client.log_text(self.run_id, record_text(report), REPORT_FILE)

        self._behind(write)
        self._status = "FINISHED"

    def _drop_half_recorded(self) -> None:
        """Delete the trial that a process was recording when it died."""
        left = f"tags.`{PARENT}` = '{self.run_id}' AND tags.`{TRIAL}` = '{self.recorded}'"
        for run in self._client.search_runs([self._experiment], filter_string=left):
            self._client.delete_run(run.info.run_id)

    def _bring_up_to_date(self, report: FrontierReport) -> None:
        """Log the scores of trials' candidates again, where more is known than when the trial ended."""
        known = {point.candidate.id: point for point in report.points}
        token: str | None = None
        while True:
            own = f"tags.`{PARENT}` = '{self.run_id}' AND tags.`{KIND}` = 'trial'"
            runs = self._client.search_runs(
                [self._experiment], filter_string=own, max_results=PAGE, page_token=token
            )
            for run in runs:
                point = known.get(run.data.tags.get(CANDIDATE, ""))
                if point is None:
                    continue
                metrics = _measured(point.dev, point.cost) if point.dev.n != run.data.metrics.get("n") else {}
                if point.test is not None:
                    metrics |= {"test_quality": round(point.test.mean, 4), "test_n": float(point.test.n)}
                if metrics:
                    self._batch(run.info.run_id, metrics, {})
            token = runs.token
            if not token:
                return

    def _batch(self, run_id: str, metrics: dict[str, float], parameters: dict[str, str]) -> None:
        from mlflow.entities import Metric, Param

        now = int(time.time() * 1000)
        self._client.log_batch(
            run_id,
            metrics=[Metric(name, value, now, 0) for name, value in metrics.items()],
            params=[Param(name, value[:PARAM_LIMIT]) for name, value in parameters.items()],
        )


def _measured(quality: Estimate, cost: float) -> dict[str, float]:
    """Quality and cost, rounded, as MLflow's tables show every digit; the ledger has them all."""
    return {
        "quality": round(quality.mean, 4),
        "quality_low": round(quality.low, 4),
        "quality_high": round(quality.high, 4),
        "quality_se": round((quality.high - quality.low) / (2 * 1.96), 4),
        "n": float(quality.n),
        "failures": float(quality.failures),
        "cost_per_1000": float(f"{1000 * cost:.4g}"),
    }


def study_run(client: MlflowClient, experiment: str, manifest: StudyManifest) -> Run | None:
    """The run of a study; None where it was recorded in another store, or not at all.

    Args:
        client: The store.
        experiment: Id of the task's experiment.
        manifest: The study's.
    """
    own = f"tags.`{STUDY}` = '{_identity(manifest)}'"
    return next(iter(client.search_runs([experiment], filter_string=own, max_results=1)), None)


def _identity(manifest: StudyManifest) -> str:
    return f"{manifest.name} {manifest.created.isoformat()}"


def _study_parameters(manifest: StudyManifest) -> dict[str, str]:
    return {
        "program": manifest.program,
        "metric": manifest.metric,
        "models": ", ".join(model.name for model in manifest.models),
        "reference": manifest.reference,
        "margin": f"{manifest.margin:g}",
        "seed": str(manifest.seed),
        "budget": str(manifest.budget),
        "objectives": ", ".join(manifest.objectives),
        "train": str(manifest.sizes.train),
        "dev": str(manifest.sizes.dev),
        "test": str(manifest.sizes.test),
    }


def choices_of(candidate: Candidate) -> dict[str, str]:
    """A candidate's choices as parameters to filter and compare by."""
    parameters = {
        "model": candidate.model,
        "rendering": candidate.rendering,
        "technique": candidate.technique,
        **{name: str(value) for name, value in candidate.sampling.model_dump().items()},
    }
    for name, prompt in zip(_names(candidate.predictors), candidate.predictors.values(), strict=True):
        parameters[f"{name}.instruction"] = prompt.instruction_name
        parameters[f"{name}.demos"] = prompt.demos_name
        if prompt.serving is not None:
            parameters[f"{name}.model"] = prompt.serving.model
            parameters[f"{name}.rendering"] = prompt.serving.rendering
            parameters[f"{name}.technique"] = prompt.serving.technique
    return parameters


def _names(predictors: Iterable[str]) -> list[str]:
    """Names of predictors in letters that MLflow takes, each another: ``steps[0]`` is ``steps.0``."""
    found: list[str] = []
    for predictor in predictors:
        plain = re.sub(r"[^\w .:-]+", ".", predictor).strip(".")[:NAME_LIMIT]
        number = 1
        while (name := plain if number == 1 else f"{plain} {number}") in found:
            number += 1
        found.append(name)
    return found


def _prompt(candidate: Candidate) -> str:
    """The candidate's prompts as text to read."""
    parts = [f"{candidate.label}: {candidate.summary}"]
    for name, prompt in candidate.predictors.items():
        parts.append(f"== {name}\n{prompt.instruction}")
        for demo in prompt.demos:
            parts.append("\n".join(f"{field}: {value}" for field, value in demo.items()))
    return "\n\n".join(parts) + "\n"
