"""Where restored frames go: a video file, a folder of images, one image, or standard output."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from blindvsr import InputError
from blindvsr.frames import Frame, natural_order, read_image, write_image
from blindvsr.replacing import replacing
from blindvsr.upscale.jobs import IMAGE, PIPE
from blindvsr.upscale.journal import FRAMES, Arrays, Journal
from blindvsr.upscale.size import OutputSize, reduced
from blindvsr.video.encoder import WRITTEN_SUFFIXES
from blindvsr.video.extras import warn_of_all
from blindvsr.video.pipe import write_pipe
from blindvsr.video.source import Source
from blindvsr.video.writer import SEGMENT, write_video

Item = tuple[int, Frame, Arrays]  # time in ticks, the frame, and what else to take down with the segment that it ends
Write = Callable[[Item], None]


@dataclass
class Destination:
    """The output of a job.

    Attributes:
        source: what is restored.
        target: a video file by its suffix, one PNG for one image, - for standard output, otherwise a folder of PNG.
        reduced_to: how large the output is, of what the network gives.
        codec: of a video, see `blindvsr.video.encoder.choose_encoder`.
        crf: see there.
        pixels: see there.
        sound: "copy", "aac" or "none".
        size: (H, W) of the output.
        lost: what is missing of the sound, once all is written.
    """

    source: Source
    target: Path
    reduced_to: OutputSize = OutputSize()
    codec: str | None = None
    crf: float | None = None
    pixels: str | None = None
    sound: str = "copy"
    size: tuple[int, int] = field(init=False)
    lost: list[str] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        """Raises InputError for a size that is larger than what the network gives."""
        even = self.is_pipe or self.is_video and not self.is_gif
        self.size = self.reduced_to.of(self.source.size, even=even)

    @property
    def is_video(self) -> bool:
        """Whether it is a video file."""
        return self.target.suffix.lower() in WRITTEN_SUFFIXES

    @property
    def is_gif(self) -> bool:
        """Whether it is a GIF, which holds pictures alone, of any size."""
        return self.target.suffix.lower() == ".gif"

    @property
    def is_pipe(self) -> bool:
        """Whether it is standard output."""
        return str(self.target) == PIPE

    @property
    def is_whole(self) -> bool:
        """Whether it is written in one go: there is nothing to take down on the way."""
        return self.is_pipe or self.target.suffix.lower() == IMAGE

    def open(self, journal: Journal | None, remember: Callable[[Arrays], None]) -> AbstractContextManager[Write]:
        """Gives a function that takes item after item; the output appears at the end of the block.

        Args:
            journal: for all that is not written in one go. What it holds is written first.
            remember: gets what was taken down with every segment that the journal holds.
        """
        if self.source.extras and (self.is_gif or not self.is_video):
            warn_of_all(self.source.extras.path)
        if self.is_pipe:
            return self._pipe()
        if self.is_video:
            return self._video(journal, remember)
        return self._folder(journal, remember) if journal else self._image()

    @contextmanager
    def _pipe(self) -> Iterator[Write]:
        source = self.source
        with write_pipe(self.size, source.timing, source.colour, source.pixel_aspect) as write:
            yield lambda item: write(reduced(item[1], self.size), item[0])

    @contextmanager
    def _video(self, journal: Journal | None, remember: Callable[[Arrays], None]) -> Iterator[Write]:
        source = self.source
        with write_video(
            self.target, self.size, source.timing, colour=source.colour, pixel_aspect=source.pixel_aspect,
            sound=None if self.sound == "none" else source.sound, encode_sound=self.sound == "aac",
            extras=source.extras, end=source.end, codec=self.codec, crf=self.crf,
            pixels=self.pixels, within=journal.folder if journal else None,
        ) as writer:
            for segment in journal or ():
                writer.add_segment(segment)
                remember(segment)

            def write(item: Item) -> None:
                segment = writer.write(reduced(item[1], self.size), item[0])
                if segment and journal:
                    journal.add({**segment, **item[2]})

            yield write
        if writer.sound and writer.sound.damage:
            self.lost.append(writer.sound.damage)

    @contextmanager
    def _image(self) -> Iterator[Write]:
        if self.source.frames != 1:
            raise InputError(
                f"OUTPUT {self.target} holds one image, and {self.source.path} has {self.source.frames}: give a "
                f"folder, whose name has no suffix, or a video file ({', '.join(WRITTEN_SUFFIXES)})"
            )
        tags = self.source.tags()
        with replacing(self.target) as place:
            yield lambda item: self._save(place, item[1], next(tags))

    @contextmanager
    def _folder(self, journal: Journal, remember: Callable[[Arrays], None]) -> Iterator[Write]:
        frames = journal.folder / FRAMES
        frames.mkdir(exist_ok=True)
        kept = sorted(frames.iterdir(), key=natural_order)
        for number, segment in enumerate(journal):
            files = kept[number * SEGMENT : (number + 1) * SEGMENT]
            if len(files) < SEGMENT or not all(map(_decodes, files)):
                journal.keep(number)
                break
            remember(segment)
        names = islice(self.source.names(), journal.frames, None)
        tags = islice(self.source.tags(), journal.frames, None)
        count = journal.frames

        def write(item: Item) -> None:
            nonlocal count
            self._save(frames / f"{next(names)}.png", item[1], next(tags))
            count += 1
            if count % SEGMENT == 0:
                journal.add(item[2])

        with replacing(self.target, folder=True, within=journal.folder) as place:
            yield write
            place.rmdir()
            frames.rename(place)

    def _save(self, place: Path, frame: Frame, tags: dict[str, bytes]) -> None:
        try:
            write_image(place, reduced(frame, self.size), tags)
        except InputError as error:  # the temporary name means nothing to the user
            raise InputError(str(error).replace(str(place), str(self.target))) from error


def _decodes(file: Path) -> bool:
    try:
        read_image(file)
    except InputError:
        return False
    return True
