"""A study's own analysis: a Python file in the folder of its specification, which names it.

::

    from boltzwalk.study.analysis import Analysis
    from boltzwalk.study.answers import answer

    def analyse(study, outcomes):
        failed = sum(outcome.failed for outcome in outcomes)
        return Analysis({"Claims": [answer("1", "no trial fails", not failed, f"{failed} fail")]})

`boltzwalk study FILE.yaml` runs it. A folder of results keeps its path and digest only, and no
command runs an analysis from there: `boltzwalk study report FOLDER --analysis FILE` gives it again.
"""

from __future__ import annotations

import hashlib
import importlib
import sys
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

from ..reporting.html import Section
from .answers import Answer, Sheet
from .outcome import Outcome
from .spec import Study
from .storage import AnalysisRecord

__all__ = ["Analyse", "Analysis", "LoadedAnalysis", "load_analysis", "run_analysis"]


@dataclass(frozen=True)
class Analysis:
    """The conclusions of an analysis.

    Attributes:
        answers: Answers by heading; those under the first heading are printed, and lead the page.
        sheets: Further tables by the name of their CSV file; each is a section of the page.
        sections: Further sections of the page, such as figures.
    """

    answers: Mapping[str, Sequence[Answer]] = field(default_factory=dict)
    sheets: Mapping[str, Sheet] = field(default_factory=dict)
    sections: Sequence[Section] = ()


class Analyse(Protocol):
    """The function `analyse` of an analysis file."""

    def __call__(self, study: Study, outcomes: Sequence[Outcome], /) -> Analysis:
        """Returns the conclusions from the outcomes of a study."""


class LoadedAnalysis(NamedTuple):
    """The function of an analysis file, and where the file lies."""

    analyse: Analyse
    record: AnalysisRecord


def load_analysis(path: Path) -> LoadedAnalysis:
    """Runs an analysis file, which may import its neighbours relatively, and returns its function.

    The digest is that of all files that were run.

    Arguments:
        path: The file.

    Raises:
        ValueError: If there is no such file, it has no plain name, or no function `analyse`.
    """
    if path.suffix != ".py" or not path.stem.isidentifier() or not path.is_file():
        raise ValueError(f"the analysis must be a Python file (analysis.py), got no file {path}")
    path = path.resolve()
    name = f"boltzwalk_analysis_{hashlib.sha256(str(path.parent).encode()).hexdigest()[:8]}"
    for key in [key for key in sys.modules if key.partition(".")[0] == name]:
        del sys.modules[key]  # the files may have changed
    package = types.ModuleType(name)
    package.__path__ = [str(path.parent)]
    sys.modules[name] = package
    importlib.invalidate_caches()
    module = importlib.import_module(f"{name}.{path.stem}")
    if not callable(getattr(module, "analyse", None)):
        raise ValueError(
            f"{path} must define analyse(study, outcomes), which returns a "
            "boltzwalk.study.analysis.Analysis"
        )
    files = {m.__file__ for key, m in sys.modules.items() if key.startswith(f"{name}.")}
    content = b"".join(Path(file).read_bytes() for file in sorted(filter(None, files)))
    return LoadedAnalysis(
        module.analyse, AnalysisRecord(str(path), hashlib.sha256(content).hexdigest())
    )


def run_analysis(loaded: LoadedAnalysis, study: Study, outcomes: Sequence[Outcome]) -> Analysis:
    """Returns the conclusions of an analysis.

    Arguments:
        loaded: The analysis.
        study: The study.
        outcomes: Its outcomes.

    Raises:
        ValueError: If it returns something else.
    """
    analysis = loaded.analyse(study, outcomes)
    if not isinstance(analysis, Analysis):
        raise ValueError(
            f"analyse of {loaded.record.path} must return an Analysis, got {analysis!r}; see "
            "boltzwalk.study.analysis"
        )
    return analysis
