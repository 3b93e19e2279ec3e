"""What TensorBoard's custom-scalars dashboard shows together."""

from collections.abc import Sequence
from re import escape
from typing import Any

from embviz_callback.analysis.metrics.catalogue import charts
from embviz_callback.delivery.sinks import bytes_value
from embviz_callback.delivery.tags import PREFIX, scalar_tag

_BESIDE = {"margin": "margin_threshold"}  # drawn as a line into the chart of its metric


def layout_value(prefix: str = PREFIX) -> Any:
    """The layout as a summary value, to be written once into any event file of the run.

    A chart draws the tags it names in every run that has them; the margin's threshold comes from `threshold_value`.

    Args:
        prefix: Of the run's tags, as `scalar_tag` takes it.

    Returns:
        A ``Summary.Value`` for the custom-scalars plugin.
    """
    from tensorboard.plugins.custom_scalar import metadata  # type: ignore[import-untyped]

    return bytes_value(metadata.CONFIG_SUMMARY_TAG, _layout(prefix).SerializeToString(), metadata.PLUGIN_NAME)


def threshold_value(threshold: float, prefix: str = PREFIX) -> Any:
    """The margin's threshold as a scalar of its own, so that the chart can draw it as a line.

    Args:
        threshold: Of the margin.
        prefix: As in `layout_value`.

    Returns:
        A ``Summary.Value``, to be written at the step of every evaluation.
    """
    from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[import-untyped]

    return Summary.Value(tag=scalar_tag(prefix, "margin_threshold"), simple_value=threshold)


def _layout(prefix: str) -> Any:
    from tensorboard.plugins.custom_scalar import layout_pb2

    def chart(title: str, names: Sequence[str]) -> Any:
        tags = [f"^{escape(scalar_tag(prefix, name))}$" for name in names]
        return layout_pb2.Chart(title=title, multiline=layout_pb2.MultilineChartContent(tag=tags))

    found: dict[str, list[Any]] = {}
    for drawn, rows in charts().items():
        names = [row.name for row in rows]
        names += [_BESIDE[name] for name in names if name in _BESIDE]
        found.setdefault(drawn.question, []).append(chart(drawn.title, names))
    found["Is something wrong?"] = [chart("Alert (1 while firing)", ["alert"])]
    return layout_pb2.Layout(category=[layout_pb2.Category(title=title, chart=made) for title, made in found.items()])
