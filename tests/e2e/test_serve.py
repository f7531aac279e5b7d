"""The stack as a process: it says what is wrong in a line, and leaves nothing behind."""

import contextlib
import os
import signal
import socket
import subprocess

import pytest

from tests.support.stack import (
    COMMAND,
    alive,
    children,
    children_running,
    environment,
    free_port,
    running_stack,
    serve_and_fail,
)
from tests.support.waiting import wait_until


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_everything(stop: signal.Signals) -> None:
    with running_stack(1, "--aws") as stack:
        started = children(stack.process.pid)
        assert len(started) == 2  # the emulator and the crew process
        stack.process.send_signal(stop)
        assert stack.process.wait(15) == 0
        assert not [pid for pid in started if alive(pid)]


def test_children_end_with_a_parent_that_was_killed() -> None:
    with running_stack() as stack:
        started = children(stack.process.pid)
        stack.process.kill()
        wait_until(lambda: not [pid for pid in started if alive(pid)], within=10)


def test_a_dead_emulator_ends_the_stack_loudly() -> None:
    command = [*COMMAND, "serve", "--aws", "--port", "0", "--crews", "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())
    assert process.stdout
    assert "ready" in process.stdout.readline()
    (emulator,) = children_running(process.pid, "crewrelay.local.emulator")
    os.kill(emulator, signal.SIGKILL)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "the AWS emulator ended" in errors


def test_a_port_in_use_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        failed = serve_and_fail("--port", str(port))
    assert failed.returncode == 1
    assert failed.stderr.splitlines() == [
        f"crewrelay: can't listen on 127.0.0.1:{port}: Address already in use; choose another with --port"
    ]


def test_the_same_port_can_not_be_had_twice_even_at_once() -> None:
    port = str(free_port())
    command = [*COMMAND, "serve", "--port", port]
    pair = [
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment())
        for _ in range(2)
    ]
    try:
        wait_until(lambda: any(process.poll() is not None for process in pair), within=30)
        (loser,) = (process for process in pair if process.poll() is not None)
        _, errors = loser.communicate()
        assert loser.returncode == 1
        assert errors.count("\n") == 1
        assert "Address already in use" in errors
    finally:
        for process in pair:
            process.terminate()
            process.communicate(timeout=15)


def test_a_second_ctrl_c_ends_a_start_that_hangs() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, and never answers
        variables = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{silent.getsockname()[1]}"}
        credentials = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1"}
        command = [*COMMAND, "serve", "--port", "0"]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment(**variables, **credentials))
        asking, _ = silent.accept()
        with asking:
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(1)
            process.send_signal(signal.SIGINT)
            assert process.wait(5) == 128 + signal.SIGINT
