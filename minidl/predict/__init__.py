"""A trained network: what it is, its weights, how it sees an image, what it says.

What the commands `eval`, `predict` and `export` do, for scripts:

    from minidl.predict import Predictor

    network = Predictor.load("run")
    for answer in network.predict(["cat.jpg", "dog.png"], top=1):
        print(answer.name, answer.best.name, answer.best.probability)
    print(network.evaluate(network.images("photos")).top1)
    network.export_onnx("model.onnx")
"""

from minidl.predict.card import ModelCard, model_classes, model_image, usual_constants
from minidl.predict.evaluating import evaluate, labels_of, write_confusion
from minidl.predict.files import ImageFiles, image_files
from minidl.predict.images import card_for, evaluation_loader, training_loader
from minidl.predict.predictor import Answer, Guess, Predictor, softmax
from minidl.predict.trained import Trained, description, load_checkpoint

__all__ = [
    "Answer",
    "Guess",
    "ImageFiles",
    "ModelCard",
    "Predictor",
    "Trained",
    "card_for",
    "description",
    "evaluate",
    "evaluation_loader",
    "image_files",
    "labels_of",
    "load_checkpoint",
    "model_classes",
    "model_image",
    "softmax",
    "training_loader",
    "usual_constants",
    "write_confusion",
]
