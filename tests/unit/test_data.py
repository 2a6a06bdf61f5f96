"""Fashion-MNIST and its neighbours: where they are looked for, what is refused, how they are fetched and served."""

import gzip
import hashlib
import http.server
import io
import itertools
import multiprocessing
import os
import signal
import struct
import tarfile
import threading
from pathlib import Path

import numpy
import pytest
from IPython.core.interactiveshell import InteractiveShell
from matplotlib import pyplot
from mxnet import np
from mxnet.gluon.data.vision import transforms

from tools import dataset
from utils import data
from utils.densenet import DenseNet
from utils.spec import imagenet_spec
from utils.training import Trainer

SOURCE = data.FashionMNIST.source
NAME = "t10k-labels-idx1-ubyte.gz"
IMAGES = "t10k-images-idx3-ubyte.gz"
OTHER = "train-labels-idx1-ubyte.gz"


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    # Where a proxy is set, it would answer for this machine's own ports.
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture(scope="module")
def fashion():
    return data.FashionMNIST(batch_size=64)


@pytest.fixture(scope="module")
def published_folder():
    return data.find(SOURCE, NAME).parent


@pytest.fixture(scope="module")
def published(published_folder):
    return {name: (published_folder / name).read_bytes() for name in (NAME, OTHER)}


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """The two folders that are looked into anyway, empty, and a host that refuses every connection."""
    places = {place: tmp_path / place for place in ("debian", "cache")}
    for folder in places.values():
        folder.mkdir()
    monkeypatch.delenv("FASHION_MNIST", raising=False)
    monkeypatch.setattr(SOURCE, "debian", places["debian"])
    monkeypatch.setattr(SOURCE, "cache", places["cache"])
    monkeypatch.setattr(SOURCE, "hosts", ("http://127.0.0.1:9",))
    return places


@pytest.fixture
def own(folders, tmp_path, monkeypatch):
    """The folder that FASHION_MNIST names, empty."""
    folder = tmp_path / "own"
    folder.mkdir()
    monkeypatch.setenv("FASHION_MNIST", str(folder))
    return folder


@pytest.fixture
def locked(tmp_path):
    """A folder in a folder without search permission, for a user whom permissions stop, as they do not stop root."""
    outer, user = tmp_path / "locked", os.geteuid()
    (outer / "inner").mkdir(parents=True)
    outer.chmod(0)
    os.seteuid(user or 65534)
    yield outer / "inner"
    os.seteuid(user)
    outer.chmod(0o700)


@pytest.fixture
def server(published):
    """Address of a web server whose folders `good`, `corrupt` and `cut` send the file in that condition."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            _, condition, name = self.path.split("/")
            if condition not in ("good", "corrupt", "cut"):
                return self.send_error(404)
            content = inverted(published[name], -8, -4) if condition == "corrupt" else published[name]
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[:1000] if condition == "cut" else content)

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def inverted(packed, start, stop):
    return packed[:start] + bytes(255 - byte for byte in packed[start:stop]) + packed[stop:]


def assert_says(error, *words):
    """One sentence that holds the words."""
    message = str(error.value)
    for part in words:
        assert part in message
    assert message.endswith(".") and ". " not in message and "\n" not in message
    assert "None" not in message


def assert_helps(error, *words):
    """One sentence that holds the words and the three ways to get the data set."""
    assert_says(error, *words, "network", "apt-get install --reinstall dataset-fashion-mnist", "FASHION_MNIST")


# The published data set


@pytest.mark.parametrize("split, number", [("train", 55000), ("val", 5000), ("test", 10000)])
def test_the_published_images_load_in_three_splits(fashion, split, number):
    images, labels = fashion.images[split], fashion.labels[split]
    assert images.shape == (number, 28, 28) and labels.shape == (number,)
    assert images.dtype == labels.dtype == numpy.uint8


def test_training_and_validation_images_are_the_published_training_images_each_once(fashion):
    assert numpy.bincount(numpy.concatenate([fashion.labels["train"], fashion.labels["val"]])).tolist() == [6000] * 10
    assert numpy.bincount(fashion.labels["test"]).tolist() == [1000] * 10


def test_the_training_images_have_mean_and_deviation_by_which_all_are_normalised(fashion):
    pixels = fashion.images["train"] / 255
    assert (pixels.mean(), pixels.std()) == (
        pytest.approx(data.MEAN, abs=5e-4),
        pytest.approx(data.DEVIATION, abs=5e-4),
    )


def test_labels_are_told_by_name(fashion):
    assert fashion.text_labels([9, 0]) == ["ankle boot", "t-shirt"]


def test_training_images_are_shuffled_and_the_others_are_not(fashion):
    loaders = dict(train=fashion.train_dataloader(), val=fashion.val_dataloader(), test=fashion.test_dataloader())
    in_stored_order = {}
    for split, loader in loaders.items():
        _, y = next(iter(loader))
        in_stored_order[split] = y.asnumpy().tolist() == fashion.labels[split][:64].tolist()
    assert in_stored_order == dict(train=False, val=True, test=True)


def test_only_training_images_are_augmented():
    augmented, plain = data.FashionMNIST(augment=True), data.FashionMNIST()
    first = [next(iter(module.val_dataloader()))[0].asnumpy() for module in (augmented, plain)]
    numpy.testing.assert_array_equal(*first)
    assert augmented.train_dataloader().augment and not augmented.test_dataloader().augment


# Lookup


@pytest.mark.parametrize("places", [["debian", "cache"], ["cache"]])
def test_the_first_folder_that_holds_a_file_is_used(folders, places):
    for place in places:
        (folders[place] / NAME).write_bytes(b"")
    assert data.find(SOURCE, NAME) == folders[places[0]] / NAME


@pytest.mark.parametrize("place", ["debian", "cache"])
def test_a_folder_that_cannot_be_looked_into_is_passed_over(folders, monkeypatch, tmp_path, server, place):
    monkeypatch.setattr(SOURCE, place, tmp_path / ("x" * 300))
    if place == "debian":
        (folders["cache"] / NAME).write_bytes(b"")
        assert data.find(SOURCE, NAME) == folders["cache"] / NAME
    else:
        with pytest.raises(data.DatasetError) as error:
            data.find(SOURCE, NAME)
        assert_helps(error, str(tmp_path), "cannot be written (File name too long)")


def test_a_cache_without_search_permission_is_named(folders, monkeypatch, locked):
    monkeypatch.setattr(SOURCE, "cache", locked)
    with pytest.raises(data.DatasetError) as error:
        data.find(SOURCE, NAME)
    assert_helps(error, str(locked / NAME), "cannot be written (Permission denied)")


def test_a_folder_of_ones_own_comes_first(folders, own):
    for folder in (own, *folders.values()):
        (folder / NAME).write_bytes(b"")
    assert data.find(SOURCE, NAME) == own / NAME


def test_a_relative_folder_of_ones_own_is_told_in_full(folders, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FASHION_MNIST", "data")
    with pytest.raises(data.DatasetError) as error:
        data.find(SOURCE, NAME)
    assert_says(error, f"FASHION_MNIST names {tmp_path / 'data'}, which cannot be used (No such file or directory)")


@pytest.mark.parametrize("value", [None, ""])
def test_lookup_works_without_a_folder_of_ones_own(folders, monkeypatch, tmp_path, value):
    monkeypatch.chdir(tmp_path)
    # An empty variable must not mean the current folder.
    (tmp_path / NAME).write_bytes(b"")
    (folders["debian"] / NAME).write_bytes(b"")
    if value is not None:
        monkeypatch.setenv("FASHION_MNIST", value)
    assert data.find(SOURCE, NAME) == folders["debian"] / NAME


def test_what_a_folder_of_ones_own_lacks_is_told_though_another_folder_has_it(folders, own):
    (own / NAME).write_bytes(b"")
    (folders["debian"] / IMAGES).write_bytes(b"")
    with pytest.raises(data.DatasetError) as error:
        data.find(SOURCE, IMAGES)
    assert_says(error, f"FASHION_MNIST names {own}, which lacks", IMAGES, OTHER, "unset it")
    assert NAME not in str(error.value)


@pytest.mark.parametrize(
    "name, reason",
    [("nowhere", "No such file or directory"), ("file", "Not a directory"), ("x" * 300, "File name too long")],
)
def test_why_a_folder_of_ones_own_cannot_be_used_is_told(folders, tmp_path, monkeypatch, name, reason):
    (tmp_path / "file").write_bytes(b"")
    (folders["debian"] / NAME).write_bytes(b"")
    monkeypatch.setenv("FASHION_MNIST", str(tmp_path / name))
    with pytest.raises(data.DatasetError) as error:
        data.find(SOURCE, NAME)
    assert_says(error, f"FASHION_MNIST names {tmp_path / name}, which cannot be used ({reason})", "unset it")


def test_a_folder_of_ones_own_without_search_permission_is_told(folders, monkeypatch, locked):
    for folder in (locked.parent, locked):
        monkeypatch.setenv("FASHION_MNIST", str(folder))
        with pytest.raises(data.DatasetError) as error:
            data.find(SOURCE, NAME)
        assert_says(error, f"FASHION_MNIST names {folder}, which cannot be used (Permission denied)", "unset it")


def test_a_file_that_is_in_no_folder_is_downloaded_into_the_cache(folders, server, monkeypatch, fashion):
    monkeypatch.setattr(SOURCE, "hosts", (f"{server}/good",))
    assert (data.load(SOURCE, NAME) == fashion.labels["test"]).all()
    assert (folders["cache"] / NAME).is_file()
    monkeypatch.setattr(SOURCE, "hosts", ())
    assert (data.load(SOURCE, NAME) == fashion.labels["test"]).all()


# Verification


@pytest.mark.parametrize("level", [0, 1, 9])
def test_a_file_recompressed_at_another_level_is_accepted(own, published, fashion, level):
    content = gzip.compress(gzip.decompress(published[NAME]), level)
    assert content != published[NAME]
    (own / NAME).write_bytes(content)
    assert (data.load(SOURCE, NAME) == fashion.labels["test"]).all()


def idx(shape, content=b""):
    return gzip.compress(bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}i", *shape) + content)


def other_bytes(packed):
    content = bytearray(gzip.decompress(packed))
    content[-1] = (content[-1] + 1) % 10
    return gzip.compress(bytes(content))


@pytest.mark.parametrize(
    "damage, words",
    [
        pytest.param(lambda packed: b"", "is empty", id="empty"),
        pytest.param(lambda packed: packed[:-1000], "is truncated", id="truncated"),
        pytest.param(lambda packed: packed[:5], "is truncated", id="truncated in the header"),
        pytest.param(lambda packed: packed[:-3], "is truncated", id="truncated in the checksum"),
        pytest.param(lambda packed: b"<html>404</html>", "is not a whole gzip file", id="a web page"),
        # The first bits of the compressed data, all set, name a kind of block that there is not.
        pytest.param(lambda packed: gzip.compress(b"")[:10] + b"\xff" * 99, "is not a whole gzip file", id="bad block"),
        # Stored without compression, so that only the checksum can tell.
        pytest.param(
            lambda packed: inverted(gzip.compress(gzip.decompress(packed), 0), 5000, 5100),
            "is not a whole gzip file",
            id="corrupted in the middle",
        ),
        pytest.param(lambda packed: inverted(packed, -8, -4), "is not a whole gzip file", id="bad checksum"),
        pytest.param(lambda packed: inverted(packed, -4, len(packed)), "is not a whole gzip file", id="bad length"),
        pytest.param(lambda packed: packed + b"garbage", "is not a whole gzip file", id="trailing garbage"),
        pytest.param(
            lambda packed: idx((9999,), bytes(9999)),
            "holds an array of shape (9999,) where (10000,) is expected",
            id="wrong shape",
        ),
        pytest.param(other_bytes, "has the right shape, but other bytes", id="other bytes"),
        pytest.param(lambda packed: gzip.compress(b"label,image\n"), "is not an IDX file", id="not IDX"),
    ],
)
def test_a_faulty_file_is_named_and_left_alone(own, published, damage, words):
    path, content = own / NAME, damage(published[NAME])
    path.write_bytes(content)
    with pytest.raises(data.DatasetError) as error:
        data.load(SOURCE, NAME)
    assert_helps(error, str(path), words)
    assert path.read_bytes() == content
    assert list(own.iterdir()) == [path]


def test_labels_under_the_name_of_others_are_told_apart(own, published):
    path = own / NAME
    path.write_bytes(published[OTHER])
    with pytest.raises(data.DatasetError) as error:
        data.load(SOURCE, NAME)
    assert_helps(error, str(path), f"holds what belongs in {OTHER}")
    assert path.read_bytes() == published[OTHER]


def test_images_of_another_size_are_told_apart(own):
    (own / IMAGES).write_bytes(idx((10000, 32, 32)))
    with pytest.raises(data.DatasetError) as error:
        data.load(SOURCE, IMAGES)
    assert_helps(error, IMAGES, "shape (10000, 32, 32) where (10000, 28, 28) is expected")


@pytest.mark.parametrize("place", ["debian", "cache"])
def test_a_faulty_file_is_refused_wherever_it_lies(folders, place):
    (folders[place] / NAME).write_bytes(b"faulty")
    with pytest.raises(data.DatasetError) as error:
        data.load(SOURCE, NAME)
    assert_helps(error, str(folders[place] / NAME))


# Download


def test_a_download_ends_whole_under_its_final_name(tmp_path, server, published, monkeypatch):
    monkeypatch.setattr(SOURCE, "hosts", (f"{server}/good",))
    folder = tmp_path / "new" / "folder"
    assert data.download(SOURCE, NAME, folder) == folder / NAME
    assert (folder / NAME).read_bytes() == published[NAME]
    assert [path.name for path in folder.iterdir()] == [NAME]


@pytest.mark.parametrize("condition", ["missing", "corrupt", "cut"])
def test_a_host_that_fails_gives_way_to_the_next(tmp_path, server, published, monkeypatch, condition):
    monkeypatch.setattr(SOURCE, "hosts", (f"{server}/{condition}", f"{server}/good"))
    assert data.download(SOURCE, NAME, tmp_path).read_bytes() == published[NAME]
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


@pytest.mark.parametrize("condition", ["missing", "corrupt", "cut"])
def test_a_host_that_fails_leaves_nothing_behind(tmp_path, server, monkeypatch, condition):
    monkeypatch.setattr(SOURCE, "hosts", (f"{server}/{condition}",))
    with pytest.raises(data.DatasetError) as error:
        data.download(SOURCE, NAME, tmp_path)
    assert_helps(error, NAME, "no host served it", "127.0.0.1")
    assert list(tmp_path.iterdir()) == []


def test_without_a_network_the_three_ways_are_told(folders):
    with pytest.raises(data.DatasetError) as error:
        data.load(SOURCE, NAME)
    assert_helps(error, NAME, "no host served it", "127.0.0.1:9: ConnectionError")
    assert list(folders["cache"].iterdir()) == []


def test_an_interrupted_download_leaves_nothing_behind(tmp_path, server, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(SOURCE, "hosts", (f"{server}/good",))
    monkeypatch.setattr(data, "decode", interrupt)
    with pytest.raises(KeyboardInterrupt):
        data.download(SOURCE, NAME, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_killed_download_is_cleared_away_once_nobody_can_be_writing_it(tmp_path, server, monkeypatch):
    def write_half_and_die(self, url, path, pooch):
        Path(path).write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)

    with monkeypatch.context() as patch:
        patch.setattr(data.pooch.HTTPDownloader, "__call__", write_half_and_die)
        process = multiprocessing.get_context("fork").Process(target=data.download, args=(SOURCE, NAME, tmp_path))
        process.start()
        process.join()
    assert process.exitcode == -signal.SIGKILL
    (half,) = tmp_path.iterdir()
    monkeypatch.setattr(SOURCE, "hosts", (f"{server}/good",))
    data.download(SOURCE, NAME, tmp_path)
    assert half.read_bytes() == b"half"
    two_hours_ago = half.stat().st_mtime - 7200
    os.utime(half, (two_hours_ago, two_hours_ago))
    data.download(SOURCE, NAME, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


@pytest.mark.parametrize("umask, mode", [(0o022, 0o644), (0o077, 0o600)])
def test_a_downloaded_file_can_be_read_by_whom_the_umask_lets(tmp_path, server, monkeypatch, umask, mode):
    monkeypatch.setattr(SOURCE, "hosts", (f"{server}/good",))
    before = os.umask(umask)
    try:
        assert data.download(SOURCE, NAME, tmp_path).stat().st_mode & 0o777 == mode
    finally:
        os.umask(before)


def test_a_missing_certificate_bundle_is_not_blamed_on_the_disk(tmp_path, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/bundle.pem")
    monkeypatch.setattr(SOURCE, "hosts", ("https://127.0.0.1:9",))
    with pytest.raises(data.DatasetError) as error:
        data.download(SOURCE, NAME, tmp_path)
    assert_helps(error, NAME, "no host served it", "/nowhere/bundle.pem")


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    # Below a regular file not even the superuser, whom permissions do not stop, can make a folder.
    (tmp_path / "file").write_text("in the way")
    folder = tmp_path / "file" / "cache"
    with pytest.raises(data.DatasetError) as error:
        data.download(SOURCE, NAME, folder)
    assert_helps(error, str(folder / NAME), "cannot be written")


def test_a_full_disk_is_not_blamed_on_the_host(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(data.pooch.HTTPDownloader, "__call__", full)
    with pytest.raises(data.DatasetError) as error:
        data.download(SOURCE, NAME, tmp_path)
    assert_helps(error, str(tmp_path / NAME), "cannot be written", "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_a_notebook_shows_the_sentence_alone(folders, capsys):
    InteractiveShell().run_cell(f"from utils import data; data.load(data.FashionMNIST.source, {NAME!r})")
    shown = capsys.readouterr().out.strip()
    assert shown.startswith(f"{NAME} is not on this machine") and shown.endswith(".") and "\n" not in shown


# The data step of `make test`


@pytest.fixture
def apt(folders, monkeypatch, tmp_path):
    """Stands for apt where the package is not installed: the names of the parts that it was asked to install."""
    monkeypatch.setattr(SOURCE, "debian", tmp_path / "package")
    asked = []
    monkeypatch.setattr(dataset, "install", asked.extend)
    return asked


def test_the_data_step_loads_the_four_files_and_leaves_apt_alone_if_it_can(apt, monkeypatch):
    loaded = []
    monkeypatch.setattr(data, "read", lambda source, name: loaded.append(name))
    dataset.main()
    assert len(set(loaded)) == 4 and apt == []


def test_the_data_step_takes_the_package_when_no_host_answers(apt, monkeypatch, published_folder):
    monkeypatch.setattr(SOURCE, "files", {name: SOURCE.files[name] for name in (NAME, OTHER)})  # the small ones
    monkeypatch.setattr(dataset, "install", lambda parts: SOURCE.debian.symlink_to(published_folder))
    dataset.main()


def test_the_data_step_ends_in_one_sentence_when_apt_cannot_bring_the_package(apt):
    with pytest.raises(SystemExit) as end:
        dataset.main()
    assert apt == ["Fashion-MNIST"]
    assert end.value.code.startswith("train-images-idx3-ubyte.gz is not on this machine and no host served it")


@pytest.mark.parametrize("obstacle", ["FASHION_MNIST names", "package/train-images-idx3-ubyte.gz is empty"])
def test_the_data_step_leaves_apt_alone_where_it_cannot_help(apt, monkeypatch, tmp_path, obstacle):
    if obstacle.startswith("FASHION_MNIST"):
        monkeypatch.setenv("FASHION_MNIST", str(tmp_path / "nowhere"))
    else:
        SOURCE.debian.mkdir()
        (SOURCE.debian / "train-images-idx3-ubyte.gz").write_bytes(b"")
    with pytest.raises(SystemExit) as end:
        dataset.main()
    assert apt == [] and obstacle in end.value.code


# Batches


def numbered(seed, batch_size=4):
    """Ten images of 3 x 5 pixels, each filled with its own label."""
    labels = numpy.arange(10, dtype="uint8")
    return data.Batches(numpy.tile(labels[:, None, None], (1, 3, 5)), labels, batch_size, seed)


def noise(number=7, side=28):
    return numpy.random.RandomState(0).randint(1, 256, (number, side, side)).astype("uint8")


def as_bytes(X):
    """The pixels from 0 to 255 that a batch was made of."""
    return 255 * (X.asnumpy() * data.DEVIATION + data.MEAN)


def order(batches):
    return [int(label) for _, y in batches for label in y]


def test_the_same_seed_gives_the_same_orders():
    one, same, other = numbered(3), numbered(3), numbered(4)
    first = [order(one), order(one)]
    assert first == [order(same), order(same)]
    assert first != [order(other), order(other)]


def test_each_epoch_has_a_new_order():
    batches = numbered(3)
    assert order(batches) != order(batches)


def test_the_global_random_state_has_no_say_in_the_order():
    numpy.random.seed(0)
    first = order(numbered(3))
    numpy.random.seed(1)
    assert order(numbered(3)) == first


def test_without_a_seed_the_order_is_the_stored_one():
    batches = numbered(None)
    assert order(batches) == order(batches) == list(range(10))


@pytest.mark.parametrize("seed", [None, 3])
@pytest.mark.parametrize("batch_size, sizes", [(4, [4, 4, 2]), (5, [5, 5]), (99, [10])])
def test_every_image_comes_exactly_once_and_with_its_own_label(seed, batch_size, sizes):
    batches = numbered(seed, batch_size)
    served = list(batches)
    assert [len(y) for _, y in served] == sizes
    assert len(batches) == len(sizes)
    assert sorted(order(batches)) == list(range(10))
    for X, y in served:
        assert X.shape == (len(y), 1, 3, 5)
        numpy.testing.assert_allclose(as_bytes(X)[:, 0, 2, 4], y.asnumpy(), atol=1e-3)


@pytest.mark.parametrize("turn", [numpy.asfortranarray, lambda images: images.transpose(0, 2, 1)])
def test_images_may_lie_in_memory_in_any_layout(turn):
    images = turn(noise(number=4))
    X, _ = next(iter(data.Batches(images, numpy.zeros(4, "uint8"), 4)))
    numpy.testing.assert_allclose(as_bytes(X)[:, 0], images, atol=1e-3)


def test_values_are_normalised_floats():
    images = numpy.arange(256, dtype="uint8").reshape(1, 16, 16)
    X, y = next(iter(data.Batches(images, numpy.array([7], "uint8"), 1)))
    assert (X.dtype, y.dtype) == (numpy.float32, numpy.int32)
    numpy.testing.assert_allclose(X.asnumpy()[0, 0], (images[0] / 255 - 0.286) / 0.353, rtol=1e-5, atol=1e-6)


# Augmentation


def test_an_augmented_image_is_moved_by_at_most_two_pixels_and_perhaps_mirrored():
    images = noise(number=400)
    moved = data.moved_and_mirrored(images, numpy.random.RandomState(1))
    seen = []
    for image, result in zip(images, moved, strict=True):
        framed = numpy.pad(image, 2)
        for down, right, turn in itertools.product(range(5), range(5), (1, -1)):
            if (result == framed[down : down + 28, right : right + 28][:, ::turn]).all():
                seen.append((down, right, turn))
    assert len(seen) == 400 and len(set(seen)) == 50


def test_augmentation_differs_from_image_to_image_and_from_pass_to_pass_but_not_with_the_same_seed():
    def two_passes():
        same_image = numpy.repeat(noise(1), 64, axis=0)
        batches = data.Batches(same_image, numpy.zeros(64, "uint8"), 64, seed=3, augment=True)
        return [next(iter(batches))[0].asnumpy() for _ in range(2)]

    first, second = two_passes()
    # Of 50 variants there are 25 or fewer if all images share a draw: the mirroring, or the move down or right.
    assert len({image.tobytes() for image in first}) > 25
    assert (first != second).any()
    numpy.testing.assert_array_equal([first, second], two_passes())


def test_augmentation_leaves_the_stored_images_as_they_were():
    images = noise()
    list(data.Batches(images, numpy.zeros(7, "uint8"), 4, seed=0, augment=True))
    numpy.testing.assert_array_equal(images, noise())


@pytest.mark.parametrize("num_workers", [2, 3, 5])
def test_the_parts_of_all_workers_are_the_batches_of_one_with_every_image_once(num_workers):
    labels = numpy.arange(23, dtype="uint8")
    images = numpy.random.RandomState(5).randint(0, 256, (23, 6, 6)).astype("uint8")
    whole, *parts = (data.Batches(images, labels, 9, seed=3, augment=True) for _ in range(num_workers + 1))
    for worker, part in enumerate(parts):
        part.worker, part.num_workers = worker, num_workers
    for _ in range(2):
        seen = []
        for size, (X, y), *shares in zip(whole.sizes(), whole, *parts, strict=True):
            assert len(y) == size and max(len(share[1]) for share in shares) <= -(-size // num_workers)
            numpy.testing.assert_array_equal(X, numpy.concatenate([share[0].asnumpy() for share in shares]))
            seen += [int(label) for share in shares for label in share[1]]
        assert sorted(seen) == list(range(23))


def test_augmentation_without_a_seed_is_refused():
    with pytest.raises(ValueError, match="augment draws random numbers, so it needs a seed"):
        data.Batches(noise(), numpy.zeros(7, "uint8"), 4, augment=True)


def test_the_channels_of_an_image_are_moved_and_mirrored_together():
    images = numpy.repeat(noise()[:, None], 3, axis=1)
    moved = data.moved_and_mirrored(images, numpy.random.RandomState(1))
    expected = data.moved_and_mirrored(noise(), numpy.random.RandomState(1))
    assert moved.shape == (7, 3, 28, 28)
    for channel in range(3):
        numpy.testing.assert_array_equal(moved[:, channel], expected)


# Frames and sizes


def test_padding_frames_the_images_with_zeros():
    images = noise()
    framed = data.framed(images, (28, 28), 2)
    assert (framed.shape, framed.dtype) == ((7, 32, 32), numpy.uint8)
    assert (framed[:, 2:-2, 2:-2] == images).all()
    assert framed.sum(dtype=int) == images.sum(dtype=int)


@pytest.mark.parametrize("size", [(32, 32), (14, 14), (40, 64), (64, 40)])
def test_resizing_gives_the_bytes_that_gluon_gives_for_each_image(size):
    images = noise()
    height, width = size
    resize_one = transforms.Resize((width, height))
    framed = data.framed(images, size, 0)
    assert (framed.shape, framed.dtype) == ((7, height, width), numpy.uint8)
    for image, result in zip(images, framed, strict=True):
        expected = resize_one(np.array(image[..., None], dtype="uint8")).asnumpy()
        assert (expected[..., 0] == result).all()


def test_images_are_resized_before_they_are_padded():
    framed = data.framed(noise(), (40, 64), 3)
    assert framed.shape == (7, 46, 70)
    assert (framed[:, 3:-3, 3:-3] == data.framed(noise(), (40, 64), 0)).all()
    assert not framed[:, :3].any() and not framed[:, :, -3:].any()


# MNIST


@pytest.fixture
def digits(tmp_path, monkeypatch):
    """MNIST with 30 training images, 10 validation images and 10 test images, all noise, in the published format."""
    random = numpy.random.RandomState(0)
    files = {}
    for name, published in data.MNIST.source.files.items():
        shape = (40 if name.startswith("train") else 10, *published.shape[1:])
        content = idx(shape, random.randint(10, size=shape).astype("uint8").tobytes())
        (tmp_path / name).write_bytes(content)
        files[name] = data.IDX(shape, hashlib.sha256(gzip.decompress(content)).hexdigest())
    monkeypatch.setattr(data.MNIST.source, "files", files)
    monkeypatch.setattr(data, "NUM_VALIDATION", 10)
    monkeypatch.setenv("MNIST", str(tmp_path))


def test_digits_are_moved_but_not_mirrored(digits):
    module = data.MNIST(batch_size=30, augment=True)
    X, y = next(iter(module.train_dataloader()))
    results = numpy.rint(255 * (X.asnumpy() * data.MNIST.deviation + data.MNIST.mean))[:, 0]
    windows = numpy.lib.stride_tricks.sliding_window_view(
        numpy.pad(module.images["train"], ((0, 0), (2, 2), (2, 2))), (28, 28), axis=(1, 2)
    )
    assert sorted(y.asnumpy()) == sorted(module.labels["train"])
    for result in results:
        assert (result == windows).all(axis=(3, 4)).sum() == 1


def test_fashion_under_the_names_of_digits_is_refused(published, tmp_path, monkeypatch):
    monkeypatch.setenv("MNIST", str(tmp_path))
    (tmp_path / NAME).write_bytes(published[NAME])
    with pytest.raises(data.DatasetError) as error:
        data.load(data.MNIST.source, NAME)
    assert_says(error, str(tmp_path / NAME), "other bytes than the published file", "set MNIST to a folder", "network")
    assert "apt-get" not in str(error.value)


# CIFAR-10


@pytest.fixture
def records(tmp_path, monkeypatch):
    """Labels and bytes of six parts of eight images, `(part, image, byte)`, that `CIFAR10` reads as the data set."""
    records = numpy.random.RandomState(0).randint(256, size=(6, 8, 3073)).astype("uint8")
    records[..., 0] %= 10
    path = tmp_path / "cifar-10-binary.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, part in zip([*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"], records, strict=True):
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}.bin")
            member.size = part.size
            archive.addfile(member, io.BytesIO(part.tobytes()))
    md5 = hashlib.md5(path.read_bytes()).hexdigest()
    monkeypatch.setattr(data.CIFAR10.source, "files", {path.name: data.Archive(md5)})
    monkeypatch.setattr(data, "NUM_VALIDATION", 8)
    monkeypatch.setenv("CIFAR10", str(tmp_path))
    return records


def test_coloured_images_come_in_three_splits_with_their_labels(records):
    module = data.CIFAR10()
    parts = dict(train=records[:4].reshape(-1, 3073), val=records[4], test=records[5])
    for split, part in parts.items():
        assert module.labels[split].tolist() == part[:, 0].tolist()
        assert module.images[split].shape == (len(part), 3, 32, 32)
        # The byte of channel 2, row 5, column 7 of each image.
        assert module.images[split][:, 2, 5, 7].tolist() == part[:, 1 + 2 * 1024 + 5 * 32 + 7].tolist()


def test_each_channel_is_normalised_by_its_own_mean_and_deviation(records, tmp_path):
    (X, y) = next(iter(data.CIFAR10(batch_size=32).train_dataloader()))
    assert (X.shape, y.shape, X.dtype) == ((32, 3, 32, 32), (32,), numpy.float32)
    numpy.testing.assert_allclose(X.asnumpy().mean(axis=(0, 2, 3)), 0, atol=1e-5)
    numpy.testing.assert_allclose(X.asnumpy().std(axis=(0, 2, 3)), 1, rtol=1e-5)


def test_coloured_images_are_shown_in_their_colours(records):
    module = data.CIFAR10(batch_size=8)
    module.visualize(next(iter(module.val_dataloader())), 1, 2)
    shown = [axes.images[0].get_array() for axes in pyplot.gcf().axes]
    pyplot.close()
    numpy.testing.assert_allclose(shown, module.images["val"][:2].transpose(0, 2, 3, 1) / 255, atol=1e-5)


def test_a_network_trains_on_coloured_images(records):
    trainer = Trainer(2)
    trainer.fit(DenseNet(imagenet_spec(4, 1) | dict(stem="cifar")), data.CIFAR10(batch_size=16, augment=True))
    assert trainer.model.net[0][0].weight.shape == (8, 3, 3, 3)
    assert numpy.isfinite(trainer.history["val_loss"]).all() and len(trainer.history["step_loss"]) == 4


def test_an_archive_with_another_checksum_is_refused(records, tmp_path):
    path = tmp_path / "cifar-10-binary.tar.gz"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(data.DatasetError) as error:
        data.CIFAR10()
    assert_says(error, f"{path} is not the published file", "MD5", "delete it", "network", "set CIFAR10 to a folder")
