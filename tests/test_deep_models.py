"""Networks: their size to the parameter, their normalisation, their initialisation, bad input."""

from functools import partial
from math import inf, nan, prod, sqrt

import pytest

torch = pytest.importorskip("torch")

from linphase.deep.models import (  # noqa: E402
    CIFAR10_MEAN,
    CIFAR10_STD,
    MODELS,
    Normalise,
    mlp,
    mnist_cnn,
    model,
    preact_resnet18,
    wide_resnet34,
)

CASES = {
    "mlp": (partial(mlp, (64, 16, 16, 10)), (64,)),
    "mnist-cnn": (partial(mnist_cnn, 16), (1, 28, 28)),
    "preact-resnet18": (preact_resnet18, (3, 32, 32)),
    "wide-resnet34": (partial(wide_resnet34, 1), (3, 32, 32)),
}
every_model = pytest.mark.parametrize(("factory", "shape"), CASES.values(), ids=CASES)
IMAGES = {name: case for name, case in CASES.items() if name != "mlp"}
RESIDUAL = {name: case for name, case in IMAGES.items() if name != "mnist-cnn"}


@pytest.fixture(autouse=True)
def _seed():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def size(network):
    return sum(p.numel() for p in network.parameters())


def on_meta(factory):
    with torch.device("meta"):
        return factory()


# ------------------------------------------------------------------------------------------------- sizes


@pytest.mark.parametrize(
    ("factory", "parameters"),
    [
        (partial(mlp, (64, 16, 16, 10)), 64 * 16 + 16 + 16 * 16 + 16 + 16 * 10 + 10),
        (partial(mlp, [3, 1], "tanh"), 4),
        (mnist_cnn, 210_618),
        (partial(mnist_cnn, width=16), 33_770),
        (preact_resnet18, 11_172_170),
        (partial(preact_resnet18, classes=100), 11_172_170 + 90 * 513),
        (partial(wide_resnet34, 1), 466_714),
        (partial(wide_resnet34, 10), 46_160_474),
        (partial(wide_resnet34, 10, classes=100), 46_160_474 + 90 * 641),
    ],
)
def test_parameters_are_as_many_as_published(factory, parameters):
    assert size(on_meta(factory)) == parameters


def test_the_depth_of_the_wide_network_is_34():
    network = on_meta(partial(wide_resnet34, 2))
    kernels = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d) and m.kernel_size == (3, 3)]
    shortcuts = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d) and m.kernel_size == (1, 1)]
    assert len(kernels) == 1 + 5 * 6
    assert len(kernels) + len(shortcuts) == 34  # its authors count convolutions, shortcuts included
    assert [m.stride for m in shortcuts] == [(1, 1), (2, 2), (2, 2)]


def test_shortcuts_stand_only_where_shapes_change():
    network = on_meta(preact_resnet18)
    assert [layer.shortcut is not None for layer in network[2:10]] == [False, False] + 3 * [True, False]
    # 16 channels meet 16 when k = 1, so the first stage needs none.
    narrow = on_meta(partial(wide_resnet34, 1))
    assert sum(layer.shortcut is not None for layer in narrow[2:17]) == 2


@every_model
@pytest.mark.parametrize("batch", [1, 3])
def test_outputs_are_logits_of_each_example(factory, shape, batch):
    logits = factory().eval()(torch.rand(batch, *shape))
    assert logits.shape == (batch, 10)
    assert logits.dtype == torch.float32


@pytest.mark.parametrize(
    ("name", "options"),
    [("mnist-cnn", {}), ("preact-resnet18", {}), ("wide-resnet34", {"k": 2})],
)
def test_classes_are_an_option(name, options):
    with torch.device("meta"):
        network = model(name, classes=7, **options)
        assert network(torch.rand(2, *CASES[name][1])).shape == (2, 7)


@pytest.mark.parametrize("leading", [(), (5,), (2, 3), (2, 1, 3)])
def test_the_mlp_takes_any_leading_shape(leading):
    network = mlp((6, 5, 4))
    x = torch.rand(*leading, 6)
    outputs = network(x)
    assert outputs.shape == (*leading, 4)
    torch.testing.assert_close(outputs.reshape(-1, 4), network(x.reshape(-1, 6)))


def test_stages_halve_the_image():
    seen = []
    network = on_meta(partial(wide_resnet34, 2))
    for layer in network[2:17]:
        layer.register_forward_hook(lambda _, __, out: seen.append(tuple(out.shape[1:])))
    network(torch.rand(2, 3, 32, 32, device="meta"))
    assert seen == 5 * [(32, 32, 32)] + 5 * [(64, 16, 16)] + 5 * [(128, 8, 8)]


def test_residual_networks_take_grey_images_with_one_constant():
    network = preact_resnet18(mean=(0.3,), std=(0.4,)).eval()
    assert network(torch.rand(2, 1, 32, 32)).shape == (2, 10)


# -------------------------------------------------------------------------------------------- computation


def test_the_mlp_is_what_it_says():
    network = mlp((4, 3, 2), "tanh").double()
    first, second = network[1], network[3]
    x = torch.rand(5, 4, dtype=torch.float64)
    expected = torch.tanh(x @ first.weight.T + first.bias) @ second.weight.T + second.bias
    torch.testing.assert_close(network(x), expected)
    assert isinstance(mlp((4, 3, 2))[2], torch.nn.ReLU)
    assert isinstance(network[-1], torch.nn.Linear)


@pytest.mark.parametrize("place", [3, 4])
def test_a_block_starts_its_convolutional_shortcut_after_the_activation(place):
    functional = torch.nn.functional
    block = preact_resnet18().eval()[place]
    x = torch.randn(2, 64, 8, 8)
    stride = 2 if place == 4 else 1
    with torch.no_grad():
        norms = [block.norm1, block.norm2]
        for norm in norms:
            norm.weight.uniform_(0.5, 2)
            norm.bias.normal_()
        gain = [norm.weight[:, None, None] / sqrt(1 + norm.eps) for norm in norms]
        active = (x * gain[0] + norms[0].bias[:, None, None]).clamp_min(0)
        hidden = functional.conv2d(active, block.conv1.weight, stride=stride, padding=1)
        hidden = (hidden * gain[1] + norms[1].bias[:, None, None]).clamp_min(0)
        short = functional.conv2d(active, block.shortcut.weight, stride=2) if stride == 2 else x
        expected = functional.conv2d(hidden, block.conv2.weight, padding=1) + short
        torch.testing.assert_close(block(x), expected, rtol=1e-4, atol=1e-4)


@every_model
@pytest.mark.parametrize("training", [True, False])
def test_gradients_are_finite_and_reach_inputs_and_parameters(factory, shape, training):
    network = factory().train(training)
    x = torch.rand(4, *shape, requires_grad=True)
    torch.nn.functional.cross_entropy(network(x), torch.arange(4)).backward()
    for gradient in [x.grad, *(p.grad for p in network.parameters())]:
        assert gradient.isfinite().all()
    assert all(g.any() for g in x.grad)
    assert all(p.grad.any() for p in network.parameters() if p.ndim > 1)


@pytest.mark.parametrize(("factory", "shape"), IMAGES.values(), ids=IMAGES)
def test_channels_last_gives_the_same_outputs(factory, shape):
    network = factory().eval()
    x = torch.rand(4, *shape)
    with torch.no_grad():
        expected = network(x)
        network.to(memory_format=torch.channels_last)
        other = network(x.to(memory_format=torch.channels_last))
    torch.testing.assert_close(other, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", [(64,), (1, 28, 28)])
def test_networks_without_batch_norm_go_through_vmap(shape):
    network = mlp((64, 8, 10)) if shape == (64,) else mnist_cnn(8)
    copies = {name: torch.stack([p, 2 * p]) for name, p in network.named_parameters()}
    x = torch.rand(2, 3, *shape)
    outputs = torch.func.vmap(lambda p, z: torch.func.functional_call(network, p, (z,)))(copies, x)
    torch.testing.assert_close(outputs[0], network(x[0]))


# ------------------------------------------------------------------------------------------ normalisation


@pytest.mark.parametrize(("factory", "shape"), RESIDUAL.values(), ids=RESIDUAL)
def test_the_mean_image_enters_the_first_layer_as_zero(factory, shape):
    network = factory().eval()
    seen = []
    network[1].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    image = torch.tensor(CIFAR10_MEAN)[:, None, None].expand(shape)
    network(image[None])
    assert not seen[0].any()
    network(image[None] + torch.tensor(CIFAR10_STD)[:, None, None])
    torch.testing.assert_close(seen[1], torch.ones(1, *shape))


@pytest.mark.parametrize("name", MODELS)
def test_every_model_normalises_first_with_the_constants_given(name):
    options = {"mlp": {"widths": (64, 10)}, "wide-resnet34": {"k": 1}}.get(name, {})
    network = on_meta(partial(model, name, mean=(0.5,), std=(0.25,), **options))
    assert isinstance(network[0], Normalise)
    normalise = model(name, mean=(0.5,), std=(0.25,), **options)[0]
    assert (normalise.mean.item(), normalise.std.item()) == (0.5, 0.25)


@pytest.mark.parametrize("name", ["mlp", "mnist-cnn"])
def test_the_default_constants_of_small_networks_change_nothing(name):
    factory, shape = CASES[name]
    x = torch.rand(2, *shape)
    assert torch.equal(factory()[0](x), x)


@pytest.mark.parametrize("leading", [(), (2,), (2, 5)])
def test_normalise_works_channel_by_channel(leading):
    x = torch.rand(*leading, 3, 4, 4)
    normal = Normalise((0.1, 0.2, 0.3), (1.0, 2.0, 4.0))(x)
    for channel, (mean, std) in enumerate([(0.1, 1.0), (0.2, 2.0), (0.3, 4.0)]):
        torch.testing.assert_close(normal[..., channel, :, :], (x[..., channel, :, :] - mean) / std)


@pytest.mark.parametrize("shape", [(), (4,), (2, 4), (2, 1, 5, 5), (2, 3, 5, 5)])
def test_a_single_constant_fits_inputs_of_any_shape(shape):
    x = torch.rand(shape)
    normal = Normalise((0.5,), (0.25,))(x)
    assert normal.shape == shape
    torch.testing.assert_close(normal, (x - 0.5) / 0.25)


def test_constants_are_buffers_and_travel_with_the_state():
    network = Normalise((0.1, 0.2, 0.3), (1.0, 2.0, 4.0))
    assert not list(network.parameters())
    assert set(network.state_dict()) == {"mean", "std"}
    assert network.double()(torch.rand(3, 2, 2, dtype=torch.float64)).dtype == torch.float64
    assert "std=[1.0, 2.0, 4.0]" in repr(network)


# ----------------------------------------------------------------------------------------- initialisation


@every_model
def test_a_seed_gives_the_same_network(factory, shape):
    def weights(seed):
        torch.manual_seed(seed)
        return [p for p in factory().parameters() if p.ndim > 1]

    first, again, other = weights(1), weights(1), weights(2)
    assert all(map(torch.equal, first, again))
    assert not any(map(torch.equal, first, other))


def test_convolutions_of_the_wide_network_start_from_he_fan_out():
    network = wide_resnet34(2)
    scores, counts = [], []
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            fan_out = module.out_channels * prod(module.kernel_size)
            scores.append((module.weight**2).sum().item() * fan_out / 2)
            counts.append(module.weight.numel())
        elif isinstance(module, torch.nn.Linear):
            assert not module.bias.any()
    # Σ w² / σ² is χ² with as many degrees of freedom as there are weights; fixed seed, no false alarms.
    for score, count in zip(scores, counts, strict=True):
        assert abs(score - count) < 5 * sqrt(2 * count)


# ---------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("make", "error", "sentence"),
    [
        (lambda: mlp(()), ValueError, r"widths must be a nonempty sequence of integers, got \(\)"),
        (lambda: mlp((64,)), ValueError, r"widths must have an input and an output at least, got \[64\]"),
        (lambda: mlp((64, 0, 10)), ValueError, "every entry of widths must be at least 1, got 0"),
        (lambda: mlp((64, 1.5)), TypeError, "every entry of widths must be an integer, got 1.5"),
        (lambda: mlp("ab"), TypeError, "widths must be a nonempty sequence of integers, got 'ab'"),
        (lambda: mlp(64), TypeError, "widths must be a nonempty sequence of integers, got 64"),
        (lambda: mlp((2, 1), "gelu"), ValueError, "activation must be one of 'relu', 'tanh', got 'gelu'"),
        (lambda: mnist_cnn(0), ValueError, "width must be at least 1, got 0"),
        (lambda: mnist_cnn(True), TypeError, "width must be an integer, got True"),
        (lambda: mnist_cnn(classes=1), ValueError, "classes must be at least 2, got 1"),
        (lambda: preact_resnet18(1), ValueError, "classes must be at least 2, got 1"),
        (lambda: preact_resnet18(None), TypeError, "classes must be an integer, got None"),
        (lambda: wide_resnet34(0), ValueError, "k must be at least 1, got 0"),
        (lambda: wide_resnet34(1.0), TypeError, "k must be an integer, got 1.0"),
        (lambda: wide_resnet34(1, classes=0), ValueError, "classes must be at least 2, got 0"),
        (lambda: preact_resnet18(std=(0.2, 0.0, 0.2)), ValueError, "std must be positive .*, got 0.0"),
        (lambda: Normalise((0.0,), (-1.0,)), ValueError, "std must be positive and finite, got -1.0"),
        (lambda: Normalise((0.0, 0.0), (1.0,)), ValueError, "as many entries as mean, got 1 for 2"),
        (lambda: Normalise((), ()), ValueError, r"mean must be a nonempty sequence of numbers, got \(\)"),
        (lambda: Normalise((nan,), (1.0,)), ValueError, "every entry of mean must be finite, got nan"),
        (
            lambda: Normalise((0.0,), (inf,)),
            ValueError,
            "every entry of std must be positive and finite, got inf",
        ),
        (lambda: Normalise(0.5, 0.5), TypeError, "mean must be a nonempty sequence of numbers, got 0.5"),
        (lambda: Normalise((0.5,), ("a",)), TypeError, "every entry of std must be a real number, got 'a'"),
        (lambda: model("resnet"), ValueError, "one of 'mlp', 'mnist-cnn', .*, 'wide-resnet34', got 'resnet'"),
    ],
)
def test_bad_input_gets_one_clear_sentence(make, error, sentence):
    with pytest.raises(error, match=sentence) as caught:
        make()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", [(2, 1, 4, 4), (3, 4), (3,)])
def test_normalise_refuses_to_broadcast(shape):
    with pytest.raises(ValueError, match=r"x must be images of 3 channels, got shape \("):
        Normalise(CIFAR10_MEAN, CIFAR10_STD)(torch.rand(shape))


def test_names_give_their_models():
    assert MODELS.keys() == CASES.keys()
    assert size(model("mlp", widths=(64, 10))) == 650
    assert size(model("mnist-cnn", width=16)) == 33_770
