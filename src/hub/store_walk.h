// Walking through the folders of all stores: see stores.h.
#pragma once

#include "hub/stores.h"

int store_walk_all(struct stores *s, struct err *e);
