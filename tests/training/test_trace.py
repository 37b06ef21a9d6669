"""The trace has one value for each update, under its own name, however often it is written."""

import numpy as np
import torch

from boltzwalk.training.folder import Recorder, read_rows, read_trace


def info(gap, **more):
    return {"loss": torch.tensor(9.0), "energy_gap": torch.tensor(gap), **more}


def test_what_was_added_is_read(tmp_path):
    recorder = Recorder(tmp_path / "trace.jsonl")
    for update in range(3):
        recorder.add(info(update / 4, gradient_mean=torch.tensor(10.0 + update)))
    recorder.write(3)
    recorder.write(3)  # there is nothing new
    recorder.add(info(-1.0, gradient_mean=torch.tensor(7.0, dtype=torch.float64)))
    recorder.write(4)
    assert read_rows(tmp_path / "trace.jsonl") == [
        {"update": 3, "energy_gap": [0.0, 0.25, 0.5], "gradient_mean": [10.0, 11.0, 12.0]},
        {"update": 4, "energy_gap": [-1.0], "gradient_mean": [7.0]},
    ]
    trace = read_trace(tmp_path)
    assert trace.energy_gap.tolist() == [0.0, 0.25, 0.5, -1.0]
    assert trace.gradient_mean.tolist() == [10.0, 11.0, 12.0, 7.0]


def test_what_a_method_does_not_say_is_nan(tmp_path):
    recorder = Recorder(tmp_path / "trace.jsonl")
    recorder.add(info(2.0))
    recorder.write(1)
    trace = read_trace(tmp_path)
    assert trace.energy_gap.tolist() == [2.0]
    assert np.isnan(trace.gradient_mean).tolist() == [True]


def test_without_a_trace_there_are_no_values(tmp_path):
    trace = read_trace(tmp_path)
    assert len(trace.energy_gap) == len(trace.gradient_mean) == 0
