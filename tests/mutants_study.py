"""The mutants of studies: what is planned, who works on it, what becomes of it, what it says.

See `mutate.py`, which reads these tables.
"""

PLANS = {
    "study/plan.py": (
        ("plan: equal updates for all", "if block.equal and budget:", "if False:"),
        (
            "plan: a name without the method",
            "if k not in OF_THE_MACHINE}",
            "if k not in (*OF_THE_MACHINE, 'method')}",
        ),
        ("plan: a name with the machine", "if k not in OF_THE_MACHINE}", "}"),
        ("plan: one seed", "for seed in study.seeds:", "for seed in study.seeds[:1]:"),
        ("plan: a budget of nothing", "if updates < 1:", "if updates < 0:"),
        (
            "plan: not in mixed order",
            "key=lambda t: (order[t.settings.seed], t.name)",
            "key=lambda t: order[t.settings.seed]",
        ),
        (
            "plan: one at a time, all of them",
            "yield [*others[:place], level, *others[place + 1 :]]",
            "yield [level for _ in block.axes]",
        ),
        (
            "plan: the same draw again",
            'generator(seed, f"study {name}", number)',
            'generator(seed, f"study {name}", 0)',
        ),
        ("plan: a log axis is none", "elif axis.log:", "elif False:"),
        (
            "plan: the measures of one block alone",
            "dict.fromkeys(known.measures + trial.measures)",
            "dict.fromkeys(known.measures)",
        ),
        (
            "plan: two levels that are one",
            'if block.sampler == "grid" and block.name',
            "if False and block.name",
        ),
    ),
    "study/unused.py": (
        (
            "unused: everything is used",
            "        return True\n    return False",
            "        return True\n    return True",
        ),
        (
            "unused: nothing is used",
            "        return True\n    return False",
            "        return False\n    return False",
        ),
        (
            "unused: truth is no use",
            '    def __bool__(self) -> NoReturn:\n        raise TypeError("used")',
            "    def __bool__(self) -> NoReturn:\n        return True",
        ),
    ),
}

WORK = {
    "study/claim.py": (
        (
            "claim: anyone may",
            "os.link(temporary, path)",
            "os.replace(temporary, path); temporary.touch()",
        ),
        (
            "claim: the dead live",
            "        except ProcessLookupError:\n            return False",
            "        except ProcessLookupError:\n            return True",
        ),
        ("claim: never stale", "- touched < STALE", "- touched < 1e9"),
        ("claim: never given up", "return last >= ATTEMPTS and not alive", "return False"),
        (
            "claim: a sleeper never learns",
            "return following.exists() or not self.path.exists()",
            "return not self.path.exists()",
        ),
        ("claim: never touched", "os.utime(held.path)", "pass"),
    ),
    "study/result.py": (
        (
            "result: written twice",
            'os.link(temporary, folder / f"{result.name}.json")',
            'os.replace(temporary, folder / f"{result.name}.json"); temporary.touch()',
        ),
        ("result: the first rung counts", "self.rungs[-1].quality", "self.rungs[0].quality"),
        (
            "result: what broke has a quality",
            'if self.label == "finished" and self.rungs else',
            "if self.rungs else",
        ),
    ),
    "study/trial.py": (
        ("trial: no verdict", "if found.label in AT_ONCE or (", "if False and ("),
        (
            "trial: stalls at the first word",
            "found.label in TWICE and found.label == self.before",
            "found.label in TWICE",
        ),
        (
            "trial: a crash ends the study",
            'end = _End("crashed", f"{type(error).__name__}: {error}")',
            "raise",
        ),
        ("trial: no traceback", "write_atomically(place.with_suffix", "str(place.with_suffix"),
        ("trial: never pruned", "if not self.work.halving or share == 1 or", "if True or"),
        ("trial: pruned at its end", "share == 1 or self", "self"),
        ("trial: the worst are kept", "quality < rung.quality for", "quality > rung.quality for"),
        ("trial: rungs of other shares", "if other.share == rung.share", "if True"),
        ("trial: never too long", "if self.work.minutes and", "if False and"),
        (
            "trial: rungs are kept that come again",
            "run_folder.truncate_rows(self.place / RUNGS, first)",
            "pass",
        ),
        (
            "trial: gradients of all updates",
            "gradients=update * each",
            "gradients=self.settings.updates * each",
        ),
        ("trial: the same digest for all", "hashlib.sha256(went.encode())", "hashlib.sha256(b'')"),
    ),
    "study/worker.py": (
        ("worker: more than were asked for", "trials = trials[: job.most]", "pass"),
        (
            "worker: what kills is tried for ever",
            "if write_result(results(job.folder), lost):",
            "if False:",
        ),
        (
            "worker: the recipe itself is pruned",
            "halving = 0.0  # the recipe",
            "pass  # the recipe",
        ),
    ),
    "study/propose.py": (
        ("propose: the recipe is not first", "if number == 0:", "if False:"),
        (
            "propose: a failure is worth nothing",
            "return min(quality, WORST) if math.isfinite(quality) else WORST",
            "return min(quality, WORST) if math.isfinite(quality) else 0.0",
        ),
        (
            "propose: a pruned trial has failed",
            'if result.label == "pruned" and result.rungs:',
            "if False:",
        ),
    ),
}

ANSWERS = {
    "study/effects.py": (
        ("effects: interactions with their own", "of((a, b)) - mains[a] - mains[b]", "of((a, b))"),
        ("effects: total shares are main ones", "(1.0 if total > 0 else 0.0) - of(", "of("),
        (
            "effects: the quality itself",
            "math.log(min(max(o.quality, least), worst))",
            "min(max(o.quality, least), worst)",
        ),
        (
            "effects: failures are left out",
            "for o in found if o.known}",
            "for o in found if o.known and not o.failed}",
        ),
        (
            "effects: means for medians",
            "statistics.median(outcome.quality for outcome in inside)",
            "statistics.fmean(outcome.quality for outcome in inside)",
        ),
        (
            "effects: failures survive",
            "sum(not outcome.failed for outcome in inside)",
            "len(inside)",
        ),
        ("effects: half a grid", "if not seeds or any(", "if not seeds or all("),
    ),
    "study/survival.py": (
        ("survival: nothing is censored", "right=t[~event]", "right=t[:0]"),
        ("survival: all are censored alike", "uncensored=t[event]", "uncensored=t"),
        ("survival: updates for gradients", "outcome.result.gradients", "outcome.result.update"),
        (
            "survival: poor ones have failed",
            "outcome.result.label in BROKEN for",
            "outcome.failed for",
        ),
        ("survival: sure of a share of one", "0.025 ** (1 / len(t))", "1.0"),
    ),
    "study/answers.py": (
        ("answers: more for fewer", 'alternative="less"', 'alternative="greater"'),
        ("answers: any trials match", "if not p.startswith(free))", "if p == 'seed')"),
        (
            "answers: the interval of many",
            "stats.t.ppf(1 - LEVEL / 2, n - 1)",
            "stats.norm.ppf(1 - LEVEL / 2)",
        ),
        ("answers: no square root of n", "ddof=1)) / math.sqrt(n)", "ddof=1))"),
        (
            "answers: the ratio the other way",
            "math.log(b / a) for a, b",
            "math.log(a / b) for a, b",
        ),
        ("answers: the spread of all points", "degrees += len(logs) - 1", "degrees += len(logs)"),
    ),
    "study/claims.py": (
        ("claims: a rate that hurts", "if helps < LEVEL and apart < LEVEL:", "if helps < LEVEL:"),
        (
            "claims: stalls are divergences",
            'DIVERGED = ("nan", "exploded", "collapsed")',
            'DIVERGED = ("nan", "exploded", "collapsed", "stalled", "poor")',
        ),
        (
            "claims: slow or not",
            "if p < LEVEL and pace is not None and pace.low > 1:",
            "if p < LEVEL:",
        ),
    ),
    "study/laws.py": (
        ("laws: a noise that fails above", "                break\n", "                continue\n"),
        ("laws: the distance is not asked", "constant and reaches, reason", "constant, reason"),
        ("laws: constancy is not asked", "constant and reaches, reason", "reaches, reason"),
    ),
    "study/recommend.py": (
        (
            "recommend: what failed once",
            "any(not o.known or o.failed for o in group)",
            "any(not o.known for o in group)",
        ),
        ("recommend: a seed is enough", "len(group) < len(study.seeds) or", ""),
        ("recommend: rungs of a schedule", "if scheduled and rung.share < 1:", "if False:"),
        ("recommend: no frontier", "if not best or point.quality < best[-1].quality:", "if True:"),
        (
            "recommend: the recipe's updates",
            'trial.assignments, f"updates={self.updates}"]',
            "trial.assignments]",
        ),
    ),
}

TABLES = {**PLANS, **WORK, **ANSWERS}

TESTS = {
    "study/plan.py": ("study/test_study_spec.py", "study/test_study_effects.py"),
    "study/unused.py": ("study/test_study_spec.py",),
    "study/claim.py": ("study/test_study_claim.py",),
    "study/result.py": ("study/test_study_trial.py", "study/test_study_effects.py"),
    "study/trial.py": ("study/test_study_trial.py",),
    "study/worker.py": (
        "study/test_study_trial.py",
        "study/test_study_tune.py",
        "study/test_study_workers.py",
    ),
    "study/propose.py": ("study/test_study_tune.py",),
    "study/effects.py": ("study/test_study_effects.py",),
    "study/survival.py": ("study/test_study_effects.py",),
    "study/answers.py": ("study/test_study_claims.py",),
    "study/claims.py": ("study/test_study_claims.py",),
    "study/laws.py": ("study/test_study_claims.py",),
    "study/recommend.py": ("study/test_study_effects.py",),
}
