"""The folder of a study, which all of its workers share.

::

    studies/NAME/
      study.yaml        what is asked; `boltzwalk study` takes it back
      trials/HASH/      one ordinary run each
      claims/           who works on what
      proposed/         the points that a sampler has proposed, in the order of their numbers
      results/HASH.json what became of a trial; written once
      journal.log       what the sampler knows, where there is one
      report.html, *.csv
"""

from __future__ import annotations

from pathlib import Path

from ..train.checkpoint import write_atomically
from .spec import Study, from_yaml, to_yaml, unlike

__all__ = ["claims", "open_study", "prepare", "results", "trial_folder"]


def claims(folder: Path) -> Path:
    """Returns where the claims of a study are.

    Arguments:
        folder: The folder of the study.
    """
    return folder / "claims"


def results(folder: Path) -> Path:
    """Returns where the results of a study are.

    Arguments:
        folder: The folder of the study.
    """
    return folder / "results"


def trial_folder(folder: Path, name: str) -> Path:
    """Returns the run folder of a trial.

    Arguments:
        folder: The folder of the study.
        name: The name of the trial.
    """
    return folder / "trials" / name


def prepare(folder: Path, study: Study) -> None:
    """Makes the folder of a study, or checks that the one there is of the same.

    Arguments:
        folder: The folder.
        study: The study.

    Raises:
        ValueError: If it holds another study, or something else.
    """
    path = folder / "study.yaml"
    if path.exists():
        changed = unlike(from_yaml(path.read_text(), source=path), study)
        if changed:
            raise ValueError(
                f"{folder} holds another study ({'; '.join(changed[:4])}); take another folder "
                "with --name"
            )
        return
    if folder.is_dir() and any(p for p in folder.iterdir() if not p.name.startswith(".")):
        raise ValueError(f"{folder} must be empty or hold a study; take another with --name")
    write_atomically(path, to_yaml(study).encode())


def open_study(folder: Path) -> Study:
    """Returns the study of a folder.

    Arguments:
        folder: The folder.

    Raises:
        FileNotFoundError: If it holds no study.
    """
    path = folder / "study.yaml"
    if not path.is_file():
        raise FileNotFoundError(
            f"a study folder must hold study.yaml, found none in {folder}; studies are made by "
            "`boltzwalk study SPEC`"
        )
    return from_yaml(path.read_text(), source=path)
