"""The command line: the script `holdfast`, and `python -m holdfast` for where no script is on the
path.
"""

import sys


def main() -> None:
    try:
        from holdfast.cli import main as command_line
    except ModuleNotFoundError as missing:
        if missing.name not in ("typer", "rich"):
            raise
        print(
            f"error: the command line needs {missing.name}, which is not installed", file=sys.stderr
        )
        print(
            "hint: pip install 'holdfast[all]', or 'holdfast[cli]' beside the extra of one verb",
            file=sys.stderr,
        )
        sys.exit(2)
    command_line()


if __name__ == "__main__":
    main()
