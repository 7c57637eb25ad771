"""API keys: stored as SHA-256 in a private file, compared in constant time, revoked at run time.

Which requests a key allows is decided in `server/http/guard.py`.
"""

import hmac
import json
import logging
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from ossia.errors import RequestError
from ossia.files import atomic_write, file_lock, make_private_folder

logger = logging.getLogger("ossia.server")

SCOPES = ("infer", "tools", "admin")
"""What a key allows: using the model, its built-in tools, metrics and administration."""
VARIABLE, FILE_VARIABLE = "OSSIA_API_KEY", "OSSIA_API_KEY_FILE"
PREFIX = "sk-local-"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SECRET = re.compile(rb"[\x21-\x7e]{16,512}")
_MAX_KEYS = 1000
_MAX_FILE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One key, without its secret."""

    name: str
    sha256: str
    """Hash of the secret, in hexadecimal."""
    scopes: tuple[str, ...]
    created_at: int
    """Seconds since 1970."""
    expires_at: int | None = None
    """Seconds since 1970; None: never."""
    digest: bytes = field(init=False, repr=False)
    owner: str = field(init=False)
    """The owner id of what this key creates; reveals nothing of the secret."""

    def __post_init__(self) -> None:
        """Check the fields.

        Raises:
            ValueError: a field is out of bounds.
        """
        if not _NAME.fullmatch(self.name):
            raise ValueError("a name has 1 to 64 letters, digits, dots, dashes, underscores")
        if not re.fullmatch(r"[0-9a-f]{64}", self.sha256):
            raise ValueError("sha256 has 64 hexadecimal digits")
        if not self.scopes or not set(self.scopes) <= set(SCOPES):
            raise ValueError(f"scopes are some of {', '.join(SCOPES)}")
        for seconds in (self.created_at, self.expires_at or 0):
            if type(seconds) is not int or not 0 <= seconds < 1 << 40:
                raise ValueError("times are whole seconds since 1970")
        digest = bytes.fromhex(self.sha256)
        object.__setattr__(self, "digest", digest)
        object.__setattr__(self, "owner", "key_" + sha256(b"owner\0" + digest).hexdigest()[:32])

    def expired(self, now: float) -> bool:
        """Whether the key has expired."""
        return self.expires_at is not None and now >= self.expires_at


class KeyFile:
    """The key file, which only its owner may read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def keys(self) -> tuple[Key, ...]:
        """Every key in the file; none if the file is missing.

        Raises:
            RequestError: others may read or write the file, or its content is damaged.
        """
        try:
            text = self._read()
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise RequestError(f"{self.path} cannot be read: {error.strerror}") from error
        try:
            keys = tuple(_key(fields) for fields in json.loads(text)["keys"])
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise RequestError(
                f"{self.path} is not a key file ({type(error).__name__}); mend it, or remove it "
                "and make the keys anew: ossia keys add NAME"
            ) from error
        return keys

    def add(
        self, name: str, *, scopes: tuple[str, ...] = ("infer", "tools"), expires_at: int | None
    ) -> str:
        """Create a key.

        Returns:
            Its secret, which is not stored.

        Raises:
            RequestError: the name is taken or invalid, a scope unknown, or the file not writable.
        """
        secret = PREFIX + secrets.token_urlsafe(32)
        try:
            key = Key(
                name=name,
                sha256=sha256(secret.encode()).hexdigest(),
                scopes=tuple(dict.fromkeys(scopes)),
                created_at=int(time.time()),
                expires_at=expires_at,
            )
        except ValueError as error:
            raise RequestError(f"key {name!r} cannot be made: {error}") from error
        with self._alone():
            keys = self.keys()
            if name in [each.name for each in keys]:
                raise RequestError(
                    f"there is a key {name!r} already; choose another name, "
                    f"or end that one first: ossia keys revoke {name}"
                )
            if len(keys) >= _MAX_KEYS:
                raise RequestError(
                    f"there are {len(keys)} keys, the most there can be; revoke some"
                )
            self._write((*keys, key))
        return secret

    def revoke(self, name: str) -> None:
        """Revoke a key, also in running servers.

        Raises:
            RequestError: no key has this name; the file cannot be written.
        """
        with self._alone():
            keys = self.keys()
            left = tuple(each for each in keys if each.name != name)
            if len(left) == len(keys):
                raise RequestError(f"there is no key {name!r}; see: ossia keys list")
            self._write(left)

    def stamp(self) -> tuple[int, ...] | None:
        """A value that changes whenever the file does; None: the file is missing."""
        try:
            found = os.stat(self.path)
        except OSError:
            return None
        return (found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_mode)

    def _read(self) -> bytes:
        descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
        with os.fdopen(descriptor, "rb") as file:
            mode = os.fstat(descriptor).st_mode
            if not stat.S_ISREG(mode):
                raise RequestError(f"{self.path} is not a regular file; a key file is one")
            if mode & 0o077:
                raise RequestError(
                    f"others may read or write {self.path} (mode {mode & 0o777:o}); "
                    f"run: chmod 600 {self.path}"
                )
            return file.read(_MAX_FILE_BYTES)

    def _write(self, keys: tuple[Key, ...]) -> None:
        fields = ("name", "sha256", "scopes", "created_at", "expires_at")
        rows = [{name: value for name, value in asdict(k).items() if name in fields} for k in keys]
        try:
            with atomic_write(self.path) as file:
                file.write(json.dumps({"keys": rows}, indent=1).encode())
        except OSError as error:
            raise RequestError(f"{self.path} cannot be written: {error.strerror}") from error

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Lock the file against other processes."""
        lock = self.path.with_name(f".{self.path.name}.lock")
        try:
            make_private_folder(self.path.parent)
            with file_lock(lock):
                yield
        except OSError as error:
            raise RequestError(f"{lock} cannot be made: {error.strerror}") from error


class KeyRing:
    """The keys that a running server accepts."""

    def __init__(
        self,
        fixed: tuple[Key, ...] = (),
        file: KeyFile | None = None,
        *,
        required: bool = False,
    ) -> None:
        """Read the keys.

        Args:
            fixed: further keys, beside those of the file.
            file: read again whenever it has changed.
            required: require a key even if none exists.

        Raises:
            RequestError: the file cannot be trusted.
        """
        self._fixed = fixed
        self._file = file
        self._stamp = file.stamp() if file else None
        self._keys = fixed + (file.keys() if file else ())
        self._required = required or bool(self._keys)

    @property
    def required(self) -> bool:
        """Whether callers need a key: once one existed, always, even if the last is revoked."""
        self._look()
        return self._required

    def find(self, secret: bytes) -> Key | None:
        """Find the key with this secret, expired or not, in constant time."""
        self._look()
        digest = sha256(secret).digest()
        found = None
        for key in self._keys:
            if hmac.compare_digest(digest, key.digest):
                found = key
        return found

    def _look(self) -> None:
        """Read the file again if it has changed; without any key if it cannot be trusted."""
        if self._file is None or (stamp := self._file.stamp()) == self._stamp:
            return
        self._stamp = stamp
        try:
            self._keys = self._fixed + self._file.keys()
        except RequestError as error:
            logger.error("no key of the file is accepted now: %s", error)
            self._keys = self._fixed
        self._required = self._required or bool(self._keys)


def open_keys(
    environment: MutableMapping[str, str], path: Path | None, *, required: bool = False
) -> KeyRing:
    """Open the keys of the environment and of a file; removes the secrets from the environment.

    Args:
        environment: may hold a key, or the name of a file with nothing but one.
        path: the file that `ossia keys` writes; it may be missing.
        required: require a key even if none exists.

    Raises:
        RequestError: a key is too short to be one; a file cannot be read or trusted.
    """
    secrets_found = [environment.pop(VARIABLE, "").encode(errors="surrogateescape")]
    if name := environment.pop(FILE_VARIABLE, ""):
        try:
            with open(name, "rb") as file:
                secrets_found.append(file.read(1024).strip() or b"?")
        except OSError as error:
            raise RequestError(
                f"{FILE_VARIABLE}: {name} cannot be read: {error.strerror}"
            ) from error
    fixed = tuple(_fixed_key(secret) for secret in secrets_found if secret)
    return KeyRing(fixed, KeyFile(path) if path else None, required=required)


def _fixed_key(secret: bytes) -> Key:
    if not _SECRET.fullmatch(secret):
        raise RequestError(
            f"the key in {VARIABLE} or {FILE_VARIABLE} has {len(secret)} bytes; a key has "
            "16 to 512 visible ASCII characters; make one: ossia keys add NAME"
        )
    return Key(name="environment", sha256=sha256(secret).hexdigest(), scopes=SCOPES, created_at=0)


def _key(fields: Any) -> Key:
    return Key(**{**fields, "scopes": tuple(fields["scopes"])})
