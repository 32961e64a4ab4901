// V, the numbers that an operation works on: a vector on a CPU, one float in a GPU's thread.
#pragma once

#ifdef ONE_LANE
#include "../cuda/lane.h"
#else
#include <cmath>

#include "vectors.h"
#endif
