"""What a list says that a job is about."""

from typing import Any

import pytest

from crewrelay.jobs import transitions
from crewrelay.jobs.job import JobInput
from tests.support.jobs import INPUT, NOW, POLICY


@pytest.mark.parametrize(
    ("inputs", "title"),
    [
        ({"language": "en", "topic": "tides"}, "tides"),
        ({"count": 3, "question": "Why?", "reader": "experts"}, "Why?"),
        ({"topic": 7, "notes": " \n ", "reader": "experts"}, "experts"),
        ({"topic": "two\n  lines"}, "two lines"),
        ({"topic": "\u202eright to left\x1b[2J"}, "right to left[2J"),
        ({"topic": "x" * 80}, "x" * 80),
        ({"topic": "x" * 81}, "x" * 79 + "…"),
        ({"topic": ["a", "b"]}, ""),
        ({}, ""),
    ],
)
def test_a_title_is_the_topic_or_the_first_text_in_one_short_line(inputs: dict[str, Any], title: str) -> None:
    assert JobInput(crew="research", inputs=inputs).title == title


def test_a_job_keeps_its_title_apart_from_its_input() -> None:
    assert transitions.submit("an-id", "acme", INPUT, NOW, POLICY).title == "neural networks"
