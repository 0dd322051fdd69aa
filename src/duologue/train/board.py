"""TensorBoard's file format, without TensorFlow or torch."""

from collections.abc import Mapping
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.summary.writer.event_file_writer import EventFileWriter


class Board:
    """Curves of one run."""

    def __init__(self, folder: Path) -> None:
        """Open a new event file in `folder`; TensorBoard joins it with earlier ones."""
        self._writer = EventFileWriter(str(folder))

    def add(self, points: Mapping[str, float], *, step: int, at: float) -> None:
        """Write one point per tag and make it visible at once; `at` is in seconds since the epoch."""
        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in points.items()]
        self._writer.add_event(Event(wall_time=at, step=step, summary=Summary(value=values)))
        self._writer.flush()

    def add_text(self, tag: str, text: str, *, step: int, at: float) -> None:
        """Write a text in Markdown, which TensorBoard shows on its Text page."""
        plugin = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="text"))
        shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)])
        tensor = TensorProto(dtype="DT_STRING", string_val=[text.encode()], tensor_shape=shape)
        value = Summary.Value(tag=f"{tag}/text_summary", metadata=plugin, tensor=tensor)
        self._writer.add_event(Event(wall_time=at, step=step, summary=Summary(value=[value])))
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        self._writer.close()
