"""The records of an event file against the standard, and against TensorBoard's own writer."""

from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embviz_callback.delivery.tensorboard.event_records import crc32c, record


@pytest.mark.parametrize(
    ("content", "checksum"),
    [
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(reversed(range(32))), 0x113FDB5C),
        (b"123456789", 0xE3069283),
    ],
)
def test_checksums_are_those_of_the_standard(content: bytes, checksum: int) -> None:
    assert crc32c(content) == checksum


@settings(deadline=None, max_examples=50)
@given(st.binary(min_size=4, max_size=5000))
def test_a_record_is_the_one_that_tensorboard_writes(content: bytes) -> None:
    from tensorboard.summary.writer.record_writer import RecordWriter

    file = BytesIO()
    RecordWriter(file).write(content)
    assert record(content) == file.getvalue()
