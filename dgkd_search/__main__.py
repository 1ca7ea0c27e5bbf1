"""``python -m dgkd_search`` is ``dgkd-search``."""

from dgkd_search.cli.main import run

if __name__ == "__main__":
    run()
