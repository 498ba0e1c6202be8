"""Images to train on: where they come from, how they are cut, and batches of them."""

from minidl.data.archive import ImageTar, ImageZip
from minidl.data.cifar import cifar10
from minidl.data.dataset import Dataset, batches
from minidl.data.decode import decode
from minidl.data.digits import digit_constants, digits
from minidl.data.errors import BrokenImageError, WorkerError
from minidl.data.folder import ImageFolder
from minidl.data.loader import Loader
from minidl.data.memory import decoded
from minidl.data.mnist import mnist
from minidl.data.opening import open_data
from minidl.data.source import Arrays, Source, Splits, Subset
from minidl.data.split import HeldOut, held_out
from minidl.data.transforms import (
    CentreCrop,
    PadCrop,
    RandomResizedCrop,
    Transform,
    View,
    evaluation,
    normalised,
    training,
)

__all__ = [
    "Arrays",
    "BrokenImageError",
    "CentreCrop",
    "Dataset",
    "HeldOut",
    "ImageFolder",
    "ImageTar",
    "ImageZip",
    "Loader",
    "PadCrop",
    "RandomResizedCrop",
    "Source",
    "Splits",
    "Subset",
    "Transform",
    "View",
    "WorkerError",
    "batches",
    "cifar10",
    "decode",
    "decoded",
    "digit_constants",
    "digits",
    "evaluation",
    "held_out",
    "mnist",
    "normalised",
    "open_data",
    "training",
]
