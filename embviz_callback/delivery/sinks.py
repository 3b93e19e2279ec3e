"""Where pictures and text go; a sink knows names, PNG bytes and markdown, nothing of embeddings."""

import os
import socket
import struct
import time
from itertools import count
from pathlib import Path
from typing import Any, Protocol

from embviz_callback.delivery.tensorboard.event_records import record
from embviz_callback.files import safe_name, write_atomically

_PNG_SIZE = struct.Struct(">II")
_PNG_SIZE_AT = 16  # after the signature and the head of the first chunk
_file_numbers = count()


class Sink(Protocol):
    """A place for what one evaluation shows; complete after `flush`."""

    def figure(self, name: str, png: bytes, step: int) -> None:
        """Takes a picture."""

    def text(self, name: str, markdown: str, step: int) -> None:
        """Takes a page."""

    def flush(self) -> None:
        """Returns when what was taken is on disk."""


class FolderSink:
    """Files in a folder, ``<name>.png`` and ``<name>.md``; each is whole or not there.

    Args:
        folder: Made with the first file.

    Attributes:
        written: The files so far.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.written: list[Path] = []

    def figure(self, name: str, png: bytes, step: int) -> None:
        """Writes the picture; an older one of that name is replaced."""
        self._write(f"{safe_name(name)}.png", png)

    def text(self, name: str, markdown: str, step: int) -> None:
        """Writes the page; an older one of that name is replaced."""
        self._write(f"{safe_name(name)}.md", markdown)

    def flush(self) -> None:
        """Nothing is left to do."""

    def _write(self, name: str, content: bytes | str) -> None:
        write_atomically(self.folder / name, content)
        self.written.append(self.folder / name)


class TensorBoardSink:
    """A TensorBoard event file of our own.

    It must lie in a folder of its own: where two writers share one, the server stops reading the
    older file. Pictures are written as the PNG bytes they are. What belongs together is kept until
    `flush` and written at once, so that a killed process leaves no half evaluation.

    Args:
        folder: The run as TensorBoard sees it; made with the first write.
        prefix: What stands before the slash in every tag.
    """

    def __init__(self, folder: Path, *, prefix: str = "embviz") -> None:
        self.folder = folder
        self.prefix = prefix
        self._path: Path | None = None
        self._waiting: list[Any] = []

    def figure(self, name: str, png: bytes, step: int) -> None:
        """Adds an image; the server shows the last 10 of a tag unless told otherwise."""
        from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[import-untyped]

        width, height = _PNG_SIZE.unpack_from(png, _PNG_SIZE_AT)
        image = Summary.Image(height=height, width=width, colorspace=4, encoded_image_string=png)
        self.value(Summary.Value(tag=f"{self.prefix}/{name}", image=image), step)

    def text(self, name: str, markdown: str, step: int) -> None:
        """Adds a page for the text dashboard."""
        # The suffix is what the text dashboard of every release expects, and what it strips.
        tag = f"{self.prefix}/{name}/text_summary"
        self.value(bytes_value(tag, markdown.encode("utf-8", "replace"), "text", shape=(1,)), step)

    def flush(self) -> None:
        """Writes what was added; after a failure the next flush begins a new file."""
        events, self._waiting = self._waiting, []
        path = self._path
        if path is None:
            path = self._new_path()
            events.insert(0, _first_event())
        records = b"".join(record(event.SerializeToString()) for event in events)
        # Half a record at the end of a file would hide all that follows in it.
        self._path = None
        with path.open("ab", buffering=0) as file:
            file.write(records)
        self._path = path

    def value(self, value: Any, step: int) -> None:
        """Adds a ready ``Summary.Value``, such as the layout of the custom-scalars dashboard."""
        from tensorboard.compat.proto.event_pb2 import Event  # type: ignore[import-untyped]
        from tensorboard.compat.proto.summary_pb2 import Summary

        self._waiting.append(Event(wall_time=time.time(), step=step, summary=Summary(value=[value])))

    def _new_path(self) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{time.time():010.0f}.{socket.gethostname()}.{os.getpid()}.{next(_file_numbers)}"
        return self.folder / name


def bytes_value(tag: str, content: bytes, plugin: str, *, shape: tuple[int, ...] = ()) -> Any:
    """A ``Summary.Value`` of bytes; needs no TensorFlow, unlike TensorBoard's own helpers.

    Args:
        tag: Of the value.
        content: For the plugin.
        plugin: Name of the one that reads it.
        shape: Of the tensor that holds it.

    Returns:
        The value.
    """
    from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboard.compat.proto.tensor_pb2 import TensorProto  # type: ignore[import-untyped]
    from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto  # type: ignore[import-untyped]

    dim = [TensorShapeProto.Dim(size=size) for size in shape]
    tensor = TensorProto(dtype="DT_STRING", string_val=[content], tensor_shape=TensorShapeProto(dim=dim))
    data = SummaryMetadata.PluginData(plugin_name=plugin)
    return Summary.Value(tag=tag, tensor=tensor, metadata=SummaryMetadata(plugin_data=data))


def _first_event() -> Any:
    from tensorboard.compat.proto.event_pb2 import Event

    return Event(wall_time=time.time(), file_version="brain.Event:2")
