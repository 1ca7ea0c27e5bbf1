"""``python -m dgkd_search`` is ``dgkd-search``."""

import sys

from dgkd_search.cli import main

if __name__ == "__main__":
    sys.exit(main())
