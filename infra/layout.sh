#!/usr/bin/env bash
# Lays out the files that a function is deployed with: infra/layout.sh light|crew FOLDER
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

# uv verifies the hashes of constraints too. The lock constrains: what nothing of the extra asks for stays out.
uv pip install --quiet --target "$target" --python "$(command -v python3.11)" \
    --python-platform $platform --python-version 3.11 --only-binary :all: \
    --constraint locks/requirements.lock --requirements pyproject.toml --extra $extra --excludes infra/left-out.txt
rm -r "$target/bin"
find "$target" \( -name tests -o -name test \) -type d -prune -exec rm -r {} +
if [[ $kind == light ]]; then
    # Most of botocore describes services: those stay that our own code asks. In a crew, a user's tools may ask others.
    find "$target/botocore/data" -mindepth 1 -maxdepth 1 -type d -regextype posix-extended \
        ! -regex '.*/(dynamodb|sqs|s3|secretsmanager)' -exec rm -r {} +
fi

# Run and worker go into the crews' tree, every other function into the light one.
for function in functions/*/handler.py; do
    folder=$(dirname "$function")
    case $folder in */run | */worker) goes_into=crew ;; *) goes_into=light ;; esac
    if [[ $goes_into == "$kind" ]]; then cp -R "$folder" "$target"; fi
done
cp -R functions/crewrelay "$target"
rm -r "$target"/crewrelay/{cli,local,testing.py} # for one machine: the command, what plays AWS, ports for tests
if [[ $kind == light ]]; then rm -r "$target/crewrelay/retrieval"; fi
if [[ -d functions/crews ]]; then cp -R functions/crews "$target"; fi # of one's own, found in the working directory
find "$target" \( -name __pycache__ -o -name .env \) -prune -exec rm -r {} +

# The disk is read-only there, so every cold start would compile again. Unchecked: a zip does not keep times of files.
python3.11 -m compileall -q -j 0 --invalidation-mode unchecked-hash "$target"
