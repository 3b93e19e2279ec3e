"""One evaluation, whoever asks for it: a subset, a corpus, a model in, a snapshot out."""

from embviz_callback.evaluator.encoded import Encoded, encode_each
from embviz_callback.evaluator.evaluator import Evaluator, Moment
from embviz_callback.evaluator.listener import SILENCE, Listener, Progress

__all__ = ["SILENCE", "Encoded", "Evaluator", "Listener", "Moment", "Progress", "encode_each"]
