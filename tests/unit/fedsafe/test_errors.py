"""The error tree: categories that are also the standard library's, and that cross processes."""

import pickle

import pytest

from fedsafe import errors

KINDS = {
    errors.ConfigError: ValueError,
    errors.PluginError: LookupError,
    errors.DataError: ValueError,
    errors.ModelError: RuntimeError,
    errors.RunError: RuntimeError,
    errors.TransientError: RuntimeError,
    errors.LaunchError: RuntimeError,
    errors.MissingDependencyError: ImportError,
}


@pytest.mark.parametrize(("kind", "standard"), KINDS.items())
def test_error_is_fedsafes_and_the_standard_librarys(
    kind: type[Exception], standard: type[Exception]
) -> None:
    assert issubclass(kind, errors.FedSafeError)
    assert issubclass(kind, standard)


@pytest.mark.parametrize("kind", KINDS)
def test_error_keeps_its_sentence_across_processes(kind: type[Exception]) -> None:
    found = pickle.loads(pickle.dumps(kind("A whole sentence.")))
    assert (type(found), str(found)) == (kind, "A whole sentence.")


def test_every_error_is_in_the_tree_of_the_module() -> None:
    defined = {
        value for value in vars(errors).values() if isinstance(value, type) and value in KINDS
    }
    assert all(kind.__name__ in (errors.__doc__ or "") for kind in defined)
