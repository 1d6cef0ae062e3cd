"""NumPy files, mapped: a window reads no more than its rows."""

from __future__ import annotations

from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
import numpy.typing as npt


def load_npy(path: Path) -> npt.NDArray[Any]:
    """The array of a picture or a mask, (H, W) or (H, W, C), read-only.

    Raises:
        ValueError: the file is missing or damaged, or holds something else.
    """
    try:
        array: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise ValueError(f"'{path}' does not exist.") from None
    except (OSError, ValueError, EOFError, SyntaxError, TokenError) as error:  # the header is a Python literal
        raise ValueError(f"'{path}' is no NumPy array that can be read ({error}).") from None
    if not isinstance(array, np.ndarray):  # an .npz by another name
        raise ValueError(f"'{path}' is an archive of arrays: save one array with numpy.save.")
    if array.ndim not in (2, 3):
        raise ValueError(f"'{path}' has shape {array.shape}: save pictures as (H, W) or (H, W, C), masks as (H, W).")
    if not array.size:
        raise ValueError(f"'{path}' has shape {array.shape}, and so no pixels: save it again, or remove it.")
    return array
