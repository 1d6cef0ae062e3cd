"""Text files that the user names: lists, tables, JSON."""

from __future__ import annotations

import unicodedata
from pathlib import Path


def read_text(path: Path, what: str, key: str) -> str:
    """The text of a file in UTF-8, with or without the byte order mark that Windows' programs write.

    Args:
        path: of the file.
        what: what to call it, for errors.
        key: config key that names it, for errors.

    Raises:
        ValueError: it does not exist, is a folder, cannot be read, or is in another encoding.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        fault = "does not exist"
    except IsADirectoryError:
        fault = "is a folder, and a file is needed"
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        fault = f"is not in UTF-8 (line {line} holds the byte 0x{error.object[error.start]:02x}); save it in UTF-8"
    except OSError as error:
        fault = f"cannot be read ({error.strerror})"
    raise ValueError(f"the {what} '{path}' {fault}: see {key}.")


def composed(name: str) -> str:
    """A name in Unicode's composed form (NFC).

    macOS takes the é in a file's name apart into e and an accent, and nobody sees that it is not what they wrote.
    """
    return unicodedata.normalize("NFC", name)
