"""Clips: videos and folders of frames as volumes, and files that are none."""

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from faltung.data import Like, open_source, read_files
from faltung.data import video as video_module
from faltung.data.clips import is_clip
from faltung.data.video import evenly

# The grey of frame n is GREY * n.
GREY = 8


def frames(
    folder: Path, count: int, size: tuple[int, int] = (16, 12), name: str = "{}.png"
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        Image.new("RGB", size, (GREY * i, 0, 0)).save(folder / name.format(i))
    return folder


def video(path: Path, count: int, size: tuple[int, int] = (64, 48), codec: str = "mpeg4") -> Path:
    av = pytest.importorskip("av")
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        for i in range(count):
            values = np.full((size[1], size[0], 3), GREY * i, np.uint8)
            frame = av.VideoFrame.from_ndarray(values, format="rgb24")
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


def greys(x: Any) -> list[int]:
    """Of each frame of one clip (3, frames, height, width), the red at its centre."""
    return [round(float(v) * 255) for v in x[0, :, x.shape[2] // 2, x.shape[3] // 2]]


def test_frames_in_the_order_in_which_people_count(tmp_path: Path) -> None:
    for name, count in (("walk", 12), ("run", 3)):
        frames(tmp_path / name / "one", count)
        frames(tmp_path / name / "two", 6, name="frame {}.png")
    source = open_source(tmp_path, frames=4)
    assert (source.kind, source.shape, source.classes) == (
        "volume",
        (3, 4, 12, 16),
        ("run", "walk"),
    )
    assert source.names == ("run/one", "run/two", "walk/one", "walk/two")
    x = source.read(range(4))
    for clip, count in zip(x, (3, 6, 12, 6), strict=True):
        assert greys(clip) == [GREY * i for i in evenly(count, 4)]
    want = Like("volume", (3, 4, 12, 16), frames=4, units=source.units)  # type: ignore[attr-defined]
    many, names = read_files([tmp_path / "walk/one"], want)
    assert np.array_equal(many[0], x[2]) and names == (str(tmp_path / "walk/one"),)


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "mpeg4"), ("a.webm", "libvpx")])
def test_videos(name: str, codec: str, tmp_path: Path) -> None:
    for label in "ab":
        video(tmp_path / label / name, 25, codec=codec)
    source = open_source(tmp_path, size=32)
    assert source.shape == (3, 16, 32, 32) and source.frames == 16
    (first,) = source.read([0])
    assert np.allclose(greys(first), [GREY * i for i in evenly(25, 16)], atol=GREY - 1)
    small = open_source(tmp_path, size=[4, 24, 32], frames=4)
    assert small.shape == (3, 4, 24, 32)


def test_a_folder_of_folders_may_be_something_else(tmp_path: Path) -> None:
    for part in ("north", "south"):
        frames(tmp_path / part / "cat", 3), frames(tmp_path / part / "dog", 3)
    with pytest.raises(
        ValueError, match=r"holds folders, not files.*; if they are clips, .* frames"
    ):
        open_source(tmp_path)
    np.savez(tmp_path / "a.npz", x=np.zeros((2, 1, 8, 8)), y=[0, 1])
    with pytest.raises(ValueError, match=r"frames=4: applies to clips, not to an \.npz file"):
        open_source(tmp_path / "a.npz", frames=4)
    with pytest.raises(ValueError, match=r"frames=0: must be at least 1"):
        open_source(tmp_path, frames=0)


def test_what_is_skipped_and_refused(tmp_path: Path) -> None:
    for name in "ab":
        frames(tmp_path / name / "good", 4)
    bad = frames(tmp_path / "a/bad", 4)
    (bad / "1.png").write_bytes((bad / "1.png").read_bytes()[:40])
    frames(tmp_path / "a/sizes", 2), frames(tmp_path / "a/sizes", 1, (8, 8))
    (tmp_path / "a/empty").mkdir()
    (tmp_path / "a/deep/deeper").mkdir(parents=True)
    (tmp_path / "a/notes.txt").write_text("x")
    source = open_source(tmp_path, frames=4)
    said = {line.partition(": ")[0]: line.partition(": ")[2] for line in source.skipped}
    assert len(source) == 2 and said.keys() == {
        "a/bad", "a/deep", "a/empty", "a/notes.txt", "a/sizes"
    }  # fmt: skip
    assert said["a/bad"].startswith("1.png ")
    assert said["a/sizes"] == "has frames of several sizes"
    assert open_source(tmp_path, frames=4, size=6).shape == (3, 4, 6, 6)
    frames(tmp_path / "b/large", 2, (20, 20))
    with pytest.raises(ValueError, match=r"b/large: has frames of 20x20, the first clip of 12x16"):
        open_source(tmp_path, frames=4)
    (tmp_path / "b/good/out.png").symlink_to("/etc/passwd")
    with pytest.raises(ValueError, match="leads out"):
        open_source(tmp_path, frames=4, size=6)


@pytest.mark.parametrize(
    "text",
    [
        b"#EXTM3U\n#EXTINF:3,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n",
        b"ffconcat version 1.0\nfile 'real.mp4'\n",
        b"\0\0\0\x18ftypisom\0\0\0\0isommp41" + b"\xff" * 500,
        b"x",
    ],
)
def test_hostile_videos(text: bytes, tmp_path: Path) -> None:
    """A video that names other files does not open them, and a broken one is skipped."""
    for name in "ab":
        video(tmp_path / name / "real.mp4", 4)
    (tmp_path / "a/evil.mp4").write_bytes(text)
    source = open_source(tmp_path, frames=2)
    assert len(source) == 2 and source.skipped[0].startswith(
        "a/evil.mp4: cannot be read as a video"
    )


def test_a_video_cut_off_and_one_without_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "ab":
        video(tmp_path / name / "real.mp4", 9)
    cut = video(tmp_path / "a/cut.mkv", 30, codec="mpeg4")
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    found = open_source(tmp_path, frames=4)
    assert len(found) + len(found.skipped) == 3
    monkeypatch.setattr(video_module, "MAX_FRAMES", 8)
    with pytest.raises(ValueError, match="has more than 8 frames"):
        open_source(tmp_path, frames=4)


def test_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.mp4").write_bytes(b"x")
    plain = builtins.__import__

    def without(name: str, *more: Any, **options: Any) -> Any:
        if name == "av":
            raise ImportError(name)
        return plain(name, *more, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(
        ValueError, match=r'is a video, which needs PyAV: pip install "faltung\[vid'
    ):
        open_source(tmp_path)


def test_what_is_a_clip(tmp_path: Path) -> None:
    assert is_clip(frames(tmp_path / "a", 2)) and not is_clip(tmp_path)
    (tmp_path / "b").mkdir()
    assert not is_clip(tmp_path / "b")
    for name in ("x.npy", "x.mp4"):
        (tmp_path / "b" / name).touch()
        assert not is_clip(tmp_path / "b")
        (tmp_path / "b" / name).unlink()
