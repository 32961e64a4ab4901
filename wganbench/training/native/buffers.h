// The working memory of a tile of a batch.
#pragma once

#include <cstdlib>
#include <memory>

#include "draws.h"
#include "network.h"
#include "settings.h"

// Number of parts of a tile whose slopes are asked for at so many sets of points.
inline int parts_of(int asked) { return 2 + asked * (PIECEWISE ? 1 : 2); }

struct Free {
  void operator()(float *at) const { std::free(at); }
};
typedef std::unique_ptr<float, Free> Memory;

// Returns zeroed memory, or null.
inline Memory memory(size_t numbers) {
  size_t bytes = (numbers * sizeof(float) + 63) / 64 * 64;
  void *at = std::aligned_alloc(64, bytes ? bytes : 64);
  if (at) std::memset(at, 0, bytes ? bytes : 64);
  return Memory(static_cast<float *>(at));
}

// Number of points of a tile, such that the numbers of a tile stay in the core's cache.
inline int tile_points(int hidden, int parts, int batch) {
  size_t numbers = 163840 / (2 * size_t(parts) * (hidden > 0 ? hidden : 1));
  int points = 32;
  while (points < 256 && size_t(2 * points) <= numbers) points *= 2;
  int all = rounded_up(batch, LANES);
  return points < all ? points : all;
}

// The working memory of one thread.
struct Buffers {
  int points;
  size_t columns;
  std::vector<float *> hidden, deltas, made, made_deltas;  // of the critic, of the generator
  float *x, *out, *slopes, *z, *fakes, *apart, *drawn, *eps, *transposed, *found;
  Memory all;

  Buffers(const Network &critic, const Network &generator, int points_, int parts, int asked,
          int pack)
      : points(points_), columns(size_t(points_) * parts) {
    const size_t single = size_t(points_) * pack;  // points that the generator makes
    size_t total = 0;
    for (int pass = 0; pass < 2; pass++) {
      if (pass) all = memory(total);
      if (pass && !all) return;
      float *at = all.get();
      size_t used = 0;
      auto take_numbers = [&](size_t numbers) {
        float *place = pass ? at + used : nullptr;
        used += (numbers + 15) / 16 * 16;
        return place;
      };
      auto take = [&](int rows, size_t wide) {
        return take_numbers(size_t(rounded_up(rows, 16)) * wide);
      };
      hidden.clear(), deltas.clear(), made.clear(), made_deltas.clear();
      for (int l = 1; l < critic.layers; l++) {
        hidden.push_back(take(critic.sizes[l], columns));
        deltas.push_back(take(critic.sizes[l], columns));
      }
      for (int l = 1; l < generator.layers; l++) {
        made.push_back(take(generator.sizes[l], single));
        made_deltas.push_back(take(generator.sizes[l], single));
      }
      int inputs = critic.sizes[0], latents = generator.layers ? generator.sizes[0] : inputs;
      int widest = critic.widest() > generator.widest() ? critic.widest() : generator.widest();
      x = take(inputs, columns);
      slopes = take(inputs, size_t(points) * (asked ? asked : 1));
      fakes = take(inputs, size_t(points));
      apart = take(pack > 1 ? inputs / pack : 0, single);
      z = take(latents, single);
      out = take_numbers(columns);
      eps = take_numbers(size_t(points));
      found = take_numbers(4 * columns);
      drawn = take_numbers(numbers_to_draw(int(single), latents > inputs ? latents : inputs));
      transposed = take_numbers(size_t(rounded_up(widest, LANES)) *
                                (columns > single ? columns : single));
      total = used;
    }
  }
};
