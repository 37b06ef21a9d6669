"""When a learnt log-partition is trusted."""

import pytest

from boltzwalk.diagnostics.findings import partition_findings


def rows(off=0.01, ess=0.6, n=80):
    return [
        {"log_partition": 2.0 + off, "log_partition_estimate": 2.0, "ess": ess, "kale": 0.3}
        for _ in range(n)
    ]


def test_a_c_that_agrees_is_trusted():
    (finding,) = partition_findings(rows())
    assert finding.text == "c 2.01, off +0.01"
    assert finding.meaning == "KALE 0.3 nats; 60% of the base samples are effective"


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"off": -5.6}, "off the estimate of a batch by more than 0.5"),
        ({"off": 0.7}, "off the estimate of a batch by more than 0.5"),
        ({"off": float("nan")}, "off the estimate"),
        ({"ess": 0.004}, "0.4% of the base samples are effective"),
    ],
)
def test_others_are_not(wrong, why):
    (finding,) = partition_findings(rows(**wrong))
    assert finding.meaning.startswith("not to be trusted")
    assert why in finding.meaning


def test_what_counts_is_the_end_and_not_one_row():
    assert "trusted" not in partition_findings([*rows(-9.0), *rows()])[0].meaning
    assert "trusted" not in partition_findings([*rows(), *rows(-9.0, n=5)])[0].meaning
    assert "trusted" in partition_findings([*rows(), *rows(-9.0)])[0].meaning


def test_a_run_without_a_c_says_nothing():
    assert partition_findings([]) == []
    assert partition_findings([{"energy_gap": 1.0}]) == []
