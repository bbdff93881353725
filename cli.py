"""The command line: COMMANDS, and what holds for all of them; each is in commands/ by subject.

Heavy modules are imported inside the commands, so that `spikeport --help` answers at once.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from typing import Any

import click

from spikeport.commands import binarize, convert, evaluate, exchange, explain, models, sweep, train

OUTPUT_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}


class _Commands(click.Group):
    """Prints spikeport's own errors as one message and a hint, exit code 1, without a traceback."""

    def main(self, *args: Any, **options: Any) -> Any:
        if sys.stdout is None:  # Python's way to say that its caller closed it
            click.echo("Error: standard output: is closed, expected an open one", err=True)
            click.echo("Hint: send it to /dev/null if it is of no use", err=True)
            sys.exit(1)
        try:
            return super().main(*args, **options)
        except OSError as error:
            # Files are spikeport's own errors; what has no file name is the standard output.
            if error.errno not in OUTPUT_ERRORS or error.filename is not None:
                raise
            _drop_output()
            click.echo(f"Error: standard output: {error.strerror}", err=True)
            click.echo("Hint: free some space, or send the output to another place", err=True)
            sys.exit(1)

    def invoke(self, ctx: click.Context) -> Any:
        from spikeport.converter.errors import SpikeportError

        try:
            return super().invoke(ctx)
        except SpikeportError as error:
            if ctx.params["debug"]:
                raise
            click.echo(f"Error: {error}", err=True)
            if error.hint:
                click.echo(f"Hint: {error.hint}", err=True)
            ctx.exit(1)
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            ctx.exit(130)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.version_option(package_name="spikeport")
def main(debug: bool) -> None:
    """Turn trained Keras and ONNX networks into spiking networks, and measure them.

    MODEL is a .keras, .h5 or .onnx file, or the name of a shipped network (spikeport models list).
    DATA is fashion-mnist:test, fashion-mnist:train, keras:NAME:SPLIT, tfds:NAME:SPLIT, an .npz with
    x and optionally y, a folder with one sub-folder of images per class, or events: and a folder of
    recordings.

    \b
    Example:
      spikeport convert lenet --calibration fashion-mnist:train -o lenet.snn
      spikeport evaluate lenet.snn --data fashion-mnist:test --ann lenet --limit 200
    """  # noqa: D301
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def _drop_output() -> None:
    """Let what is still buffered go nowhere: Python would try to write it again at its end."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


COMMANDS = (
    convert.check,
    convert.convert,
    convert.recipes,
    convert.inspect,
    evaluate.evaluate,
    evaluate.compare,
    explain.explain,
    explain.trace,
    train.train,
    binarize.binarize,
    sweep.sweep,
    sweep.results,
    exchange.export,
    exchange.import_file,
    models.models,
    models.demo,
)
for _command in COMMANDS:
    main.add_command(_command)


if __name__ == "__main__":
    main()
