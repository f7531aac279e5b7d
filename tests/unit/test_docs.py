"""README and docs: every page is reached, every link leads somewhere, the map is the tree, and every block of code is
run by a test or marked as not.
"""

import re
from collections import Counter
from pathlib import Path

import pytest

from tests.support.processes import ROOT

README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").rglob("*.md"))]
# Which test runs how many of a page's blocks. `console` is what people type elsewhere, and is not run as it stands.
RUN = {
    "README.md": {"tests/e2e/test_readme.py": 1},
    "docs/clients.md": {"tests/e2e/test_readme.py": 4, "tests/clients/test_plain.py": 1},
    "docs/command-line.md": {"tests/e2e/test_command_line.py": 2},
    "docs/http.md": {"tests/e2e/test_readme.py": 14},
    "docs/one-machine.md": {"tests/e2e/test_one_machine.py": 3},
    "docs/testing.md": {"tests/e2e/test_testing_page.py": 3},
    "docs/tutorial.md": {"tests/e2e/test_tutorial.py": 14},
    "docs/webhooks.md": {"tests/unit/test_webhooks_page.py": 1},
    "docs/your-crewai-project.md": {"tests/unit/test_project_page.py": 3},
    "docs/your-own-crew.md": {"tests/e2e/test_own_crew.py": 6},
}
CODE = re.compile(r"(<!-- not run: [^>]+ -->\n)?^ *```(?:bash|python|javascript|typescript)\n", re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def text_of(page: Path) -> str:
    """Without the blocks, in which # is no heading."""
    return re.sub(r"^( *)```.*?^\1```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings: the second of a name ends with -1."""
    seen: Counter[str] = Counter()
    found = set()
    for heading in re.findall(r"^#+ (.+)$", text_of(page), re.MULTILINE):
        title = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
        anchor = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        found.add(f"{anchor}-{seen[anchor]}" if seen[anchor] else anchor)
        seen[anchor] += 1
    return found


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_link_leads_somewhere(page: Path) -> None:
    for path, anchor in LINK.findall(text_of(page)):
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), path
        assert not anchor or anchor in anchors(target), f"{path}#{anchor}"


def test_every_page_is_linked_from_the_readme_or_the_index_of_decisions() -> None:
    indexes = [README, ROOT / "docs/decisions/README.md"]
    linked = {(index.parent / path).resolve() for index in indexes for path, _ in LINK.findall(text_of(index))}
    assert [name_of(page) for page in PAGES if page not in linked | {README}] == []


def test_the_map_of_the_code_is_the_tree() -> None:
    above = [ROOT]
    (tree,) = re.findall(r"```\n(template\.yaml.*?)```", README.read_text(), re.DOTALL)
    for line in tree.splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        names, _, told = line.strip().partition("  ") if not line.startswith("template") else (line[:24], "", "")
        del above[depth + 1 :]
        paths = [above[depth] / name for name in names.split() if name != "…"]
        assert all(path.exists() for path in paths), line
        assert all((paths[0] / name).is_dir() for name in re.findall(r"(\w+)/(?=[ :;])", told)), line
        above.append(paths[0])
    rooms = {path.name for path in (ROOT / "functions/crewrelay").iterdir() if (path / "__init__.py").exists()}
    assert {room for room in rooms if f"{room}/" not in tree} == set()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_each_block_of_code_is_run_by_a_test_or_marked_as_not(page: Path) -> None:
    name = name_of(page)
    unmarked = [mark for mark in CODE.findall(page.read_text()) if not mark]
    assert len(unmarked) == sum(RUN.get(name, {}).values())
    for test in RUN.get(name, {}):
        assert Path(name).name in (ROOT / test).read_text()
