"""`python -m crewrelay.retrieval.embedded.build [CORPUS]`: rebuilds the index of a corpus."""

import sys
from pathlib import Path

from crewrelay.retrieval.embedded.index import SHIPPED_CORPUS, build_index

if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else SHIPPED_CORPUS
    print(f"{build_index(folder)} passages indexed in {folder}")
