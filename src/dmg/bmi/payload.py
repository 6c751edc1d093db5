"""The state of a component as bytes: a magic number, a version, a checksum, then a safetensors file. No code in it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dmg.core.utils.tensor_tree import bytes_tree, tree_bytes
from dmg.errors import RunError
from dmg.models.full_state import FullState

MAGIC = b"dMG-BMI\x00"
VERSION = 1
_HEAD = len(MAGIC) + 4 + 8 + 32
_WHAT = "the state of a component"
_HINT = "restore what a component of the same model saved; nothing was changed"


@dataclass(frozen=True)
class Payload:
    """What a component saves.

    Parameters
    ----------
    state
        Full state of the models; the sites are the nodes: ids, or ``<id>/<member>`` in an ensemble.
    component
        What else the component goes on from: a tree of arrays, numbers and text.
    """

    state: FullState
    component: Mapping[str, Any]

    def pack(self) -> bytes:
        """Return the bytes."""
        tree = {"state": self.state.tree(), "component": self.component}
        about = {"fingerprint": json.dumps(self.state.fingerprint), "weights": self.state.weights}
        body = tree_bytes(tree, about)
        return b"".join(
            [
                MAGIC,
                VERSION.to_bytes(4, "little"),
                len(body).to_bytes(8, "little"),
                hashlib.sha256(body).digest(),
                body,
            ]
        )

    @classmethod
    def unpack(cls, data: bytes, where: str = "ngen::serialization_state") -> Payload:
        """Read bytes.

        Parameters
        ----------
        data
            What `pack` returned.
        where
            Where they come from, for messages.

        Raises
        ------
        RunError
            If they are something else, of another version, truncated or damaged.
        """
        if not is_payload(data):
            raise RunError(f"not {_WHAT}: the first bytes are {data[:8]!r}", where=where, hint=_HINT)
        version = int.from_bytes(data[8:12], "little")
        if version != VERSION and len(data) >= 12:
            raise RunError(
                f"{_WHAT} has version {version}, this program reads version {VERSION}",
                where=where,
                hint="restore it with the program that saved it",
            )
        length, body = int.from_bytes(data[12:20], "little"), data[_HEAD:]
        if len(data) < _HEAD or len(body) != length:
            raise RunError(
                f"{_WHAT} is truncated or too long: {len(data)} bytes, {_HEAD + length} were saved",
                where=where,
                hint=_HINT,
            )
        if hashlib.sha256(body).digest() != data[20:_HEAD]:
            raise RunError(f"{_WHAT} is damaged: its checksum does not fit", where=where, hint=_HINT)
        about, tree = bytes_tree(body, _WHAT, where, _HINT)
        fingerprint, weights = json.loads(about["fingerprint"]), about.get("weights", "")
        return cls(FullState.from_tree(tree["state"], fingerprint, weights, where), tree["component"])


def is_payload(data: bytes) -> bool:
    """Return whether bytes begin as a payload does."""
    return data[: len(MAGIC)] == MAGIC
