// A loss and the streams of its steps. CPUs and GPUs share it.
#pragma once

#include "losses.h"
#include "samplers.h"

constexpr int STREAMS = 6;

// What a score is compared with: nothing, its partner of the other side, or the other side's mean.
enum Against : int32_t { NOTHING = 0, PARTNER = 1, MEAN = 2 };

struct Settings {
  int32_t batch, against, penalties;
  // If scores are compared, `real` is of the differences of reals' and fakes' scores, `generator` of
  // fakes' and reals', and `fake` is not used.
  Term real, fake, generator;
  Penalty penalty[MOST_PENALTIES];
  // Reals, the critic's latents, mixing weights, the generator's latents and, if scores are compared,
  // its reals; the noise of perturbed reals.
  Sampler samplers[STREAMS];
};
