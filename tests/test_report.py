"""The report: what it holds, that it stays one page that asks for nothing, and a review of it in a real browser."""

import base64
import csv
import hashlib
import io
import json
import re

import pytest
from PIL import Image
from statsmodels.stats.proportion import proportion_confint

from dsl_teach.own_data import report
from dsl_teach.own_data.report import LARGEST, write_report

HOSTILE = [
    "cat/<img src=x onerror=alert(1)>.jpg", "cat/</script><script>alert(2)</script>.jpg", "cat/<!--<script>.jpg",
    "cat/\"quoted\" 'name', &amp;.jpg", "cat/new\r\nline.jpg", "cat/left\u202egpj.right.jpg", "cat/صورة.jpg",
    "cat/👩‍👩‍👧 🏖️.jpg", "cat/@DATA@ @POLICY@.jpg", "__proto__", "cat/=1+1.jpg", "cat/" + "long-name-" * 30 + ".jpg",
]  # fmt: skip
CLASSES = ["cat", "dog", "<b>owl</b>"]


def picture(colour: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 48), colour).save(file, "JPEG")
    return file.getvalue()


def doubtful(names: list[str], image: bytes = b"", near: bytes = b"") -> list[dict]:
    nearest = (("dog/near.jpg", "dog", near), ("cat/near.jpg", "cat", near))
    return [
        {"file_name": name, "given_label": "cat", "predicted_label": CLASSES[1 + i % 2], "label_quality": 0.001 * i,
         "margin": 0.1, "reason": "looks like it", "image": image, "nearest": nearest}
        for i, name in enumerate(names)
    ]  # fmt: skip


def page_of(path, shown, rest=(), classes=CLASSES):
    counts = [[5 if c == d else (c + d) % 3 for d in range(len(classes))] for c in range(len(classes))]
    write_report(path, shown, rest, counts=counts, class_names=classes, facts={"images": "12 in <i>3</i> classes"})
    return path.read_text("utf-8")


def data_of(page: str):
    return json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])


def test_names_come_back_as_they_are_and_end_no_script(tmp_path):
    harmless = page_of(tmp_path / "harmless.html", doubtful(["cat/1.jpg"]))
    page = page_of(tmp_path / "report.html", doubtful(HOSTILE), doubtful(HOSTILE))
    data = data_of(page)
    assert [item["file"] for item in data["items"]] == [row[0] for row in data["rest"]] == HOSTILE
    assert all(page.count(tag) == harmless.count(tag) for tag in ("<script", "</script", "<!--", "<img"))


def test_the_policy_allows_the_page_itself_and_nothing_else(tmp_path):
    page = page_of(tmp_path / "report.html", doubtful(["a.jpg"], picture("red")))
    policy = re.search(r'Content-Security-Policy" content="(.*?)"', page)[1]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        text = re.search(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}';" in policy
    assert not re.findall(r"https?://|//\w+\.", page.replace("data:image", ""))


def test_the_page_stays_small_and_what_does_not_fit_goes_from_the_end(tmp_path):
    names, rest = [f"{i}.jpg" for i in range(1000)], doubtful([str(i) + "x" * 200 for i in range(40_000)])
    page = page_of(tmp_path / "report.html", doubtful(names, b"\xff" * 30_000, b"\x00" * 30_000), rest)
    data = data_of(page)
    assert 0.9 * LARGEST < len(page.encode()) <= LARGEST
    assert [item["file"] for item in data["items"]] == names
    assert [row[0] for row in data["rest"]] == [row["file_name"] for row in rest[: len(data["rest"])]]
    assert data["unnamed"] + len(data["rest"]) == len(rest) > len(data["rest"])
    assert [name for name, _ in data["pictures"]] == names[: len(data["pictures"])]


def test_each_file_has_one_picture_and_other_data_another_digest(tmp_path):
    shown = doubtful(["dog/near.jpg", "b.jpg"], picture("red"), picture("blue"))
    data, again = (data_of(page_of(tmp_path / f"{i}.html", shown)) for i in range(2))
    other = data_of(page_of(tmp_path / "other.html", [shown[0] | {"given_label": "dog"}, shown[1]]))
    names = [name for name, _ in data["pictures"]]
    assert sorted(names) == ["b.jpg", "cat/near.jpg", "dog/near.jpg"]
    assert base64.b64decode(dict(data["pictures"])["dog/near.jpg"]) == picture("red")
    assert data["digest"] == again["digest"] != other["digest"]


def test_counts_of_many_classes_and_labels_outside_them(tmp_path):
    classes = [f"class {i}" for i in range(100)]
    data = data_of(page_of(tmp_path / "report.html", doubtful(["a.jpg"]), classes=classes))
    assert data["classes"] == [*classes, "cat", "dog"]
    assert all(n == (5 if c == d else (c + d) % 3) > 0 for c, d, n in data["counts"])


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1400])
def test_a_review_by_keyboard_and_touch_is_saved_kept_and_undone(chrome, tmp_path, width):
    names = HOSTILE + [f"cat/{i}.jpg" for i in range(60)]
    page_of(tmp_path / "report.html", doubtful(names, picture("red"), picture("blue")), doubtful(HOSTILE))
    page, said, asked = chrome.new_page(viewport={"width": width, "height": 844}), [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    page.on("request", lambda request: asked.append(request.url[:40]))
    page.goto((tmp_path / "report.html").as_uri())
    status, cards = page.locator("#status"), page.locator(".card")
    page.locator(".card button").first.wait_for()
    keys = "arsa" * 5
    for key in keys:
        page.keyboard.press(key)
    assert status.inner_text().startswith("15 of 72")  # five are skipped
    page.keyboard.press("u")
    assert status.inner_text().startswith("14 of 72")
    assert page.locator(".card.current").get_attribute("aria-label").startswith("Image 20:")
    cards.nth(19).get_by_label("Another class").select_option(label="<b>owl</b>")
    cards.nth(20).get_by_role("button", name="Keep cat").click()
    for button in cards.nth(21).locator("button, select").all():
        assert button.bounding_box()["height"] >= 44
    page.reload()
    assert status.inner_text().startswith("16 of 72")
    assert page.locator(".card.current").get_attribute("aria-label").startswith("Image 22:")
    page.keyboard.press("c")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    assert status.inner_text().startswith("16 of 72")  # the keys of the menu choose; only Enter decides
    page.keyboard.press("Enter")
    assert status.inner_text().startswith("17 of 72")
    page.keyboard.press("u")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save").click()
    rows = list(csv.DictReader(io.StringIO(download.value.path().read_bytes().decode(), newline="")))
    words = {"a": "accepted", "r": "rejected"}
    assert download.value.suggested_filename == "decisions.csv"
    decided = [i for i in range(21) if keys[i % 20] != "s" or i > 18]
    assert [row["file_name"] for row in rows] == [names[i] for i in decided]
    assert int(status.inner_text().split()[0]) == len(rows)
    assert [row["decision"] for row in rows] == [*(words[keys[i]] for i in decided[:-2]), "relabelled", "rejected"]
    labels = [{"a": CLASSES[1 + i % 2], "r": "cat"}[keys[i]] for i in decided[:-2]]
    assert [row["label"] for row in rows] == [*labels, "<b>owl</b>", "cat"]
    page.locator("#state").select_option("skipped")
    assert page.locator(".card:visible").count() == 5
    page.locator("#state").select_option("")
    page.locator("#class").select_option(label="dog")
    assert page.locator(".card:visible").count() == 36
    assert page.locator("img:not([alt])").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.locator("main script, main b:not(p > b), dl i").count() == 0
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == said == []
    page.close()


@pytest.mark.slow
def test_every_fifth_of_the_first_hundred_tells_how_many_are_wrong(chrome, tmp_path):
    page_of(tmp_path / "report.html", doubtful([f"{i}.jpg" for i in range(130)]))
    page = chrome.new_page()
    page.goto((tmp_path / "report.html").as_uri())
    told = page.locator("#estimate")
    page.locator("#state").select_option("sample")
    assert page.locator(".card:visible").count() == 20
    page.locator(".card:visible").first.locator("button").first.focus()
    for key in "aaaaaaaaaaaaaarrrrr":
        page.keyboard.press(key)
    assert "14" not in told.inner_text()
    page.keyboard.press("r")
    bounds = [str(round(100 * bound)) for bound in proportion_confint(14, 20, method="wilson")]
    assert {"14", "20", *bounds, "100"} < {*re.findall(r"\d+", told.inner_text())}
    page.keyboard.press("u")
    assert "14" not in told.inner_text()
    page.close()


def test_the_template_holds_one_place_for_each_part():
    template = report.resources.files("dsl_teach.own_data").joinpath("report.html").read_text("utf-8")
    assert (template.count("@DATA@"), template.count("@POLICY@")) == (1, 1)
