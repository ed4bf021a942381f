import pickle

import numpy as np
import pytest

from models.errors import BadWeights
from storage.artifacts import pack, sha256, unpack


def test_unpacked_weights_equal_the_packed_ones(weights: dict[str, np.ndarray]) -> None:
    data = pack(weights)
    unpacked = unpack(data, sha256(data))
    assert unpacked.keys() == weights.keys()
    for name, values in weights.items():
        assert unpacked[name].dtype == values.dtype
        np.testing.assert_array_equal(unpacked[name], values)


def test_arrays_that_are_not_contiguous_keep_their_values() -> None:
    values = np.arange(12, dtype=np.float64).reshape(3, 4).T
    data = pack({"x": values})
    np.testing.assert_array_equal(unpack(data, sha256(data))["x"], values)


def test_equal_weights_have_equal_bytes_in_any_order(weights: dict[str, np.ndarray]) -> None:
    assert pack(weights) == pack(dict(reversed(weights.items())))


def test_every_flipped_bit_is_found(weights: dict[str, np.ndarray]) -> None:
    data = pack(weights)
    registered = sha256(data)
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 1 << position % 8
        with pytest.raises(BadWeights, match="damaged or replaced"):
            unpack(bytes(damaged), registered)


def test_weights_registered_without_a_hash_are_refused(weights: dict[str, np.ndarray]) -> None:
    with pytest.raises(BadWeights, match="registered was None"):
        unpack(pack(weights), None)


class Evil:
    ran = False

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit('code ran')",)


@pytest.mark.parametrize("data", [pickle.dumps(Evil()), b"", b"\xff" * 64, b"PK\x03\x04" + b"\0" * 50])
def test_bytes_of_another_format_are_refused_and_not_executed(data: bytes) -> None:
    with pytest.raises(BadWeights, match="no safetensors"):
        unpack(data, sha256(data))
