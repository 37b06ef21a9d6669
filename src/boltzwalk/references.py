"""References to classes and functions by name, resolved without importing anything.

A file that names a class must not be able to run code. :func:`resolve` therefore searches only the
modules that are already imported; :func:`import_file` is the one function here that executes code,
and takes a path that the user wrote.

A reference is written `module.path:QualifiedName` for a module of a package and
`file_name.py:QualifiedName` for a file on its own.
"""

from __future__ import annotations

import hashlib
import importlib.machinery
import importlib.util
import inspect
import site
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

__all__ = ["digest_of", "file_of", "import_file", "is_installed", "reference", "resolve"]


def reference(obj: object) -> str:
    """Returns the reference of a class or a function.

    Arguments:
        obj: A class or a function at the top level of a module, or nested in such a class.

    Raises:
        ValueError: If it is a lambda, is defined inside a function, or has no name of its own.

    Example:
        >>> from email.message import Message
        >>> reference(Message)
        'email.message:Message'
        >>> reference(lambda: 0)
        Traceback (most recent call last):
        ValueError: a class or function must have a name, got a lambda; define it ... of a file
    """
    name = getattr(obj, "__qualname__", None)
    module = getattr(obj, "__module__", None)
    if not isinstance(name, str) or not isinstance(module, str):
        raise ValueError(
            f"a reference must be to a class or a function, got {obj!r}; "
            "define one at the top level of a file"
        )
    if "<lambda>" in name:
        raise ValueError(
            "a class or function must have a name, got a lambda; "
            "define it with def at the top level of a file"
        )
    if "<locals>" in name:
        raise ValueError(
            f"{name} is defined inside a function, where nothing else can refer to it; "
            "define it at the top level of a file"
        )
    home = sys.modules.get(module)
    if home is None or _attribute(home, name) is not obj:
        raise ValueError(
            f"{module}:{name} must be the name of this object, got another object or none there; "
            "bind it to its own name at the top level of a file"
        )
    path = _path(home)
    where = path.name if path is not None and _is_lone(home) else _name(home)
    return f"{where}:{name}"


def resolve(ref: str) -> object:
    """Returns the class or function of a reference, from the modules that are already imported.

    Arguments:
        ref: The reference. In `folder/file.py:Name` the path, from the current directory, must be
            that of the imported file; in `file.py:Name` the file name is compared alone.

    Raises:
        LookupError: If the module is not imported, has no such name, or several imported files
            have this file name.

    Example:
        >>> import fractions
        >>> resolve("fractions:Fraction")
        <class 'fractions.Fraction'>
        >>> resolve("my_models.py:Net")
        Traceback (most recent call last):
        LookupError: 'my_models.py:Net': the file my_models.py is not imported
    """
    where, colon, name = ref.partition(":")
    if not where or not colon or not all(part.isidentifier() for part in name.split(".")):
        raise LookupError(
            f"{ref!r} must have the form module:Name or file.py:Name, such as my_models.py:Net"
        )
    if where.endswith(".py"):
        modules = list(_imported_files(Path(where)))
        if not modules:
            raise LookupError(f"{ref!r}: the file {where} is not imported")
    else:
        modules = [module for module in _imported() if _name(module) == where]
        if not modules:
            raise LookupError(f"{ref!r}: the module {where} is not imported")
    matches = [match for match in (_attribute(m, name) for m in modules) if match is not None]
    if not matches:
        raise LookupError(f"{ref!r}: {where} is imported and has no {name}")
    if any(match is not matches[0] for match in matches):
        paths = ", ".join(sorted({str(_path(module)) for module in modules}))
        raise LookupError(f"{ref!r} fits several imported modules: {paths}; write the full path")
    return matches[0]


def import_file(path: Path) -> ModuleType:
    """Imports a Python file as a module, once, and returns it.

    The module is named after the file, or after the file and its digest where another module has
    that name. During the import the folder of the file is first on `sys.path`, so that the file may
    import its neighbours.

    Arguments:
        path: The file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not a Python file.
    """
    path = path.expanduser().resolve()
    if path.suffix != ".py" or not path.stem.isidentifier():
        raise ValueError(
            f"a file to import must be named like a module, got {path.name}; "
            "write a name such as my_models.py"
        )
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    for module in _imported_files(path):
        return module
    name = path.stem if _is_free(path) else f"{path.stem}_{digest_of(path)[:12]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    folder = str(path.parent)
    sys.path.insert(0, folder)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    finally:
        if folder in sys.path:
            sys.path.remove(folder)
    return module


def file_of(obj: object) -> Path | None:
    """Returns the file that defines a class or a function; None for built-in ones.

    Arguments:
        obj: The class or function.

    Example:
        >>> import fractions
        >>> file_of(fractions.Fraction).name
        'fractions.py'
        >>> file_of(len) is None
        True
    """
    module = sys.modules.get(str(getattr(obj, "__module__", None)))
    return None if module is None else _path(module)


def digest_of(path: Path) -> str:
    """Returns the SHA-256 of the bytes of a file, in hexadecimal.

    Arguments:
        path: The file.

    Raises:
        OSError: If it cannot be read.
    """
    return hashlib.sha256(path.read_bytes()).hexdigest()


def is_installed(path: Path) -> bool:
    """Returns whether a file belongs to Python or to an installed package, not to a user.

    Arguments:
        path: The file.

    Example:
        >>> is_installed(Path(inspect.__file__)), is_installed(Path("my_models.py"))
        (True, False)
    """
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    folders = [sysconfig.get_path(name) for name in names]
    folders += [*site.getsitepackages(), site.getusersitepackages()]
    resolved = path.resolve()
    return any(resolved.is_relative_to(Path(folder).resolve()) for folder in folders)


def _imported() -> list[ModuleType]:
    """The imported modules."""
    return [module for module in list(sys.modules.values()) if isinstance(module, ModuleType)]


def _imported_files(path: Path) -> Iterator[ModuleType]:
    """The imported modules of a file: by its path, or by the file name of a module on its own."""
    in_folder = len(path.parts) > 1
    full = path.expanduser().resolve()
    for module in _imported():
        file = _path(module)
        if file is None or file.name != path.name:
            continue
        if file.resolve() == full if in_folder else _is_lone(module):
            yield module


def _path(module: ModuleType) -> Path | None:
    """The source file of a module; `vars`, since a module's `__getattr__` may run code."""
    file = vars(module).get("__file__")
    return Path(file) if isinstance(file, str) else None


def _name(module: ModuleType) -> str:
    """The name by which a module is imported, also where `python -m` runs it as `__main__`."""
    name = vars(module).get("__name__")
    spec = vars(module).get("__spec__")
    if name == "__main__" and isinstance(spec, importlib.machinery.ModuleSpec):
        name = spec.name
    return str(name)


def _is_lone(module: ModuleType) -> bool:
    """Whether a module is a file outside of any package."""
    return "." not in _name(module) and "__path__" not in vars(module)


def _is_free(path: Path) -> bool:
    """Whether the name of a file neither is nor hides that of another module."""
    if path.stem in sys.modules:
        return False
    spec = importlib.util.find_spec(path.stem)
    return spec is None or (spec.origin is not None and Path(spec.origin).resolve() == path)


def _attribute(module: ModuleType, name: str) -> object | None:
    """The value of a dotted name in a module; None where there is none. Runs no code."""
    first, *rest = name.split(".")
    value = vars(module).get(first)
    for part in rest:
        value = inspect.getattr_static(value, part, None) if isinstance(value, type) else None
    return value.__func__ if isinstance(value, staticmethod) else value
