"""OPC UA: the words of the exchange as two array variables of the PLC's OPC UA server.

CTRL is an array of 16 elements and STAT is another. Nodes have names, not numbers; so that the exchange
can speak of words, CTRL is words 0..15 here and STAT is words 100..115, whatever the PLC is like.
Many PLCs cannot read or write a part of an array, so every request is of a whole one:

    read_words   ─▶ Read of the array  ─▶ answer checked (opcua_session.py) ─▶ the words asked for
    write_words  ─▶ STAT as last written or read, with the new words in it ─▶ Write of the array
                          └─▶ any fault ─▶ socket closed ─▶ PlcError; the copy of STAT is forgotten

The first write after `connect` is of the whole block, or costs a Read before it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from inspection.errors import ConfigError, PlcError, how_to_install
from inspection.plc.asking import Asker
from inspection.plc.words import BLOCK_WORDS

if TYPE_CHECKING:
    from inspection.plc.opcua_credentials import Credentials
    from inspection.plc.opcua_session import Session

CTRL_ADDRESS = 0
STAT_ADDRESS = 100
"""Where the blocks lie in this driver's own numbering."""

_NODE = r"^(ns=\d{1,5};)?(i=\d+|[sgb]=.+)$"
_PORT = 4840


class OpcUaConfig(BaseModel):
    """Which variables of a PLC's OPC UA server are the exchange."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ctrl_address: ClassVar[int] = CTRL_ADDRESS
    stat_address: ClassVar[int] = STAT_ADDRESS

    type: Literal["opcua"] = Field("opcua", description="Selects this driver.")
    url: str = Field(
        pattern=r"^opc\.tcp://[^/\s]+(/\S*)?$",
        description="Endpoint of the PLC's server, such as opc.tcp://192.168.0.1:4840; a name in place "
        "of the IP address costs a look-up at each connect.",
    )
    ctrl_node: str = Field(
        pattern=_NODE,
        description="Node id of the variable that the PLC writes, an array of 16 elements.",
    )
    stat_node: str = Field(
        pattern=_NODE,
        description="Node id of the variable that the station writes, an array of 16 elements.",
    )
    element: Literal["UInt16", "Int16"] = Field(
        "UInt16",
        description="Type of the elements in OPC UA: UInt16 for WORD and UINT, Int16 for INT; the "
        "words are the same 16 bits in both.",
    )
    security: Literal["none", "basic256sha256"] = Field(
        "none", description="basic256sha256 signs and encrypts; it needs the three files below."
    )
    certificate: Path | None = Field(
        None, description="The station's certificate (PEM or DER), to be trusted by the PLC."
    )
    key: Path | None = Field(None, description="Private key of the certificate (PEM, no password).")
    server_certificate: Path | None = Field(
        None, description="The PLC's certificate (PEM or DER); no other one is spoken to."
    )
    user: str | None = Field(None, min_length=1, description="User name; none: anonymous.")
    password_file: Path | None = Field(
        None, description="File with the user's password in its first line."
    )
    timeout: float = Field(
        0.5, ge=0.01, le=10.0, description="Longest wait for a connection or an answer, in seconds."
    )

    @field_validator("url")
    @classmethod
    def _has_port(cls, url: str) -> str:
        _address(url)
        return url

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.ctrl_node == self.stat_node:
            raise ValueError(
                f"CTRL and STAT are both {self.ctrl_node}; each needs a node of its own"
            )
        files = (self.certificate, self.key, self.server_certificate)
        if self.security != "none" and None in files:
            raise ValueError("security needs certificate, key and server_certificate")
        if self.security == "none" and files != (None, None, None):
            raise ValueError("certificates are of no use without security: basic256sha256")
        if (self.user is None) != (self.password_file is None):
            raise ValueError("user and password_file belong together")
        return self

    def beside(self, folder: Path) -> OpcUaConfig:
        """Return these settings with every relative path taken from `folder`."""
        names = ("certificate", "key", "server_certificate", "password_file")
        paths = {name: getattr(self, name) for name in names}
        return self.model_copy(
            update={name: folder / path for name, path in paths.items() if path is not None}
        )

    def open(self) -> OpcUaPlc:
        """Return the driver, not yet connected.

        Raises:
            ConfigError: asyncua is not installed, or a file cannot be used.
        """
        try:
            import asyncua  # noqa: F401  # pyright: ignore[reportUnusedImport]
        except ImportError as error:
            raise ConfigError(
                f"OPC UA needs asyncua, which is not installed ({error}); {how_to_install('opcua')}"
            ) from error
        return OpcUaPlc(self)


class OpcUaPlc:
    """A PLC's OPC UA server; see `inspection.protocols.Plc`. One thread at a time."""

    def __init__(self, config: OpcUaConfig) -> None:
        from inspection.plc.opcua_credentials import load_credentials, ua
        from inspection.plc.opcua_session import Session

        self._config = config
        self._where = f"PLC {config.url}"
        self._variant: Any = ua.Variant
        self._kind: Any = getattr(ua.VariantType, config.element)
        self._nodes: dict[str, Any] = {}
        for name, text in (("CTRL", config.ctrl_node), ("STAT", config.stat_node)):
            try:
                self._nodes[name] = ua.NodeId.from_string(text)
            except Exception as error:  # the library's own kinds
                raise ConfigError(f"{name} {text} is no node id: {error}") from error
        self._credentials: Credentials = load_credentials(config)
        self._asker = Asker(self._where, _address(config.url), config.timeout)
        self._session: Session = Session(
            self._where, config.url, self._asker, self._credentials, config.timeout
        )
        self._stat: list[int] | None = None

    def connect(self) -> None:
        """Open a fresh socket, channel and session; open ones are closed first. Raises PlcError."""
        self.close()
        self._session.open("that its OPC UA server is enabled and listens on this port")

    def read_words(self, address: int, count: int) -> list[int]:
        """Read words with one Read of their array.

        Args:
            address: first word: 0..15 in CTRL, 100..115 in STAT.
            count: words, all of one array.

        Returns:
            `count` unsigned 16-bit words.

        Raises:
            PlcError: no whole, right and good answer in time; the socket is closed.
            ValueError: the words are outside the arrays; nothing was sent.
        """
        block, first = _place(address, count)
        words = self._read(block)
        return words[first : first + count]

    def write_words(self, address: int, words: list[int]) -> None:
        """Write words of STAT with one Write of the whole array.

        A Read comes before it where the array's other words are not known: after `connect`.

        Args:
            address: first word, 100..115.
            words: unsigned 16-bit words, all of STAT.

        Raises:
            PlcError: the PLC did not confirm this write in time; the socket is closed, and nobody
                knows whether the words were written.
            ValueError: the words are outside STAT, or not 16 bits; nothing was sent.
        """
        block, first = _place(address, len(words))
        if block != "STAT":
            raise ValueError(f"{len(words)} words at {address} are outside STAT, 100..115")
        if not all(0 <= word <= 0xFFFF for word in words):
            raise ValueError(f"words to write must be 0..65535, got {words}")
        whole = list(words)
        if len(words) < BLOCK_WORDS:
            whole = list(self._read(block) if self._stat is None else self._stat)
            whole[first : first + len(words)] = words
        values = _signed(whole) if self._config.element == "Int16" else whole
        value = self._variant(values, self._kind, is_array=True)
        self._stat = None  # unknown until the PLC confirms
        self._session.write(f"write of {self._config.stat_node}", self._nodes[block], value)
        self._stat = whole

    def close(self) -> None:
        """End the session, where it is whole, and close the socket."""
        self._stat = None
        self._session.close()

    def _read(self, block: str) -> list[int]:
        node = self._config.ctrl_node if block == "CTRL" else self._config.stat_node
        what = f"read of {node}"
        words = self._session.read(what, self._nodes[block], lambda value: self._words(node, value))
        if block == "STAT":
            self._stat = words
        return words

    def _words(self, node: str, value: Any) -> list[int]:
        """Return the words of a value. Raises ValueError: it is no array of 16 such elements."""
        if value.VariantType != self._kind or not isinstance(value.Value, list):
            found = getattr(value.VariantType, "name", value.VariantType)
            array = "array of " if isinstance(value.Value, list) else ""
            raise PlcError(
                f"{self._where}: {node} is {array}{found}, not an array of {self._config.element}; "
                "check element and the variable's type; the socket was closed"
            )
        found: list[int] = value.Value
        if len(found) != BLOCK_WORDS:
            raise PlcError(
                f"{self._where}: {node} has {len(found)} elements, not {BLOCK_WORDS}; make it an "
                f"array [0..{BLOCK_WORDS - 1}]; the socket was closed"
            )
        return [element & 0xFFFF for element in found]


def _address(url: str) -> tuple[str, int]:
    """Return host and port of an endpoint. Raises ValueError."""
    parts = urlsplit(url)
    if not parts.hostname:
        raise ValueError(f"{url} names no host")
    return parts.hostname, parts.port or _PORT


def _place(address: int, count: int) -> tuple[str, int]:
    """Return the block of some words and their place in it. Raises ValueError."""
    for first, block in ((CTRL_ADDRESS, "CTRL"), (STAT_ADDRESS, "STAT")):
        if count >= 1 and first <= address <= first + BLOCK_WORDS - count:
            return block, address - first
    raise ValueError(
        f"{count} words at {address} are outside the arrays: CTRL is 0..15, STAT is 100..115"
    )


def _signed(words: list[int]) -> list[int]:
    return [word - 0x10000 if word > 0x7FFF else word for word in words]
