"""Where compiled kernels are kept between processes."""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
import sys
import tempfile
from pathlib import Path

import numba

NOTICE = "no folder for compiled kernels can be written: they are compiled again in every process"


def prepare_cache() -> tuple[str, ...]:
    """Choose the folder for compiled kernels; must run before the kernels are imported.

    The folder belongs to the user alone, because numba's cache holds pickles, and is named by a
    hash of the kernels' sources and versions: numba does not see that an intrinsic has changed.

    Returns:
        Notices for the user.
    """
    if "NUMBA_CACHE_DIR" in os.environ:
        return ()
    for folder in (user_cache_folder() / _version(), None):
        try:
            if folder is None:
                numba.config.CACHE_DIR = tempfile.mkdtemp(prefix="spikeport-")
                atexit.register(shutil.rmtree, numba.config.CACHE_DIR, ignore_errors=True)
                return (NOTICE,)
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            folder.chmod(0o700)
            with tempfile.TemporaryFile(dir=folder):
                numba.config.CACHE_DIR = str(folder)
            return ()
        except OSError:
            continue
    return (NOTICE,)


def user_cache_folder() -> Path:
    """Return the platform's folder for what a program can make again."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "spikeport"


def _version() -> str:
    digest = hashlib.sha256(numba.__version__.encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
