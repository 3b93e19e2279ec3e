"""A run as a row of TensorBoard's HParams table: what was set, and how it ended."""

import math
import time
from collections.abc import Iterator, Mapping
from typing import Any

from embviz_callback.analysis.metrics.catalogue import FINAL, shown
from embviz_callback.analysis.metrics.numbers import Metrics
from embviz_callback.delivery.tags import PREFIX

# With the margin's threshold, which lies in the same folder, these are the five columns shown at first.
_COLUMNS = shown(FINAL)


def session_values(hparams: Mapping[str, Any], metrics: Metrics, prefix: str = PREFIX) -> Iterator[Any]:
    """What makes a row: a session's start with its settings, its final metrics, and its end.

    Written again by a resumed run it stays one row, since the session is the folder that holds the
    events. The names differ from those of the course, so that the table shows the last value only.

    Args:
        hparams: Names to plain values.
        metrics: Of the last evaluation.
        prefix: Of the tags: ``<prefix>_final/<metric>``.

    Yields:
        ``Summary.Value``, for the step of that evaluation.
    """
    from google.protobuf.json_format import ParseDict  # type: ignore[import-untyped]
    from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[import-untyped]
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2  # type: ignore[import-untyped]

    def of_session(tag: str, **content: Any) -> Any:
        """As TensorBoard's own helper makes it, which needs TensorFlow."""
        described = metadata.create_summary_metadata(plugin_data_pb2.HParamsPluginData(**content))
        return Summary.Value(tag=tag, tensor=metadata.NULL_TENSOR, metadata=described)

    start = plugin_data_pb2.SessionStartInfo(start_time_secs=time.time())
    for name, value in hparams.items():
        ParseDict(value, start.hparams[name])
    yield of_session(metadata.SESSION_START_INFO_TAG, session_start_info=start)
    for name in _COLUMNS:
        value = metrics.get(name, math.nan)
        if math.isfinite(value):
            yield Summary.Value(tag=f"{prefix}_final/{name}", simple_value=value)
    end = plugin_data_pb2.SessionEndInfo(status=api_pb2.STATUS_SUCCESS, end_time_secs=time.time())
    yield of_session(metadata.SESSION_END_INFO_TAG, session_end_info=end)
