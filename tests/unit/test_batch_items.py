"""Files of topics for `crewrelay batch`: what a line becomes, and what is told before anything is submitted."""

import json
from pathlib import Path
from typing import Any

import pytest
import typer

from crewrelay.cli.batch import items


def read(tmp_path: Path, name: str, content: str | bytes, crew: str = "") -> dict[int, dict[str, Any]]:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return {line.number: line.item for line in items.read(path, "de", crew)}


def test_each_line_of_text_is_a_topic(tmp_path: Path) -> None:
    found = read(tmp_path, "a.txt", "\ufeffrain\r\n\n  snow \n")
    assert found == {
        1: {"custom_id": "1", "topic": "rain", "language": "de"},
        3: {"custom_id": "3", "topic": "snow", "language": "de"},
    }


def test_a_line_of_json_is_a_request_as_it_is(tmp_path: Path) -> None:
    content = '{"topic": "a\u2028b", "language": "en"}\n{"crew": "own", "inputs": {"n": 1}, "custom_id": "x"}\n'
    found = read(tmp_path, "a.jsonl", content, crew="other")
    assert found == {
        1: {"custom_id": "1", "topic": "a\u2028b", "language": "en", "crew": "other"},
        2: {"custom_id": "x", "crew": "own", "inputs": {"n": 1}},
    }


def test_columns_of_csv_are_fields_and_empty_cells_are_left_out(tmp_path: Path) -> None:
    content = 'topic,language,custom_id\n"rain,\nand snow",en,r\n\nsun,,\n'
    assert read(tmp_path, "a.csv", content) == {
        2: {"custom_id": "r", "topic": "rain,\nand snow", "language": "en"},
        5: {"custom_id": "5", "topic": "sun", "language": "de"},
    }


def test_other_columns_of_csv_are_a_crews_inputs(tmp_path: Path) -> None:
    assert read(tmp_path, "a.csv", "topic,city,custom_id\nrain,Rome,r\n", crew="weather") == {
        2: {"custom_id": "r", "crew": "weather", "inputs": {"topic": "rain", "city": "Rome"}}
    }


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", '{"topic": "a"}\n{"topic": \n', "line 2: it is not valid JSON"),
        ("a.jsonl", "[" * 100_000, "line 1: it is not valid JSON"),
        ("a.jsonl", '"rain"\n', "line 1: it must be a JSON object"),
        ("a.jsonl", '{"custom_id": 7}\n', "line 1: custom_id must be text"),
        ("a.jsonl", json.dumps({"topic": "x" * 300_000}), "line 1: it has more than 262,144 bytes"),
        ("a.jsonl", '{"custom_id": "2"}\n{}\n', "line 2: its custom_id '2' is that of line 1"),
        ("a.csv", "topic,language\nrain\n", "line 2: it has 1 cells, and the first line 2"),
        ("a.csv", "language\nen\n", "no column is called topic"),
        ("a.csv", "topic,topic\na,b\n", "it must name the columns"),
        ("a.csv", 'topic\n"rain\n', "unexpected end of data"),
        ("a.csv", "", "it must name the columns"),
        ("a.txt", "\n \n", "has no topics"),
        ("a.txt", b"K\xe4se\n", "not in UTF-8: byte 2 is wrong"),
        ("a.xlsx", "", "must end with .csv, .jsonl or .txt"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(
    tmp_path: Path, name: str, content: str | bytes, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit):
        read(tmp_path, name, content)
    assert said in capsys.readouterr().err


def test_many_lines_are_several_requests(tmp_path: Path) -> None:
    def sizes(lines: int, length: int) -> list[int]:
        found = [items.Line(n, {"custom_id": str(n), "topic": "x" * length}) for n in range(1, lines + 1)]
        chunks = items.chunks(found)
        assert [line for chunk in chunks for line in chunk] == found
        return [len(chunk) for chunk in chunks]

    assert sizes(2001, 1) == [1000, 1000, 1]
    assert sizes(40, 200_000) == [17, 17, 6]  # 4 MB is the most that the API takes


def test_the_key_of_a_request_is_that_of_its_lines() -> None:
    chunk = [items.Line(1, {"custom_id": "1", "topic": "x"})]
    other = [items.Line(1, {"custom_id": "1", "topic": "y"})]
    key = items.key_of(chunk, "")
    assert key == items.key_of([line._replace(item=dict(reversed(line.item.items()))) for line in chunk], "")
    assert len({key, items.key_of(other, ""), items.key_of(chunk, "again")}) == 3
