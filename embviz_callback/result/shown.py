"""What a notebook shows of a result: figures that wait until they are asked for, and a page in a frame."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path

from matplotlib.figure import Figure

from embviz_callback.drawing.figures.png import to_png
from embviz_callback.files import write_atomically


@dataclass(frozen=True, eq=False)
class Picture:
    """A figure, which a notebook shows.

    Attributes:
        figure: Of matplotlib.
    """

    figure: Figure

    @cached_property
    def png(self) -> bytes:
        """As a file."""
        return to_png(self.figure)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the PNG."""
        write_atomically(Path(path), self.png)

    def _repr_png_(self) -> bytes:
        return self.png


class Pictures(Mapping[str, Picture]):
    """Figures by name, each drawn when it is first asked for.

    Args:
        drawers: Name to what draws it.
    """

    def __init__(self, drawers: Mapping[str, Callable[[], Figure]]) -> None:
        self._drawers = drawers
        self._drawn: dict[str, Picture] = {}

    def __getitem__(self, name: str) -> Picture:
        if name not in self._drawn:
            self._drawn[name] = Picture(self._drawers[name]())
        return self._drawn[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._drawers)

    def __len__(self) -> int:
        return len(self._drawers)

    def __repr__(self) -> str:
        return f"figures {', '.join(self._drawers)}"


class Page(str):
    """HTML that needs no network; a notebook shows it in a frame of its own."""

    __slots__ = ()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes it."""
        write_atomically(Path(path), self)

    def _repr_html_(self) -> str:
        frame = 'width="100%" height="800" sandbox="allow-scripts"'
        return f'<iframe {frame} srcdoc="{escape(self)}"></iframe>'
