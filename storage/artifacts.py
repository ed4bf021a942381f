"""Weights as safetensors bytes, a format that holds numbers and no code; they are checked against their hash."""

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from models.errors import BadWeights

if TYPE_CHECKING:
    import numpy as np


def pack(weights: "Mapping[str, np.ndarray]") -> bytes:
    """Return named arrays as safetensors bytes; equal arrays give equal bytes."""
    import numpy as np
    from safetensors.numpy import save

    return save({name: np.ascontiguousarray(weights[name]) for name in sorted(weights)})


def sha256(data: bytes) -> str:
    """Return the hash that weights are registered under: 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def unpack(data: bytes, expected_sha256: str | None) -> "dict[str, np.ndarray]":
    """Return the named arrays in `data`; raises BadWeights unless the hash is the registered one.

    The hash is checked before a byte is parsed, so damaged or foreign bytes never reach the parser.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    actual = sha256(data)
    if actual != expected_sha256:
        raise BadWeights(
            f"stored weights have sha256 {actual[:12]}..., registered was {str(expected_sha256)[:12]}...: "
            f"they were damaged or replaced; restore a backup (candlecast restore FILE), make the previous "
            f"champion serve again (candlecast rollback SERIES), or train again (candlecast train SERIES --mode "
            "scratch)"
        )
    try:
        return dict(load(data))
    except (SafetensorError, KeyError, ValueError) as error:
        # KeyError and ValueError come from NumPy: a type or a shape that it does not have.
        raise BadWeights(f"stored weights are no safetensors: {error}") from None
