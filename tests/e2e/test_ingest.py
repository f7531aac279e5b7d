"""What is ingested while the stack runs is what its crews answer from next, without a restart."""

import subprocess
from pathlib import Path

from tests.support.stack import COMMAND, environment, running_stack

QUESTION = {"topic": "What does the zorblax pump move?", "language": "en"}


def test_crews_answer_from_what_was_ingested_meanwhile(tmp_path: Path) -> None:
    (tmp_path / "pump.md").write_text("# The zorblax pump\n\nThe zorblax pump moves liquid helium at night.\n")
    variables = {"CREWRELAY_COLLECTIONS": str(tmp_path / "store")}
    with running_stack(**variables) as stack:
        before = stack.client.post("/crewai/run", json=QUESTION).json()
        assert "helium" not in before["answer"]
        ingested = subprocess.run(
            [*COMMAND, "ingest", str(tmp_path / "pump.md")],
            env=environment(**variables),
            capture_output=True,
            text=True,
        )
        assert ingested.returncode == 0, ingested.stderr
        answer = stack.client.post("/crewai/run", json=QUESTION).json()
    assert "The zorblax pump moves liquid helium at night. [1]" in answer["answer"]
    assert [source["title"] for source in answer["sources"]] == ["The zorblax pump"]
    assert answer["sources"][0]["url"] == f"{tmp_path}/pump.md"
