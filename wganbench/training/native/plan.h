// The runs of a stack to train, and the memory that the threads need for it.
#pragma once

#include <cmath>
#include <new>

#include "passes.h"
#include "spectral.h"
#include "team.h"

struct Spec {
  NetworkSpec critic, generator;
  Settings settings;
  Optimizer optimizer;
  const int64_t *places;  // places of the trained runs
  int64_t trained, threads;
  const float *critic_rates, *generator_rates, *clip_values;
  int64_t steps, pack;
  int32_t decay;
  double average_decay;
  float *step, *critic_step;
  int64_t *diverged_at;
  float *critic_scalars, *generator_scalars;
};

// The wrapper of this library's critics; the others' code is left out, which compiles sooner.
enum Wrapper { BARE = 0, SPECTRAL = 1, GRADIENT = 2 };
#ifndef WRAPPER
#error "say which wrapper: -DWRAPPER=0 to 2"
#endif

// A team of threads that work on one run at a time, and their shared data.
struct Team {
  std::vector<std::unique_ptr<Buffers>> buffers;
  PackedNetwork critic, generator;
  Memory packed, partial;
  Memory scores;  // of both sides, if they are compared with means
  std::vector<Sums> sums;
  std::vector<double> squares;
  std::unique_ptr<Spectral> spectral;  // null without spectral norm
  std::unique_ptr<Barrier> barrier;

  int size() const { return int(buffers.size()); }

  Spectral *divisor() const { return WRAPPER == SPECTRAL ? spectral.get() : nullptr; }
};

struct Plan {
  Spec spec;
  std::vector<int64_t> places;
  Network critic, generator;
  int points, tiles;
  std::vector<std::unique_ptr<Team>> teams;

  explicit Plan(const Spec &s)
      : spec(s), places(s.places, s.places + s.trained), critic(s.critic), generator(s.generator) {
    const int parts = parts_of(asked());
    points = tile_points(critic.hidden(), int(s.pack) > parts ? int(s.pack) : parts, s.settings.batch);
    tiles = (s.settings.batch + points - 1) / points;
    int runs = int(s.trained), threads = int(s.threads) < 1 ? 1 : int(s.threads);
    int count = threads < runs ? threads : runs;
    int size = threads / count < tiles ? threads / count : tiles;
    for (int i = 0; i < count; i++) teams.push_back(team(size, parts));
  }

  // Sets of points where slopes are asked for.
  int asked() const { return WRAPPER == GRADIENT ? 2 : spec.settings.penalties; }
  int threads() const { return int(teams.size()) * teams[0]->size(); }

 private:
  std::unique_ptr<Team> team(int size, int parts) {
    auto made = std::make_unique<Team>();
    for (int i = 0; i < size; i++) {
      made->buffers.push_back(std::make_unique<Buffers>(critic, generator, points, parts,
                                                        asked(), int(spec.pack)));
      if (!made->buffers.back()->all) throw std::bad_alloc();
    }
    size_t first = PackedNetwork::numbers(critic), second = PackedNetwork::numbers(generator);
    made->packed = memory(first + second);
    const size_t larger = critic.gradient_size > generator.gradient_size ? critic.gradient_size
                                                                         : generator.gradient_size;
    made->partial = memory(larger * (size > 1 ? tiles : 1));
    made->scores = memory(spec.settings.against == MEAN ? 2 * size_t(tiles) * points : 0);
    if (!made->packed || !made->partial || !made->scores) throw std::bad_alloc();
    made->critic.place(critic, made->packed.get());
    made->generator.place(generator, made->packed.get() + first);
    made->sums.resize(tiles);
    made->squares.resize(critic.pieces.size() + generator.pieces.size());
    if (WRAPPER == SPECTRAL) made->spectral = std::make_unique<Spectral>(critic, size);
    made->barrier = std::make_unique<Barrier>(size);
    return made;
  }
};
