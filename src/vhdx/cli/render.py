"""Results as text for people and as JSON for programs."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from itertools import chain, islice

from vhdx.text import printable
from vhdx.typed import TYPE_CHECKING
from vhdx.units import format_size, size_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any, TextIO

    from vhdx.extents import Doubt

    Row = tuple[str, str]


EXIT_DOUBTS = 3
"""What a verb returns that read a damaged image and has doubts about what it read."""
_PATIENCE = 1.0
"""Seconds before a bar appears."""
_INTERVAL = 0.1
"""Seconds between its moves: whoever loops fast may call it each time."""


def echo(text: str = "", *, nl: bool = True, err: bool = False) -> None:
    """Print text at once; nothing where whoever called us closed the stream."""
    stream = sys.stderr if err else sys.stdout
    if stream is not None:
        stream.write(f"{text}\n" if nl else text)
        stream.flush()


def complain(sentence: str) -> None:
    """Say on standard error what went wrong; some sentences list what was tried, a line for each."""
    echo("\n".join(printable(line) for line in f"vhdx: {sentence}".split("\n")), err=True)


def standard(stream: TextIO | None) -> TextIO:
    """A standard stream of this process. Raises ValueError if whoever called us closed it."""
    if stream is None:
        raise ValueError("standard input or output is closed")
    return stream


_verbose = False


def be_verbose(verbose: bool) -> None:
    """Whether what is told from now on is exact, and more of it."""
    global _verbose  # noqa: PLW0603  a way of talking of the whole process, as colours are
    _verbose = verbose


def is_verbose() -> bool:
    """Whether details are wanted."""
    return _verbose


def shown(size: int) -> str:
    """A size for people, who are told the exact number where they asked for it."""
    return size_text(size) if _verbose else format_size(size)


_FRAGMENTATION = ((0.0, "none"), (0.05, "little"), (0.3, "some"), (1.0, "much"))
"""What shares of neighbours that are apart are called, up to each."""


def fragmentation_text(share: float) -> str:
    """How scattered in the file is what is in a row on the disk."""
    word = next(word for most, word in _FRAGMENTATION if share <= most)
    return f"{word}, {share:.1%} of neighbours are apart" if share else word


MINUS = "\u2212"
_ASCII = str.maketrans({"→": "->", MINUS: "-", "└": "`", "├": "|", "─": "-", "│": "|", "…": "~"})
"""What stands for our own signs where they cannot be shown."""


def signs(text: str) -> str:
    """Text of our own as standard output shows it: in ASCII where that cannot do more."""
    return text if text.isascii() or _shows(text, sys.stdout) else text.translate(_ASCII)


def _shows(text: str, stream: TextIO | None) -> bool:
    try:
        text.encode(getattr(stream, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return False
    if stream is None or not stream.isatty() or os.name == "nt":
        return (
            True  # Python speaks UTF-8 also in a locale without it, which the terminal may take at its word
        )
    locale = next(filter(None, map(os.environ.get, ("LC_ALL", "LC_CTYPE", "LANG"))), "")
    return locale.lower().endswith(("utf-8", "utf8"))


def painted(text: str, colour: str) -> str:
    """Text in a colour of terminals, by its number, where standard output is one and shows colours."""
    shows = sys.stdout is not None and sys.stdout.isatty() and shows_colours()
    return f"\x1b[{colour}m{text}\x1b[0m" if shows else text


def shows_colours() -> bool:
    """Whether the terminal behind standard output, if it is one, may be sent colours."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    if sys.platform == "win32":
        from vhdx.cli import windows_console  # noqa: PLC0415  other hosts need not read it

        return windows_console.shows_colours()
    return True


def print_doubt(doubt: Doubt) -> None:
    """Say on standard error which range of a disk may be wrong, and why."""
    where = f"doubtful: {doubt.length} bytes at {doubt.offset}"
    echo(printable(f"vhdx: {where}: {doubt.reason}"), err=True)


def print_json(result: Any) -> None:
    """Print a result as JSON; its fields are the keys."""
    echo(json_text(result))


def json_text(result: Any) -> str:
    """A result as the JSON that is printed of it."""
    return _dumps(_plain(result), indent=2)


def print_json_line(result: Any) -> None:
    """Print a result as JSON in one line."""
    echo(_dumps(_plain(result)))


def print_json_stream(result: Any) -> None:
    """Print a result as JSON while it comes about: iterators in it become arrays, and are not kept."""
    for piece in _json_pieces(_begun(result)):
        echo(piece, nl=False)
    echo()


def _begun(result: Any) -> Any:
    """A result whose iterators were asked for their first items: what fails at once prints nothing else."""
    fields = result._asdict().items() if hasattr(result, "_asdict") else ()
    iterators = {name: value for name, value in fields if hasattr(value, "__next__")}
    begun = {name: chain(list(islice(items, 1)), items) for name, items in iterators.items()}
    return result._replace(**begun) if begun else result


class JsonLists:
    """An object whose first members are lists that are printed while they grow, their lengths unknown.

    Each list is complete before something is added to the next one. With ``err`` all goes to standard error.
    """

    def __init__(self, *names: str, err: bool = False) -> None:
        self._names = list(names)
        self._err = err
        self._at = -1
        self._before = "{"

    def adder(self, name: str) -> Callable[[Any], None]:
        """What prints one more item of a list."""
        return lambda item: self._add(self._names.index(name), item)

    def _add(self, index: int, item: Any) -> None:
        self._begin(index)
        echo(f"{self._before}{_dumps(_plain(item))}", nl=False, err=self._err)
        self._before = ",\n "

    def _begin(self, index: int) -> None:
        """End the lists in front of one."""
        for name in self._names[self._at + 1 : index + 1]:
            end = "" if self._at < 0 else "], "
            unsaid = self._before if self._before != ",\n " else ""
            self._before = f"{unsaid}{end}{_dumps(name)}: ["
            self._at += 1

    def finish(self, result: Any) -> None:
        """End the lists; the result becomes the member ``result``."""
        self._begin(len(self._names) - 1)
        start = self._before if self._before != ",\n " else ""
        echo(f'{start}], "result": {_dumps(_plain(result))}}}', err=self._err)


def _dumps(value: Any, indent: int | None = None) -> str:
    import json  # noqa: PLC0415  text needs none

    return json.dumps(value, indent=indent)


def _json_pieces(value: Any) -> Iterator[str]:
    """A value as JSON, piece by piece, so that iterators in it need no memory: they become arrays."""
    if hasattr(value, "_asdict"):
        yield from _joined("{", value._asdict().items(), _json_member, ", ", "}")
    elif hasattr(value, "__next__"):
        yield from _joined("[", value, _json_pieces, ",\n ", "]")
    else:
        yield _dumps(_plain(value))


def _json_member(member: tuple[str, Any]) -> Iterator[str]:
    yield f"{_dumps(member[0])}: "
    yield from _json_pieces(member[1])


def _joined(
    begin: str, items: Iterable[Any], pieces: Callable[[Any], Iterator[str]], separator: str, end: str
) -> Iterator[str]:
    before = begin  # not yet, as long as the first item may fail: then nothing was printed
    for item in items:
        yield before
        before = separator
        yield from pieces(item)
    yield end if before is separator else begin + end


def _plain(value: Any) -> Any:
    """The value in the types that JSON has; results are named tuples, which JSON would take for lists."""
    if hasattr(value, "_asdict"):
        return {key: _plain(field) for key, field in value._asdict().items()}
    if hasattr(value, "__dataclass_fields__"):
        return {name: _plain(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    from uuid import UUID  # noqa: PLC0415  what prints no JSON need not wait for it

    return str(value) if isinstance(value, UUID) else value


def print_rows(rows: Iterable[Row], indent: str = "", width: int = 0) -> None:
    """Print labels and values in two columns, the first of them at least so wide."""
    rows = list(rows)
    width = max(width, *(len(label) + 1 for label, _ in rows)) if rows else width
    for label, value in rows:
        echo(f"{indent}{printable(label) + ':':<{width}} {printable(value)}".rstrip())


@contextlib.contextmanager
def progress_bar(label: str, unit: str = "") -> Iterator[ProgressBar | None]:
    """A bar on standard error for what lasts longer than a second; None where that is no terminal."""
    if sys.stderr is None or not sys.stderr.isatty():  # closed by whoever called us
        yield None
        return
    with contextlib.ExitStack() as held:
        yield ProgressBar(label, held, unit)


class ProgressBar:
    """Called with what is done and, where it is known, how much there is: bytes, or things called ``unit``.

    It appears a second after it was made, so that what is quick prints no more than its result, and does not
    wait for the import of `rich`.
    """

    def __init__(self, label: str, held: contextlib.ExitStack, unit: str = "") -> None:
        self._label = label
        self._unit = unit
        self._held = held
        self._next = time.monotonic() + _PATIENCE
        self._move: Callable[[int, int | None], None] | None = None

    def __call__(self, done: int, total: int | None) -> None:
        """Move the bar."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _INTERVAL
        if self._move is None:
            self._move = self._shown()
        self._move(done, total)

    def _shown(self) -> Callable[[int, int | None], None]:
        from rich import progress as rich  # noqa: PLC0415  slow to import, and of no use to what is quick
        from rich.console import Console  # noqa: PLC0415

        bar = rich.Progress(
            "{task.description}",
            rich.BarColumn(),
            rich.TextColumn(f"{{task.fields[done]}} {self._unit}")
            if self._unit
            else rich.DownloadColumn(binary_units=True),
            rich.TextColumn("{task.fields[rate]}", style="progress.data.speed"),
            rich.TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
            redirect_stdout=False,  # which would go to standard error, JSON and contents included
        )
        task = self._held.enter_context(bar).add_task(self._label, total=None, rate="?", done="")

        def move(done: int, total: int | None) -> None:
            speed = bar.tasks[0].speed  # rich's own column counts in powers of 1000
            amount = "{:.1f}".format if self._unit else lambda speed: format_size(int(speed))
            rate = "?" if speed is None else f"{amount(speed)}/s"
            told = str(done) if total is None else f"{done} of {total}"
            bar.update(task, completed=done, total=total, rate=rate, done=told)

        return move
