"""Where videos lie: our layout, the toolboxes' (GT/), REDS, Vimeo-90K, and plain folders of images or video files."""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from blindvsr import InputError
from blindvsr.frames import VIDEO_SUFFIXES, Frame, check_size, image_files, image_size, read_images
from blindvsr.replacing import replacing
from blindvsr.layouts.vimeo import Split, is_septuplet, listed_clips

LR_FOLDER = "LR_blurdown_x4"
LR_FOLDERS = (LR_FOLDER, "BIx4", "BDx4")  # ours, and the toolboxes': bicubic, and blurred by a Gaussian
HR_FOLDERS = ("HR", "GT")
TRAIN_FOLDERS = (*HR_FOLDERS, "train/train_sharp", "train_sharp", "sequences")
VAL_FOLDERS = (*HR_FOLDERS, "val/val_sharp", "val_sharp", "sequences")
HR_INNER, LR_INNER = "truth", "input4"  # within each clip of SPMCS
WINDOW = 5


@dataclass(frozen=True)
class Video:
    """A video on disk, or a part of one.

    Attributes:
        name: its folder's name, or the file's without suffix.
        source: the folder of images or the video file.
        files: the images in order; empty for a video file.
        start: of a video file, the first frame that is read.
        stop: of a video file, the frame before which reading ends; None for all there are.
    """

    name: str
    source: Path
    files: tuple[Path, ...] = ()
    start: int = 0
    stop: int | None = None

    def read(self) -> Iterator[Frame]:
        """RGB uint8 frames (H, W, 3), one after another."""
        if self.files:
            return read_images(self.files)
        from blindvsr.video.reader import read_video  # PyAV loads slowly, and folders of images do without it

        return islice(read_video(self.source), self.start, self.stop)

    def part(self, start: int, stop: int) -> "Video":
        """The frames from `start` to before `stop`, of a whole video."""
        if self.files:
            return replace(self, files=self.files[start:stop])
        return replace(self, start=start, stop=stop)

    def count(self) -> int:
        """The number of frames of a whole video; a video file says it in its packets."""
        if self.files:
            return len(self.files)
        from blindvsr.video.packets import scan

        return scan(self.source).frames


def find_videos(
    root: str | Path, argument: str, folders: Sequence[str] = (), split: Split = "test", inner: str = HR_INNER
) -> list[Video]:
    """The videos under a root, in the order of their names.

    Recognised: one of `folders` below the root (our own layout, the toolboxes', REDS), holding the videos;
    `<clip>/*.png` (Vid4); `<clip>/truth/*.png` (SPMCS); `<group>/<clip>/im1.png` to `im7.png` (Vimeo-90K, of which a
    list in the root decides); images directly in the root (one video); video files.

    Args:
        root: the folder, or a video file.
        argument: the option it came from, for messages.
        folders: subfolders that are looked for first.
        split: of Vimeo-90K, whose list is used where there is one.
        inner: of SPMCS, which frames of a clip.

    Raises:
        InputError: if there is no such folder or it holds no video, saying what was looked for.
    """
    root = Path(root)
    if root.is_file() and root.suffix.lower() in VIDEO_SUFFIXES:
        return [Video(root.stem, root)]
    if not root.is_dir():
        raise InputError(f"{argument}={str(root)!r}: no such folder")
    base = next((root / folder for folder in folders if (root / folder).is_dir()), root)
    files = image_files(base)
    if files:
        return [Video(base.resolve().name, base, tuple(files))]
    clips = listed_clips(base, split)
    if clips is not None:
        return [_septuplet(clip) for clip in clips]
    videos = [video for path in sorted(base.iterdir()) if not path.name.startswith(".")
              for video in _videos_at(path, inner)]
    if not videos:
        wanted = [f"{folder}/<video>/<frame>.png" for folder in folders]
        wanted += ["<video>/<frame>.png", f"<video>/{inner}/<frame>.png", "<group>/<clip>/im1.png", "<frame>.png",
                   "video files"]
        raise InputError(f"{argument}={str(root)!r} holds no video; looked for {', '.join(wanted)} (.jpg likewise)")
    return videos


def _videos_at(path: Path, inner: str) -> list[Video]:
    """What one entry of a folder holds: a video of images, a group of septuplets, or a video file."""
    if not path.is_dir():
        return [Video(path.stem, path)] if path.suffix.lower() in VIDEO_SUFFIXES else []
    folder = path / inner if (path / inner).is_dir() else path
    files = image_files(folder)
    if files:
        return [Video(path.name, folder, tuple(files))]
    clips = (_septuplet(clip) for clip in sorted(path.iterdir()) if clip.is_dir())
    return [video for video in clips if is_septuplet(video.files)]


def _septuplet(clip: Path) -> Video:
    return Video(f"{clip.parent.name}/{clip.name}", clip, tuple(image_files(clip)))


def check_frames(videos: Sequence[Video], argument: str, limit: int | None = None, least: int = WINDOW) -> None:
    """Looks at the header of every image: one size per video, and enough frames.

    Args:
        videos: those made of images are checked; video files show when they are decoded.
        argument: the option they came from, for messages.
        limit: only the first so many frames of each are used.
        least: the fewest frames that make a window.

    Raises:
        InputError: naming the video or the image.
    """
    for video in videos:
        if not video.files:
            continue
        if len(video.files) < least:
            raise InputError(
                f"{argument}: {video.source} has {len(video.files)} frames; a window takes {least}: add frames or "
                "remove the folder"
            )
        size = image_size(video.files[0])
        for path in video.files[1:limit]:
            check_size(path, image_size(path), size)


def check_names(videos: Sequence[Video], argument: str) -> None:
    """Refuses a.mp4 beside a.mkv: each video is written to the folder of its name, perhaps by two devices at once.

    Raises:
        InputError: naming both.
    """
    sources: dict[str, Path] = {}
    for video in videos:
        if video.name in sources:
            raise InputError(
                f"{argument}: {sources[video.name]} and {video.source} would both be written to {video.name}/: "
                "rename one"
            )
        sources[video.name] = video.source


def input_places(videos: Sequence[Video]) -> list[Path]:
    """What reading videos touches: the source of each, and the folder that several lie in."""
    sources = [video.source for video in videos]
    parents = {source.parent for source in sources}
    return [*sources, *parents] if len(parents) == 1 < len(sources) else sources


def hold_out(videos: Sequence[Video], frames: int, val_frames: int) -> tuple[list[Video], list[Video]]:
    """Splits footage into what is trained on and what is validated on: no frame is in both.

    Of several videos the last one is held out. Of a single one, the frames after those that are trained on are.

    Args:
        videos: one at least.
        frames: to train on, the first so many of each video; of a single video as many as it can spare.
        val_frames: to validate on.

    Returns:
        The parts to train on and the parts to validate on.

    Raises:
        InputError: if a single video is too short for both.
    """
    if len(videos) > 1:
        return [video.part(0, frames) for video in videos[:-1]], [videos[-1].part(0, val_frames)]
    (video,) = videos
    count = video.count()
    start = min(frames, count - val_frames)
    if start < WINDOW:
        raise InputError(
            f"{video.source} is the only video and has {count} frames: {val_frames} to validate on and {WINDOW} to "
            "train on are the least; add footage, or give other footage to validate on (--data.val_root), or fewer "
            "frames (--data.val_frames)"
        )
    return [video.part(0, start)], [video.part(start, start + val_frames)]


def decoded(video: Video, cache: Path, limit: int) -> NDArray[np.uint8]:
    """The first `limit` frames of a video as one array on disk, decoded once: (N, H, W, 3), read as it is needed.

    Args:
        video: images or a video file.
        cache: folder of the arrays.
        limit: frames.
    """
    # the name tells sources and parts of one name apart, and files that were written anew since
    stamps = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in video.files or (video.source,)]
    identity = f"{video.source.resolve()} {video.start} {video.stop} {stamps}"
    path = cache / f"{video.name}-{limit}-{zlib.crc32(identity.encode()):08x}.npy"
    if not path.is_file():
        frames = []
        for frame in video.read():
            frames.append(frame)
            if len(frames) == limit:
                break
        with replacing(path) as temporary:
            np.save(temporary, np.stack(frames))
    return np.load(path, mmap_mode="r")
