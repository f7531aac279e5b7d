"""Which files are meant by a path, and that nothing is opened but regular files in the folder that was given."""

import ctypes
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import Any

import pytest

from crewrelay.retrieval.reading.files import File, Unreadable, files_under, is_gone, opened

OUT = "it is a link that leads out of its folder; name what it leads to instead"


def content(file: File) -> str:
    with opened(file) as descriptor:
        return os.read(descriptor, 100).decode()


def outcome(file: File) -> str:
    try:
        return content(file)
    except Unreadable as error:
        return f"skipped: {error}"


def outcomes(*paths: Path) -> dict[str, str]:
    return {file.path.name: outcome(file) for file in files_under(paths)}


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    """A folder beside another, with a page in each."""
    for name in ("docs", "outside"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.txt").write_text(f"Of {name}.")
    return tmp_path / "docs"


def test_links_are_followed_within_the_folder_that_was_given(docs: Path) -> None:
    (docs / "inside.txt").symlink_to("docs.txt")
    (docs / "outside.txt").symlink_to("../outside/outside.txt")
    (docs / "absolute.txt").symlink_to(docs / "docs.txt")
    assert outcomes(docs) == {
        "docs.txt": "Of docs.",
        "inside.txt": "Of docs.",
        "absolute.txt": "Of docs.",
        "outside.txt": f"skipped: {OUT}",
    }
    assert outcomes(docs.parent)["outside.txt"] == "Of outside."  # of which it is a part


def test_a_link_that_is_named_is_followed_within_its_own_folder(docs: Path) -> None:
    for name, target in {"in.txt": "docs.txt", "out.txt": "../outside/outside.txt"}.items():
        (docs / name).symlink_to(target)
    (docs / "out").symlink_to("../outside")
    (docs.parent / "current").symlink_to("docs")
    named = [docs / "in.txt", docs / "out.txt", docs / "out", docs.parent / "current" / "in.txt"]
    assert [outcome(file) for file in files_under(named)] == [
        "Of docs.",
        f"skipped: {OUT}",
        f"skipped: {OUT}",
        "Of docs.",
    ]
    assert outcomes(docs.parent / "current")["docs.txt"] == "Of docs."


def test_a_folder_may_be_named_in_any_way(docs: Path) -> None:
    (docs / "below").mkdir()
    with chdir(docs / "below"):
        for name in ("..", "../../docs", "../../docs/below/.."):
            assert outcomes(Path(name)) == {"docs.txt": "Of docs."}
        assert outcomes(Path("../docs.txt")) == {"docs.txt": "Of docs."}
    with chdir(docs):
        assert outcomes(Path()) == outcomes(Path("docs.txt")) == {"docs.txt": "Of docs."}


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null"])
def test_a_device_is_not_opened(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.open", lambda *_, **__: pytest.fail("it was"))
    assert outcomes(Path(device)) == {Path(device).name: "skipped: it is not a regular file"}


@pytest.fixture
def swapped(monkeypatch: pytest.MonkeyPatch) -> "Swapped":
    """Has something else put in the place of a path of the test's own, once, as soon as it was looked at."""

    def swap(looked_at: Path, put: Callable[[Path], object]) -> None:
        look, left = os.stat, [looked_at]

        def stat(path: Any, **options: Any) -> os.stat_result:
            status = look(path, **options)
            if path == str(looked_at) and left:  # and no other: whatever else runs here looks at files, too
                put(left.pop())
            return status

        monkeypatch.setattr("os.stat", stat)

    return swap


Swapped = Callable[[Path, Callable[[Path], object]], None]


@pytest.mark.parametrize("place", ["below", "below/page.txt"])
def test_what_is_put_in_the_place_of_a_file_after_it_was_looked_at_is_not_opened(
    docs: Path, swapped: Swapped, place: str
) -> None:
    (docs / "below").mkdir()
    (docs / "below" / "page.txt").write_text("Of docs.")
    (docs.parent / "outside" / "page.txt").write_text("Of outside.")
    file = File(docs / "below" / "page.txt", docs)

    def put(_: Path) -> None:
        (docs / place).rename(docs / "away")
        (docs / place).symlink_to(docs.parent / "outside" / Path(place).relative_to("below"))

    swapped(file.path, put)
    assert outcome(file) in ("skipped: Not a directory", "skipped: Too many levels of symbolic links")
    assert outcome(file) == f"skipped: {OUT}"


def test_a_pipe_that_is_put_in_the_place_of_a_file_is_not_waited_for(docs: Path, swapped: Swapped) -> None:
    def put(path: Path) -> None:
        path.unlink()
        os.mkfifo(path)

    swapped(docs / "docs.txt", put)
    assert outcome(File(docs / "docs.txt", docs)) == "skipped: it is not a regular file"


def test_what_may_not_be_read_is_named(docs: Path) -> None:
    (docs / "locked").mkdir()
    (docs / "listed").mkdir()
    for path in (docs / "locked" / "unseen.txt", docs / "listed" / "seen.txt", docs / "locked.txt"):
        path.write_text("Text.")
    (docs / "locked").chmod(0o000)
    (docs / "listed").chmod(0o400)
    (docs / "locked.txt").chmod(0o000)
    denied = "skipped: Permission denied"
    with as_anybody():
        assert outcomes(docs) == {"docs.txt": "Of docs.", "locked": denied, "seen.txt": denied, "locked.txt": denied}
        assert not is_gone(str(docs / "locked" / "unseen.txt"))  # it can't be known
    assert is_gone(str(docs / "absent.txt"))
    assert is_gone(str(docs / "docs.txt" / "below.txt"))
    for path in (docs / "locked", docs / "listed"):
        path.chmod(0o700)


def test_a_tree_may_be_deeper_than_pythons_stack(docs: Path) -> None:
    folders = [f"{docs}{'/d' * depth}" for depth in range(1, sys.getrecursionlimit() + 50)]
    for folder in folders:
        os.mkdir(folder)
    (docs / folders[-1] / "deep.txt").write_text("Deep.")
    try:
        assert outcomes(docs) == {"docs.txt": "Of docs.", "deep.txt": "Deep."}
    finally:  # pytest would remove it by recursion
        (docs / folders[-1] / "deep.txt").unlink()
        for folder in reversed(folders):
            os.rmdir(folder)


@contextmanager
def as_anybody() -> Iterator[None]:
    """Without root's right to read what is closed to it, if this process has that; for this thread."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    before, without = (ctypes.c_uint32 * 6)(), (ctypes.c_uint32 * 6)()
    assert libc.capget(header, before) == libc.capget(header, without) == 0
    without[0] &= ~0b110  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, of those in effect
    assert libc.capset(header, without) == 0
    try:
        yield
    finally:
        assert libc.capset(header, before) == 0
