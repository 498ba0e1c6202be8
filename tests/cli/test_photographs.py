"""Real photographs of ImageNet: train one epoch at 224x224, measure, export, predict."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from minidl.cli import main
from minidl.predict import ModelCard
from tests.data.images import real_data


def some(folder: Path, count: int) -> Path:
    """The first classes of the sample, one photograph each, by links."""
    for taken in sorted(real_data("imagenet-sample").iterdir())[:count]:
        (folder / taken.name).mkdir(parents=True)
        for file in taken.iterdir():
            (folder / taken.name / file.name).symlink_to(file)
    return folder


@pytest.mark.slow
def test_alexnet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, where = some(tmp_path / "photographs", 40), tmp_path / "run"
    how = ["--data-path", str(data), "--model", "alexnet", "-b", "16", "--epochs", "1"]
    assert main(["train", *how, "-j", "1", "--output-dir", str(where)]) == 0
    assert "image 224x224x3" in capsys.readouterr().out
    assert main(["eval", "--run", str(where)]) == 0
    assert "top-5" in capsys.readouterr().out
    model = tmp_path / "m.onnx"
    assert main(["export", "--run", str(where), "--onnx", str(model), "--probabilities"]) == 0
    photograph = next((data / "n01440764").iterdir())
    capsys.readouterr()
    assert main(["predict", "--run", str(where), "--top", "3", "--json", str(photograph)]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    card = ModelCard.of(json.loads((where / "args.json").read_text())["arguments"]["about"])
    image = card.see(photograph.read_bytes(), photograph.name).transpose(2, 0, 1)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (rows,) = session.run(None, {"input": np.ascontiguousarray(image[np.newaxis])})
    best = np.argsort(-rows[0], kind="stable")[:3]
    assert [c["class"] for c in found["classes"]] == [card.names[i] for i in best]
    assert [c["probability"] for c in found["classes"]] == pytest.approx(rows[0][best], rel=1e-3)
