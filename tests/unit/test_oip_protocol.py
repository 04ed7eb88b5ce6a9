"""The wire: what is parsed is what was sent, and nothing sent can do harm."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inspection_serve.inference.picture import decode_picture, picture_size
from inspection_serve.inference.protocol import (
    HEADER_LENGTH,
    MAX_BODY,
    MAX_JSON,
    MemorySlice,
    RequestError,
    encode_infer,
    parse_infer,
)
from inspection_serve.inference.shared_memory import MAX_REGIONS, SharedMemory

SHAPE = [1, 2, 2, 3]
PIXELS = bytes(range(12))


def binary(entry: dict[str, Any] | None = None, rest: bytes = PIXELS, **head: Any) -> Any:
    tensor = {"name": "images", "shape": SHAPE, "datatype": "UINT8"}
    tensor["parameters"] = {"binary_data_size": 12}
    text = json.dumps({"inputs": [{**tensor, **(entry or {})}], **head}).encode()
    return text + rest, {HEADER_LENGTH: str(len(text))}


def as_json(data: Any, **head: Any) -> Any:
    tensor = {"name": "images", "shape": SHAPE, "datatype": "UINT8", "data": data}
    return json.dumps({"inputs": [tensor], **head}).encode(), {}


def test_binary() -> None:
    request = parse_infer(*binary(id="a7", parameters={"timeout": 250_000}))
    assert request.images.tobytes() == PIXELS
    assert request.images.shape == (1, 2, 2, 3)
    assert request.id == "a7"
    assert request.timeout == 0.25


@pytest.mark.parametrize(
    "data", [list(range(12)), np.arange(12).reshape(1, 2, 2, 3).tolist()], ids=["flat", "nested"]
)
def test_json(data: Any) -> None:
    assert parse_infer(*as_json(data)).images.tobytes() == PIXELS


def test_memory() -> None:
    where = {"shared_memory_region": "r", "shared_memory_byte_size": 12, "shared_memory_offset": 4}
    request = parse_infer(*binary({"parameters": where}, b""))
    assert request.images is None
    assert request.memory == MemorySlice("r", 4, 12)


@pytest.mark.parametrize(
    "request_",
    [
        (b"", {}),
        (b"[]", {}),
        (b"[" * 100_000, {}),
        (b"{}", {}),
        (b"{}", {HEADER_LENGTH: "9"}),
        (b"{}", {HEADER_LENGTH: "-1"}),
        (b"{}", {HEADER_LENGTH: "1" * 5000}),
        (b"{}", {"content-encoding": "gzip"}),
        binary({"name": "x"}),
        binary({"datatype": "FP32"}),
        binary({"shape": [1, 2, 2]}),
        binary({"shape": [1, 2, 2, True]}),
        binary({"shape": [1 << 40, 1 << 40, 1 << 40, 3]}),
        binary({"shape": [64, 16384, 16384, 3]}),
        binary({"shape": [-1, 2, 2, 3]}),
        binary(rest=PIXELS[:-1]),
        binary(rest=PIXELS + b"x"),
        binary({"parameters": {}}),
        binary({"parameters": {"binary_data_size": 11}}),
        binary({"parameters": {"binary_data_size": "12"}}),
        binary({"parameters": {"shared_memory_region": "r"}}, b""),
        binary({"parameters": {"shared_memory_region": "r", "shared_memory_byte_size": 5}}, b""),
        binary({"data": [1] * 12}),
        binary(inputs=[]),
        binary(inputs=[{}] * 9),
        binary(id=7),
        binary(id="x" * 1000),
        binary(parameters=[]),
        binary(parameters={"timeout": -1}),
        binary(outputs="all"),
        binary(outputs=[{"name": "detections"}] * 2),
        binary(outputs=[{"name": "detections", "parameters": {"classification": 3}}]),
        as_json([1.5] * 12),
        as_json([256] * 12),
        as_json([-1] * 12),
        as_json([1 << 80] * 12),
        as_json([1, [2, 3]] * 6),
        as_json("0123456789ab"),
        as_json([None] * 12),
        as_json([]),
        as_json([True] * 12),
    ],
)
def test_everything_else_is_refused(request_: Any) -> None:
    with pytest.raises(RequestError) as caught:
        parse_infer(*request_)
    assert 400 <= caught.value.status < 500
    assert json.loads(caught.value.body())["error"]


def test_too_large_a_body() -> None:
    with pytest.raises(RequestError) as caught:
        parse_infer(bytes(MAX_BODY + 1), {})
    assert caught.value.status == 413


def test_numbers_in_json_are_for_small_images() -> None:
    """Nobody else is answered while they are read; the same image is welcome as bytes."""
    shape = [1, 640, 640, 3]
    size = 640 * 640 * 3
    for headers in ({}, {HEADER_LENGTH: str(size * 2)}):
        body, _ = as_json([0] * size)
        with pytest.raises(RequestError, match="send the images as binary tensor data") as caught:
            parse_infer(body.ljust(size * 2), headers)
        assert (caught.value.status, caught.value.code) == (413, "too_large")
    where = {"shape": shape, "parameters": {"binary_data_size": size}}
    assert parse_infer(*binary(where, bytes(size))).shape == tuple(shape)
    small = {"shape": [1, 256, 256, 3], "data": [7] * (256 * 256 * 3), "parameters": {}}
    text = binary(small, b"")[0]
    assert len(text) < MAX_JSON
    assert parse_infer(text, {}).images.min() == 7


def test_memory_is_named_by_either_side() -> None:
    where = {"shared_memory_region": "r", "shared_memory_byte_size": 12}
    wish = [{"name": "detections", "parameters": where}]
    assert parse_infer(*binary({"parameters": where}, b"")).names_memory
    assert parse_infer(*binary(outputs=wish)).names_memory
    assert not parse_infer(*binary(outputs=[{"name": "detections"}])).names_memory


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
KEYS = ["name", "shape", "datatype", "data", "parameters", "id", "inputs", "outputs"]
tensors = st.fixed_dictionaries(
    {"name": st.just("images") | values, "datatype": st.just("UINT8") | values},
    optional={
        "shape": st.just(SHAPE) | values,
        "data": values | st.lists(st.integers(-1, 256), min_size=12, max_size=12),
        "parameters": st.dictionaries(
            st.sampled_from(
                ["binary_data_size", "shared_memory_region", "shared_memory_byte_size", "binary"]
            ),
            st.just(12) | values,
            max_size=3,
        ),
    },
)
heads = st.fixed_dictionaries(
    {"inputs": st.lists(tensors, min_size=1, max_size=2) | values},
    optional={"id": values, "outputs": values, "parameters": values},
)


@settings(max_examples=300, deadline=None)
@given(heads, st.binary(max_size=16), st.none() | st.integers(-5, 500))
def test_any_structure_is_parsed_or_refused(head: Any, rest: bytes, shift: int | None) -> None:
    text = json.dumps(head).encode()
    headers = {} if shift is None else {HEADER_LENGTH: str(len(text) if shift < 100 else shift)}
    parsed_or_refused(text + rest, headers)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.none() | st.text(max_size=12))
def test_any_bytes_are_parsed_or_refused(body: bytes, length: str | None) -> None:
    parsed_or_refused(body, {} if length is None else {HEADER_LENGTH: length})


def parsed_or_refused(body: bytes, headers: dict[str, str]) -> None:
    try:
        request = parse_infer(body, headers)
    except RequestError as error:
        status = error.status
    else:
        status = 400
        assert (request.images is None) != (request.memory is None)
        if request.images is not None:
            assert request.images.dtype == np.uint8
            assert request.images.shape == request.shape
    assert 400 <= status < 500


class TestAnswer:
    rows = np.arange(12, dtype=np.float32).reshape(1, 2, 6)

    def test_json(self) -> None:
        body, length = encode_infer(parse_infer(*binary(id="q")), {"d": self.rows}, {"m": 1}, {})
        answer = json.loads(body)
        assert length is None
        assert answer["id"] == "q"
        assert answer["outputs"][0]["data"] == list(range(12))

    def test_binary(self) -> None:
        wish = [{"name": "d", "parameters": {"binary_data": True}}]
        body, length = encode_infer(parse_infer(*binary(outputs=wish)), {"d": self.rows}, {}, {})
        head = json.loads(body[:length])
        assert head["outputs"][0]["parameters"]["binary_data_size"] == 48
        assert body[length:] == self.rows.tobytes()

    def test_nan_cannot_be_said_in_json_and_is_not_hidden(self) -> None:
        rows = np.full((1, 1, 6), np.nan, np.float32)
        with pytest.raises(RequestError, match="NaN"):
            encode_infer(parse_infer(*binary()), {"d": rows}, {}, {})


class TestSharedMemory:
    @pytest.fixture
    def memory(self, tmp_path: Path) -> Any:
        (tmp_path / "seg").write_bytes(bytes(range(100)))
        opened = SharedMemory(tmp_path)
        yield opened
        opened.close()

    def test_read_is_a_copy_at_the_right_place(self, memory: SharedMemory, tmp_path: Path) -> None:
        memory.register("r", "/seg", 10, 50)
        images = memory.read(MemorySlice("r", 5, 12), (1, 2, 2, 3))
        (tmp_path / "seg").write_bytes(bytes(100))
        assert images.tobytes() == bytes(range(15, 27))

    def test_only_what_was_given_back_is_used_again(self, memory: SharedMemory) -> None:
        memory.register("r", "/seg", 0, 100)
        shape = (1, 2, 2, 3)
        first = memory.read(MemorySlice("r", 0, 12), shape)
        second = memory.read(MemorySlice("r", 12, 12), shape)
        assert not np.shares_memory(first, second)
        memory.give_back(first)
        other = memory.read(MemorySlice("r", 24, 24), (2, 2, 2, 3))
        assert not np.shares_memory(first, other), "of another shape"
        third = memory.read(MemorySlice("r", 24, 12), shape)
        assert third is first
        assert third.tobytes() == bytes(range(24, 36))
        assert second.tobytes() == bytes(range(12, 24))
        assert memory.read(MemorySlice("r", 36, 12), shape) is not first, "it is in use"

    def test_write(self, memory: SharedMemory, tmp_path: Path) -> None:
        memory.register("r", "seg", 10, 50)
        memory.write(MemorySlice("r", 2, 16), np.array([1.5, 2.5], np.float32))
        data = (tmp_path / "seg").read_bytes()
        assert np.frombuffer(data[12:20], "<f4").tolist() == [1.5, 2.5]
        assert len(data) == 100
        with pytest.raises(RequestError, match="room"):
            memory.write(MemorySlice("r", 2, 7), np.array([1.5, 2.5], np.float32))

    @pytest.mark.parametrize(
        "key",
        ["../seg", "/../seg", "a/b", "", "/", ".", "..", "seg\0", 7, None, "nothing", "x" * 999],
    )
    def test_keys_stay_in_the_folder(self, memory: SharedMemory, key: Any) -> None:
        with pytest.raises(RequestError):
            memory.register("r", key, 0, 10)

    def test_links_and_folders_and_pipes_are_refused(
        self, memory: SharedMemory, tmp_path: Path
    ) -> None:
        (tmp_path / "link").symlink_to("/etc/hostname")
        (tmp_path / "folder").mkdir()
        os.mkfifo(tmp_path / "pipe")
        for key in ("link", "folder", "pipe"):
            with pytest.raises(RequestError):
                memory.register("r", key, 0, 1)

    @pytest.mark.parametrize(
        ("offset", "size"),
        [
            (0, 101),
            (100, 1),
            (-1, 5),
            (0, 0),
            (0, True),
            (0.0, 5),
            (1 << 50, 5),
            ("0", 5),
            (0, None),
        ],
    )
    def test_sizes_are_checked(self, memory: SharedMemory, offset: Any, size: Any) -> None:
        with pytest.raises(RequestError):
            memory.register("r", "/seg", offset, size)

    def test_slices_stay_in_the_region(self, memory: SharedMemory) -> None:
        memory.register("r", "/seg", 10, 50)
        for where in (MemorySlice("r", 40, 12), MemorySlice("x", 0, 12)):
            with pytest.raises(RequestError):
                memory.read(where, (1, 2, 2, 3))

    def test_a_region_that_was_shortened_is_an_error(
        self, memory: SharedMemory, tmp_path: Path
    ) -> None:
        memory.register("r", "/seg", 0, 100)
        os.truncate(tmp_path / "seg", 50)
        with pytest.raises(RequestError, match="shorter"):
            memory.read(MemorySlice("r", 45, 12), (1, 2, 2, 3))
        with pytest.raises(RequestError, match="shorter"):
            memory.write(MemorySlice("r", 45, 12), np.zeros(3, np.float32))

    def test_memory_of_a_line_is_read_and_never_written(
        self, memory: SharedMemory, tmp_path: Path
    ) -> None:
        """Its picture is in there, between the camera and the network."""
        name = "inspection-line-17-ab"
        (tmp_path / name).write_bytes(bytes(range(100)))
        memory.register(name, f"/{name}", 0, 100)
        assert memory.read(MemorySlice(name, 0, 12), (1, 2, 2, 3)).tobytes() == bytes(range(12))
        with pytest.raises(RequestError, match="never written") as caught:
            memory.write(MemorySlice(name, 0, 12), np.zeros(3, np.float32))
        assert caught.value.status == 403
        assert (tmp_path / name).read_bytes() == bytes(range(100))

    @pytest.mark.parametrize(
        ("name", "key", "offset"),
        [
            ("inspection-line-17-ab", "/seg", 0),
            ("r", "/inspection-line-17-ab", 0),
            ("r", "inspection-line-17-ab", 0),
            ("inspection-line-18-cd", "/inspection-line-17-ab", 0),
            ("inspection-line-17-ab", "/inspection-line-17-ab", 8),
        ],
    )
    def test_nobody_puts_another_picture_in_its_place(
        self, memory: SharedMemory, tmp_path: Path, name: str, key: str, offset: int
    ) -> None:
        (tmp_path / "inspection-line-17-ab").write_bytes(bytes(100))
        with pytest.raises(RequestError, match="memory of a line") as caught:
            memory.register(name, key, offset, 50)
        assert caught.value.status == 403

    def test_a_file_of_several_names_is_refused(self, memory: SharedMemory, tmp_path: Path) -> None:
        (tmp_path / "inspection-line-17-ab").write_bytes(bytes(100))
        (tmp_path / "other").hardlink_to(tmp_path / "inspection-line-17-ab")
        for name in ("other", "inspection-line-17-ab"):
            with pytest.raises(RequestError, match="several names"):
                memory.register(name, f"/{name}", 0, 50)

    def test_what_killed_lines_left_is_forgotten(
        self, memory: SharedMemory, tmp_path: Path
    ) -> None:
        for i in range(3):
            (tmp_path / f"inspection-line-{i}").write_bytes(bytes(10))
            memory.register(f"inspection-line-{i}", f"/inspection-line-{i}", 0, 10)
        (tmp_path / "inspection-line-0").unlink()
        memory.register("r", "/seg", 0, 10)
        names = [region["name"] for region in memory.status()]
        assert names == ["inspection-line-1", "inspection-line-2", "r"]

    def test_others_that_are_gone_make_room_where_there_is_none(
        self, memory: SharedMemory, tmp_path: Path
    ) -> None:
        """A client may remove the file early and go on to use its memory."""
        (tmp_path / "early").write_bytes(bytes(range(10)))
        memory.register("early", "/early", 0, 10)
        (tmp_path / "early").unlink()
        for i in range(MAX_REGIONS - 1):
            memory.register(f"r{i}", "/seg", 0, 10)
        assert memory.status("early")
        memory.register("more", "/seg", 0, 10)
        with pytest.raises(RequestError, match="unknown"):
            memory.status("early")

    def test_names_once_and_not_without_end(self, memory: SharedMemory) -> None:
        for i in range(MAX_REGIONS):
            memory.register(f"r{i}", "/seg", 0, 10)
        with pytest.raises(RequestError):
            memory.register("more", "/seg", 0, 10)
        memory.unregister("r0")
        with pytest.raises(RequestError, match="already"):
            memory.register("r1", "/seg", 0, 10)
        memory.unregister()
        assert memory.status() == []


class TestPicture:
    @settings(max_examples=200, deadline=None)
    @given(st.sampled_from([b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b""]), st.binary(max_size=300))
    def test_any_bytes_are_measured_or_refused(self, start: bytes, rest: bytes) -> None:
        try:
            width, height = picture_size(start + rest + b"\xff\xd9")
        except RequestError:
            return
        assert width > 0
        assert height > 0

    def test_a_bomb_is_refused_before_it_is_decoded(self) -> None:
        png = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + (50_000).to_bytes(4, "big") * 2
        png += bytes(20) + b"\0\0\0\0IEND\xaeB`\x82"
        with pytest.raises(RequestError, match="pixels"):
            decode_picture(png)
