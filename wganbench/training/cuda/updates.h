// Updates of the parameters from the sums of a batch, and the exchange between the blocks of a run.
#pragma once

#include "passes.h"

// The tensors of a network for all runs, weight and bias of each layer in turn; null when there
// are none.
struct Tensors {
  float *parameters[MOST_TENSORS], *first[MOST_TENSORS], *second[MOST_TENSORS];
  float *average[MOST_TENSORS];
};

// Loads a network of a run into shared memory.
template <class Net> inline void load(const Block &b, const Tensors &tensors) {
#pragma unroll 1
  for (int l = 0; l <= LAYERS; l++) {
    const float *weight = tensors.parameters[2 * l] + int64_t(Net::numbers(2 * l)) * b.run;
    const float *bias = tensors.parameters[2 * l + 1] + int64_t(Net::rows(l)) * b.run;
    if (l > 0 && l < LAYERS) {
      float *to = b.weights.matrices + (l - 1) * MATRIX;
#pragma unroll 4
      for (int i = 4 * b.thread; i < MATRIX; i += 4 * THREADS)
        *reinterpret_cast<Four *>(to + place(i / HIDDEN, i % HIDDEN)) = fresh_four(weight + i);
    } else {
      float *to = l ? b.weights.last : b.weights.first;
      for (int i = b.thread; i < Net::numbers(2 * l); i += THREADS) to[i] = fresh(weight + i);
    }
    for (int i = b.thread; i < Net::rows(l); i += THREADS)
      b.weights.biases[l * HIDDEN + i] = fresh(bias + i);
  }
  __syncthreads();
}

// The sums of a block's threads, kept where the activations were.
struct Kept {
  float *matrices, *lines, *sums, *totals;

  explicit Kept(float *hidden)
      : matrices(hidden), lines(matrices + MATRICES * SHARES * MATRIX),
        sums(lines + LINES_KEPT * THREADS), totals(sums + ALL_SUMS * THREADS) {}

  template <class Net> void put(const Block &b, const Gradients &gradients) const {
    UNROLL
    for (int m = 0; m < MATRICES; m++)
      UNROLL
      for (int p = 0; p < 4; p++)
        UNROLL
        for (int q = 0; q < 4; q++)
          matrices[(m * SHARES + b.share.number) * MATRIX +
                   (b.share.j + p * (HIDDEN / 4)) * HIDDEN + b.share.k + q * (HIDDEN / 4)] =
              gradients.corners[m].of[p][q];
    float *own = lines + b.thread;
    for (int l = 0; l < LAYERS; l++) own[l * THREADS] = gradients.biases[l];
    for (int k = 0; k < Net::in; k++) own[(LAYERS + k) * THREADS] = gradients.first[k];
    for (int o = 0; o < Net::out; o++) {
      own[(LAYERS + Net::in + o) * THREADS] = gradients.last[o];
      own[(LAYERS + Net::in + Net::out + o) * THREADS] = gradients.out[o];
    }
    __syncthreads();
  }

  // This block's gradient of number i of a tensor.
  template <class Net> float gradient(int tensor, int i) const {
    const int l = tensor / 2;
    if (tensor % 2)
      return l < LAYERS ? of_line(l, i) : of_line(LAYERS + Net::in + Net::out + i, i);
    if (l == 0) return of_line(LAYERS + i % Net::in, i / Net::in);
    if (l == LAYERS) return of_line(LAYERS + Net::in + i / HIDDEN, i % HIDDEN);
    float sum = 0;
    for (int s = 0; s < SHARES; s++) sum += matrices[((l - 1) * SHARES + s) * MATRIX + i];
    return sum;
  }

  float of_line(int kind, int unit) const {
    float sum = 0;
    for (int q = 0; q < LINES; q++) sum += lines[kind * THREADS + q * HIDDEN + unit];
    return sum;
  }

  // Sums values over the threads of a block: thread v gets the sum of number v.
  float all(const Block &b, const float (&values)[ALL_SUMS]) const {
    for (int v = 0; v < ALL_SUMS; v++) sums[v * THREADS + b.thread] = values[v];
    __syncthreads();
    if (b.thread < ALL_SUMS * 16) {
      float sum = 0;
      const float *part = sums + b.thread / 16 * THREADS + b.thread % 16;
      for (int i = 0; i < THREADS; i += 16) sum += part[i];
      totals[b.thread] = sum;
    }
    __syncthreads();
    float sum = 0;
    for (int i = 0; i < 16 && b.thread < ALL_SUMS; i++) sum += totals[b.thread * 16 + i];
    return sum;
  }
};

// The updates of one network of a run.
struct Update {
  const Tensors &tensors;
  Optimizer optimizer;
  Move move;
  double average_decay;
  float *exchanged;  // EXCHANGED numbers of each block of the run
};

// Updates this block's share of the parameters from the gradients of all blocks, and writes the
// sums of the batch and of the squares of each layer's gradient to `totals`.
template <class Net>
inline void update(const Block &b, const Update &u, const Gradients &gradients,
                   const float (&sums)[SUMS], float *totals) {
  const Kept kept(b.hidden);
  kept.template put<Net>(b, gradients);
  float *own = u.exchanged + b.rank * EXCHANGED;
  if (BLOCKS > 1) {
#pragma unroll 1
    for (int t = 0, start = 0; t < 2 * (LAYERS + 1); start += Net::numbers(t++))
#pragma unroll 4
      for (int i = b.thread; i < Net::numbers(t); i += THREADS)
        publish(own + start + i, kept.template gradient<Net>(t, i));
    cluster_sync();
  }
  float values[ALL_SUMS];
  for (int v = 0; v < ALL_SUMS; v++) values[v] = v < SUMS ? sums[v] : 0.0f;
#pragma unroll 1
  for (int t = 0, start = 0; t < 2 * (LAYERS + 1); start += Net::numbers(t++)) {
    const int64_t first = int64_t(Net::numbers(t)) * b.run;
    auto at = [&](float *const *all) { return all[t] ? all[t] + first : nullptr; };
    float *p = at(u.tensors.parameters), *m = at(u.tensors.first), *v = at(u.tensors.second);
    float *average = at(u.tensors.average), square = 0;
#pragma unroll 4
    for (int i = b.rank * THREADS + b.thread; i < Net::numbers(t); i += BLOCKS * THREADS) {
      float g = BLOCKS > 1 ? 0.0f : kept.template gradient<Net>(t, i);
      for (int r = 0; r < BLOCKS && BLOCKS > 1; r++)
        g += fresh(u.exchanged + r * EXCHANGED + start + i);
      square += g * g;
      moved(u.optimizer, u.move, 1, p + i, &g, m + i, v + i);
      if (average) averaged(1, u.average_decay, p + i, average + i);
    }
    for (int l = 0; l <= LAYERS; l++)
      if (l == t / 2) values[SUMS + l] += square;
  }
  const float sum = kept.all(b, values);
  if (BLOCKS == 1) {
    if (b.thread < ALL_SUMS) totals[b.thread] = sum;
    __syncthreads();
    return;
  }
  if (b.thread < ALL_SUMS) publish(own + EXCHANGED - ALL_SUMS + b.thread, sum);
  cluster_sync();
  if (b.rank == 0 && b.thread < ALL_SUMS) {
    float all = 0;
    for (int r = 0; r < BLOCKS; r++)
      all += fresh(u.exchanged + (r + 1) * EXCHANGED - ALL_SUMS + b.thread);
    totals[b.thread] = all;
  }
  __syncthreads();
}
