"""Command line: ``python -m s5forecast check FILE`` checks a file of series before training."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from s5forecast.data.files import READERS, read_file
from s5forecast.data.frames import Columns


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit status is 0 if the data have no error, and 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m s5forecast", description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_check(commands.add_parser("check", help="check a file of series before training"))
    given = parser.parse_args(arguments)
    try:
        return int(given.run(given))
    except (OSError, ValueError, ImportError) as error:
        parser.exit(2, f"{error}\n")


def _add_check(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, help=f"file of one of the kinds {', '.join(READERS)}")
    parser.add_argument("--prediction-length", type=int, default=24, help="steps to forecast, by default 24")
    parser.add_argument("--freq", default="infer", help="offset alias such as h, a whole number, or none (irregular)")
    parser.add_argument("--target", default=Columns.target, help="column of the values")
    parser.add_argument("--timestamp", default=Columns.timestamp, help="column of the times")
    parser.add_argument("--item-id", nargs="+", default=[Columns.item_id], help="columns that identify a series")
    parser.add_argument("--known", nargs="+", default=[], help="columns that are known over the horizon")
    parser.add_argument("--past", nargs="+", default=[], help="covariates that are not known over the horizon")
    parser.add_argument("--holidays", nargs="+", help="countries whose holidays are covariates, such as US")
    parser.add_argument("--weight", help="column of the weights in the training loss")
    parser.add_argument("--static", nargs="+", default=[], help="columns that are constant in each series")
    parser.add_argument("--future", type=Path, help="file with the known columns over the horizon")
    parser.add_argument(
        "--times", type=Path, help="file with the times to forecast irregular series, and known columns"
    )
    parser.add_argument("--page", type=Path, help="HTML page to write")
    parser.set_defaults(run=_check)


def _check(given: argparse.Namespace) -> int:
    from s5forecast.forecaster import S5Forecaster

    names = ("prediction_length", "target", "timestamp", "item_id", "known", "past", "static", "holidays", "weight")
    forecaster = S5Forecaster(freq=_frequency(given.freq), **{name: getattr(given, name) for name in names})
    ahead = {name: read_file(path) for name in ("future", "times") if (path := getattr(given, name)) is not None}
    check = forecaster.check(read_file(given.file), **ahead)
    print(check)
    if given.page is not None:
        from s5forecast.plotting import write_check

        print(f"page: {write_check(check, given.page)}")
    return 0 if check.passed else 1


def _frequency(text: str) -> str | int | None:
    return None if text == "none" else int(text) if text.isdigit() else text


if __name__ == "__main__":
    sys.exit(main())
