"""What TensorBoard's custom-scalars dashboard shows together."""

from collections.abc import Mapping, Sequence
from re import escape
from typing import Any

# Title of a chart, and the metrics in it.
_CHARTS: Mapping[str, Mapping[str, Sequence[str]]] = {
    "Does it find the right document?": {
        "rank metrics": ("rank1", "mrr", "recall_at_10", "ndcg_at_10"),
        "hard negatives": ("hard_accuracy", "hard_margin"),
    },
    "Do positives stand clear of negatives?": {
        "margin and its threshold": ("margin", "margin_threshold"),
        "positive and negative mean": ("positive_mean", "negative_mean"),
        "separation (sigma)": ("separation",),
        "AUC": ("auc",),
    },
    "Is the space used?": {
        "alignment and uniformity": ("alignment", "uniformity"),
        "effective rank": ("effective_rank",),
        "alert (1 while firing)": ("alert",),
    },
}


def layout_value(prefix: str = "embviz") -> Any:
    """The layout as a summary value, to be written once into any event file of the run.

    Needs no TensorFlow, unlike TensorBoard's own helper. A chart draws the tags it names in every
    run that has them; ``<prefix>/margin_threshold`` comes from `threshold_value`.

    Args:
        prefix: What stands before the slash in every tag.

    Returns:
        A ``Summary.Value`` for the custom-scalars plugin.
    """
    from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata  # type: ignore[import-untyped]
    from tensorboard.compat.proto.tensor_pb2 import TensorProto  # type: ignore[import-untyped]
    from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto  # type: ignore[import-untyped]
    from tensorboard.plugins.custom_scalar import metadata  # type: ignore[import-untyped]

    content = _layout(prefix).SerializeToString()
    tensor = TensorProto(dtype="DT_STRING", string_val=[content], tensor_shape=TensorShapeProto())
    plugin = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name=metadata.PLUGIN_NAME))
    return Summary.Value(tag=metadata.CONFIG_SUMMARY_TAG, tensor=tensor, metadata=plugin)


def threshold_value(threshold: float, prefix: str = "embviz") -> Any:
    """The margin's threshold as a scalar of its own, so that the chart can draw it as a line.

    Args:
        threshold: Of the margin.
        prefix: As in `layout_value`.

    Returns:
        A ``Summary.Value``, to be written at the step of every evaluation.
    """
    from tensorboard.compat.proto.summary_pb2 import Summary

    return Summary.Value(tag=f"{prefix}/margin_threshold", simple_value=threshold)


def _layout(prefix: str) -> Any:
    from tensorboard.plugins.custom_scalar import layout_pb2

    def chart(title: str, names: Sequence[str]) -> Any:
        tags = [f"^{escape(prefix)}/{escape(name)}$" for name in names]
        return layout_pb2.Chart(title=title, multiline=layout_pb2.MultilineChartContent(tag=tags))

    return layout_pb2.Layout(
        category=[
            layout_pb2.Category(title=title, chart=[chart(name, tags) for name, tags in charts.items()])
            for title, charts in _CHARTS.items()
        ]
    )
