"""The damage that `make mutate` does: every domain mutant has its place, operators cover rooms."""

import ast

import pytest

from mutation import operators, patterns, source

ENTRIES = patterns.read(patterns.TABLE.read_text())


def test_every_domain_mutant_has_one_place_and_changes_it():
    """A renamed function is a word to change in `mutation/domain.txt`."""
    lost = []
    for damage in ENTRIES:
        try:
            patterns.damaged(damage)
        except LookupError as error:
            lost.append(str(error))
    assert not lost, "\n".join(lost)
    titles = [str(damage) for damage in ENTRIES]
    assert len(titles) > 200
    assert len(set(titles)) == len(titles)


@pytest.fixture
def small_package(monkeypatch):
    """A package of one module in place of the real one."""

    def use(text):
        monkeypatch.setattr(source, "modules", lambda: {"room/one.py": ast.parse(text)})
        source.index.cache_clear()
        source.names.cache_clear()

    yield use
    source.index.cache_clear()
    source.names.cache_clear()


F = "def f(a, b):\n    c = math.sqrt(2 * a * b)\n    g(c, b, key=1)\n    return c\n"


@pytest.mark.parametrize(
    ("pattern", "changed"),
    [
        ("math.sqrt(2 * eps * T) -> math.sqrt(eps * T)", F.replace("2 * a", "a")),
        ("math.sqrt(A * b) -> math.sqrt(A)", F.replace("2 * a * b", "2 * a")),
        ("g(x, ...) -> g(-x, ...)", F.replace("g(c", "g(-c")),
        ("g(..., key=1) -> g(..., key=2)", F.replace("key=1", "key=2")),
        ("g(..., y) -> g(...)", F.replace("c, b", "c")),
        ("x = math.sqrt(A); ... -> x = A; ...", F.replace("math.sqrt(2 * a * b)", "2 * a * b")),
        ("g(c, b, ...); return c -> return b", F[: F.index("    g")] + "    return b\n"),
    ],
)
def test_a_pattern_matches_shape_and_not_names(small_package, pattern, changed):
    small_package(F)
    module, tree = patterns.damaged(patterns.read(f"[f]\nname: {pattern}")[0])
    assert module == "room/one.py"
    assert ast.unparse(tree) == ast.unparse(ast.parse(changed))


@pytest.mark.parametrize(
    ("function", "pattern", "reason"),
    [
        ("h", "A + B -> A", "no h in the package"),
        ("f", "A + B -> A", "0 places"),
        ("f", "A * B -> A", "2 places"),
        ("f", "h(c, b, ...) -> c", "0 places"),
        ("f", "math.sqrt(A) -> math.sqrt(z)", "knows no z"),
        ("f", "math.sqrt(A) -> math.sqrt(A)", "changes nothing"),
    ],
)
def test_a_damage_that_is_lost_gives_its_reason(small_package, function, pattern, reason):
    small_package(F)
    with pytest.raises(LookupError, match=reason):
        patterns.damaged(patterns.read(f"[{function}]\nname: {pattern}")[0])


@pytest.mark.parametrize(
    ("line", "changes"),
    [
        ("y = a < b <= c", ["a <= b <= c", "a < b < c"]),
        ("y = a - 2", ["a + 2", "a", "3"]),
        ("y = x ** 2", ["x", "3"]),
        ("y = -x", ["x"]),
        ("y = a and not b", ["a or not b", "a", "b"]),
        ("y = x.detach().sum(d)", ["x.detach().mean(d)", "x"]),
        ("y = x.clamp(min=e)", ["x.clamp(max=e)"]),
        ("y = max(a, b)", ["min(a, b)"]),
        ("if a < b:\n        raise ValueError(f'{a + 1}')", ["False", "a <= b"]),
        ("y: Float[Tensor, 'N 2'] = x", []),
        ("'''2 + 2'''", []),
        ("warn('a' + b)", []),
        ("y = 'a' + f'{b + 1}'", []),
    ],
)
def test_operators_change_code_and_leave_messages_alone(small_package, line, changes):
    small_package(f"def f(a, b, c, d, e, x):\n    {line}\n")
    assert [site.after for site in operators.sites("room/one.py")] == changes


def test_operators_reach_every_room_and_a_sample_is_spread_over_them():
    rooms = operators.by_room()
    assert set(rooms) == {source.room(module) for module in source.modules()}
    sample = operators.sample(rooms, 3 * len(rooms), seed=1)
    assert sample == operators.sample(rooms, 3 * len(rooms), seed=1)
    assert len(set(map(str, sample))) > 2 * len(rooms)
    assert {source.room(site.module) for site in sample} == set(rooms)
    for site in sample:
        assert ast.dump(site.tree()) != ast.dump(source.modules()[site.module]), site
