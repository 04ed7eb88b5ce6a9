"""What the station file says of the station's own OPC UA server (`opcua:`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

_HERE = ("127.0.0.1", "::1", "localhost")


class DrivesConfig(BaseModel):
    """An OPC UA client triggers the station, for a line that has no PLC.

    The server then plays the PLC's side of the line protocol: it serves the words of the exchange over Modbus
    TCP at host and port of the station's `plc`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Literal["operator", "engineer", "administrator"] = Field(
        description="lowest role of the people who may drive the station"
    )
    takt: float = Field(
        0.0,
        ge=0,
        le=3600,
        description="seconds from part to part of a continuous run; 0: as soon as the answer was taken",
    )
    ack_timeout: float = Field(
        0.5, ge=0.05, le=60, description="seconds to wait for TRIG_ACK; then the part is rejected"
    )
    result_timeout: float = Field(
        5.0,
        ge=0.05,
        le=120,
        description="seconds to wait from TRIGGER to the answer; then the part is rejected. Longer than the "
        "deadline of every recipe",
    )
    recipe_timeout: float = Field(
        30.0, ge=0.1, le=600, description="seconds to wait for a recipe that was asked for"
    )
    client_timeout: float = Field(
        10.0,
        ge=1,
        le=600,
        description="seconds without a word of the client that began a continuous run, after which it ends",
    )
    stop_after_rejects: int = Field(
        10,
        ge=0,
        description="parts in a row that did not pass, which end a continuous run; 0: never",
    )


class OpcUaServerConfig(BaseModel):
    """The station as an OPC UA server: `inspection opcua`, which `inspection up` starts where this is set."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field(
        "127.0.0.1", description="address to listen on; 0.0.0.0 lets other PCs of the site in"
    )
    port: int = Field(4840, ge=1, le=65535, description="TCP port")
    names: list[str] = Field(
        [], max_length=16, description="names and addresses by which clients call this PC"
    )
    folder: Path = Field(
        Path("opcua"),
        description="folder of the server's certificate and key, made at the first start, and of the "
        "client certificates: `trusted` and `rejected`; with `drives` also of the book of jobs",
    )
    drives: DrivesConfig | None = Field(
        None,
        description="OPC UA clients trigger the parts instead of a PLC; not set: clients look on",
    )

    def beside(self, folder: Path) -> OpcUaServerConfig:
        """Return these settings with the folder taken from `folder`."""
        return self.model_copy(update={"folder": folder / self.folder})

    def check_plc(self, plc: Any) -> None:
        """Raise ValueError where `drives` is set and the station's PLC is not the one that it plays."""
        if self.drives is None:
            return
        kind, host = getattr(plc, "type", ""), getattr(plc, "host", "")
        if kind != "modbus" or host not in _HERE:
            raise ValueError(
                f"`opcua.drives` plays the PLC on this PC, but `plc` is {kind} on {host or 'no host'}; "
                "set plc to {type: modbus, host: 127.0.0.1, port: 1502}, or remove `drives`: a real PLC "
                "triggers by itself"
            )
        if plc.port == self.port:
            raise ValueError(f"`plc.port` and `opcua.port` are both {self.port}; give each its own")
