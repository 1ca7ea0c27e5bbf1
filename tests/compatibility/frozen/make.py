"""Make an archive of run folders and their store, as this version writes them.

    python tests/compatibility/frozen/make.py FILE.tar.xz

Run it once for each format, and once before names or modules move. An archive is never made
again. A file called ``format-N`` contains one finished run. A file with another name contains

- ``teacher.safetensors``: the pretrained teacher of all runs, rounded to compress well;
- ``run``: a finished search with replicates;
- ``stopped``: a search that SIGINT ended while its second trial trained, and its checkpoint;
- ``store``: the stages that both have trained;
- ``trained``: the chain of ``run/best.yaml``, trained again;
- ``exported``: the exported student of ``run``.

Some files contain absolute paths (config.yaml those of the store and the teacher, exported models
those of the code), so everything is made in a folder with a neutral name.
"""

from __future__ import annotations

import json
import lzma
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tarfile
import time
from pathlib import Path

from safetensors.torch import save_file

import dgkd_search

WORLD = Path("/tmp/dgkd-frozen")
HOME = WORLD / "home"  # not kept

FORMAT = """
    --train-limit 60 --family plain-c10 --teacher plain4-c10 --student plain2-c10 --epochs 1
    --student-epochs 2 --batch-size 16 --augment crop --views 1 --budget 1 --no-reference
    --concurrency 1 --out run --store store
"""

# Every option for a search with gray images and built-in networks, most of them not at their
# default. (--normalise has one value for gray images.)
BOTH = """
    --dataset digits --train-limit 60 --image-size 8 --normalise train --images memory
    --split-seed 1 --family plain-c10 --teacher plain6-c10 --assistants plain4-c10
    --student plain2-c10 --teacher-weights teacher.safetensors --epochs 1 --batch-size 4
    --lr 0.02 --weight-decay 0.0002 --schedule cosine --augment crop --outputs stored
    --temperature 3 --kd-weight 0.8 --loss-scale sum --precision fp32 --train-seed 19
    --concurrency 1 --cpus-per-trial 1 --gpus-per-trial 0 --store store --store-limit 1G --quiet
"""
FINISHED = """
    --student-epochs 2 --views 2 --max-assistants 1 --guidance dense,sequential --drop-prob 0,.25
    --drop-scope student --tune temperature --sampler random --pruner patient --seed 5 --budget 3
    --confirm 1x2 --no-reference --out run
"""
STOPPED = """
    --student-epochs 12 --views 1 --drop-prob 0:0.5 --pruner none --seed 1 --budget 3
    --no-reference --confirm off --time-budget 2h --out stopped
"""
EPOCHS = 3  # of the checkpoint, at least
TRIES = 5


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "dgkd_search", *words]


def environment() -> dict[str, str]:
    code = [HOME / "code", HOME / "packages"]
    path = os.pathsep.join(map(str, code))
    return {**os.environ, "HOME": str(HOME), "XDG_CACHE_HOME": str(HOME), "PYTHONPATH": path}


def run(*words: str) -> None:
    subprocess.run(command(*words), cwd=WORLD, env=environment(), check=True)


def bring_teacher() -> None:
    stages, data = dgkd_search.plan(
        ["plain6-c10"], family="plain-c10", epochs=4, batch_size=16, store=str(HOME / "store")
    )
    weights = dgkd_search.train_stage(stages[0], data).model.state_dict()
    rounded = {
        name: (tensor * 128).round() / 128 if tensor.ndim > 1 else tensor
        for name, tensor in weights.items()
    }
    save_file(
        {name: tensor.contiguous() for name, tensor in rounded.items()},
        WORLD / "teacher.safetensors",
    )


def stages() -> set[Path]:
    return set((WORLD / "store" / "stages").glob("*/*"))


def carried_on() -> bool:
    """Return whether there is a checkpoint of at least ``EPOCHS`` epochs."""
    found = (WORLD / "store" / "partial").glob("*/checkpoint.json")
    return any(len(json.loads(path.read_text())["rows"]) >= EPOCHS for path in found)


def stop() -> None:
    """Run a search and interrupt it after its first trial, while a student trains."""
    table, before = WORLD / "stopped" / "trials.csv", stages()
    for _ in range(TRIES):
        process = subprocess.Popen(
            command(*BOTH.split(), *STOPPED.split()), cwd=WORLD, env=environment()
        )
        while process.poll() is None:
            begun = table.exists() and "COMPLETE" in table.read_text()
            if begun and carried_on():
                process.send_signal(signal.SIGINT)
                break
            time.sleep(0.01)
        if process.wait() == 130 and carried_on():
            return
        shutil.rmtree(WORLD / "stopped")  # too late: the student had just ended
        for folder in stages() - before:
            shutil.rmtree(folder)
    raise RuntimeError("no search was stopped while a student trained")


def make(name: str) -> None:
    if name.startswith("format-"):
        run(*FORMAT.split())
        return
    bring_teacher()
    run(*BOTH.split(), *FINISHED.split())
    stop()
    for record in (WORLD / "store" / "users").glob("*.json"):
        if json.loads(record.read_text())["kind"] == "trial":
            record.unlink()  # the record of a dead worker, which names the machine
    run("train", "run/best.yaml", "--repeats", "1", "--out", "trained")
    run("export", "run", "--to", "exported")


def main(target: Path) -> None:
    HOME.mkdir(parents=True)
    (HOME / "code").symlink_to(Path(__file__).resolve().parents[3])
    (HOME / "packages").symlink_to(sysconfig.get_paths()["purelib"])
    try:
        make(target.name)
        shutil.rmtree(HOME)
        # lp=2: literals depend on their position in four bytes, as most data are float32 weights.
        filters = [{"id": lzma.FILTER_LZMA2, "preset": 9, "lc": 0, "lp": 2}]
        with (
            lzma.open(target, "x", filters=filters) as packed,
            tarfile.open(fileobj=packed, mode="w") as archive,
        ):
            for path in sorted(WORLD.rglob("*")):
                left = path.suffix in (".lock", ".svg", ".png") or path.name == ".lock"
                left |= path.name == "report.html"
                if path.is_file() and not left:
                    archive.add(path, path.relative_to(WORLD), filter=anonymous)
    finally:
        shutil.rmtree(WORLD)
    print(f"{target}: {target.stat().st_size:,} bytes")


def anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


if __name__ == "__main__":
    main(Path(sys.argv[1]))
