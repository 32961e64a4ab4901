// A loss and the streams of its steps. CPUs and GPUs share it.
#pragma once

#include "losses.h"
#include "samplers.h"

struct Settings {
  int32_t batch, pairs, penalties;
  // With pairs, `real` is of the differences of reals' and fakes' scores, `generator` of fakes' and
  // reals', and `fake` is not used.
  Term real, fake, generator;
  Penalty penalty[MOST_PENALTIES];
  // Reals, the critic's latents, mixing weights, the generator's latents and, with pairs, its reals.
  Sampler samplers[5];
};
