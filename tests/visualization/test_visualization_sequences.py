"""Tokens, letters and time: colours and heights are the relevance, with its sign."""

import re
from html.parser import HTMLParser

import matplotlib as mpl
import numpy as np
import pytest

mpl.use("Agg")

from innvestigate.visualization import (
    plot_sequence_logo,
    plot_text,
    plot_time_series,
    text_html,
)

TOKENS = ["not", "a", "<b>good</b>", "&amp;", "$5$", "film\n"]
SENTENCE = "the quick brown fox jumps over a lazy dog , g j p q | ÄÖ"
RELEVANCE = np.array([-2.0, 0, 4, -1, 1, 2])
RED, BLUE = (103, 0, 31), (5, 48, 97)  # the ends of the map
NAN = np.array([1.0, np.nan])


@pytest.fixture(autouse=True)
def _close():
    yield
    mpl.pyplot.close("all")


def bytes_of(colour):
    return np.round(255 * np.array(mpl.colors.to_rgb(colour)))


class Spans(HTMLParser):
    """Reads the pieces of coloured text from HTML."""

    def __init__(self, source):
        super().__init__()
        self.tags, self.found = [], []
        self.feed(source)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes = dict(attributes)

    def handle_endtag(self, tag):
        self.tags.append("/" + tag)

    def handle_data(self, data):
        if self.tags[-1] == "span":
            style = dict(re.findall(r"([\w-]+):([^;]+)", self.attributes["style"]))
            self.found.append((data, float(self.attributes["title"]), style))


def test_html_shows_every_token_with_its_number_and_colour():
    before = RELEVANCE.copy()
    shown = text_html(TOKENS, RELEVANCE)
    assert shown._repr_html_() == str(shown)
    spans = Spans(str(shown))
    assert set(spans.tags) == {"div", "/div", "span", "/span"}  # no markup of the tokens
    assert [text for text, _, _ in spans.found] == TOKENS
    assert [number for _, number, _ in spans.found] == RELEVANCE.tolist()
    colours = [bytes_of(style["background"]) for _, _, style in spans.found]
    np.testing.assert_allclose(colours[2], RED, atol=1)
    assert [int(np.sign((c[0] - c[2]).round(-1))) for c in colours] == [-1, 0, 1, -1, 1, 1]
    inks = [style["color"] for _, _, style in spans.found]
    assert inks[1:3] == ["black", "white"]
    np.testing.assert_array_equal(RELEVANCE, before)


def brightness(colour):
    """The relative luminance of WCAG 2, channel by channel."""
    channels = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
    return sum(part * c for part, c in zip((0.2126, 0.7152, 0.0722), channels, strict=True))


def test_words_are_read_on_every_colour():
    """Contrast is at least 4.5, as level AA asks for."""
    spans = Spans(str(text_html(["w"] * 513, np.linspace(-1, 1, 513))))
    assert {style["color"] for _, _, style in spans.found} == {"black", "white"}
    for _, _, style in spans.found:
        values = [brightness(mpl.colors.to_rgb(style[k])) for k in ("color", "background")]
        assert (max(values) + 0.05) / (min(values) + 0.05) >= 4.5


def test_the_strongest_token_has_the_full_colour_whatever_its_sign():
    (_, _, style), *_ = Spans(str(text_html(["a", "b"], [-3, 1]))).found
    np.testing.assert_allclose(bytes_of(style["background"]), BLUE, atol=1)


def test_text_has_a_box_for_each_token():
    ax = plot_text(TOKENS, RELEVANCE)
    texts = ax.texts
    assert [text.get_text() for text in texts] == [*TOKENS[:-1], "film↵"]
    colours = [bytes_of(text.get_bbox_patch().get_facecolor()) for text in texts]
    np.testing.assert_allclose(colours[2], RED, atol=1)
    assert [int(np.sign((c[0] - c[2]).round(-1))) for c in colours] == [-1, 0, 1, -1, 1, 1]
    pale, full = texts[1].get_color(), texts[2].get_color()
    assert (pale, full) == ("black", "white")


@pytest.mark.parametrize("given", [False, True])
def test_boxes_of_tokens_do_not_overlap_and_stay_inside(given):
    tokens = SENTENCE.split() * 3
    relevance = np.linspace(-1, 1, len(tokens))
    _, axes = mpl.pyplot.subplots(2, 1, figsize=(3, 2), layout="constrained")
    ax = plot_text(tokens, relevance, axes[1] if given else None, width=3)
    ax.figure.canvas.draw()
    boxes = [text.get_bbox_patch().get_window_extent() for text in ax.texts]
    frame = ax.get_window_extent()
    for i, box in enumerate(boxes):
        assert frame.x0 - 1 <= box.x0 and box.x1 <= frame.x1 + 1
        assert frame.y0 - 1 <= box.y0 and box.y1 <= frame.y1 + 1
        for other in boxes[:i]:
            apart = box.x0 >= other.x1 or box.x1 <= other.x0
            assert apart or box.y0 >= other.y1 or box.y1 <= other.y0
    heights = [text.xyann[1] for text in ax.texts]
    assert len(set(heights)) > 3 and heights == sorted(heights, reverse=True)
    assert (ax.texts[0].get_fontsize() < 11) == given


@pytest.mark.parametrize("given", [False, True])
def test_a_matrix_of_tokens_and_targets(given):
    relevance = np.array([[1.0, -4.0, 0.0], [0.0, 2.0, 4.0]])
    ax = mpl.pyplot.subplots()[1] if given else None
    drawn = plot_text(["a", "b$", "c\n"], relevance, ax, targets=["d", "e"])
    assert ax is None or drawn is ax
    assert [tick.get_text() for tick in drawn.get_xticklabels()] == ["a", "b$", "c↵"]
    assert [tick.get_text() for tick in drawn.get_yticklabels()] == ["d", "e"]
    (image,) = drawn.images
    np.testing.assert_array_equal(image.get_array(), relevance)
    colours = image.to_rgba(relevance)[..., :3] * 255
    np.testing.assert_allclose(colours[0, 1], BLUE, atol=1)
    np.testing.assert_allclose(colours[1, 2], RED, atol=1)
    np.testing.assert_allclose(colours[1, 0], 247, atol=1)
    drawn.figure.canvas.draw()  # a dollar is no formula


@pytest.mark.parametrize(
    ("targets", "relevance", "error", "match"),
    [
        (["c"], [1, 2], ValueError, r"a row for each target .*shape: \(2,\)"),
        (["c"], [[1, 2], [3, 4]], ValueError, "1 targets and 2 rows"),
        (["c"], [[1, 2, 3]], ValueError, "2 tokens and 3 numbers"),
        ("c", [[1, 2]], TypeError, "targets must be a list of strings"),
        (None, [[1, 2]], ValueError, "Rows for several targets need targets="),
    ],
)
def test_errors_of_a_matrix(targets, relevance, error, match):
    with pytest.raises(error, match=match):
        plot_text(["a", "b"], relevance, targets=targets)


@pytest.mark.parametrize("function", [plot_text, text_html])
@pytest.mark.parametrize(
    ("tokens", "relevance", "error", "match"),
    [
        (["a", "b"], [1], ValueError, r"2 tokens and 1 numbers"),
        (["a"], [[1]], ValueError, r"Received the shape: \(1, 1\)"),
        ([], [], ValueError, r"Received the shape: \(0,\)"),
        (["a", "b"], NAN, ValueError, r"not finite at 1 of 2 places"),
        ("ab", [1, 2], TypeError, "list of strings"),
        ([3, 4], [1, 2], TypeError, "list of strings"),
        (["a"], ["x"], TypeError, "real numbers"),
    ],
)
def test_errors_of_tokens(function, tokens, relevance, error, match):
    with pytest.raises(error, match=match):
        function(tokens, relevance)


LOGO = np.array([[0, 2, 0, 0], [-1, 0, 0, 0], [0, 0, 0, 0], [0.5, 0, 1.5, -3]])


def letters(ax):
    """Place, bottom and top of each letter that is drawn, and its colour."""
    boxes = [(patch.get_path().get_extents(), patch) for patch in ax.patches]
    return [
        (round((box.x0 + box.x1) / 2), box.y0, box.y1, mpl.colors.to_hex(patch.get_facecolor()))
        for box, patch in boxes
        if isinstance(patch, mpl.patches.PathPatch)
    ]


def test_letters_are_as_high_as_their_relevance_on_its_side_of_the_line():
    before = LOGO.copy()
    ax = plot_sequence_logo(LOGO)
    green, blue, orange, red = "#009e73", "#0072b2", "#e69f00", "#d55e00"
    expected = [
        (0, 0, 2, blue),
        (1, -1, 0, green),
        (3, 0, 0.5, green),
        (3, 0.5, 2, orange),
        (3, -3, 0, red),
    ]
    found = letters(ax)
    assert [(place, colour) for place, _, _, colour in found] == [(e[0], e[3]) for e in expected]
    np.testing.assert_allclose([f[1:3] for f in found], [e[1:3] for e in expected], atol=1e-6)
    low, high = ax.get_ylim()
    assert -4 < low < -3 and 2 < high < 3
    assert ax.get_xlim() == (-0.5, 3.5)
    np.testing.assert_array_equal(LOGO, before)


def test_letters_of_any_alphabet_stand_upright():
    ax = plot_sequence_logo(np.array([[-1.0, 0], [0, -2]]), alphabet="LY")
    middle = [patch.get_path().vertices[:, 1].mean() for patch in ax.patches]
    assert middle[0] < -0.5  # L is heavier at its foot
    assert [top for _, _, top, _ in letters(ax)] == pytest.approx([0, 0])


def test_highlights_lie_behind_their_letters():
    ax = plot_sequence_logo(LOGO, highlights=[(1, 3)])
    (shade,) = [p for p in ax.patches if isinstance(p, mpl.patches.Rectangle)]
    assert (shade.get_x(), shade.get_x() + shade.get_width()) == (0.5, 2.5)
    assert all(shade.zorder < p.zorder for p in ax.patches if p is not shade)


def test_a_logo_of_zeros_is_an_empty_line():
    ax = plot_sequence_logo(np.zeros((3, 4)))
    assert not letters(ax) and ax.get_ylim() == (-1, 1)


@pytest.mark.parametrize(
    ("relevance", "arguments", "match"),
    [
        (LOGO[None], {}, r"pass relevance\[i\]"),
        (LOGO[:0], {}, r"Received the shape: \(0, 4\)"),
        (NAN[None], {"alphabet": "AB"}, "not finite"),
        (LOGO[:, :3], {}, r"'ACGT' and the shape \(4, 3\)"),
        (LOGO, {"alphabet": "ACGA"}, "different letters"),
        (LOGO, {"highlights": [(2, 2)]}, r"Received: \(2, 2\)"),
        (LOGO, {"highlights": [(0, 5)]}, "<= 4"),
    ],
)
def test_errors_of_logos(relevance, arguments, match):
    with pytest.raises(ValueError, match=match):
        plot_sequence_logo(relevance, **arguments)


SERIES = np.array([0.0, 1, 0.5, -1])
SHARES = np.array([0.0, 4, -2, 1])


def test_each_value_has_its_piece_of_the_line():
    before = SERIES.copy(), SHARES.copy()
    ax = plot_time_series(SERIES, SHARES, percentile=100)
    (pieces,) = ax.collections
    np.testing.assert_array_equal(pieces.get_array(), SHARES)
    assert pieces.get_clim() == (-4, 4)
    middle = pieces.get_segments()[1]
    np.testing.assert_allclose(middle, [[0.5, 0.5], [1, 1], [1.5, 0.75]])
    ax.figure.canvas.draw()
    np.testing.assert_allclose(255 * pieces.get_edgecolor()[1, :3], RED, atol=1)
    assert pieces.get_edgecolor()[2, 2] > pieces.get_edgecolor()[2, 0]
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), SERIES)
    np.testing.assert_array_equal(SERIES, before[0])
    np.testing.assert_array_equal(SHARES, before[1])


def test_the_background_is_coloured_around_each_value():
    time = [0, 1, 3, 4]
    ax = plot_time_series(SERIES, SHARES, style="background", time=time, percentile=100)
    (mesh,) = ax.collections
    np.testing.assert_array_equal(mesh.get_array(), SHARES[None])
    assert mesh.get_clim() == (-4, 4)
    np.testing.assert_allclose(mesh.get_coordinates()[0, :, 0], [0, 0.5, 2, 3.5, 4])
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), time)
    assert ax.get_ylim()[0] < -1 and ax.get_ylim()[1] > 1


@pytest.mark.parametrize("style", ["line", "background"])
def test_channels_are_stacked_and_share_their_colours(style):
    series = np.stack([SERIES, 100 * SERIES[::-1], np.ones(4)], axis=-1)
    shares = np.stack([SHARES, -2 * SHARES, 0 * SHARES], axis=-1)
    names = ["first", "second", "third"]
    ax = plot_time_series(series, shares, style=style, names=names, percentile=100, colorbar=True)
    assert {collection.get_clim() for collection in ax.collections} == {(-8, 8)}
    for channel, collection in enumerate(ax.collections):
        np.testing.assert_array_equal(np.ravel(collection.get_array()), shares[:, channel])
    for channel, line in enumerate(ax.lines):
        y = line.get_ydata()
        assert 2 - channel < y.min() and y.max() < 3 - channel
        if channel < 2:
            np.testing.assert_allclose(np.corrcoef(y, series[:, channel])[0, 1], 1)
    labels = {tick.get_text(): tick.get_position()[1] for tick in ax.get_yticklabels()}
    assert labels == {"first": 2.5, "second": 1.5, "third": 0.5}
    assert len(ax.figure.axes) == 2


@pytest.mark.parametrize(
    ("series", "relevance", "arguments", "match"),
    [
        (SERIES, SHARES[:3], {}, r"one shape. Received: \(4,\) and \(3,\)"),
        (SERIES[None, :, None], SHARES[None, :, None], {}, r"Received the shape: \(1, 4, 1\)"),
        (SERIES[:0], SHARES[:0], {}, r"Received the shape: \(0,\)"),
        (SERIES[:1], SHARES[:1], {}, "at least two points"),
        (NAN, NAN, {}, "series is not finite"),
        (np.ones(2), NAN, {}, "relevance is not finite"),
        (SERIES, SHARES, {"time": [0, 1, 2]}, "Received 3"),
        (SERIES, SHARES, {"time": [0, 2, 1, 3]}, "ascending"),
        (SERIES, SHARES, {"names": ["a", "b"]}, "Expected 1 names"),
        (SERIES, SHARES, {"style": "dots"}, "'line', 'background'"),
        (SERIES, SHARES, {"signed": False}, "signed=False"),
    ],
)
def test_errors_of_time_series(series, relevance, arguments, match):
    with pytest.raises(ValueError, match=match):
        plot_time_series(series, relevance, **arguments)
