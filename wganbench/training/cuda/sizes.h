// The sizes that a kernel is compiled for, and what follows from them.
//
// HIDDEN: units of a hidden layer, 16, 32 or 64. LAYERS: hidden layers of either network. POINT and
// LATENT: numbers of a point and of a latent. PENALTIES, PAIRS: as in settings.h. BATCH: points of
// a batch. BLOCKS: blocks of threads that train a run. WIDE: columns of each part that a thread
// computes, 1 or 2.
//
// THREADS: threads of a block. TALL: rows of a product that a thread computes. AT_ONCE: critic steps
// whose fakes and rates are made before them. MOST_LAYERS: the largest LAYERS.
#pragma once

#include "device.h"
#include "../native/activations.h"
#include "../native/optimizers.h"
#include "../native/settings.h"

static_assert(PIECEWISE, "the activation is piecewise linear");

constexpr int GROUPS = HIDDEN / TALL;      // groups of rows
constexpr int ACROSS = THREADS / GROUPS;   // threads that divide the columns
constexpr int TILE = WIDE * ACROSS;        // points of a tile
constexpr int LOSSES = 2 + PENALTIES;      // parts of a critic's tile: reals, fakes, penalised points
constexpr int PARTS = PAIRS && LOSSES < 3 ? 3 : LOSSES;
constexpr int LD = PARTS * TILE + 2;       // a row of columns; the 2 spread the rows over the banks
constexpr int OWN = (BATCH + BLOCKS - 1) / BLOCKS;  // points of a block

constexpr int most(int a, int b) { return a > b ? a : b; }
constexpr int INPUTS = most(POINT, LATENT);

// A network: its tensors are weight and bias of each layer in turn.
template <int IN, int OUT> struct Shape {
  static constexpr int in = IN, out = OUT;
  static constexpr int rows(int layer) { return layer < LAYERS ? HIDDEN : OUT; }
  static constexpr int depth(int layer) { return layer ? HIDDEN : IN; }
  static constexpr int numbers(int tensor) {
    return tensor % 2 ? rows(tensor / 2) : rows(tensor / 2) * depth(tensor / 2);
  }
  static constexpr int start(int tensor) {
    int sum = 0;
    for (int t = 0; t < tensor; t++) sum += numbers(t);
    return sum;
  }
  static constexpr int total = start(2 * (LAYERS + 1));
};
typedef Shape<POINT, 1> Critic;
typedef Shape<LATENT, POINT> Generator;

constexpr int MATRIX = HIDDEN * HIDDEN, MATRICES = LAYERS - 1;
constexpr int SHARES = THREADS * 16 / MATRIX;  // parts into which the sums of a matrix are divided
constexpr int LINES = THREADS / HIDDEN;        // parts into which the sums of a line are divided
constexpr int LINES_KEPT = LAYERS + INPUTS + 2 * POINT;  // sums of a thread besides matrices

// What is summed over the points of a batch, and then over the squares of each layer's gradient.
enum Sum { REAL, FAKE, TERMS, FIRST_PENALTY, SUMS = FIRST_PENALTY + MOST_PENALTIES };
constexpr int ALL_SUMS = SUMS + LAYERS + 1;

constexpr int MOST_TENSORS = 2 * (MOST_LAYERS + 1);
static_assert(LAYERS <= MOST_LAYERS, "there is room for so many hidden layers");

// The shared memory of a block, in numbers.
constexpr int WEIGHTS = MATRICES * MATRIX + HIDDEN * INPUTS + POINT * HIDDEN + LAYERS * HIDDEN + POINT;
constexpr int POINTS_ROOM = INPUTS * LD, OUT_ROOM = POINT * LD;
constexpr int REDUCED = ALL_SUMS * (THREADS + 16);
constexpr int HIDDEN_ROOM = most(
    LAYERS * HIDDEN * LD, MATRICES * SHARES * MATRIX + LINES_KEPT * THREADS + REDUCED);
constexpr int ROOM = (WEIGHTS + 3) / 4 * 4 + POINTS_ROOM + OUT_ROOM + HIDDEN_ROOM + 4 * (AT_ONCE + 1);  // 4: a Move

// Numbers of the global memory in which the blocks of a run exchange gradients and sums.
constexpr int EXCHANGED = most(Critic::total, Generator::total) + ALL_SUMS;
