"""Public docstrings follow numpydoc."""

import importlib
import inspect
import pkgutil
import re

import pytest

import skmoe

# Codes that are not asked for, and why.
IGNORED = {
    "GL01": "the summary stands on the line of the opening quotes, as in scikit-learn",
    "ES01": "a good summary and the parameters may say all",
    "SA01": "not every object has a relative",
    "EX01": "asked for below, of functions and classes only",
    "RT02": "return values have names, which tell their roles",
}
# Methods of parts implement one interface, whose arrays and shapes are listed
# where it is defined; a method states what it does and the shape of its result.
PARTS = (
    "skmoe.gates",
    "skmoe.experts",
    "skmoe.likelihoods",
    "skmoe.routing",
    "skmoe.balance",
)
IGNORED_IN_PARTS = {
    **IGNORED,
    "PR01": "arguments of the interface",
    "PR07": "the type states the shape, which says all",
    "RT01": "arrays of the interface",
    "RT03": "the type states the shape, which says all",
}


def public_modules():
    """Yield skmoe and the modules and packages directly below it that are public."""
    yield skmoe
    for info in pkgutil.iter_modules(skmoe.__path__):
        if not info.name.startswith("_"):
            yield importlib.import_module(f"skmoe.{info.name}")


def public_objects():
    """Map the address of every public class and function to the object."""
    found = {}
    for module in public_modules():
        for name in getattr(module, "__all__", ()):
            thing = getattr(module, name)
            defined_here = getattr(thing, "__module__", "").partition(".")[0] == "skmoe"
            if defined_here and (inspect.isclass(thing) or inspect.isfunction(thing)):
                found[id(thing)] = (f"{module.__name__}.{name}", thing)
    return dict(sorted(found.values()))


def public_methods(cls):
    """Return the names of the public methods of a class that skmoe defines."""
    names = []
    for name in dir(cls):
        member = inspect.getattr_static(cls, name)
        function = getattr(member, "fget", None) or getattr(member, "__func__", member)
        ours = getattr(function, "__module__", "") or ""
        if not name.startswith("_") and inspect.isfunction(function) and ours.startswith("skmoe"):
            names.append(name)
    return names


OBJECTS = public_objects()
METHODS = [
    f"{address}.{name}"
    for address, thing in OBJECTS.items()
    if inspect.isclass(thing)
    for name in public_methods(thing)
]


def problems(address, ignored):
    from numpydoc.validate import validate

    return [f"{code}: {text}" for code, text in validate(address)["errors"] if code not in ignored]


def test_something_is_public():
    assert "skmoe.datasets.load_mcycle" in OBJECTS


@pytest.mark.parametrize("address", OBJECTS)
def test_class_or_function(address):
    assert problems(address, IGNORED) == []


@pytest.mark.parametrize("address", OBJECTS)
def test_has_an_example(address):
    assert ">>> " in (inspect.getdoc(OBJECTS[address]) or "")


@pytest.mark.parametrize("address", METHODS)
def test_method(address):
    ignored = IGNORED_IN_PARTS if address.startswith(PARTS) else IGNORED
    assert problems(address, ignored) == []


@pytest.mark.parametrize("address", [*OBJECTS, *METHODS])
def test_has_no_word_that_sphinx_takes_for_a_reference(address):
    # A bare word with an underscore at its end is a link to a target that nobody has defined.
    owner, _, name = address.rpartition(".")
    thing = OBJECTS[address] if address in OBJECTS else getattr(OBJECTS[owner], name)
    text = (inspect.getdoc(thing) or "").partition("Examples\n---")[0]
    text = re.sub(r"``.+?``|`.+?`|\.\. math::.*?\n\n", "", text, flags=re.DOTALL)
    text = re.sub(r"^\w.*( : .*|_)$", "", text, flags=re.MULTILINE)  # names of attributes
    assert re.findall(r"\b\w*[a-z0-9]_(?![\w{])", text) == []
