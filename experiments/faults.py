"""Kill, interrupt and damage searches at random, fill their disk, and check that nothing is lost.

    python experiments/faults.py --n 100 --seed 0 --json FILE

A small search on digits runs once undisturbed. Then it runs again, with faults from a seeded list
at random moments: the driver, a worker or both are killed, the search is interrupted, a random file
of its store is truncated, changed by one bit or deleted, or its disk is full. After each fault the
search is resumed. When it has ended by itself, everything is compared with the undisturbed run, and
the next search starts, until there were N faults.

Every session must end with a known exit code and without a traceback. An interrupted one must end
within 10 s and print how to resume. Otherwise, the search counts as wrong.
A trial is lost if only the undisturbed run has it, doubled if two finished trials have the same
parameters, and wrong if its number, its curve or its student's weights differ (after a full disk,
its number may differ). The same holds for stages.
Epochs are repeated if the checkpoint of a stage falls behind an earlier one. If a checkpoint is
deleted or damaged, its epochs must be trained again, so that search is no longer checked for
repeated epochs. A damaged stage only counts as lost if another search that needs it has run.

The disk is a small tmpfs if this process may mount one. Otherwise, that fault is left out, and the
table says so (tests/robustness/test_crash_points.py makes every single write fail).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import bench

OPTIONS = """
    --train-limit 150 --family plain-c10 --teacher plain10-c10 --student plain2-c10
    --assistants plain8-c10,plain6-c10,plain4-c10 --epochs 4 --student-epochs 8 --batch-size 16
    --lr 0.02 --drop-prob 0.25 --pruner none --budget 8 --concurrency 1 --confirm off
"""
SEARCH = OPTIONS.split()
PATIENCE = 300  # seconds after which a session counts as hanging
PROMPTNESS = 10  # seconds from a signal to the end
OWN = re.compile(r"\d\d:\d\d:\d\d |dgkd-search: ")  # the start of the search's own lines
# Allowed exit codes of a session: 0 if it ended before or in spite of the fault.
ENDINGS = defaultdict(
    lambda: {0},
    {
        "kill driver": {0, -signal.SIGKILL},
        "kill both": {0, -signal.SIGKILL},
        "SIGINT": {0, 130},
        "SIGTERM": {0, 130},
        "full disk": {0, 1, 2},  # 2: it is full before the search begins
    },
)
KINDS = (
    "kill driver",
    "kill worker",
    "kill both",
    "SIGINT",
    "SIGTERM",
    "cut a file",
    "flip a bit",
    "delete a file",
    "full disk",
)
DAMAGING = ("cut a file", "flip a bit", "delete a file")
ROOM = 48 * 2**20  # bytes of the small disk


@dataclass
class Tally:
    """Counts over all searches."""

    tried: Counter[str] = field(default_factory=Counter)
    wrong: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    first_epochs: list[float] = field(default_factory=list)  # seconds from --resume
    again: list[int] = field(default_factory=list)  # repeated epochs of each session
    problems: list[str] = field(default_factory=list)


class Search:
    """A search in a folder, run in one or more sessions."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.store = folder, folder / "store"
        self.seen: dict[str, int] | None = {}  # epochs of every stage so far; None: not checked

    def look(self) -> tuple[int, int]:
        """Return the epochs of all stages in the store, and how many of them were lost."""
        now = self.progress()
        if self.seen is None:
            return sum(now.values()), 0
        fewer = sum(max(0, self.seen.get(key, 0) - epochs) for key, epochs in now.items())
        self.seen = {**self.seen, **now}
        return sum(now.values()), fewer

    def start(self) -> subprocess.Popen[str]:
        """Start the first session, or the next one."""
        config = self.folder / "run" / "config.yaml"
        begun = config.exists() or (self.folder / "run" / "study.db").exists()
        words = ["--resume", "run"] if begun else [*SEARCH, "--out", "run", "--store", "store"]
        return subprocess.Popen(
            [sys.executable, "-m", "dgkd_search", *words],
            cwd=self.folder,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def whole_again(self) -> None:
        """Run searches that need all missing stages: the same one again needs all students, and one
        with different students needs all teachers."""
        for name, more in (("again", ()), ("others", ("--student-epochs", "1"))):
            words = [*SEARCH, *more, "--out", name, "--store", "store"]
            environment = {**os.environ, "OMP_NUM_THREADS": "1"}
            command = [sys.executable, "-m", "dgkd_search", *words]
            subprocess.run(
                command, cwd=self.folder, env=environment, capture_output=True, check=True
            )

    def progress(self) -> dict[str, int]:
        """Return the number of epochs of every stage in the store, by key."""
        found: dict[str, int] = {}
        for pattern in ("stages/*/*/stage.json", "partial/*/checkpoint.json"):
            for path in self.store.glob(pattern):
                with contextlib.suppress(OSError, ValueError, KeyError):
                    said = json.loads(path.read_bytes())
                    found[said["key"]] = max(found.get(said["key"], 0), len(said["rows"]))
        return found

    def results(self) -> dict[str, Any]:
        """Return finished trials by parameters, and checksums of students and stages."""
        import optuna
        from optuna.trial import TrialState

        from dgkd_search.store.store import Store

        study = optuna.load_study(
            study_name="dgkd-search", storage=f"sqlite:///{self.folder / 'run' / 'study.db'}"
        )
        ended = [t for t in study.trials if t.state in (TrialState.COMPLETE, TrialState.PRUNED)]
        store = Store(self.store)
        stages = {}
        for path in self.store.glob("stages/*/*"):
            if (entry := store.get(path.name)) is not None:
                stages[path.name] = entry.meta["tensors"]
        return {
            "trials": [
                (json.dumps(t.params, sort_keys=True), [t.value, t.intermediate_values, t.number])
                for t in ended
            ],
            "running": sum(t.state == TrialState.RUNNING for t in study.trials),
            "failed": [
                f"{t.number}: {t.user_attrs.get('reason')}"
                for t in study.trials
                if t.state == TrialState.FAIL
            ],
            "stages": stages,
            "student": (self.folder / "run" / "student.safetensors").read_bytes(),
        }


def descendants(pid: int) -> Iterator[int]:
    """Yield the descendants of a process."""
    children = defaultdict(list)
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            children[int(fields[1])].append(int(path.parent.name))
    pending = [pid]
    while pending:
        for child in children[pending.pop()]:
            pending.append(child)
            yield child


def workers(driver: int) -> list[int]:
    """Return the processes in which Ray runs trials of this driver."""
    found = []
    for pid in descendants(driver):
        with contextlib.suppress(OSError):
            if b"ray::ImplicitFunc" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found


def kill(*pids: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def damage(kind: str, store: Path, rng: random.Random) -> str | None:
    """Damage a random result file of the store; return its name, or None without one."""
    files = sorted(
        path
        for part in ("stages", "partial", "outputs")
        for path in (store / part).rglob("*")
        if path.is_file() and not any(name.startswith(".tmp-") for name in path.parts)
    )
    if not files:
        return None
    path = rng.choice(files)
    with contextlib.suppress(FileNotFoundError):  # the search has just removed it
        if kind == "delete a file":
            path.unlink()
            return str(path)
        data = bytearray(path.read_bytes())
        place = rng.randrange(len(data)) if data else 0
        if kind == "cut a file":
            os.truncate(path, place)
        elif data:
            data[place] ^= 1 << rng.randrange(8)
            with path.open("r+b") as file:
                file.seek(place)
                file.write(data[place : place + 1])
        return str(path)
    return None


def one_fault(search: Search, kind: str, rng: random.Random, tally: Tally) -> bool:
    """Run a session with a fault; return whether the search ended by itself."""
    resumed = search.store.exists()
    before, again = search.look()[0], 0
    process, began = search.start(), time.monotonic()
    delay = rng.uniform(1, 8) if rng.random() < 0.2 else None  # during the start
    first = sent = None
    done = False
    if kind == "full disk" and shutil.disk_usage(search.folder).free < ROOM / 2:
        tally.problems.append(f"a search has left {shutil.disk_usage(search.folder)}")
        tally.wrong[kind]["wrong"] += 1
    moment = rng.uniform(0, 6)
    filler = search.folder / "filler"
    while process.poll() is None and time.monotonic() - began < PATIENCE:
        now = time.monotonic()
        epochs, fewer = search.look()
        again = max(again, fewer)
        if first is None and epochs > before:
            first = now
            if resumed:
                tally.first_epochs.append(now - began)
        ready = now - began >= delay if delay is not None else first and now - first >= moment
        if ready and not done:
            sent = time.monotonic()
            done = kind == "none" or _act(kind, process, search, rng, filler)
            tally.tried[kind] += done and kind != "none"
            if done and kind in DAMAGING:
                search.seen = None
        time.sleep(0.05)
    hung, ended = process.poll() is None, time.monotonic()
    if hung:
        kill(*descendants(process.pid), process.pid)
        tally.wrong[kind]["hung"] += 1
    _, err = process.communicate()
    filler.unlink(missing_ok=True)
    if "Traceback" in err or (not hung and process.returncode not in ENDINGS[kind]):
        tally.wrong[kind]["wrong"] += 1
        tally.problems.append(f"{kind}: exit {process.returncode}: {err[-2000:]}")
    if stray := [line for line in err.splitlines() if not OWN.match(line)]:
        tally.wrong[kind]["wrong"] += 1
        tally.problems.append(f"{kind}: lines that aren't the search's own: {stray[:5]}")
    if process.returncode == 130 and sent is not None:
        slow = ended - sent > PROMPTNESS
        begun = (search.folder / "run" / "config.yaml").exists()
        if slow or (begun and "go on with `dgkd-search --resume run`" not in err):
            tally.wrong[kind]["wrong"] += 1
            tally.problems.append(f"{kind}: ended after {ended - sent:.1f} s: {err[-500:]}")
    tally.again.append(again)
    return process.returncode == 0


def _act(
    kind: str, process: subprocess.Popen[str], search: Search, rng: random.Random, filler: Path
) -> bool:
    """Cause the fault; return whether there was something to do it to."""
    if kind in ("kill worker", "kill both"):
        if not (found := workers(process.pid)):
            return False
        kill(*found)
    if kind in ("kill driver", "kill both"):
        kill(process.pid)
    elif kind in ("SIGINT", "SIGTERM"):
        process.send_signal(signal.Signals[kind])
    elif kind == "full disk":
        with contextlib.suppress(OSError), filler.open("wb") as file:
            while True:
                file.write(bytes(2**16))
                file.flush()
    elif kind in DAMAGING:
        return damage(kind, search.store, rng) is not None
    return True


def compare(found: dict[str, Any], whole: dict[str, Any], kinds: list[str], tally: Tally) -> None:
    """Count what a search with these faults has lost, doubled or changed."""
    name = kinds[0] if len(set(kinds)) == 1 else ", ".join(sorted(set(kinds)))
    trials, expected = dict(found["trials"]), dict(whole["trials"])
    if "full disk" in kinds:  # stopped trials were retried under new numbers
        trials, expected = (
            {key: said[:2] for key, said in some.items()} for some in (trials, expected)
        )
    counts = {
        "lost": len(expected.keys() - trials.keys())
        + len(whole["stages"].keys() - found["stages"]),
        "doubled": len(found["trials"]) - len(trials),
        "wrong": sum(trials[key] != expected.get(key) for key in trials)
        + sum(found["stages"].get(key, said) != said for key, said in whole["stages"].items())
        + (found["student"] != whole["student"])
        + found["running"],
    }
    for what, count in counts.items():
        if count:
            tally.wrong[name][what] += count
            lost = [
                *(f"trial {expected[key][2:]} {key}" for key in expected.keys() - trials.keys()),
                *(f"stage {key}" for key in whole["stages"].keys() - found["stages"].keys()),
            ]
            tally.problems.append(f"{name}: {count} {what}; failed {found['failed']}, lost {lost}")


@contextlib.contextmanager
def folder(root: Path, mounted: bool) -> Iterator[Path]:
    """Create a folder, on a new small disk if one can be mounted."""
    root.mkdir()
    if mounted:
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", str(root)], check=True
        )
    try:
        yield root
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(root)], check=True)
        shutil.rmtree(root, ignore_errors=True)


def can_mount(root: Path) -> bool:
    with contextlib.suppress(OSError, subprocess.CalledProcessError), folder(root, True):
        return True
    return False


def measure(plan: Sequence[str], seed: int, mounted: bool) -> Tally:
    """Run searches with the faults of a plan, one after the other.

    Args:
        mounted: whether each search has its own small disk.
    """
    rng, tally = random.Random(seed), Tally()
    with TemporaryDirectory(prefix="dgkd-faults-") as work:
        root = Path(work)
        with folder(root / "whole", mounted) as place:
            search = Search(place)
            _, err = (process := search.start()).communicate()
            if process.returncode != 0:
                raise SystemExit(f"the undisturbed search failed: {err}")
            whole = search.results()
        number = 0
        while sum(tally.tried.values()) < len(plan):
            number += 1
            met: list[str] = []
            with folder(root / str(number), mounted) as place:
                search = Search(place)
                while True:
                    tried = sum(tally.tried.values())
                    met.append(plan[tried] if tried < len(plan) else "none")
                    if one_fault(search, met[-1], rng, tally):
                        break
                found = search.results()
                lacks = whole["stages"].keys() - found["stages"].keys()
                if lacks and not {*met}.isdisjoint(DAMAGING):
                    search.whole_again()  # no search has needed it since the damage
                    found["stages"] = search.results()["stages"]
                compare(found, whole, met, tally)
            print(f"{sum(tally.tried.values())} faults, {number} searches", file=sys.stderr)
    return tally


def main() -> None:
    options = bench.parser(__doc__)
    options.add_argument("--n", type=int, default=100, help="things to do (100)")
    args: argparse.Namespace = options.parse_args()
    began = time.perf_counter()
    with TemporaryDirectory(prefix="dgkd-faults-") as probe:
        mounted = can_mount(Path(probe) / "probe")
    rng = random.Random(args.seed)
    plan = [rng.choice(KINDS if mounted else KINDS[:-1]) for _ in range(args.n)]
    tally = measure(plan, args.seed, mounted)
    wrongs = ("lost", "doubled", "wrong", "hung")
    bench.table(
        "faults, and what was wrong after them",
        ("fault", "tried", *wrongs),
        [
            (kind, tally.tried[kind], *(tally.wrong[kind][what] for what in wrongs))
            for kind in [*KINDS, *sorted(tally.wrong.keys() - set(KINDS))]
        ],
    )
    if not mounted:
        print("no disk could be mounted, so none was filled")
    for problem in tally.problems:
        print(problem)
    seconds = tally.first_epochs or [float("nan")]
    print(
        f"epochs done again in a session: at most {max(tally.again, default=0)}; "
        f"from --resume to the first new epoch: {statistics.median(seconds):.1f} s, "
        f"at most {max(seconds):.1f} s"
    )
    figures = {
        "tried": dict(tally.tried),
        "found": {kind: dict(counts) for kind, counts in tally.wrong.items() if counts},
        "mounted": mounted,
        "epochs_again": tally.again,
        "seconds_to_first_epoch": tally.first_epochs,
    }
    bench.save(args, began, {"faults": args.n}, figures)
    if any(sum(counts.values()) for counts in tally.wrong.values()):
        sys.exit(1)


if __name__ == "__main__":
    main()
