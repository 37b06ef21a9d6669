"""Settings survive the way to YAML and back, and every mistake is named with its cure."""

from dataclasses import dataclass, field

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from boltzwalk.kernels import HMC, ULA
from boltzwalk.recipes import RECIPES
from boltzwalk.train.settings import Settings, from_yaml, to_yaml
from boltzwalk.train.tree import differences, from_tree, override, to_tree


@dataclass(frozen=True)
class Circle:
    radius: float
    name: str = "c"


@dataclass(frozen=True)
class Square:
    side: float = 1.0
    name: str = "s"

    def __post_init__(self):
        if self.side <= 0:
            raise ValueError(f"side must be > 0, got {self.side}")


@dataclass(frozen=True)
class Drawing:
    shape: Circle | Square
    sizes: tuple[int, ...] = (1, 2)
    limit: float | None = None
    inner: Square = field(default_factory=Square)


def changed(*assignments, base=Drawing(Square())):
    return from_tree(Drawing, override(Drawing, to_tree(base), assignments))


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_survives_yaml(name):
    settings = RECIPES[name]()
    assert from_yaml(to_yaml(settings)) == settings


@given(
    st.builds(
        Drawing,
        st.builds(Circle, st.floats(allow_nan=False, allow_infinity=False), st.text())
        | st.builds(Square, st.floats(1e-9, 1e9), st.text()),
        st.lists(st.integers()).map(tuple),
        st.none() | st.floats(allow_nan=False, allow_infinity=False),
    )
)
def test_any_value_survives_yaml(drawing):
    # A text such as "1" is quoted by YAML, and comes back as text.
    tree = yaml.safe_load(yaml.safe_dump(to_tree(drawing)))
    assert from_tree(Drawing, tree) == drawing


@pytest.mark.parametrize(
    ("assignment", "expected"),
    [
        ("shape.side=3", Drawing(Square(3.0))),
        ("shape.side=3e-4", Drawing(Square(3e-4))),
        ("limit=null", Drawing(Square())),
        ("limit=2", Drawing(Square(), limit=2.0)),
        ("sizes=[4, 5, 6]", Drawing(Square(), sizes=(4, 5, 6))),
        ("sizes=4, 5, 6", Drawing(Square(), sizes=(4, 5, 6))),
        ("sizes=(4, 5)", Drawing(Square(), sizes=(4, 5))),
        ("sizes=(4,)", Drawing(Square(), sizes=(4,))),
        ("sizes=4", Drawing(Square(), sizes=(4,))),
        ("shape.name=7", Drawing(Square(name="7"))),
        ("shape=Square", Drawing(Square())),
        ("inner.side=9", Drawing(Square(), inner=Square(9.0))),
    ],
)
def test_overrides_are_typed(assignment, expected):
    assert changed(assignment) == expected


def test_a_kind_may_change_before_or_after_its_settings():
    assert changed("shape=Circle", "shape.radius=2") == Drawing(Circle(2.0, "s"))
    assert changed("shape.radius=2", "shape.kind=Circle") == Drawing(Circle(2.0, "s"))


def test_a_change_of_kernel_keeps_what_both_have():
    tree = to_tree(RECIPES["toy"]())
    settings = from_tree(Settings, override(Settings, tree, ["kernel=HMC", "leapfrog_steps=3"]))
    assert settings.method.kernel == HMC(step_size=0.01, leapfrog_steps=3)


def test_a_key_may_be_shortened_to_any_ending_that_is_unique():
    tree = to_tree(RECIPES["digits"]())
    for key in ("step_size", "kernel.step_size", "method.kernel.step_size"):
        settings = from_tree(Settings, override(Settings, tree, [f"{key}=0.5"]))
        assert isinstance(settings.method.kernel, ULA)
        assert settings.method.kernel.step_size == 0.5


@pytest.mark.parametrize(
    ("assignments", "message"),
    [
        (["shape.sied=3"], "unknown setting 'shape.sied'; did you mean shape.side"),
        (["side=3"], "'side' names several settings: shape.side, inner.side; write one in full"),
        (["shape=Sqare"], "unknown setting 'shape=Sqare'; did you mean shape=Square"),
        (["shape.side=big"], r"shape.side must be of type float, got 'big'"),
        (["shape.side=nan"], r"shape.side must be of type float, got 'nan'"),
        (["shape.side=-1"], "shape: side must be > 0, got -1.0"),
        (["sizes=[1.5]"], r"sizes must be of type tuple\[int, ...\], got '\[1.5\]'"),
        (["shape=Circle"], "shape.radius must be given; add shape.radius=... "),
        (["limit"], "an override must have the form key=value, got 'limit'"),
        (["zzz=1"], "unknown setting 'zzz'; there are shape, "),
    ],
)
def test_mistakes_are_named_with_their_cure(assignments, message):
    with pytest.raises(ValueError, match=message):
        changed(*assignments)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- 1", "must hold settings"),
        ("shape: {side: 1}", "shape.kind must be given, one of Circle, Square"),
        ("shape: {kind: Square, colour: 1}", "unknown setting 'shape.colour'"),
        ("sizes: [1]", "shape must be given"),
    ],
)
def test_wrong_files_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        from_tree(Drawing, yaml.safe_load(text))


@pytest.mark.parametrize("text", ["shape: [", "!!python/object/apply:os.system ['true']"])
def test_what_is_no_plain_yaml_is_refused(text):
    with pytest.raises(ValueError, match="must be YAML"):
        from_yaml(text)


def test_differences_name_leaf_and_values():
    old, new = to_tree(Drawing(Square(1.0))), to_tree(Drawing(Square(2.0), limit=3.0))
    assert differences(old, new) == ["shape.side: 1.0, now 2.0", "limit: None, now 3.0"]
    assert differences(old, old) == []
