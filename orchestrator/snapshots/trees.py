"""Deleting folders completely, whatever an app left in them."""

from __future__ import annotations

import os
import shutil
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def remove_tree(path: Path) -> None:
    """Delete a folder, file or link; folders made read-only (caches of Go and conda) too, what links lead to never.

    Nothing there is fine. Raises OSError when something cannot be deleted.
    """
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    try:
        shutil.rmtree(path)
    except FileNotFoundError:
        if path.exists():  # something inside vanished by itself
            remove_tree(path)
    except PermissionError:
        for folder, _, _ in os.walk(path):
            with suppress(OSError):
                os.chmod(folder, stat.S_IRWXU)  # noqa: PTH101  # walk yields strings
        shutil.rmtree(path)
