"""Looking at a model in training without leaving a trace."""

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.parameter import is_lazy

_CUDNN_FLAGS = ("enabled", "benchmark", "deterministic")
_MARKS = 8  # numbers of a parameter that tell its weights from others


@contextmanager
def observe(module: nn.Module, trainer: Any = None) -> Iterator[None]:
    """Puts a module into eval mode without gradients, and everything back afterwards.

    Inside, every sub-module is in eval mode, no gradient is recorded, the trainer's precision
    applies, and compiled code runs eagerly, so that nothing is recompiled. Afterwards, also after
    an exception, each sub-module's own flag, the random streams of Python, numpy, torch and every
    CUDA device, the gradient mode, the default dtype and the cudnn flags are what they were.

    Forward hooks of the user run as in any other forward pass. A module that changes a buffer in
    eval mode changes it here too.

    Args:
        module: The model; a frozen part in eval mode stays in eval mode.
        trainer: A Lightning trainer, whose precision is used; None for plain PyTorch.

    Yields:
        Nothing; the module may be called.
    """
    with ExitStack() as undo:
        undo.callback(_put_back_modes(module))
        undo.callback(_put_back_random_streams())
        undo.callback(_put_back_flags())
        # Tensors made under Lightning's inference mode would crash a later training step that
        # uses them ("Inference tensors cannot be saved for backward"), so that mode is left here.
        undo.enter_context(torch.inference_mode(False))
        undo.enter_context(torch.no_grad())
        undo.enter_context(torch.compiler.set_stance("force_eager"))
        # Autocast is off in hooks; without this a bf16 module meets float32 inputs.
        if trainer is not None:
            undo.enter_context(trainer.precision_plugin.forward_context())
        yield


def woken(module: nn.Module) -> list[str]:
    """Names of what is in training mode inside `observe`, where nothing is unless the model itself has seen to it."""
    return [name or type(module).__name__ for name, part in module.named_modules() if part.training]


def weights_mark(module: nn.Module) -> bytes:
    """A few numbers of every parameter, by which other weights are known: a sum over all would cost a pass over them.

    Args:
        module: Of weights that are sharded the share of this rank is read, so that nothing is gathered.

    Returns:
        Equal for equal weights, and as good as never for weights that a training, an average or a file has changed.
    """
    own = [getattr(one, "_local_tensor", one).detach() for one in module.parameters() if not is_lazy(one)]
    readable = [one.reshape(-1) for one in own if one.layout is torch.strided and not one.is_meta]
    marks = [flat[:: max(1, len(flat) // _MARKS)][:_MARKS].to("cpu", torch.float64) for flat in readable]
    return b"".join(mark.numpy().tobytes() for mark in marks)


def _put_back_modes(module: nn.Module) -> Callable[[], None]:
    modes = [(part, part.training) for part in module.modules()]
    # The flags are set one by one: train() of the module may be the user's own, and
    # train(True) would wake what the user had put to sleep.
    for part, _ in modes:
        part.training = False

    def put_back() -> None:
        for part, mode in modes:
            part.training = mode

    return put_back


def _put_back_random_streams() -> Callable[[], None]:
    python, legacy_numpy, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    # Asking a device that is not in use yet would start it.
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    mps = torch.mps.get_rng_state() if torch.backends.mps.is_available() else None

    def put_back() -> None:
        random.setstate(python)
        np.random.set_state(legacy_numpy)  # noqa: NPY002
        torch.set_rng_state(cpu)
        if cuda:
            torch.cuda.set_rng_state_all(cuda)
        if mps is not None:
            torch.mps.set_rng_state(mps)

    return put_back


def _put_back_flags() -> Callable[[], None]:
    cudnn = {name: getattr(torch.backends.cudnn, name) for name in _CUDNN_FLAGS}
    dtype, n_threads = torch.get_default_dtype(), torch.get_num_threads()

    def put_back() -> None:
        for name, value in cudnn.items():
            if getattr(torch.backends.cudnn, name) != value:
                setattr(torch.backends.cudnn, name, value)
        torch.set_default_dtype(dtype)
        if torch.get_num_threads() != n_threads:
            torch.set_num_threads(n_threads)

    return put_back
