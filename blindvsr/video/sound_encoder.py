"""Encoding a sound track anew, for a container that cannot hold it as it is."""

from fractions import Fraction
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from blindvsr.video.metadata import describe

NAMES = {"aac": "AAC", "libopus": "Opus"}
LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "4.0", 5: "5.0", 6: "5.1", 8: "7.1"}
RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)  # of AAC
BIT_RATE = 96_000  # a second and channel: held to be without audible loss
SLACK = Fraction(1, 50)  # seconds that sound may be out of step: less than a frame of 50 a second


class EncodedTrack:
    """Decodes packets and encodes them anew; pauses become silence, so that what follows stays in step.

    Attributes:
        name: of the new codec, as people know it.
    """

    def __init__(self, stream: Any, sample: Any, output: Any, codec: str) -> None:
        """Declares the track in `output`.

        Args:
            stream: av.AudioStream that the packets come from.
            sample: a decoded frame of it.
            output: av.container.OutputContainer.
            codec: aac or libopus.

        Raises:
            ValueError, av.FFmpegError: if the container cannot hold it.
        """
        self.name = NAMES[codec]
        self._stream = stream
        layout = LAYOUTS.get(sample.layout.nb_channels, "stereo")
        self._rate = sample.sample_rate if codec == "aac" and sample.sample_rate in RATES else 48000
        self._encoder = output.add_stream(codec, rate=self._rate)
        context = self._encoder.codec_context
        context.layout, context.format = layout, "fltp" if codec == "aac" else "flt"
        context.time_base = Fraction(1, self._rate)
        context.bit_rate = min(BIT_RATE, 3 * self._rate) * context.layout.nb_channels
        describe(stream, self._encoder)
        self._resampler = av.AudioResampler(format="fltp", layout=layout, rate=self._rate)
        self._at: int | None = None  # samples up to the end of what was encoded
        self._skip = 0  # samples that would come too late

    def packets(self, packet: Any) -> list[Any]:
        """The new packets for one of the input, or at its end for None.

        Raises:
            av.FFmpegError: if it cannot be decoded.
        """
        if packet is None:
            return [*self._encode(self._resampler.resample(None)), *self._encoder.encode(None)]
        written = []
        for frame in packet.decode():
            if frame.pts is not None:
                written += self._keep_step(round(frame.pts * frame.time_base * self._rate), frame.layout.nb_channels)
            written += self._encode(self._resampler.resample(frame))
        return written

    def _keep_step(self, due: int, channels: int) -> list[Any]:
        """Before a frame that is due at a sample: silence up to there, or as much of it left out as is late."""
        if self._at is None:
            self._at = max(due, 0)
        late = self._at - self._skip - due
        if abs(late) <= SLACK * self._rate:
            return []
        self._skip = max(late + self._skip, 0)
        if late > 0:
            return []
        silence = np.zeros((self._encoder.codec_context.layout.nb_channels, -late), np.float32)
        return self._feed(silence)

    def _encode(self, frames: list[Any]) -> list[Any]:
        written = []
        for frame in frames:
            samples = np.asarray(frame.to_ndarray(), np.float32)
            skipped = min(self._skip, samples.shape[1])
            self._skip -= skipped
            written += self._feed(samples[:, skipped:])
        return written

    def _feed(self, samples: NDArray[np.float32]) -> list[Any]:
        """Encodes (channels, N) samples after those before."""
        if not samples.shape[1]:
            return []
        context = self._encoder.codec_context
        packed = samples if context.format.is_planar else samples.T.reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(packed), context.format.name, context.layout.name)
        frame.sample_rate, frame.time_base = self._rate, Fraction(1, self._rate)
        frame.pts = self._at = self._at or 0
        self._at += samples.shape[1]
        return list(self._encoder.encode(frame))
