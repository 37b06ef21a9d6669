"""Data sources: frozen settings, whose fields are the command line, and the tensors they load.

Every settings class has one method, ``load() -> Dataset``. Images come in [-1, 1] with shape
(N, channels, height, width), tables and toys as (N, columns).

| settings                   | data                                                             |
|----------------------------|------------------------------------------------------------------|
| `Digits`                   | 1,797 digits of 8x8 pixels, bundled with scikit-learn            |
| `Mnist`, `FashionMnist`    | 70,000 grey images of 28x28 pixels                               |
| `Cifar10`                  | 60,000 colour images of 32x32 pixels                             |
| `Table`                    | your table: .csv, .tsv, .txt, .npy, .npz, .parquet, .xlsx        |
| `Uci`                      | the density-estimation tables of UCI: wines, Parkinsons          |
| `Images`                   | your images: a folder of files, or one .npy or .npz              |
| `Toy`                      | one of six densities in the plane with a known log-density       |
| `Modes`                    | separate Gaussian modes in many dimensions, in exact proportions |
"""

from .cifar import Cifar10
from .dataset import Dataset
from .digits import Digits
from .images import Images
from .in_memory import InMemory
from .mnist import FashionMnist, Mnist
from .modes import Modes
from .rows import Batch
from .tables import Table
from .toy import Toy
from .uci import Uci

__all__ = [
    "Batch",
    "Cifar10",
    "Dataset",
    "Digits",
    "FashionMnist",
    "Images",
    "InMemory",
    "Mnist",
    "Modes",
    "Table",
    "Toy",
    "Uci",
]
