"""Which of the bundled models an input asks for: the one for clean frames, or the one for compressed footage."""

from pathlib import Path

from blindvsr.frames import IMAGE_SUFFIXES, image_files
from blindvsr.video.packets import open_video
from blindvsr.video.pipe import PIPE

LOSSY = {".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WebP"}


def choose_model(path: Path) -> tuple[str, str]:
    """The name of the model that suits an input, and what about the input says so.

    Args:
        path: a video file, a folder of images, an image, or - for standard input.
    """
    if str(path) == PIPE:
        return "footage", "standard input, which as a rule was encoded before"
    if path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES:
        files = image_files(path) if path.is_dir() else [path]
        lossy = next((LOSSY[file.suffix.lower()] for file in files if file.suffix.lower() in LOSSY), None)
        return ("footage", f"{lossy} images") if lossy else ("clean", "lossless images")
    container, stream = open_video(path)
    with container:
        codec = stream.codec_context.codec
        # H.264 and others can be lossless and hardly ever are; the palette of a GIF costs as much as an encoder
        if codec.lossless and not codec.lossy and codec.name != "gif":
            return "clean", f"{codec.name} is lossless"
        return "footage", f"{codec.name} video"
