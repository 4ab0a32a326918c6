"""The command line: ``xr-cloudmask demo | describe | predict | run | list | show | export | models …``."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

from xr_cloudmask.cli import catalogue, demo, describe, evaluate, predict, train, weights
from xr_cloudmask.cli.options import CLOSED, DONE, INTERRUPTED, UNUSABLE
from xr_cloudmask.cli.printing import shown
from xr_cloudmask.cli.spelling import in_shell
from xr_cloudmask.errors import CloudMaskError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments; by default the process's.

    Returns
    -------
    int
        Exit code: 0 done, 1 unusable input, 130 interrupted, 141 nobody reads what is printed. Arguments that cannot be
        understood raise SystemExit(2).
    """
    arguments = _parser().parse_args(_joined(sys.argv[1:] if argv is None else argv))
    try:
        with _plain_warnings():
            code = int(arguments.run(arguments) or DONE)
        print(end="", flush=True)  # here: what is still to be printed may find a closed pipe
        return code
    except BrokenPipeError:  # `| head` has what it wants
        _print_nothing_more()
        return CLOSED
    except OSError as error:
        if arguments.debug:
            raise
        where = f"{error.filename!r}: " if error.filename else ""
        found = f"{where}{error.strerror or error}"
        return _told(CloudMaskError(found, "files and folders that can be read and written", "ls -l, or df"))
    except CloudMaskError as error:
        if arguments.debug:
            raise
        return _told(CloudMaskError(error.found, error.expected, in_shell(error.remedy, vars(arguments))))
    except KeyboardInterrupt:
        print("interrupted: nothing half-written was left", file=sys.stderr)
        return INTERRUPTED


def _told(error: CloudMaskError) -> int:
    print(shown(error), file=sys.stderr)
    return UNUSABLE


def _print_nothing_more() -> None:
    """Point standard output to nowhere: Python would complain of the closed pipe when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Print warnings as what they say; where in the code they arose helps nobody at a shell."""
    usual = warnings.formatwarning

    def said(message: Warning | str, *_: Any, **__: Any) -> str:
        return f"warning: {message}\n"

    warnings.formatwarning = said
    try:
        yield
    finally:
        warnings.formatwarning = usual


def _joined(argv: Sequence[str]) -> list[str]:
    """Join ``--bbox`` and its numbers, which argparse takes for an option where the first of them is negative."""
    words = iter(argv)
    return [f"{word}={next(words, '')}" if word == "--bbox" else word for word in words]


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser = argparse.ArgumentParser(prog="xr-cloudmask", description="Cloud masks for any optical satellite cube.")
    parser.add_argument("--version", action="version", version=f"xr-cloudmask {version('xr-cloudmask')}")
    commands = parser.add_subparsers(
        required=True,
        metavar="demo | describe | predict | run | list | show | export | models | weights | train | evaluate",
    )
    demo.add(commands.add_parser("demo", parents=[common], help="mask six simulated dates over a real surface"))
    what = "say what is understood of files, and what is missing"
    describe.add(commands.add_parser("describe", parents=[common], help=what))
    predict.add(commands.add_parser("predict", parents=[common], help="mask files or product folders"))
    catalogue.add_run(commands.add_parser("run", parents=[common], help="search a STAC API and mask every scene once"))
    catalogue.add_readers(commands, common)
    what = "list the models, what they need, their licences"
    weights.add_models(commands.add_parser("models", parents=[common], help=what))
    what = "fetch, list, verify and find weights that this package does not bring"
    weights.add_weights(commands.add_parser("weights", help=what), common)
    train.add(commands.add_parser("train", parents=[common], help="train model universal, or fine-tune it"))
    evaluate.add(commands.add_parser("evaluate", parents=[common], help="score a model on labelled scenes"))
    return parser
