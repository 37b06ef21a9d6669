"""How a run goes: its settings, the loop, checkpoints that resume exactly, the run folder."""
