import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save as safetensors_bytes

from pipeline_steps.base.errors import TrainingError
from pipeline_steps.train import checkpoint as checkpoint_module
from pipeline_steps.train.checkpoint import (
    Checkpoint,
    load_checkpoint,
    optimizer_tensors,
    restore_optimizer,
    save_checkpoint,
)


def save(folder: Path, value: float, seen_images: int) -> Path:
    checkpoint = Checkpoint({"x": torch.full((3,), value)}, {"epoch": seen_images})
    return save_checkpoint(folder, checkpoint, seen_images=seen_images)


def test_the_newest_checkpoint_is_loaded(tmp_path: Path) -> None:
    save(tmp_path, 1.0, 10)
    save(tmp_path, 2.0, 200)
    loaded = load_checkpoint(tmp_path)
    assert loaded is not None
    assert loaded.tensors["x"].tolist() == [2.0, 2.0, 2.0]
    assert loaded.facts["epoch"] == 200


def test_the_last_two_checkpoints_are_kept(tmp_path: Path) -> None:
    for seen in (1, 2, 3):
        save(tmp_path, float(seen), seen)
    names = sorted(path.name.split("-")[1] for path in tmp_path.iterdir())
    assert names == ["000000000002", "000000000003"]


@pytest.mark.parametrize("damage", ["truncated", "flipped", "emptied"])
def test_a_damaged_checkpoint_is_skipped_and_named(tmp_path: Path, damage: str) -> None:
    save(tmp_path, 1.0, 1)
    path = save(tmp_path, 2.0, 2)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    damaged = {"truncated": content[:-5], "flipped": content, "emptied": bytearray()}
    path.write_bytes(damaged[damage])
    with pytest.warns(UserWarning, match=path.name):
        loaded = load_checkpoint(tmp_path)
    assert loaded is not None
    assert loaded.facts["epoch"] == 1


@pytest.mark.parametrize("facts", ["[]", "{}", '{"version": "x"}', "null", "no JSON"])
def test_a_checkpoint_with_invalid_metadata_is_skipped(tmp_path: Path, facts: str) -> None:
    save(tmp_path, 1.0, 1)
    data = safetensors_bytes({"x": torch.zeros(1)}, metadata={"checkpoint": facts})
    digest = hashlib.sha256(data).hexdigest()[:16]
    (tmp_path / f"checkpoint-000000000002-{digest}.safetensors").write_bytes(data)
    with pytest.warns(UserWarning, match="unreadable checkpoint"):
        loaded = load_checkpoint(tmp_path)
    assert loaded is not None
    assert loaded.facts["epoch"] == 1


def test_a_checkpoint_of_a_newer_format_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint_module, "FORMAT_VERSION", 2)
    save(tmp_path, 1.0, 1)
    monkeypatch.undo()
    with pytest.raises(TrainingError, match="newer version"):
        load_checkpoint(tmp_path)


def test_an_empty_folder_has_no_checkpoint(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path) is None
    (tmp_path / "checkpoint-half.part").write_text("")
    assert load_checkpoint(tmp_path) is None


def test_a_restored_optimizer_makes_the_same_steps() -> None:
    def build() -> tuple[torch.nn.Linear, torch.optim.Optimizer]:
        torch.manual_seed(0)
        layer = torch.nn.Linear(3, 2)
        return layer, torch.optim.Adam(layer.parameters(), lr=0.1)

    def step(layer: torch.nn.Linear, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        layer(torch.ones(1, 3)).square().sum().backward()
        optimizer.step()

    layer, optimizer = build()
    step(layer, optimizer)
    tensors = {key: value.clone() for key, value in optimizer_tensors(optimizer, "adam").items()}
    weights = {key: value.clone() for key, value in layer.state_dict().items()}
    step(layer, optimizer)

    other, other_optimizer = build()
    other.load_state_dict(weights)
    restore_optimizer(other_optimizer, "adam", tensors)
    step(other, other_optimizer)
    assert torch.equal(layer.weight, other.weight)


def test_a_checkpoint_is_safetensors_and_json_only(tmp_path: Path) -> None:
    content = save(tmp_path, 1.0, 1).read_bytes()
    header_bytes = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + header_bytes])
    assert json.loads(header["__metadata__"]["checkpoint"])["version"] == 1
