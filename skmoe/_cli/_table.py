"""Tables in and out."""

import sys

import pandas as pd


class CliError(Exception):
    """What is wrong with the input, in words for the user."""


def read_table(path):
    """Read a CSV, TSV or Parquet file with a header.

    Parameters
    ----------
    path : Path

    Returns
    -------
    DataFrame

    Raises
    ------
    CliError
        If there is no such file, it cannot be read, or it holds no rows.
    """
    if not path.is_file():
        raise CliError(f"there is no file {path}.")
    suffixes = [suffix.lower() for suffix in path.suffixes]
    try:
        if ".parquet" in suffixes:
            frame = pd.read_parquet(path)
        else:
            frame = pd.read_csv(path, sep="\t" if ".tsv" in suffixes else ",")
    except ImportError as error:
        raise CliError(f"{path} needs a package to be read: {error}") from error
    except (ValueError, OSError, UnicodeDecodeError) as error:
        raise CliError(f"{path} cannot be read as a table: {error}") from error
    if not len(frame):
        raise CliError(f"{path} holds no rows.")
    repeated = frame.columns[frame.columns.duplicated()].tolist()
    if repeated:
        raise CliError(f"{path} has several columns named {repeated}; rename them.")
    frame.columns = [str(name) for name in frame.columns]
    return frame


def write_table(frame, path):
    """Write a CSV file, or to the screen."""
    if path is None:
        frame.to_csv(sys.stdout, index=False)
        return
    try:
        frame.to_csv(path, index=False)
    except OSError as error:
        raise CliError(f"{path} cannot be written: {error}") from error
