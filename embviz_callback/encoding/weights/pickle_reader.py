"""What a pickle says, read instruction by instruction; nothing that it asks for is imported or called."""

import io
import math
import mmap
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pickletools import genops
from typing import Any

import torch

from embviz_callback.encoding.weights.pickle_values import Inert, Storage, StoredTensor

# Far above the optimizer's state of the largest model; each costs a microsecond and up to 200 bytes.
MOST_INSTRUCTIONS = 2_000_000
_MOST_DIMS = 32
_MOST_BITS = 4096  # a longer number takes quadratic time to print
# No training program refers to these: a file that does was made to attack whoever opens it.
_ATTACKS = (
    *("os", "posix", "nt", "subprocess", "sys", "runpy", "importlib", "shutil", "socket", "pty", "ctypes", "code"),
    *("multiprocessing", "webbrowser", "pickle", "_pickle", "builtins.eval", "builtins.exec", "builtins.compile"),
    *("builtins.open", "builtins.__import__", "builtins.input", "builtins.breakpoint", "torch.load", "torch.hub"),
    *("torch.serialization.load", "io.open", "_io", "pathlib.Path.touch", "asyncio", "timeit", "pdb", "bdb"),
)
_MAPPINGS = ("collections.OrderedDict", "collections.Counter", "collections.defaultdict", "builtins.dict")
_SETS = ("builtins.set", "builtins.frozenset")
_STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
    "UntypedStorage": torch.uint8,
}


class PickleError(ValueError):
    """A pickle that is damaged, too long, or made to attack."""


class AttackError(PickleError):
    """A pickle that asks for what only an attack asks for; the text is its name."""


@dataclass(frozen=True)
class _Global:
    name: str


@dataclass(eq=False)
class Unpickled:
    """What was found in a pickle.

    Attributes:
        value: Plain values, containers, `StoredTensor` and `Inert`.
        storages: By key.
        asked_for: Names of what was not made.
    """

    value: Any = None
    storages: dict[str, Storage] = field(default_factory=dict)
    asked_for: set[str] = field(default_factory=set)


def read_pickle(file: io.BytesIO | mmap.mmap) -> Unpickled:
    """Reads one pickle; `file` then stands behind it.

    Dictionaries of every kind become `dict`, numbers, texts and bytes stay what they are, tensors become
    `StoredTensor`, everything else `Inert`. Neither memory nor time goes beyond what the length of the
    file and `MOST_INSTRUCTIONS` allow.

    Args:
        file: Bytes in memory, or mapped: never asked to make room for more than there are.

    Returns:
        What was found.

    Raises:
        PickleError: If it is damaged, too long, or names something that only an attack asks for (`AttackError`).
    """
    machine = _Machine()
    try:
        for number, (opcode, argument, _) in enumerate(genops(file)):  # type: ignore[arg-type]
            if number > MOST_INSTRUCTIONS:
                raise PickleError(f"more than {MOST_INSTRUCTIONS:,} pickled values")
            machine.step(opcode.name, argument)
        machine.reading.value = machine.stack.pop()
    except PickleError:
        raise
    # What damaged instructions do to a stack; nothing of the file's own is called.
    except (ValueError, TypeError, IndexError, KeyError, AttributeError, RecursionError, OverflowError) as error:
        raise PickleError(f"{type(error).__name__}: {error}") from None
    return machine.reading


class _Machine:
    """The stack, the memory, and what each instruction does to them."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []
        self.memory: dict[int, Any] = {}
        self.reading = Unpickled()

    def step(self, name: str, argument: Any) -> None:
        if name not in _ACTIONS:
            raise PickleError(f"the instruction {name}")
        _ACTIONS[name](self, argument)

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def since_mark(self) -> list[Any]:
        found = self.stack
        self.stack = self.marked.pop()
        return found

    def mark(self) -> None:
        self.marked.append(self.stack)
        self.stack = []

    def remember(self, place: int | None) -> None:
        self.memory[len(self.memory) if place is None else int(place)] = self.stack[-1]

    def join(self, n: int) -> None:
        """The last n values as a tuple."""
        if len(self.stack) < n:
            raise PickleError("the stack is empty")
        self.stack[-n:] = [tuple(self.stack[-n:])]

    def find(self, name: str) -> None:
        name = name.replace("__builtin__.", "builtins.", 1) if name.startswith("__builtin__.") else name
        if any(f"{name}.".startswith(f"{bad}.") for bad in _ATTACKS):
            raise AttackError(name.removeprefix("builtins."))
        self.stack.append(_Global(name))

    def find_on_stack(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise PickleError("a name that is no text")
        self.find(f"{module}.{name}")

    def call(self, arguments: Any, function: Any) -> None:
        name = function.name if isinstance(function, _Global | Inert) else type(function).__name__
        made = _made(name, arguments) if isinstance(arguments, tuple) else None
        if made is None:
            self.reading.asked_for.add(name)
            made = Inert(name, arguments)
        self.stack.append(made)

    def reduce(self) -> None:
        arguments = self.stack.pop()
        self.call(arguments, self.stack.pop())

    def reduce_with_names(self) -> None:
        self.stack.pop()
        self.reduce()

    def make(self, name: str) -> None:
        arguments = tuple(self.since_mark())
        self.find(name.replace(" ", ".", 1))
        self.call(arguments, self.stack.pop())

    def make_of_mark(self) -> None:
        function, *arguments = self.since_mark()
        self.call(tuple(arguments), function)

    def build(self) -> None:
        state = self.stack.pop()
        if isinstance(self.stack[-1], Inert):
            self.stack[-1].state = state

    def extend(self, values: Iterable[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, list):
            target.extend(values)
        elif isinstance(target, set):
            target |= _set(values)
        elif not isinstance(target, Inert):
            raise PickleError(f"{type(target).__name__} is no container")

    def fill(self, parts: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, dict):
            target.update(_pairs(parts))
        elif not isinstance(target, Inert):
            raise PickleError(f"{type(target).__name__} is no dictionary")

    def look_up(self, identity: Any) -> None:
        """A storage by the form ("storage", type, key, device, number of elements), which torch writes."""
        if not isinstance(identity, tuple) or len(identity) < 5 or identity[0] != "storage":
            self.stack.append(Inert("a persistent object"))
            return
        _, kind, key, _, n = identity[:5]
        dtype = _STORAGES.get(kind.name.rpartition(".")[2]) if isinstance(kind, _Global) else None
        if dtype is None or not isinstance(n, int) or n < 0 or (len(identity) > 5 and identity[5] is not None):
            self.stack.append(Inert(f"a storage of {kind}"))
            return
        storage = self.reading.storages.setdefault(str(key), Storage(str(key), dtype, n * dtype.itemsize))
        if storage.n_bytes != n * dtype.itemsize:
            raise PickleError(f"storage {key} has two sizes")
        self.stack.append(storage)


def _bounded(value: Any) -> Any:
    return Inert("int") if isinstance(value, int) and value.bit_length() > _MOST_BITS else value


def _key(value: Any) -> Any:
    """A key of a dictionary: hashing nested tuples or numbers made to collide takes for ever."""
    if isinstance(value, tuple):
        simple = len(value) <= 8 and all(isinstance(part, str | int | None) and _key(part) is part for part in value)
        return value if simple else Inert("a key")
    if isinstance(value, int | float) and not -(2**60) < value < 2**60:
        return Inert("a key")
    return Inert("a key") if isinstance(value, list | dict | set) else value


def _set(values: Iterable[Any]) -> set[Any]:
    return {_key(value) for value in values}


def _pairs(parts: list[Any]) -> dict[Any, Any]:
    """Of keys and values in turn."""
    return dict(zip(map(_key, parts[::2]), parts[1::2], strict=True))


def _made(name: str, arguments: tuple[Any, ...]) -> Any:
    """Plain containers and tensors; None for everything else."""
    if name in _MAPPINGS:
        return _mapping(arguments)
    if name in _SETS:
        values = arguments[0] if arguments else ()
        return _set(values) if isinstance(values, list | tuple | set) else None
    if name in ("torch.Size", "builtins.tuple", "builtins.list") and len(arguments) == 1:
        return arguments[0] if isinstance(arguments[0], list | tuple) else None
    if name in ("torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state"):
        return arguments[0] if arguments and isinstance(arguments[0], StoredTensor) else None
    if name.startswith("torch._utils._rebuild_tensor"):
        return _tensor(name, arguments)
    return None


def _mapping(arguments: tuple[Any, ...]) -> dict[Any, Any] | None:
    # The one argument of a defaultdict is what it makes missing values with, that of the others what they hold.
    found = next((part for part in arguments if isinstance(part, dict | list)), {})
    if isinstance(found, dict):
        return dict(found)
    if all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in found):
        return {_key(key): value for key, value in found}
    return None


def _tensor(name: str, arguments: tuple[Any, ...]) -> StoredTensor | None:
    storage, offset, size, stride = (*arguments, *[None] * 4)[:4]
    dtype = arguments[6] if name.endswith("_v3") and len(arguments) > 6 else None
    given = storage.dtype if isinstance(storage, Storage) and dtype is None else _dtype(dtype)
    metadata = arguments[7 if name.endswith("_v3") else 6 :]
    whole = isinstance(size, tuple) and isinstance(stride, tuple) and isinstance(offset, int)
    if not isinstance(storage, Storage) or given is None or not whole or any(metadata):
        return None
    numbers = (offset, *size, *stride)
    if len(size) != len(stride) or len(size) > _MOST_DIMS or not all(isinstance(n, int) and n >= 0 for n in numbers):
        raise PickleError("a tensor of impossible size")
    reach = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True)) + 1
    if storage.n_bytes % given.itemsize or (math.prod(size) and reach * given.itemsize > storage.n_bytes):
        raise PickleError(f"a tensor of {reach} elements in a storage of {storage.n_bytes} bytes")
    return StoredTensor(storage, given, size, stride, offset)


def _dtype(value: Any) -> torch.dtype | None:
    name = value.name.removeprefix("torch.") if isinstance(value, _Global) else ""
    found = getattr(torch, name, None) if name.isidentifier() else None
    return found if isinstance(found, torch.dtype) else None


_LITERALS = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
_ACTIONS: dict[str, Callable[[_Machine, Any], Any]] = {
    **dict.fromkeys(("PROTO", "FRAME", "STOP"), lambda machine, _: None),
    **dict.fromkeys(_LITERALS, lambda machine, value: machine.push(_bounded(value))),
    "NONE": lambda machine, _: machine.push(None),
    "NEWTRUE": lambda machine, _: machine.push(True),
    "NEWFALSE": lambda machine, _: machine.push(False),
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "EMPTY_SET": lambda machine, _: machine.push(set()),
    "LIST": lambda machine, _: machine.push(machine.since_mark()),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.since_mark())),
    "DICT": lambda machine, _: machine.push(_pairs(machine.since_mark())),
    "FROZENSET": lambda machine, _: machine.push(_set(machine.since_mark())),
    "MARK": lambda machine, _: machine.mark(),
    "POP": lambda machine, _: machine.stack.pop() if machine.stack else machine.since_mark(),
    "POP_MARK": lambda machine, _: machine.since_mark(),
    "DUP": lambda machine, _: machine.push(machine.stack[-1]),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"), lambda machine, place: machine.remember(place)),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), lambda machine, place: machine.push(machine.memory[int(place)])),
    "TUPLE1": lambda machine, _: machine.join(1),
    "TUPLE2": lambda machine, _: machine.join(2),
    "TUPLE3": lambda machine, _: machine.join(3),
    "APPEND": lambda machine, _: machine.extend([machine.stack.pop()]),
    "APPENDS": lambda machine, _: machine.extend(machine.since_mark()),
    "ADDITEMS": lambda machine, _: machine.extend(machine.since_mark()),
    "SETITEM": lambda machine, _: machine.fill([machine.stack.pop(), machine.stack.pop()][::-1]),
    "SETITEMS": lambda machine, _: machine.fill(machine.since_mark()),
    "GLOBAL": lambda machine, name: machine.find(name.replace(" ", ".", 1)),
    "STACK_GLOBAL": lambda machine, _: machine.find_on_stack(),
    "REDUCE": lambda machine, _: machine.reduce(),
    "NEWOBJ": lambda machine, _: machine.reduce(),
    "NEWOBJ_EX": lambda machine, _: machine.reduce_with_names(),
    "INST": lambda machine, name: machine.make(name),
    "OBJ": lambda machine, _: machine.make_of_mark(),
    "BUILD": lambda machine, _: machine.build(),
    "BINPERSID": lambda machine, _: machine.look_up(machine.stack.pop()),
}
