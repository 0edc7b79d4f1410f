"""The recipes as they are printed, section by section, on a folder of pictures; what is not installed is skipped."""

import ast
import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from dsl_teach.own_data.correct import correct_folder
from tests.conftest import ROOT, draw_photos, rows_of

MISFILED = {"cat/00 cat.png", "dog/00 dog.png"}
PAGE = ROOT / "docs" / "recipes.md"
SECTIONS = {
    title: text for title, text in re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", PAGE.read_text("utf-8"), re.M | re.S)
}


def packages(block: str) -> set[str]:
    """What a block imports; and what an extra brings that it asks for."""
    found = {"datasets"} if "Datalab" in block else set()
    for node in ast.walk(ast.parse(block)):
        if isinstance(node, ast.Import):
            found |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module.split(".")[0])
    return found


def run(title: str) -> dict:
    """Run the blocks of a section one after the other, up to one that needs what is not installed; its names."""
    (key,) = [key for key in SECTIONS if title in key]
    names: dict = {}
    for number, block in enumerate(re.findall(r"^```python\n(.*?)^```", SECTIONS[key], re.M | re.S)):
        missing = sorted(name for name in packages(block) if importlib.util.find_spec(name) is None)
        if missing and not number:
            pytest.skip(f"{', '.join(missing)} is not installed")
        if not missing:
            exec(compile(block.replace("pretrained=True", "pretrained=False"), f"{PAGE.name}: {key}", "exec"), names)
    return names


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Cats and dogs, one of each in the other's folder, and what correct says of them."""
    monkeypatch.chdir(tmp_path)
    names = [f"{label}/{i:02} {label}.png" for label in ("cat", "dog") for i in range(12)]
    np.save("colours.npy", draw_photos(Path("photos"), names, MISFILED))
    correct_folder(Path("photos"), Path("review"), embeddings=Path("colours.npy"))
    return tmp_path


def test_features_of_timm_go_into_the_ranking(photos):
    before = (photos / "review" / "labels.csv").read_bytes()
    run("timm")
    assert len(np.load("embeddings.npy")) == len(rows_of("review/labels.csv")) == 24
    assert (photos / "review" / "labels.csv").read_bytes() != before


def test_the_callback_corrects_from_its_epoch_on():
    recipe = run("Lightning")

    class Module(recipe["lightning"].LightningModule):
        corrected_labels = None

        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(2, 2)

        def embed(self, images):
            assert not self.training
            return images

        def training_step(self, batch, _):
            seen.append(self.corrected_labels)
            return self.layer(batch[0]).sum()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    seen, generator = [], torch.Generator().manual_seed(0)
    clean = torch.arange(40) % 2
    images = 4 * torch.eye(2)[clean] + torch.randn(40, 2, generator=generator) / 4
    noisy = clean.clone()
    noisy[:3] = 1 - noisy[:3]
    correct = recipe["CorrectLabels"](images, noisy, num_classes=2, start=1)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
    batches = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(images, noisy, torch.arange(40)), 40)
    recipe["lightning"].Trainer(max_epochs=2, callbacks=[correct], **quiet).fit(Module(), batches)
    assert seen[0] is None
    assert torch.equal(seen[1], clean)


def test_metadata_of_an_imagefolder_names_copies_with_their_corrected_labels(photos):
    run("Hugging")
    found = {row["file_name"]: row["label"] for row in rows_of("hub/train/metadata.csv")}
    assert found == {row["file_name"]: row["corrected_label"] for row in rows_of("review/labels.csv")}
    assert {name for name, label in found.items() if not name.startswith(label)} == MISFILED
    assert all(Path("hub/train", name).read_bytes() == Path("photos", name).read_bytes() for name in found)


def test_cleanlab_finds_the_misfiled_by_our_class_scores(photos):
    recipe = run("cleanlab")
    assert set(recipe["rows"].file_name[recipe["issues"][:2]]) == MISFILED


def test_fiftyone_gets_a_number_for_each_picture(photos):
    run("FiftyOne")
    found = json.loads(Path("labels.json").read_text())
    named = {name: found["classes"][number] for name, number in found["labels"].items()}
    rows = rows_of("review/labels.csv")
    assert named == {row["file_name"].removesuffix(".png"): row["corrected_label"] for row in rows}


def test_label_studio_gets_a_task_for_each_doubtful_picture(photos):
    run("Label")
    tasks = {task["data"]["image"]: task for task in json.loads(Path("tasks.json").read_text())}
    assert set(tasks) == {f"/data/local-files/?d=photos/{name.replace(' ', '%20')}" for name in MISFILED}
    (proposed,) = tasks["/data/local-files/?d=photos/cat/00%20cat.png"]["predictions"]
    assert proposed["result"][0]["value"] == {"choices": ["dog"]}
    assert 0 <= proposed["score"] < 0.5
