"""The network's formula, gradients and losses against independent implementations."""

import itertools
from dataclasses import replace
from typing import Any

import pytest
import torch
from small import NETWORK
from torch import nn
from torch.nn import functional

from refit.models.model import Shape
from refit.models.network import Network, bin_edges, dropout_mask, weights_of
from refit.tasks.catalog import find as find_task
from refit.tasks.multiclass import log_sum_exp
from refit.training import linear_layer
from refit.training.linear_layer import Linear
from refit.training.optimizer import make_optimizer

SETTINGS = replace(NETWORK, dropout=0.0)
LOCATION, SPREAD = torch.tensor(0.0), torch.tensor(1.0)
NUMERIC = torch.tensor([[0.3, float("nan"), -5.0], [4.0, 0.0, -0.2]])
CODES = torch.tensor([[0, 4], [3, 1]], dtype=torch.int32)


def network(*, cardinalities: tuple[int, ...] = (4, 5), seed: int = 3, **changes: Any) -> Network:
    shape = Shape(numeric=3, cardinalities=cardinalities, outputs=1)
    return Network(shape, replace(SETTINGS, **changes), seed=seed)


def test_the_linear_layer_equals_torchs() -> None:
    """Outputs and all gradients are those of nn.Linear."""
    ours = Linear(5, 7, torch.Generator().manual_seed(0))
    theirs = nn.Linear(5, 7)
    with torch.no_grad():
        theirs.weight.copy_(ours.weight)
        theirs.bias.copy_(ours.bias + 0)
    x = torch.randn(6, 5)
    grads = []
    for layer in (ours, theirs):
        inputs = x.clone().requires_grad_()
        (layer(inputs).sin().sum()).backward()
        grads.append((inputs.grad, layer.weight.grad, layer.bias.grad))
    for mine, reference in zip(*grads, strict=True):
        torch.testing.assert_close(mine, reference)


@pytest.mark.parametrize("cardinalities", [(), (4, 5)])
@pytest.mark.parametrize("layers", [1, 3])
def test_the_number_of_weights_is_known_before(cardinalities: tuple[int, ...], layers: int) -> None:
    """The memory is estimated from the number of weights that the network then has."""
    made = network(cardinalities=cardinalities, hidden_layers=layers)
    assert weights_of(made.shape, made.settings) == sum(p.numel() for p in made.parameters())


def test_the_encoding_by_hand() -> None:
    """Each bin is the clamped share of the value inside it; a missing value is all zero, flagged."""
    encoded = network()._encode(NUMERIC)
    edges = bin_edges(4)
    expected = [min(max((0.3 - a) / (b - a), 0), 1) for a, b in itertools.pairwise(edges)]
    assert encoded.shape == (2, 3 * 6)
    assert encoded[0, :6].tolist() == pytest.approx([0.3, 0, -5, 0, 1, 0])
    bins = encoded[:, 6:].view(2, 4, 3)
    assert bins[0, :, 0].tolist() == pytest.approx(expected)
    assert bins[0, :, 1].tolist() == [0, 0, 0, 0]
    assert bins[1, :, 0].tolist() == [1, 1, 1, 1]


def test_the_whole_formula() -> None:
    """The network computes the formula of its module's docstring, step by step."""
    net = network().eval()
    with torch.no_grad():
        net.numbers.scale.uniform_(0, 0.1)
        net.categories.scale.uniform_(0, 0.1)
    outputs = []
    for member, (_8, _1) in enumerate([(slice(0, 8), slice(0, 1)), (slice(8, 16), slice(1, 2))]):
        numbers = net._encode(NUMERIC) * 20 * net.numbers.scale[member].repeat(6)
        rows = net.table[CODES.long() + torch.tensor([0, 4]) + 9 * member].flatten(1)
        words = rows * 20 * net.categories.scale[member].repeat_interleave(2)
        h = numbers @ net.numbers.weight[_8].T + net.numbers.bias[_8]
        h = functional.silu(h + words @ net.categories.weight[_8].T)
        (second,) = net.hidden
        h = functional.silu(h @ second.weight[_8].T + second.bias[_8])
        outputs.append(h @ net.head.weight[_1].T + net.head.bias[_1])
    torch.testing.assert_close(net(NUMERIC, CODES), (outputs[0] + outputs[1]) / 2)
    own = torch.cat([NUMERIC, NUMERIC.flip(0)]), torch.cat([CODES, CODES.flip(0)])
    torch.testing.assert_close(net.train()(*own), torch.cat([outputs[0], outputs[1].flip(0)]))


@pytest.mark.parametrize("training", [True, False])
def test_groups_multiply_alone(*, training: bool) -> None:
    """Groups of rows, in training, and of columns give what separate layers give, at any level."""
    axis = 0 if training else 1
    made = Linear(5, 7, torch.Generator().manual_seed(0), groups=3).train(training)
    alone = [nn.Linear(5, 7) for _ in range(3)]
    for group, layer in enumerate(alone):
        rows = slice(7 * group, 7 * group + 7)
        layer.load_state_dict({"weight": made.weight[rows], "bias": made.bias[rows]})
    x = torch.randn(18, 5) if training else torch.randn(6, 15)
    wanted = x.clone().requires_grad_()
    parts = zip(alone, wanted.chunk(3, axis), strict=True)
    expected = torch.cat([layer(part) for layer, part in parts], axis)
    expected.sin().sum().backward()
    for level in ("any-x86", "machine"):
        linear_layer.use(level, 1)
        inputs = x.clone().requires_grad_()
        made.zero_grad()
        got = made(inputs)
        got.sin().sum().backward()
        torch.testing.assert_close(got, expected)
        torch.testing.assert_close(inputs.grad, wanted.grad)
        for name in ("weight", "bias"):
            gradients = torch.cat([getattr(layer, name).grad for layer in alone])
            torch.testing.assert_close(getattr(made, name).grad, gradients)
    linear_layer.use("any-x86", 1)


def test_losses_equal_torchs() -> None:
    """Binary and multiclass losses and probabilities equal torch's."""
    logits = torch.randn(50, 4) * 8
    classes = torch.arange(50) % 4
    multiclass, binary = find_task("multiclass"), find_task("binary")
    torch.testing.assert_close(
        multiclass.loss(logits, classes, LOCATION, SPREAD),
        functional.cross_entropy(logits, classes),
    )
    torch.testing.assert_close(multiclass.predict(logits, LOCATION, SPREAD), logits.softmax(1))
    torch.testing.assert_close(log_sum_exp(logits), logits.logsumexp(1))
    target = (classes > 1).float()
    torch.testing.assert_close(
        binary.loss(logits[:, :1], target, LOCATION, SPREAD),
        functional.binary_cross_entropy_with_logits(logits[:, 0], target),
    )


def test_the_multiclass_gradient_equals_torchs() -> None:
    """The folded log-sum-exp has the gradient of the softmax, ties included."""
    start = torch.tensor([[1.0, 1.0, -2.0], [0.0, 3.0, 9.0]])
    grads = []
    for function in (log_sum_exp, lambda z: z.logsumexp(1)):
        logits = start.clone().requires_grad_()
        function(logits).sum().backward()
        grads.append(logits.grad)
    torch.testing.assert_close(grads[0], grads[1])


def test_regression_is_standardised() -> None:
    """Outputs are scaled to the target's mean and deviation; the loss has no unit."""
    net, regression = network(), find_task("regression")
    target = torch.tensor([10.0, 20.0, 30.0])
    net.learn_scale(regression, target)
    scale = net.target_mean, net.target_std
    assert regression.predict(torch.zeros(1, 1), *scale).item() == pytest.approx(20)
    loss = regression.loss(torch.zeros(3, 1), target, *scale)
    assert loss.item() == pytest.approx(1)


def test_the_same_seed_is_the_same_network() -> None:
    """Weights depend on the seed only, and another seed gives other weights."""
    state = [network().state_dict(), network().state_dict(), network(seed=0).state_dict()]
    assert all(torch.equal(state[0][name], state[1][name]) for name in state[0])
    assert not torch.equal(state[0]["table"], state[2]["table"])


def test_dropout_keeps_its_share_and_the_mean() -> None:
    """A mask drops its share and scales up the rest; only torch's seed decides which."""
    torch.manual_seed(4)
    mask = dropout_mask(torch.Size((501, 401)), 0.25)
    assert sorted(mask.unique().tolist()) == pytest.approx([0, 4 / 3])
    assert float((mask == 0).float().mean()) == pytest.approx(0.25, abs=0.005)
    another = dropout_mask(torch.Size((501, 401)), 0.25)
    assert float(((mask == 0) & (another == 0)).float().mean()) == pytest.approx(0.0625, abs=0.003)
    torch.manual_seed(4)
    assert torch.equal(mask, dropout_mask(torch.Size((501, 401)), 0.25))


def test_only_training_drops() -> None:
    """In evaluation nothing is dropped; in training two passes differ."""
    net = network(dropout=0.5)
    assert not torch.equal(net(NUMERIC, CODES), net(NUMERIC, CODES))
    net.eval()
    assert torch.equal(net(NUMERIC, CODES), net(NUMERIC, CODES))


def test_only_matrices_decay() -> None:
    """Biases, scales and embeddings are in the group without weight decay."""
    net = network()
    decayed, others = make_optimizer(net, 0.3).groups
    assert (decayed.weight_decay, others.weight_decay) == (0.3, 0.0)
    assert {p.ndim for p in decayed.parameters} == {2}
    kept = {id(parameter) for parameter in others.parameters}
    assert {id(net.table), id(net.numbers.scale), id(net.categories.scale)} <= kept


def test_no_categories_or_one_layer() -> None:
    """A network without categorical features, or with one layer, still works."""
    alone = network(cardinalities=(), hidden_layers=1)
    none = torch.zeros((2, 0), dtype=torch.int32)
    assert alone(NUMERIC, none).shape == (2, 1)
    assert alone.eval()(NUMERIC, none).shape == (2, 1)
