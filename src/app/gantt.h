// A pass round the ring as text: a line for each node, time from left to right.
//
//   one token in 7.3 ms
//   1 alpha         --#########=                        --#########=
//   2 beta                      --#########=                        --#########=
//   3 desk (head) #=                        --...######=                        --...######
//                 0 ms      1         2         3         4         5         6         7
//                 - receive  # compute  . disk wait  = send
//
// A character stands for what took most of its time, and is blank where nothing happened.
// Receiving is drawn from when the node before has sent until the compute loop takes the frame up.
// What a window waited for the disk is known as a sum and drawn at the window's beginning.
#pragma once

#include "cluster/timings.h"

#include <stdbool.h>
#include <stddef.h>

enum { GANTT_MIN_COLUMNS = 40, GANTT_MAX_COLUMNS = 240 };

struct gantt_look {
    int columns; // of the terminal
    bool utf8;
};

// Lines as above, heap; NULL: no memory, or nothing that can be drawn. `names` (n_nodes) are
// printable ASCII, the head is the last.
char *gantt_text(const struct timings_trace *t, const struct timings_pass *p,
                 const char (*names)[WIRE_NAME], const struct gantt_look *look);
