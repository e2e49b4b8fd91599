"""What the process of one step does: run the step that its folder describes, and leave the result there."""

import importlib
import json
import traceback
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_store.commands import speak_of
from data_store.errors import InputError
from data_store.estimate import Estimate
from data_store.files import atomic_write
from data_store.records import Metric
from tasks.engine.loaded_code import LoadedCode
from tasks.engine.step import Output, Step, StepInput, StepRun

if TYPE_CHECKING:
    from models.samplers.config import VllmConfig
    from tasks.engine.on_ray.spread import Spread

_EDITED = "its source was edited since this command began; give the same command again"


def run_job(folder: Path, loaded: LoadedCode) -> int:
    """Run the step that `folder/job.json` describes; leaves `result.json` there. Returns the exit code.

    The result counts for the code that the job names, and for what the flow understands by its config: where this
    process has loaded others, or loads more while the step runs, the step fails.
    """
    job = json.loads((folder / "job.json").read_text())
    speak_of(job["run"])
    try:
        if loaded.files(job["module"]) != job["code"]:
            raise RuntimeError(f"this process has loaded other code than its command knows of: {_EDITED}")
        declared = getattr(importlib.import_module(job["module"]), job["function"])
        if not isinstance(declared, Step):
            raise TypeError(f"{job['module']}.{job['function']} is not a step")
        config = declared.config.model_validate(job["config"])
        if (declared.version, config.model_dump(mode="json")) != (job["version"], job["understood"]):
            raise RuntimeError(f"the step or its config is another one here than in its command: {_EDITED}")
        run = _step_run(declared, job, folder)
        metrics: dict[str, float | Estimate] = {}
        with _among(job), _spreading(job, run, folder) as spread:
            before = set(loaded.sources)
            metrics |= declared.function(run, config)
            metrics |= {} if spread is None else spread.measured()
        if more := sorted(path.name for path in loaded.sources if path not in before):
            raise RuntimeError(f"the step loaded {', '.join(more)}, which no import names: import it by its name")
    except BaseException as error:  # whatever it was, the flow must hear of it
        traceback.print_exc()
        kind = "input" if isinstance(error, InputError | ValueError) else "failure"
        if isinstance(error, ChildProcessError):  # of a training: a process or a node is gone, and may not be again
            kind = "died"
        message = f"{error}" if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        atomic_write(folder / "result.json", json.dumps({"error": message, "kind": kind}))
        return 1
    atomic_write(folder / "result.json", json.dumps({"metrics": [_plain(*each) for each in metrics.items()]}))
    return 0


def _plain(name: str, measured: float | Estimate) -> dict[str, Any]:
    """As JSON, whatever kind of number the step gave: numpy's too."""
    metric = Metric.of(name, measured)
    return {**asdict(metric), "value": float(metric.value)}


def _step_run(declared: Step, job: dict[str, Any], folder: Path) -> StepRun:
    return StepRun(
        name=declared.name,
        part=job["part"],
        seed=job["seed"],
        inputs={
            role: tuple(StepInput(e["asset"], e["version_id"], Path(e["path"])) for e in entries)
            for role, entries in job["inputs"].items()
        },
        outputs={role: Output(**output) for role, output in job["outputs"].items()},
        folder=folder,
        withdrawn=[(what, name) for what, name in job["withdrawn"]],
        vllm=_sampler(job["vllm"]),
        processes=job["processes"],
    )


def _spreading(job: dict[str, Any], run: StepRun, folder: Path) -> "AbstractContextManager[Spread | None]":
    """Where shards are done, if not here; nothing of it is loaded where they are."""
    if job["shards"] is None:
        return nullcontext(None)
    from tasks.engine.on_ray.spread import spreading

    return spreading(job["shards"], run, folder, job["code"])


def _among(job: dict[str, Any]) -> AbstractContextManager[None]:
    """Among the nodes that train together; nothing of it is loaded where this is the only one."""
    if job["among"] is None:
        return nullcontext()
    from tasks.engine.remote.among import Among, among

    return among(Among.model_validate(job["among"]))


def _sampler(told: dict[str, Any] | None) -> "VllmConfig | None":
    """How the server is reached that draws; the engine loads nothing of models where none does."""
    if told is None:
        return None
    from models.samplers.config import VllmConfig

    return VllmConfig.model_validate(told)
