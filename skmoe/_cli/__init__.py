"""The command line: ``python -m skmoe fit | predict | explain``."""

import argparse
import os
import sys
from pathlib import Path

from ._store import StoredModel, load_model, save_model
from ._table import CliError, read_table, write_table

_KINDS = ("linear", "tree", "boosting")
_GATES = ("softmax", "hierarchical", "gaussian", "mlp")


def make_parser():
    """Arguments of all commands."""
    parser = argparse.ArgumentParser(
        prog="python -m skmoe",
        description="Mixtures of experts for tables, from the command line.",
    )
    commands = parser.add_subparsers(
        dest="command", required=True, metavar="fit | predict | explain"
    )
    _add_fit(commands)
    predict = commands.add_parser(
        "predict",
        help="predict the rows of a table",
        description="Predict the rows of a table with a model that fit has written. Regression "
        "gives the mean, an interval and the expert that the gate trusts most; classification "
        "gives the class, the probability of each, and that expert.",
    )
    _add_files(predict)
    predict.add_argument(
        "--interval", type=float, default=0.9, help="probability inside the interval (0.9)"
    )
    explain = commands.add_parser(
        "explain",
        help="say which expert adds how much to each prediction",
        description="For each row of a table: the prediction, the weight of each expert, what it "
        "predicts alone, and its contribution. Contributions add up to the prediction.",
    )
    _add_files(explain)
    return parser


def _add_files(command):
    command.add_argument("model", type=Path, help="file that fit wrote with --out")
    command.add_argument("table", type=Path, help="CSV, TSV or Parquet file with the features")
    command.add_argument("--out", type=Path, help="CSV file to write; the screen by default")


def _add_fit(commands):
    fit = commands.add_parser(
        "fit",
        help="fit a mixture to a table",
        description="Fit a mixture of experts to a table with a header row. Columns of words "
        "become indicators, dates years, missing numbers medians. Figures of merit are from "
        "held-out folds.",
    )
    fit.add_argument("table", type=Path, help="CSV, TSV or Parquet file")
    fit.add_argument("--target", required=True, help="column to predict")
    fit.add_argument("--drop", nargs="+", default=[], metavar="COLUMN", help="columns to leave out")
    fit.add_argument("--weight", metavar="COLUMN", help="column of sample weights")
    fit.add_argument(
        "--task",
        choices=("auto", "regression", "classification"),
        default="auto",
        help="auto: regression for a numeric target of more than two values",
    )
    fit.add_argument("--experts", default="auto", help="number of experts, or auto (the default)")
    fit.add_argument("--max-experts", type=int, default=8, help="most that auto tries (8)")
    fit.add_argument("--kind", choices=_KINDS, default="linear", help="kind of experts (linear)")
    fit.add_argument("--gate", choices=_GATES, default="softmax", help="kind of gate (softmax)")
    fit.add_argument("--max-iter", type=int, default=200, help="most iterations of a fit (200)")
    fit.add_argument("--folds", type=int, default=5, help="folds of the figures of merit (5)")
    fit.add_argument("--seed", type=int, default=0, help="of all that is random (0)")
    fit.add_argument("--out", type=Path, help="file for the model: .joblib, or .skops")
    fit.add_argument("--report", type=Path, help="HTML file for a report with pictures")
    fit.add_argument("--quiet", action="store_true", help="print nothing but errors")


def main(arguments=None):
    """Run a command.

    Parameters
    ----------
    arguments : list of str, default=None
        Those of the command line by default.

    Returns
    -------
    int
        0, or 2 where the input is at fault, which is said on the error stream.
    """
    options = make_parser().parse_args(arguments)
    try:
        {"fit": _fit, "predict": _predict, "explain": _explain}[options.command](options)
    except CliError as error:
        print(f"skmoe: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # Whoever read the screen has seen enough, as `head` has; Python would complain at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _fit(options):
    from ._train import check_options, prepare, train

    check_options(options)
    frame = read_table(options.table)
    problem = prepare(frame, options)
    say = (lambda *words: None) if options.quiet else print
    say(problem.summary)
    trained = train(problem, options, say)
    if options.report is not None:
        from ._report import write_report

        write_report(options.report, problem, trained)
        say(f"report: {options.report}")
    if options.out is not None:
        stored = StoredModel(
            trained.model, problem.target, list(problem.X.columns), problem.classify
        )
        save_model(options.out, stored)
        say(f"model: {options.out}")


def _predict(options):
    from ._train import predictions

    if not 0.0 < options.interval < 1.0:
        raise CliError(f"--interval {options.interval} must be between 0 and 1.")
    stored, X = _model_and_rows(options)
    write_table(predictions(stored, X, options.interval), options.out)


def _explain(options):
    from ._train import explanations

    write_table(explanations(*_model_and_rows(options)), options.out)


def _model_and_rows(options):
    stored = load_model(options.model)
    frame = read_table(options.table)
    missing = [name for name in stored.columns if name not in frame.columns]
    if missing:
        raise CliError(
            f"{options.table} lacks columns that the model was fitted to: {', '.join(missing)}."
        )
    return stored, frame[stored.columns]
