"""Ratings of films: gated experts on sparse user, item, genre and time columns.

Give it the MovieLens "latest small" ratings, which may not be shipped: the zip from
https://grouplens.org/datasets/movielens/latest/ or the folder in it, or a table
``movielens_small.csv.gz`` with columns userId, movieId, year, timestamp, genre_* and rating, for
which the folder ``SKMOE_DATA`` is also searched:

    python examples/recommender.py --data ml-latest-small.zip

Each user's ratings are split by time: the first 70 percent train, the next 10 are for choosing
settings, the last 20 are the test and are looked at once, after fits to the first 80. The split is
in every user's own time, so other users' later ratings may be among the training rows.

``--quick`` takes a quarter of the users and the settings that were chosen for all of them.
"""

import argparse
import os
import time
import warnings
import zipfile
from pathlib import Path

# Boosting by threads crawls where another program takes a core. Said before numpy is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
import scipy.sparse as sp
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Ridge
from sklearn.metrics import ndcg_score
from sklearn.model_selection import KFold

from skmoe import MoERegressor
from skmoe.experts import FactorExpert, FactorRegressor, LinearExpert
from skmoe.gates import SoftmaxGate
from skmoe.likelihoods import Gaussian

PICTURE = Path(__file__).parent / "figures" / "recommender.png"
NAME = "movielens_small.csv.gz"
KEYS = ["userId", "movieId"]
LOWEST, HIGHEST = 0.5, 5.0
TRAIN, CHOOSE = 0.7, 0.8
SECONDS_OF_YEAR = 365.2425 * 86400
# Cuts of a number into columns of zeros and ones.
N_CUTS = 12
# A mean rating counts as if there were so many more ratings, all of them average.
SMOOTHING = 5.0


# --- the ratings ------------------------------------------------------------------------


def find_data():
    """Path of the table in the folder SKMOE_DATA, or None."""
    path = Path(os.environ.get("SKMOE_DATA", "")) / NAME
    return path if path.is_file() else None


def read_ratings(path):
    """One row per rating, by user and time: userId, movieId, year, timestamp, genre_*, rating."""
    path = Path(path)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            names = {Path(name).name: name for name in archive.namelist()}
            with archive.open(names["ratings.csv"]) as ratings:
                ratings = pd.read_csv(ratings)
            with archive.open(names["movies.csv"]) as movies:
                ratings = joined(ratings, pd.read_csv(movies))
    elif path.is_dir():
        ratings = joined(pd.read_csv(path / "ratings.csv"), pd.read_csv(path / "movies.csv"))
    else:
        ratings = pd.read_csv(path, keep_default_na=False, na_values=[""])
    order = ["userId", "timestamp", "movieId"]
    return ratings.sort_values(order, kind="stable").reset_index(drop=True)


def joined(ratings, movies):
    """Ratings with the genres and the year of their film, which stands in its title."""
    genres = movies["genres"].replace("(no genres listed)", "").str.get_dummies("|")
    names = genres.columns.str.lower().str.replace("-", "_").str.replace(" ", "_")
    genres.columns = "genre_" + names
    year = movies["title"].str.extract(r"\((\d{4})\)\s*$")[0].astype(float)
    films = pd.concat([movies[["movieId"]], year.rename("year"), genres], axis=1)
    return ratings.merge(films, on="movieId", how="left")


def split_by_time(ratings):
    """Rows to train on, to choose settings by, and to test on: three index arrays."""
    users = ratings.groupby("userId")["rating"]
    place = (users.cumcount() + 0.5) / users.transform("size")
    return [
        np.flatnonzero(part)
        for part in (place < TRAIN, (place >= TRAIN) & (place < CHOOSE), place >= CHOOSE)
    ]


# --- features ---------------------------------------------------------------------------


def one_hot(values):
    """A column for each distinct value."""
    codes = pd.Categorical(values).codes
    return sp.csr_matrix((np.ones(len(codes)), (np.arange(len(codes)), codes)))


def genre_names(ratings):
    return [name for name in ratings if name.startswith("genre_")]


def side_columns(ratings, seen):
    """Numbers of film, time and activity, at a scale of about one.

    Counts are those of the rows ``seen`` in training; nothing here knows a rating.
    """
    when = 1970 + ratings["timestamp"] / SECONDS_OF_YEAR
    first = ratings.groupby("userId")["timestamp"].transform("min")
    year = ratings["year"].fillna(ratings["year"].median())
    films, users = (
        ratings[name].map(ratings[name].iloc[seen].value_counts()).fillna(0)
        for name in ("movieId", "userId")
    )
    return pd.DataFrame(
        {
            "year of the film": (year - 1990) / 20,
            "time": (when - 2005) / 10,
            "age of the film": (when - year).clip(lower=0) / 20,
            "time since first rating": np.log1p((ratings["timestamp"] - first) / 86400) / 5,
            "ratings of the film": (np.log1p(films) - 2.5) / 2,
            "ratings of the user": (np.log1p(users) - 4.5) / 1.5,
        }
    )


def sparse_features(ratings, seen):
    """CSR: a column for each user, film and genre; numbers, and columns of their ranges."""
    genres = ratings[genre_names(ratings)].to_numpy(dtype=float)
    genres /= np.sqrt(np.maximum(genres.sum(axis=1, keepdims=True), 1))
    numbers = side_columns(ratings, seen)
    levels = np.linspace(0.05, 0.95, N_CUTS)
    ranges = [
        one_hot(np.digitize(column, np.unique(np.quantile(column.iloc[seen], levels))))
        for _, column in numbers.items()
    ]
    names = [one_hot(ratings["userId"]), one_hot(ratings["movieId"])]
    return sp.hstack([*names, genres, numbers.to_numpy(), *ranges]).tocsr()


def dense_features(ratings, rating, seen):
    """For boosting: users and films by their mean rating, out of fold on the rows ``seen``."""
    means = np.column_stack([smoothed_means(ratings[name], rating, seen) for name in KEYS])
    for train, held_out in KFold(5, shuffle=True, random_state=0).split(seen):
        some, others = seen[held_out], seen[train]
        for j, name in enumerate(KEYS):
            means[some, j] = smoothed_means(ratings[name], rating, others)[some]
    return np.column_stack([means, ratings[genre_names(ratings)], side_columns(ratings, seen)])


def smoothed_means(keys, rating, seen):
    """Mean rating (n,) of each row's key on the rows ``seen``, drawn to that of all."""
    total = pd.Series(rating[seen]).groupby(keys.iloc[seen].to_numpy()).agg(["sum", "size"])
    mean = rating[seen].mean()
    means = (total["sum"] + SMOOTHING * mean) / (total["size"] + SMOOTHING)
    return keys.map(means).fillna(mean).to_numpy()


# --- matrix factorisation ---------------------------------------------------------------


class MatrixFactorisation:
    """mean + user bias + film bias + product of factors, by alternating least squares."""

    def __init__(self, n_factors=8, alpha=10.0, bias_alpha=5.0, n_iter=15):
        self.n_factors, self.alpha, self.bias_alpha = n_factors, alpha, bias_alpha
        self.n_iter = n_iter

    def fit(self, codes, rating):
        """Fit to (n, 2) of user and film codes; those that are missing get zeros."""
        rng = np.random.RandomState(0)
        self.mean = rating.mean()
        sizes = codes.max(axis=0) + 1
        # In each row: a bias, then factors.
        self.users, self.films = (
            rng.normal(scale=0.1, size=(size, 1 + self.n_factors)) for size in sizes
        )
        self.films[:, 0] = self.users[:, 0] = 0.0
        for _ in range(self.n_iter):
            for side, own, other in ((0, self.users, self.films), (1, self.films, self.users)):
                mine, theirs = codes[:, side], other[codes[:, 1 - side]]
                left = rating - self.mean - theirs[:, 0]
                regressors = np.column_stack([np.ones(len(mine)), theirs[:, 1:]])
                own[:] = self._solve(mine, regressors, left, len(own))
        return self

    def _solve(self, groups, regressors, target, n_groups):
        """Ridge regressions (n_groups, 1 + F), one for the rows of each group."""
        order = np.argsort(groups, kind="stable")
        found, starts = np.unique(groups[order], return_index=True)
        Z, target = regressors[order], target[order]
        grams = np.add.reduceat(Z[:, :, None] * Z[:, None, :], starts)
        grams += np.diag(np.append(self.bias_alpha, np.full(self.n_factors, self.alpha)))
        right = np.add.reduceat(Z * target[:, None], starts)
        out = np.zeros((n_groups, Z.shape[1]))
        out[found] = np.linalg.solve(grams, right[:, :, None])[:, :, 0]
        return out

    def predict(self, codes):
        users, films = (
            table[np.minimum(c, len(table) - 1)] * (c < len(table))[:, None]
            for table, c in zip((self.users, self.films), codes.T, strict=True)
        )
        both = np.einsum("nf,nf->n", users[:, 1:], films[:, 1:])
        return self.mean + users[:, 0] + films[:, 0] + both


# --- models and their settings -----------------------------------------------------------


def mixture(expert, n_experts, gate_alpha, floor):
    """A gated mixture; ``floor`` holds the noise of the experts up, see docs/recommender.md."""
    return MoERegressor(
        expert,
        n_experts=n_experts,
        gate=SoftmaxGate(gate_alpha, standardize=False),
        likelihood=Gaussian(shared=True, floor=floor),
        solver="gradient",
        max_iter=60,
        n_init=1,
        random_state=0,
    )


def gated_linear(share, n_rows, alpha=6.0, n_experts=2):
    expert = LinearExpert(alpha, standardize=False)
    return mixture(expert, n_experts, 1e-5, share * n_rows)


def gated_factors(share, n_rows, factor_alpha=120.0, n_experts=2, gate_alpha=1e-4):
    expert = FactorExpert(8, 8.0, factor_alpha, standardize=False)
    return mixture(expert, n_experts, gate_alpha, share * n_rows)


def one_machine(factor_alpha, alpha=5.0):
    return FactorRegressor(8, alpha, factor_alpha, standardize=False, random_state=0)


def boosting(max_iter, learning_rate):
    return HistGradientBoostingRegressor(
        max_iter=max_iter, learning_rate=learning_rate, early_stopping=False, random_state=0
    )


# For each model: which features it takes, how it is made, its candidates, and those of --quick.
MODELS = {
    "Ridge": ("sparse", Ridge, [{"alpha": a} for a in (2.0, 3.0, 5.0, 8.0)], 2),
    "matrix factorisation": (
        "codes",
        MatrixFactorisation,
        [{"n_factors": f, "alpha": a} for f in (4, 8) for a in (5.0, 10.0, 20.0)],
        4,
    ),
    "boosting": (
        "dense",
        boosting,
        [{"max_iter": n, "learning_rate": 0.05} for n in (200, 400, 800)],
        0,
    ),
    "factorisation machine": (
        "sparse",
        one_machine,
        [{"factor_alpha": a} for a in (90.0, 110.0)],
        1,
    ),
    "gated linear": (
        "sparse",
        gated_linear,
        [{"n_experts": 2, "share": 0.3}, {"n_experts": 4, "share": 0.2}],
        0,
    ),
    "gated factorised": (
        "sparse",
        gated_factors,
        [{"share": s, "factor_alpha": a} for s, a in ((0.3, 120.0), (0.7, 70.0), (0.7, 120.0))],
        1,
    ),
}


class Ratings:
    """The ratings, and the features of all rows for fits to some of them."""

    def __init__(self, table):
        self.table, self.rating = table, table["rating"].to_numpy(dtype=float)
        self.train, self.choose, self.test = split_by_time(table)
        self.users = table["userId"].to_numpy()
        codes = [pd.factorize(table[name])[0] for name in ("userId", "movieId")]
        self.codes = np.column_stack(codes)

    def features(self, seen):
        """By name, for models that train on the rows ``seen``."""
        return {
            "sparse": sparse_features(self.table, seen),
            "dense": dense_features(self.table, self.rating, seen),
            "codes": self.codes,
        }


def predict(model, X):
    return np.clip(model.predict(X), LOWEST, HIGHEST)


def fit_one(name, settings, X, rating):
    """A fitted model."""
    make = MODELS[name][1]
    if make in (gated_linear, gated_factors):
        settings = {**settings, "n_rows": len(rating)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # 60 iterations are meant
        return make(**settings).fit(X, rating)


def rmse(rating, predicted):
    return float(np.sqrt(np.mean(np.square(rating - predicted))))


def mean_ndcg(users, rating, predicted, k=10):
    """Mean over users of NDCG@k, whose candidates are the films that the user rated."""
    order = np.argsort(users, kind="stable")
    ends = np.flatnonzero(np.diff(users[order])) + 1
    each = [rows for rows in np.split(order, ends) if len(rows) > 1]
    return float(np.mean([ndcg_score([rating[r]], [predicted[r]], k=k) for r in each]))


def choose_settings(data, quick):
    """Settings of every model with the lowest error on the rows for choosing."""
    features, chosen = data.features(data.train), {}
    for name, (kind, _, candidates, usual) in MODELS.items():
        best = np.inf
        for settings in [candidates[usual]] if quick else candidates:
            X = features[kind]
            model = fit_one(name, settings, X[data.train], data.rating[data.train])
            error = rmse(data.rating[data.choose], predict(model, X[data.choose]))
            print(f"  {name:22} {error:.4f}  {settings}", flush=True)
            if error < best:
                best, chosen[name] = error, settings
    return chosen


def compare(data, chosen):
    """Fit all with their settings, look at the test rows, print the table.

    Returns
    -------
    scores : dict of (rmse, mae, ndcg)
    models : dict of fitted models
    """
    seen, test = np.concatenate([data.train, data.choose]), data.test
    features, scores, models = data.features(seen), {}, {}
    print(f"\n{'test rows':22} {'RMSE':>7} {'MAE':>7} {'NDCG@10':>8} {'seconds':>8}")
    for name, settings in chosen.items():
        X, start = features[MODELS[name][0]], time.perf_counter()
        model = models[name] = fit_one(name, settings, X[seen], data.rating[seen])
        seconds = time.perf_counter() - start
        predicted, rating = predict(model, X[test]), data.rating[test]
        error = np.abs(rating - predicted).mean()
        ndcg = mean_ndcg(data.users[test], rating, predicted)
        scores[name] = rmse(rating, predicted), error, ndcg
        print(f"{name:22} {scores[name][0]:7.4f} {error:7.4f} {ndcg:8.4f} {seconds:8.1f}")
    return scores, models, features["sparse"]


# --- the picture ------------------------------------------------------------------------


def draw(data, models, X, path):
    """Which expert serves which genres and users, on all ratings; a row for each model."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure = plt.figure(figsize=(11, 4.8 * len(models)), layout="constrained")
    for part, (title, model) in zip(figure.subfigures(len(models), 1), models.items()):
        gate, opinions = model.gate_proba(X), model.predict_experts(X)
        # The expert that serves least comes last.
        order = np.argsort(-gate.mean(axis=0))
        gate, opinions = gate[:, order], opinions[:, order]
        left, right = part.subplots(1, 2, width_ratios=[1.1, 1])
        part.suptitle(title, fontsize=12)
        _draw_genres(left, data, gate[:, -1], opinions, genre_names(data.table))
        _draw_users(part, right, data, gate[:, -1])
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _draw_genres(axes, data, last, opinions, names):
    """A bar for each genre: how much of it goes to the last expert."""
    rows = [data.table[name].to_numpy() > 0 for name in names]
    rows_of = sorted(zip(names, rows, strict=True), key=lambda pair: last[pair[1]].mean())
    for place, (_, some) in enumerate(rows_of):
        share = last[some].mean()
        axes.barh(place, share, color="tab:orange", alpha=0.85)
        axes.barh(place, 1 - share, left=share, color="tab:blue", alpha=0.85)
        low, high = opinions[some][:, 0].mean(), opinions[some][:, -1].mean()
        axes.text(0.01, place, f"{high:.1f}", va="center", fontsize=8, color="white")
        axes.text(0.99, place, f"{low:.1f}", va="center", ha="right", fontsize=8, color="white")
    labels = [name[len("genre_") :].replace("_", " ") for name, _ in rows_of]
    axes.set_yticks(range(len(labels)), labels, fontsize=9)
    axes.axvline(last.mean(), color="black", linewidth=1)
    axes.set(xlim=(0, 1), xlabel="share of expert 2 (orange); line: all ratings")
    axes.set_title("Genres; figures: mean prediction of each expert", fontsize=10)


def _draw_users(figure, axes, data, last):
    """A dot for each user: number of ratings, share of the last expert, mean rating."""
    frame = pd.DataFrame({"user": data.users, "share": last, "rating": data.rating})
    users = frame.groupby("user").agg(
        n=("share", "size"), share=("share", "mean"), rating=("rating", "mean")
    )
    colour = {"c": users["rating"], "cmap": "viridis", "vmin": 2, "vmax": 5}
    dots = axes.scatter(users["n"], users["share"], s=14, alpha=0.8, **colour)
    figure.colorbar(dots, ax=axes, label="mean rating of the user")
    axes.axhline(last.mean(), color="black", linewidth=1)
    axes.set(xscale="log", ylim=(0, 1), xlabel="ratings of the user")
    axes.set_ylabel("mean share of expert 2")
    axes.set_title("Users", fontsize=10)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=find_data(), help="zip, folder or table")
    parser.add_argument("--quick", action="store_true", help="a quarter of the users")
    parser.add_argument("--picture", type=Path, default=PICTURE, help="where the picture goes")
    options = parser.parse_args(arguments)
    if options.data is None:
        parser.error("give the MovieLens ratings as --data, or their folder as SKMOE_DATA")
    start, table = time.perf_counter(), read_ratings(options.data)
    if options.quick:
        table = table[table["userId"] % 4 == 0].reset_index(drop=True)
    data = Ratings(table)
    parts = len(data.train), len(data.choose), len(data.test)
    print("{} ratings to train on, {} to choose by, {} to test on".format(*parts))
    scores, models, X = compare(data, choose_settings(data, options.quick))
    gated = {name: models[name] for name in ("gated linear", "gated factorised")}
    draw(data, gated, X, options.picture)
    print(f"\n{time.perf_counter() - start:.0f} s in all; picture: {options.picture}")
    return scores


if __name__ == "__main__":
    main()
