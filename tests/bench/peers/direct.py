"""Calls the crew as a function, so many times: python -m tests.bench.peers.direct TIMES prints the seconds as JSON."""

import json
import os
import sys
import time

from tests.bench.peers.plain_crew import plain_crew

if __name__ == "__main__":
    answered, taken = plain_crew(os.environ["BENCH_MODEL_URL"]), list[float]()
    for number in range(int(sys.argv[1])):
        begun = time.perf_counter()
        answered(f"topic {number}", "en")
        taken.append(time.perf_counter() - begun)
    print(json.dumps(taken))
