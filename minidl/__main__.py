"""The command `minidl`, and `python -m minidl`."""

import sys

import minidl.starting as starting


def main() -> int:
    """Run the command of `sys.argv`; the exit status."""
    starting.begin()
    from minidl.cli import main as command  # takes long, and can be interrupted

    try:
        return command()
    finally:
        starting.done()


if __name__ == "__main__":
    sys.exit(main())
