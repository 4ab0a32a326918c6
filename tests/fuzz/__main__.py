"""``python -m fuzz``, with this folder's parent in PYTHONPATH."""

import sys

from fuzz.watch import main

if __name__ == "__main__":
    sys.exit(main())
