"""Resources of trials: devices and concurrency, on this machine or a cluster."""

from __future__ import annotations

import torch

from dgkd_search.config.options import Options
from dgkd_search.study.config import Resources
from dgkd_search.utils.system import cores


def choose_resources(options: Options, problems: list[str]) -> Resources:
    """Choose devices and concurrency; those of a cluster must be given, as they can't be counted.

    Args:
        problems: receives a message for each problem.
    """
    if options.address is not None:
        needed = {"concurrency": options.concurrency, "gpus-per-trial": options.gpus_per_trial}
        if missing := [f"--{name}" for name, value in needed.items() if value is None]:
            problems.append(
                f"--address {options.address}: also needs {' and '.join(missing)} for the complete "
                "cluster; give 0 GPUs if it has none"
            )
        return Resources(
            options.concurrency or 1,
            options.cpus_per_trial,
            options.gpus_per_trial or 0.0,
            options.address,
        )
    devices = torch.cuda.device_count()
    share = options.gpus_per_trial
    if share is None:
        share = 1.0 if devices else 0.0
    cpus = options.cpus_per_trial
    if share > devices:
        problems.append(
            f"--gpus-per-trial {share:g}: must be at most {devices}, the GPUs of this machine"
        )
    if not share:
        carried = cores() // cpus
    elif share < 1:
        carried = devices * int(1 / share)  # a trial can't use fractions of two GPUs
    else:
        carried = devices // int(share)
    concurrency = options.concurrency or max(1, carried)
    if 0 < share <= devices and concurrency > carried:
        problems.append(
            f"--concurrency {concurrency}: {devices} GPUs hold only {carried} trials of {share:g} "
            "GPUs; lower it or --gpus-per-trial"
        )
    return Resources(concurrency, cpus, share, options.address)
