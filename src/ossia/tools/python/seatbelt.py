"""The wall of macOS: a profile for sandbox-exec that denies all it does not name.

Written from Apple's published profiles and never run by us: no Mac was at hand. The self-test
decides there as everywhere.
"""

import json
from collections.abc import Sequence

SYSTEM = (
    "/usr/lib",
    "/usr/share",
    "/System/Library",
    "/Library/Frameworks",
    "/private/var/db/dyld",
)


def profile(*, read: Sequence[str], write: str) -> str:
    """The profile: some folders to read, one to write, no network, and no second process.

    Args:
        read: folders of Python and of its packages.
        write: the one folder that may be written, its links resolved.
    """
    below = " ".join(f"(subpath {json.dumps(folder)})" for folder in (*SYSTEM, *read))
    lines = (
        "(version 1)",
        "(deny default)",
        # Without fork there is one process: no bomb, and nothing outlives the one that is killed.
        "(deny process-fork)",
        f"(allow process-exec {below})",
        f"(allow file-read* {below})",
        '(allow file-read-metadata (literal "/") (literal "/private") (literal "/var"))',
        '(allow file-read* file-write-data (literal "/dev/null") (literal "/dev/zero"))',
        '(allow file-read* (literal "/dev/urandom") (literal "/dev/random"))',
        f"(allow file-read* file-write* (subpath {json.dumps(write)}))",
        "(allow sysctl-read)",
        "(allow signal (target self))",
    )
    return "\n".join(lines)
