"""Where a model lies, and what to do when memory runs out there."""

import gc

import torch
from torch import nn


def device_of(module: nn.Module) -> torch.device:
    """Of its first parameter or buffer; the CPU for a module without any."""
    return next((tensor.device for tensor in (*module.parameters(), *module.buffers())), torch.device("cpu"))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on a GPU or on the CPU."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and ("out of memory" in text or "can't allocate memory" in text)


def release_memory() -> None:
    """Gives cached GPU memory back; only after memory ran out, since it makes later steps slower."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
