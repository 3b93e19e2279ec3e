"""Calling a model whose weights are spread over several ranks, in the order in which they may be gathered."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn

from embviz_callback.encoding.subject import Encode, Subject

_SHARDED = ("FSDPStrategy", "DeepSpeedStrategy", "ModelParallelStrategy")


def is_sharding(strategy: object) -> bool:
    """Whether a Lightning strategy, or what it is derived from, spreads weights over the ranks."""
    return any(kind.__name__ in _SHARDED for kind in type(strategy).__mro__)


@contextmanager
def gathered(subject: Subject) -> Iterator[Subject]:
    """A model that may be called while its weights are sharded by either of PyTorch's two kinds of FSDP.

    Both gather weights as a module's forward pass begins, and take the first module that is called for
    the root. An ``encode`` that calls a layer directly would find the root's weights in pieces and,
    before the first step of a training, let that step fail. So the roots are called first. Every rank
    must come here, and encode equally often: gathering is a collective.

    Args:
        subject: Whose weights may be sharded.

    Yields:
        The subject itself unless its wrapper has to be called around its functions.
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        yield subject
        return
    from torch.distributed.fsdp import FSDPModule, FullyShardedDataParallel

    kinds, module, wrapper = (FSDPModule, FullyShardedDataParallel), subject.module, subject.wrapper
    is_wrapped = isinstance(wrapper, FullyShardedDataParallel) and wrapper.module is module
    if not is_wrapped:
        for root in _roots(module, kinds):
            _visit(root)
    try:
        yield subject.called_by(partial(partial, _encode_within, wrapper)) if is_wrapped else subject
    except Exception:
        # A layer that failed believes itself in its forward pass, and would let a checkpoint fail, or the
        # next step gather weights too early. A pass that goes well, first of the innermost, ends that.
        for part in reversed([wrapper, *module.modules()]):
            if isinstance(part, kinds):
                _visit(part)
        raise
    finally:
        # A root keeps its weights whole after a pass without gradients, and would not notice if
        # another callback, such as one that averages, wrote into the pieces meanwhile.
        for part in module.modules():
            if isinstance(part, FSDPModule):
                part.reshard()


def _encode_within(wrapper: object, encode: Encode, texts: list[str]) -> Any:
    return _forward_as(wrapper, partial(encode, texts))


def _roots(module: nn.Module, kinds: tuple[type, ...]) -> Iterator[Any]:
    if isinstance(module, kinds):
        yield module
        return
    for child in module.children():
        yield from _roots(child, kinds)


def _visit(root: Any) -> None:
    """Makes a module the root of those below it, and its own weights whole."""
    from torch.distributed.fsdp import FullyShardedDataParallel, register_fsdp_forward_method

    if isinstance(root, FullyShardedDataParallel):
        _forward_as(root, _nothing)
        return
    # As a method of another name, and not as a forward pass: hooks of the user see no pass without inputs.
    root.embviz_visit = _nothing
    try:
        register_fsdp_forward_method(root, "embviz_visit")
        root.embviz_visit()
    finally:
        del root.embviz_visit


def _nothing() -> None:
    return


def _forward_as(wrapper: Any, act: Callable[[], Any]) -> Any:
    """What `act` gives, called in place of the wrapped module's next forward pass."""
    inner = wrapper.module
    own = vars(inner).get("forward")

    def put_back() -> None:
        vars(inner).pop("forward", None)
        if own is not None:
            inner.forward = own

    def once() -> Any:
        put_back()  # `act` may call the real one
        return act()

    inner.forward = once
    try:
        return wrapper()
    finally:
        put_back()
