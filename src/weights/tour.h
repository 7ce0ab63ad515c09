// The order in which the pieces of a node are used, learnt by listening while lists are recorded:
// each matrix names itself in its turn (backend.h, piece_source.parts), so no architecture has to
// say it a second time.
//
// A *stop* is what one list does: a window, or the output matrix.
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tour {
    int n_stops;
    uint32_t *begin;  // (n_stops + 1) where the pieces of each stop begin
    uint32_t *pieces; // matrices that are multiplied with, in the order of use, each once
    int *follows;     // (n_stops) which stop comes after each, as a rule
    bool *known;      // (pieces of the model) that are among them
    bool *on_demand;  // (pieces of the model) that are asked for one by one, as experts are
    int stop;         // that is being learnt
};

// follows: copied.
int tour_init(struct tour *t, int n_stops, const int *follows, size_t n_pieces, struct err *e);
void tour_fini(struct tour *t); // also of a zeroed one
// What is noted from here on belongs to the next stop; before the first one nothing is noted.
void tour_begin_stop(struct tour *t);
void tour_note(struct tour *t, uint32_t piece);
// n pieces from `first` on are asked for one by one.
void tour_note_stack(struct tour *t, uint32_t first, uint32_t n);
void tour_end(struct tour *t);
