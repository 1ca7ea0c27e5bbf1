"""Makes an archive of a run folder and its store, as this version writes them.

    python tests/frozen/make.py FILE.tar.xz

Done once for each format that is released; what it made is never made again.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

OPTIONS = """
    --train-limit 60 --family plain-c10 --teacher plain4-c10 --student plain2-c10 --epochs 1
    --student-epochs 2 --batch-size 16 --augment crop --views 1 --budget 1 --no-reference
    --concurrency 1 --out run --store store
"""


def main(target: Path) -> None:
    with TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "dgkd_search", *OPTIONS.split()]
        subprocess.run(command, cwd=folder, check=True)
        with tarfile.open(target, "x:xz", preset=9) as archive:
            for path in sorted(Path(folder).rglob("*")):
                drawn = path.suffix in (".lock", ".svg", ".png") or path.name == ".lock"
                if path.is_file() and not drawn:
                    archive.add(path, path.relative_to(folder))
    print(f"{target}: {target.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
