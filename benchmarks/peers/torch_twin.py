"""The same model and objective in PyTorch: autograd, float64, L-BFGS and Adam."""

import importlib.util
import math

import numpy as np
from race import Recorder


def available():
    """None, or why PyTorch cannot run."""
    return None if importlib.util.find_spec("torch") else "PyTorch is not installed"


class Twin:
    """Standardised tensors and parameters of a start, and the objective of skmoe.

    The features are standardised once, with a column of ones; scores of gate and experts
    come from one product. They are (K, n), so that sums over experts run along rows;
    ``rows_first`` is the usual (n, K), which takes longer.
    """

    def __init__(self, start, rows_first=False):
        import torch

        torch.set_num_threads(1)
        self.torch = torch
        data, parts = start.data, start.parts
        self.n, self.n_experts = data.X.shape[0], parts.experts.n_experts
        Z = data.X.block(slice(0, self.n))
        self.rows_first = rows_first
        self.Z, self.Zt = torch.tensor(Z), torch.tensor(np.ascontiguousarray(Z.T))
        self.gate_ridge = parts.gate.alpha
        self.ridge = parts.experts.alpha / self.n
        self.n_classes = data.n_classes
        if self.n_classes:
            self._set_classes(data, parts)
        else:
            self._set_target(data, parts)
        for tensor in self.parameters:
            tensor.requires_grad_(True)

    def _set_classes(self, data, parts):
        torch = self.torch
        self.codes = torch.tensor(data.y)[None, None, :].expand(self.n_experts, 1, self.n)
        coef = np.ascontiguousarray(np.hstack([parts.gate._coef, parts.experts.block_coef()]).T)
        self.parameters = [torch.tensor(coef)]

    def _set_target(self, data, parts):
        torch, scale = self.torch, data.y_scale
        mean = data.y.mean(axis=0)
        self.y = torch.tensor((data.y - mean) / scale).T.contiguous()
        base = float(data.base_variance[0] / scale[0] ** 2)
        self.floor = 0.5 * parts.likelihood.floor * base / self.n
        # Without a floor there is no prior.
        self.prior_rows = 0.5 / self.n if parts.likelihood.floor > 0 else 0.0
        self.log_base = math.log(base)
        experts = parts.experts.block_coef() / scale
        experts[-1] -= mean / scale
        coef = np.ascontiguousarray(np.hstack([parts.gate._coef, experts]).T)
        variance = parts.likelihood.dispersion / scale**2
        self.parameters = [torch.tensor(coef), torch.tensor(np.log(variance))]

    def objective(self):
        """Penalised mean log-likelihood, as skmoe's monitor sees it."""
        torch, coef = self.torch, self.parameters[0]
        scores = (self.Z @ coef.T).T if self.rows_first else coef @ self.Zt
        log_gate = torch.log_softmax(scores[: self.n_experts], dim=0)
        experts = scores[self.n_experts :]
        if self.n_classes:
            by_class = experts.view(self.n_experts, self.n_classes, self.n)
            log_lik = torch.log_softmax(by_class, dim=1).gather(1, self.codes)[:, 0]
            prior = 0.0
        else:
            log_variance = self.parameters[1]
            precision = torch.exp(-log_variance)
            error = self.y - experts
            log_lik = -0.5 * (error * error * precision + log_variance + math.log(2 * math.pi))
            prior = self.floor * precision.sum()
            prior = prior + self.prior_rows * (log_variance - self.log_base).sum()
        value = torch.logsumexp(log_gate + log_lik, dim=0).mean() - prior
        slopes = coef[:, :-1].square().sum(dim=1)
        gate, ridge = slopes[: self.n_experts].sum(), slopes[self.n_experts :].sum()
        return value - 0.5 * self.gate_ridge * gate - 0.5 * self.ridge * ridge


class _Arrived(Exception):
    """The goal is reached."""


def _climb(twin, optimizer, record, n_calls):
    seen = [0]

    def closure():
        optimizer.zero_grad(set_to_none=True)
        loss = -twin.objective()
        loss.backward()
        seen[0] += 1
        if record(-loss.item()):
            raise _Arrived
        return loss

    try:
        for _ in range(n_calls):
            optimizer.step(closure)
    except _Arrived:
        pass
    return record.trajectory(seen[0])


def race_lbfgs(start, stop_at=np.inf, limit=np.inf, *, rows_first=False, max_iter=5000):
    """L-BFGS with a strong-Wolfe line search and 20 pairs."""
    twin, record = Twin(start, rows_first), Recorder(stop_at, limit)
    optimizer = twin.torch.optim.LBFGS(
        twin.parameters,
        lr=1.0,
        max_iter=max_iter,
        max_eval=2 * max_iter,
        history_size=20,
        line_search_fn="strong_wolfe",
        tolerance_grad=1e-9,
        tolerance_change=1e-12,
    )
    return _climb(twin, optimizer, record, 1)


def race_adam(start, stop_at=np.inf, limit=np.inf, *, max_iter=1000, rate=0.03):
    """Adam on all rows, the rate falling to nothing by a cosine."""
    twin, record = Twin(start), Recorder(stop_at, limit)
    optimizer = twin.torch.optim.Adam(twin.parameters, lr=rate)
    schedule = twin.torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max_iter)
    optimizer.register_step_post_hook(lambda *_: schedule.step())
    return _climb(twin, optimizer, record, max_iter)
