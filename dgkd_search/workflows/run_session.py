"""One session of a search: Ray runs the trials until they end or the user interrupts."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import SQLAlchemyError

from dgkd_search.callbacks.base import Callback
from dgkd_search.callbacks.events import Event, SearchFinished, SearchStarted, TrialEnded
from dgkd_search.distillation.trial_stores import TrialStores
from dgkd_search.errors import DgkdError, Stopped, one_line, resume_hint
from dgkd_search.errors.shown import shown
from dgkd_search.models import get_family
from dgkd_search.results.run_folder import RunFolder
from dgkd_search.store.leases import Lease
from dgkd_search.study.config import Resources
from dgkd_search.study.ray_tune.controller import SearchController
from dgkd_search.study.replication import max_replicates
from dgkd_search.study.strategies import NO_PRUNER
from dgkd_search.study.study import ChainStudy
from dgkd_search.study.timing import ElapsedTime
from dgkd_search.training.spec import StageSpec
from dgkd_search.utils.formatting import pluralize
from dgkd_search.utils.signals import sigterm_as_interrupt

_PARTING = 3.0  # seconds for callbacks to handle the loss of a cluster


@dataclass(frozen=True)
class RunSession:
    """The trials of a controller, run by Ray; a search may take several sessions.

    Attributes:
        data: folder of the prepared data.
        folder: the run folder.
        lease: the lease on the shared store, if there is one.
    """

    controller: SearchController
    resources: Resources
    data: Path
    stores: TrialStores
    folder: RunFolder
    lease: Lease | None

    def run(self, callback: Callback, before: ElapsedTime, began: float) -> None:
        """Run the trials; after an error or interruption they can be resumed.

        Args:
            before: time of earlier sessions.
            began: start of this session, on ``time.monotonic``.

        Raises:
            KeyboardInterrupt: the user interrupted the search.
            SQLAlchemyError, StorageInternalError, OSError: the disk failed.
        """
        # Ray reads its settings when it is first imported, so nothing may import it earlier.
        from dgkd_search.study.ray_tune.cluster import ready, watch_cluster
        from dgkd_search.study.ray_tune.ray_session import ray_session
        from dgkd_search.study.ray_tune.runner import run_tune

        study, concurrency = self.controller.study, self.resources.concurrency
        trials, address = pluralize(concurrency, "trial"), self.resources.address
        doing = f"joining the Ray cluster at {address}" if address else "starting Ray"
        callback.log(f"{doing} for {trials} at once")
        spent, over = before, False
        try:
            with ray_session(self.resources) as temporary:
                paths, loss = (self.data, self.stores.root), study.config.distillation.loss
                origins = sorted({get_family(study.config.family).origin, loss.origin} - {""})
                connected = ready(self.resources, paths, origins)
                callback.log(f"{connected}; the first workers are starting")
                self.folder.keep()  # from here on an error doesn't delete the folder
                config, replicates = study.config, max_replicates(study.config)
                callback.notify(
                    SearchStarted(config.budget, concurrency, config.time_budget, replicates)
                )
                starting = (time.monotonic() - began) * concurrency
                spent = replace(before, starting=before.starting + starting)
                with watch_cluster(self.resources, functools.partial(self._end, callback)):
                    run_tune(self.controller, self._encode, self.resources, temporary)
            over = True
        finally:
            try:
                # On a full disk this record is lost; the stages are still in the store.
                with contextlib.suppress(SQLAlchemyError, StorageInternalError, OSError):
                    if not over:
                        self.controller.suspend()
                    replace(spent, seconds=before.seconds + time.monotonic() - began).note(study)
            finally:
                callback.notify(SearchFinished())

    def _end(self, callback: Callback, address: str) -> NoReturn:
        """End this process after the loss of the cluster, before Ray does.

        Runs on its own thread: the main thread waits for Ray forever.
        """
        hint = resume_hint(self.folder.path)
        message = (
            f"the Ray cluster at {address} doesn't answer any more; start it again, then {hint}"
        )

        def announce() -> None:
            with contextlib.suppress(Exception):
                callback.log(message)
                callback.notify(SearchFinished())

        announcing = threading.Thread(target=announce, daemon=True)
        announcing.start()
        announcing.join(_PARTING)
        with contextlib.suppress(OSError, ValueError):
            print(f"dgkd-search: {shown(message)}", file=sys.stderr, flush=True)
        os._exit(1)

    def _encode(self, stages: tuple[StageSpec, ...]) -> str:
        from dgkd_search.study.ray_tune.messages import TrialTask, encode_task

        if self.lease is not None:
            self.lease.add(stage.key for stage in stages)  # keeps others from deleting them
        root = self.stores.open(stages).root
        judged = self.controller.study.config.pruner != NO_PRUNER
        return encode_task(TrialTask(stages, self.data, root, self.stores.limit, judged))


@contextlib.contextmanager
def resumable(folder: RunFolder) -> Iterator[None]:
    """Turn interruptions and disk errors into errors that say how to resume the search.

    SIGTERM is handled like SIGINT.

    Raises:
        Stopped: the user interrupted the search.
        DgkdError: the disk failed.
    """
    with sigterm_as_interrupt():
        try:
            yield
        except KeyboardInterrupt:
            raise Stopped(f"interrupted{_resume_hint(folder, '; ')}") from None
        except (SQLAlchemyError, StorageInternalError) as error:
            why = one_line(str(error.__cause__ or error).split("\n")[0])
            raise DgkdError(
                f"{folder.database}: can't be used ({why})"
                f"{_resume_hint(folder, '; remove the cause, then ')}"
            ) from error
        except OSError as error:
            raise DgkdError(
                f"{one_line(error)}{_resume_hint(folder, '; remove the cause, then ')}"
            ) from error


def _resume_hint(folder: RunFolder, joined: str) -> str:
    if not folder.config.exists():  # the search hadn't started, so its folder was deleted
        return ""
    return f"{joined}{resume_hint(folder.path)}"


class TableWriter(Callback):
    """Updates trials.csv whenever a trial ends."""

    def __init__(self, study: ChainStudy, path: Path) -> None:
        self._study, self._path = study, path

    def notify(self, event: Event) -> None:
        if isinstance(event, TrialEnded):
            from dgkd_search.results.table import write_trials  # pandas is slow to import

            write_trials(self._study, self._path)
