"""CUDA source of the kernels in ``gpu``; plain text, so that it can be read without CuPy.

One thread works on rows t, t + T, t + 2 T, ..., where T is the number of threads: neighbours
read neighbours, since scores are (K, m) with contiguous rows. Sums over rows are kept by
thread, in ``partial`` (number of sums, T), and added up outside in a fixed order: there are no
atomic operations, no shared memory and no barriers, so that results do not change from run to
run, and the source compiles as C++ for tests on a host.
"""

SOURCE = r"""
typedef long long index;

#define FIRST ((index)blockIdx.x * blockDim.x + threadIdx.x)
#define STRIDE ((index)gridDim.x * blockDim.x)

static __device__ double minus_infinity() { return log(0.0); }

/* Softmax of the gate and posterior of row i, in place. On entry gate holds logits and joint
their sums with log-likelihoods; on return joint is weight * resp and gate is
weight * (resp - gate_proba). Returns the weighted log-likelihood of the row. */
static __device__ double mix_row(double *gate, double *joint, double weight,
                                 const double *given, int has_given, int n_experts,
                                 index n_rows, index i, int *top, double *missed) {
    double top_gate = minus_infinity(), top_joint = minus_infinity();
    double sum_gate = 0.0, sum_joint = 0.0;
    int best = 0;
    for (int k = 0; k < n_experts; ++k) {
        double one = gate[k * n_rows + i], two = joint[k * n_rows + i];
        if (one > top_gate) { top_gate = one; best = k; }
        if (two > top_joint) top_joint = two;
    }
    top[i] = best;
    int explained = top_joint > minus_infinity();
    for (int k = 0; k < n_experts; ++k) {
        double one = exp(gate[k * n_rows + i] - top_gate);
        double two = explained ? exp(joint[k * n_rows + i] - top_joint) : one;
        gate[k * n_rows + i] = one;
        joint[k * n_rows + i] = two;
        sum_gate += one;
        sum_joint += two;
    }
    if (!explained) *missed += 1.0;
    double value = weight * (top_joint - top_gate + log(sum_joint / sum_gate));
    double share = weight / sum_joint, inverse = weight / sum_gate;
    for (int k = 0; k < n_experts; ++k) {
        double own = has_given ? weight * given[i * n_experts + k]
                               : joint[k * n_rows + i] * share;
        joint[k * n_rows + i] = own;
        gate[k * n_rows + i] = own - gate[k * n_rows + i] * inverse;
    }
    return value;
}

/* Sums of one thread by expert: spread of the gate, weight * resp, load; stored at first,
first + 1, first + 2 of partial, whose rows are n_threads apart. */
static __device__ void add_shares(const double *weight, const double *gate,
                                  const double *joint, const int *top, double *partial,
                                  int k, int first, index n_rows) {
    double spread = 0.0, share = 0.0, load = 0.0;
    for (index i = FIRST; i < n_rows; i += STRIDE) {
        double own = joint[k * n_rows + i];
        double weighted = own - gate[k * n_rows + i];
        spread += weighted * (1.0 - weighted / weight[i]);
        share += own;
        if (top[i] == k) load += weight[i];
    }
    partial[first * STRIDE + FIRST] = spread;
    partial[(first + 1) * STRIDE + FIRST] = share;
    partial[(first + 2) * STRIDE + FIRST] = load;
}

extern "C" __global__ void mix_rows(const double *weight, const double *given, int has_given,
                                    double *gate, double *joint, int *top, double *partial,
                                    int n_experts, index n_rows) {
    double value = 0.0, missed = 0.0;
    for (index i = FIRST; i < n_rows; i += STRIDE)
        value += mix_row(gate, joint, weight[i], given, has_given, n_experts, n_rows, i, top,
                         &missed);
    for (int k = 0; k < n_experts; ++k)
        add_shares(weight, gate, joint, top, partial, k, 3 * k, n_rows);
    partial[3 * n_experts * STRIDE + FIRST] = value;
    partial[(3 * n_experts + 1) * STRIDE + FIRST] = missed;
}

extern "C" __global__ void gaussian_rows(const double *y, const double *weight,
                                         const double *variance, const double *constant,
                                         const double *given, int has_given, double *gate,
                                         double *scores, double *joint, int *top,
                                         double *partial, int n_experts, int n_outputs,
                                         index n_rows) {
    double value = 0.0, missed = 0.0;
    for (index i = FIRST; i < n_rows; i += STRIDE) {
        for (int k = 0; k < n_experts; ++k) {
            double total = gate[k * n_rows + i] + constant[k];
            for (int j = 0; j < n_outputs; ++j) {
                int row = k * n_outputs + j;
                double error = y[i * n_outputs + j] - scores[row * n_rows + i];
                scores[row * n_rows + i] = error;
                total -= 0.5 * error * error / variance[row];
            }
            joint[k * n_rows + i] = total;
        }
        value += mix_row(gate, joint, weight[i], given, has_given, n_experts, n_rows, i, top,
                         &missed);
    }
    int n_sums = n_outputs + 3;
    for (int k = 0; k < n_experts; ++k) {
        for (int j = 0; j < n_outputs; ++j) {
            double squares = 0.0;
            for (index i = FIRST; i < n_rows; i += STRIDE) {
                double *score = scores + (k * n_outputs + j) * n_rows + i;
                double error = *score, weighted = joint[k * n_rows + i] * error;
                squares += weighted * error;
                *score = weighted;
            }
            partial[(k * n_sums + j) * STRIDE + FIRST] = squares;
        }
        add_shares(weight, gate, joint, top, partial, k, k * n_sums + n_outputs, n_rows);
    }
    partial[n_experts * n_sums * STRIDE + FIRST] = value;
    partial[(n_experts * n_sums + 1) * STRIDE + FIRST] = missed;
}

extern "C" __global__ void categorical_rows(const index *codes, const double *weight,
                                            const double *given, int has_given, double *gate,
                                            double *scores, double *joint, int *top,
                                            double *partial, int n_experts, int n_classes,
                                            index n_rows) {
    double value = 0.0, missed = 0.0;
    for (index i = FIRST; i < n_rows; i += STRIDE) {
        for (int k = 0; k < n_experts; ++k) {
            double *own = scores + (index)k * n_classes * n_rows + i;
            double most = minus_infinity(), total = 0.0;
            for (int c = 0; c < n_classes; ++c)
                if (own[c * n_rows] > most) most = own[c * n_rows];
            double score = own[codes[i] * n_rows] - most;
            for (int c = 0; c < n_classes; ++c) {
                own[c * n_rows] = exp(own[c * n_rows] - most);
                total += own[c * n_rows];
            }
            joint[k * n_rows + i] = gate[k * n_rows + i] + score - log(total);
            for (int c = 0; c < n_classes; ++c) own[c * n_rows] /= total;
        }
        value += mix_row(gate, joint, weight[i], given, has_given, n_experts, n_rows, i, top,
                         &missed);
        for (int k = 0; k < n_experts; ++k) {
            double *own = scores + (index)k * n_classes * n_rows + i;
            double share = joint[k * n_rows + i];
            for (int c = 0; c < n_classes; ++c) own[c * n_rows] *= -share;
            own[codes[i] * n_rows] += share;
        }
    }
    for (int k = 0; k < n_experts; ++k)
        add_shares(weight, gate, joint, top, partial, k, 3 * k, n_rows);
    partial[3 * n_experts * STRIDE + FIRST] = value;
    partial[(3 * n_experts + 1) * STRIDE + FIRST] = missed;
}

/* Cross-entropy of soft targets (K, m); gate becomes share * gate_proba - targets. */
extern "C" __global__ void soft_target_rows(const double *targets, const double *share,
                                            double *gate, double *partial, int n_experts,
                                            index n_rows) {
    double value = 0.0;
    for (index i = FIRST; i < n_rows; i += STRIDE) {
        double top = minus_infinity(), total = 0.0;
        for (int k = 0; k < n_experts; ++k)
            if (gate[k * n_rows + i] > top) top = gate[k * n_rows + i];
        for (int k = 0; k < n_experts; ++k) {
            double logit = gate[k * n_rows + i] - top;
            value -= targets[k * n_rows + i] * logit;
            gate[k * n_rows + i] = exp(logit);
            total += gate[k * n_rows + i];
        }
        value += share[i] * log(total);
        for (int k = 0; k < n_experts; ++k)
            gate[k * n_rows + i] = gate[k * n_rows + i] * (share[i] / total)
                                 - targets[k * n_rows + i];
    }
    partial[FIRST] = value;
}

/* Weighted logarithms of sums of exponentials of scores (K, m). */
extern "C" __global__ void evidence_rows(const double *scores, const double *weight,
                                         double *partial, int n_experts, index n_rows) {
    double value = 0.0;
    for (index i = FIRST; i < n_rows; i += STRIDE) {
        double top = minus_infinity(), total = 0.0;
        for (int k = 0; k < n_experts; ++k)
            if (scores[k * n_rows + i] > top) top = scores[k * n_rows + i];
        for (int k = 0; k < n_experts; ++k) total += exp(scores[k * n_rows + i] - top);
        value += weight[i] * (top + log(total));
    }
    partial[FIRST] = value;
}

/* Z (m, width), slope and shift (K, d), constant (K,), out (K, m). */
extern "C" __global__ void diagonal_rows(const double *Z, const double *slope,
                                         const double *shift, const double *constant,
                                         double *out, int n_experts, int n_columns, int width,
                                         index n_rows) {
    for (index i = FIRST; i < n_rows; i += STRIDE)
        for (int k = 0; k < n_experts; ++k) {
            double total = 0.0;
            for (int j = 0; j < n_columns; ++j) {
                double error = slope[k * n_columns + j] * Z[i * width + j]
                             - shift[k * n_columns + j];
                total += error * error;
            }
            out[k * n_rows + i] = constant[k] - 0.5 * total;
        }
}

/* logits and out (m, K), which may be the same. */
extern "C" __global__ void log_softmax_rows(const double *logits, double *out, int n_experts,
                                            index n_rows) {
    for (index i = FIRST; i < n_rows; i += STRIDE) {
        double top = minus_infinity(), total = 0.0;
        for (int k = 0; k < n_experts; ++k)
            if (logits[i * n_experts + k] > top) top = logits[i * n_experts + k];
        for (int k = 0; k < n_experts; ++k) total += exp(logits[i * n_experts + k] - top);
        double shift = top + log(total);
        for (int k = 0; k < n_experts; ++k)
            out[i * n_experts + k] = logits[i * n_experts + k] - shift;
    }
}

/* Arrays (m, K); as mix_row, but with normalised log_gate and unweighted results. */
extern "C" __global__ void e_step_rows(const double *log_gate, const double *log_lik,
                                       double *resp, double *loglik, double *partial,
                                       int n_experts, index n_rows) {
    double missed = 0.0;
    for (index i = FIRST; i < n_rows; i += STRIDE) {
        double top = minus_infinity(), total = 0.0;
        for (int k = 0; k < n_experts; ++k) {
            double joint = log_gate[i * n_experts + k] + log_lik[i * n_experts + k];
            if (joint > top) top = joint;
        }
        int explained = top > minus_infinity();
        if (!explained) missed += 1.0;
        for (int k = 0; k < n_experts; ++k) {
            double joint = log_gate[i * n_experts + k];
            if (explained) joint += log_lik[i * n_experts + k] - top;
            resp[i * n_experts + k] = exp(joint);
            total += resp[i * n_experts + k];
        }
        loglik[i] = explained ? top + log(total) : top;
        if (explained)
            for (int k = 0; k < n_experts; ++k) resp[i * n_experts + k] /= total;
    }
    partial[FIRST] = missed;
}

/* The n_chosen largest entries of each row (m, K), best first, renormalised. */
extern "C" __global__ void top_k_rows(const double *log_gate, index *indices,
                                      double *log_weights, int n_chosen, int n_experts,
                                      index n_rows) {
    for (index i = FIRST; i < n_rows; i += STRIDE) {
        index *own = indices + i * n_chosen;
        double *best = log_weights + i * n_chosen, total = 0.0;
        int filled = 0;
        for (int k = 0; k < n_experts; ++k) {
            double value = log_gate[i * n_experts + k];
            if (filled == n_chosen && value <= best[filled - 1]) continue;
            int slot = filled < n_chosen ? filled : n_chosen - 1;
            while (slot > 0 && best[slot - 1] < value) {
                best[slot] = best[slot - 1];
                own[slot] = own[slot - 1];
                --slot;
            }
            best[slot] = value;
            own[slot] = k;
            if (filled < n_chosen) ++filled;
        }
        double top = best[0];
        for (int j = 0; j < n_chosen; ++j) total += exp(best[j] - top);
        double shift = top + log(total);
        for (int j = 0; j < n_chosen; ++j) best[j] -= shift;
    }
}

/* One step of Adam uphill, in place; a thread by parameter. */
extern "C" __global__ void adam_step(const double *gradient, double *mean, double *square,
                                     const double *decay, double *out, double first,
                                     double second, double first_bias, double second_bias,
                                     double rate, index n_parameters) {
    for (index i = FIRST; i < n_parameters; i += STRIDE) {
        double slope = gradient[i];
        mean[i] = first * mean[i] + (1.0 - first) * slope;
        square[i] = second * square[i] + (1.0 - second) * slope * slope;
        double spread = sqrt(square[i] / second_bias) + 1e-8;
        out[i] += rate * (mean[i] / first_bias / spread - decay[i] * out[i]);
    }
}

/* One term of the series of a Tweedie density, as a logarithm. */
static __device__ double tweedie_term(double j, double log_z, double ratio) {
    return j * log_z - lgamma(j + 1.0) - lgamma(ratio * j);
}

/* y and log_phi (n,), out (2, n): logarithms of the series over y, and mean index of its terms. */
extern "C" __global__ void tweedie_items(const double *y, const double *log_phi, double power,
                                         double *out, index n_items) {
    double ratio = (2.0 - power) / (power - 1.0);
    for (index i = FIRST; i < n_items; i += STRIDE) {
        out[i] = 0.0;
        out[n_items + i] = 0.0;
        if (!(y[i] > 0.0)) continue;
        double log_y = log(y[i]);
        double log_z = ratio * (log_y - log(power - 1.0)) - (1.0 + ratio) * log_phi[i]
                     - log(2.0 - power);
        double center = exp((2.0 - power) * log_y - log_phi[i]) / (2.0 - power);
        center = fmax(1.0, floor(fmin(center, 1e8)));
        double top = tweedie_term(center, log_z, ratio), total = 1.0, first = center;
        for (int side = -1; side <= 1; side += 2)
            for (double j = center + side; j >= 1.0; j += side) {
                double term = tweedie_term(j, log_z, ratio) - top;
                if (term < -37.0) break;
                total += exp(term);
                first += exp(term) * j;
            }
        out[i] = top + log(total) - log_y;
        out[n_items + i] = first / total;
    }
}

/* (X - center) / scale, a column of ones and zeros as padding; one thread by number. NaN
becomes 0. With has_rows the rows of X are those numbered in rows. */
#define STANDARDISE(name, real)                                                               \
    extern "C" __global__ void name(const real *X, const index *rows, int has_rows,           \
                                    const double *center, const double *inverse_scale,        \
                                    real *out, int n_columns, int width, index n_rows) {      \
        for (index p = FIRST; p < n_rows * width; p += STRIDE) {                              \
            index i = p / width;                                                              \
            int j = (int)(p - i * width);                                                     \
            double value = j == n_columns ? 1.0 : 0.0;                                        \
            if (j < n_columns) {                                                              \
                index row = has_rows ? rows[i] : i;                                           \
                value = ((double)X[row * n_columns + j] - center[j]) * inverse_scale[j];      \
                if (!(value == value)) value = 0.0;                                           \
            }                                                                                 \
            out[p] = (real)value;                                                             \
        }                                                                                     \
    }
STANDARDISE(standardise_double, double)
STANDARDISE(standardise_single, float)
"""
