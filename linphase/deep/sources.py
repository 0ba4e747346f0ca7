"""Official files of the image data sets: where they lie, their checksums, how to fetch and to read them.

linphase ships none of them. A file is parsed only after its bytes matched the official checksum, and the
pickles of CIFAR are opened by an unpickler that knows nothing but NumPy arrays.
"""

from __future__ import annotations

import gzip
import io
import pickle
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import md5
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from linphase.checks import shown
from linphase.deep.checks import check_folder
from linphase.study.files import prepare, write

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]
Split = tuple[Images, Labels]


class ChecksumError(ValueError):
    """A file is not the official one."""


@dataclass(frozen=True)
class Source:
    """The official files of one data set.

    Parameters
    ----------
    layout : str
        Folder of the files below the folder that the user names, as torchvision has it.
    files : mapping
        MD5 of each file that is read, in hexadecimal.
    url : str
        Of the folder of the files, or of the archive that holds them.
    archive : str, optional
        MD5 of the archive, if the files come in one.
    elsewhere : str, optional
        Another folder in which the files may lie.
    """

    layout: str
    files: Mapping[str, str]
    url: str
    archive: str | None = None
    elsewhere: str | None = None

    def find(self, folder: Path, name: str) -> Path | None:
        """Return the path of a file, None if it is missing."""
        places = [self.layout] if self.elsewhere is None else [self.layout, self.elsewhere]
        return next((path for place in places if (path := folder / place / name).is_file()), None)


_IDX = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)

SOURCES = {
    "mnist": Source(
        "MNIST/raw",
        {
            _IDX[0]: "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            _IDX[1]: "d53e105ee54ea40749a09fcbcd1e9432",
            _IDX[2]: "9fb629c4189551a2d022fa330f9573f3",
            _IDX[3]: "ec29112dd5afa0611ce80d1b7f02629c",
        },
        "https://ossci-datasets.s3.amazonaws.com/mnist",
    ),
    "fashion-mnist": Source(
        "FashionMNIST/raw",
        {
            _IDX[0]: "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            _IDX[1]: "25c81989df183df01b3e8a0aad5dffbe",
            _IDX[2]: "bef4ecab320f06d8554ea6380940ec79",
            _IDX[3]: "bb300cfdad3c16e7a12a480ee83cd310",
        },
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
    ),
    "cifar10": Source(
        "cifar-10-batches-py",
        {
            "data_batch_1": "c99cafc152244af753f735de768cd75f",
            "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
            "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
            "data_batch_4": "634d18415352ddfa80567beed471001a",
            "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
            "test_batch": "40351d587109b95175f43aff81a1287e",
        },
        "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        archive="c58f30108f718f92721af3b95e74349a",
    ),
    "cifar100": Source(
        "cifar-100-python",
        {"train": "16019d7e3df5f24257cddd939b257f8d", "test": "f0ef6b0ae62326f3e7ffdfab6717acfc"},
        "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
        archive="eb9058c3a382ffc7106e4002c42a8d85",
    ),
    "svhn": Source(
        "SVHN",
        {
            "train_32x32.mat": "e26dedcc434d2e4c54c9b2d4a06d8373",
            "test_32x32.mat": "eb5a983be6a315427106f1b164d9cef3",
        },
        "http://ufldl.stanford.edu/housenumbers",
        elsewhere=".",
    ),
}


def read(name: str, folder: str | Path | None, download: bool = False) -> tuple[Split, Split]:
    """Return training and test set of a data set: images (n, channels, height, width) and labels (n,).

    See `linphase.deep.data.load` for arguments and errors.
    """
    folder, download = check_place(folder, download)
    source = SOURCES[name]
    files = f"{source.layout}/{{{','.join(source.files)}}}"
    if folder is None:
        raise ValueError(
            f"folder must name the folder that holds {files}, got None; download=True fetches them there"
        )
    if download:
        fetch(source, folder)
    elif not folder.is_dir():
        raise FileNotFoundError(
            f"folder must exist and hold {files}, got {str(folder)!r}; download=True fetches them there"
        )
    contents = {file: _verified(source, folder, file) for file in source.files}
    if name in ("mnist", "fashion-mnist"):
        images, labels, test_images, test_labels = (_idx(contents[file]) for file in _IDX)
        return (
            (images[:, None], labels.astype(np.int64)),
            (test_images[:, None], test_labels.astype(np.int64)),
        )
    if name == "svhn":
        return _svhn(contents["train_32x32.mat"]), _svhn(contents["test_32x32.mat"])
    key = b"labels" if name == "cifar10" else b"fine_labels"
    *batches, test = (_cifar(content, key) for content in contents.values())
    train = np.concatenate([batch[0] for batch in batches]), np.concatenate([batch[1] for batch in batches])
    return train, test


def check_place(folder: Any, download: Any) -> tuple[Path | None, bool]:
    """Return where files lie, and whether to fetch those that are missing, which nothing but True says."""
    if not isinstance(download, bool):  # not even those of NumPy
        raise TypeError(f"download must be True or False, got {shown(download)}")
    return check_folder("folder", folder), download


def fetch(source: Source, folder: Path) -> None:
    """Fetch the files that are missing below ``folder``, by pooch; files that are there stay as they are.

    A file takes its place only when it is complete and matches its checksum.

    Raises
    ------
    ModuleNotFoundError
        If pooch is not installed.
    OSError
        If the official address cannot be reached.
    ChecksumError
        If what comes from there is not the official file.
    """
    missing = [file for file in source.files if source.find(folder, file) is None]
    if not missing:
        return
    try:
        import pooch  # type: ignore[import-untyped]
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("download=True needs pooch: pip install 'linphase[deep]'") from error
    folder.mkdir(parents=True, exist_ok=True)
    # Beside the files and not in the system's temporary folder, which may lack the room for an archive.
    with tempfile.TemporaryDirectory(prefix=".fetching-", dir=folder) as name:
        staging = Path(name)

        def get(url: str, checksum: str) -> Path:
            try:
                path = pooch.retrieve(
                    url, f"md5:{checksum}", "fetched", staging, progressbar=sys.stderr.isatty()
                )
            except OSError as error:  # those of requests among them
                raise OSError(f"{url} could not be fetched: {error}") from error
            except ValueError as error:
                raise ChecksumError(f"{url} is not the official file of MD5 {checksum}: {error}") from error
            return Path(path)

        def put(content: bytes, file: str) -> None:
            prepare(folder / source.layout)
            write(folder / source.layout / file, content)

        if source.archive is None:
            for file in missing:
                put(get(f"{source.url}/{file}", source.files[file]).read_bytes(), file)
            return
        with tarfile.open(get(source.url, source.archive)) as archive:
            for file in missing:
                # Bytes of the members we name, to a path we choose: the archive has no say in where.
                member = archive.extractfile(f"{source.layout}/{file}")
                content = b"" if member is None else member.read()
                _check(content, source.files[file], f"{source.layout}/{file} of {source.url}")
                put(content, file)


def _verified(source: Source, folder: Path, name: str) -> bytes:
    """Bytes of an official file: those that were checked, should the file change afterwards."""
    path = source.find(folder, name)
    if path is None:
        raise FileNotFoundError(
            f"folder must hold {source.layout}/{name}, {str(folder)!r} does not; download=True fetches it"
        )
    content = path.read_bytes()
    _check(content, source.files[name], str(path))
    return content


def _check(content: bytes, checksum: str, what: str) -> None:
    found = md5(content, usedforsecurity=False).hexdigest()
    if found != checksum:
        raise ChecksumError(f"{what} must be the official file of MD5 {checksum}, it has {found}")


def _idx(content: bytes) -> Images:
    """Array of an idx file: two zeros, 8 for bytes, number of axes, their big-endian lengths, entries."""
    content = gzip.decompress(content)
    if content[:3] != b"\x00\x00\x08":
        raise ValueError(f"an idx file of bytes must begin with 00 00 08, got {content[:3].hex(' ')}")
    axes = content[3]
    shape = np.frombuffer(content, ">u4", axes, 4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape)


def _svhn(content: bytes) -> Split:
    """Split of SVHN from MATLAB's format, images last, the digit 0 labelled 10."""
    from scipy.io import loadmat

    arrays = loadmat(io.BytesIO(content), variable_names=("X", "y"))
    labels = arrays["y"].ravel().astype(np.int64)
    return np.ascontiguousarray(arrays["X"].transpose(3, 2, 0, 1)), labels % 10


def _cifar(content: bytes, key: bytes) -> Split:
    """Split of CIFAR from a pickle of Python 2."""
    batch = _Arrays(io.BytesIO(content), encoding="bytes").load()
    return batch[b"data"].reshape(-1, 3, 32, 32), np.asarray(batch[key], np.int64)


class _Arrays(pickle.Unpickler):
    """Unpickler of dictionaries, lists, numbers, bytes and NumPy arrays; any other name is refused."""

    known = frozenset([("numpy.core.multiarray", "_reconstruct"), ("numpy", "ndarray"), ("numpy", "dtype")])

    def find_class(self, module: str, name: str) -> Any:
        """Return what a pickled array asks for."""
        if (module, name) not in self.known:
            raise pickle.UnpicklingError(
                f"a pickle of CIFAR must hold NumPy arrays only, it asks for {module}.{name}"
            )
        return super().find_class(module, name)
