"""How a simulated PLC is set up: its memory, its parts, its patience and its faults."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, cast, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from inspection.plc.servers import PlcProtocol
from inspection.plc.words import BLOCK_WORDS, MAX_SEQUENCE, SERIAL_CHARS

FaultKind = Literal[
    "lost_trigger",
    "wrong_sequence",
    "late_result",
    "frozen_heartbeat",
    "repeat",
    "overrun",
    "restart",
]
FAULTS: tuple[FaultKind, ...] = get_args(FaultKind)
WRAP_SEQUENCE = 65533
"""First sequence of the fault `wrap`: the fourth trigger has sequence 1 again."""

_FAULT = re.compile(r"(?P<kind>[a-z_]+)(?::(?P<seconds>\d+(?:\.\d+)?))?@(?P<part>[1-9]\d*)")
_FROZEN_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong on the PLC's side, once.

    What each kind does, and how its part ends when the station is right:

    - `lost_trigger`: TRIGGER drops before the station can see it. `no_ack`.
    - `wrong_sequence`: the PLC expects another sequence than it wrote. `bad_check`.
    - `late_result`: the PLC gives up as soon as the trigger is acknowledged. `no_result`; the
      result is discarded when it comes.
    - `frozen_heartbeat`: the PLC's heartbeat stands still for `seconds`, then TRIGGER is raised
      whatever READY says; the heartbeat moves again after the outcome. `no_ack` from one second on,
      for the station must ignore the trigger of a dead PLC.
    - `repeat`: after its outcome the part is triggered again with the same sequence. The answer
      must be the same; there is no second outcome.
    - `overrun`: while the station is BUSY with the part the next one is triggered. `lost`.
    - `restart`: the PLC loses power while it waits for the result: links drop, its memory is zero.
      With a log the part is triggered again; without one it is `lost` and sequences start at 1.

    Attributes:
        kind: one of `FAULTS`.
        part: it happens to the n-th trigger, from 1.
        seconds: how long, for `frozen_heartbeat` only.
    """

    kind: FaultKind
    part: int
    seconds: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Fault:
        """Read `KIND@N` or `frozen_heartbeat:SECONDS@N`. Raises ValueError."""
        match = _FAULT.fullmatch(text.strip())
        if match is None or match["kind"] not in FAULTS:
            raise ValueError(
                f"fault {text!r} is not KIND@N with KIND one of {', '.join(FAULTS)}; "
                "or frozen_heartbeat:SECONDS@N"
            )
        kind = cast(FaultKind, match["kind"])
        if match["seconds"] and kind != "frozen_heartbeat":
            raise ValueError(f"fault {text!r}: only frozen_heartbeat takes seconds")
        default = _FROZEN_SECONDS if kind == "frozen_heartbeat" else 0.0
        return cls(kind, int(match["part"]), float(match["seconds"] or default))


class SimulatedPlcConfig(BaseModel):
    """A PLC with a conveyor, as a server of one of the protocols that PLCs speak."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field("127.0.0.1", min_length=1, description="Address to listen on.")
    port: int = Field(0, ge=0, le=65535, description="TCP port to listen on; 0 takes a free one.")
    protocol: PlcProtocol = Field("modbus", description="Protocol in which its words are served.")
    unit: int = Field(
        1,
        ge=1,
        le=255,
        description="Modbus: unit (device) id it answers to; S7: number of its data block.",
    )
    ctrl_address: int = Field(
        0, ge=0, le=65536 - BLOCK_WORDS, description="First word of CTRL, counted from 0."
    )
    stat_address: int = Field(
        100, ge=0, le=65536 - BLOCK_WORDS, description="First word of STAT, counted from 0."
    )
    scan: float = Field(
        0.005, ge=0.001, le=1.0, description="Cycle of the PLC program, in seconds."
    )
    takt: float = Field(
        1.0,
        ge=0.0,
        le=3600.0,
        description="Time from one part to the next, in seconds; 0: as soon as possible.",
    )
    parts: int = Field(0, ge=0, description="Number of parts that arrive; 0 for no end.")
    first_part_id: int = Field(
        1, ge=0, le=0xFFFFFFFF, description="Part id of the first part; then counted up."
    )
    part_ids: tuple[int, ...] = Field(
        (), description="Part ids in their order, instead of counting from first_part_id."
    )
    lot: str = Field(
        "",
        max_length=SERIAL_CHARS,
        pattern=r"^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$|^$",
        description="Serial or lot sent with each part, at most 16 ASCII characters.",
    )
    recipe: int = Field(
        1, ge=0, le=65535, description="Recipe number requested at start; 0 requests none."
    )
    deadline: float = Field(
        0.0,
        ge=0.0,
        le=65.535,
        description="Deadline sent with each part, in seconds; 0: the recipe's.",
    )
    first_sequence: int = Field(
        1, ge=1, le=MAX_SEQUENCE, description="TRIG_SEQ of the first trigger of a new log."
    )
    wait_ready: bool = Field(
        True,
        description="Whether the conveyor waits for the station; otherwise a part that comes "
        "too early is rejected without a trigger.",
    )
    ready_timeout: float = Field(
        60.0,
        ge=0.0,
        le=3600.0,
        description="Longest wait of the conveyor for the station, in seconds.",
    )
    ack_timeout: float = Field(
        0.5, ge=0.01, le=60.0, description="Longest wait for TRIG_ACK, in seconds."
    )
    result_timeout: float = Field(
        2.0, ge=0.01, le=600.0, description="Longest wait from TRIGGER to RESULT_VALID, in seconds."
    )
    recipe_timeout: float = Field(
        30.0,
        ge=0.1,
        le=600.0,
        description="Longest wait of a living station's RECIPE_ACK, in seconds.",
    )
    stop_after_rejects: int = Field(
        0, ge=0, description="Rejects in a row that stop the line; 0 never stops it."
    )
    log: Path | None = Field(
        None, description="Log file, one JSON object a line; a restart goes on from it."
    )
    faults: tuple[Fault, ...] = Field(
        (), description="Faults to play, each KIND@N for the n-th trigger."
    )

    @field_validator("faults", mode="before")
    @classmethod
    def _parse_faults(cls, value: Any) -> Any:
        if isinstance(value, list | tuple):
            items = cast("list[Any] | tuple[Any, ...]", value)
            return tuple(Fault.parse(item) if isinstance(item, str) else item for item in items)
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if abs(self.ctrl_address - self.stat_address) < BLOCK_WORDS:
            raise ValueError(
                f"CTRL at {self.ctrl_address} and STAT at {self.stat_address} overlap; "
                f"each needs {BLOCK_WORDS} words"
            )
        if not self.wait_ready and self.takt < self.scan:
            raise ValueError(
                "takt must be at least one scan where the conveyor does not wait for READY"
            )
        if any(not 0 <= part_id <= 0xFFFFFFFF for part_id in self.part_ids):
            raise ValueError("part_ids must be 0..4294967295")
        if self.part_ids and self.parts > len(self.part_ids):
            raise ValueError(f"parts is {self.parts}, but part_ids names only {len(self.part_ids)}")
        return self

    @property
    def total(self) -> int:
        """Parts that will arrive; 0 for no end."""
        return self.parts or len(self.part_ids)

    def part_id(self, index: int) -> int:
        """Return the part id of the part that arrives after `index` others."""
        if self.part_ids:
            return self.part_ids[index]
        return (self.first_part_id + index) & 0xFFFFFFFF
