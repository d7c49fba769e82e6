"""``python -m vhdx``."""

from vhdx.cli.start import run

if __name__ == "__main__":
    run()
