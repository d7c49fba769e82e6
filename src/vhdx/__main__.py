"""``python -m vhdx``."""

from vhdx.cli.main import run

if __name__ == "__main__":
    run()
