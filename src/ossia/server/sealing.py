"""What stands in `encrypted_content`: a signed name for what is remembered, never the text itself.

Only the server that holds the key follows it, and only for the owner it was made for.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from pathlib import Path

from ossia.files import atomic_write, make_private_folder

KEY_BYTES = 32
_FILE = "seal.key"
_SIGN_BYTES = 32
_MARK = b"ossia-seal-1\0"
_MAX_SEALED = 1024


class Seal:
    """Signs references, and knows its own."""

    def __init__(self, key: bytes) -> None:
        """Sign with this key.

        Args:
            key: 32 random bytes; with another key, what was sealed before means nothing.
        """
        assert len(key) == KEY_BYTES, "a seal's key has 32 bytes"
        self._key = key

    @classmethod
    def kept_in(cls, folder: Path) -> "Seal":
        """The seal of a state folder; its key is made there at first, for this user alone."""
        path = folder / _FILE
        key = path.read_bytes() if path.is_file() else b""
        if len(key) != KEY_BYTES:
            key = secrets.token_bytes(KEY_BYTES)
            make_private_folder(folder)
            with atomic_write(path) as file:
                file.write(key)
        return cls(key)

    def seal(self, item_id: str, owner: str) -> str:
        """A text that only `unseal` follows."""
        name = item_id.encode()
        return base64.urlsafe_b64encode(self._sign(name, owner) + name).decode()

    def unseal(self, text: str, owner: str) -> str | None:
        """What was sealed for this owner; None for everything else."""
        if len(text) > _MAX_SEALED:
            return None
        try:
            raw = base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True)
        except (UnicodeEncodeError, binascii.Error):
            return None
        sign, name = raw[:_SIGN_BYTES], raw[_SIGN_BYTES:]
        return name.decode() if hmac.compare_digest(sign, self._sign(name, owner)) else None

    def _sign(self, name: bytes, owner: str) -> bytes:
        said = _MARK + owner.encode() + b"\0" + name
        return hmac.new(self._key, said, hashlib.sha256).digest()
