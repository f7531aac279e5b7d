"""`make build CREWS="PATH …"`: copies these crews and projects into the checkout, where the builds find them."""

import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from crewrelay.catalogue.catalogue import Catalogue, crews_in
from crewrelay.catalogue.project_files import own_files
from crewrelay.jobs.errors import Misconfigured


def stage(place: Path, given: Sequence[Path]) -> bool:
    """Copy them to `place`, without what is hidden, such as .env, and their environments. What was there before is
    removed. Returns whether anything is different now. Raises Misconfigured.
    """
    if absent := [str(folder) for folder in given if not folder.is_dir()]:
        raise Misconfigured(f"CREWS: there is no folder {', no '.join(absent)}")
    if empty := [str(folder) for folder in given if not crews_in(folder)]:
        raise Misconfigured(f"CREWS: there is no crew and no project of CrewAI in {', '.join(empty)}")
    crews = Catalogue(given)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=".staging-") as scratch:
        new = Path(scratch, "crews")
        new.mkdir()
        for folder in (crew for shelf in given for crew in crews_in(shelf)):
            name = next(name for name in crews.names() if crews.folder(name) == folder)
            for path in own_files(folder):
                target = new / name / path.relative_to(folder)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
        if _content(new) == _content(place):
            return False
        shutil.rmtree(place, ignore_errors=True)
        if given:
            new.rename(place)
    return True


def _content(folder: Path) -> dict[Path, bytes]:
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def main(place: str, stamp: str, *crews: str) -> None:
    """`stamp` is a file that is touched if anything changes."""
    try:
        changed = stage(Path(place), [Path(crew) for crew in crews])
    except Misconfigured as error:
        sys.exit(f"crewrelay: {error}")
    if changed or not Path(stamp).exists():
        Path(stamp).touch()


if __name__ == "__main__":
    main(*sys.argv[1:])
