"""Tables in and out."""

import re
import sys

import pandas as pd

_ENCODINGS = ("utf-8", "cp1252", "latin-1")
_SEPARATORS = (",", ";", "\t", "|")
_COMMA = r"[+-]?(?:(?:\d*,)?\d+(?:[eE][+-]?\d+)?|inf)"


class CliError(Exception):
    """What is wrong with the input, in words for the user."""


def read_table(path):
    """Read a CSV, TSV or Parquet file with a header.

    What separates the values of a text is told from its header. It is UTF-8, or Western
    European where it cannot be that; decimal commas are understood where the separator is another.

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
            frame = _read_text(path, "\t" if ".tsv" in suffixes else None)
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


def _read_text(path, separator):
    """The frame of a text file in the first encoding that fits."""
    with path.open("rb") as file:
        wide = file.read(2) in (b"\xff\xfe", b"\xfe\xff")
    for encoding in ("utf-16",) if wide else _ENCODINGS:
        try:
            separator = separator or _separator(path, encoding)
            frame = pd.read_csv(path, sep=separator, encoding=encoding)
        except UnicodeDecodeError:
            if encoding == _ENCODINGS[-1]:
                raise
            continue
        return frame if separator == "," else _with_points(frame)


def _separator(path, encoding):
    """The most frequent separator of the header, outside of quotes."""
    line = pd.read_csv(
        path, sep="\x01", header=None, nrows=1, quoting=3, dtype=str, encoding=encoding
    )
    header = re.sub(r'"[^"]*"', "", str(line.iloc[0, 0]))
    return max(_SEPARATORS, key=header.count)


def _with_points(frame):
    """Columns of words that are numbers with decimal commas, as numbers."""
    for name in frame.select_dtypes(exclude="number"):
        words = frame[name].dropna().astype(str)
        if words.str.fullmatch(_COMMA).all() and words.str.contains(",").any():
            frame[name] = pd.to_numeric(frame[name].str.replace(",", "."))
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
