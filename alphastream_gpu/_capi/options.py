"""
Options: the options that CV_set_option takes as texts, and their values. Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields
from typing import Any, Final

from .._config import Config, option_from_text
from .._format.cipher import passphrase_of

__all__ = ["OPTION_NAMES", "Options"]

_CONFIG_NAMES: Final = tuple(option.name for option in fields(Config))
OPTION_NAMES: Final = ("passphrase", "resource_name", "get_frame_timebox_ms", "http_header", *_CONFIG_NAMES)

_HEADER: Final = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([ \t\x21-\x7e\x80-\xff]*)")
"""A header field of RFC 9110. It can contain nothing that ends the line and starts another field."""


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
            try:
                self.config["get_frame_timebox"] = option_from_text("get_frame_timebox", text)
            except ValueError as exc:
                raise ValueError(str(exc).replace("get_frame_timebox", name, 1)) from None
        elif name in _CONFIG_NAMES:
            self.config[name] = option_from_text(name, text)
        else:
            raise ValueError(f"name: expected one of {', '.join(OPTION_NAMES)}, found {name!r}")

    def copy(self) -> Options:
        """Return a copy, which later changes do not affect."""
        return Options(self.passphrase, self.resource_name, dict(self.headers), dict(self.config))

    def _set_header(self, text: str) -> None:
        found = _HEADER.fullmatch(text)
        if found is None:  # the text may be a secret
            raise ValueError(f'http_header: expected "Name: value" on one line, found {len(text)} other characters')
        name, value = found[1].lower(), found[2].strip()
        if value:
            self.headers[name] = value
        else:
            self.headers.pop(name, None)
