"""A function of the user's own, named in an option."""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from embviz_callback.pairs.problems import DataError


def load_function(spec: str) -> Callable[..., Any]:
    """A function of the user's own, from the current directory or the installed packages.

    Importing a module runs it: the caller must have been asked for it by name.

    Args:
        spec: ``module:function``.

    Returns:
        The function.

    Raises:
        DataError: If there is no such module or function.
    """
    module_name, colon, name = spec.partition(":")
    if not (module_name and colon and name):
        raise DataError(f"expected module:function, such as pair_dataset:extract_features, got {spec!r}")
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise DataError(f"{spec!r}: cannot import {module_name!r} from {here} ({error}). Fix: check the name") from None
    finally:
        sys.path.remove(here)
    found = getattr(module, name, None)
    if not callable(found):
        raise DataError(f"{spec!r}: {module_name!r} has no function {name!r}. Fix: check the name")
    return found  # type: ignore[no-any-return]
