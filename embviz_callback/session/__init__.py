"""One training under watch from one rank, whichever trainer runs it."""

from embviz_callback.session.given import Plan
from embviz_callback.session.watching import Session, begin

__all__ = ["Plan", "Session", "begin"]
