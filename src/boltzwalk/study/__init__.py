"""Many runs, one map: which settings work, and why."""
