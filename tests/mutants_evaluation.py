"""The mutants of what judges a run: metrics, diagnostics, the parts of an evaluation, its pages.

See `mutate.py`, which reads these tables.
"""

# ruff: noqa: E501 (a table of code)

METRICS = {
    "metrics/frechet.py": (
        ("frechet: half of the cross term", "b.trace() - 2 * cross", "b.trace() - cross"),
        (
            "frechet: one trace twice",
            "means + a.trace() + b.trace()",
            "means + a.trace() + a.trace()",
        ),
        (
            "frechet: the distance of means, not its square",
            ".square().sum()\n    return",
            ".square().sum().sqrt()\n    return",
        ),
        (
            "frechet: no root of the eigenvalues",
            "values.clamp(min=0).sqrt()) @",
            "values.clamp(min=0)) @",
        ),
        (
            "frechet: negative eigenvalues",
            "eigvalsh(root @ b @ root).clamp(min=0).sqrt()",
            "eigvalsh(root @ b @ root).sqrt()",
        ),
        (
            "frechet: covariance without weights",
            "torch.cov(a.T, aweights=weights)",
            "torch.cov(a.T)",
        ),
        ("frechet: mean without weights", "weights @ a,", "a.mean(0),"),
        (
            "frechet: as many rows as features",
            "if len(values) < needed:",
            "if len(values) < needed - 1:",
        ),
        (
            "frechet: effective rows not asked for",
            "sample_weights(share, a, least=needed)",
            "sample_weights(share, a)",
        ),
    ),
    "metrics/mean_discrepancy.py": (
        (
            "mmd: half of the cross term",
            "return within - 2 * _sum_over_pairs",
            "return within - _sum_over_pairs",
        ),
        ("mmd: pairs with itself are in", "return (total - itself) / (1 -", "return total / (1 -"),
        (
            "mmd: weights of pairs that are left out",
            "(1 - float(w.square().sum())) if unbiased",
            "1.0 if unbiased",
        ),
        (
            "mmd: blocks above the diagonal once",
            "total += 2 * _sum_over_pairs",
            "total += _sum_over_pairs",
        ),
        (
            "mmd: unbiased always",
            "_mean_within(kernel, x, w, unbiased) + _mean_within(kernel, y, v, unbiased)",
            "_mean_within(kernel, x, w, True) + _mean_within(kernel, y, v, True)",
        ),
        (
            "mmd: samples without weight give a bandwidth",
            "x, w, y = x[w > 0].double(), w[w > 0], y.double()",
            "x, w, y = x.double(), w, y.double()",
        ),
        (
            "mmd: error of independent subsets",
            "math.sqrt(1 / subsets + taken / (1 - taken))",
            "math.sqrt(1 / subsets)",
        ),
        (
            "mmd: share of the larger side",
            "taken = size / fewer",
            "taken = size / max(len(x), len(y))",
        ),
        (
            "mmd: subsets with replacement",
            "torch.randperm(len(x), generator=rng, device=rng.device)[:size]",
            "torch.randint(len(x), (size,), generator=rng, device=rng.device)",
        ),
        (
            "mmd: one subset of both sides",
            "a, b = (rows[_drawn(rows, size, rng)] for rows in (x, y))",
            "a, b = x[:size], y[:size]",
        ),
        ("mmd: splits with pairs of a row with itself", "    k.fill_diagonal_(0)\n", ""),
        ("mmd: the given split is random too", "    order[0] = torch.arange(n + m)\n", ""),
        (
            "mmd: more, not as much",
            "(values >= values[0] - rounding)",
            "(values > values[0] + rounding)",
        ),
        (
            "mmd: splits, the other side with pairs across",
            "k.sum() - 2 * touched + within",
            "k.sum() - touched + within",
        ),
    ),
    "metrics/similarity.py": (
        ("similarity: Gaussian without the half", "mul_(-0.5 / _given", "mul_(-1.0 / _given"),
        ("similarity: scales not squared", "(exponent / scale**2)", "(exponent / scale)"),
        ("similarity: sum over scales", "return values.div_(len(self.scales))", "return values"),
        (
            "similarity: Laplacian of the square",
            "squared_distances(x, y).sqrt_().div_(-_given(self.bandwidth))",
            "squared_distances(x, y).div_(-_given(self.bandwidth))",
        ),
        (
            "similarity: multiquadric, bandwidth not squared",
            "div_(_given(self.bandwidth) ** 2).add_(1).rsqrt_()",
            "div_(_given(self.bandwidth)).add_(1).rsqrt_()",
        ),
        (
            "similarity: polynomial without the dimension",
            ".div_(x.shape[1]).add_(1).pow_",
            ".add_(1).pow_",
        ),
        (
            "similarity: the bandwidth of one side",
            "torch.cat([_thinned(x, half), _thinned(y, half)])",
            "_thinned(x, half)",
        ),
        (
            "similarity: a given bandwidth is not taken",
            "    if kernel.bandwidth is not None:\n        return kernel\n",
            "",
        ),
        (
            "similarity: equal rows count in the median",
            "distances = distances[distances > 0] if float(distances.sum()) > 0 else distances\n",
            "distances = distances\n",
        ),
        (
            "similarity: mean, not median",
            "float(distances.median()) if",
            "float(distances.mean()) if",
        ),
        (
            "similarity: negative squares",
            ".add_(x.square().sum(1)[:, None]).clamp_(min=0)",
            ".add_(x.square().sum(1)[:, None])",
        ),
        ("similarity: far from the origin", "x, y = x - middle, y - middle", "x, y = x, y"),
    ),
    "metrics/wasserstein.py": (
        (
            "wasserstein: directions of any length",
            "directions = directions / directions.norm(dim=1, keepdim=True)\n",
            "directions = 1 * directions\n",
        ),
        (
            "wasserstein: sliced is squared",
            "return math.sqrt(total / projections)",
            "return total / projections",
        ),
        (
            "wasserstein: steps of equal width",
            "width, at = edges.diff().double() / (n * m), edges[:-1]",
            "width, at = torch.full((len(edges) - 1,), 1 / (len(edges) - 1)).to(x), edges[:-1]",
        ),
        (
            "wasserstein: the right end of a step",
            "(n * m), edges[:-1]",
            "(n * m), (edges[1:] - 0).clamp(max=n * m - 1)",
        ),
        (
            "wasserstein: sizes swapped",
            ".values[:, at // m]",
            ".values[:, (at // n).clamp(max=n - 1)]",
        ),
        (
            "wasserstein: one side not sorted",
            "quantiles_y = (part @ y.T).sort(1).values[:, at // n]",
            "quantiles_y = (part @ y.T)[:, at // n]",
        ),
        ("wasserstein: order 1", "_x - quantiles_y).square() @", "_x - quantiles_y).abs() @"),
        ("wasserstein: the assignment forgotten", "y[torch.from_numpy(columns).to(x.device)]", "y"),
        (
            "wasserstein: the exact one of the mean entry",
            "pairs.square().sum(1).mean()",
            "pairs.square().mean()",
        ),
    ),
    "metrics/stein.py": (
        (
            "stein: the energy's gradient is the score",
            "-grad / temperature, rng",
            "grad / temperature, rng",
        ),
        (
            "stein: score times the temperature",
            "-grad / temperature, rng",
            "-grad * temperature, rng",
        ),
        ("stein: pairs of a row with itself", "        u.diagonal(start).zero_()\n", ""),
        ("stein: the diagonal of the first part", "u.diagonal(start)", "u.diagonal(0)"),
        ("stein: divided by N squared", "total / (n * (n - 1))", "total / n**2"),
        ("stein: coins of 0 and 1", "coin.to(rows) * 2 - 1", "coin.to(rows)"),
        (
            "stein: one sign for a pair",
            "((signs[:, part] @ u) * signs)",
            "((signs[:, part].square() @ u) * signs)",
        ),
        (
            "stein: p without the one",
            "p_value = (1 + as_much) / (1 + bootstraps)",
            "p_value = as_much / bootstraps",
        ),
        (
            "stein: more, not as much",
            "(by_chance >= total - 1e-12 * abs(total))",
            "(by_chance > total + 1e-12 * abs(total))",
        ),
        ("stein: the trace without its last term", "    slope += 3 / base\n", ""),
        ("stein: the dimension forgotten", "[:, None] + x.shape[1] - 3", "[:, None] + 1 - 3"),
        (
            "stein: a slope of the wrong sign",
            ".addmm_(x, t.T, alpha=-1)",
            ".addmm_(x, t.T, alpha=1)",
        ),
        (
            "stein: one power of the base",
            "slope.mul_(root).div_(base).div_(bandwidth**2)",
            "slope.mul_(root).div_(bandwidth**2)",
        ),
        (
            "stein: bandwidth not squared",
            "slope.mul_(root).div_(base).div_(bandwidth**2)",
            "slope.mul_(root).div_(base).div_(bandwidth)",
        ),
    ),
    "metrics/neighbours.py": (
        (
            "neighbours: a row is its own neighbour",
            "        squared[:, start : start + len(part)].fill_diagonal_(torch.inf)\n",
            "",
        ),
        ("neighbours: the diagonal of the first part", "        start += len(part)\n", ""),
        ("neighbours: one neighbour fewer", "squared.topk(k, 1,", "squared.topk(max(k - 1, 1), 1,"),
        (
            "neighbours: recall by the balls of the reference",
            "(squared <= radius[:, None]).any(0)",
            "hits.any(0)",
        ),
        ("neighbours: recall by one ball", "reached |= (squared", "reached = (squared"),
        ("neighbours: coverage of samples", "covered |= hits.any(0)", "covered |= hits.all(0)"),
        (
            "neighbours: density without k",
            "density=within / (k * len(x))",
            "density=within / len(x)",
        ),
        (
            "neighbours: precision per reference row",
            "precision=inside / len(x)",
            "precision=inside / len(y)",
        ),
        (
            "neighbours: recall per sample",
            "recall=int(reached.sum()) / len(y)",
            "recall=int(reached.sum()) / len(x)",
        ),
        (
            "neighbours: rounding empties a ball",
            "_squared_radii(x, k) + slack, _squared_radii(y, k) + slack",
            "_squared_radii(x, k) - slack, _squared_radii(y, k) - slack",
        ),
        ("neighbours: the fast distance believed", "min(CANDIDATES, len(y))", "1"),
        (
            "neighbours: the place among four",
            "found.gather(1, position[:, None])[:, 0]",
            "position",
        ),
        (
            "neighbours: memorisation upside down",
            "_medians(of_samples, resamples, rng) / _medians(of_unseen, resamples, rng)",
            "_medians(of_unseen, resamples, rng) / _medians(of_samples, resamples, rng)",
        ),
        (
            "neighbours: copies within the whole quantile",
            "of_unseen.quantile(0.01) / 2",
            "of_unseen.quantile(0.01)",
        ),
        (
            "neighbours: samples against held-out rows",
            "nearest(samples, training)[0]",
            "nearest(samples, held_out)[0]",
        ),
        ("neighbours: an interval of 90 %", "[0.025, 0.975]", "[0.05, 0.95]"),
    ),
    "metrics/two_sample.py": (
        (
            "two-sample: chance of more, not as many",
            "hypergeom.sf(right - 1,",
            "hypergeom.sf(right,",
        ),
        (
            "two-sample: labels swapped",
            "np.arange(len(fit)) < len(fit) // 2",
            "np.arange(len(fit)) >= len(fit) // 2",
        ),
        (
            "two-sample: judged by what it was fitted on",
            "np.concatenate([x[half:], y[half:]])",
            "np.concatenate([x[:half], y[:half]])",
        ),
        (
            "two-sample: accuracy of the samples alone",
            "(half - called + 2 * right) / (2 * half)",
            "right / half",
        ),
        ("two-sample: right among the reference", "guess[:half].sum()", "guess[half:].sum()"),
        (
            "two-sample: half of the rows in the interval",
            "dtype=torch.float64), 2 * half)",
            "dtype=torch.float64), half)",
        ),
        (
            "two-sample: most of each side",
            "min(len(x), len(y), most // 2) // 2",
            "min(len(x), len(y), most) // 2",
        ),
        (
            "two-sample: not scaled",
            "np.where(constant, np.inf, spread)",
            "np.where(constant, np.inf, 1.0)",
        ),
        (
            "two-sample: the first rows",
            "rows[draw.permutation(len(rows))[: 2 * half]]",
            "rows[: 2 * half]",
        ),
    ),
    "metrics/anomaly.py": (
        (
            "anomaly: area of the inliers",
            "area = float(of_outside.mean())",
            "area = float(of_inside.mean())",
        ),
        ("anomaly: variance of one side", " + float(of_outside.var()) / len(t)", ""),
        (
            "anomaly: sizes swapped",
            "float(of_inside.var()) / len(s)",
            "float(of_inside.var()) / len(t)",
        ),
        (
            "anomaly: ties count whole",
            "return (left + right).double() / (2 * len(values))",
            "return right.double() / len(values)",
        ),
        (
            "anomaly: not on the scale of logits",
            "NORMAL * error / (area * (1 - area))",
            "NORMAL * error",
        ),
        ("anomaly: one-sided bound of 5 %", "0.025 ** (1 / min", "0.05 ** (1 / min"),
        (
            "anomaly: bound of the larger side",
            "(1 / min(len(s), len(t)))",
            "(1 / max(len(s), len(t)))",
        ),
        (
            "anomaly: outliers above the cut are accepted",
            "float((t <= s.sort()",
            "float((t > s.sort()",
        ),
        ("anomaly: a tie is flagged", "float((t <= s.sort()", "float((t < s.sort()"),
        (
            "anomaly: one inlier more accepted",
            ".values[accepted - 1]",
            ".values[accepted % len(s)]",
        ),
        (
            "anomaly: the threshold without the new row",
            "math.floor((len(s) + 1) * false_alarm",
            "math.floor(len(s) * false_alarm",
        ),
        (
            "anomaly: the rank rounded up",
            "math.floor((len(s) + 1) * false_alarm + 1e-9)",
            "math.ceil((len(s) + 1) * false_alarm - 1e-9)",
        ),
        (
            "anomaly: percentile of what is as low",
            "torch.searchsorted(s.sort().values, t.to(s.device))",
            "torch.searchsorted(s.sort().values, t.to(s.device), right=True)",
        ),
    ),
    "metrics/chains.py": (
        ("chains: ranks of each half", "ranks = 1 + torch", "ranks = 0 + torch"),
        ("chains: a half of whole chains", "torch.cat([x[..., :half], x[..., -half:]], 1)", "x"),
        ("chains: the first half twice", "x[..., -half:]], 1)", "x[..., :half]], 1)"),
        ("chains: variance within of all", "z.var(2).mean(1)", "z.var((1, 2))"),
        ("chains: R-hat without its root", "(n - 1) / n).sqrt()", "(n - 1) / n)"),
        (
            "chains: folded values forgotten",
            "torch.fmax(_between_over_within(x), _between_over_within(folded))",
            "_between_over_within(x)",
        ),
        ("chains: folded around nought", "(x - middle[:, None, None]).abs()", "x.abs()"),
        (
            "chains: variance between chains forgotten",
            "covariance[:, :1] + means[:, :, 0].var(1)[:, None]",
            "covariance[:, :1].clone()",
        ),
        (
            "chains: no padding of the transform",
            "math.ceil(math.log2(2 * n))",
            "math.ceil(math.log2(n))",
        ),
        (
            "chains: pairs not monotone",
            "torch.where(kept, pairs.cummin(1).values, 0)",
            "torch.where(kept, pairs, 0)",
        ),
        (
            "chains: pairs after the first negative one",
            "positive = (pairs > 0).cummin(1).values",
            "positive = pairs > 0",
        ),
        ("chains: no bound where draws alternate", ".clamp(min=1 / math.log10(m * n))", ""),
        ("chains: the time without one lag", "return -1 + 2 *", "return 2 *"),
        ("chains: ties in the order they came", "if len(starts) == count - 1:", "if True:"),
    ),
    "metrics/proportions.py": (
        ("proportions: center without its half", "center = share + z2 / 2", "center = share + z2"),
        (
            "proportions: width without its quarter",
            "share * (1 - share) + z2 / 4",
            "share * (1 - share)",
        ),
        (
            "proportions: rows, not effective ones",
            "float(effective_sample_size(log_w))",
            "len(labels)",
        ),
        (
            "proportions: twice the total variation",
            "(p - q).abs().sum()) / 2",
            "(p - q).abs().sum())",
        ),
        (
            "proportions: a class without target is covered",
            "((q > 0) & (p > least * q))",
            "(p > least * q)",
        ),
        ("proportions: a tenth is enough", "(p > least * q)).sum()", "(p >= least * q)).sum()"),
        (
            "proportions: score without weights",
            "    w = w / w.sum()\n",
            "    w = torch.full_like(w, 1 / len(w))\n",
        ),
        (
            "proportions: deviation of the population",
            "math.sqrt(square / (splits - 1))",
            "math.sqrt(square / splits)",
        ),
    ),
    "metrics/rows.py": (
        ("rows: weights without sum one", "    w = w / w.sum()\n", ""),
        ("rows: weights that overflow", "    w = w / w.max()", "    w = w / 1"),
        (
            "rows: effective size of the sum",
            "effective = 1 / float(w.square().sum())",
            "effective = 1 / float(w.max())",
        ),
        ("rows: one row too few allowed", "if len(values) < least:", "if len(values) < least - 1:"),
        ("rows: a row with one good value is finite", ".isfinite().all(1)", ".isfinite().any(1)"),
        ("rows: negative weights", "(w.isfinite() & (w >= 0))", "w.isfinite()"),
        ("rows: too few in effect", "if effective < least - 1e-6:", "if False:"),
    ),
    "metrics/classifier.py": (
        ("classifier: values out of range", ".clamp(self.low, self.high) for", "for"),
        (
            "classifier: the gain after the clamp",
            "(part * self.gain).clamp(self.low, self.high)",
            "part.clamp(self.low, self.high) * self.gain",
        ),
        (
            "classifier: shares without weights",
            "torch.bincount(p.argmax(1), share,",
            "torch.bincount(p.argmax(1), torch.full_like(share, 1 / len(share)),",
        ),
        (
            "classifier: distance without weights",
            "frechet=_distance(features, reference, share)",
            "frechet=_distance(features, reference, torch.ones_like(share))",
        ),
        (
            "classifier: head of the first classes",
            "{k: v[rows] for k, v",
            "{k: v[: len(rows)] for k, v",
        ),
        (
            "classifier: accuracy of all classes for some",
            "return replace(found, accuracy=_accuracy(found, dataset.test, dataset.test_labels))",
            "return found",
        ),
        (
            "classifier: places for labels",
            "guess = classes[classifier.probabilities(x).argmax(1)]",
            "guess = classifier.probabilities(x).argmax(1)",
        ),
        (
            "classifier: judged by what it was fitted on",
            "_accuracy(found, *_held_out(dataset))",
            "_accuracy(found, dataset.train, dataset.train_labels)",
        ),
        (
            "classifier: too few samples in effect",
            "if min(in_effect, len(reference)) < features.shape[1] + 1 - 1e-9:",
            "if min(len(features), len(reference)) < features.shape[1] + 1 - 1e-9:",
        ),
    ),
    "metrics/inception.py": (
        ("inception: 127.5 for 128", "columns.T - 128) / 128", "columns.T - 127.5) / 127.5"),
        (
            "inception: half a pixel off",
            "(torch.arange(SIZE, dtype=torch.float64) * size / SIZE)",
            "((torch.arange(SIZE, dtype=torch.float64) + 0.5) * size / SIZE - 0.5).clamp(min=0)",
        ),
        ("inception: padding in the mean", "count_include_pad=False", "count_include_pad=True"),
        ("inception: a mean in the last block", '("7c", "max")', '("7c", "mean")'),
        ("inception: epsilon of torch", "eps=1e-3", "eps=1e-5"),
        (
            "inception: the bias in the score",
            "self.features(x) @ self.fc.weight.T, 1",
            "self.fc(self.features(x)), 1",
        ),
        ("inception: code in the file", "weights_only=True", "weights_only=False"),
    ),
    "metrics/quadrature.py": (
        (
            "quadrature: the side of a cell for its area",
            "(2 * half / (points - 1)) ** 2",
            "2 * half / (points - 1)",
        ),
        (
            "quadrature: as many cells as points",
            "(2 * half / (points - 1)) ** 2",
            "(2 * half / points) ** 2",
        ),
        (
            "quadrature: around the origin",
            "torch.cartesian_prod(side, side) + middle",
            "torch.cartesian_prod(side, side)",
        ),
        (
            "quadrature: times the temperature",
            "torch.logsumexp(-u / temperature, 0)",
            "torch.logsumexp(-u * temperature, 0)",
        ),
        (
            "quadrature: no wider than the data",
            "1.5 * float((high - low).max())",
            "0.5 * float((high - low).max())",
        ),
        (
            "quadrature: KL the other way round",
            "torch.where(q > 0, q * (log_q - log_p), 0.0)",
            "torch.where(q > 0, log_p.exp() * (log_p - log_q), 0.0)",
        ),
        (
            "quadrature: a divergence at temperature 1",
            "for v in (u / temperature, minus_log_q)",
            "for v in (u, minus_log_q)",
        ),
        (
            "quadrature: nan where the truth is nought",
            "torch.where(q > 0, q * (log_q - log_p), 0.0).sum()",
            "(q * (log_q - log_p)).sum()",
        ),
        (
            "quadrature: twice the total variation",
            "(q - log_p.exp()).abs().sum()) / 2",
            "(q - log_p.exp()).abs().sum())",
        ),
    ),
}

DIAGNOSTICS = {
    "diagnostics/oscillation.py": (
        (
            "oscillation: every lag by its number of pairs",
            "        found /= found[0]\n    return found",
            "        found /= found[0]\n        found *= len(x) / (len(x) - np.arange(lags + 1))\n    return found",
        ),
        ("oscillation: partial not reversed", "phi - found[k] * phi[::-1]", "phi - found[k] * phi"),
        (
            "oscillation: the gap centred",
            "d = d / np.abs(d).max()",
            "d = (d - d.mean()) / np.abs(d).max()",
        ),
        ("oscillation: deviation of the population", "v.std(ddof=1)", "v.std()"),
        (
            "oscillation: the change before",
            "_correlation(d[:-1], v[1:], v[:-1])",
            "_correlation(d[1:], v[1:], v[:-1])",
        ),
        ("oscillation: one error is strong", "min(STRONG, -2 * error)", "min(STRONG, -error)"),
        (
            "oscillation: a few values are strong",
            "acf[1] < min(STRONG, -2 * error)",
            "acf[1] < STRONG",
        ),
        ("oscillation: weak is strong", "acf[1] < min(STRONG, -2 * error)", "acf[1] < -2 * error"),
        (
            "oscillation: one side of one-sided",
            "if not ONE_SIDED <= positive <= 1 - ONE_SIDED",
            "if not ONE_SIDED <= positive",
        ),
        (
            "oscillation: the first half of a run",
            "max(len(series) // 2, len(series) - window)",
            "max(0, len(series) - window)",
        ),
    ),
    "diagnostics/verdict.py": (
        (
            "verdict: stalled on the way up",
            "if not (short and travel < STILL_GROWING * before and",
            "if not (short and",
        ),
        (
            "verdict: stalled with gaps of both signs",
            "STILL_GROWING * before and seen.swing.positive < ONE_SIDED)",
            "STILL_GROWING * before)",
        ),
        (
            "verdict: collapsed though walkers do not arrive",
            "if not (arrived.all() and middle",
            "if not (middle",
        ),
        (
            "verdict: collapsed at any growth",
            "middle < later < now and now > COLLAPSE * max(middle, seen.before)",
            "middle < later < now",
        ),
        (
            "verdict: collapsed as before",
            "COLLAPSE * max(middle, seen.before)",
            "COLLAPSE * middle",
        ),
        ("verdict: noise is no way", "way = distance + seen.noise", "way = distance"),
        (
            "verdict: collapsed with gaps of both signs",
            "seen.long_enough(LONG // 2) and seen.swing.positive < ONE_SIDED",
            "seen.long_enough(LONG // 2)",
        ),
        (
            "verdict: a strong oscillation alone",
            'swing.kind != "strong" or seen.every > 1',
            'swing.kind == "none" or seen.every > 1',
        ),
        (
            "verdict: swings that shrink",
            "if now > SWINGS_GROW * before:",
            "if before > SWINGS_GROW * now:",
        ),
        (
            "verdict: energy of drift without the square",
            "taken = seen.drift * median(seen.gradient) ** 2",
            "taken = seen.drift * median(seen.gradient)",
        ),
        ("verdict: any strong swing is a cycle", "if swing.acf1 < CYCLE and size", "if size"),
        ("verdict: a cycle of any size", "size > SWINGS * taken and", "size > 0 and"),
    ),
    "diagnostics/seen.py": (
        (
            "verdict: a single update is the present",
            "self.gradient[-max(5, PRESENT // self.every) :]",
            "self.gradient[-1:]",
        ),
        (
            "verdict: travel of another row",
            "logged = (row for row in reversed(rows) if",
            "logged = (row for row in rows if",
        ),
    ),
    "diagnostics/long_run.py": (
        (
            "long run: saturated though samples are",
            "if beyond > usual + SATURATED:",
            "if beyond > SATURATED:",
        ),
        (
            "long run: ten times the training forgotten",
            "needed = max(ENOUGH, 10 * training_steps)",
            "needed = ENOUGH",
        ),
        (
            "long run: an energy that falls has settled",
            'change = abs(last["energy"] - before["energy"])',
            'change = last["energy"] - before["energy"]',
        ),
        (
            "long run: chains from noise decide",
            'if row["start"] == "data"]\n    if not rows',
            'if row["start"] == "noise"]\n    if not rows',
        ),
        (
            "long run: the energy of the look before",
            'if row["steps"] <= steps / 2][-1]',
            'if row["steps"] < steps][-1]',
        ),
        ("long run: the base of samples alone", '"base": max(base)', '"base": base[0]'),
        (
            "long run: the starts swapped",
            '[("data", chains[:half]), ("noise", chains[half:])]',
            '[("data", chains[half:]), ("noise", chains[:half])]',
        ),
        (
            "long run: the first held-out rows",
            "rows[torch.arange(n, device=device) * len(rows) // n]",
            "rows[torch.arange(n, device=device) % len(rows)]",
        ),
        (
            "long run: other chains go on",
            'if text.get("key") == key else None',
            "if text else None",
        ),
        (
            "long run: the same noise at every look",
            'generator(seed, "long run", goal, x.device)',
            'generator(seed, "long run", 1, x.device)',
        ),
        ("long run: the time is not kept", 'if left <= steps * past["pace"]:', "if False:"),
        (
            "long run: parts that overlap",
            "steps * (part + 1) // parts - steps * part // parts",
            "-(-steps // parts)",
        ),
    ),
}

EVALUATION = {
    "evaluation/measure.py": (
        (
            "measure: one digit fewer",
            "max(0, 1 - math.floor(math.log10(half)))",
            "max(0, 0 - math.floor(math.log10(half)))",
        ),
        ("measure: the shorter end", "half = max(down, up)", "half = min(down, up)"),
        ("measure: never two ends", "if abs(up - down) <= 0.1 * half:", "if True:"),
        (
            "measure: infinity in JSON",
            "isinstance(value, float) and not math.isfinite(value)",
            "isinstance(value, float) and math.isnan(value)",
        ),
        (
            "measure: nought for what is not known",
            "math.nan if v is None else v",
            "0.0 if v is None else v",
        ),
        (
            "measure: a refusal has a number",
            '        if self.refusal:\n            return "refused"\n',
            "",
        ),
        (
            "measure: the floor is not said",
            "if math.isfinite(self.floor) else []",
            "if False else []",
        ),
    ),
    "evaluation/cache.py": (
        (
            "cache: any key",
            "if any(theirs.get(name) != value for name, value in key.items()):",
            "if False:",
        ),
        ("cache: all of the key must differ", "if any(theirs.get(name)", "if all(theirs.get(name)"),
        (
            "cache: what was computed is not written",
            "        write_atomically(path, (json.dumps(tree)",
            "        str((path, json.dumps(tree)",
        ),
        ("cache: always computed", "    if found is None:\n", "    if True:\n"),
        (
            "cache: not as it is read",
            "        found = from_json(to_json(found._asdict()))",
            "        pass",
        ),
        (
            "cache: a damaged file is an error",
            "except (ValueError, KeyError, TypeError, AttributeError):",
            "except KeyError:",
        ),
    ),
    "evaluation/drawn.py": (
        (
            "drawn: weights as they are",
            "torch.softmax(self.log_w.double(), 0)",
            "self.log_w.double().exp()",
        ),
        ("drawn: rows without their weights", "if self.log_w is not None and len(x):", "if False:"),
        (
            "drawn: the first rows",
            "x[torch.randperm(len(x), generator=rng, device=rng.device).cpu()[:most]]",
            "x[:most]",
        ),
        (
            "drawn: the first visit again",
            "move(run, visits[-1], steps, rng)",
            "move(run, visits[0], 0, rng)",
        ),
        ("drawn: more than were asked for", "cat(*visits)[:n]", "cat(*visits)"),
        ("drawn: a sample with one good value", ".isfinite().all(1)", ".isfinite().any(1)"),
        (
            "drawn: weights of those that were dropped",
            "log_w.detach().cpu()[keep]",
            "log_w.detach().cpu()[: int(keep.sum())]",
        ),
        (
            "drawn: asked for as many as are finite",
            "where_not_finite(x), len(x))",
            "where_not_finite(x), int(keep.sum()))",
        ),
    ),
    "evaluation/features.py": (
        (
            "features: components not centred",
            "(x.flatten(1).to(mean) - mean) @ axes",
            "x.flatten(1).to(mean) @ axes",
        ),
        ("features: the last components", "axes[:COMPONENTS].T", "axes[-COMPONENTS:].T"),
        (
            "features: one histogram",
            "shares(x.cpu()) - theirs).abs().sum()) / 2",
            "shares(x.cpu()) - theirs).abs().sum())",
        ),
        (
            "features: the edge lies outside",
            "place = place.where(x != high, CELLS - 1).clamp",
            "place = place.clamp",
        ),
        (
            "features: outside counts at the edge",
            ".clamp(-1, CELLS) + 1",
            ".clamp(0, CELLS - 1) + 1",
        ),
        (
            "features: the range of the samples",
            "((x - low) / (high - low) * CELLS).floor()",
            "((x - x.amin(0)) / (x.amax(0) - x.amin(0)) * CELLS).floor()",
        ),
        (
            "features: classes of a classifier forgotten",
            "            classes=_in_parts(classifier.probabilities),\n",
            "",
        ),
        ("features: entries of large images", "if rows.shape[1] <= COMPONENTS:", "if True:"),
    ),
    "evaluation/quality.py": (
        (
            "quality: held-out data as training data",
            "training_features=features.of(training)",
            "training_features=features.of(reference)",
        ),
        (
            "quality: the model against training data",
            "reference_features=features.of(reference)",
            "reference_features=features.of(training)",
        ),
        (
            "quality: the first held-out rows",
            "rows[torch.arange(n, device=rows.device) * len(rows) // n]",
            "rows[:n]",
        ),
        (
            "quality: the test split alone",
            "torch.cat([dataset.validation, dataset.test])",
            "dataset.test",
        ),
        (
            "quality: an interval of one deviation",
            "half = 1.96 * float(values.std())",
            "half = float(values.std())",
        ),
        (
            "quality: the floor is the value",
            'value - half, value + half, "", "lower", floor,',
            'value - half, value + half, "", "lower", value,',
        ),
        (
            "quality: copies of validation rows",
            "memorisation(x, both.all_training, y, rng)",
            "memorisation(x, y, both.all_training, rng)",
        ),
        (
            "quality: lower precision is better",
            'Measure(name, value, better="higher", floor=best',
            'Measure(name, value, better="lower", floor=best',
        ),
        (
            "quality: a collapsed model is measured",
            "if bool((drawn.x == drawn.x[:1]).all()):",
            "if False:",
        ),
    ),
    "evaluation/modes.py": (
        (
            "modes: without the weights",
            "proportions(labels, len(target), drawn.log_w)",
            "proportions(labels, len(target))",
        ),
        ("modes: samples where masses are exact", "if exact is not None:", "if False:"),
        (
            "modes: off from the uniform",
            "total_variation(share, wanted)",
            "total_variation(share, torch.full_like(wanted, 1 / len(wanted)))",
        ),
        (
            "modes: share and target swapped",
            "modes_covered(share, wanted)",
            "modes_covered(wanted, share)",
        ),
        (
            "modes: the farthest mean",
            "torch.stack(centres)).argmin(1)",
            "torch.stack(centres)).argmax(1)",
        ),
        ("modes: entropy without weights", "if share is None else share\n", "if True else share\n"),
        ("modes: low and high swapped", '"low": a, "high": b', '"low": b, "high": a'),
        ("modes: a number of classes, no share", "covered / len(target)", "covered"),
    ),
    "evaluation/goodness.py": (
        (
            "goodness: the temperature forgotten",
            "Tempered(run.model, temperature), values",
            "Tempered(run.model, 1.0), values",
        ),
        ("goodness: copies of weighted samples", "if drawn.log_w is not None:  #", "if False:  #"),
        (
            "goodness: samples and data swapped",
            '(("samples", x), ("data", rows))',
            '(("samples", rows), ("data", x))',
        ),
        ("goodness: descent samples a density", "if not temperature > 0:", "if False:"),
        (
            "goodness: divergence at temperature 1",
            "run.dataset.train, temperature)",
            "run.dataset.train)",
        ),
        (
            "goodness: the plane without a refusal",
            "if not math.isfinite(far.kl + far.total_variation):",
            "if False:",
        ),
    ),
    "evaluation/anomalies.py": (
        (
            "anomalies: inside and outside swapped",
            "area = auroc(inside, outside)",
            "area = auroc(outside, inside)",
        ),
        (
            "anomalies: rate of the inliers",
            "rate = false_positive_rate(inside, outside)",
            "rate = false_positive_rate(outside, inside)",
        ),
        (
            "anomalies: our images are not scaled",
            "inside = through(to_grey(rows, data), size, channels, event)",
            "inside = to_grey(rows, data)",
        ),
        (
            "anomalies: the scaled ones forgotten",
            "mine = inside if ours is rows else scores(run, ours)",
            "mine = inside",
        ),
        (
            "anomalies: grey of many pixels",
            "noise[:, :1, :1, :1].expand_as(rows).contiguous()",
            "noise",
        ),
        (
            "anomalies: not dequantised",
            "data.dequantised(from_grey(images, data), rng)",
            "from_grey(images, data)",
        ),
        (
            "anomalies: what is not finite is ranked",
            "inside.isfinite().all() and outside.isfinite().all()",
            "True",
        ),
        (
            "anomalies: against training rows",
            "rows, _ = held_out_rows(data, ROWS)",
            "rows = data.train[:ROWS]",
        ),
    ),
    "evaluation/score.py": (
        (
            "score: at the threshold is flagged",
            "(energy > limit).numpy()",
            "(energy >= limit).numpy()",
        ),
        (
            "score: times the temperature",
            "-energy / temperature - log_z",
            "-energy * temperature - log_z",
        ),
        ("score: units of the model", " - run.dataset.log_volume if", " if"),
        (
            "score: the volume with another sign",
            "- run.dataset.log_volume if",
            "+ run.dataset.log_volume if",
        ),
        (
            "score: percentile of the held-out rows",
            "percentile(usual, energy)",
            "percentile(energy, usual)",
        ),
        (
            "score: log Z that was refused",
            '    if log_z["refusal"]:\n        return 0.0, str(log_z["refusal"])\n',
            "",
        ),
        (
            "score: infinite energies",
            "    if wrong:\n        raise FloatingPointError",
            "    if False:\n        raise FloatingPointError",
        ),
    ),
    "evaluation/shares.py": (
        ("shares: counts, no shares", "(counts / counts.sum()).tolist()", "counts.tolist()"),
        (
            "shares: without the weights",
            "walkers.x, run.dataset, walkers.log_w)",
            "walkers.x, run.dataset)",
        ),
        (
            "shares: a class is not its modes",
            "torch.bincount(nearest, masses, minlength=len(centres))",
            "torch.bincount(nearest, minlength=len(centres)) / len(nearest)",
        ),
        (
            "shares: the farthest class",
            "torch.cdist(means, centres).argmin(1)",
            "torch.cdist(means, centres).argmax(1)",
        ),
        (
            "shares: masses at any temperature",
            " or run.settings.method.kernel.temperature != 1",
            "",
        ),
        (
            "shares: walkers that are not finite",
            "if not bool(walkers.x.isfinite().all()):",
            "if False:",
        ),
        ("shares: one held-out row is enough", "and held_out > 1", "and held_out > 0"),
        (
            "shares: classes without a mode are left out",
            "masses, minlength=len(centres))",
            "masses)",
        ),
    ),
}

AROUND = {
    "data/foreign.py": (
        (
            "foreign: grey levels the wrong way",
            "dataset.to_original(x) * (255 / top)",
            "dataset.to_original(x) * (top / 255)",
        ),
        ("foreign: cut, not rounded", ".round().clamp(0, 255).byte()", ".clamp(0, 255).byte()"),
        ("foreign: levels out of range", ".round().clamp(0, 255).byte()", ".round().byte()"),
        (
            "foreign: not on the way back",
            "((size, channels), (event[-1], event[0]))",
            "((event[-1], event[0]),)",
        ),
        (
            "foreign: colours in the place of rows",
            "stacked.permute(0, 3, 1, 2).contiguous()",
            "stacked.permute(0, 3, 2, 1).contiguous()",
        ),
        (
            "foreign: rows are not dequantised",
            "return dataset.dequantised(x.to(dataset.train.device), rng)",
            "return x.to(dataset.train.device)",
        ),
        (
            "foreign: model units of a file",
            '"original" if "original.npy" in content.namelist() else None',
            "None",
        ),
        (
            "foreign: columns in the order of the file",
            "to_numbers(table, choose_columns(table.names, dataset.columns, ()), path)",
            "to_numbers(table, table.names[: len(dataset.columns)], path)",
        ),
    ),
    "train/trace.py": (
        (
            "trace: names swapped",
            'NAMES = ("energy_gap", "gradient_mean")',
            'NAMES = ("gradient_mean", "energy_gap")',
        ),
        (
            "trace: rows for columns",
            "torch.stack(self.kept).T.cpu()",
            "torch.stack(self.kept).reshape(len(NAMES), -1).cpu()",
        ),
        ("trace: written again and again", "            self.kept = []\n", ""),
        (
            "trace: nought for what is missing",
            'torch.full_like(info["loss"], torch.nan)',
            'torch.zeros_like(info["loss"])',
        ),
        (
            "trace: the first line alone",
            "for row in rows for v in row[name]]",
            "for row in rows[:1] for v in row[name]]",
        ),
    ),
    "report/compare.py": (
        (
            "compare: the worst is marked",
            '1 if better == "higher" else -1',
            '-1 if better == "higher" else 1',
        ),
        (
            "compare: intervals that touch are apart",
            "ends[best][0] > end for",
            "ends[best][0] >= end for",
        ),
        ("compare: apart from one is enough", "apart = all(", "apart = any("),
        (
            "compare: numbers without their intervals",
            "return (low, high) if math.isfinite(high - low) else (value, value)",
            "return value, value",
        ),
        ("compare: chains from noise", 'if r["start"] == "data"]', 'if r["start"] == "noise"]'),
        ("compare: numbers of one run", "if len(by_run) < 2:", "if len(by_run) < 1:"),
        (
            "compare: the first cost",
            '(read_rows(folder / "cost.jsonl") or [{}])[-1]',
            '(read_rows(folder / "cost.jsonl") or [{}])[0]',
        ),
        ("compare: two of one name", "if len(set(names)) < len(names):", "if False:"),
    ),
}

TABLES = {**METRICS, **DIAGNOSTICS, **EVALUATION, **AROUND}

TESTS = {  # where it is not tests/metrics/test_NAME.py, the best first
    "metrics/similarity.py": ("metrics/test_mean_discrepancy.py", "metrics/test_stein.py"),
    "metrics/rows.py": ("metrics/test_mean_discrepancy.py", "metrics/test_[fn]*.py"),
    "diagnostics/oscillation.py": ("diagnostics/test_oscillation.py",),
    "diagnostics/verdict.py": ("diagnostics/test_verdict.py",),
    "diagnostics/seen.py": ("diagnostics/test_verdict.py",),
    "diagnostics/long_run.py": ("diagnostics/test_long_run.py",),
    "evaluation/measure.py": ("evaluation/test_evaluation_measure.py",),
    "evaluation/cache.py": ("evaluation/test_evaluation_measure.py",),
    "evaluation/drawn.py": ("evaluation/test_evaluation_samples.py",),
    "evaluation/features.py": ("evaluation/test_evaluation_samples.py",),
    "evaluation/quality.py": ("evaluation/test_evaluation_samples.py",),
    "evaluation/modes.py": ("evaluation/test_evaluation_samples.py",),
    "evaluation/goodness.py": ("evaluation/test_evaluation_samples.py",),
    "evaluation/anomalies.py": ("evaluation/test_evaluation_anomalies.py",),
    "evaluation/score.py": ("evaluation/test_evaluation_score.py",),
    "evaluation/shares.py": (
        "evaluation/test_evaluation_shares.py",
        "evaluation/test_evaluation_[ps]a*.py",
    ),
    "data/foreign.py": ("data/test_data_foreign.py",),
    "train/trace.py": ("train/test_trace.py",),
    "report/compare.py": ("report/test_report_compare.py",),
}
