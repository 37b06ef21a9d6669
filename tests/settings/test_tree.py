"""Settings survive the way to YAML and back, and every mistake is named with its cure."""

from dataclasses import dataclass, field
from itertools import permutations
from typing import Literal

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from boltzwalk.kernels import HMC, ULA
from boltzwalk.methods.starts import NoiseStart
from boltzwalk.recipes import RECIPES
from boltzwalk.settings.plain_yaml import load_yaml
from boltzwalk.settings.settings import Settings, from_yaml, to_yaml
from boltzwalk.settings.tree import differences, from_tree, override, to_tree


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


@dataclass(frozen=True)
class Frame:
    shape: Circle | Square = field(default_factory=lambda: Circle(5.0))
    inside: Circle | Square = field(default_factory=Square)


@dataclass(frozen=True)
class Page:
    content: Square | Frame = field(default_factory=Square)
    count: int = 1
    folded: bool = False
    corners: tuple[int, ...] = ()
    switches: tuple[bool, ...] = ()
    channels: Literal[1, 3] | None = None
    title: str = "t"
    author: str | None = "a"
    scale: float | None = 1.0
    box: tuple[float, float] | None = (0.0, 1.0)
    keywords: tuple[str, ...] | None = ("k",)


def changed(*assignments, base=Drawing(Square())):
    return from_tree(type(base), override(type(base), to_tree(base), assignments))


def each(name, value):
    return from_tree(Page, {name: value}), changed(f"{name}={value}", base=Page())


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


@pytest.mark.parametrize("order", list(permutations(["distribution=gaussian", "start=NoiseStart"])))
def test_a_lower_case_value_waits_for_its_kind(order):
    # The recipe has a start.noise.distribution, which an early "distribution" would have meant.
    tree = to_tree(RECIPES["mnist"]())
    settings = from_tree(Settings, override(Settings, tree, order))
    assert settings.method.start == NoiseStart("gaussian")


@pytest.mark.parametrize("order", list(permutations(["name=rings", "data=Toy", "data.n=50"])))
def test_settings_of_a_new_kind_come_in_any_order(order):
    tree = to_tree(RECIPES["mnist"]())
    data = from_tree(Settings, override(Settings, tree, order)).data
    assert (data.name, data.n) == ("rings", 50)


@pytest.mark.parametrize(
    "order",
    list(permutations(["shape.side=2", "content.shape=Square", "content=Frame", "title=Frame"])),
)
def test_kinds_within_kinds_come_in_any_order(order):
    assert changed(*order, base=Page()) == Page(Frame(Square(2.0, "c")), title="Frame")


def test_a_new_kind_has_the_blocks_it_has_by_default():
    changes = ["content.shape.radius=7", "content=Frame"]
    assert changed(*changes, base=Page()) == Page(Frame(Circle(7.0)))


def test_of_equal_keys_the_last_one_wins():
    base = Page(Frame(Circle(7.0)))
    changes = ["content.shape=Circle", "content.shape=Square"]
    assert changed(*changes, base=base) == Page(Frame(Square(1.0, "c")))
    # As if the first had never been written: the radius is kept.
    assert changed(*reversed(changes), base=base) == base
    assert changed("limit=1", "limit=2").limit == 2.0


def test_a_misspelt_kind_is_named_before_its_settings():
    with pytest.raises(ValueError, match="unknown setting 'shape=Cirkle'; did you mean shape=Circ"):
        changed("shape.radius=2", "shape=Cirkle")


@pytest.mark.parametrize("value", [True, False, "yes", "off", "true"])
@pytest.mark.parametrize("name", ["count", "scale", "corners", "channels", "box"])
def test_yes_is_no_number(name, value):
    given = [[value, value]] if name in ("corners", "box") else []
    for tree in ({name: value}, *({name: values} for values in given)):
        with pytest.raises(ValueError, match=f"{name} must be .*, got "):
            from_tree(Page, tree)
    with pytest.raises(ValueError, match=f"{name} must be .*, got "):
        changed(f"{name}={value}", base=Page())


def test_yes_is_a_bool_where_one_is_asked_for():
    assert each("folded", "yes") == (Page(folded=True),) * 2
    assert each("folded", True) == (Page(folded=True),) * 2
    assert each("switches", [True, False]) == (Page(switches=(True, False)),) * 2


@pytest.mark.parametrize("text", ["1e4", "1E4", "1.0e4", "+1e+4", "10000.0", "100000e-1"])
def test_whole_numbers_may_be_written_as_powers_of_ten(text):
    assert each("count", text) == (Page(count=10_000),) * 2
    assert each("corners", f"[{text}, 2]") == (Page(corners=(10_000, 2)),) * 2
    assert from_tree(Page, yaml.safe_load(f"{{count: {text}}}")).count == 10_000
    assert changed(f"title={text}", base=Page()).title == text


ODD = ["010", "2:00", "1:30", "6_4", "0x10", "0o10", "0b1", "1_0.5", "٣", "190:20:30", "08", "5%"]


@pytest.mark.parametrize("text", ODD)
def test_numbers_are_decimal_or_scientific(text):
    """YAML 1.1 has 8, 120, 90, 64, 16; Python's int takes underscores and all decimal digits."""
    for name in ("count", "scale"):
        trees = [override(Page, to_tree(Page()), [f"{name}={text}"])]
        trees += [load_yaml(f"{name}: {text}"), load_yaml(f"{name}: '{text}'")]
        for tree in trees:
            with pytest.raises(ValueError, match="decimal or scientific"):
                from_tree(Page, tree)
    for name in ("corners", "box"):
        with pytest.raises(ValueError, match="must be"):
            changed(f"{name}={text},1", base=Page())
    assert changed(f"title={text}", base=Page()).title == text
    assert load_yaml(f"title: {text}") == {"title": text}


@given(st.integers(-(10**18), 10**18), st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_of_python_are_read(whole, number):
    assert load_yaml(f"[{whole}, {number!r}]") == [whole, number]
    assert changed(f"count={whole}", f"scale={number!r}", base=Page()).count == whole
    assert changed(f"scale={number!r}", base=Page()).scale == number


def test_names_may_look_like_numbers():
    for text, expected in {
        "[0]": ("0",), "2019,2020": ("2019", "2020"), "010": ("010",), "a, 'b,c'": ("a", "b,c"),
        "true": ("true",), "[a, 6_4]": ("a", "6_4"),
    }.items():  # fmt: skip
        assert changed(f"keywords={text}", base=Page()).keywords == expected
    assert changed("keywords=null", base=Page()).keywords is None


def test_a_split_in_one_number_is_explained():
    with pytest.raises(ValueError, match=r"data.split must be 3 numbers .*such as 0.8,0.1,0.1"):
        from_tree(Settings, override(Settings, to_tree(RECIPES["toy"]()), ["split=0.5"]))


def bomb(depth):
    lines = ["a0: &a0 [x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, depth)]
    return "\n".join(lines)


@pytest.mark.parametrize("text", [bomb(9), "&a [*a]", "a: &a {b: *a}", "[" * 3000 + "]" * 3000])
def test_a_small_file_stays_small(text):
    with pytest.raises(ValueError, match="must be YAML"):
        from_yaml(text)


def test_aliases_of_equal_blocks_are_read():
    shared = [1, 2]
    assert load_yaml(yaml.safe_dump({"a": shared, "b": shared})) == {"a": [1, 2], "b": [1, 2]}


@pytest.mark.parametrize("text", ["1.5", "15e-1", "1e999", "e4", "1e", "nan", "1e4 2", "None"])
def test_what_is_no_whole_number_is_refused(text):
    with pytest.raises(ValueError, match="count must be of type int, got "):
        changed(f"count={text}", base=Page())


@pytest.mark.parametrize("word", ["None", "none", "null", "~", ""])
def test_none_means_null_where_null_is_allowed(word):
    for name in ("author", "scale", "box", "keywords", "channels"):
        assert getattr(changed(f"{name}={word}", base=Page()), name) is None
    for name in ("scale", "box", "keywords"):
        assert getattr(from_tree(Page, {name: word}), name) is None
    assert changed(f"title={word}", base=Page()).title == word


@given(st.text() | st.sampled_from(["null", "None", "~", " a", "'a'", "# a"]))
def test_any_optional_text_survives_yaml(text):
    page = Page(title=text, author=text)
    assert from_tree(Page, yaml.safe_load(yaml.safe_dump(to_tree(page)))) == page


def test_few_names_are_listed_the_shortest_first():
    with pytest.raises(ValueError) as caught:
        changed("zzzzzz=1", base=Page(Frame()))
    assert str(caught.value) == (
        "unknown setting 'zzzzzz'; there are "
        "content, count, folded, corners, switches, channels, title, author, ..."
    )
    tree = to_tree(RECIPES["digits"]())
    with pytest.raises(ValueError) as caught:
        override(Settings, tree, ["qqqq=1"])
    assert str(caught.value).endswith(", ...")
    assert len(str(caught.value)) < 120
    for name in str(caught.value).partition("there are ")[2].split(", ")[:-1]:
        with pytest.raises(ValueError, match="unknown setting"):
            override(Settings, tree, [f"{name}.x=1"])


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
        (["sizes=[1.5]"], r"sizes must be whole numbers separated by commas, got '\[1.5\]'"),
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
