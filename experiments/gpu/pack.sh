#!/usr/bin/env bash
# Packs what the product needs on a GPU machine without a network, and what that machine lacks, into
# .whl/ of this checkout (30 MB). Run it in a checkout, on the machine that has the package registry;
# copy the tree with .whl over, and begin each command there with
#     . .whl/there.sh;
#
#   PACK_PY=3.12     Python of that machine (3.11 packs for this one, to try the pack out)
#   PACK_LIST=FILE   names of the packages that lie there already (there.txt)
#   PACK_CACHE=DIR   downloads and the slimmed Ray are kept here
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(git rev-parse --show-toplevel)
py=${PACK_PY:-3.12}; tag=cp${py/./}
list=${PACK_LIST:-$here/there.txt}
cache=${PACK_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/dgkd-pack}/$tag
most=$((50 * 1024 * 1024))
mkdir -p "$cache/wheels" "$root/.whl"
exclude=$(git -C "$root" rev-parse --git-path info/exclude); case $exclude in /*) ;; *) exclude=$root/$exclude ;; esac
mkdir -p "$(dirname "$exclude")"
grep -qxF '/.whl/' "$exclude" 2>/dev/null || echo '/.whl/' >> "$exclude"

# Direct and indirect requirements that the machine lacks. Pinned: one call there, no second try.
packages=(
  ray==2.60.0 optuna==5.0.0 sqlalchemy==2.1.9 alembic==1.20.1 Mako==1.4.3 colorlog==6.12.0
  altair==6.3.0 jsonschema==4.26.0 jsonschema-specifications==2025.9.1 referencing==0.37.0
  rpds-py==2026.9.1 platformdirs==4.14.8 shtab==1.13.0 tensorboardX==2.6.5
  pydantic==2.14.4 pydantic-core==2.50.5 annotated-types==0.8.0 typing-inspection==0.4.5
)
bundled=vl-convert-python==1.9.0.post1   # 33 MB of V8, for one string: see below

have() { compgen -G "$cache/wheels/$(echo "${1%%==*}" | tr 'A-Z-' 'a-z_' | sed 's/_/[-_]/g')-${1##*==}-*.whl" >/dev/null; }
shopt -s nocaseglob nullglob
want=(); for p in "${packages[@]}"; do have "$p" || want+=("$p"); done
if ((${#want[@]})); then
  platforms=(); for n in 17 24 26 27 28 31 34 35; do platforms+=(--platform "manylinux_2_${n}_x86_64"); done
  python3 -m pip download -q --no-deps --only-binary=:all: --python-version "$py" --implementation cp \
    --abi "$tag" --abi abi3 --abi none "${platforms[@]}" --platform manylinux2014_x86_64 --platform manylinux1_x86_64 \
    -d "$cache/wheels" "${want[@]}" 2> >(grep -v 'is ignored: it is neither\|as the .root. user' >&2)
fi

stage=$(mktemp -d); trap 'rm -rf "$stage"' EXIT
site=$stage/site; mkdir -p "$site"
for wheel in "$cache"/wheels/*.whl; do
  case $(basename "$wheel") in ray-*|vl_convert*) continue ;; esac
  python3 -m zipfile -e "$wheel" "$site"
done

# Ray, without what a search never imports; 79 MB become about 27.
if [ ! -f "$cache/ray.tar.xz" ]; then
  mkdir -p "$stage/ray"
  unzip -q "$cache"/wheels/ray-*.whl -d "$stage/ray"   # unzip keeps the mode bits of raylet and gcs_server
  (
    cd "$stage/ray"
    rm -rf ray/jars ray/rllib ray/serve ray/llm ray/workflow ray/includes ray/cpp ray/dashboard/client/build \
      ray/tune/examples ray/train/examples ray/setup-dev.py ray/core/libjemalloc.so
    find . -depth \( -name tests -o -name test -o -name __pycache__ -o -name '*.pyx' -o -name '*.pxd' -o -name '*.pxi' \) -exec rm -rf {} +
    strip --strip-all ray/core/src/ray/raylet/raylet ray/core/src/ray/gcs/gcs_server
    find . -name '*.so' -exec strip --strip-unneeded {} \;
    # As in the wheel the data that wheels put beside the packages stays where it is.
    tar -cf - --sort=name --owner=0 --group=0 . | xz -T0 -6 > "$cache/ray.tar.xz.part"
  )
  mv "$cache/ray.tar.xz.part" "$cache/ray.tar.xz"
fi

# vl_convert is asked for one string, always the same: it is computed here, and a stand-in says it there.
call=$(cd "$root" && python3 - <<'P'
import re
text = open("dgkd_search/results/report/page.py").read()
print(re.search(r'javascript_bundle\((".*?"),', text).group(1).strip('"'))
P
)
schema=$(python3 - "$site" <<'P'
import pathlib, re, sys
text = (pathlib.Path(sys.argv[1]) / "altair/vegalite/v6/schema/__init__.py").read_text()
print(".".join(re.search(r'SCHEMA_VERSION\s*=\s*"(v[\d.]+)"', text).group(1).split(".")[:2]))
P
)
bundle=$cache/bundle-$(echo "$call $schema $bundled" | sha256sum | cut -c1-16).js
if [ ! -s "$bundle" ]; then
  python3 -m pip install -q --no-deps --target "$stage/vl" "$bundled" 2> >(grep -v 'is ignored: it is neither\|as the .root. user' >&2)
  PYTHONPATH=$stage/vl python3 -c 'import sys, vl_convert
open(sys.argv[3], "w").write(vl_convert.javascript_bundle(sys.argv[1], sys.argv[2]))' "$call" "$schema" "$bundle"
fi
mkdir -p "$site/vl_convert" "$site/vl_convert_python-${bundled##*==}.dist-info"
cp "$bundle" "$site/vl_convert/bundle.js"
printf 'Metadata-Version: 2.1\nName: vl-convert-python\nVersion: %s\nSummary: stand-in of pack.sh: one bundle\n' "${bundled##*==}" \
  > "$site/vl_convert_python-${bundled##*==}.dist-info/METADATA"
cat > "$site/vl_convert/__init__.py" <<P
"""Stand-in of pack.sh for vl-convert-python: it knows the one bundle that the report asks for."""
from pathlib import Path

def javascript_bundle(snippet=None, vl_version=None):
    if (snippet, vl_version) != ("$call", "$schema"):
        raise NotImplementedError(f"the packed vl_convert has no bundle for {snippet!r}, {vl_version!r}")
    return (Path(__file__).parent / "bundle.js").read_text()
P

# The product's own metadata (its code is copied from the tree, there). Built from a copy: a build leaves things behind.
mkdir -p "$stage/tree"
(cd "$root" && git ls-files -z -- pyproject.toml README.md LICENSE MANIFEST.in dgkd_search | xargs -0 cp --parents -t "$stage/tree")
python3 -m pip wheel -q --no-deps -w "$stage/own" "$stage/tree" 2> >(grep -v 'is ignored: it is neither\|as the .root. user' >&2)
unzip -q "$stage"/own/dgkd_search-*.whl '*.dist-info/*' -d "$site"

find "$site" -depth \( -name tests -o -name test -o -name __pycache__ -o -name '*.pyx' -o -name '*.pxd' \) -exec rm -rf {} +
find "$site" -name '*.so' -exec strip --strip-unneeded {} \;
mkdir -p "$site/bin"
script() { printf '#!/usr/bin/env python3\nimport sys\nfrom %s import %s\nsys.exit(%s())\n' "$2" "$3" "$3" > "$site/bin/$1"; chmod +x "$site/bin/$1"; }
script dgkd-search dgkd_search.cli.main run; script ray ray.scripts.scripts main; script optuna optuna.cli main
tar -C "$site" -cf - --sort=name --owner=0 --group=0 . | xz -T0 -6 > "$root/.whl/site.tar.xz"
cp "$cache/ray.tar.xz" "$root/.whl/ray.tar.xz"
cp "$here/there.sh" "$root/.whl/"
for more in "$here"/gpu_check.py; do if [ -f "$more" ]; then cp "$more" "$root/.whl/"; fi; done

# Whatever is required by what travels must travel, or lie there.
PYTHONPATH= python3 - "$site" "$cache/ray.tar.xz" "$list" "$py" <<'P'
import email, pathlib, re, sys, tarfile
site, ray, listed, version = pathlib.Path(sys.argv[1]), *sys.argv[2:]
norm = lambda name: re.sub(r"[-_.]+", "-", name).lower()
texts = [p.read_text() for p in site.glob("*.dist-info/METADATA")]
with tarfile.open(ray) as tar:
    texts += [tar.extractfile(m).read().decode() for m in tar if re.fullmatch(r"\./ray-[^/]*/METADATA", m.name)]
packed = {norm(email.message_from_string(t)["Name"]): t for t in texts}
there = set()
if pathlib.Path(listed).is_file():
    text = pathlib.Path(listed).read_text()
    there = {norm(n) for n in re.split(r"[,\s]+", text) if n}
else:
    print(f"pack: {listed} isn't there: requirements are not looked at")
try:
    from packaging.markers import Marker, default_environment
except ImportError:
    from pip._vendor.packaging.markers import Marker, default_environment
env = {**default_environment(), "python_version": version, "python_full_version": f"{version}.3"}
missing = []
for name, text in packed.items():
    extras = {"tune"} if name == "ray" else set()
    for line in email.message_from_string(text).get_all("Requires-Dist") or ():
        spec, _, marker = line.partition(";")
        ok = not marker or any(Marker(marker.strip()).evaluate({**env, "extra": e}) for e in {"", *extras})
        wanted = norm(re.match(r"[\w.-]+", spec.strip()).group())
        if ok and there and wanted not in packed and wanted not in there:
            missing.append(f"{name} needs {spec.strip()}")
if missing:
    sys.exit("pack: neither packed nor there: " + "; ".join(missing))
P
size=$(du -sb "$root/.whl" | cut -f1)
echo "pack: $(du -sh "$root/.whl" | cut -f1) in $root/.whl ($size bytes of $most): $(cd "$root/.whl" && ls -s --block-size=K | tail -n +2 | awk '{printf "%s %s  ", $2, $1}')"
if [ "$size" -gt "$most" ]; then echo "pack: too large" >&2; exit 1; fi
