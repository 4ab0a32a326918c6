"""``python -m xr_cloudmask``: the command line."""

import sys

from xr_cloudmask.cli import main

if __name__ == "__main__":
    sys.exit(main())
