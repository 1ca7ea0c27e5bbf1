"""Where trials run: devices and concurrency, of this machine or a cluster."""

from __future__ import annotations

import torch

from dgkd_search.config.options import Options
from dgkd_search.study.config import Resources
from dgkd_search.utils.system import cores


def choose_resources(options: Options, problems: list[str]) -> Resources:
    """Devices and concurrency of this machine; a cluster's can't be counted from here.

    Args:
        problems: what is wrong with the options is added to it.
    """
    if options.address is not None:
        needed = {"concurrency": options.concurrency, "gpus-per-trial": options.gpus_per_trial}
        if missing := [f"--{name}" for name, value in needed.items() if value is None]:
            problems.append(
                f"--address {options.address}: needs {' and '.join(missing)} too, for all of the "
                "cluster; 0 GPUs where there are none"
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
            f"--gpus-per-trial {share:g}: this machine has {devices} GPUs; give at most {devices}"
        )
    if not share:
        carried = cores() // cpus
    elif share < 1:
        carried = devices * int(1 / share)  # a share can't straddle two GPUs
    else:
        carried = devices // int(share)
    concurrency = options.concurrency or max(1, carried)
    if 0 < share <= devices and concurrency > carried:
        problems.append(
            f"--concurrency {concurrency}: {devices} GPUs carry {carried} trials of "
            f"{share:g}; lower it or --gpus-per-trial"
        )
    return Resources(concurrency, cpus, share, options.address)
