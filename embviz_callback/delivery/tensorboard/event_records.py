"""Records of an event file, as TensorBoard reads them.

TensorBoard's own writer computes the checksum byte by byte in Python: a tenth of a second for the pictures of one
evaluation, and as long again to import what comes with it.
"""

import functools
import math
import struct

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint32]

_CASTAGNOLI = np.uint32(0x82F63B78)  # the polynomial of CRC-32C, its lowest power in the highest bit
_MASK = 0xA282EAD8


def record(content: bytes) -> bytes:
    """A record: its length, the content, and a checksum of each."""
    length = struct.pack("<Q", len(content))
    return length + _masked(length) + content + _masked(content)


def crc32c(content: bytes) -> int:
    """The checksum of RFC 3720, appendix B.4.

    The content is cut into as many parts as each has bytes, which go through the table beside each other. A byte that
    is zero moves the bits of a checksum whatever they are, so that the parts can be joined afterwards.

    Args:
        content: At least four bytes.

    Returns:
        32 bits.
    """
    width = math.isqrt(len(content) - 1) + 1
    height = -(-len(content) // width)
    padded = np.zeros(height * width, dtype=np.uint8)  # zeros before the first bit change nothing
    padded[-len(content) :] = np.frombuffer(content, dtype=np.uint8)
    first = len(padded) - len(content)
    padded[first : first + 4] ^= 0xFF
    # Beside the parts each single bit goes through as many zeros.
    states = np.concatenate([np.zeros(height, dtype=np.uint32), _bits()])
    for column in padded.reshape(height, width).T:
        at = states & 0xFF
        at[:height] ^= column
        states = _table()[at] ^ (states >> 8)
    parts, moved = states[:height], states[height:]
    joined = np.uint32(0)
    for part in parts:
        joined = part ^ np.bitwise_xor.reduce(moved[joined & _bits() != 0])
    return int(joined) ^ 0xFFFFFFFF


@functools.cache
def _bits() -> Words:
    return np.uint32(1) << np.arange(32, dtype=np.uint32)


@functools.cache
def _table() -> Words:
    """What eight zero bits make of each byte."""
    states: Words = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        states = (states >> np.uint32(1)) ^ (_CASTAGNOLI * (states & np.uint32(1)))
    return states


def _masked(content: bytes) -> bytes:
    """The checksum as event files hold it: one of data that hold their own checksum would be worth little."""
    crc = crc32c(content)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + _MASK) & 0xFFFFFFFF)
