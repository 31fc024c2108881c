"""
Options: parses the options that CV_set_option takes as texts. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from .._config import OPTIONS, option_from_text
from .._format.cipher import passphrase_of
from .._sources.http.address import check_header, split_header

__all__ = ["OPTION_NAMES", "Options"]

_CONFIG_NAMES: Final = tuple(option.name for option in OPTIONS)
OPTION_NAMES: Final = ("passphrase", "resource_name", "get_frame_timebox_ms", "http_header", *_CONFIG_NAMES)


@dataclass(slots=True)
class Options:
    """
    The options that a host has set on a handle. No ``repr`` and no error shows a secret.
    """

    passphrase: bytes | None = field(default=None, repr=False)
    resource_name: str | None = None
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    """HTTP request headers; names in lower case."""
    config: dict[str, Any] = field(default_factory=dict)
    """Checked options of :class:`Config`."""

    def set(self, name: str, text: str) -> None:
        """
        Set one option.

        Args:
            name: one of :data:`OPTION_NAMES`.
            text: the option's value, in the form of CV_set_option's documentation.

        Raises:
            PassphraseError: the passphrase is not 64 hexadecimal digits.
            ValueError: the name is unknown, or the value is outside its range.
        """
        if name == "passphrase":
            self.passphrase = passphrase_of(text, name)
        elif name == "resource_name":
            if not text.isascii():
                raise ValueError(f"resource_name: expected ASCII, found {text!r}")
            self.resource_name = text or None
        elif name == "http_header":
            self._set_header(text)
        elif name == "get_frame_timebox_ms":
            self.config["get_frame_timebox"] = option_from_text("get_frame_timebox", text, shown_as=name)
        elif name in _CONFIG_NAMES:
            self.config[name] = option_from_text(name, text)
        else:
            # Not quoted: if name and value are swapped, the name is a passphrase or a header.
            found = f"another text of {len(name)} characters; the name comes before the value" if name else "''"
            raise ValueError(f"name: expected one of {', '.join(OPTION_NAMES)}, found {found}")

    def copy(self) -> Options:
        """Return a copy, which later changes do not affect."""
        return Options(self.passphrase, self.resource_name, dict(self.headers), dict(self.config))

    def _set_header(self, text: str) -> None:
        found = split_header(text)
        if found is None:  # the text may be a secret
            raise ValueError(f'http_header: expected "Name: value" on one line, found {len(text)} other characters')
        check_header(*found)
        name, value = found[0].lower(), found[1]
        if value:
            self.headers[name] = value
        else:
            self.headers.pop(name, None)
