"""Networks as public repositories define them: their structure and names, in a compact form.

Only what determines the function and the names of weights is kept. The tests compare them with the
built-in networks.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def conv(
    inputs: int, outputs: int, stride: int = 1, size: int = 3, bias: bool = False
) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=bias)


class Block(nn.Module):
    """A block of a CIFAR ResNet; ``shortcut`` names its projection, if it has one."""

    def __init__(self, inputs: int, outputs: int, stride: int, shortcut: str) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv(inputs, outputs, stride), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = conv(outputs, outputs), nn.BatchNorm2d(outputs)
        self.outputs, self.stride = outputs, stride
        self.beside = shortcut
        if shortcut and (stride != 1 or inputs != outputs):
            projection = nn.Sequential(conv(inputs, outputs, stride, 1), nn.BatchNorm2d(outputs))
            self.add_module(shortcut, projection)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        projection = self._modules.get(self.beside)
        if projection is not None:
            x = projection(x)
        elif x.shape != y.shape:  # option A: every second pixel, and zeros for new channels
            more = (self.outputs - x.shape[1]) // 2
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, more, more))
        return F.relu(x + y)


class ResNet(nn.Module):
    """RepDistiller's and mdistiller's resnet, TAKD's and DGKD's resnet_cifar, CifarResNet of
    pytorch-cifar-models, ResNet of pytorch_resnet_cifar10 (``shortcut``, ``linear``)."""

    def __init__(
        self,
        depth: int,
        classes: int,
        widths: Sequence[int] = (16, 16, 32, 64),
        channels: int = 3,
        shortcut: str = "downsample",
        last: str = "fc",
    ) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv(channels, widths[0]), nn.BatchNorm2d(widths[0])
        for i in (1, 2, 3):
            blocks = [Block(widths[i - 1], widths[i], 1 if i == 1 else 2, shortcut)]
            blocks += [
                Block(widths[i], widths[i], 1, shortcut) for _ in range((depth - 2) // 6 - 1)
            ]
            self.add_module(f"layer{i}", nn.Sequential(*blocks))
        self.add_module(last, nn.Linear(widths[3], classes))
        self.last = last

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        for i in (1, 2, 3):
            x = self.get_submodule(f"layer{i}")(x)
        logits: Tensor = self.get_submodule(self.last)(F.adaptive_avg_pool2d(x, 1).flatten(1))
        return logits


class WideBlock(nn.Module):
    """A pre-activation block; torchdistill's takes its shortcut before the activation."""

    def __init__(self, inputs: int, outputs: int, stride: int, torchdistill: bool) -> None:
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(inputs), conv(inputs, outputs, stride)
        self.bn2, self.conv2 = nn.BatchNorm2d(outputs), conv(outputs, outputs)
        self.torchdistill = torchdistill
        self.projects = inputs != outputs or stride != 1
        projection = conv(inputs, outputs, stride, 1)
        if self.projects and torchdistill:
            self.shortcut = nn.Sequential(projection)
        elif self.projects:
            self.convShortcut = projection

    def forward(self, x: Tensor) -> Tensor:
        active = F.relu(self.bn1(x))
        if self.projects:
            x = self.shortcut(x) if self.torchdistill else self.convShortcut(active)
        y: Tensor = self.conv2(F.relu(self.bn2(self.conv1(active))))
        return x + y


class NetworkBlock(nn.Module):
    def __init__(self, blocks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.layer = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x)
        return y


class WideResNet(nn.Module):
    """RepDistiller's and mdistiller's wrn, or torchdistill's wide_resnet."""

    def __init__(self, depth: int, width: int, classes: int, torchdistill: bool = False) -> None:
        super().__init__()
        widths = (16, 16 * width, 32 * width, 64 * width)
        self.conv1 = conv(3, 16)
        self.names = [f"{'layer' if torchdistill else 'block'}{i}" for i in (1, 2, 3)]
        for i, name in enumerate(self.names, 1):
            sizes = [(widths[i - 1], 1 if i == 1 else 2)] + [(widths[i], 1)] * (
                (depth - 4) // 6 - 1
            )
            blocks = [
                WideBlock(inputs, widths[i], stride, torchdistill) for inputs, stride in sizes
            ]
            self.add_module(name, nn.Sequential(*blocks) if torchdistill else NetworkBlock(blocks))
        self.bn1, self.fc = nn.BatchNorm2d(widths[3]), nn.Linear(widths[3], classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        for name in self.names:
            x = self.get_submodule(name)(x)
        x = F.avg_pool2d(F.relu(self.bn1(x)), x.shape[-1])
        logits: Tensor = self.fc(x.flatten(1))
        return logits


VGG = {
    8: ((64,), (128,), (256,), (512,), (512,)),
    11: ((64,), (128,), (256,) * 2, (512,) * 2, (512,) * 2),
    13: ((64,) * 2, (128,) * 2, (256,) * 2, (512,) * 2, (512,) * 2),
    16: ((64,) * 2, (128,) * 2, (256,) * 3, (512,) * 3, (512,) * 3),
}


def stacked(widths: Sequence[int], inputs: int) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for width in widths:
        layers += [conv(inputs, width, bias=True), nn.BatchNorm2d(width), nn.ReLU()]
        inputs = width
    return layers


class BlockVGG(nn.Module):
    """RepDistiller's and mdistiller's vgg*_bn."""

    def __init__(self, number: int, classes: int) -> None:
        super().__init__()
        inputs = 3
        for i, widths in enumerate(VGG[number]):
            self.add_module(f"block{i}", nn.Sequential(*stacked(widths, inputs)[:-1]))
            inputs = widths[-1]
        self.classifier = nn.Linear(512, classes)

    def forward(self, x: Tensor) -> Tensor:
        for i in range(5):
            x = F.relu(self.get_submodule(f"block{i}")(x))
            x = F.max_pool2d(x, 2) if i < 3 else x
        logits: Tensor = self.classifier(F.adaptive_avg_pool2d(x, 1).flatten(1))
        return logits


def flat_vgg(number: int, classes: int, linear: int) -> nn.Module:
    """Return pytorch-cifar's VGG (one linear layer) or pytorch-cifar-models' (three)."""
    layers, inputs = [], 3
    for widths in VGG[number]:
        layers += [*stacked(widths, inputs), nn.MaxPool2d(2)]
        inputs = widths[-1]
    model = nn.Module()
    model.features = nn.Sequential(*layers)
    hidden = [nn.Linear(512, 512), nn.ReLU(), nn.Dropout()] * 2
    last = nn.Linear(512, classes)
    model.classifier = last if linear == 1 else nn.Sequential(*hidden, last)
    return model


class ConvNetMaker(nn.Module):
    """The plain networks of TAKD and DGKD for images of 32 × 32."""

    def __init__(self, layers: Sequence[str]) -> None:
        super().__init__()
        convolutions: list[nn.Module] = []
        linear: list[nn.Module] = []
        inputs, size = 3, 32
        flat = 0
        for layer in layers:
            if layer == "MaxPool":
                convolutions.append(nn.MaxPool2d(2))
                size //= 2
            elif layer.startswith("Conv"):
                convolutions += stacked([int(layer[4:])], inputs)
                inputs = int(layer[4:])
            else:
                outputs = int(layer[2:])
                linear += [nn.Linear(flat or inputs * size * size, outputs), nn.ReLU()]
                flat = outputs
        self.conv_layers, self.fc_layers = nn.Sequential(*convolutions), nn.Sequential(*linear[:-1])

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.fc_layers(self.conv_layers(x).flatten(1))
        return logits


def with_statistics(model: nn.Module, seed: int = 0) -> nn.Module:
    """Return the model with statistics and scales as after training, in eval mode."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                assert tensor is not None
                tensor.data.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    return model.eval()
