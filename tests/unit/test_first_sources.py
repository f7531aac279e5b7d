"""What a stranger may ask of the shipped corpus, and the page that the keyless answer begins with."""

import pytest

from crewrelay.crews.keyless.extractive import ExtractiveLLM
from crewrelay.crews.running.runner import CrewRunner
from crewrelay.jobs.records.answer import Answer
from crewrelay.jobs.records.job import JobInput
from crewrelay.retrieval.embedded.collections import EmbeddedRetriever
from crewrelay.testing import Unjournaled

USES, NETWORKS = "Appropriate Uses For SQLite", "Neural networks"
QUEUES, HISTORY = "Message queues and at-least-once delivery", "A short history of neural networks"
FIRST_SOURCES = [
    ("en", "when should I not use SQLite?", USES),
    ("de", "Wann sollte ich SQLite nicht verwenden?", USES),
    ("en", "neural networks", NETWORKS),
    ("en", "What is a neural network?", NETWORKS),
    ("es", "¿Qué es una red neuronal?", NETWORKS),
    ("de", "Was ist ein neuronales Netz?", NETWORKS),
    ("en", "How large can a SQLite database be?", USES),
    ("en", "What happens if the power fails during a commit?", "Atomic Commit In SQLite"),
    ("en", "How do I add a column to a table?", "ALTER TABLE"),
    ("en", "Why does the file not get smaller when I delete rows?", "SQLite Frequently Asked Questions"),
    ("en", "How do I back up a database while it is in use?", "SQLite Backup API"),
    ("en", "What is write-ahead logging?", "Write-Ahead Logging"),
    ("en", "What is a partial index?", "Partial Indexes"),
    ("en", "What is a window function?", "Window Functions"),
    ("en", "What is retrieval-augmented generation?", "Retrieval-augmented generation"),
    ("en", "Who invented the perceptron?", HISTORY),
    ("en", "What is a dead-letter queue?", QUEUES),
    ("en", "What is a cold start?", "Serverless functions and AWS Lambda"),
    ("en", "What is a vector database?", "Vector databases and hybrid search"),
    ("de", "Wofür braucht man eine Lease?", "Durable execution of long-running work"),
]


@pytest.fixture(scope="module")
def runner() -> CrewRunner:
    return CrewRunner(lambda name=None: ExtractiveLLM(model=ExtractiveLLM.NAME), EmbeddedRetriever())


def answered(runner: CrewRunner, topic: str, language: str) -> Answer:
    return runner.run(JobInput(crew="research", inputs={"topic": topic, "language": language}), Unjournaled())


@pytest.mark.parametrize(("language", "topic", "title"), FIRST_SOURCES)
def test_the_answer_begins_where_it_should(runner: CrewRunner, language: str, topic: str, title: str) -> None:
    assert answered(runner, topic, language).sources[0].title == title


@pytest.mark.parametrize(
    ("language", "topic"),
    [
        ("en", "neural networks"),
        ("es", "redes neuronales"),
        ("de", "neuronale Netze"),
        ("en", "What is a neural network?"),
        ("es", "¿Qué es una red neuronal?"),
        ("de", "Was ist ein neuronales Netz?"),
    ],
)
def test_a_definition_comes_first_in_each_language(runner: CrewRunner, language: str, topic: str) -> None:
    assert answered(runner, topic, language).text.startswith("A neural network is a mathematical function built from")


def test_an_overview_has_several_sources(runner: CrewRunner) -> None:
    assert len(answered(runner, "neural networks", "en").sources) >= 3


@pytest.mark.parametrize(
    ("language", "topic"),
    [
        ("en", "What is the capital of Peru?"),
        ("es", "¿Cuál es la capital de Perú?"),
        ("de", "Was ist die Hauptstadt von Peru?"),
    ],
)
def test_what_has_nothing_to_do_with_it_is_declined(runner: CrewRunner, language: str, topic: str) -> None:
    answer = answered(runner, topic, language)
    assert (answer.answerable, answer.sources) == (False, ())
