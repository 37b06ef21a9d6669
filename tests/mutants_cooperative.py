"""The mutants of what learns together with a network that proposes, and of what its codes give.

See `mutate.py`, which reads these tables.
"""

BASES = {
    "bases/posterior.py": (
        ("posterior: no prior", "z.square().sum(1) / 2 + misfit", "misfit"),
        (
            "posterior: a mean over pixels",
            ".flatten(1).square().sum(1)",
            ".flatten(1).square().mean(1)",
        ),
        ("posterior: sigma without the square", "/ (2 * sigma**2)", "/ (2 * sigma)"),
        ("posterior: divided by the chains", "/ (2 * sigma**2)", "/ (2 * sigma**2) / len(x)"),
        ("posterior: any shape", "if decoded.shape != x.shape:", "if False:"),
    ),
    "bases/learning.py": (
        ("learning: never off again", "layer.training = mode", "layer.training = True"),
        (
            "learning: batch statistics stay off",
            "layer.training = True\n            if",
            "layer.training = False\n            if",
        ),
        ("learning: dropout without its share", "/ (1 - self.p)", ""),
        ("learning: the source of noise stays", "layer.rng = previous", "layer.rng = rng"),
        ("settle: a tenth of the way", "layer.momentum = None", "layer.momentum = 0.1"),
        ("settle: the momentum is lost", "layer.momentum = momentum", "pass"),
    ),
    "bases/variational.py": (
        (
            "vae: the divergence the other way",
            "-(1 + 2 * log_std - mean.square()",
            "(1 + 2 * log_std - mean.square()",
        ),
        (
            "vae: no half of the divergence",
            ".exp()).sum(1) / 2\n    loss",
            ".exp()).sum(1)\n    loss",
        ),
        (
            "vae: a mean over pixels",
            "errors = (decoded - x).flatten(1).square().sum(1)",
            "errors = (decoded - x).flatten(1).square().mean(1)",
        ),
        ("vae: gradients reach the events", "x = x.detach()\n    mean", "mean"),
        (
            "vae: gamma on the wrong part",
            "(errors + gamma * divergences)",
            "(gamma * errors + divergences)",
        ),
        (
            "active: the first rows alone",
            "for part in x.split(CHUNK)",
            "for part in x[:CHUNK].split(CHUNK)",
        ),
        ("gamma: deviations", ".double().var(0).sum()", ".double().std(0).sum()"),
        ("gamma: a mean over pixels", ".double().var(0).sum()", ".double().var(0).mean()"),
    ),
}

METHODS = {
    "methods/revision.py": (
        (
            "revision: nothing is revised",
            "run_chain(kernel, u, walkers_at(u, proposed), steps, rng)",
            "run_chain(kernel, u, walkers_at(u, proposed), 1, rng)",
        ),
        (
            "revision: visible entries wander",
            "walkers = replace(walkers, x=clamp_observed(walkers.x, c))",
            "pass",
        ),
        ("revision: conditions of the first part", "c[begun : begun + size]", "c[:size]"),
        (
            "revision: the gap has another sign",
            "u_data.mean() - u_walkers.mean()",
            "u_walkers.mean() - u_data.mean()",
        ),
        ("revision: parts are too many", "min(AT_ONCE, n - begun)", "AT_ONCE"),
    ),
    "methods/teaching.py": (
        ("teaching: the energy alone", "return gap + loss, None", "return gap, None"),
        ("teaching: the network alone", "return gap + loss, None", "return loss, None"),
        ("teaching: clean data", "noisy = x + own.data_noise * noise", "noisy = x"),
        ("teaching: as many walkers as data", "own.walkers or len(x)", "len(x)"),
        (
            "teaching: walkers are told of other rows",
            "torch.arange(n, device=c.device) % len(c)",
            "torch.arange(n, device=c.device).flip(0) % len(c)",
        ),
        (
            "teaching: data are told of walkers' rows",
            "conditioned_on(energy, c)(noisy), conditioned_on(energy, theirs)",
            "conditioned_on(energy, None if c is None else c.roll(1, 0))(noisy), "
            "conditioned_on(energy, theirs)",
        ),
        ("teaching: data teach at all times", 'if own.teacher == "data"', "if True"),
        ("teaching: data never teach", 'if own.teacher == "data"', "if False"),
        ("teaching: the rate of the energy", '"lr": self.settings.base_rate', '"lr": 1e-3'),
        (
            "teaching: steps of training at all times",
            "steps or own.sample_steps or own.steps",
            "own.steps",
        ),
        (
            "teaching: sample_steps before steps",
            "steps or own.sample_steps or own.steps",
            "own.sample_steps or steps or own.steps",
        ),
        (
            "teaching: the gradients of the data",
            "(own.walkers or batch) * (1 + own.steps",
            "batch * (1 + own.steps",
        ),
    ),
    "methods/cooperative.py": (
        ("cooperative: the latent variables stay", "if self.latent_steps:", "if False:"),
        (
            "cooperative: sigma without the square",
            "misfit / (2 * self.sigma**2)",
            "misfit / (2 * self.sigma)",
        ),
        (
            "cooperative: a mean over pixels",
            ".flatten(1).square().sum(1).mean()",
            ".flatten(1).square().mean(1).mean()",
        ),
        ("cooperative: running statistics", "with batch_statistics(base, rng):", "if True:"),
    ),
    "methods/variational.py": (
        (
            "variational: gamma is that of CIFAR",
            "self.gamma or default_gamma(unknown)",
            "self.gamma or 2.0",
        ),
        (
            "variational: gamma is always the rule",
            "self.gamma or default_gamma(unknown)",
            "default_gamma(unknown)",
        ),
        ("variational: running statistics", "with batch_statistics(base, rng):", "if True:"),
        (
            "variational: gamma of all entries",
            "given.resolved(data), given.unknown(data)",
            "given.resolved(data), data.x if isinstance(data, Labelled) else data",
        ),
    ),
    "energies/conditional.py": (
        (
            "conditional: hidden entries are held",
            "torch.where(c[:, -1:] > 0, x, c[:, :-1])",
            "torch.where(c[:, -1:] > 0, c[:, :-1], x)",
        ),
        (
            "conditional: nothing is held",
            "self.network(concat_condition(clamp_observed(x, c), c, self.flat))",
            "self.network(concat_condition(x, c, self.flat))",
        ),
        ("conditional: one condition for all", "if len(c) != len(x):", "if False:"),
        (
            "conditional: the condition is ignored",
            "torch.cat([x.flatten(1), c.flatten(1)], 1)",
            "torch.cat([x.flatten(1), 0 * c.flatten(1)], 1)",
        ),
    ),
    "bases/conditional.py": (
        (
            "conditional base: z alone is decoded",
            "torch.cat([z, self.base.summary(self.c)], 1)",
            "torch.cat([z, 0 * self.base.summary(self.c)], 1)",
        ),
        (
            "conditional base: visible entries are made up",
            "return clamp_observed(x, self.c)",
            "return x",
        ),
        (
            "conditional base: the encoder sees hidden ones only",
            "concat_condition(clamp_observed(x, self.c), self.c, self.base.flat)",
            "concat_condition(x, self.c, self.base.flat)",
        ),
    ),
}

CODES = {
    "completion/short_run.py": (
        ("short run: the graph of z is cut", "create_graph=graph", "create_graph=False"),
        (
            "short run: new noise at every call",
            "manual_seed(self.seed)",
            "manual_seed(int(torch.randint(9999, ())))",
        ),
        (
            "short run: noise of half the variance",
            "(2 * kernel.step_size * kernel.temperature)",
            "(kernel.step_size * kernel.temperature)",
        ),
        (
            "short run: the clip is left out",
            "grad = grad.clamp(-kernel.gradient_clip, kernel.gradient_clip)",
            "pass",
        ),
        ("short run: no box", "x = x if kernel.box is None else x.clamp(*kernel.box)", "pass"),
        ("short run: uphill", "x = x - kernel.step_size * grad", "x = x + kernel.step_size * grad"),
        ("short run: momentum allowed", "and self.kernel.momentum == 0", ""),
        (
            "noise: the last code, not the best",
            "better = loss.detach() < lowest",
            "better = torch.ones_like(lowest, dtype=torch.bool)",
        ),
        (
            "noise: rows are judged together",
            "better = loss.detach() < lowest",
            "better = (loss.detach().sum() < lowest.sum()).expand_as(lowest)",
        ),
        (
            "noise: infinite losses are gone on with",
            "if update == 0 and not bool(loss.isfinite().all()):",
            "if False:",
        ),
        ("noise: the start moves", "z = start.detach().clone()", "z = start.detach()"),
    ),
    "completion/codes.py": (
        ("codes: a straight line", "if float(angle.sin()) < 1e-3:", "if True:"),
        (
            "codes: the way back",
            "(1 - t) * angle).sin() * a + (t * angle).sin() * b",
            "(1 - t) * angle).sin() * b + (t * angle).sin() * a",
        ),
        ("codes: no ends", "torch.linspace(0, 1, n,", "torch.linspace(0.1, 0.9, n,"),
        (
            "codes: partners are mixed",
            "codes.encode(torch.cat([a, b]), rng).chunk(2)",
            "codes.encode(torch.cat([b, a]), rng).chunk(2)",
        ),
        (
            "codes: the length of chains is ignored",
            "steps or settings.steps, seed",
            "settings.steps, seed",
        ),
        (
            "codes: the seed is ignored",
            "steps or settings.steps, seed",
            "steps or settings.steps, 0",
        ),
        ("codes: chains that go on", "isinstance(settings.start, NoiseStart)", "True"),
        (
            "codes: nothing is revised",
            "return move(run, walkers_at(run.model, x), steps or run.settings.method.steps, rng).x",
            "return x",
        ),
    ),
    "completion/latent.py": (
        (
            "latent: hidden entries count",
            "posterior_energy(lambda z: free.visible(base.decode(z)), free.visible(x), sigma)",
            "posterior_energy(base.decode, x, sigma)",
        ),
        (
            "latent: gamma is the variance",
            "math.sqrt(settings.gamma / 2)",
            "math.sqrt(settings.gamma)",
        ),
    ),
    "diagnostics/latent.py": (
        ("collapse: the whole run", "rows[-max(1, len(rows) // 4) :]", "rows"),
        ("collapse: the last row alone", "rows[-max(1, len(rows) // 4) :]", "rows[-1:]"),
        ("collapse: a single zero", "if active == 0:", "if min(last) == 0:"),
    ),
}

TABLES = {**BASES, **METHODS, **CODES}

TAUGHT = (
    "methods/test_condition.py",
    "methods/test_variational.py",
    "methods/test_cooperative.py",
    "methods/test_revision.py",
    "train/test_run_conditional.py",
)

TESTS = {
    "methods/revision.py": ("methods/test_revision.py", *TAUGHT),
    "methods/teaching.py": TAUGHT,
    "methods/cooperative.py": ("methods/test_cooperative.py", *TAUGHT),
    "methods/variational.py": ("methods/test_variational.py", *TAUGHT),
    "energies/conditional.py": TAUGHT,
    "bases/conditional.py": TAUGHT,
    "bases/posterior.py": ("bases/test_bases_posterior.py",),
    "bases/learning.py": ("bases/test_bases_learning.py",),
    "bases/variational.py": ("bases/test_bases_variational.py",),
    "completion/short_run.py": ("completion/test_completion_codes.py",),
    "completion/codes.py": ("completion/test_completion_codes.py",),
    "completion/latent.py": ("completion/test_completion_runs.py",),
    "diagnostics/latent.py": ("diagnostics/test_latent_use.py",),
}
