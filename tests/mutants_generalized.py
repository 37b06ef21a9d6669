"""The mutants of energies relative to a base, of latent chains, and of densities that are known.

See `mutate.py`, which reads these tables.
"""

OBJECTIVES = {
    "methods/bounds.py": (
        ("A without the mean", " - math.log(len(energy))", ""),
        (
            "A of the other sign",
            "torch.logsumexp(-energy.double(), 0)",
            "torch.logsumexp(energy.double(), 0)",
        ),
        ("A in single precision", "-energy.double(), 0", "-energy, 0"),
        ("kale without its one", "return 1 - data", "return -data"),
        (
            "kale: c twice",
            "torch.exp(log_partition(base) - c)",
            "torch.exp(log_partition(base) - 2 * c)",
        ),
        ("kale: the energy teaches c", "-kale(data, base, c.detach())", "-kale(data, base, c)"),
        (
            "gan: critic upside down",
            "functional.softplus(data).mean() + functional.softplus(-base)",
            "functional.softplus(-data).mean() + functional.softplus(base)",
        ),
        ("hinge without its margin", "functional.relu(1 + data)", "functional.relu(data)"),
        (
            "base: runs from the energy",
            "    return -log_partition(base)\n",
            "    return log_partition(base)\n",
        ),
        ("base: never weighs", 'if objective == "hinge" or not reweight:', "if True:"),
        (
            "base: always weighs",
            'if objective == "hinge" or not reweight:',
            'if objective == "hinge":',
        ),
        (
            "c: the slope that explodes",
            "torch.expm1(c.detach() - estimate.detach())",
            "-torch.expm1(estimate.detach() - c.detach())",
        ),
        ("c: away from the estimate", "(c - c.detach()) * slope", "(c.detach() - c) * slope"),
        ("generator: no slope", "(slope * (y - y.detach()))", "(slope * (y - y))"),
    ),
    "methods/turns.py": (
        (
            "turns: the base at once",
            "int(state.energy_steps) >= needed",
            "int(state.energy_steps) >= needed - 1",
        ),
        ("turns: long for one base step", "made < 2 or", "made < 1 or"),
        ("turns: long for three base steps", "made < 2 or", "made < 3 or"),
        ("turns: never long again", "made < 2 or made % own.refresh_every == 0", "made < 2"),
        (
            "turns: the count goes on",
            "Turn(nothing, state.base_steps + 1)",
            "Turn(state.energy_steps, state.base_steps + 1)",
        ),
        (
            "turns: base steps are not counted",
            "Turn(nothing, state.base_steps + 1)",
            "Turn(nothing, state.base_steps)",
        ),
        (
            "turns: learns what it should not",
            'return own.learns == "base"',
            'return own.learns != "base"',
        ),
        (
            "turns: fewer base samples",
            "self._drawn(len(data) * own.noise_factor, rng)",
            "self._drawn(len(data), rng)",
        ),
        (
            "turns: the penalty at the data alone",
            "share * data[:n] + (1 - share) * y[:n]",
            "data[:n]",
        ),
        (
            "turns: the penalty is not squared",
            "loss + own.gradient_penalty * slopes.square().mean()",
            "loss + own.gradient_penalty * slopes.mean()",
        ),
        (
            "turns: the penalty of the parameters has no factor",
            "loss + own.parameter_penalty * squares",
            "loss + squares",
        ),
        ("turns: no floor", "torch.relu(e(x) - low) + low", "e(x)"),
        (
            "turns: relative is not relative",
            "ShiftedEnergy(energy, self.base, 1)",
            "ShiftedEnergy(energy, self.base, -1)",
        ),
        (
            "turns: the own energy is the relative one",
            "return ShiftedEnergy(self.relative(energy), self.base, -1)",
            "return self.relative(energy)",
        ),
        (
            "turns: a base that leaves the data alone",
            "loss = loss - at_data.double().mean()",
            "pass",
        ),
        (
            "turns: c starts at zero",
            "self.log_partition.copy_(bounds.log_partition(torch.cat(found)))",
            "pass",
        ),
        (
            "turns: the estimate of the data",
            "estimate = bounds.log_partition(at_base)",
            "estimate = bounds.log_partition(at_data)",
        ),
        ("turns: the sample size is not a share", "size / len(at_base)", "size"),
        ("turns: squashed the wrong way", "2 * g / (1 + g.square())", "2 * g * (1 + g.square())"),
        (
            "turns: the base keeps the gradient",
            "parameter.requires_grad_(False)",
            "parameter.requires_grad_(True)",
        ),
        ("turns: the base is frozen for ever", "parameter.requires_grad_(True)\n", "pass\n"),
        (
            "turns: the steps of the call are ignored",
            "steps or self.settings.sample_steps",
            "self.settings.sample_steps",
        ),
        (
            "turns: beta is ignored",
            "own.kernel, own.inverse_temperature, rng",
            "own.kernel, 1.0, rng",
        ),
        (
            "turns: gradients of a base update alone",
            "-(-(own.energy_steps * of_energy + of_base) // (own.energy_steps + 1))",
            "of_base",
        ),
    ),
    "methods/likelihood.py": (
        ("likelihood without log Z", "loss = u + log_z", "loss = u"),
        ("likelihood: log Z of the other sign", "loss = u + log_z", "loss = u - log_z"),
        ("likelihood: data without noise", "data + self.data_noise * noise", "data"),
        ("likelihood: the steps of the call are ignored", "steps or self.steps", "self.steps"),
    ),
}

BASES = {
    "bases/relative.py": (
        ("shifted: the sign is lost", "self.sign * self.base", "self.base"),
        ("shifted: any base", "if not isinstance(base, HasDensity):", "if False:"),
    ),
    "bases/latent.py": (
        ("latent: the prior is half as wide", "z.square().sum(1) / 2 if", "z.square().sum(1) if"),
        ("latent: the prior always", " if self.prior else z.new_zeros(len(z))", ""),
        (
            "latent: beta on nothing",
            "u + self.inverse_temperature * self.energy(x)",
            "u + self.energy(x)",
        ),
        (
            "latent: no misfit",
            "return u if self.misfit is None else u + self.misfit(x)",
            "return u",
        ),
        ("latent: any beta", "if not inverse_temperature >= 0:", "if False:"),
    ),
    "bases/flow.py": (
        ("flow: the map the other way", "self.flow.transform().inv(z)", "self.flow.transform()(z)"),
        ("flow: a seed for all", "manual_seed(rng_seed)", "manual_seed(0)"),
        ("flow: events of any size", "1 <= entries <= MAX_ENTRIES", "True"),
        ("flow: maf is realnvp", "zuko.flows.MAF(entries", "zuko.flows.RealNVP(entries"),
        ("flow: spline passes", "passes=2", "passes=1"),
    ),
    "bases/flow_energy.py": (
        ("flow energy: log Z of the other sign", "return -torch.stack(", "return torch.stack("),
        (
            "flow energy: shifted the wrong way",
            "(x) - self.log_partition()",
            "(x) + self.log_partition()",
        ),
        ("flow energy: sums for means", "tensor.abs().mean()", "tensor.abs().sum()"),
    ),
}

CHAINS = {
    "methods/latents.py": (
        ("decay: the first block as well", "decay.factor**-block", "decay.factor ** -(block + 1)"),
        ("decay: the step grows", "decay.factor**-block", "decay.factor**block"),
        (
            "decay: looks begin a new block",
            "block = done // decay.every",
            "block = (done - begun) // decay.every",
        ),
        ("shortened: time as if it were a step", "math.sqrt(factor) if", "factor if"),
        (
            "transport with a prior",
            "1 / max(steepest, 1e-30), prior=False",
            "1 / max(steepest, 1e-30), prior=True",
        ),
        ("transport: not over the steepest slope", "1 / max(steepest, 1e-30)", "1.0"),
        ("transport: the mean slope", "slopes.max()", "slopes.mean()"),
        ("resampled: the weights upside down", "log_w = -energy", "log_w = energy"),
        (
            "resampled: beta is ignored",
            "-energy.inverse_temperature * energy.energy(x)",
            "-energy.energy(x)",
        ),
        ("resampled: each once", "n, True, generator", "n, False, generator"),
    ),
    "kernels/transport.py": (
        ("transport: forgets its start", "memory=(start,)", "memory=(walkers.x,)"),
        (
            "transport: the way is free",
            "grad = walkers.grad + offset / _per_event(event_sum(offset.square()).sqrt(), offset)",
            "grad = walkers.grad",
        ),
        (
            "transport: the way is not a direction",
            "offset / _per_event(event_sum(offset.square()).sqrt(), offset)",
            "way",
        ),
        ("transport: leaves its sphere", "if self.sphere:", "if False:"),
        ("transport: always on a sphere", "if self.sphere:", "if True:"),
        ("transport: uphill", "alpha=-self.step_size", "alpha=self.step_size"),
    ),
}

TABLES = {file: rows for table in (OBJECTIVES, BASES, CHAINS) for file, rows in table.items()}

LEARNT = (
    "methods/test_bounds.py",
    "methods/test_generalized.py",
    "methods/test_latents.py",
    "train/test_run_generalized.py",
)

TESTS = {
    "methods/bounds.py": LEARNT,
    "methods/turns.py": ("methods/test_generalized.py", *LEARNT),
    "methods/latents.py": ("methods/test_latents.py", *LEARNT),
    "methods/likelihood.py": ("methods/test_likelihood.py",),
    "bases/relative.py": ("methods/test_generalized.py", *LEARNT),
    "bases/latent.py": ("methods/test_latents.py", "completion/test_completion_runs.py"),
    "bases/flow.py": ("bases/test_bases_flow.py",),
    "bases/flow_energy.py": ("bases/test_bases_flow_energy.py",),
    "kernels/transport.py": ("kernels/test_kernels_transport.py",),
}
