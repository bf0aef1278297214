"""One HTML page of scores that needs no other file: a table, curves over the frames, and pictures under a slider."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from pathlib import Path

import cv2

from blindvsr import InputError
from blindvsr.degrade import SCALE, bicubic_up
from blindvsr.frames import Frame, read_image
from blindvsr.metrics import Scores
from blindvsr.replacing import replacing
from blindvsr.scoring.curves import MEASURES, curves
from blindvsr.scoring.folders import Summary, crop_to, named_rows

KINDS = ("input", "bicubic", "restored", "truth")


@dataclass(frozen=True)
class Picture:
    """One frame as the slider shows it.

    Attributes:
        video: its name.
        frame: the frame's name.
        images: RGB frames by their kind, some of KINDS; all but the input have one size.
        shift: how far the input, enlarged, lies to the right and below of its place, HR pixels.
    """

    video: str
    frame: str
    images: Mapping[str, Frame]
    shift: float = 0


def picture_of(video: str, restored: Frame, truth: Path, low: Path | None, centred: bool) -> Picture:
    """What the slider shows of one frame.

    Args:
        video: its name.
        restored: the frame as it was restored.
        truth: its file, of the same size or up to 3 pixels larger.
        low: the file that it was restored from, or None.
        centred: where the pixels of that lie, see `blindvsr.layouts.pairs.is_centred`.
    """
    images = {"restored": restored, "truth": crop_to(read_image(truth), restored, truth)}
    if low:
        small = read_image(low)
        images |= {"input": small, "bicubic": bicubic_up(small, centred=centred)}
    return Picture(video, truth.stem, images, 0 if centred else (SCALE - 1) / 2)


def chosen_frames(
    scores: Mapping[str, Scores], wanted: Sequence[str], most: int = 8, argument: str = "show"
) -> list[tuple[str, int]]:
    """The frames to show: (video, index among its scored frames).

    Args:
        scores: of every video.
        wanted: <video>/<frame> each; none takes the frame of lowest PSNR of every video, the worst videos first.
        most: how many are taken without a wish.
        argument: the option that the wishes came from, for messages.

    Raises:
        InputError: for a frame that was not scored.
    """
    found = []
    for name in wanted:
        video, _, frame = name.rpartition("/")
        video = video or next(iter(scores))
        if video not in scores or frame not in scores[video].names:
            scored = next((f"{key}/{values.names[0]}" for key, values in scores.items()), "none")
            raise InputError(f"{argument}={name}: no such frame among those that are scored, the first of which is "
                             f"{scored}")
        found.append((video, scores[video].names.index(frame)))
    if found:
        return found
    worst = [(min(values.psnr), name, values.psnr.index(min(values.psnr))) for name, values in scores.items()]
    return [(name, index) for _, name, index in sorted(worst)[:most]]


def write_report(
    path: Path, summary: Summary, scores: Mapping[str, Scores], baseline: Mapping[str, Scores],
    pictures: Sequence[Picture], title: str,
) -> None:
    """Writes the page.

    Args:
        path: of the file.
        summary: the table.
        scores: of every frame.
        baseline: those of bicubic upsampling, or nothing.
        pictures: what the slider shows.
        title: of the page.
    """
    page = resources.files("blindvsr.scoring").joinpath("report.html").read_text(encoding="utf-8")
    luma = summary.get("channels") == "y"
    temporal = " Of warping error and tOF the lower is the better." if "tof" in summary["mean_of_frames"] else ""
    fields = {
        "title": escape(title),
        "protocol": f"PSNR (dB) and SSIM of {'luma (Y of BT.601)' if luma else 'RGB'}, 4 pixels cropped from every "
                    "border. The mean of frames is the total that papers print. Bicubic is aligned with the truth."
                    + temporal,
        "table": _table(summary),
        "curves": "\n".join(svg for name in scores for svg in curves(name, scores[name], baseline.get(name))),
        "pictures_note": "Move over a picture, or the slider above it, to go from the left kind to the right one.",
        "pictures": "\n".join(_figure(picture, scores[picture.video]) for picture in pictures),
    }
    for name, text in fields.items():
        page = page.replace("{{" + name + "}}", text)
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _table(summary: Summary) -> str:
    measures = [name for name in MEASURES if name in summary["mean_of_frames"]]
    baseline = summary.get("bicubic", {"videos": {}})
    beside = {**baseline["videos"], "mean of frames": baseline.get("mean_of_frames"),
              "mean of videos": baseline.get("mean_of_videos")}
    heads = [MEASURES[name][0] for name in measures] + ["frames"]
    if "bicubic" in summary:
        heads += ["bicubic PSNR", "bicubic SSIM"]
    lines = ["<table>", "<tr>" + "".join(f"<th>{head}</th>" for head in ["video", *heads]) + "</tr>"]
    for name, row in named_rows({key: value for key, value in summary.items() if key != "bicubic"}).items():
        cells = [escape(name), *(format(row[key], MEASURES[key][1]) for key in measures), str(row["frames"])]
        if other := beside.get(name):
            cells += [format(other[key], MEASURES[key][1]) for key in ("psnr", "ssim")]
        total = ' class="total"' if name not in summary["videos"] else ""
        lines.append(f"<tr{total}>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    return "\n".join([*lines, "</table>"])


def _figure(picture: Picture, scores: Scores) -> str:
    kinds = [kind for kind in KINDS if kind in picture.images]
    height, width = picture.images["truth"].shape[:2]
    index = scores.names.index(picture.frame)
    images = []
    for kind in kinds:
        shift = picture.shift if kind == "input" else 0
        place = f' data-shift="{-shift}" style="transform: translate({-100 * shift / width:.4f}%, ' \
                f'{-100 * shift / height:.4f}%)"' if shift else ""
        images.append(f'<img class="{kind}" data-kind="{kind}" alt="{kind}" draggable="false"{place} '
                      f'src="{_data_uri(picture.images[kind])}">')
    chosen = {"left": "bicubic" if "bicubic" in kinds else kinds[0], "right": "truth"}
    chosen = {"left": chosen["left"], "right": "restored"} if chosen["left"] != "restored" else chosen
    selects = [
        f'<label>{side} <select>' + "".join(
            f'<option{" selected" if kind == chosen[side] else ""}>{kind}</option>' for kind in kinds
        ) + "</select></label>" for side in ("left", "right")
    ]
    return "\n".join([
        "<figure>", f"<h3>{escape(picture.video)}, frame {escape(picture.frame)}</h3>",
        f'<figcaption>restored: {scores.psnr[index]:.2f} dB, SSIM {scores.ssim[index]:.4f}</figcaption>',
        f'<div class="bar">{selects[0]}<input type="range" min="0" max="100" step="0.1" value="50" '
        f'aria-label="place of the boundary">{selects[1]}<label>size <select><option value="fit">fit</option>'
        '<option value="1">1:1</option><option value="2">2:1</option><option value="4">4:1</option></select></label>'
        "</div>",
        f'<div class="view"><div class="stage" data-width="{width}" style="aspect-ratio: {width} / {height}">',
        *images, '<div class="split"></div></div></div>', "</figure>",
    ])


def _data_uri(frame: Frame) -> str:
    """The frame as a lossless WebP image."""
    encoded, data = cv2.imencode(".webp", frame[..., ::-1], [cv2.IMWRITE_WEBP_QUALITY, 101])
    if not encoded:
        raise InputError(f"an image of {frame.shape[1]}x{frame.shape[0]} is too large for the HTML page; leave it out")
    return "data:image/webp;base64," + base64.b64encode(data.tobytes()).decode()
