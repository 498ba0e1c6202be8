"""Write reference.json: every model trained by PyTorch in double precision, minidl not involved.

The modules state torchvision's networks with torchvision's names. Run where PyTorch is installed:

    python -m tests.models.make_reference
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from tests.models.cases import (
    CLASSES,
    FILE,
    IMAGES,
    SGD,
    Array,
    Figures,
    batches,
    figures,
    initials,
)


def conv(inputs: int, outputs: int, kernel: int, **how: Any) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, kernel, **how), nn.ReLU(inplace=True)]


def pool() -> nn.MaxPool2d:
    return nn.MaxPool2d(kernel_size=3, stride=2)


def hidden(inputs: int, outputs: int = 4096) -> list[nn.Module]:
    return [nn.Linear(inputs, outputs), nn.ReLU(inplace=True)]


def dropout() -> nn.Dropout:
    return nn.Dropout(p=0.0)


class Classified(nn.Module):
    """features, avgpool, flatten, classifier: the frame of AlexNet and VGG."""

    def __init__(
        self, features: nn.Sequential, avgpool: nn.Module, classifier: nn.Sequential
    ) -> None:
        super().__init__()
        self.features, self.avgpool, self.classifier = features, avgpool, classifier

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


def alexnet() -> nn.Module:
    features = nn.Sequential(
        *conv(3, 64, 11, stride=4, padding=2),
        pool(),
        *conv(64, 192, 5, padding=2),
        pool(),
        *conv(192, 384, 3, padding=1),
        *conv(384, 256, 3, padding=1),
        *conv(256, 256, 3, padding=1),
        pool(),
    )
    classifier = nn.Sequential(
        dropout(), *hidden(256 * 6 * 6), dropout(), *hidden(4096), nn.Linear(4096, CLASSES)
    )
    return Classified(features, nn.AdaptiveAvgPool2d((6, 6)), classifier)


def alexnet_2012() -> nn.Module:
    """Caffe's bvlc_alexnet: LRN after ReLU, before pooling; two groups in 2nd, 4th, 5th."""

    def norm() -> nn.Module:
        return nn.LocalResponseNorm(size=5, alpha=1e-4, beta=0.75, k=1.0)

    features = nn.Sequential(
        *conv(3, 96, 11, stride=4),
        norm(),
        pool(),
        *conv(96, 256, 5, padding=2, groups=2),
        norm(),
        pool(),
        *conv(256, 384, 3, padding=1),
        *conv(384, 384, 3, padding=1, groups=2),
        *conv(384, 256, 3, padding=1, groups=2),
        pool(),
    )
    classifier = nn.Sequential(
        *hidden(256 * 2), dropout(), *hidden(4096), dropout(), nn.Linear(4096, CLASSES)
    )
    return Classified(features, nn.Identity(), classifier)


def lenet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 6, 5),
        nn.Tanh(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.Tanh(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(16 * 5 * 5, 120),
        nn.Tanh(),
        nn.Linear(120, 84),
        nn.Tanh(),
        nn.Linear(84, CLASSES),
    )


def vgg11(batch_norm: bool = False) -> nn.Module:
    layers: list[nn.Module] = []
    inputs = 3
    for outputs in (64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"):
        if isinstance(outputs, str):
            layers.append(nn.MaxPool2d(kernel_size=2, stride=2))
            continue
        layers.append(nn.Conv2d(inputs, outputs, kernel_size=3, padding=1))
        layers.extend([nn.BatchNorm2d(outputs)] if batch_norm else [])
        layers.append(nn.ReLU(inplace=True))
        inputs = outputs
    classifier = nn.Sequential(
        *hidden(512 * 7 * 7), dropout(), *hidden(4096), dropout(), nn.Linear(4096, CLASSES)
    )
    return Classified(nn.Sequential(*layers), nn.AdaptiveAvgPool2d((7, 7)), classifier)


def vgg11_bn() -> nn.Module:
    return vgg11(batch_norm=True)


class BasicBlock(nn.Module):
    expansion = 1

    def __init__(self, inputs: int, planes: int, stride: int, downsample: nn.Module | None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, planes, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + identity)


class Bottleneck(nn.Module):
    """The 3x3 carries the stride: version 1.5 of ResNet."""

    expansion = 4

    def __init__(self, inputs: int, planes: int, stride: int, downsample: nn.Module | None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, planes * self.expansion, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(planes * self.expansion)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        y = torch.relu(self.bn1(self.conv1(x)))
        y = torch.relu(self.bn2(self.conv2(y)))
        return torch.relu(self.bn3(self.conv3(y)) + identity)


class ResNet(nn.Module):
    def __init__(self, block: type[BasicBlock | Bottleneck], depths: tuple[int, ...]) -> None:
        super().__init__()
        self.inputs = 64
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        self.layer1 = self.stage(block, 64, depths[0], 1)
        self.layer2 = self.stage(block, 128, depths[1], 2)
        self.layer3 = self.stage(block, 256, depths[2], 2)
        self.layer4 = self.stage(block, 512, depths[3], 2)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(512 * block.expansion, CLASSES)

    def stage(
        self, block: type[BasicBlock | Bottleneck], planes: int, depth: int, stride: int
    ) -> nn.Sequential:
        outputs, downsample = planes * block.expansion, None
        if stride != 1 or self.inputs != outputs:
            downsample = nn.Sequential(
                nn.Conv2d(self.inputs, outputs, 1, stride=stride, bias=False),
                nn.BatchNorm2d(outputs),
            )
        blocks = [block(self.inputs, planes, stride, downsample)]
        blocks += [block(outputs, planes, 1, None) for _ in range(1, depth)]
        self.inputs = outputs
        return nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(torch.flatten(self.avgpool(x), 1))


def resnet18() -> nn.Module:
    return ResNet(BasicBlock, (2, 2, 2, 2))


def resnet50() -> nn.Module:
    return ResNet(Bottleneck, (3, 4, 6, 3))


class BasicConv2d(nn.Module):
    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.bn(self.conv(x)))


def ceil_pool(kernel: int, stride: int = 2, padding: int = 0) -> nn.MaxPool2d:
    return nn.MaxPool2d(kernel, stride, padding, ceil_mode=True)


class Inception(nn.Module):
    """Four branches: 1x1; 1x1 and 3x3; 1x1 and 3x3 (5x5 in the paper); pool and 1x1."""

    def __init__(self, inputs: int, widths: tuple[int, int, int, int, int, int]) -> None:
        super().__init__()
        one, before3, three, before5, five, pooled = widths
        self.branch1 = BasicConv2d(inputs, one, 1)
        self.branch2 = nn.Sequential(
            BasicConv2d(inputs, before3, 1), BasicConv2d(before3, three, 3)
        )
        self.branch3 = nn.Sequential(BasicConv2d(inputs, before5, 1), BasicConv2d(before5, five, 3))
        self.branch4 = nn.Sequential(ceil_pool(3, 1, 1), BasicConv2d(inputs, pooled, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)


class GoogLeNet(nn.Module):
    """Without auxiliary heads."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = BasicConv2d(3, 64, 7, 2)
        self.conv2 = BasicConv2d(64, 64, 1)
        self.conv3 = BasicConv2d(64, 192, 3)
        self.inception3a = Inception(192, (64, 96, 128, 16, 32, 32))
        self.inception3b = Inception(256, (128, 128, 192, 32, 96, 64))
        self.inception4a = Inception(480, (192, 96, 208, 16, 48, 64))
        self.inception4b = Inception(512, (160, 112, 224, 24, 64, 64))
        self.inception4c = Inception(512, (128, 128, 256, 24, 64, 64))
        self.inception4d = Inception(512, (112, 144, 288, 32, 64, 64))
        self.inception4e = Inception(528, (256, 160, 320, 32, 128, 128))
        self.inception5a = Inception(832, (256, 160, 320, 32, 128, 128))
        self.inception5b = Inception(832, (384, 192, 384, 48, 128, 128))
        self.fc = nn.Linear(1024, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv3(self.conv2(ceil_pool(3)(self.conv1(x))))
        x = self.inception3b(self.inception3a(ceil_pool(3)(x)))
        x = self.inception4b(self.inception4a(ceil_pool(3)(x)))
        x = self.inception4e(self.inception4d(self.inception4c(x)))
        x = self.inception5b(self.inception5a(ceil_pool(2)(x)))
        return self.fc(x.mean((2, 3)))


def googlenet() -> nn.Module:
    return GoogLeNet()


class DenseLayer(nn.Module):
    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(inputs), nn.Conv2d(inputs, 128, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(128)
        self.conv2 = nn.Conv2d(128, 32, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(torch.relu(self.norm1(x)))
        return torch.cat([x, self.conv2(torch.relu(self.norm2(y)))], 1)


class Transition(nn.Module):
    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(inputs)
        self.conv = nn.Conv2d(inputs, inputs // 2, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(self.conv(torch.relu(self.norm(x))), 2)


class DenseNet(nn.Module):
    def __init__(self, blocks: tuple[int, ...]) -> None:
        super().__init__()
        self.features, width = nn.Sequential(), 64
        self.features.add_module("conv0", nn.Conv2d(3, 64, 7, 2, 3, bias=False))
        self.features.add_module("norm0", nn.BatchNorm2d(64))
        self.features.add_module("relu0", nn.ReLU())
        self.features.add_module("pool0", nn.MaxPool2d(3, 2, 1))
        for i, depth in enumerate(blocks, start=1):
            block = nn.Sequential()
            for j in range(1, depth + 1):
                block.add_module(f"denselayer{j}", DenseLayer(width))
                width += 32
            self.features.add_module(f"denseblock{i}", block)
            if i < len(blocks):
                self.features.add_module(f"transition{i}", Transition(width))
                width //= 2
        self.features.add_module("norm5", nn.BatchNorm2d(width))
        self.classifier = nn.Linear(width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.relu(self.features(x)).mean((2, 3)))


def densenet121() -> nn.Module:
    return DenseNet((6, 12, 24, 16))


BUILD: dict[str, Callable[[], nn.Module]] = {
    build.__name__: build
    for build in (
        lenet,
        alexnet,
        alexnet_2012,
        vgg11,
        vgg11_bn,
        resnet18,
        resnet50,
        googlenet,
        densenet121,
    )
}


def pixels(images: Array) -> Tensor:
    """NHWC to NCHW, in double precision."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous().double()


def evaluated(net: nn.Module, images: Array) -> list[list[float]]:
    """Logits with running statistics, as floats."""
    with torch.no_grad():
        logits: list[list[float]] = net.eval()(pixels(images)).tolist()
    return logits


def reference(model: str) -> Figures:
    """The figures of a model's first steps of training, from the arrays of `cases`."""
    net = BUILD[model]().double()
    shapes = {name: tuple(t.shape) for name, t in net.state_dict().items()}
    before = initials(model, shapes)
    net.load_state_dict({name: torch.from_numpy(array) for name, array in before.items()})
    steps = batches(model)
    found: Figures = {"logits": evaluated(net, steps[0][0]), "losses": []}
    optimizer = torch.optim.SGD(net.parameters(), **SGD)
    net.train()
    for images, labels in steps:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(pixels(images)), torch.from_numpy(labels))
        loss.backward()
        optimizer.step()
        found["losses"].append(loss.item())
    found["logits_after"] = evaluated(net, steps[0][0])
    found["tensors"] = {
        name: figures(name, before[name], t.numpy()) for name, t in net.state_dict().items()
    }
    return found


def dumped(found: dict[str, Figures]) -> str:
    """JSON with one line a tensor."""
    lines = []
    for model, parts in found.items():
        rows = [f"{json.dumps(n)}: {json.dumps(t)}" for n, t in parts["tensors"].items()]
        heads = [f"{json.dumps(k)}: {json.dumps(v)}" for k, v in parts.items() if k != "tensors"]
        tensors = '"tensors": {\n' + ",\n".join(rows) + "\n}"
        lines.append(f"{json.dumps(model)}: {{\n" + ",\n".join([*heads, tensors]) + "\n}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def main() -> None:
    found = {}
    for model in IMAGES:
        found[model] = reference(model)
        print(model, *(f"{loss:.4f}" for loss in found[model]["losses"]), flush=True)
    FILE.write_text(dumped(found))


if __name__ == "__main__":
    main()
