"""The errors of FedSafe, each a sentence: what failed, expected and got, what to do.

* FedSafeError
  + ConfigError (ValueError)         a setting or a combination of settings is wrong
  + PluginError (LookupError)        a plug-in is unknown, or its settings are
  + DataError (ValueError)           a data file or an example is wrong
  + ModelError (RuntimeError)        a model or an adapter cannot be used
  + RunError (RuntimeError)          a federation, a defense or an evaluation failed
    + TransientError                 the same, and asking again may help
  + LaunchError (RuntimeError)       a process or a runtime could not be started
  + MissingDependencyError (ImportError)  an optional package is not installed

Each takes one message, so that each can cross a process border. Knows nothing of
how an error is shown: that is `fedsafe.cli`.
"""


class FedSafeError(Exception):
    """Any failure that FedSafe explains in a sentence."""


class ConfigError(FedSafeError, ValueError):
    """One or more settings are wrong; the message lists them all.

    ``problems`` has them as (path, sentence) where the message has a line for each.
    """

    problems: tuple[tuple[str, str], ...] = ()


class PluginError(FedSafeError, LookupError):
    """A plug-in is unknown, defined twice, or not a plug-in."""


class DataError(FedSafeError, ValueError):
    """A data file or an example cannot be used; the message names file and line."""


class ModelError(FedSafeError, RuntimeError):
    """A model, tokenizer or adapter cannot be loaded or does not fit."""


class RunError(FedSafeError, RuntimeError):
    """A run cannot start, go on or be read."""


class TransientError(RunError):
    """A client could not work just now: asking again may help.

    Its trainer died or does not answer, or it is shutting down. Never a refusal: one who
    will not work with this experiment says so with another error, and is not asked again.
    The server knows it by its name, which Flower puts in front of the sentence.
    """


class LaunchError(FedSafeError, RuntimeError):
    """A process or a runtime could not be started."""


class MissingDependencyError(FedSafeError, ImportError):
    """An optional package is needed; the message says how to install it."""


def reason_of(error: BaseException, longest: int = 200) -> str:
    """Return what an exception says on one line, to stand inside a sentence of ours.

    At most ``longest`` characters, without a full stop at the end; the exception's type where it
    says nothing.
    """
    return " ".join(str(error).split())[:longest].rstrip(".") or type(error).__name__
