// The whole model, forwards and backwards, over what a lane holds.
#pragma once

#include "lane.h"

void passes_forward(struct lane *lane);
// Leaves the lane's weighted loss in lane->loss and the gradient of the logits in their place.
void passes_score(struct lane *lane, float scale);
void passes_backward(struct lane *lane);
