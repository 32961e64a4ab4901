// A tile of a batch through both networks: scores, losses, and gradients of the parameters.
//
// The columns of a critic's tile are the reals, the fakes and, for each penalty, the points where
// the critic's slope is penalised. The gradients are exact: a penalty's follows from the tangents
// along the scaled slopes, because the activation is piecewise linear.
#pragma once

#include "draws.h"
#include "products.h"

// The weights of one network in shared memory.
struct Weights {
  float *matrices, *first, *last, *biases;

  explicit Weights(float *at)
      : matrices(at), first(at + MATRICES * MATRIX), last(first + HIDDEN * INPUTS),
        biases(last + POINT * HIDDEN) {}
  const float *bias(int layer) const { return biases + layer * HIDDEN; }
};

// A thread's sums of gradients over the tiles of a batch: corners of the matrices, and lines of
// the first and last weights and of the biases.
struct Gradients {
  Corner corners[MATRICES > 0 ? MATRICES : 1];
  float first[INPUTS], last[POINT], biases[LAYERS], out[POINT];
};

struct Block {
  const Settings &settings;
  const int thread, rank, run;
  const Lane lane;
  const Share share;
  Weights weights;
  float *x, *out, *hidden;  // points or latents, outputs or their derivatives, activations

  Block(const Settings &s, int thread_, int rank_, int run_, float *room)
      : settings(s), thread(thread_), rank(rank_), run(run_), lane(thread_), share(thread_),
        weights(room), x(room + (WEIGHTS + 3) / 4 * 4), out(x + POINTS_ROOM), hidden(out + OUT_ROOM) {
  }

  float *layer(int l) const { return hidden + l * HIDDEN * LD; }
  // The points of this block, and whether point i of them is one of the batch.
  int point(int i) const { return rank * OWN + i; }
  bool is_live(int i) const { return i < OWN && point(i) < BATCH; }
  // A thread's place among those that divide the sums of a line.
  int unit() const { return thread % HIDDEN; }
  int number() const { return thread / HIDDEN; }
};

inline float slope(bool active) { return active ? 1.0f : ACTIVATION == ACTIVATION_RELU ? 0.0f : 0.2f; }

// Adds the first weights * points or latents.
template <class Net, int COUNT>
inline void add_inputs(const Block &b, Totals<COUNT> &totals, int at) {
  for (int k = 0; k < Net::in; k++) {
    float x[COUNT][WIDE];
    read_parts(b.x + k * LD + at, b.lane, x);
    UNROLL
    for (int r = 0; r < TALL; r++) totals.add(r, b.weights.first[b.lane.row(r) * Net::in + k], x);
  }
}

// Computes the hidden layers of COUNT parts from the points of part `part` on.
template <class Net, int COUNT> inline void forward(const Block &b, int part) {
  const int at = part * TILE;
#pragma unroll 1
  for (int l = 0; l < LAYERS; l++) {
    Totals<COUNT> totals;
    totals.start(b.lane, b.weights.bias(l));
    if (l == 0) {
      add_inputs<Net>(b, totals, at);
    } else {
      add_product(totals, b.lane, b.weights.matrices + (l - 1) * MATRIX, b.layer(l - 1) + at);
    }
    UNROLL
    for (int r = 0; r < TALL; r++)
      UNROLL
      for (int p = 0; p < COUNT; p++) {
        float values[WIDE];
        for (int v = 0; v < WIDE; v++) values[v] = activate(totals.of[r][p][v]);
        write(b.layer(l) + b.lane.row(r) * LD + at + p * TILE + b.lane.column, values);
      }
    __syncthreads();
  }
}

// The outputs of some columns: out[o] = last * hidden + bias.
template <class Net> inline void outputs(const Block &b, int first, int columns) {
#pragma unroll 1
  for (int i = b.thread; i < Net::out * columns; i += THREADS) {
    const int o = i / columns, c = first + i % columns;
    const float *h = b.layer(LAYERS - 1) + c, *w = b.weights.last + o * HIDDEN;
    float sums[4] = {};
#pragma unroll 4
    for (int k = 0; k < HIDDEN; k += 4)
      for (int q = 0; q < 4; q++) sums[q] += w[k + q] * h[(k + q) * LD];
    b.out[o * LD + c] = (sums[0] + sums[1]) + (sums[2] + sums[3]) + b.weights.bias(LAYERS)[o];
  }
  __syncthreads();
}

// The derivatives by the inputs of column c, from those by the first hidden layer's sums.
template <class Net> inline void input_slopes(const Block &b, int c, float (&slopes)[Net::in]) {
  for (int k = 0; k < Net::in; k++) slopes[k] = 0;
#pragma unroll 4
  for (int j = 0; j < HIDDEN; j++) {
    const float d = b.layer(0)[j * LD + c];
    for (int k = 0; k < Net::in; k++) slopes[k] += b.weights.first[j * Net::in + k] * d;
  }
}

// Starts a backward pass at the top: last * derivatives in `out`.
template <class Net, int COUNT>
inline void from_top(const Block &b, Totals<COUNT> &totals, int at) {
  totals.start(b.lane, nullptr);
  for (int o = 0; o < Net::out; o++) {
    float x[COUNT][WIDE];
    read_parts(b.out + o * LD + at, b.lane, x);
    UNROLL
    for (int r = 0; r < TALL; r++)
      totals.add(r, b.weights.last[o * HIDDEN + b.lane.row(r)], x);
  }
}

// Which units of the penalised points are active: one bit for each of a thread's rows and columns.
struct Masks {
  uint32_t of[LAYERS];

  static int bit(int part, int r, int v) { return (part * TALL + r) * WIDE + v; }
  bool active(int l, int part, int r, int v) const { return of[l] >> bit(part, r, v) & 1; }
};
static_assert(PENALTIES * TALL * WIDE <= 32, "a mask has 32 bits");

constexpr int ASKED = PENALTIES > 0 ? PENALTIES : 1;

// Backpropagates the scores of the penalised points in place, and keeps which units are active.
inline void slopes_backward(const Block &b, Masks &masks) {
  const int at = 2 * TILE;
  UNROLL
  for (int l = LAYERS - 1; l >= 0; l--) {
    Totals<ASKED> totals;
    if (l == LAYERS - 1) {
      from_top<Critic>(b, totals, at);
    } else {
      totals.start(b.lane, nullptr);
      add_transposed(totals, b.lane, b.weights.matrices + l * MATRIX, b.layer(l + 1) + at);
    }
    masks.of[l] = 0;
    UNROLL
    for (int r = 0; r < TALL; r++)
      UNROLL
      for (int p = 0; p < ASKED; p++) {
        float *place = b.layer(l) + b.lane.row(r) * LD + at + p * TILE + b.lane.column;
        float values[WIDE];
        read(place, values);
        UNROLL
        for (int v = 0; v < WIDE; v++) {
          const bool active = values[v] > 0.0f;
          masks.of[l] |= uint32_t(active) << Masks::bit(p, r, v);
          values[v] = totals.of[r][p][v] * slope(active);
        }
        write(place, values);
      }
    __syncthreads();
  }
}

// Replaces the penalised points by the derivatives of their penalties by the slopes.
inline void penalise(const Block &b, int first, float (&sums)[SUMS]) {
  const int t = b.thread % TILE;
  for (int p = 0; p < PENALTIES && b.thread < TILE; p++) {
    const Penalty &penalty = b.settings.penalty[p];
    const int c = (2 + p) * TILE + t;
    float slopes[POINT], square = 0, factor = 0;
    input_slopes<Critic>(b, c, slopes);
    for (int k = 0; k < POINT; k++) square += slopes[k] * slopes[k];
    const float term = slope_term(penalty, b.run, square, factor);
    const float share = penalty.coefficient[b.run] * penalty.scale / float(BATCH);
    const bool live = b.is_live(first + t);
    if (live) sums[FIRST_PENALTY + p] += term;
    for (int k = 0; k < POINT; k++) b.x[k * LD + c] = live ? slopes[k] * factor * share : 0.0f;
  }
  __syncthreads();
}

// Overwrites the activations of the penalised points by the tangents along these derivatives.
inline void tangents(const Block &b, const Masks &masks) {
  const int at = 2 * TILE;
  UNROLL
  for (int l = 0; l < LAYERS; l++) {
    Totals<ASKED> totals;
    totals.start(b.lane, nullptr);
    if (l == 0) {
      add_inputs<Critic>(b, totals, at);
    } else {
      add_product(totals, b.lane, b.weights.matrices + (l - 1) * MATRIX, b.layer(l - 1) + at);
    }
    UNROLL
    for (int r = 0; r < TALL; r++)
      UNROLL
      for (int p = 0; p < ASKED; p++) {
        float values[WIDE];
        UNROLL
        for (int v = 0; v < WIDE; v++)
          values[v] = totals.of[r][p][v] * slope(masks.active(l, p, r, v));
        write(b.layer(l) + b.lane.row(r) * LD + at + p * TILE + b.lane.column, values);
      }
    __syncthreads();
  }
}

// Backpropagates COUNT parts from part `part` on, in place, and adds the gradients of all
// parameters. Of parts from 2 on `masks` has the active units, and biases ignore them.
template <class Net, int COUNT, bool MASKED>
inline void backward(const Block &b, int part, const Masks &masks, Gradients &gradients) {
  const int at = part * TILE, columns = COUNT * TILE;
  const int of_biases = (MASKED && COUNT > 2 ? 2 : COUNT) * TILE;
  for (int o = 0; o < Net::out; o++) {
    const float *top = b.out + o * LD + at;
    gradients.last[o] += line(b.layer(LAYERS - 1) + b.unit() * LD + at, top, b.number(), columns);
    if (b.unit() == o) gradients.out[o] += line(top, nullptr, b.number(), of_biases);
  }
  UNROLL
  for (int l = LAYERS - 1; l >= 0; l--) {
    Totals<COUNT> totals;
    if (l == LAYERS - 1) {
      from_top<Net>(b, totals, at);
    } else {
      const float *delta = b.layer(l + 1) + at;
      totals.start(b.lane, nullptr);
      add_transposed(totals, b.lane, b.weights.matrices + l * MATRIX, delta);
      add_gradient(gradients.corners[l], b.share, delta, b.layer(l) + at, columns);
    }
    __syncthreads();
    UNROLL
    for (int r = 0; r < TALL; r++)
      UNROLL
      for (int p = 0; p < COUNT; p++) {
        float *place = b.layer(l) + b.lane.row(r) * LD + at + p * TILE + b.lane.column;
        float values[WIDE];
        if (!MASKED || p < 2) read(place, values);
        UNROLL
        for (int v = 0; v < WIDE; v++) {
          const bool active = MASKED && p >= 2 ? masks.active(l, p - 2, r, v) : values[v] > 0.0f;
          values[v] = totals.of[r][p][v] * slope(active);
        }
        write(place, values);
      }
    __syncthreads();
    gradients.biases[l] += line(b.layer(l) + b.unit() * LD + at, nullptr, b.number(), of_biases);
  }
  for (int k = 0; k < Net::in; k++)
    gradients.first[k] += line(b.layer(0) + b.unit() * LD + at, b.x + k * LD + at, b.number(), columns);
  __syncthreads();
}

// A term of one score: adds its value and returns its derivative, both 0 unless it is live.
inline float scored(const Term &term, float score, bool live, float &values) {
  if (!live) return 0.0f;
  values += value(term, score);
  return derivative(term, score) / float(BATCH);
}

// Writes the derivatives of the critic's loss by its scores over the scores.
inline void score_critic(const Block &b, int first, float (&sums)[SUMS]) {
  const int t = b.thread;
  if (t < TILE) {
    const bool live = b.is_live(first + t);
    const float real = b.out[t], fake = b.out[TILE + t];
    if (live) sums[REAL] += real, sums[FAKE] += fake;
    if (PAIRS) {
      const float slope = scored(b.settings.real, real - fake, live, sums[TERMS]);
      b.out[t] = slope, b.out[TILE + t] = -slope;
    } else {
      b.out[t] = scored(b.settings.real, real, live, sums[TERMS]);
      b.out[TILE + t] = scored(b.settings.fake, fake, live, sums[TERMS]);
    }
    for (int p = 0; p < PENALTIES; p++) b.out[(2 + p) * TILE + t] = 1.0f;
  }
  __syncthreads();
}

// Writes the points of a critic's tile; `fakes` holds those of this step, (BATCH, POINT).
inline void place_points(const Block &b, int first, int64_t step, const float *fakes) {
  const int t = b.thread, point = b.point(first + t);
  if (t < TILE) {
    const bool live = b.is_live(first + t);
    float *real = b.x + t, *fake = real + TILE, weight = 0;
    for (int k = 0; k < POINT; k++) {
      real[k * LD] = 0.0f;
      fake[k * LD] = live ? fakes[int64_t(point) * POINT + k] : 0.0f;
    }
    if (live) {
      draw_point<POINT>(b.settings.samplers[0], b.run, step, BATCH, point, real, LD);
      if (PENALTIES) draw_point<1>(b.settings.samplers[2], b.run, step, BATCH, point, &weight, 1);
    }
    for (int p = 0; p < PENALTIES; p++) {
      const int32_t where = b.settings.penalty[p].where;
      for (int k = 0; k < POINT; k++) {
        const float r = real[k * LD], f = fake[k * LD];
        const float mixed = weight * r + (1.0f - weight) * f;
        real[k * LD + (2 + p) * TILE] = where == INTERPOLATES ? mixed : where == FAKES ? f : r;
      }
    }
  }
  __syncthreads();
}

// Adds the sums and the gradients of the critic's loss on the tile from point `first` on.
inline void critic_tile(const Block &b, int first, int64_t step, const float *fakes,
                        Gradients &gradients, float (&sums)[SUMS]) {
  Masks masks;
  place_points(b, first, step, fakes);
  forward<Critic, LOSSES>(b, 0);
  outputs<Critic>(b, 0, 2 * TILE);
  score_critic(b, first, sums);
  if (PENALTIES) {
    slopes_backward(b, masks);
    penalise(b, first, sums);
    tangents(b, masks);
  }
  backward<Critic, LOSSES, true>(b, 0, masks, gradients);
}

// Draws the latents of a tile of the generator's step into part `part`.
inline void place_latents(const Block &b, int first, int64_t step, int part) {
  if (b.thread < TILE) {
    float *z = b.x + part * TILE + b.thread;
    for (int k = 0; k < LATENT; k++) z[k * LD] = 0.0f;
    if (b.is_live(first + b.thread))
      draw_point<LATENT>(b.settings.samplers[3], b.run, step, BATCH, b.point(first + b.thread), z, LD);
  }
  __syncthreads();
}

// Turns the generated points in `out` into the critic's input; with pairs, draws the reals beside
// them.
inline void place_fakes(const Block &b, int first, int64_t step, int part) {
  if (b.thread < TILE) {
    float *fake = b.x + b.thread;
    for (int k = 0; k < POINT; k++) {
      fake[k * LD] = b.out[k * LD + part * TILE + b.thread];
      if (PAIRS) fake[k * LD + TILE] = 0.0f;
    }
    if (PAIRS && b.is_live(first + b.thread))
      draw_point<POINT>(b.settings.samplers[4], b.run, step, BATCH, b.point(first + b.thread),
                        fake + TILE, LD);
  }
  __syncthreads();
}

// Writes the derivatives of the generator's loss by the fakes' scores over these.
inline void score_generator(const Block &b, int first, float (&sums)[SUMS]) {
  if (b.thread < TILE) {
    const bool live = b.is_live(first + b.thread);
    const float score = b.out[b.thread] - (PAIRS ? b.out[TILE + b.thread] : 0.0f);
    b.out[b.thread] = scored(b.settings.generator, score, live, sums[TERMS]);
  }
  __syncthreads();
}

// Backpropagates the fakes' scores to the fakes without gradients of parameters; `out` gets the
// derivatives by the numbers of each fake, in part `part`.
inline void fake_slopes(const Block &b, int part) {
#pragma unroll 1
  for (int l = LAYERS - 1; l >= 0; l--) {
    Totals<1> totals;
    if (l == LAYERS - 1) {
      from_top<Critic>(b, totals, 0);
    } else {
      totals.start(b.lane, nullptr);
      add_transposed(totals, b.lane, b.weights.matrices + l * MATRIX, b.layer(l + 1));
    }
    UNROLL
    for (int r = 0; r < TALL; r++) {
      float *place = b.layer(l) + b.lane.row(r) * LD + b.lane.column;
      float values[WIDE];
      read(place, values);
      for (int v = 0; v < WIDE; v++) values[v] = totals.of[r][0][v] * slope(values[v] > 0.0f);
      write(place, values);
    }
    __syncthreads();
  }
  if (b.thread < TILE) {
    float slopes[POINT];
    input_slopes<Critic>(b, b.thread, slopes);
    for (int k = 0; k < POINT; k++) b.out[k * LD + part * TILE + b.thread] = slopes[k];
  }
  __syncthreads();
}
