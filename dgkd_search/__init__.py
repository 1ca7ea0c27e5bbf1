"""Search for the best chain of assistants in densely guided knowledge distillation.

- Commands: ``search``, ``resume``, ``write_report``, ``train``, ``export_student``,
  ``compare_methods``.
- Results: ``load_run``, ``load_student``, ``load_best``.
- Parts of your own: ``family``, ``dataset``, ``register_dataset`` (a ``DatasetKind``),
  ``register_guidance`` (a ``Guidance``), ``register_loss`` (a ``DistillationLoss``),
  ``register_sampler``, ``register_pruner``, ``register_export_form``, ``register_command`` and
  ``register_option`` (with a ``Scope``).
- One chain or one model: ``plan``, ``run_trial``, ``train_stage``.
- Tables of methods: ``Method``, ``train_student``, ``comparison_table``.
- Watching a search: ``Callback``.
- Errors: ``DgkdError``, the base class; ``InputError`` for invalid input, ``Stopped`` for an
  interruption.

The other names are data classes that these return; docs/api.md describes all of them. Names are
imported on first use, so that ``import dgkd_search`` is fast.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from dgkd_search.utils.lazy import lazy_exports

if TYPE_CHECKING:
    __version__: str

    from dgkd_search.api import compare_methods, export_student, resume, search, train, write_report
    from dgkd_search.callbacks.base import Callback, Observer
    from dgkd_search.cli.commands import register_command
    from dgkd_search.config.extra_options import register_option
    from dgkd_search.config.option import Scope
    from dgkd_search.data.custom import dataset
    from dgkd_search.data.kinds import DatasetKind, register_dataset
    from dgkd_search.data.prepared import PreparedData
    from dgkd_search.distillation.guidances.base import Guidance
    from dgkd_search.distillation.guidances.registry import register_guidance
    from dgkd_search.distillation.stats import StageResult, TrialResult
    from dgkd_search.errors import DgkdError, InputError, Stopped
    from dgkd_search.models.custom import family
    from dgkd_search.models.families import Family
    from dgkd_search.results.best import Student, load_best, load_student
    from dgkd_search.results.best_config import Accuracies, BestConfig
    from dgkd_search.results.load import LoadedRun, load_run
    from dgkd_search.results.summary import Summary
    from dgkd_search.results.work import Work
    from dgkd_search.study.strategies import register_pruner, register_sampler
    from dgkd_search.training.losses.base import DistillationLoss
    from dgkd_search.training.losses.registry import register_loss
    from dgkd_search.training.metrics import EpochMetrics
    from dgkd_search.training.spec import StageSpec
    from dgkd_search.training.train_stage import train_stage
    from dgkd_search.training.trainer import Trainer
    from dgkd_search.workflows.compare import Method, MethodRun, comparison_table, train_student
    from dgkd_search.workflows.export_forms import register_export_form
    from dgkd_search.workflows.retrain import Retrained
    from dgkd_search.workflows.single_chain import plan, run_trial

__all__ = [
    "Accuracies",
    "BestConfig",
    "Callback",
    "DatasetKind",
    "DgkdError",
    "DistillationLoss",
    "EpochMetrics",
    "Family",
    "Guidance",
    "InputError",
    "LoadedRun",
    "Method",
    "MethodRun",
    "Observer",
    "PreparedData",
    "Retrained",
    "Scope",
    "StageResult",
    "StageSpec",
    "Stopped",
    "Student",
    "Summary",
    "Trainer",
    "TrialResult",
    "Work",
    "compare_methods",
    "comparison_table",
    "dataset",
    "export_student",
    "family",
    "load_best",
    "load_run",
    "load_student",
    "plan",
    "register_command",
    "register_dataset",
    "register_export_form",
    "register_guidance",
    "register_loss",
    "register_option",
    "register_pruner",
    "register_sampler",
    "resume",
    "run_trial",
    "search",
    "train",
    "train_stage",
    "train_student",
    "write_report",
]

_get, __dir__ = lazy_exports(
    __name__,
    {
        "Accuracies": "dgkd_search.results.best_config",
        "BestConfig": "dgkd_search.results.best_config",
        "Callback": "dgkd_search.callbacks.base",
        "DatasetKind": "dgkd_search.data.kinds",
        "DgkdError": "dgkd_search.errors",
        "DistillationLoss": "dgkd_search.training.losses.base",
        "EpochMetrics": "dgkd_search.training.metrics",
        "Family": "dgkd_search.models.families",
        "Guidance": "dgkd_search.distillation.guidances.base",
        "InputError": "dgkd_search.errors",
        "LoadedRun": "dgkd_search.results.load",
        "Method": "dgkd_search.workflows.compare",
        "MethodRun": "dgkd_search.workflows.compare",
        "Observer": "dgkd_search.callbacks.base",
        "PreparedData": "dgkd_search.data.prepared",
        "Retrained": "dgkd_search.workflows.retrain",
        "Scope": "dgkd_search.config.option",
        "StageResult": "dgkd_search.distillation.stats",
        "StageSpec": "dgkd_search.training.spec",
        "Stopped": "dgkd_search.errors",
        "Student": "dgkd_search.results.best",
        "Summary": "dgkd_search.results.summary",
        "Trainer": "dgkd_search.training.trainer",
        "TrialResult": "dgkd_search.distillation.stats",
        "Work": "dgkd_search.results.work",
        "compare_methods": "dgkd_search.api",
        "comparison_table": "dgkd_search.workflows.compare",
        "dataset": "dgkd_search.data.custom",
        "export_student": "dgkd_search.api",
        "family": "dgkd_search.models.custom",
        "load_best": "dgkd_search.results.best",
        "load_run": "dgkd_search.results.load",
        "load_student": "dgkd_search.results.best",
        "plan": "dgkd_search.workflows.single_chain",
        "register_command": "dgkd_search.cli.commands",
        "register_dataset": "dgkd_search.data.kinds",
        "register_export_form": "dgkd_search.workflows.export_forms",
        "register_guidance": "dgkd_search.distillation.guidances.registry",
        "register_loss": "dgkd_search.training.losses.registry",
        "register_option": "dgkd_search.config.extra_options",
        "register_pruner": "dgkd_search.study.strategies",
        "register_sampler": "dgkd_search.study.strategies",
        "resume": "dgkd_search.api",
        "run_trial": "dgkd_search.workflows.single_chain",
        "search": "dgkd_search.api",
        "train": "dgkd_search.api",
        "train_stage": "dgkd_search.training.train_stage",
        "train_student": "dgkd_search.workflows.compare",
        "write_report": "dgkd_search.api",
    },
)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version  # slow enough to show in the start of a command

        return version("dgkd-search")
    with warnings.catch_warnings():
        # Optuna's progress bar, which is never shown, causes this warning in a notebook.
        warnings.filterwarnings("ignore", message="IProgress not found")
        return _get(name)
