"""Preparation of a search: open its stores, prepare its data, plan its stages."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from dgkd_search.data import PreparedData, prepare
from dgkd_search.data.earlier_rules import prepare_like
from dgkd_search.distillation.pretrained import PretrainedTeacher, as_stage
from dgkd_search.distillation.trial_stores import TrialStores, open_stores
from dgkd_search.errors import InputError
from dgkd_search.results.definition import SearchDefinition
from dgkd_search.results.run_folder import RunFolder
from dgkd_search.store.leases import Lease
from dgkd_search.store.location import NO_STORE, store_path
from dgkd_search.store.store import Store
from dgkd_search.study.config import Resources
from dgkd_search.study.disk_usage import estimate_outputs, space_errors
from dgkd_search.study.planner import Planner
from dgkd_search.study.space import Params
from dgkd_search.utils.files import make_folder
from dgkd_search.utils.formatting import format_bytes
from dgkd_search.utils.log import Log
from dgkd_search.workflows.own_parts import own_checksums
from dgkd_search.workflows.validate import ValidatedSearch


@dataclass(frozen=True)
class PreparedSearch:
    """A search whose data and stores are ready.

    Attributes:
        stores: the stores of its trials.
        store: the shared store; None with ``--store none``.
        lease: the search's lease on the shared store, or None.
        definition: the search's definition, with the present options.
    """

    run: RunFolder
    resources: Resources
    data: PreparedData
    planner: Planner
    stores: TrialStores
    store: Store | None
    lease: Lease | None
    definition: SearchDefinition


@contextlib.contextmanager
def prepare_search(
    validated: ValidatedSearch,
    initial_params: Sequence[Params] | None,
    log: Log,
    begun: SearchDefinition | None = None,
) -> Iterator[PreparedSearch]:
    """Prepare the data, and hold the stores open during the search.

    Args:
        initial_params: parameters of the first trials, or None for the default ones.
        log: is called with a line at a time.
        begun: the definition of the run that is resumed; None for a new one.

    Raises:
        InputError: the data or the store can't be used, or the disk is too small for the stored
            outputs.
    """
    resolved, run, teacher = validated.resolved, validated.run, validated.teacher
    options, config = resolved.options, resolved.config
    shared = None if options.store == NO_STORE else store_path(options.store)
    with contextlib.ExitStack() as stack:
        stores, store = stack.enter_context(open_stores(shared, run.stores, options.store_limit))
        lease = None
        if store is not None:
            lease = stack.enter_context(store.lease("search", str(run.path.absolute())))
            lease.add(())  # also keeps other processes from deleting the data
        log(f"preparing {options.dataset}")
        if begun is None:
            data = prepare(config.data, stores.data, log)
        else:
            data = prepare_like(config.data, begun.data, stores.data, log)
        pretrained = teacher.checksum if teacher else ""
        planner = Planner(config, data.info, pretrained)
        if teacher is not None:
            stores = _with_pretrained(teacher, planner, data, stores, store, log)
        log(_room_for_outputs(planner, resolved.resources, stores, store))
        definition = SearchDefinition.of(
            replace(options, store=str(stores.root) if store else NO_STORE),
            data.info.fingerprint,
            initial_params,
            own_checksums(config, pretrained, validated.start),
            data.info.decoded_by.rules,
        )
        yield PreparedSearch(
            run, resolved.resources, data, planner, stores, store, lease, definition
        )


def _with_pretrained(
    teacher: PretrainedTeacher,
    planner: Planner,
    data: PreparedData,
    stores: TrialStores,
    store: Store | None,
    log: Log,
) -> TrialStores:
    """Add the pretrained teacher to the stores, where every chain finds it."""
    spec = planner.teacher()
    pretrained = as_stage(teacher, spec, data, store)
    log(
        f"teacher {spec.architecture.name} from {teacher.path}: "
        f"{pretrained.val_accuracy:.2f} % on validation; this is too optimistic if it was trained "
        "on these images"
    )
    return replace(stores, pretrained=pretrained)


def _room_for_outputs(
    planner: Planner, resources: Resources, stores: TrialStores, store: Store | None
) -> str:
    """Describe the size of the stored outputs.

    Raises:
        InputError: the outputs of the running trials alone exceed the limit or the disk.
    """
    images, classes = planner.info.train_count, len(planner.info.classes)
    need = estimate_outputs(planner.config, images, classes, resources.concurrency, stores.shared)
    if not need.total:
        return f"stored outputs: {need}"
    make_folder(stores.root)
    # Stored outputs are reused or deleted, so their space counts as free.
    held = sum(file.size for file in store.outputs.files()) if store else 0
    free = shutil.disk_usage(stores.root).free + held
    # Check the limit again: ``validate`` couldn't count data that had to be downloaded first.
    problems = space_errors(need, "--store-limit", need.store, stores.limit)
    location = stores.root if stores.shared else NO_STORE
    problems += space_errors(need, f"--store {location}", need.running, free)
    if problems:
        raise InputError(problems)
    return f"stored outputs: {need}; {format_bytes(free)} free on the disk"
