// Iterations of Algorithm 1 for all runs of a stack on a GPU, in one launch. They give the same
// numbers as training/step.py up to rounding, from the same random words.
//
// A block of threads, or a cluster of BLOCKS blocks that divide the batch, trains one run. Weights
// and activations stay in shared memory. Results do not depend on which runs a launch trains.
#include "device.h"
#include "updates.h"

struct Arguments {
  Tensors critic, generator;
  Settings settings;
  Optimizer optimizer;
  const int64_t *places;  // places of the trained runs
  const float *critic_rates, *generator_rates, *clip_values;
  int64_t steps;
  int32_t decay, unused;
  double average_decay;
  float *step, *critic_step;
  int64_t *diverged_at;
  float *critic_scalars, *generator_scalars;
  float *fakes, *exchanged;  // working memory of each trained run
};

// The rule is known when the kernel is compiled.
inline Optimizer optimizer_of(const Arguments &a) {
  Optimizer optimizer = a.optimizer;
  optimizer.rule = RULE;
  return optimizer;
}

enum Decay : int32_t { NO_DECAY = 0, LINEAR = 1, COSINE = 2 };

inline float rate_factor(const Arguments &a) {
  const float progress = *a.step / float(a.steps);
  if (a.decay == LINEAR) return 1.0f - progress;
  if (a.decay == COSINE) return (1.0f + cosf(3.14159274f * progress)) / 2.0f;
  return 1.0f;
}

// Writes the gradient's norms into the row from index `at` on; records a first non-finite step.
inline void note_norms(const Arguments &a, int run, const float *squares, float *row, int at) {
  float all = 0;
  for (int l = 0; l <= LAYERS; l++) {
    all += squares[l];
    row[at + 1 + l] = sqrtf(squares[l]);
  }
  row[at] = sqrtf(all);
  bool finite = true;
  for (int i = 0; i <= at + LAYERS + 1; i++) finite = finite && row[i] - row[i] == 0.0f;
  if (!finite && a.diverged_at[run] < 0) a.diverged_at[run] = int64_t(*a.step) + 1;
}

inline void note_critic(const Arguments &a, int run, const float *totals) {
  const float n = float(BATCH);
  float *row = a.critic_scalars + int64_t(run) * (5 + (PENALTIES > 0) + LAYERS + 1), cost = 0;
  for (int p = 0; p < PENALTIES; p++) {
    const Penalty &penalty = a.settings.penalty[p];
    cost += penalty.coefficient[run] * penalty.scale * (totals[FIRST_PENALTY + p] / n);
  }
  row[0] = totals[TERMS] / n + cost;
  row[1] = (totals[REAL] - totals[FAKE]) / n;
  row[2] = totals[REAL] / n;
  row[3] = totals[FAKE] / n;
  if (PENALTIES) row[4] = cost;
  note_norms(a, run, totals + SUMS, row, 4 + (PENALTIES > 0));
}

inline void note_generator(const Arguments &a, int run, const float *totals) {
  float *row = a.generator_scalars + int64_t(run) * (2 + LAYERS + 1);
  row[0] = totals[TERMS] / float(BATCH);
  note_norms(a, run, totals + SUMS, row, 1);
}

// Makes the fakes of this block's points for some critic steps from `step` on.
inline void make_fakes(const Block &b, const Tensors &generator, int64_t step, int steps, float *to) {
  load<Generator>(b, generator);
  const int columns = PARTS * TILE;
  for (int first = 0; first < steps * OWN; first += columns) {
    for (int c = b.thread; c < columns; c += THREADS) {
      const int i = (first + c) % OWN, of = (first + c) / OWN;
      for (int k = 0; k < LATENT; k++) b.x[k * LD + c] = 0.0f;
      if (of < steps && b.is_live(i))
        draw_point<LATENT>(b.settings.samplers[1], b.run, step + of, BATCH, b.point(i), b.x + c, LD);
    }
    __syncthreads();
    forward<Generator, PARTS>(b, 0);
    outputs<Generator>(b, 0, columns);
    for (int c = b.thread; c < columns; c += THREADS) {
      const int i = (first + c) % OWN, of = (first + c) / OWN;
      if (of < steps && b.is_live(i))
        for (int k = 0; k < POINT; k++)
          to[(int64_t(of) * BATCH + b.point(i)) * POINT + k] = b.out[k * LD + c];
    }
    __syncthreads();
  }
}

struct Iteration {
  const Arguments &a;
  const Block &b;
  float *fakes, *exchanged, *totals;
  Move *move;
  float factor;

  // One thread that has no points computes the settings of an update.
  void prepare_move(double taken, float rate, const float *clip) const {
    if (b.thread == THREADS - 1) *move = move_at(optimizer_of(a), taken, rate * factor, clip);
  }

  void critic(int64_t step, double taken, const float *made) const {
    Gradients gradients = {};
    float sums[SUMS] = {};
    prepare_move(taken, a.critic_rates[b.run], a.clip_values ? a.clip_values + b.run : nullptr);
    for (int first = 0; first < OWN; first += TILE) critic_tile(b, first, step, made, gradients, sums);
    const Update with{a.critic, optimizer_of(a), *move, 0.0, exchanged};
    update<Critic>(b, with, gradients, sums, totals);
    if (b.rank == 0 && b.thread == 0) note_critic(a, b.run, totals);
    load<Critic>(b, a.critic);
  }

  void generator(int64_t step) const {
    constexpr int MADE = PARTS - 1, SCORED = PAIRS ? 2 : 1;
    Gradients gradients = {};
    float sums[SUMS] = {};
    const Masks unused = {};
    prepare_move(double(*a.step), a.generator_rates[b.run], nullptr);
    for (int first = 0; first < OWN; first += TILE) {
      load<Generator>(b, a.generator);
      place_latents(b, first, step, MADE);
      forward<Generator, 1>(b, MADE);
      outputs<Generator>(b, MADE * TILE, TILE);
      load<Critic>(b, a.critic);
      place_fakes(b, first, step, MADE);
      forward<Critic, SCORED>(b, 0);
      outputs<Critic>(b, 0, SCORED * TILE);
      score_generator(b, first, sums);
      fake_slopes(b, MADE);
      load<Generator>(b, a.generator);
      backward<Generator, 1, false>(b, MADE, unused, gradients);
    }
    const Update with{a.generator, optimizer_of(a), *move, a.average_decay, exchanged};
    update<Generator>(b, with, gradients, sums, totals);
    if (b.rank == 0 && b.thread == 0) note_generator(a, b.run, totals);
  }
};

// Takes `n_critic` critic steps from `critic_step` on, then generator step `step` unless it is
// negative. Blocks BLOCKS i to BLOCKS i + BLOCKS - 1 train the run at places[i].
KERNEL void OF_RUNS iterate(const Arguments a, int64_t critic_step, int64_t n_critic, int64_t step) {
  SHARED_ROOM(room);
  const int slot = blockIdx.x / BLOCKS;
  const Block b(a.settings, threadIdx.x, blockIdx.x % BLOCKS, int(a.places[slot]), room);
  float *end = b.hidden + HIDDEN_ROOM;
  const Kept kept(b.hidden);
  float *exchanged = a.exchanged + int64_t(slot) * BLOCKS * EXCHANGED;
  float *fakes = a.fakes + int64_t(slot) * AT_ONCE * BATCH * POINT;
  const Iteration iteration{a, b, fakes, exchanged, kept.sums, reinterpret_cast<Move *>(end),
                            rate_factor(a)};
  const double taken = double(*a.critic_step);
  for (int64_t done = 0; done < n_critic; done += AT_ONCE) {
    const int steps = int(n_critic - done < AT_ONCE ? n_critic - done : AT_ONCE);
    make_fakes(b, a.generator, critic_step + done, steps, fakes);
    load<Critic>(b, a.critic);
    for (int i = 0; i < steps; i++)
      iteration.critic(critic_step + done + i, taken + double(done + i),
                       fakes + int64_t(i) * BATCH * POINT);
  }
  if (step >= 0) iteration.generator(step);
}

// Counts the steps that all runs have taken.
KERNEL void count(const Arguments a, int64_t n_critic, int64_t n_generator) {
  *a.critic_step += float(n_critic);
  *a.step += float(n_generator);
}
