#!/usr/bin/env bash
# Writes the files that a function is deployed with: infra/layout.sh light|crew FOLDER
# `sam build` calls it for the zip functions (functions/Makefile), infra/Dockerfile and `make build` for the crew image.
set -euo pipefail
kind=$1 target=$(realpath -m "$2")
cd "$(dirname "$0")/.."
PATH="$PWD/.venv/bin:$PATH"

case $kind in
# Lambda's python3.11 has glibc 2.26.
light) platform=$(uname -m)-manylinux_2_17 extra=api ;;
# Debian bookworm's glibc.
crew) platform=$(uname -m)-manylinux_2_36 extra=image ;;
*) echo "layout.sh: $kind is neither light nor crew" >&2 && exit 2 ;;
esac

mkdir -p "$target"
if [[ -n $(ls -A "$target") ]]; then echo "layout.sh: $target is not empty" >&2 && exit 2; fi

# The lock file as a constraint: only what the extra needs is installed, and uv verifies the hashes.
options=(--python "$(command -v python3.11)" --python-platform "$platform" --python-version 3.11
    --only-binary :all: --excludes infra/left-out.txt)
uv pip install --quiet --target "$target" "${options[@]}" \
    --constraint locks/requirements.lock --requirements pyproject.toml --extra $extra
# The user's own crews: those that lie in the checkout, and those that `make build CREWS=…` has copied.
shelves=()
for shelf in functions/crews functions/.crews; do
    if [[ -d $shelf ]]; then shelves+=("$shelf"); fi
done
if [[ $kind == crew && ${#shelves[@]} -gt 0 ]]; then
    # What CrewAI's projects need, beside what has just been installed.
    PYTHONPATH="functions:$target" python3.11 -B -m crewrelay.local.dependencies "$target" "${shelves[@]}" -- "${options[@]}"
fi
rm -r "$target/bin"
rm -f "$target/fastapi_offline/static/redoc.standalone.js" # a second documentation, which is not served
find "$target" \( -name tests -o -name test \) -type d -prune -exec rm -r {} +
if [[ $kind == light ]]; then
    # Most of botocore is service descriptions: keep those that our code calls. In the crew image, users' tools may call others.
    find "$target/botocore/data" -mindepth 1 -maxdepth 1 -type d -regextype posix-extended \
        ! -regex '.*/(dynamodb|sqs|s3|secretsmanager)' -exec rm -r {} +
fi

# run and worker go into the crew image, every other function into the light zip.
for function in functions/*/handler.py; do
    folder=$(dirname "$function")
    case $folder in */run | */worker) goes_into=crew ;; *) goes_into=light ;; esac
    if [[ $goes_into == "$kind" ]]; then cp -R "$folder" "$target"; fi
done
cp -R functions/crewrelay "$target"
rm -r "$target"/crewrelay/{cli,local,sqlite,testing} # for one machine only: the command, the local stack and its engine, tests of crews
if [[ $kind == light ]]; then rm -r "$target/crewrelay/retrieval"; fi
for shelf in "${shelves[@]}"; do # found in the working directory
    mkdir -p "$target/crews"
    cp -R "$shelf"/. "$target/crews"
done
find "$target" \( -name __pycache__ -o -name .env -o -name .venv -o -name .git \) -prune -exec rm -r {} +

# Lambda's disk is read-only, so each cold start would compile again. unchecked-hash: a zip does not keep modification times.
python3.11 -m compileall -q -j 0 --invalidation-mode unchecked-hash "$target"
