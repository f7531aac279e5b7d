"""What a topic is understood to ask for."""

import pytest

from crewrelay.crews.keyless.question import Question
from crewrelay.retrieval.words import grams


@pytest.mark.parametrize(
    ("language", "topic", "defined"),
    [
        ("en", "What is a neural network?", "neural network"),
        ("en", "what are window functions", "window functions"),
        ("es", "¿Qué es una red neuronal?", "red neuronal"),
        ("de", "Was ist ein neuronales Netz?", "neuronales netz"),
        ("fr", "Qu'est-ce qu'un réseau de neurones ?", "reseau de neurones"),
        ("it", "Che cos'è una rete neurale?", "rete neurale"),
        ("pt", "O que é uma rede neural?", "rede neural"),
        ("nl", "Wat is een neuraal netwerk?", "neuraal netwerk"),
        ("en", "What is the capital city of Mongolia?", None),
        ("en", "What does it cost?", None),
        ("en", "When is a lease lost?", None),
    ],
)
def test_what_it_wants_a_definition_of(language: str, topic: str, defined: str | None) -> None:
    found = Question(topic, language).defined
    assert (found and found.strip()) == defined


def test_a_subject_wants_an_overview() -> None:
    subject = Question("neural networks", "en")
    assert (subject.asks, subject.defined) == (False, "neural networks")
    assert Question("How do they learn?", "en").asks


@pytest.mark.parametrize(
    ("topic", "number"),
    [
        ("How many hearts does it have?", True),
        ("When was it built?", True),
        ("When should I not use it?", False),
        ("How deeply may it be nested?", True),
        ("From which release on can I use it?", True),
        ("How do I use it?", False),
        ("How can it be used?", False),
        ("When is it lost?", False),
        ("Wie viele Herzen hat es?", True),
        ("Wann wurde es gebaut?", True),
        ("Wann sollte ich es nicht verwenden?", False),
        ("¿Cuántos corazones tiene?", True),
        ("¿Cuándo se construyó?", True),
        ("¿Cuándo no debería usarlo?", False),
        ("Who built it?", False),
    ],
)
def test_whether_it_wants_a_number(topic: str, number: bool) -> None:
    assert Question(topic, "en").wants_a_number is number


@pytest.mark.parametrize(
    ("language", "topic", "names"),
    [
        ("en", "Who owns Pinecone?", ["Pinecone"]),
        ("en", '"Pinecone" is what?', []),  # the first word of a sentence is no name
        ("en", 'Is a "Pinecone" a lease?', ["Pinecone"]),
        ("en", "What did it cost in 2018?", ["2018"]),
        ("de", "Wer darf das Ergebnis schreiben?", []),  # a capital makes no name in German
        ("de", "Wer darf bei RabbitMQ schreiben?", ["RabbitMQ"]),
        ("es", "¿Quién puede escribir en Marte?", ["Marte"]),
    ],
)
def test_its_names(language: str, topic: str, names: list[str]) -> None:
    assert Question(topic, language).names == names


def test_stop_words_do_not_count_unless_there_are_no_others() -> None:
    assert Question("What is the LEASE?", "en").grams == grams("lease")
    assert Question("What is this?", "en").grams == grams("what is this")


@pytest.mark.parametrize(
    ("language", "text", "same"),
    [
        ("en", "The lease of a job is renewed while it runs.", True),
        ("en-GB", "The lease of a job is renewed while it runs.", True),
        ("de", "Die Lease eines Auftrags wird erneuert, und zwar von dem, der sie hat.", True),
        ("es", "El arrendamiento de un trabajo se renueva mientras dura.", True),
        ("de", "The lease of a job is renewed while it runs.", False),
        ("fr", "Le bail d'un travail est renouvelé.", False),  # there is no list of French words
    ],
)
def test_whether_a_text_is_in_its_language(language: str, text: str, same: bool) -> None:
    assert Question("anything", language).is_in_the_language_of(text) is same
