"""What commands show while they run: tables, what is being done, and how far it is."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

COMPILE_SECONDS = 0.3
"""How often to look whether kernels are being compiled."""


def make_console(*, stderr: bool = False) -> Console:
    """A console that does not wrap a table in a pipe, unless its lines are absurdly long."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, width=None if stream.isatty() else 1000, highlight=False)


@contextlib.contextmanager
def show_status(text: str) -> Iterator[Callable[[str], None]]:
    """Show on a terminal what is being done; yield a function that changes the text."""
    console = make_console(stderr=True)
    if not sys.stderr.isatty():
        yield lambda step: None
        return
    with console.status(text) as status:
        yield lambda step: status.update(step)


@contextlib.contextmanager
def show_progress(text: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on a terminal; yield a function that sets what is done."""
    if not sys.stderr.isatty():
        yield lambda n_done: None
        return
    import threading

    from rich.progress import Progress

    from ..runtime.engines.event import has_compiled

    with Progress(console=make_console(stderr=True)) as bar:
        task = bar.add_task(text, total=total)
        started = threading.Event()

        def explain() -> None:
            while not started.wait(COMPILE_SECONDS):
                if has_compiled():
                    bar.update(task, description="compiling the kernels, once")

        def show(n_done: int) -> None:
            started.set()
            bar.update(task, completed=n_done, description=text)

        threading.Thread(target=explain, daemon=True).start()
        try:
            yield show
        finally:
            started.set()


@contextlib.contextmanager
def show_search() -> Iterator[Callable[[int, str], None]]:
    """Show on a terminal how far a search is and what it tries; yield a function that sets both."""
    if not sys.stderr.isatty():
        yield lambda n_runs, text: None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from ..runtime.sweep.measuring import MAX_RUNS

    columns = (BarColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=make_console(stderr=True), transient=True) as bar:
        task = bar.add_task("searching", total=MAX_RUNS)
        yield lambda n_runs, text: bar.update(task, completed=n_runs, description=text)


@contextlib.contextmanager
def show_epochs() -> Iterator[tuple[Any, ...]]:
    """Yield callbacks of Keras that show on a terminal how far an epoch of a training is.

    What is printed meanwhile goes above the bar, or to the file that stdout is.
    """
    if not sys.stderr.isatty():
        yield ()
        return
    import keras
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(
        *columns,
        console=make_console(stderr=True),
        transient=True,
        redirect_stdout=sys.stdout.isatty(),  # else lines would go to stderr with the bar
    ) as bar:
        task = bar.add_task("building the network", total=None)

        class Bar(keras.callbacks.Callback):  # type: ignore[misc]
            """The batches of the epoch that runs."""

            def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
                bar.reset(task, total=self.params["steps"], description=f"epoch {epoch + 1}")

            def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
                bar.update(task, completed=batch + 1)

        yield (Bar(),)
