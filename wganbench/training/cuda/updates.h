// Updates of the parameters from the sums of a batch, and the exchange between the blocks of a run.
#pragma once

#include "passes.h"

// The tensors of a network for all runs, weight and bias of each layer in turn; null when there
// are none.
struct Tensors {
  float *parameters[MOST_TENSORS], *first[MOST_TENSORS], *second[MOST_TENSORS];
  float *average[MOST_TENSORS];
};

// The place of number i of a tensor in shared memory.
template <class Net> inline float *placed(const Weights &weights, int tensor, int i) {
  const int l = tensor / 2;
  if (tensor % 2) return weights.biases + l * HIDDEN + i;
  if (l > 0 && l < LAYERS)
    return weights.matrices + (l - 1) * MATRIX + place(i / HIDDEN, i % HIDDEN);
  return (l ? weights.last : weights.first) + i;
}

// A number of a network: its tensor, and its index there.
template <class Net> struct Number {
  int tensor = 0, i;

  explicit Number(int number) : i(number) {
    int start = 0;
    UNROLL
    for (int t = 0; t < 2 * (LAYERS + 1); t++) {
      if (number >= start) tensor = t, i = number - start;
      start += Net::numbers(t);
    }
  }
  // Its address in the tensors of all runs, null when there are none.
  float *in(float *const *tensors, int run) const {
    float *all = tensors[tensor];
    return all ? all + int64_t(Net::numbers(tensor)) * run + i : nullptr;
  }
};

// Numbers that a thread loads before it uses the first.
constexpr int IN_FLIGHT = 4;

// Loads a network of a run into shared memory. All matrices are read at once, and all else.
template <class Net> inline void load(const Block &b, const Tensors &tensors) {
#pragma unroll 8
  for (int at = 4 * b.thread; at < MATRICES * MATRIX; at += 4 * THREADS) {
    const int t = 2 * (at / MATRIX + 1), i = at % MATRIX;
    const float *from = tensors.parameters[t] + int64_t(MATRIX) * b.run + i;
    *reinterpret_cast<Four *>(placed<Net>(b.weights, t, i)) = fresh_four(from);
  }
  constexpr int FIRST = HIDDEN * Net::in, LAST = Net::out * HIDDEN;
  constexpr int THIN = FIRST + LAST + LAYERS * HIDDEN + Net::out;
#pragma unroll 4
  for (int at = b.thread; at < THIN; at += THREADS) {
    int t = 0, i = at;
    if (at >= FIRST) t = 2 * LAYERS, i = at - FIRST;
    if (at >= FIRST + LAST) {
      const int bias = at - FIRST - LAST, l = bias / HIDDEN < LAYERS ? bias / HIDDEN : LAYERS;
      t = 2 * l + 1, i = bias - l * HIDDEN;
    }
    const float *from = tensors.parameters[t] + int64_t(Net::numbers(t)) * b.run + i;
    *placed<Net>(b.weights, t, i) = fresh(from);
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

// Updates numbers `first`, first + BLOCKS * THREADS, ... of a network, IN_FLIGHT of them.
template <class Net>
inline void update_some(const Block &b, const Update &u, const Kept &kept, int first,
                        float (&values)[ALL_SUMS]) {
  float g[IN_FLIGHT], p[IN_FLIGHT], m[IN_FLIGHT], v[IN_FLIGHT], average[IN_FLIGHT];
  UNROLL
  for (int q = 0; q < IN_FLIGHT; q++) {
    const int e = first + q * BLOCKS * THREADS;
    g[q] = p[q] = m[q] = v[q] = average[q] = 0.0f;
    if (e >= Net::total) continue;
    const Number<Net> number(e);
    if (BLOCKS == 1) g[q] = kept.template gradient<Net>(number.tensor, number.i);
    for (int r = 0; r < BLOCKS && BLOCKS > 1; r++) g[q] += fresh(u.exchanged + r * EXCHANGED + e);
    p[q] = *number.in(u.tensors.parameters, b.run);
    if (const float *at = number.in(u.tensors.first, b.run)) m[q] = *at;
    if (const float *at = number.in(u.tensors.second, b.run)) v[q] = *at;
    if (const float *at = number.in(u.tensors.average, b.run)) average[q] = *at;
    for (int l = 0; l <= LAYERS; l++)
      if (l == number.tensor / 2) values[SUMS + l] += g[q] * g[q];
  }
  moved(u.optimizer, u.move, IN_FLIGHT, p, g, m, v);
  averaged(IN_FLIGHT, u.average_decay, p, average);
  UNROLL
  for (int q = 0; q < IN_FLIGHT; q++) {
    const int e = first + q * BLOCKS * THREADS;
    if (e >= Net::total) continue;
    const Number<Net> number(e);
    *number.in(u.tensors.parameters, b.run) = p[q];
    if (float *at = number.in(u.tensors.first, b.run)) *at = m[q];
    if (float *at = number.in(u.tensors.second, b.run)) *at = v[q];
    if (float *at = number.in(u.tensors.average, b.run)) *at = average[q];
  }
}

// Updates this block's share of the parameters from the gradients of all blocks, and writes the
// sums of the batch and of the squares of each layer's gradient to `totals`.
template <class Net>
inline void update(const Block &b, const Update &u, const Gradients &gradients,
                   const float (&sums)[SUMS], float *totals) {
  const Kept kept(b.hidden);
  kept.template put<Net>(b, gradients);
  float *own = u.exchanged + b.rank * EXCHANGED;
  if (BLOCKS > 1) {
#pragma unroll 4
    for (int e = b.thread; e < Net::total; e += THREADS) {
      const Number<Net> number(e);
      publish(own + e, kept.template gradient<Net>(number.tensor, number.i));
    }
    cluster_sync();
  }
  float values[ALL_SUMS];
  for (int v = 0; v < ALL_SUMS; v++) values[v] = v < SUMS ? sums[v] : 0.0f;
#pragma unroll 1
  for (int first = b.rank * THREADS + b.thread; first < Net::total;
       first += IN_FLIGHT * BLOCKS * THREADS)
    update_some<Net>(b, u, kept, first, values);
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
