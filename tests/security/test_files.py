"""Weights, checkpoints, pictures and tables from strangers: each is refused by name, and nothing in them runs."""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from perpixel.bundle.bundle import read_bundle_weights as read_bundle
from perpixel.data.formats.decode import read_image, read_values
from perpixel.data.formats.decompression_limits import harmless
from perpixel.data.masks.policy import Policy
from perpixel.models.encoder import Encoder
from perpixel.models.weight_files import read_weights


class Payload:
    """Unpickled, it makes the sentinel file."""

    def __init__(self, sentinel: Path) -> None:
        self.sentinel = sentinel

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.sentinel,)


@pytest.fixture
def sentinel(tmp_path: Path) -> Path:
    return tmp_path / "sentinel"


def by_torch(payload: Payload) -> bytes:
    file = io.BytesIO()
    torch.save({"state_dict": {"weight": torch.zeros(1)}, "hyper_parameters": payload}, file)
    return file.getvalue()


def by_old_torch(payload: Payload) -> bytes:
    file = io.BytesIO()
    torch.save({"weight": payload}, file, _use_new_zipfile_serialization=False)
    return file.getvalue()


def by_numpy(payload: Payload) -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([payload], dtype=object), allow_pickle=True)
    return file.getvalue()


def by_npz(payload: Payload) -> bytes:
    file = io.BytesIO()
    np.savez(file, image=np.array([payload], dtype=object))
    return file.getvalue()


def in_a_bundle(path: Path) -> object:
    """Weights whose description vouches for them: a stranger can write both."""
    described = {"weights": {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}}
    (path.parent / "model.json").write_text(json.dumps(described))
    return read_bundle(path.parent)


WAYS: dict[str, Callable[[Payload], bytes]] = {
    "pickle": pickle.dumps,
    "torch": by_torch,
    "old torch": by_old_torch,
    "numpy": by_numpy,
    "npz": by_npz,
}
DOORS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "encoder.weights pth": ("weights.pth", lambda path: read_weights(str(path))),
    "encoder.weights ckpt": ("weights.ckpt", lambda path: read_weights(str(path))),
    "encoder.weights safetensors": ("weights.safetensors", lambda path: read_weights(str(path))),
    "init_from": ("model.safetensors", read_bundle),
    "init_from a bundle": ("model.safetensors", in_a_bundle),
    "image": ("image.npy", lambda path: read_image(path)),
    "mask": ("mask.npy", read_values),
    "image by a wrong name": ("image.png", lambda path: read_image(path)),
    "mask by a wrong name": ("mask.tif", read_values),
    "policy": ("policy.yaml", Policy.load),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("door", DOORS)
def test_a_payload_does_not_run(door: str, way: str, tmp_path: Path, sentinel: Path) -> None:
    name, read = DOORS[door]
    path = tmp_path / name
    path.write_bytes(WAYS[way](Payload(sentinel)))
    with pytest.raises(ValueError, match=name):
        read(path)
    assert not sentinel.exists()


def test_the_payloads_do_run_where_nobody_guards(sentinel: Path) -> None:
    for way in ("pickle", "numpy"):
        sentinel.unlink(missing_ok=True)
        content = WAYS[way](Payload(sentinel))
        pickle.loads(content) if way == "pickle" else np.load(io.BytesIO(content), allow_pickle=True)
        assert sentinel.exists()


def header(length: int, text: bytes = b"{}") -> bytes:
    return struct.pack("<Q", length) + text


@pytest.mark.parametrize(
    "content",
    [
        b"",
        header(2**63),
        header(2**31),
        header(100, b"[" * 100),
        header(78, b'{"a":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4000000000000]}} '),
        header(63, b'{"a":{"dtype":"F32","shape":[1,1],"data_offsets":[8,4]}}       ' + b"\0" * 8),
    ],
    ids=["empty", "header of exabytes", "header of gigabytes", "no json", "tensor of terabytes", "negative extent"],
)
def test_safetensors_that_lie_are_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="safetensors"):
        read_bundle(path)


def png_of(width: int, height: int) -> bytes:
    """A PNG whose header claims a size; its data are a few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")


def tiff_with(path: Path, tag: int, value: int) -> None:
    """A 16-bit TIFF one of whose header entries lies."""
    tifffile.imwrite(path, np.zeros((4, 4), np.uint16))
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages[0].tags[tag].overwrite(value)


SAMPLES_PER_PIXEL, IMAGE_WIDTH, STRIP_BYTES = 277, 256, 279


def test_images_that_unpack_to_gigabytes_are_refused_from_their_header(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png_of(60_000, 60_000))
    with pytest.raises(ValueError, match=r"bomb\.png.*pixels"):
        read_image(path)
    path = tmp_path / "bomb.npy"
    np.save(path, np.zeros((2, 2), np.uint8))
    path.write_bytes(path.read_bytes().replace(b"(2, 2), }    ", b"(2, 2000000000000)", 1)[:128])
    with pytest.raises(ValueError, match=r"bomb\.npy"):
        read_image(path)


@pytest.mark.parametrize(("tag", "value"), [(SAMPLES_PER_PIXEL, 65_535), (IMAGE_WIDTH, 60_000)])
def test_tiffs_whose_header_lies_are_refused(tag: int, value: int, tmp_path: Path) -> None:
    path = tmp_path / "bomb.tif"
    tiff_with(path, tag, value)
    with pytest.raises(ValueError, match=r"bomb\.tif"):
        read_image(path, 1)


@pytest.mark.parametrize(("compression", "packer"), [("zlib", zlib.compressobj), ("lzma", lzma.LZMACompressor)])
def test_a_tiff_strip_is_not_unpacked_beyond_what_it_declares(
    compression: str, packer: Callable[[], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """32 megabytes of zeros as the data of 4×4 pixels."""
    monkeypatch.setattr("perpixel.data.formats.decompression_limits._HARMLESS", 1 << 20)
    path = tmp_path / "bomb.tif"
    tifffile.imwrite(path, np.zeros((4, 4), np.uint16), compression=compression)
    packed = packer()
    data = packed.compress(bytes(1 << 25)) + packed.flush()
    with tifffile.TiffFile(path, mode="r+") as file:
        tags = file.pages[0].tags
        end = path.stat().st_size
        tags[STRIP_BYTES].overwrite(len(data))
        tags[273].overwrite(end)  # the strip's place
    with path.open("r+b") as file:
        file.seek(end)
        file.write(data)
    with pytest.raises(ValueError, match=r"bomb\.tif.*unpacks to more"):
        read_image(path, 1)


def test_streams_behind_a_tiff_strips_own_are_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perpixel.data.formats.decompression_limits._HARMLESS", 0)
    strip = lzma.compress(bytes(32))
    assert harmless(strip + lzma.compress(bytes(1 << 24)), 34925, 32, 0) == strip


LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    "text",
    [LAUGHS, "a: &a [*a]", "[" * 5000, "!!python/object/apply:os.system ['touch SENTINEL']", "x: " + "y" * (1 << 21)],
    ids=["billion laughs", "holds itself", "deep", "python tag", "large"],
)
def test_hostile_yaml_is_an_error(text: str, tmp_path: Path, sentinel: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(text.replace("SENTINEL", str(sentinel)))
    with pytest.raises(ValueError, match=r"policy\.yaml"):
        Policy.load(path)
    assert not sentinel.exists()


def test_a_policy_does_not_read_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "very-secret")
    path = tmp_path / "policy.yaml"
    path.write_text("classes: [{name: '${oc.env:WANDB_API_KEY}', from: [0]}, {name: b, from: [1]}]")
    assert "very-secret" not in str(Policy.load(path))


@pytest.mark.parametrize("source", ["package:planted.inner/w.pth", "package:../x/w.pth", "package:/w.pth"])
def test_looking_for_weights_in_a_package_imports_nothing(
    source: str, tmp_path: Path, sentinel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "planted").mkdir()
    (tmp_path / "planted" / "__init__.py").write_text(f"open({str(sentinel)!r}, 'w')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match="package"):
        read_weights(source)
    assert not sentinel.exists()


@pytest.mark.parametrize("name", ["tu-hf-hub:stranger/model", "tu-local-dir:model", "local-dir:model"])
def test_an_encoder_is_a_name_and_never_a_place(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text(json.dumps({"architecture": "resnet18"}))
    with pytest.raises(ValueError, match="smp or timm"):
        Encoder(name).build()


def test_no_file_is_unpacked_anywhere() -> None:
    """Archives with ``..`` or links cannot do harm while nothing extracts any; whoever adds it meets this test."""
    source = Path(__file__).resolve().parents[2] / "src"
    words = ("extractall", "unpack_archive", "tarfile", ".extract(", "import shutil")
    found = [(path.name, word) for path in source.rglob("*.py") for word in words if word in path.read_text()]
    assert found == []


def test_every_unpickler_takes_weights_only() -> None:
    source = Path(__file__).resolve().parents[2] / "src"
    lines = [line for path in source.rglob("*.py") for line in path.read_text().splitlines() if "torch.load(" in line]
    assert lines
    assert all("weights_only=True" in line or line.lstrip().startswith(("#", '"', "(``")) for line in lines)


def test_pictures_of_a_hostile_archive_are_not_links_into_the_machine(tmp_path: Path) -> None:
    """A mask that is a link to another file is read as what it is, a picture or an error; it never becomes text."""
    (tmp_path / "mask.png").symlink_to("/etc/passwd")
    with pytest.raises(ValueError, match=r"mask\.png") as refused:
        read_values(tmp_path / "mask.png")
    assert "root:" not in str(refused.value)


def test_a_zip_is_no_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../../evil.py", "x")
    with pytest.raises(ValueError, match=r"weights\.pt"):
        read_weights(str(path))
    assert [entry.name for entry in tmp_path.iterdir()] == ["weights.pt"]


def test_a_palette_png_with_a_text_bomb_is_refused(tmp_path: Path) -> None:
    """A compressed text chunk of 100 MB in a picture of one pixel."""
    path = tmp_path / "text.png"
    Image.new("L", (1, 1)).save(path)
    data = b"k\0\0" + zlib.compress(bytes(100 << 20))
    chunk = struct.pack(">I", len(data)) + b"zTXt" + data + struct.pack(">I", zlib.crc32(b"zTXt" + data))
    content = path.read_bytes()
    path.write_bytes(content[:33] + chunk + content[33:])
    with pytest.raises(ValueError, match=r"text\.png"):
        read_values(path)
