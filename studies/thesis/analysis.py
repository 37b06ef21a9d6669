"""The analysis of the thesis' studies: four claims, three laws, seven published claims."""

from __future__ import annotations

from collections.abc import Sequence

from boltzwalk.study.analysis import Analysis
from boltzwalk.study.outcome import Outcome
from boltzwalk.study.spec import Study

from .claims import four_claims
from .laws import checked_laws
from .rules import published_rules

__all__ = ["analyse"]


def analyse(study: Study, outcomes: Sequence[Outcome]) -> Analysis:
    """Returns the answers to all claims.

    Arguments:
        study: The study.
        outcomes: Its outcomes.
    """
    return Analysis(
        {
            "The claims of the thesis": four_claims(study, outcomes),
            "Laws": checked_laws(outcomes),
            "Published claims by their pass rules": published_rules(outcomes),
        }
    )
