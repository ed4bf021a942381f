"""Generated weights: any registered bytes give arrays or BadWeights, in bounded memory."""

import json
import struct
import tracemalloc
from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.errors import BadWeights
from storage.artifacts import pack, sha256, unpack

EXAMPLES = 1000
TYPES = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F6_E2M3", "F4", "C64", "I64", "I32", "I16",
         "I8", "U64", "U32", "U16", "U8", "BOOL", "O", "object", "", "f4", "V8")  # fmt: skip
HUGE = st.sampled_from([2**31, 2**32, 2**62, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 10**30, -1, -(2**63)])
NUMBER = st.one_of(st.integers(0, 9), HUGE, st.integers())


def load_or_refuse(data: bytes) -> dict[str, np.ndarray] | None:
    """Load bytes with a matching hash, which an attacker with write access can store; return None if refused."""
    tracemalloc.start()
    try:
        arrays = unpack(data, sha256(data))
    except BadWeights:
        return None
    else:
        for values in arrays.values():
            assert isinstance(values, np.ndarray)
            assert not values.dtype.hasobject
        return arrays
    finally:
        # A header may promise exabytes, but the arrays take at most a few times the size of `data`.
        assert tracemalloc.get_traced_memory()[1] < 40 * len(data) + 3_000_000
        tracemalloc.stop()


def framed(header: bytes, body: bytes = b"", length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length % 2**64) + header + body


ENTRY = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.one_of(st.sampled_from(TYPES), st.none(), st.integers()),
        "shape": st.one_of(st.lists(NUMBER, max_size=5), st.lists(st.just(1), min_size=60, max_size=70), st.none()),
        "data_offsets": st.one_of(st.lists(NUMBER, max_size=3), st.text(max_size=3)),
        "more": st.text(max_size=3),
    },
)


@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
@given(
    st.dictionaries(st.sampled_from(["a", "b", "__metadata__", "", "../x", "\0"]), ENTRY, max_size=4),
    st.binary(max_size=64),
    st.one_of(st.none(), st.none(), NUMBER),
)
def test_any_header_over_any_bytes(header: dict[str, object], body: bytes, length: int | None) -> None:
    load_or_refuse(framed(json.dumps(header).encode(), body, length))


def test_almost_valid_headers() -> None:
    """Headers with right sizes but types that NumPy lacks, and with offsets that overlap, leave gaps or go back."""
    outcomes: Counter[str] = Counter()

    @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
    @given(
        st.sampled_from(TYPES),
        st.lists(st.integers(0, 4), max_size=4),
        st.lists(st.integers(0, 40), min_size=2, max_size=2),
        st.integers(0, 48),
        st.booleans(),
    )
    def load(dtype: str, shape: list[int], offsets: list[int], size: int, right: bool) -> None:
        if right:
            width = {"64": 8, "32": 4, "16": 2}.get(dtype[1:3], 1)
            size = width * int(np.prod(shape))
            offsets = [0, size]
        entry = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
        header = {"a": entry} if right else {"a": entry, "b": entry}
        arrays = load_or_refuse(framed(json.dumps(header).encode(), b"\0" * size))
        outcomes["refused" if arrays is None else "loaded"] += 1
        if arrays is not None and right:
            assert arrays["a"].nbytes == size
            assert list(arrays["a"].shape) == shape

    load()
    assert min(outcomes["loaded"], outcomes["refused"]) > EXAMPLES // 50, outcomes


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Real weights that are then cut, extended, flipped or spliced."""
    data = bytearray(pack({"dense/kernel": np.arange(12, dtype=np.float32).reshape(4, 3), "bias": np.zeros(3)}))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(data)))
        damage = draw(st.sampled_from(("cut", "flip", "insert", "splice", "digit")))
        if damage == "cut":
            del data[at : at + draw(st.integers(1, 40))]
        elif damage == "flip" and at < len(data):
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif damage == "insert":
            data[at:at] = draw(st.binary(min_size=1, max_size=8))
        elif damage == "splice":
            data[at:at] = data[: draw(st.integers(0, 80))]
        else:
            digits = [i for i, byte in enumerate(data[8:], 8) if chr(byte).isdigit()]
            if digits:
                data[draw(st.sampled_from(digits))] = draw(st.sampled_from(b"0123456789"))
    return bytes(data)


@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
@given(damaged())
def test_damaged_weights(data: bytes) -> None:
    load_or_refuse(data)


@pytest.mark.parametrize(
    "header",
    [
        b"[" * 100_000,
        b'{"a":' * 20_000,
        b"{" + b",".join(b'"%d":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}' % i for i in range(20_000)) + b"}",
        b'{"a":{"dtype":"F32","shape":[' + b"1," * 50_000 + b'1],"data_offsets":[0,4]}}',
        b'{"a":{"dtype":"U8","shape":[4611686018427387904,0],"data_offsets":[0,0]}}',
    ],
    ids=["nested lists", "nested objects", "many empty arrays", "many dimensions", "huge and empty"],
)
def test_headers_that_try_to_exhaust_memory(header: bytes) -> None:
    load_or_refuse(framed(header, b"\0\0\0\0"))
