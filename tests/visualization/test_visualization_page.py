"""The page: what it holds, and what it must not do."""

import base64
import hashlib
import io
import re
from html.parser import HTMLParser

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from innvestigate.visualization import (
    HTML,
    Overlay,
    Panel,
    SampleReport,
    html_report,
    plot_heatmap,
    text_html,
)

EVIL = "<script>alert(1)</script>\"' onerror=x {{ 7 * 7 }} &amp; $x$"


class Page(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.words = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.words.append(data)


def page(*panels, **more):
    samples = [SampleReport("cat.png", "cat, 0.9", panels)]
    return "".join(html_report(samples, **more))


def test_it_says_all_that_it_is_given():
    rows = [{"step": "dense", "rule": "Epsilon()"}]
    text = page(
        Panel("input", np.zeros((4, 4, 3), "uint8")),
        Panel("lrp", np.zeros((400, 400), "uint8"), "adds up to 98%"),
        title="A title",
        plans={"lrp": rows, "occlusion": []},
        facts={"Keras": "3.15"},
    )
    words = " ".join(Page(text).words)
    for told in ("A title", "cat.png", "cat, 0.9", "input", "adds up to 98%", "dense", "Epsilon()"):
        assert told in words
    assert "3.15" in words and "only runs the model forward" in words
    assert re.findall(r'class="pixels"', text) == ['class="pixels"']  # the small one


def test_pictures_are_inside():
    pixels = np.random.default_rng(0).integers(0, 255, (5, 7, 3)).astype("uint8")
    figure = plot_heatmap(np.eye(5)).figure
    text = page(Panel("a", pixels), Panel("b", figure), Panel("c", pixels[..., :1]))
    sources = [value for name, value in Page(text).attributes if name == "src"]
    content = [base64.b64decode(source.split(",")[1]) for source in sources]
    images = [np.asarray(Image.open(io.BytesIO(one))) for one in content]
    np.testing.assert_array_equal(images[0], pixels)
    np.testing.assert_array_equal(images[2], pixels[..., 0])
    assert images[1].shape[0] > 100
    assert not plt.fignum_exists(figure.number)  # or memory would grow with each sample


def test_nothing_is_loaded_and_nothing_runs_but_the_slider():
    """Whatever it is told: names of files and classes are anybody's."""
    over = Overlay(np.eye(3), np.zeros((3, 3), "uint8"))
    panels = [Panel(EVIL, np.zeros((3, 3), "uint8"), EVIL), Panel("over", over)]
    sample = SampleReport(EVIL, EVIL, panels)
    text = "".join(
        html_report([sample], title=EVIL, plans={EVIL: [{EVIL: EVIL}]}, facts={EVIL: EVIL})
    )
    found = Page(text)
    assert not {"iframe", "link", "object", "embed", "form", "base"} & set(found.tags)
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    outside = [v for name, v in found.attributes if name in ("src", "href") and v[:5] != "data:"]
    assert outside == []
    (script,) = re.findall(r"<script[^>]*>(.*?)</script>", text, re.DOTALL)
    checksum = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = (v for _, v in found.attributes if v and "default-src 'none'" in v)
    assert policy.endswith(f"script-src 'sha256-{checksum}'") and "script" not in policy[:-80]
    told = " ".join(found.words)
    assert told.count("<script>alert(1)</script>") == 11 and "49" not in told


def test_a_heatmap_lies_over_its_image_with_a_slider():
    image = np.random.default_rng(0).integers(0, 255, (4, 6, 3)).astype("uint8")
    relevance = np.zeros((4, 6))
    relevance[0, 0], relevance[1, 2] = 2, -1
    text = page(Panel("a", Overlay(relevance, image, percentile=100), "note"), Panel("b", image))
    found = Page(text)
    assert found.tags.count("input") == 1 and ("type", "range") in found.attributes
    sources = [value for name, value in found.attributes if name == "src"]
    decoded = [base64.b64decode(source.split(",")[1]) for source in sources]
    below, above, _ = (np.asarray(Image.open(io.BytesIO(one))) for one in decoded)
    np.testing.assert_array_equal(below, image)
    np.testing.assert_allclose(above[0, 0], [103, 0, 31], atol=1)  # the ends of RdBu
    assert above[1, 2, 2] > above[1, 2, 0] + 50  # half of the blue one
    assert np.all(above[2:] > 245)
    scale = text[text.index('class="scale"') :]
    assert re.findall(r">(-?2)<", scale) == ["-2", "2"]
    assert re.findall(r"#\w{6}", scale)[::8] == ["#053061", "#67001f"]
    assert "note" in found.words and text.index("--heat") < text.index("<body>")


def test_a_heatmap_that_is_opaque_lies_over_its_image():
    """A filter lifts an image, and opacity below 1 a heatmap: at 1 its own place has to do it."""
    text = page(Panel("a", Overlay(np.eye(3), np.zeros((3, 3)))))
    assert re.search(r"\.over {[^}]*isolation: isolate", text)
    assert re.search(r"\.over \.heat {[^}]*z-index: 1", text)


def test_heatmaps_of_zeros_say_so():
    """In place of a bar, which has no ends."""
    image = np.zeros((3, 3))
    zero = page(Panel("a", Overlay(image, image)), Panel("b", text_html(["w"], np.zeros(1))))
    assert Page(zero).words.count("all zero") == 2 and 'class="bar"' not in zero
    assert not np.signbit(Overlay(image, image).limits[0])
    some = page(Panel("a", Overlay(np.eye(3), image)), Panel("b", text_html(["w"], np.ones(1))))
    assert "all zero" not in some and ">0<span" in some


def test_a_figure_has_one_caption_and_each_image_a_text():
    over, pixels = Overlay(np.eye(3), np.zeros((3, 3))), np.zeros((3, 3), "uint8")
    found = Page(page(Panel("a", over, "a note"), Panel("b", pixels, "a note")))
    assert found.tags.count("figcaption") == found.tags.count("figure") == 2
    assert found.words.count("a note") == 2
    texts = [value for name, value in found.attributes if name == "alt"]
    assert texts == ["image: cat.png", "a: cat.png", "b: cat.png"]


def test_there_is_a_slider_only_where_it_moves_something():
    text = page(Panel("b", np.zeros((4, 4), "uint8")), Panel("c", HTML("<b>words</b>")))
    assert "input" not in Page(text).tags
    assert 'class="words"' in text and "<b>words</b>" in text


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Overlay(np.zeros((3, 3, 3, 1)), np.zeros((3, 3))), "relevance"),
        (lambda: Overlay(np.zeros((3, 3)), np.zeros((3, 4))), "height and width"),
        (lambda: Overlay(-np.eye(3), np.zeros((3, 3)), signed=False), "no colour for negative"),
        (lambda: Overlay(np.eye(3), np.zeros((3, 3)), percentile=0), "percentile"),
    ],
)
def test_what_lies_over_no_image(make, told):
    with pytest.raises(ValueError, match=told):
        make()


def test_an_overlay_is_white_at_zero_and_stretches_an_image():
    over = Overlay(np.zeros((3, 3)), np.linspace(-4, 4, 9).reshape(3, 3))
    np.testing.assert_array_equal(over.heat, np.full((3, 3, 3), 255))
    np.testing.assert_array_equal(over.image.ravel(), np.round(np.linspace(0, 255, 9)))
    positive = Overlay(np.eye(3), np.zeros((3, 3)))
    assert positive.limits == (0, 1)
    assert Overlay(np.eye(3), np.zeros((3, 3)), signed=True).limits == (-1, 1)


def test_samples_are_drawn_one_after_the_other():
    drawn = []

    def samples():
        for i in range(3):
            drawn.append(i)
            yield SampleReport(str(i), "", [])

    pieces = html_report(samples())
    before = [next(pieces) for _ in range(2)]
    assert len(drawn) < 3 and before
    assert "".join(pieces).endswith("</html>") and len(drawn) == 3


def test_it_is_read_in_the_dark_and_on_a_phone():
    text = page()
    assert "prefers-color-scheme: dark" in text and "width=device-width" in text


@pytest.mark.parametrize(
    ("picture", "error"),
    [
        (np.zeros((3, 3)), TypeError),
        ("cat.png", TypeError),
        (np.zeros((2, 3, 3, 3), "uint8"), ValueError),
        (np.zeros((3, 3, 2), "uint8"), ValueError),
        (np.zeros((0, 3), "uint8"), ValueError),
    ],
)
def test_what_is_no_picture(picture, error):
    with pytest.raises(error, match="image"):
        Panel("a", picture)


PIXELS = np.zeros((3, 3), "uint8")


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Panel(1, PIXELS), "title must be a text"),
        (lambda: Panel("a", PIXELS, None), "note must be a text"),
        (lambda: SampleReport("a", "b", [PIXELS]), "Each of panels must be"),
        (lambda: SampleReport("a", "b", 3), "panels must be a list"),
        (lambda: html_report(3), "samples must be samples"),
        (lambda: list(html_report(["a"])), "Each of samples must be"),
        (lambda: html_report([], title=3), "title must be a text"),
        (lambda: html_report([], facts=["a"]), "facts must be a dict"),
        (lambda: html_report([], plans={"lrp": 3}), r"plans\['lrp'\] must be a list"),
        (lambda: html_report([], plans={"lrp": [3]}), r"row of plans\['lrp'\] must be a dict"),
    ],
)
def test_what_is_on_no_page(make, told):
    with pytest.raises(TypeError, match=told):
        make()


def test_rows_of_a_table_are_alike():
    with pytest.raises(ValueError, match="same keys"):
        html_report([], plans={"lrp": [{"a": 1}, {"b": 1}]})


def test_names_of_files_that_are_no_unicode_can_be_written():
    pieces = html_report([SampleReport("\udcff.png", "", [])], facts={"a": object})
    assert r"\udcff.png" in "".join(pieces).encode("utf-8").decode("utf-8")
